"""The policy that docs/aws-operator-policy.json gives to who runs skyc at AWS: its form, and that it suffices.

That every action in it is needed, `make iam` proves (`permissions.py`); here is what that makes of what it sees. With `make long` the
machines' sites live with exactly this policy; those of buckets wait for a minute, and are left to `make iam`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.aws.moto_iam import Asked
from tests.aws.operator import ANOTHER_DISK, POLICY, Life, Operator, enforced
from tests.aws.permissions import (
    ALONE,
    NEEDED,
    NOT_NEEDED,
    NOT_PROVEN,
    STANDSTILL,
    STATEMENTS,
    TOLERATED,
    UNPROVEN,
    Lived,
    Record,
    Verdict,
    actions,
    proven,
    stands_still,
    table,
    verdict,
    without,
)
from tests.lengths import takes_minutes
from tests.simulator.real_provider import mirror

IT, OTHER = "s3:ListBucket", "s3:GetBucketAcl"


def asked(action: str, granted: bool, at: float = 0.0) -> Asked:
    return Asked(action, "*", granted, at)


def test_the_policy_is_plain() -> None:
    names = list(actions(STATEMENTS))
    assert len(set(names)) == len(names), "an action stands in it twice"
    assert not [name for name in names if "*" in name], "a wildcard among the actions"
    assert set(UNPROVEN) | set(TOLERATED) <= set(names), "a reason for what is not in it"
    for statement in STATEMENTS:
        if {name.partition(":")[0] for name in actions([statement])} & {"iam", "s3"} and statement["Resource"] == "*":
            assert all(name.partition(":")[2].startswith("List") for name in actions([statement]))


def test_one_action_less() -> None:
    assert set(actions(STATEMENTS)) - set(actions(without(IT))) == {IT}
    assert len(without("ssm:GetParameters")) == len(STATEMENTS) - 1, "a statement without actions is none"


@pytest.mark.parametrize(
    ("lived", "says"),
    [
        (Lived(judged=(asked(OTHER, True), asked(IT, False)), failure="make: refused"), NEEDED),
        # A step failed, and IAM had nothing to do with it: what was left by another life is such a case.
        (Lived(judged=(asked(IT, True),), failure="make: there is one already"), NOT_PROVEN),
        (Lived(judged=(asked(OTHER, False), asked(IT, False)), failure="make: refused"), NOT_PROVEN),
        (Lived(judged=(asked(IT, False),)), NOT_NEEDED),
        (Lived(judged=(asked(OTHER, True),)), NOT_PROVEN),
        (Lived(judged=(asked(IT, False),), given_back=61.0), NEEDED),
        (Lived(judged=(asked(IT, False),), given_back=61.0, failure="destroy: not ended"), NOT_PROVEN),
    ],
    ids=["refused", "for-another-reason", "others-too", "done-without", "unasked", "stood-still", "stood-still-for-good"],
)
def test_what_a_life_without_it_shows(lived: Lived, says: str) -> None:
    assert verdict(IT, lived).says == says


def test_a_standstill_is_nothing_but_refusals() -> None:
    early, late = 100.0, 100.0 + STANDSTILL
    repeated = [asked(IT, False, early), asked(IT, False, late - 5)]
    assert stands_still(repeated, late) == STANDSTILL
    assert stands_still(repeated, late - 1) is None, "too early"
    assert stands_still([*repeated, asked(OTHER, True, late - 1)], late) is None, "something else goes on"
    assert stands_still([asked(IT, False, early)], late) is None, "it was done without, and the cloud is waited for"
    assert stands_still([asked(OTHER, True, early)], late) is None
    assert ALONE < STANDSTILL


def test_the_table_names_every_action() -> None:
    (unproven,) = UNPROVEN
    record = Record(key="k", asked={"buckets": {IT: ["make"]}})
    record.verdicts[IT] = Verdict(action=IT, says=NEEDED, why="make: refused, and the step failed")
    wide = len(unproven)
    assert table(record, [IT, unproven]) == [
        f"{IT:{wide}}  needed      make: refused, and the step failed",
        f"{unproven}  not proven  {UNPROVEN[unproven]}",
        "",
        "2 actions: 1 needed, 0 not needed, 1 not proven",
    ]
    assert proven(record, [IT, unproven])
    record.asked["gang"] = {unproven: ["make"]}
    assert not proven(record, [IT, unproven]), "a reason that does not hold any more"


def test_what_can_be_left_out_of_a_life() -> None:
    record = Record(
        key="k", asked={"machines": {"a:A": ["make", ANOTHER_DISK], "a:B": [ANOTHER_DISK]}, "gang": {"a:C": ["make"]}}
    )
    assert record.place("a:A") == (Life.MACHINES, frozenset({ANOTHER_DISK}))
    assert record.place("a:B") == (Life.MACHINES, frozenset())
    assert record.place("a:C") == (Life.GANG, frozenset({ANOTHER_DISK}))
    assert record.place("a:D") is None


def test_the_page_names_what_is_not_proven() -> None:
    page = (POLICY.parent / "aws.md").read_text()
    section = page.partition("Not proven that way")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert {name for line in rows for name in re.findall(r"`([a-z0-9]+:\w+)`", line.split("|")[1])} == set(UNPROVEN)


@pytest.mark.terraform
@pytest.mark.timeout(900)
@takes_minutes
@pytest.mark.parametrize("life", [Life.MACHINES, Life.GANG], ids=lambda life: life.value)
def test_it_suffices(tmp_path: Path, account: Any, life: Life) -> None:
    mirror()
    operator = Operator(tmp_path / "home", account, STATEMENTS, life)
    with enforced() as judged:
        operator.live()
    assert {row.action for row in judged if not row.granted} == set()
