"""What drift is called, and what is said about it, without Terraform: pure functions of what it found."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from skyc.compiler.changeset import change_set
from skyc.compiler.drift import (
    AppliedResource,
    extra_row,
    node_row,
    render_markdown,
    render_text,
    resource_rows,
    suppressed,
    undone_rows,
)
from skyc.compiler.drift.filled import unexplained
from skyc.compiler.drift.rows import plain
from skyc.compiler.ir import DriftClass, DriftKind, DriftRow, DriftTable, SiteId, SpecPath, ValueKind
from skyc.providers.registry import load

SITE = SiteId("train.aws-us-east-1")
AWS = load("aws").drift_table()
ORIGIN = SpecPath(("tasks", 0, "resources"))


def no_price(*asked: Any) -> None:
    return None


class Facts:
    name, version = "terraform", "1.11.4"


def rows(
    type_: str,
    before: Any,
    after: Any,
    *,
    written: dict[str, Any] | None = None,
    table: DriftTable = AWS,
    others: Any = None,
    prices: Any = no_price,
    **marks: Any,
) -> tuple[DriftRow, ...]:
    """Rows of one resource `type_.x` that was and is so."""
    change = {"actions": ["delete"] if after is None else ["update"], "before": before, "after": after, **marks}
    entry = {"address": f"{type_}.x", "type": type_, "change": change}
    plan = {"format_version": "1.2", "resource_drift": [entry]}
    found = change_set(plan, site=SITE, graph=None, engine=Facts(), refresh_only=True).drift
    applied = {f"{type_}.x": AppliedResource(arguments=written or {}, origin=ORIGIN, place="task.yaml:3")}
    return resource_rows(SITE, found, {f"{type_}.x": change}, table, applied, prices, others)


def test_what_no_table_knows_is_unclassified_and_matters() -> None:
    (row,) = rows("aws_new_thing", {"a": 1}, {"a": 2})
    assert row.drift is DriftClass.UNCLASSIFIED and row.matters
    (row,) = rows("aws_vpc", {"of_next_year": 1}, {"of_next_year": 2})
    assert row.drift is DriftClass.UNCLASSIFIED
    (row,) = rows("aws_new_thing", {"a": 1}, None)
    assert (row.kind, row.drift) == (DriftKind.GONE, DriftClass.UNCLASSIFIED)
    assert extra_row(SITE, "aws_new_thing", "x", "i-1", AWS, storage=False).drift is DriftClass.UNCLASSIFIED


def test_tags_matter_where_skyc_wrote_them() -> None:
    before = {"tags": {"skyc-deployment": "train", "team": "a"}, "tags_all": {"skyc-deployment": "train", "team": "a"}}
    after = {"tags": {"team": "b", "note": "x"}, "tags_all": {"team": "b", "note": "x"}}
    found = rows("aws_vpc", before, after, written={"tags": before["tags"]})
    # What repeats other attributes is not said twice.
    assert [(row.path, row.drift.value) for row in found] == [
        ('tags["skyc-deployment"]' if '["' in found[0].path else "tags.skyc-deployment", "cost"),
        ("tags.team", "cost"),
        ("tags.note", "benign"),
    ]
    assert "paid for ever" in found[0].why
    # Where tags are a list it is the same.
    ibm = load("ibm").drift_table()
    (row,) = rows("ibm_is_vpc", {"tags": ["a:1"]}, {"tags": ["a:1", "b:2"]}, written={"tags": ["a:1"]}, table=ibm)
    assert row.drift is DriftClass.BENIGN
    (row,) = rows("ibm_is_vpc", {"tags": ["a:1"]}, {"tags": ["b:2"]}, written={"tags": ["a:1"]}, table=ibm)
    assert row.drift is DriftClass.COST


def test_a_disk_says_the_line_and_the_price() -> None:
    asked = []

    def price(kind: Any, before: str | None, after: str | None, attributes: Any) -> Decimal:
        asked.append((kind.value, before, after))
        return Decimal("0.01")

    before, after = ({"root_block_device": [{"volume_size": size, "volume_type": "gp3"}]} for size in (100, 200))
    (row,) = rows("aws_instance", before, after, prices=price)
    assert (row.path, row.drift, row.hourly) == ("root_block_device.0.volume_size", DriftClass.COST, Decimal("0.01"))
    assert row.field == "resources.disk_size: 200" and asked == [("disk", "100", "200")]
    assert "unless the task says `resources.disk_size: 200` (task.yaml:3)" in row.adopt
    (row,) = rows("aws_instance", {"instance_type": "a"}, {"instance_type": "b.large"}, written={"instance_type": "a"})
    assert row.field == "resources.instance_type: b.large" and row.repair == "is set back"


def test_what_a_repair_can_do_depends_on_who_says_the_value() -> None:
    (fact,) = rows("aws_instance", {"public_ip": "1.2.3.4"}, {"public_ip": "5.6.7.8"})
    assert fact.repair.startswith("cannot be set back")
    (left,) = rows("aws_vpc", {"enable_dns_hostnames": False}, {"enable_dns_hostnames": True})
    assert left.repair == "is set back, named for this once: the code leaves it to the cloud"
    (said,) = rows("aws_vpc", {"cidr_block": "a"}, {"cidr_block": "b"}, written={"cidr_block": "a"})
    assert said.repair == "is set back" and "no line of a task file says it" in said.adopt


def test_what_resources_of_its_own_make_of_a_bucket_is_no_drift_of_it() -> None:
    """The state has seen the bucket before its policy, its rules and its encryption, which are in the same plan, were made."""
    fresh: dict[str, Any] = {
        "id": "b",
        "policy": "",
        "lifecycle_rule": [],
        "server_side_encryption_configuration": [],
        "acl": None,
    }
    encrypted = [{"rule": [{"bucket_key_enabled": False}]}]
    settled = {**fresh, "policy": '{"Statement":[]}', "lifecycle_rule": [{"id": "x"}]}
    assert rows("aws_s3_bucket", fresh, {**settled, "server_side_encryption_configuration": encrypted}) == ()
    # Once the state knows them, another value is drift; so is what nothing of ours sets.
    (row,) = rows("aws_s3_bucket", settled, {**settled, "policy": '{"Statement":["everybody"]}'})
    assert (row.path, row.drift) == ("policy", DriftClass.SECURITY)
    (row,) = rows("aws_s3_bucket", fresh, {**settled, "acl": "public-read"})
    assert (row.path, row.drift) == ("acl", DriftClass.SECURITY)
    # A switch that nobody set is off.
    encryption = "aws_s3_bucket_server_side_encryption_configuration"
    off = {"rule": [{"bucket_key_enabled": None}]}
    assert rows(encryption, off, {"rule": [{"bucket_key_enabled": False}]}) == ()
    assert rows(encryption, off, {"rule": [{"bucket_key_enabled": True}]})


def test_a_secret_is_not_shown() -> None:
    (row,) = rows("aws_instance", {"user_data": "hunter2"}, {"user_data": "x"}, before_sensitive={"user_data": True})
    assert row.value is ValueKind.SECRET and row.before is row.after is None and row.field == ""
    text = render_text("train", [row]) + render_markdown("train", [row])
    assert "hunter2" not in text and "secret, changed" in text
    rules = ({"ingress": [{"description": word}, {"description": "b"}]} for word in ("hunter2", "c"))
    (row,) = rows("aws_security_group", *rules, before_sensitive={"ingress": [{"description": True}]})
    assert row.before is None and "hunter2" not in render_text("train", [row])


def rule(port: int, *ranges: str, **more: Any) -> dict[str, Any]:
    return {"cidr_blocks": list(ranges), "from_port": port, "to_port": port, "protocol": "tcp", "self": False, **more}


OWN = {
    "id": "sgr-1",
    "security_group_id": "sg-1",
    "cidr_ipv4": "203.0.113.7/32",
    "from_port": 22,
    "to_port": 22,
    "ip_protocol": "tcp",
}
WEB = {**OWN, "id": "sgr-2", "cidr_ipv4": "0.0.0.0/0", "from_port": 8080, "to_port": 8080}


def test_what_the_modules_own_rules_put_into_a_list_is_no_drift() -> None:
    group = {"id": "sg-1", "ingress": []}
    others = {"aws_vpc_security_group_ingress_rule": [OWN, WEB]}
    ours = [rule(22, "203.0.113.7/32"), rule(8080, "0.0.0.0/0")]
    assert rows("aws_security_group", group, {**group, "ingress": ours}, others=others) == ()
    # Two rules together explain nothing: SSH for all the world is in none of them.
    (row,) = rows("aws_security_group", group, {**group, "ingress": [*ours, rule(22, "0.0.0.0/0")]}, others=others)
    assert row.drift is DriftClass.SECURITY and row.before is None
    assert json.loads(row.after or "")[0]["from_port"] == 22 and "203.0.113.7" not in str(row.after)
    # Ranges that share their ports stand in one element; each needs a rule of its own.
    shared = [rule(22, "203.0.113.7/32", "198.51.100.0/24")]
    (row,) = rows("aws_security_group", group, {**group, "ingress": shared}, others=others)
    assert row.drift is DriftClass.SECURITY
    # A rule of another group explains nothing either.
    elsewhere = {"aws_vpc_security_group_ingress_rule": [{**OWN, "security_group_id": "sg-2"}]}
    assert rows("aws_security_group", group, {**group, "ingress": ours[:1]}, others=elsewhere)
    # One that went, and that none of ours was, is said too.
    (row,) = rows(
        "aws_security_group", {**group, "ingress": [*ours, rule(443, "0.0.0.0/0")]}, {**group, "ingress": ours}, others=others
    )
    assert row.after is None and "443" in str(row.before)


def test_a_policy_is_the_same_however_it_is_spaced() -> None:
    held = [{"role": "nodes", "name": "buckets", "policy": '{"b": 1, "a": [2]}'}]
    assert unexplained([{"name": "buckets", "policy": '{"a":[2],"b":1}'}], {"id": "nodes"}, held) == []
    assert unexplained([{"name": "buckets", "policy": '{"a":[3],"b":1}'}], {"id": "nodes"}, held)


def test_nothing_in_another_spelling_is_no_drift() -> None:
    assert rows("aws_launch_template", {"security_group_names": None}, {"security_group_names": []}) == ()
    azure = load("azure").drift_table()
    type_ = "azurerm_network_interface"
    assert rows(type_, {"virtual_machine_id": None}, {"virtual_machine_id": "vm"}, table=azure) == ()
    assert rows(type_, {"virtual_machine_id": "vm"}, {"virtual_machine_id": "other"}, table=azure)


def test_interfaces_of_a_template_in_another_spelling_are_no_drift() -> None:
    """With several of them they are compared as a list. Seen with the released provider."""
    cards = [{"network_card_index": card, "interface_type": "efa-only"} for card in range(2)]
    before = {"network_interfaces": [{**card, "ipv4_addresses": None} for card in cards]}
    after = {"network_interfaces": [{**card, "ipv4_addresses": []} for card in cards]}
    assert rows("aws_launch_template", before, after) == ()
    after["network_interfaces"][1]["interface_type"] = "efa"
    (row,) = rows("aws_launch_template", before, after)
    assert row.drift is DriftClass.SECURITY


def test_an_address_of_ours_is_no_drift_of_the_machine_that_has_it() -> None:
    """The state has seen the machine before it had the address, which is a resource of the same plan."""
    bare = {"id": "i-1", "public_ip": "", "public_dns": "", "associate_public_ip_address": False}
    with_one = {"id": "i-1", "public_ip": "192.0.2.1", "public_dns": "a.test", "associate_public_ip_address": True}
    ours = {"aws_eip": [{"public_ip": "192.0.2.2", "public_dns": "b.test"}, {"public_ip": "192.0.2.1", "public_dns": "a.test"}]}
    assert rows("aws_instance", bare, with_one, others=ours) == ()
    # An address that none of ours is, one that was another before, and one that is gone are drift.
    for before, after, others in (
        (bare, with_one, {"aws_eip": ours["aws_eip"][:1]}),
        (bare, with_one, {}),
        (bare, {**with_one, "public_ip": "192.0.2.2"}, ours),
        ({**with_one, "public_ip": "192.0.2.2"}, with_one, ours),
        (with_one, bare, ours),
    ):
        assert "public_ip" in {row.path for row in rows("aws_instance", before, after, others=others)}


def test_an_address_that_a_gateway_of_ours_took_is_no_drift() -> None:
    """Of every site with several nodes: the state has seen the address before the gateway was made."""
    free = {"id": "eipalloc-1", "association_id": "", "network_interface": "", "private_ip": "", "private_dns": None}
    taken = {
        **free,
        "association_id": "eipassoc-1",
        "network_interface": "eni-1",
        "private_ip": "10.64.0.9",
        "private_dns": "a",
    }
    gateway = {"association_id": "eipassoc-1", "network_interface_id": "eni-1", "private_ip": "10.64.0.9"}
    assert rows("aws_eip", free, taken, others={"aws_nat_gateway": [gateway]}) == ()
    other = {"aws_nat_gateway": [{**gateway, "network_interface_id": "eni-2"}]}
    assert "network_interface" in {row.path for row in rows("aws_eip", free, taken, others=other)}


def test_a_machine_that_is_gone_needs_no_row_of_its_node() -> None:
    node = node_row(SITE, "aws_instance.x", "train-main-0", "gone", origin=None, place="", meant=False)
    gone = rows("aws_instance", {"id": "i-1"}, None)
    assert suppressed([node, *gone]) == gone
    stopped = node_row(SITE, "aws_instance.x", "train-main-0", "stopped", origin=None, place="", meant=False)
    said = rows("aws_instance", {"instance_state": "running"}, {"instance_state": "stopped"})
    assert suppressed([stopped, *said]) == said
    assert suppressed([stopped]) == (stopped,)


def test_an_apply_that_did_not_end_is_seen_in_the_code() -> None:
    plan = {
        "format_version": "1.2",
        "resource_changes": [
            {
                "address": "aws_vpc.x",
                "type": "aws_vpc",
                "change": {"actions": ["update"], "before": {"cidr_block": "is"}, "after": {"cidr_block": "said"}},
            },
            {
                "address": "aws_subnet.x",
                "type": "aws_subnet",
                "change": {"actions": ["create"], "before": None, "after": {"id": None}},
            },
            {"address": "aws_route.old", "type": "aws_route", "change": {"actions": ["delete"], "before": {}, "after": None}},
            {"address": "aws_route.x", "type": "aws_route", "change": {"actions": ["no-op"], "before": {}, "after": {}}},
        ],
    }
    changes = change_set(plan, site=SITE, graph=None, engine=Facts()).changes
    found = undone_rows(SITE, changes, (), AWS, {}, no_price)
    assert [(row.address, row.path, row.before, row.after, row.kind) for row in found] == [
        ("aws_route.old", "", None, None, DriftKind.UNDONE),
        ("aws_subnet.x", "", None, None, DriftKind.UNDONE),
        ("aws_vpc.x", "cidr_block", '"said"', '"is"', DriftKind.UNDONE),
    ]
    assert undone_rows(SITE, changes, found, AWS, {}, no_price) == (), "what is said already is said once"


def test_paths_without_positions() -> None:
    assert plain('tags["a b"]') == "tags.a b" and plain("ingress.0.cidr_blocks") == "ingress.cidr_blocks"


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_reports_hold_what_anybody_may_have_written(render: Any) -> None:
    nasty = "x\u202e|`<b>@all\x1b[31m"
    found = rows("aws_vpc", {"tags": {"a": "b"}}, {"tags": {"a": nasty}})
    text = render(f"train{nasty}", found)
    assert "\x1b" not in text and "\u202e" not in text
    assert render is render_text or ("<b>" not in text.replace("\\<b\\>", "") and "@all" not in text.replace("\\@all", ""))
    assert render("train", ()).count("no drift") == 1
    assert render("train", found) == render("train", found)
