"""Drift on this machine, as somebody at a terminal meets it: the real command line, Terraform, our own Terraform provider, Ray."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.lengths import takes_minutes

from .conftest import Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.fault, pytest.mark.xdist_group("e2e")]
SUPERVISOR = "skyc.runtime.node.supervisor"


@takes_minutes
def test_a_node_dies_and_is_put_back(skyc: Skyc) -> None:
    assert "nothing was applied here" in skyc("drift").err
    task = skyc.task("hello", "name: hello\nrun: echo hello from $SKYC_NODE_RANK\nhours: 0.01\n")
    skyc("apply", task, "-y")
    # The file is needed no more, and another plan of it says nothing about what was applied.
    skyc.task("hello", "name: hello\nnum_nodes: 2\nrun: echo hello\nhours: 0.01\n")
    skyc("plan", task)
    assert "no drift" in skyc("drift", "hello").out

    # Beside a job that runs, which it does not disturb.
    job = skyc.start("exec", "hello", "--", "echo begun; sleep 20; echo ended")
    skyc.wait_for("the job", 240, lambda: "begun" in job.text)
    assert skyc.json("drift", "hello")["deployments"][0]["rows"] == []
    assert job.wait(240) == 0 and "ended" in job.text

    # Somebody edits the node's own record, and takes the edit over.
    (record,) = skyc.home.glob("deployments/hello/nodes/*/node.json")
    node = json.loads(record.read_text())
    record.write_text(json.dumps({**node, "rank": 7}))
    found = skyc("drift", "hello", code=2).out
    assert "skyc_node.main-0 rank" in found and "0 → 7" in found and "1 broken" in found
    assert skyc("drift", "hello", code=2).out == found
    assert skyc("drift", "hello", "--adopt", "-y").code == 0 and "no drift" in skyc("drift", "hello").out
    record.write_text(json.dumps(node))
    assert "7 → 0" in skyc("drift", "hello", code=2).out
    assert "nothing drifts now" in skyc("drift", "hello", "--adopt", "-y").err

    # The node is killed.
    (supervisor,) = skyc.processes(SUPERVISOR)
    supervisor.kill()
    skyc.wait_for("the end of its Ray", 240, lambda: not skyc.processes("gcs_server"))
    document = json.loads(skyc("drift", "hello", "--json", code=2).out)
    (row,) = [row for row in document["deployments"][0]["rows"] if row["path"] == "health"]
    assert row["class"] == "broken" and row["repair"] == "makes the node anew" and row["place"].startswith("hello.yaml:")
    assert skyc("drift", "hello", "--fail-on", "security").code == 0
    assert "Nobody can be asked" in skyc("drift", "hello", "--repair", code=1).err

    # A repair that is killed with skyc, and then done.
    repair = skyc.start("drift", "hello", "--repair", "-y")
    skyc.wait_for("a node in the making", 240, lambda: skyc.processes(SUPERVISOR))
    os.kill(repair.pid, signal.SIGKILL)
    repair.wait(240)
    skyc("drift", "hello", code=None)
    assert "nothing" in skyc("drift", "hello", "--repair", "-y").err
    assert "no drift" in skyc("drift", "hello").out
    assert len(skyc.processes(SUPERVISOR)) == 1
    assert "hello" in skyc("exec", "hello", "--", "echo hello").out
    skyc("destroy", "hello", "-y")
    assert skyc.processes() == []
    assert "nothing was applied here" in skyc("drift").err
