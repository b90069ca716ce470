"""Two tasks in one file, one of which needs the other, with real Ray: order, failure, a killed skyc, and nothing run twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.lengths import takes_minutes

from .conftest import Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.fault, pytest.mark.xdist_group("e2e")]

# `train` stands first: the order is that of `needs`.
CHAIN = """\
name: chain
---
name: train
needs: [prepare]
resources: {{cpus: 1, memory: 1}}
hours: 0.01
run: |
  echo "train finds $(cat {shared}/prepared)"
  if [ -e {shared}/broken ]; then exit 3; fi
---
name: prepare
resources: {{cpus: 1, memory: 1}}
hours: 0.01
run: |
  echo prepare begins
  while [ ! -e {shared}/go ]; do sleep 0.05; done
  if [ -e {shared}/dry ]; then exit 4; fi
  echo once >> {shared}/prepared
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    place = tmp_path / "shared"
    place.mkdir()
    return place


def jobs(skyc: Skyc) -> list[tuple[str, str]]:
    return [(job["id"], job["state"]) for job in skyc.json("queue", "chain")["jobs"]]


@takes_minutes
def test_a_chain_goes_on_after_a_killed_skyc_and_after_a_failure(skyc: Skyc, shared: Path) -> None:
    task = skyc.task("chain", CHAIN.format(shared=shared))
    plan = skyc("plan", task)
    assert plan.out.index("job prepare runs") < plan.out.index("job train runs")

    first = skyc.start("apply", task, "-y")
    skyc.wait_for("the first job", 240, lambda: "prepare begins" in first.text)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(240)
    (shared / "broken").touch()
    (shared / "go").touch()

    failed = skyc("apply", task, "-y", code=1)
    assert "train finds once" in failed.out, failed.both
    assert "job train-1-1 failed with exit code 3" in failed.err
    assert jobs(skyc) == [("prepare-1-1", "succeeded"), ("train-1-1", "failed")]

    (shared / "broken").unlink()
    mended = skyc("apply", task, "-y")
    assert "prepare begins" not in mended.out, "what has succeeded is not run again"
    assert "train finds once" in mended.out, mended.both
    assert jobs(skyc)[-1] == ("train-2-1", "succeeded")
    assert "nothing was run" in skyc("apply", task, "-y").err
    assert len(jobs(skyc)) == 3

    again = skyc("apply", task, "-y", "--rerun")
    assert again.out.index("prepare begins") < again.out.index("train finds once")
    assert [job for job, _ in jobs(skyc)[3:]] == ["prepare-2-1", "train-3-1"]
    assert (shared / "prepared").read_text() == "once\nonce\n"

    assert len(skyc.processes("skyc.runtime.node.supervisor")) == 2
    skyc("destroy", "chain", "-y")
    assert skyc.processes() == []
    assert not list(skyc.home.glob("deployments/chain/nodes/*"))


@takes_minutes
def test_what_needs_a_failed_task_is_not_started(skyc: Skyc, shared: Path) -> None:
    (shared / "go").touch()
    (shared / "dry").touch()
    task = skyc.task("chain", CHAIN.format(shared=shared))
    failed = skyc("apply", task, "-y", code=1)
    assert "job prepare-1-1 failed with exit code 4" in failed.err, failed.both
    assert "train finds" not in failed.out
    assert jobs(skyc) == [("prepare-1-1", "failed")]
    detached = skyc("apply", task, "-y", "--detach")
    assert "`train` not started" in detached.err
    skyc("destroy", "chain", "-y")
    assert skyc.processes() == []
