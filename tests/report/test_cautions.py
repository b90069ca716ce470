"""What a caution is given for, and what is no news."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.report.plans import MEANINGS, POLICY, SECRET, change, known, report, site, unknown

from skyc.compiler.ir import Action, Market, ResourceChange
from skyc.compiler.report.cautions import cautions_of
from skyc.compiler.report.changes import change_rows
from skyc.providers.registry import meanings

REAL = meanings()


def said(*changes: ResourceChange, real: bool = False) -> list[str]:
    rows = change_rows((site(*changes),))
    return [caution.sentence for caution in cautions_of(rows, (), REAL if real else MEANINGS, environment="")]


def rule(action: Action, before: str | None, after: str | None, *more: object) -> ResourceChange:
    return change(action, "cloud_rule.a", known("from", before, after), *more)  # type: ignore[arg-type]


SSH = (known("first_port", None, "22"), known("last_port", None, "22"))
IN, OUT = known("direction", None, '"in"'), known("direction", None, '"out"')
OPEN, CLOSED = '"0.0.0.0/0"', '"203.0.113.0/24"'


@pytest.mark.parametrize(
    ("opened", "expected"),
    [
        (rule(Action.CREATE, None, OPEN, IN), ["lets everybody in: cloud_rule.a"]),
        (rule(Action.CREATE, None, '"::/0"', IN), ["lets everybody in: cloud_rule.a"]),
        (rule(Action.CREATE, None, '"Internet"', IN), ["lets everybody in: cloud_rule.a"]),
        # The whole world in two halves is the whole world.
        (rule(Action.CREATE, None, '["10.0.0.0/8", "128.0.0.0/1"]', IN), ["lets everybody in: cloud_rule.a"]),
        (
            rule(Action.CREATE, None, OPEN, IN, known("first_port", None, "22"), known("last_port", None, "22")),
            ["lets everybody in: cloud_rule.a (port 22)"],
        ),
        (rule(Action.CREATE, None, OPEN, OUT), []),
        (rule(Action.CREATE, None, CLOSED, IN), []),
        (rule(Action.CREATE, None, '"10.0.0.0/8"', IN), []),
        # The direction did not change, so a plan does not say it: taken to be the graver one.
        (rule(Action.UPDATE, CLOSED, OPEN), ["lets everybody in: cloud_rule.a"]),
        (rule(Action.UPDATE, OPEN, CLOSED), []),
        (rule(Action.UPDATE, OPEN, '"0.0.0.0/1"'), []),
        # Open already, and now at more ports.
        (
            rule(Action.UPDATE, OPEN, '"0.0.0.0/1"', known("last_port", "22", "65535")),
            ["lets everybody in: cloud_rule.a (port 65535)"],
        ),
        (change(Action.UPDATE, "cloud_rule.a", known("direction", '"out"', '"in"')), ["lets everybody in: cloud_rule.a"]),
        (change(Action.UPDATE, "cloud_rule.a", known("name", '"a"', '"b"')), []),
        (change(Action.CREATE, "cloud_rule.a", unknown("from"), IN), []),
        (change(Action.DELETE, "cloud_rule.a", known("from", OPEN, None)), ["destroys cloud_rule.a"]),
    ],
)
def test_what_lets_everybody_in(opened: ResourceChange, expected: list[str]) -> None:
    assert said(opened) == expected


def test_data_becomes_public_once() -> None:
    assert said(change(Action.UPDATE, "cloud_bucket.a", known("public", "false", "true"))) == [
        "makes data public: cloud_bucket.a"
    ]
    assert said(change(Action.UPDATE, "cloud_bucket.a", known("public", "true", "false"))) == []


def test_rights_are_what_was_not_allowed_before() -> None:
    def policy(before: str | None, after: str) -> list[str]:
        old = None if before is None else POLICY % before
        return said(change(Action.UPDATE, "cloud_role.a", known("policy", old, POLICY % after)))

    assert policy('\\"get\\"', '[\\"get\\"]') == []
    assert policy('[\\"get\\", \\"put\\"]', '\\"get\\"') == []
    assert policy('\\"get\\"', '[\\"get\\", \\"put\\"]') == ["gives rights: cloud_role.a (put on bucket/*)"]
    ten = ", ".join(f'\\"{name}\\"' for name in "abcdefghij")
    assert policy(None, f"[{ten}]") == ["gives rights: cloud_role.a (a, b, c, d, e, f, g, h, and 2 more on bucket/*)"]
    assert said(change(Action.UPDATE, "cloud_role.a", known("policy", None, '"no document"'))) == [
        'gives rights: cloud_role.a ("no document")'
    ]
    assert said(change(Action.UPDATE, "cloud_role.a", unknown("policy", '"x"'))) == [
        "gives rights: cloud_role.a (what, is known after the apply)"
    ]


def test_a_bucket_that_everybody_may_read() -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": "b/*"}
    text = json.dumps(json.dumps({"Statement": statement}))
    found = said(change(Action.CREATE, "aws_s3_bucket_policy.b", known("policy", None, text)), real=True)
    assert found == ["gives rights: aws_s3_bucket_policy.b (s3:GetObject on b/* by everybody)"]


def test_a_binding_is_a_right() -> None:
    binding = change(Action.CREATE, "cloud_binding.a", known("role", None, '"writer"'), known("member", None, '"x"'))
    assert said(binding) == ["gives rights: cloud_binding.a (role writer · member x)"]
    assert said(change(Action.UPDATE, "cloud_binding.a", known("title", '"a"', '"b"'))) == []


def test_what_dies_is_named_with_its_size() -> None:
    gone = change(Action.DELETE, "aws_instance.head", known("root_block_device.0.volume_size", "500", None))
    assert said(gone, real=True) == ["destroys aws_instance.head and its 500 GB root disk, without a snapshot"]
    whole = unknown("root_block_device", '[{"volume_size": 256, "encrypted": true}]')
    replaced = change(Action.REPLACE, "aws_instance.head", whole, known("ami", '"a"', '"b"', forces=True))
    assert said(replaced, real=True) == [
        'replaces aws_instance.head and its 256 GB root disk, without a snapshot (ami "a" → "b")'
    ]
    assert said(change(Action.DELETE, "skyc_node.main-0"), real=True) == [
        "destroys skyc_node.main-0 and its directory on this machine"
    ]


def test_what_dies_without_data_is_named_in_one_line() -> None:
    small = [change(Action.DELETE, f"aws_{name}.site") for name in ("vpc", "subnet", "route", "iam_role")]
    machine = change(Action.DELETE, "aws_instance.head")
    strange = change(Action.DELETE, "aws_something_else.a")
    assert said(*small, machine, strange, real=True) == [
        "destroys aws_instance.head and its root disk, without a snapshot",
        "destroys aws_something_else.a",
        "destroys 4 resources that hold no data: aws_iam_role.site, aws_route.site, aws_subnet.site, aws_vpc.site",
    ]
    assert len(said(*small[:3], machine, real=True)) == 4, "three are few enough to stand alone"


def test_machines_with_public_addresses_are_one_caution() -> None:
    new = [change(Action.CREATE, f"cloud_machine.n{n}", known("ip", None, "true")) for n in range(5)]
    assert said(*new) == ["gives a public address: cloud_machine.n0, cloud_machine.n1, cloud_machine.n2, and 2 more"]


def test_the_address_of_a_way_out_is_no_machines() -> None:
    """Nobody comes in through it."""
    found = said(
        change(Action.CREATE, "aws_eip.nat", known("tags", None, '{"Name": "train-nat", "skyc-use": "nat"}')),
        change(Action.CREATE, "aws_eip.main-0", known("tags", None, '{"Name": "train-main-0"}')),
        change(Action.CREATE, "azurerm_public_ip.out", known("name", None, '"out"')),
        change(Action.CREATE, "azurerm_public_ip.main-0", known("name", None, '"train-main-0-ip"')),
        change(Action.CREATE, "ibm_is_floating_ip.out-us-south-1", known("zone", None, '"us-south-1"')),
        change(Action.CREATE, "ibm_is_floating_ip.main-0", unknown("zone"), unknown("target")),
        real=True,
    )
    assert found == ["gives a public address: aws_eip.main-0, azurerm_public_ip.main-0, ibm_is_floating_ip.main-0"]


def test_spot_machines_in_production() -> None:
    def risks(environment: str) -> list[str]:
        made = report(environment=environment, changes=())
        assert made.groups[0].after is not None and made.groups[0].after.market == Market.SPOT.value
        return [caution.sentence for caution in made.cautions]

    assert risks("production") == ["spot machines in production: train-llama can lose them at any moment"]
    assert risks("staging") == risks("") == []


def test_a_secret_stays_one() -> None:
    forced = replace(SECRET, forces_replacement=True)
    assert said(change(Action.REPLACE, "cloud_key.a", forced)) == ["replaces cloud_key.a (token changed)"]
    assert said(change(Action.UPDATE, "cloud_role.a", replace(SECRET, path="policy"))) == [
        "gives rights: cloud_role.a (secret)"
    ]
