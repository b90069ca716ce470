"""Policies in Python: installed packages as pip leaves them, and everything a stranger's function can do wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.policy.cases import a_policy, a_rule, an_input, said

from skyc.compiler.ir import PolicyEffect
from skyc.compiler.policy.evaluate import evaluate
from skyc.compiler.policy.load import installed
from skyc.runtime.policy.plugins import ask_plugin

Install = Callable[[str], None]
HEAD = """\
import time
from skyc.compiler.ir import PolicyEffect, PolicyResult
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A package with the plug-in `acme`, on the path as an installed one is."""

    def make(body: str) -> None:
        place = tmp_path / "site"
        info = place / "acme_rules-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rules\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("[skyc.policies]\nacme = acme_rules:judge\n")
        (place / "acme_rules.py").write_text(HEAD + body)
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, "acme_rules", raising=False)

    return make


def test_a_plug_in_judges_a_typed_input(install: Install, tmp_path: Path) -> None:
    install(
        """
def judge(given):
    (task,) = given.graph.tasks
    yield PolicyResult(rule="z", effect=PolicyEffect.WARN, met=False, message=f"{task.id} runs {task.hours} h.",
                       origin=task.origin.child("hours"))
    yield PolicyResult(rule="a", effect=PolicyEffect.APPROVE, met=False, message="Large.", approved="myself")
    yield PolicyResult(rule="", effect=PolicyEffect.DENY, met=True, source="elsewhere")
"""
    )
    policies = a_policy(tmp_path, "rules:\n  - {name: acme, plugin: acme}\n")
    (rule,) = policies.rules
    given = an_input()
    found = ask_plugin(rule, given)
    assert said(found) == [
        ("acme/a", PolicyEffect.APPROVE, False, "Large."),
        ("acme/z", PolicyEffect.WARN, False, "train runs 10 h."),
        ("acme", PolicyEffect.DENY, True, ""),
    ]
    assert [row.approved for row in found] == [None] * 3, "a plug-in approves nothing"
    assert {row.source for row in found} == {"policy.yaml:2"}
    assert set(found) <= set(evaluate(policies, given, {"acme": found}))
    assert rule.check == type(rule.check)(name="acme", version="acme-rules 1.2")  # type: ignore[call-arg]
    assert installed("other") == ""


def test_the_version_of_a_plug_in_is_in_the_digest(install: Install, tmp_path: Path) -> None:
    text = "rules:\n  - {name: acme, plugin: acme}\n"
    before = a_policy(tmp_path, text).digest
    install("def judge(given): return ()")
    assert a_policy(tmp_path, text).digest != before


def test_nothing_to_say_is_met(install: Install, tmp_path: Path) -> None:
    install("def judge(given): return []")
    found = ask_plugin(a_rule(tmp_path, "{name: acme, plugin: acme}"), an_input())
    assert said(found) == [("acme", PolicyEffect.DENY, True, "")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def judge(given): raise KeyError('team')", "failed: KeyError: 'team'"),
        ("def judge(given):\n    yield 'denied'", "gave a str, which is no PolicyResult"),
        ("def judge(given): return None", "failed: TypeError"),
        ("def judge(given): raise SystemExit(0)", "failed: SystemExit"),
        ("def judge(given): given.graph.tasks[0].id = 'other'", "failed: FrozenInstanceError"),
        ("import nowhere_to_be_found", "failed: ModuleNotFoundError"),
        ("judg = 1", "failed: AttributeError"),
        ("def judge(given): time.sleep(60)", "did not answer within 0.2 s"),
    ],
)
def test_what_goes_wrong_is_a_denial_with_its_name(install: Install, tmp_path: Path, body: str, words: str) -> None:
    install(body)
    began = time.monotonic()
    seconds = 0.2 if "sleep" in body else 10.0
    (row,) = ask_plugin(a_rule(tmp_path, "{name: ours, plugin: acme}"), an_input(), seconds=seconds)
    assert (row.rule, row.effect, row.met, row.blocks) == ("ours", PolicyEffect.DENY, False, True)
    assert f"`acme` {words}" in row.message
    assert time.monotonic() - began < 30


def test_one_that_is_not_installed_denies(tmp_path: Path) -> None:
    (row,) = ask_plugin(a_rule(tmp_path, "{name: ours, plugin: acme}"), an_input())
    assert row.blocks
    assert "`acme` is not installed" in row.message


def test_one_that_nobody_asked_denies(tmp_path: Path) -> None:
    policies = a_policy(tmp_path, "rules:\n  - {name: ours, plugin: acme}\n")
    (row,) = evaluate(policies, an_input())
    assert row.blocks
