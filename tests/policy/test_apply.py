"""What an apply asks of a policy, up to the moment where something would be made."""

from __future__ import annotations

from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.runtime.results import Outcome, Plan

TASK = """\
name: judged
hours: 5
resources: {infra: local, cpus: 1}
run: echo it ran
"""
POLICY = """\
rules:
  - {name: short, max: {hours: 4}, effect: approve, approvers: "*@example.org"}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    place.mkdir()
    (place / "policy.yaml").write_text(POLICY)
    (tmp_path / "task.yaml").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.email")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "b@example.org")
    return place


def refused(home: Path, *, approve: tuple[str, ...] = ()) -> SkycError:
    def never(plan: Plan) -> bool:
        raise AssertionError("nobody is asked about what is refused")

    with pytest.raises(SkycError) as caught:
        skyc.apply("task.yaml", home=home, confirm=never, approve=approve)
    return caught.value


def test_a_person_approves_the_plan_they_see(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = refused(home)
    assert waiting.exit_code == 3
    assert "approval-needed" in {row.slug for row in waiting.diagnostics}
    misspelt = refused(home, approve=("shrot",))
    assert (misspelt.exit_code, misspelt.diagnostics[0].hint) == (1, "did you mean `short`?")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "b@elsewhere.org")
    assert "not-an-approver" in {row.slug for row in refused(home, approve=("short",)).diagnostics}

    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "b@example.org")
    seen: list[Plan] = []

    def declined(plan: Plan) -> bool:
        seen.append(plan)
        return False

    result = skyc.apply("task.yaml", home=home, confirm=declined, approve=("short",))
    assert result.outcome is Outcome.DECLINED
    assert [(row.rule, row.approved, row.blocks) for row in seen[0].policies] == [("short", "b@example.org", False)]
    assert not any(row.slug == "approval-needed" for row in seen[0].diagnostics)


def test_an_approval_is_of_one_plan(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint() -> str:
        hint = next(row.hint for row in refused(home).diagnostics if row.slug == "approval-needed")
        assert hint is not None
        return hint.rpartition(" ")[2]

    one = fingerprint()
    assert fingerprint() == one
    (tmp_path / "approvals.yaml").write_text(f"[{{rule: short, by: a@example.org, fingerprint: '{one}'}}]")
    monkeypatch.setenv("SKYC_APPROVALS", "approvals.yaml")
    result = skyc.apply("task.yaml", home=home, confirm=lambda plan: False)
    assert result.outcome is Outcome.DECLINED
    (tmp_path / "task.yaml").write_text(TASK.replace("hours: 5", "hours: 6"))
    assert "approval-for-another-plan" in {row.slug for row in refused(home).diagnostics}
