"""Same input, same bytes: two processes with different hash seeds, environments and directories print the same stages."""

import os
import subprocess
import sys
from pathlib import Path

from ..filetest import FOLDER, read

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.filetests.stage_runners import PLACED_STAGES
task, plan = (Path(argument).read_text() for argument in sys.argv[2:])
for stage, run in PLACED_STAGES.items():
    print(run(plan if stage == "plan" else task, "task.yaml"))
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


# The plan stage alone reads what Terraform says; all others read a task.
PLAN = read(FOLDER / "plan" / "create.yaml.test").text


def stages(task: Path, plan: Path, seed: str, cwd: Path) -> str:
    env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo" if seed == "1" else "UTC"}
    command = [sys.executable, "-c", CODE, str(ROOT), str(task), str(plan)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_two_processes_print_the_same(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK)
    plan = tmp_path / "plan.json"
    plan.write_text(PLAN)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first = stages(task, plan, "1", tmp_path)
    assert "skyc_node" in first
    assert first == stages(task, plan, "4242", elsewhere)
