"""The offline check: what a provider's schema and overlay say about a graph, found without Terraform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from skyc.compiler.diagnostics import Diagnostic, SourceFile, SourceMap, Span
from skyc.compiler.ir import FrozenMap, ResourceGraph
from skyc.providers.schemas import check, load_schemas

from . import graphs
from .graphs import ALL, ORIGIN, changed, graph, ref, value


def said(subject: ResourceGraph) -> list[tuple[str, str]]:
    return [(found.slug, found.detail) for found in check(subject, load_schemas())]


def only(subject: ResourceGraph) -> Diagnostic:
    (found,) = check(subject, load_schemas())
    return found


@pytest.mark.parametrize("name", ALL)
def test_a_sound_module_passes(name: str) -> None:
    assert said(ALL[name]()) == []


INSTANCE = "aws_instance.node"
BAD: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "unknown attribute": (INSTANCE, {"instance_tipe": "x"}, "schema-unknown-attribute", "knows no instance_tipe"),
    "unknown in a block": (
        INSTANCE,
        {"root_block_device": {"size": 5}},
        "schema-unknown-attribute",
        "knows no root_block_device.size",
    ),
    "readonly": (INSTANCE, {"arn": "a"}, "schema-readonly", "arn is decided by"),
    "number": (INSTANCE, {"root_block_device": {"volume_size": "big"}}, "schema-wrong-kind", "takes a number"),
    "string": (INSTANCE, {"ami": ["a"]}, "schema-wrong-kind", "takes a string for ami, and it is a list"),
    "bool": (INSTANCE, {"monitoring": "yes"}, "schema-wrong-kind", "takes a bool"),
    "set": (INSTANCE, {"vpc_security_group_ids": "sg-1"}, "schema-wrong-kind", "takes a set"),
    "element": (INSTANCE, {"vpc_security_group_ids": [["sg-1"]]}, "schema-wrong-kind", "vpc_security_group_ids[0]"),
    "map": (INSTANCE, {"tags": ["a"]}, "schema-wrong-kind", "takes a map"),
    "block": (INSTANCE, {"root_block_device": "gp3"}, "schema-wrong-kind", "takes a nested block"),
    "too many": (INSTANCE, {"root_block_device": [{}, {}]}, "schema-item-count", "stands 2 times"),
    "enum": (INSTANCE, {"tenancy": "dedicatd"}, "schema-unknown-value", "accepts default, dedicated, host"),
    "enum in a block": (
        INSTANCE,
        {"metadata_options": {"http_tokens": "require"}},
        "schema-unknown-value",
        "metadata_options.http_tokens",
    ),
    "conflict": (INSTANCE, {"user_data": "a", "user_data_base64": "b"}, "schema-rule", "only one of user_data"),
    "exactly one": ("aws_route.out", {"nat_gateway_id": "nat-1"}, "schema-rule", "exactly one of"),
    "when": (
        INSTANCE,
        {"instance_market_options": {"market_type": "spot", "spot_options": {"instance_interruption_behavior": "stop"}}},
        "schema-rule",
        "needs spot_instance_type = persistent",
    ),
    "no such reference": (
        INSTANCE,
        {"subnet_id": ref("aws_subnet.a", "idd")},
        "schema-unknown-attribute",
        "aws_subnet.a.idd, which does not exist",
    ),
    "list for a string": (
        INSTANCE,
        {"subnet_id": ref("aws_vpc.net", "tags")},
        "schema-wrong-kind",
        "aws_vpc.net.tags is a map",
    ),
    "object attribute": (
        "aws_route_table.out",
        {"route": [{"cidr_block": "0.0.0.0/0"}]},
        "schema-missing",
        "requires route[0].carrier_gateway_id",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_every_mistake_is_found(case: str) -> None:
    address, arguments, slug, words = BAD[case]
    found = check(changed(graphs.aws(), address, **arguments), load_schemas())
    assert found, "nothing was found"
    assert found[0].slug == slug
    assert words in found[0].detail
    assert found[0].detail.startswith(f"{address}: ")


def test_it_suggests_what_was_meant() -> None:
    assert only(changed(graphs.aws(), INSTANCE, instance_tipe="x")).hint == "did you mean `instance_type`?"
    assert only(changed(graphs.aws(), INSTANCE, tenancy="dedicatd")).hint == "did you mean `dedicated`?"
    renamed = graph("aws", "6.69.1", graphs.AWS_CONFIG, {"aws_vpcs.net": {"cidr_block": "10.0.0.0/16"}})
    assert (only(renamed).slug, only(renamed).hint) == ("schema-unknown-type", "did you mean `aws_vpc`?")


def test_what_is_required_is_missed() -> None:
    assert said(changed(graphs.azurerm(), "azurerm_linux_virtual_machine.node", remove=["size", "os_disk"])) == [
        ("schema-missing", "azurerm_linux_virtual_machine.node: hashicorp/azurerm 4.81.0 requires size."),
        ("schema-missing", "azurerm_linux_virtual_machine.node: hashicorp/azurerm 4.81.0 requires os_disk."),
    ]


CROSS: Mapping[str, tuple[str, tuple[str, ...], dict[str, Any], str]] = {
    "azurerm": ("azurerm_linux_virtual_machine.node", ("eviction_policy",), {}, "priority = Spot needs eviction_policy"),
    "google": (
        "google_compute_instance.node",
        (),
        {"scheduling": {"provisioning_model": "SPOT", "preemptible": True}},
        "provisioning_model = SPOT needs automatic_restart = false",
    ),
    "ibm": ("ibm_is_subnet.a", ("total_ipv4_address_count",), {}, "exactly one of ipv4_cidr_block"),
}


@pytest.mark.parametrize("name", CROSS)
def test_rules_between_fields(name: str) -> None:
    address, remove, arguments, words = CROSS[name]
    found = said(changed(ALL[name](), address, remove=remove, **arguments))
    assert found
    assert {slug for slug, _ in found} == {"schema-rule"}
    assert words in found[0][1]


def test_the_place_is_the_users_line() -> None:
    source = SourceFile(path="task.yaml", text="resources: {}\n")
    span = Span(file="task.yaml", line=1, column=1, end_line=1, end_column=10)
    subject = changed(graphs.aws(), INSTANCE, instance_tipe="x")
    (found,) = check(subject, load_schemas(), SourceMap(source, {ORIGIN: span}))
    assert found.span == span


def test_the_providers_own_configuration_is_checked() -> None:
    subject = graph("aws", "6.69.1", {"regoin": "us-east-1"}, {})
    assert only(subject).hint == "did you mean `region`?"
    assert only(subject).detail.startswith("provider.aws: ")


def test_a_reference_into_a_list_is_followed() -> None:
    subject = changed(
        graphs.google(),
        "google_storage_bucket.data",
        labels={"node": ref("google_compute_instance.node", "network_interface[0].network_ip")},
    )
    assert said(subject) == []
    subject = changed(
        graphs.google(),
        "google_storage_bucket.data",
        labels={"node": ref("google_compute_instance.node", "network_interface[0].ip")},
    )
    assert [slug for slug, _ in said(subject)] == ["schema-unknown-attribute"]


def test_what_outputs_refer_to_must_exist() -> None:
    nodes = value([{"ip": ref(INSTANCE, "private_ip"), "volume": ref(INSTANCE, "root_block_device[0].volume_id")}])
    sound = replace(graphs.aws(), outputs=FrozenMap({"nodes": nodes}))
    assert said(sound) == []
    nodes = value([{"ip": ref(INSTANCE, "private_ipv4")}])
    found = only(replace(graphs.aws(), outputs=FrozenMap({"nodes": nodes})))
    assert found.detail == f"output.nodes: [0].ip refers to {INSTANCE}.private_ipv4, which does not exist."


def test_providers_without_a_schema_are_left_alone() -> None:
    subject = graphs.aws()
    assert check(subject, ()) == ()
