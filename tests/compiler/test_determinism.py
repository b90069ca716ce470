"""Same input, same bytes: two processes with different hash seeds, environments and directories print the same stages."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.filetests.stage_runners import PLACED_STAGES
text = Path(sys.argv[2]).read_text()
for stage, run in PLACED_STAGES.items():
    # `plan` reads Terraform's words, not a task file.
    if stage != "plan":
        print(run(text, "task.yaml"))
"""
TASK = """\
# machine: gpus
# change: mixed
# format: markdown
envs: {B: 2, A: 1, C: 3}
groups:
  learner:
    num_nodes: 1
    resources: {cpus: 2, memory: 8, accelerators: {T4: 1}, labels: {z: z, a: a, m: m}}
    run: echo learn
  actors:
    num_nodes: 2
    resources: {any_of: [{cpus: 1}, {cpus: 2}], memory: 2}
    run: echo act
"""


def stages(task: Path, seed: str, cwd: Path) -> str:
    env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo" if seed == "1" else "UTC"}
    command = [sys.executable, "-c", CODE, str(ROOT), str(task)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120, check=True).stdout


def test_two_processes_print_the_same(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first = stages(task, "1", tmp_path)
    assert "skyc_node" in first
    assert first == stages(task, "4242", elsewhere)
