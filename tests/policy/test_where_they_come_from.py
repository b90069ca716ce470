"""Policies of the home, of SKYC_POLICY, of the command line and of the task file hold together; none can be lost on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import skyc
from skyc.cli.main import main
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.policy.load import PolicyFile, load
from skyc.runtime.policy.files import policy_files

Run = Callable[..., tuple[int, str, str]]
TASK = """\
name: hello
policy: project.yaml
num_nodes: 2
resources: {infra: local, cpus: 1}
secrets: {TOKEN: }
run: echo hi
"""


def a_rule(name: str, text: str) -> str:
    return f"rules:\n  - {{name: {name}, {text}}}\n"


FEW = "max: {nodes: 1}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a task file that names a policy, beside a home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "project.yaml").write_text(a_rule("labels", "require: {labels: [team]}, effect: warn"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKYC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TOKEN", "hunter2")
    return tmp_path


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--no-color"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_all_of_them_hold(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order does not matter, and a task file cannot take the organisation's away."""
    (project / "home" / "policy.yaml").write_text(a_rule("own", FEW))
    for name in ("a", "b", "c"):
        (project / f"{name}.yaml").write_text(a_rule(name, FEW))
    monkeypatch.setenv("SKYC_POLICY", os.pathsep.join(["a.yaml", "b.yaml"]))
    plan = skyc.plan("task.yaml", offline=True, policies=["c.yaml", "a.yaml"])
    assert {row.rule for row in plan.policies if row.blocks} == {"own", "a", "b", "c"}
    assert {row.rule for row in plan.policies} == {"own", "a", "b", "c", "labels"}
    assert plan.denied and plan.failed
    assert len(plan.policy_digest) == 64 and json.loads(plan.report("json"))["policy_digest"] == plan.policy_digest
    assert next(row.detail for row in plan.diagnostics if row.slug == "policies-held").count("(1)") == 5


def test_each_document_may_name_some(project: Path) -> None:
    """The head of a file, its tasks, and one file twice: each counts once, for the whole plan."""
    (project / "few.yaml").write_text(a_rule("few", FEW))
    one = "name: one\npolicy: [few.yaml, project.yaml]\nresources: {infra: local, cpus: 1}\nrun: a\n"
    two = "name: two\nneeds: [one]\npolicy: ./few.yaml\nresources: {infra: local, cpus: 1}\nrun: b\n"
    (project / "task.yaml").write_text(f"name: both\npolicy: project.yaml\n---\n{one}---\n{two}")
    plan = skyc.plan("task.yaml", offline=True)
    assert [(row.rule, row.blocks) for row in plan.policies if row.rule == "few"] == [("few", True)]
    assert {row.message for row in plan.policies if row.rule == "few"} == {"2 tasks: 2 machines; the rule allows 1."}


def test_without_policies_nothing_is_said(project: Path) -> None:
    (project / "task.yaml").write_text(TASK.replace("policy: project.yaml\n", ""))
    plan = skyc.plan("task.yaml", offline=True)
    assert (plan.policies, plan.policy_digest, plan.denied) == ((), "", False)
    assert not any(row.slug.startswith("polic") for row in plan.diagnostics)


def test_a_budget_is_a_rule_of_the_file_itself(project: Path) -> None:
    (project / "task.yaml").write_text(TASK.replace("policy: project.yaml\n", "budget: 3\n"))
    plan = skyc.plan("task.yaml", offline=True)
    assert [(row.rule, row.met, str(row.origin)) for row in plan.policies] == [("budget", True, "tasks[0].budget")]


@pytest.mark.parametrize("where", ["home", "environment", "option", "task"])
@pytest.mark.parametrize("how", ["broken", "missing"])
def test_one_that_cannot_be_read_stops_everything(project: Path, monkeypatch: pytest.MonkeyPatch, where: str, how: str) -> None:
    bad = {"home": project / "home" / "policy.yaml", "task": project / "project.yaml"}.get(where, project / "bad.yaml")
    if how == "broken":
        bad.write_text("rules: [{nmae: x}]")
    else:
        bad.unlink(missing_ok=True)
        if where == "home":
            bad.symlink_to(project / "nowhere")
    if where == "environment":
        monkeypatch.setenv("SKYC_POLICY", str(bad))
    with pytest.raises(SkycError) as caught:
        skyc.plan("task.yaml", offline=True, policies=[bad] if where == "option" else [])
    slugs = {row.slug for row in caught.value.diagnostics}
    assert slugs & {"unknown-field", "policy-unreadable"}
    assert caught.value.exit_code == 1


def test_the_same_file_counts_once_and_two_rules_share_no_name(project: Path) -> None:
    one, two = project / "one.yaml", project / "two.yaml"
    one.write_text(a_rule("few", FEW))
    two.write_text(a_rule("few", "max: {nodes: 100}"))
    twice, said = load([PolicyFile(path=one, shown="one.yaml"), PolicyFile(path=project / "." / "one.yaml", shown="x")])
    assert (len(twice.rules), said) == (1, ())
    _, said = load([PolicyFile(path=one, shown="one.yaml"), PolicyFile(path=two, shown="two.yaml")])
    (found,) = said
    assert (found.slug, "one.yaml:2" in found.detail) == ("duplicate-rule", True)
    assert found.span is not None and found.span.file == "two.yaml"


def test_a_home_without_one_is_fine(tmp_path: Path) -> None:
    assert policy_files(tmp_path, {}) == ()
    (tmp_path / "policy.yaml").write_text("")
    alone = policy_files(tmp_path, {"SKYC_POLICY": "x"}, [Path("y")], alone=True)
    assert [file.shown for file in alone] == ["y"]


def test_a_denied_plan_shows_its_report_and_ends_with_3(run: Run, project: Path) -> None:
    (project / "few.yaml").write_text(f"# mine\n{a_rule('few', FEW + ', reason: Nodes are scarce.')}")
    code, out, err = run("plan", "task.yaml", "--offline", "--policy", "few.yaml", "--secret", "TOKEN")
    assert code == 3
    assert "2 nodes" in out
    assert "error[policy-denied]" in err
    assert " --> task.yaml:3:12\n" in err, "the line of the task file"
    assert "few.yaml:3: - {name: few, max: {nodes: 1}" in err, "and of the policy"
    assert "Nodes are scarce." in err
    assert "hunter2" not in out + err
    assert run("plan", "task.yaml", "--offline", "--secret", "TOKEN")[0] == 0


def test_check_holds_a_policy_against_task_files(run: Run, project: Path) -> None:
    """Without secrets, alone, and whatever the home says."""
    (project / "home" / "policy.yaml").write_text("no policy at all")
    (project / "few.yaml").write_text(a_rule("few", FEW))
    (project / "one.yaml").write_text(TASK.replace("num_nodes: 2\n", ""))
    (project / "broken.yaml").write_text("nmae: x")
    assert run("policy", "check", "few.yaml")[0] == 0
    assert run("policy", "check", "few.yaml", "one.yaml")[0] == 0
    code, out, err = run("policy", "check", "few.yaml", "one.yaml", "task.yaml")
    assert code == 3
    assert "one.yaml: allowed" in out and "task.yaml: denied" in out
    assert "policy-denied" in err
    code, out, _ = run("policy", "check", "few.yaml", "task.yaml", "broken.yaml", "nowhere.yaml", "--json")
    assert code == 1
    found = json.loads(out)
    assert [(task["path"], task["denied"], task["failed"]) for task in found["tasks"]] == [
        ("task.yaml", True, False),
        ("broken.yaml", False, True),
        ("nowhere.yaml", False, True),
    ]
    assert found["rules"] == [{"name": "few", "effect": "deny", "asks": "max", "reason": "", "source": "few.yaml:2"}]
    code, _, err = run("policy", "check", "broken.yaml")
    assert (code, "unknown-field" in err) == (1, True)


def test_check_says_what_matches_nothing(run: Run, project: Path) -> None:
    """A misspelt exclusion would forbid nothing."""
    (project / "odd.yaml").write_text(
        "rules:\n"
        "  - {name: places, allow: {clouds: [asw, gcp], regions: ['eu-*', euwest-1]}}\n"
        "  - {name: kinds, allow: {machines: ['!g5.*', '!h5.*'], accelerators: '!H10O', zones: '!use1-az9'}}\n"
    )
    code, _, err = run("policy", "check", "odd.yaml")
    assert code == 0
    assert err.count("warning[matches-nothing]") == 5
    for words in (
        "clouds of the catalog is called `asw`, so it allows nothing",
        "did you mean `aws`?",
        "called `euwest-1`",
        "called `h5.*`, so it takes nothing away",
        "did you mean `H100`?",
        "called `use1-az9`",
    ):
        assert words in err
    assert "odd.yaml:3:" in err


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("rules: [{name: a, allow: {regions: [x]}, when: {labels: {env: prod}}, except: {tasks: y}}]", True),
        ("rules: [{name: a, max: {per_run: $5, nodes: 3, hours: 90m}, effect: approve, approvers: me}]", True),
        ("rules: [{name: a, forbid: [spot, public-ingress]}]", True),
        ("rules: [{name: a, require: {labels: {team: [a, 'b*']}, fields: budget}}]", True),
        ("rules: [{name: a, require: {labels: [team]}}]", True),
        ("rules: [{name: a, plugin: acme}, {name: b, rego: policy}]", True),
        ("rules: [{name: a, forbid: [spots]}]", False),
        ("rules: [{name: a, alow: {regions: [x]}}]", False),
        ("rules: [{name: a, max: {per_run: five}}]", False),
        ("rule: []", False),
    ],
)
def test_the_schema_says_what_the_reader_says(tmp_path: Path, text: str, valid: bool) -> None:
    schema: Any = skyc.schema("policy")
    jsonschema.Draft202012Validator.check_schema(schema)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text)))
    assert (not errors) is valid
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "a.rego").write_text("package main")
    _, said = load([PolicyFile(path=path, shown="policy.yaml")])
    assert (not said) is valid, said
