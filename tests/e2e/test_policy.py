"""A policy as an organisation uses it, through the real command line: denied, then approved in a file, as CI does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skyc.runtime.state import StateStore
from tests.lengths import takes_minutes

from .conftest import Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("e2e")]

TASK = """\
name: judged
hours: 0.01
resources: {infra: local, cpus: 1, labels: {team: ml-x}}
run: echo it ran
"""
POLICY = """\
rules:
  - name: no-long-runs
    reason: Runs over half a minute are discussed first.
    max: {hours: 0.005}
    effect: approve
    approvers: "*@example.org"
  - name: teams
    require: {labels: {team: "ml-*"}}
"""


@takes_minutes
def test_denied_then_approved(skyc: Skyc, tmp_path: Path) -> None:
    (skyc.home / "policy.yaml").write_text(POLICY)
    task = skyc.task("judged", TASK)
    stranger = skyc.task("stranger", TASK.replace("judged", "stranger").replace("ml-x", "art"))

    denied = skyc("apply", stranger, "-y", "--approve", "teams", code=3)
    assert denied.err.count("error[policy-denied]") == 1
    assert "the label `team` is `art`" in denied.err

    waiting = skyc("apply", task, "-y", code=3)
    assert "Runs over half a minute are discussed first." in waiting.err
    found = re.search(r"(?m)for fingerprint ([0-9a-f]{16})$", waiting.err)
    assert found is not None, waiting.err
    with StateStore(skyc.home) as store:
        assert store.deployments() == (), "nothing was made"

    approvals = tmp_path / "approvals.yaml"
    approvals.write_text(f"approvals: [{{rule: no-long-runs, by: a@example.org, fingerprint: '{found[1]}'}}]")
    # The same of a plan that was kept: the rules of the day it is applied count, and the approval is for its fingerprint.
    kept = str(tmp_path / "plan.skyc")
    skyc("plan", task, "-o", kept)
    assert "error[" not in skyc("apply", kept, "-y", code=3).out
    assert "it ran" in skyc("apply", kept, "-y", env={"SKYC_APPROVALS": str(approvals)}).out
    with StateStore(skyc.home) as store:
        (row,) = (row for row in store.events() if row.kind == "approved")
    assert row.text.startswith(f"no-long-runs by a@example.org for {found[1]}")
