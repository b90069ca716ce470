"""Tasks that wait for nobody, in one file, with real Ray: they meet, one fails and the other ends, and a killed skyc loses neither."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.lengths import takes_minutes

from .conftest import Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.fault, pytest.mark.xdist_group("e2e")]

# Each of the first two waits for the other: one after the other they would never end.
FILE = """\
name: pair
---
name: left
needs: []
resources: {{cpus: 1, memory: 1}}
hours: 0.01
run: |
  echo left begins; touch {shared}/left
  while [ ! -e {shared}/right ] || [ ! -e {shared}/go ]; do sleep 0.05; done
  if [ -e {shared}/broken ]; then exit 3; fi
  echo left ends
---
name: right
needs: []
resources: {{cpus: 1, memory: 1}}
hours: 0.01
run: |
  echo right begins; touch {shared}/right
  while [ ! -e {shared}/left ] || [ ! -e {shared}/go ]; do sleep 0.05; done
  echo right ends
---
name: after
needs: [left]
resources: {{cpus: 1, memory: 1}}
hours: 0.01
run: echo after all
"""


@takes_minutes
@pytest.mark.timeout(900)
def test_two_jobs_meet_and_neither_is_lost(skyc: Skyc, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    task = skyc.task("pair", FILE.format(shared=shared))

    def states() -> dict[str, str]:
        return {job["id"]: job["state"] for job in skyc.json("queue", "pair")["jobs"]}

    first = skyc.start("apply", task, "-y")
    skyc.wait_for("both", 400, lambda: "left | left begins" in first.text and "right | right begins" in first.text)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(240)

    second = skyc.start("apply", task, "-y")
    skyc.wait_for("both again", 240, lambda: "left | left begins" in second.text and "right | right begins" in second.text)
    os.kill(second.pid, signal.SIGINT)
    assert second.wait(240) == 130, second.text
    assert "Jobs left-1-1 and right-1-1 go on without you. Not started yet: `after`" in second.text
    assert set(states().values()) == {"running"}

    third = skyc.start("apply", task, "-y")
    skyc.wait_for("both once more", 240, lambda: "left | left begins" in third.text and "right | right begins" in third.text)
    (shared / "broken").touch()
    (shared / "go").touch()
    assert third.wait(240) == 1, third.text
    assert "right | right ends" in third.text and "job right-1-1 succeeded" in third.text
    assert "job left-1-1 failed with exit code 3" in third.text and "not started: `after`" in third.text
    assert states() == {"left-1-1": "failed", "right-1-1": "succeeded"}

    (shared / "broken").unlink()
    mended = skyc("apply", task, "-y")
    assert "right begins" not in mended.out, "what has succeeded is not run again"
    assert "after all" in mended.out, mended.both
    assert states() == {"left-1-1": "failed", "right-1-1": "succeeded", "left-2-1": "succeeded", "after-1-1": "succeeded"}
    skyc("destroy", "pair", "-y")
    assert skyc.processes() == []
