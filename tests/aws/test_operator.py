"""The policy that docs/aws-operator-policy.json gives to who runs skyc at AWS: it suffices, and every action in it is needed.

Needs the released provider in a mirror. Quick: the machines' site lives with exactly this policy, and no action of EC2 or IAM stands in
it that was not asked for. `make iam` does the buckets too (the provider waits a minute for a bucket's rules), and takes every action
away in turn, which must break something; that takes most of an hour.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws.operator import POLICY, Denied, Operator, recorded
from tests.lengths import LONG
from tests.simulator.real_provider import mirror

STATEMENTS: list[dict[str, Any]] = json.loads(POLICY.read_text())["Statement"]
SWEEP = os.environ.get("SKYC_IAM_SWEEP") == "1"

UNPROVEN = {
    "ec2:CreateLaunchTemplateVersion": "a disk or a machine type that changes; not among the steps",
    "ec2:CreatePlacementGroup": "moto has no placement groups",
    "ec2:DeleteNetworkInterface": "an interface left by a machine that was killed while it started; not among the steps",
    "ec2:DeletePlacementGroup": "moto has no placement groups",
    "ec2:DescribePlacementGroups": "moto has no placement groups",
    "ec2:DeleteTags": "a label that is taken away; not among the steps",
    "ec2:DeleteVolume": "a disk left by a machine that was killed while it started; not among the steps",
    "ec2:DescribeInstanceCreditSpecifications": "asked for burstable machines; moto has none",
    "ec2:DescribeSpotInstanceRequests": "moto makes no spot machines from a launch template",
    "iam:CreateServiceLinkedRole": "EC2 does it for the account's first spot machine; moto has no such roles",
    "iam:PassRole": "moto lets every role be passed",
    "iam:TagInstanceProfile": "moto does not ask for it when tags come with what is made",
    "iam:TagRole": "moto does not ask for it when tags come with what is made",
    "s3:GetObject": "a plan looks for the newest checkpoint; the steps here start no job",
    "ssm:GetParameters": "EC2 resolves the image with the caller's rights; moto resolves none",
}
"""Actions that moto does not evaluate, or no step here leads to, with the reason. docs/aws.md says the same."""
TOLERATED: dict[str, str] = {}
"""Actions that are asked for and that the released provider does without when they are denied."""


def actions(statements: list[dict[str, Any]]) -> Iterator[str]:
    for statement in statements:
        yield from statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]


def without(action: str) -> list[dict[str, Any]]:
    """The policy with one action less."""
    left = [{**statement, "Action": [name for name in actions([statement]) if name != action]} for statement in STATEMENTS]
    return [statement for statement in left if statement["Action"]]


def test_the_policy_is_plain() -> None:
    names = list(actions(STATEMENTS))
    assert len(set(names)) == len(names), "an action stands in it twice"
    assert not [name for name in names if "*" in name], "a wildcard among the actions"
    assert set(UNPROVEN) <= set(names), "a reason for what is not in it"
    for statement in STATEMENTS:
        if {name.partition(":")[0] for name in actions([statement])} & {"iam", "s3"} and statement["Resource"] == "*":
            assert all(name.partition(":")[2].startswith("List") for name in actions([statement]))


@pytest.mark.terraform
@pytest.mark.timeout(900)
@pytest.mark.skipif(not SWEEP and not LONG, reason="takes minutes: `make long`")
@pytest.mark.parametrize(
    "machines", [True, pytest.param(False, marks=pytest.mark.skipif(not SWEEP, reason="make iam"))], ids=["machines", "buckets"]
)
def test_it_suffices_and_nothing_in_it_goes_unasked(tmp_path: Path, account: Any, machines: bool) -> None:
    mirror()
    operator = Operator(tmp_path / "site", account, STATEMENTS, machines=machines)
    with recorded() as asked:
        operator.live()
    mine = {name for name in actions(STATEMENTS) if name.startswith("s3:") is not machines}
    assert mine - asked - set(UNPROVEN) == set(), "an action that nothing asks for"
    assert mine & asked & set(UNPROVEN) == set(), "a reason that does not hold any more"


@pytest.mark.terraform
@pytest.mark.timeout(900)
@pytest.mark.skipif(not SWEEP, reason="make iam")
@pytest.mark.parametrize("action", [name for name in actions(STATEMENTS) if name not in UNPROVEN] if SWEEP else ["all"])
def test_every_action_is_needed(tmp_path: Path, account: Any, action: str) -> None:
    mirror()
    operator = Operator(tmp_path / "site", account, without(action), machines=not action.startswith("s3:"))
    with recorded():
        if action in TOLERATED:
            operator.live()
        else:
            with pytest.raises(Denied):
                operator.live()
