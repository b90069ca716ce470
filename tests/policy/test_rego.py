"""Rules in Rego: the real engine of the extra, and conftest's protocol with a fake that is named one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from tests.policy.cases import a_policy, a_rule, an_input, said

from skyc.compiler.ir import PolicyEffect
from skyc.compiler.policy.document import document
from skyc.compiler.policy.evaluate import evaluate
from skyc.compiler.policy.load import PolicyFile, load
from skyc.runtime.policy import rego
from skyc.runtime.policy.rego import ask_rego

ROOT = Path(__file__).parents[2]
RULES = """\
package main

deny contains msg if {
  input.cost.per_run > 5
  msg := sprintf("one run costs $%v", [input.cost.per_run])
}

deny contains {"msg": "no machines of that kind"} if {
  some placement in input.placements
  placement.machine == "huge"
}
"""
LABELS = """\
package team.labels

warn contains msg if {
  some task in input.tasks
  some group in task.groups
  some request in group.requests
  not request.labels["cost-center"]
  msg := sprintf("%s has no cost center.", [task.name])
}
"""


def rego_files(folder: Path, **texts: str) -> None:
    (folder / "rego" / "more").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "rego" / ("more" if name == "labels" else ".") / f"{name}.rego").write_text(text)


NOBODY = {"PATH": "/nowhere"}


def test_real_rego(tmp_path: Path) -> None:
    rego_files(tmp_path, rules=RULES, labels=LABELS)
    rule = a_rule(tmp_path, "{name: own, rego: rego, effect: approve}")
    assert said(ask_rego(rule, document(an_input()), NOBODY)) == [
        ("own", PolicyEffect.APPROVE, False, "one run costs $8."),
        ("own", PolicyEffect.WARN, False, "train has no cost center."),
    ]


def test_met(tmp_path: Path) -> None:
    rego_files(tmp_path, rules=RULES.replace("> 5", "> 8"))
    rule = a_rule(tmp_path, "{name: own, rego: rego}")
    assert said(ask_rego(rule, document(an_input()), NOBODY)) == [("own", PolicyEffect.DENY, True, "")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("package main\n\ndeny contains msg if {\n", ""),
        ("deny contains 1 if true\n", ""),
        ('package main\n\ndeny[msg] { msg := "an old form" }\n', "no set of messages"),
        ("package main\n\ndeny if input.cost.per_run > 1\n", "no set of messages"),
        ("package main\n\ndenny contains msg if {\n  msg := input.deployment\n}\n", "no package has a rule"),
    ],
)
def test_rego_that_cannot_be_evaluated_denies(tmp_path: Path, text: str, words: str) -> None:
    rego_files(tmp_path, rules=text)
    (row,) = ask_rego(a_rule(tmp_path, "{name: own, rego: rego, effect: warn}"), document(an_input()), NOBODY)
    assert row.blocks, "whatever the rule's effect"
    assert row.message.startswith("The Rego files in `rego` were not evaluated: ")
    assert words in row.message
    assert len(row.message) < 400


def test_one_that_nobody_asked_denies_whatever_its_effect(tmp_path: Path) -> None:
    rego_files(tmp_path, rules=RULES)
    (row,) = evaluate(a_policy(tmp_path, "rules:\n  - {name: own, rego: rego, effect: warn}\n"), an_input())
    assert row.blocks


def test_without_an_engine_it_denies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rego_files(tmp_path, rules=RULES)
    monkeypatch.setattr(rego, "find_spec", lambda name: None)
    (row,) = ask_rego(a_rule(tmp_path, "{name: own, rego: rego, effect: warn}"), document(an_input()), NOBODY)
    assert row.blocks
    assert "no `conftest` on PATH" in row.message


def test_one_that_does_not_end_denies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rego_files(tmp_path, rules=RULES)
    monkeypatch.setattr(rego, "SECONDS", 0.01)
    (row,) = ask_rego(a_rule(tmp_path, "{name: own, rego: rego}"), document(an_input()), NOBODY)
    assert row.blocks
    assert "took longer than 0.01 s" in row.message


@pytest.fixture
def fake_conftest(tmp_path: Path) -> Path:
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "conftest"
    text = (Path(__file__).parent / "fake_conftest.py").read_text().replace("@SOURCES@", str(ROOT / "src"))
    program.write_text(text.replace("#!/usr/bin/env python3", f"#!{sys.executable}"))
    program.chmod(0o755)
    return place


def test_conftest_is_preferred(tmp_path: Path, fake_conftest: Path) -> None:
    rego_files(tmp_path, rules=RULES, labels=LABELS)
    rule = a_rule(tmp_path, "{name: own, rego: rego}")
    given = an_input()
    assert said(ask_rego(rule, document(given), {"PATH": f"{fake_conftest}{os.pathsep}/bin"})) == [
        ("own", PolicyEffect.DENY, False, "one run costs $8."),
        ("own", PolicyEffect.WARN, False, "train has no cost center."),
    ]
    assert json.loads((fake_conftest / "INPUT").read_text()) == document(given)


@pytest.mark.parametrize(
    "answer", ["", "no JSON", "{}", "[]", '[{"namespace": "main"}]', '[{"failures": ["text"]}]', "[1]", "null"]
)
def test_a_conftest_that_goes_wrong_denies(tmp_path: Path, fake_conftest: Path, answer: str) -> None:
    rego_files(tmp_path, rules=RULES)
    (fake_conftest / "FAKE").write_text(answer)
    found = ask_rego(
        a_rule(tmp_path, "{name: own, rego: rego, effect: warn}"), document(an_input()), {"PATH": str(fake_conftest)}
    )
    assert found[0].blocks


def test_the_document_holds_no_secret(tmp_path: Path) -> None:
    text = json.dumps(document(an_input()))
    for hidden in ("hunter2", "7-epochs", "secret-sauce", "train.py"):
        assert hidden not in text
    found = json.loads(text)
    assert found["schema"] == "skyc.policy-input/v1"
    assert found["tasks"][0]["secrets"] == ["TOKEN"]
    assert found["tasks"][0]["envs"] == ["EPOCHS"]
    assert (found["cost"]["per_run"], found["compared"], found["changes"]) == (8, False, [])


def test_the_files_are_part_of_the_digest(tmp_path: Path) -> None:
    rego_files(tmp_path, rules=RULES)
    text = "rules:\n  - {name: own, rego: rego}\n"
    before = a_policy(tmp_path, text).digest
    (tmp_path / "rego" / "rules.rego").write_text(RULES.replace("> 5", "> 6"))
    assert a_policy(tmp_path, text).digest != before


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_directory_without_rego_is_an_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    path = tmp_path / "policy.yaml"
    path.write_text(f"rules:\n  - {{name: own, rego: {folder}}}\n")
    _, found = load([PolicyFile(path=path, shown="policy.yaml")])
    assert [row.slug for row in found] == ["policy-unreadable"]
    assert found[0].span is not None and found[0].span.line == 2
