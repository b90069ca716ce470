"""What an apply asks of a policy, up to the moment where something would be made."""

from __future__ import annotations

from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import Severity, SkycError
from skyc.runtime.plan_files import read_plan_file
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


def refused(home: Path, *, path: str = "task.yaml", approve: tuple[str, ...] = ()) -> SkycError:
    def never(plan: Plan) -> bool:
        raise AssertionError("nobody is asked about what is refused")

    with pytest.raises(SkycError) as caught:
        skyc.apply(path, home=home, confirm=never, approve=approve)
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


def test_a_plan_file_meets_the_rules_of_then_and_of_now(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the task file are not at hand any more when it is applied, and those of the home may be others."""
    (home / "policy.yaml").rename(tmp_path / "project.yaml")
    (tmp_path / "task.yaml").write_text(f"policy: project.yaml\nbudget: 90\n{TASK}")
    planned = skyc.plan("task.yaml", home=home, out="plan.skyc")
    assert planned.fingerprints is not None and planned.fingerprints.changes is not None
    assert read_plan_file(Path("plan.skyc"))[0].policy_digest == planned.policy_digest != ""
    for name in ("project.yaml", "task.yaml"):
        (tmp_path / name).unlink()

    waiting = refused(home, path="plan.skyc")
    assert waiting.exit_code == 3
    (asked,) = (row for row in waiting.diagnostics if row.slug == "approval-needed")
    assert "Said when it was planned, by project.yaml:2." in asked.detail
    assert asked.hint is not None and asked.hint.endswith(f" {planned.fingerprints.changes[:16]}")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "b@elsewhere.org")
    assert "not-an-approver" in {row.slug for row in refused(home, path="plan.skyc", approve=("short",)).diagnostics}
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "b@example.org")
    seen: list[Plan] = []

    def declined(plan: Plan) -> bool:
        seen.append(plan)
        return False

    assert skyc.apply("plan.skyc", home=home, confirm=declined, approve=("short",)).outcome is Outcome.DECLINED
    assert [(row.rule, row.met, row.approved) for row in seen[0].policies] == [
        ("short", False, "b@example.org"),
        ("budget", True, None),
    ]

    # A rule of the same name, which is met, is no way around it.
    (home / "policy.yaml").write_text("rules: [{name: short, max: {hours: 100}}]")
    assert "approval-needed" in {row.slug for row in refused(home, path="plan.skyc").diagnostics}

    (home / "policy.yaml").write_text("rules: [{name: nothing-here, allow: {clouds: '!local'}}]")
    denied = refused(home, path="plan.skyc", approve=("short",))
    assert denied.exit_code == 3
    assert {row.slug for row in denied.diagnostics if row.severity is Severity.ERROR} == {"policy-denied"}
    (home / "policy.yaml").write_text("rules: [")
    assert refused(home, path="plan.skyc").exit_code == 1
