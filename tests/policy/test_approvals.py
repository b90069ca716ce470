"""Approvals: for one rule and one plan, by somebody the rule names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.policy.cases import a_policy

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import PolicyEffect, PolicyResult
from skyc.runtime.policy.approvals import Approval, approved, read_approvals, refuse_unknown, somebody

POLICY = """\
rules:
  - {name: dear, max: {per_run: 1}, effect: approve, approvers: ["*@ml.example.org", boss]}
  - {name: open, max: {nodes: 1}, effect: approve}
  - {name: never, forbid: spot}
"""
PLAN = "ab" * 32
OTHER = "cd" * 32


def row(rule: str, effect: PolicyEffect = PolicyEffect.APPROVE, *, met: bool = False) -> PolicyResult:
    approvers = ("*@ml.example.org", "boss") if rule == "dear" else ()
    return PolicyResult(rule=rule, effect=effect, met=met, message="" if met else "Too much.", approvers=approvers)


ROWS = (row("dear"), row("open"), row("never", PolicyEffect.DENY), row("open", met=True))


@pytest.mark.parametrize(
    ("named", "who", "filed", "blocking", "slugs"),
    [
        ((), "", (), {"dear", "open", "never"}, []),
        (("open",), "anybody", (), {"dear", "never"}, []),
        (("dear", "open"), "anna@ml.example.org", (), {"never"}, []),
        (("dear",), "anna@example.org", (), {"dear", "open", "never"}, ["not-an-approver"]),
        (("dear",), "boss", (), {"open", "never"}, []),
        (("never",), "boss", (), {"dear", "open", "never"}, []),
        ((), "", (Approval(rule="dear", by="boss", fingerprint=PLAN),), {"open", "never"}, []),
        ((), "", (Approval(rule="dear", by="boss", fingerprint=PLAN[:12]),), {"open", "never"}, []),
        (
            (),
            "",
            (Approval(rule="dear", by="boss", fingerprint=OTHER),),
            {"dear", "open", "never"},
            ["approval-for-another-plan"],
        ),
        ((), "", (Approval(rule="dear", by="eve", fingerprint=PLAN),), {"dear", "open", "never"}, ["not-an-approver"]),
        ((), "", (Approval(rule="never", by="boss", fingerprint=PLAN),), {"dear", "open", "never"}, []),
    ],
)
def test_what_counts(
    tmp_path: Path,
    named: tuple[str, ...],
    who: str,
    filed: tuple[Approval, ...],
    blocking: set[str],
    slugs: list[str],
) -> None:
    rows, said = approved(ROWS, fingerprint=PLAN, filed=filed, named=named, who=who)
    assert {item.rule for item in rows if item.blocks} == blocking
    assert [item.slug for item in said] == slugs
    assert [item.rule for item in rows] == [item.rule for item in ROWS]


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "approvals.yaml"
    path.write_text(f"approvals:\n  - {{rule: dear, by: boss, fingerprint: '{PLAN}'}}\n")
    environ = {"SKYC_APPROVALS": str(path)}
    assert read_approvals(environ) == (Approval(rule="dear", by="boss", fingerprint=PLAN),)
    assert read_approvals({}) == ()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "approvals: 7",
        "approvals: [{rule: dear, by: boss}]",
        "approvals: [dear]",
        "approvals: [{rule: dear, by: boss, fingerprint: abc}]",
        "approvals: [{rule: dear, by: boss, fingerprint: 123456}]",
        "rules: []",
        "a: [",
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "approvals.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SkycError) as caught:
        read_approvals({"SKYC_APPROVALS": str(path)})
    assert [found.slug for found in caught.value.diagnostics] == ["bad-approvals"]
    assert "approvals.yaml" in caught.value.diagnostics[0].detail


def test_a_misspelt_rule_is_an_error(tmp_path: Path) -> None:
    policies = a_policy(tmp_path, POLICY)
    refuse_unknown(["dear", "open"], ROWS, policies)
    with pytest.raises(SkycError) as caught:
        refuse_unknown(["daer"], ROWS, policies)
    (found,) = caught.value.diagnostics
    assert (found.slug, found.hint) == ("unknown-rule", "did you mean `dear`?")


def test_who_somebody_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("LOGNAME", "anna")
    assert somebody(tmp_path) == "anna"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "user.email", "anna@example.org"], check=True)
    assert somebody(tmp_path) == "anna@example.org"
