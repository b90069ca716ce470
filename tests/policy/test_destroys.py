"""Rules about `skyc destroy`: what forbids it, whom it asks, and that nothing goes before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.failover import fake_terraform
from tests.failover.pretended import Account, opened
from tests.policy.cases import a_policy, said

from skyc.compiler.diagnostics import SkycError, SourceFile
from skyc.compiler.ir import Action, ChangeSet, DeploymentId, PolicyEffect, ResourceChange, SiteId, TaskId
from skyc.compiler.policy.destroying import Destruction, evaluate_destroy
from skyc.compiler.policy.parse import parse_policy
from skyc.runtime.destroy import destroy
from skyc.runtime.plans import destruction
from skyc.runtime.request import Request
from skyc.runtime.results import DestroyOutcome, Plan

TASK = """\
name: train-prod
resources: {infra: aws/us-east-1, instance_type: g5.xlarge}
run: python train.py
"""
REGO = """\
package main
deny contains "production stays" if { input.destroying; endswith(input.deployment, "-prod") }
deny contains "no task" if { not input.destroying; count(input.tasks) == 0 }
"""


def a_destruction(name: str = "train-prod", *, purge: bool = False) -> Destruction:
    gone = ResourceChange(address="x.y", type="x", action=Action.DELETE, reason=None, attributes=())
    site = ChangeSet(site=SiteId("train.aws-r"), engine="t", engine_version="1", changes=(gone, gone))
    return Destruction(deployment=DeploymentId(name), tasks=(TaskId("train"),), changes=(site,), purge=purge)


@pytest.mark.parametrize(
    ("rule", "given", "met"),
    [
        ("forbid: destroy", a_destruction(), False),
        ("forbid: purge", a_destruction(), True),
        ("forbid: purge", a_destruction(purge=True), False),
        ("forbid: [destroy, purge]", a_destruction(), False),
        ("forbid: destroy, when: {deployments: '*-prod'}", a_destruction(), False),
        ("forbid: destroy, when: {deployments: '*-prod'}", a_destruction("sandbox"), True),
        ("forbid: destroy, except: {deployments: 'sandbox*'}", a_destruction("sandbox"), True),
        ("forbid: destroy, except: {deployments: 'sandbox*'}", a_destruction(), False),
        ("forbid: destroy, when: {tasks: train}", a_destruction(), False),
        ("forbid: destroy, when: {tasks: serve}", a_destruction(), True),
        ("forbid: destroy, except: {tasks: serve}", a_destruction(), False),
        ("forbid: destroy, except: {tasks: 't*'}", a_destruction(), True),
    ],
)
def test_what_is_forbidden(tmp_path: Path, rule: str, given: Destruction, met: bool) -> None:
    policies = a_policy(tmp_path, f"rules: [{{name: stays, {rule}}}]")
    (row,) = evaluate_destroy(policies, given, {})
    assert (row.met, row.blocks) == (met, not met)
    assert met or ("train-prod" in row.message and "2 resources" in row.message)


def test_rules_about_plans_say_nothing_of_a_destroy(tmp_path: Path) -> None:
    text = "rules: [{name: a, forbid: [destroy-nodes, destroy-storage]}, {name: b, max: {nodes: 1}}, {name: c, plugin: p}]"
    assert evaluate_destroy(a_policy(tmp_path, text), a_destruction(), {}) == ()


def test_labels_are_not_known_then() -> None:
    source = SourceFile(path="policy.yaml", text="rules: [{name: a, forbid: destroy, when: {labels: {env: prod}}}]")
    policy, (found,) = parse_policy(source)
    assert policy is None and found.slug == "conflicting-fields" and "knows the deployment" in found.detail


def test_rego_that_nobody_asked_denies(tmp_path: Path) -> None:
    (tmp_path / "rego").mkdir()
    (tmp_path / "rego" / "a.rego").write_text(REGO)
    policies = a_policy(tmp_path, "rules: [{name: own, rego: rego, effect: warn}]")
    assert said(evaluate_destroy(policies, a_destruction(), {})) == [
        ("own", PolicyEffect.DENY, False, "Nobody was asked about it.")
    ]


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    fake_terraform.install(monkeypatch)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.email")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "b@example.org")
    with opened(tmp_path / "home") as found:
        found.up(TASK)
        yield found


def never(plan: Plan) -> bool:
    raise AssertionError("nobody is asked about what is refused")


def test_nothing_goes_that_a_rule_keeps(account: Account) -> None:
    (account.home / "rego").mkdir()
    (account.home / "rego" / "a.rego").write_text(REGO)
    rules = (
        "{name: prod, forbid: destroy, reason: Ask first., effect: approve, approvers: '*@example.org', when: {deployments: '*-prod'}}",
        "{name: own, rego: rego}",
    )
    (account.home / "policy.yaml").write_text(f"rules: [{', '.join(rules)}]")

    def refused(*approve: str) -> list[str]:
        before = account.world.resources()
        with pytest.raises(SkycError) as caught:
            destroy(account.session, "train-prod", confirm=never, approve=approve)
        assert caught.value.exit_code == 3 and account.world.resources() == before != ()
        return [f"{found.slug}: {found.detail} {' '.join(found.commands)}" for found in caught.value.diagnostics]

    denied, asked = sorted(line for line in refused() if not line.startswith("policies-held"))[::-1]
    assert denied.startswith("policy-denied: Rule `own`: production stays.")
    assert "Ask first." in asked and asked.endswith("skyc destroy train-prod --approve prod")
    (only,) = (line for line in refused("prod") if not line.startswith("policies-held"))
    assert only == denied, "what is approved is asked no more, and takes no denial away"

    # A plan of it shows what an apply of it would not do.
    plan = destruction(account.session, Request(path=account.home.parent / "task.yaml", env={}, secrets={}))
    assert plan.destroying and plan.denied and plan.failed

    (account.home / "policy.yaml").write_text(f"rules: [{rules[0]}]")
    assert len(refused()) == 2
    result = destroy(account.session, "train-prod", confirm=lambda plan: not plan.denied, approve=("prod",))
    assert result.outcome is DestroyOutcome.DESTROYED and account.world.resources() == ()
