"""What a user does, from the first plan to nothing left, through the real command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lengths import takes_minutes

from .conftest import ROOT, Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("e2e")]

COUNTER = """\
name: counter
workdir: {folder}
setup: echo once >> setup.txt
run: python count.py
checkpoint: {{path: ckpt, every: 1h}}
hours: 0.01
secrets:
  TOKEN:
"""

COUNT = """\
import os, pathlib, time
import skyc
ckpt = pathlib.Path(os.environ["SKYC_CHECKPOINT_DIR"])
saved = ckpt / "step"
first = int(saved.read_text()) if saved.exists() else 0
print(f"from {first}", flush=True)
for step in range(first + 1, 7):
    ckpt.mkdir(exist_ok=True)
    saved.write_text(str(step))
    skyc.checkpoint(step=step)
    print(f"step {step}", flush=True)
    if step == 3 and first == 0:
        print("waiting to be killed", flush=True)
        time.sleep(600)
print("setup ran", len(pathlib.Path("setup.txt").read_text().split()), "time", flush=True)
assert len(os.environ["TOKEN"]) == 15
"""


def test_a_job_survives_its_node(skyc: Skyc, tmp_path: Path) -> None:
    """plan, apply, kill -9 the node, apply resumes, apply again does nothing, --rerun, logs, queue, destroy."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "count.py").write_text(COUNT)
    task = skyc.task("counter", COUNTER.format(folder=work))

    assert "TOKEN" in skyc("plan", task, code=1).err
    skyc.environ["TOKEN"] = "hunter2-hunter2"

    plan = skyc("plan", task, "--detailed-exitcode", code=2)
    assert "1 to add · 0 to change · 0 to destroy" in plan.out
    assert "hunter2" not in plan.both

    first = skyc.start("apply", task, "-y")
    skyc.wait_for("step 3", 240, lambda: "waiting to be killed" in first.text)
    supervisors = skyc.processes("skyc.runtime.node.supervisor")
    assert supervisors, "a node has a supervisor"
    for process in supervisors:
        process.kill()
    assert first.wait(240) == 1, first.text
    assert "lost" in first.text

    assert "dead" in json.dumps(skyc.json("status", "counter"))

    resumed = skyc("apply", task, "-y")
    assert "from 3" in resumed.out, resumed.both
    assert "step 6" in resumed.out
    assert "step 2" not in resumed.out
    assert "replaces skyc_node" in resumed.both

    again = skyc("apply", task, "-y")
    assert "succeeded" in again.both
    assert "from" not in again.out

    rerun = skyc.start("apply", task, "-y", "--rerun")
    skyc.wait_for("a fresh start", 240, lambda: "waiting to be killed" in rerun.text)
    assert "from 0" in rerun.text
    skyc("cancel", "counter")
    assert rerun.wait(240) == 1
    assert "cancelled" in rerun.text

    jobs = skyc.json("queue", "counter")["jobs"]
    assert [job["state"] for job in jobs] == ["lost", "succeeded", "cancelled"]
    assert "step 6" in skyc("logs", "counter", jobs[1]["id"]).out

    assert skyc("exec", "counter", "--", "echo", "hello there").out == "hello there\n"

    no_secret_below(skyc.home, b"hunter2-hunter2")
    alive = skyc.processes()
    assert alive
    skyc("destroy", "counter", "-y")
    assert [process for process in alive if process.is_running() and process.status() != "zombie"] == []
    assert skyc.processes() == []
    assert not list(skyc.home.glob("deployments/counter/nodes/*"))
    assert "step 6" in skyc("logs", "counter", jobs[1]["id"]).out, "output outlives the nodes"
    assert skyc.json("status")["deployments"] == []


def no_secret_below(home: Path, secret: bytes) -> None:
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink() and "runtimes" not in path.parts and "/env/" not in str(path):
            assert secret not in path.read_bytes(), path


@takes_minutes
def test_two_nodes_are_one_cluster(skyc: Skyc) -> None:
    """`num_nodes: 2` on this machine: both ranks run, know each other, and one failure ends the gang."""
    task = skyc.task(
        "pair",
        "name: pair\nnum_nodes: 2\nhours: 0.01\n"
        "run: |\n"
        '  echo "rank $SKYC_NODE_RANK of $SKYC_NUM_NODES, $(echo "$SKYC_NODE_IPS" | wc -l) addresses"\n'
        '  if [ "$SKYC_NODE_RANK" = 1 ]; then sleep 1; exit 7; fi\n'
        "  sleep 600\n",
    )
    done = skyc("apply", task, "-y", code=1)
    assert "rank 0 of 2, 2 addresses" in done.out, done.both
    assert "rank 1 of 2, 2 addresses" in done.out
    assert "7" in done.err
    nodes = skyc.json("status", "pair")["deployments"][0]["nodes"]
    assert [node["health"] for node in nodes] == ["healthy", "healthy"]
    skyc("destroy", "pair", "-y")
    assert skyc.processes() == []


@takes_minutes
def test_two_applies_at_once(skyc: Skyc) -> None:
    """The second waits, or says who holds the deployment."""
    task = skyc.task("busy", "name: busy\nrun: echo done once\nhours: 0.01\n")
    first = skyc.start("apply", task, "-y")
    skyc.wait_for("the lock", 240, lambda: (skyc.home / "deployments" / "busy" / "lock.holder").exists())
    refused = skyc("apply", task, "-y", "--no-wait", code=1)
    assert "deployment-busy" in refused.err
    assert str(first.pid) in refused.err
    second = skyc("apply", task, "-y")
    assert first.wait(240) == 0, first.text
    assert second.code == 0
    assert len(skyc.json("queue", "busy")["jobs"]) == 1
    skyc("destroy", "busy", "-y")


@pytest.mark.timeout(1100)
def test_the_demo(tmp_path: Path) -> None:
    """`make demo`'s program: the README's story on real data."""
    file = tmp_path / "output"
    with file.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "digits" / "demo.py")],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            code = demo.wait(800)
        except subprocess.TimeoutExpired:
            # Interrupted it puts everything away; killed it would leave a node running.
            demo.send_signal(signal.SIGINT)
            demo.wait(240)
            raise AssertionError(f"not done after 420 s:\n{file.read_text()}") from None
    text = file.read_text()
    assert code == 0, text
    assert "resuming after epoch" in text
    assert "node processes left: 0" in text
