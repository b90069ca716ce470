"""The fast network: who has adapters, the interfaces that carry them, and what comes with those."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyc.compiler.ir import Accelerator, Addresses, FrozenMap, Ref, ResourceAddress
from skyc.providers.aws import efa
from skyc.providers.aws.lower import check_graph
from skyc.providers.aws.machines import _XEN
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import ExistingNetwork, LowerContext
from tests.aws import test_machines
from tests.aws.test_machines import lowered, types

A100 = (Accelerator(name="A100", count=Decimal(8)),)
ONE, FOUR, SIXTEEN = "m6i.32xlarge", "p4d.24xlarge", "p6-b300.48xlarge"
SUBNET = ResourceAddress("aws_subnet", "use1-az1")
PATIENCE = "/etc/apt/apt.conf.d/80-skyc"
CONTEXT = replace(test_machines.CONTEXT, public=Addresses.ALL)


@cache
def described() -> dict[str, Any]:
    """What EC2 says of its machine types, as moto has it."""
    packed = files("moto").joinpath("ec2/resources/instance_types.json.gz").read_bytes()
    return dict(json.loads(gzip.decompress(packed)))


@cache
def recorded() -> dict[str, Any]:
    """Name → `NetworkInfo`."""
    return {name: row["NetworkInfo"] for name, row in described().items()}


def fast(machine: str, devices: tuple[Accelerator, ...] = (), context: LowerContext = CONTEXT, **more: Any) -> Any:
    graph, diagnostics = lowered(machine, devices, context, network_tier="best", **more)
    assert graph is not None and check_graph(graph, None) == ()
    return graph, [found.slug for found in diagnostics]


def test_the_table_is_what_ec2_says_of_the_catalogs_machines(tmp_path: Path) -> None:
    part = AwsProvider().catalog(home=tmp_path)
    sold = {part.instance_type(index).name for index in range(len(part.offers.types.names))}
    assert efa.ADAPTERS.keys() <= sold, "a machine that no catalog has"
    says = {name: recorded()[name] for name in sold & recorded().keys()}
    known = {name: int(info["EfaInfo"]["MaximumEfaInterfaces"]) for name, info in says.items() if info.get("EfaSupported")}
    assert known.pop("hpc6id.32xlarge") == 2 and efa.ADAPTERS["hpc6id.32xlarge"] == 1
    assert {name: count for name, count in efa.ADAPTERS.items() if name != "hpc6id.32xlarge"} == known


def test_which_machines_of_the_catalog_are_not_built_on_nitro(tmp_path: Path) -> None:
    part = AwsProvider().catalog(home=tmp_path)
    names = {part.instance_type(index).name for index in range(len(part.offers.types.names))} & described().keys()
    xen = {name for name in names if described()[name].get("Hypervisor") == "xen"}
    assert {"m4.large", "r4.large", "t2.micro"} <= xen and xen == set(filter(_XEN.match, names))


def test_every_machines_cards_take_the_interfaces() -> None:
    """As EC2 says what each card takes: which kinds of interfaces, and how many."""
    for machine in sorted(efa.ADAPTERS.keys() & recorded().keys()):
        cards = {card["NetworkCardIndex"]: card for card in recorded()[machine]["NetworkCards"]}
        made = efa.interfaces(machine, Ref(SUBNET, "id"), "sg-1", public=True)
        for row in made:
            card = cards[row["network_card_index"]]
            assert row["interface_type"] in card["InterfaceTypes"], machine
            assert row["device_index"] < card["MaximumNetworkInterfaces"], machine
        assert len({row["network_card_index"] for row in made}) == len(made), machine
        # The provider takes what is device 0 for the primary interface.
        assert [row["device_index"] for row in made] == [0, *(1 for _ in made[1:])], machine
        assert sum(row["interface_type"] != "interface" for row in made) == efa.ADAPTERS[machine], machine
        assert ("associate_public_ip_address" in made[0]) == (len(made) == 1) == (not efa.several(machine)), machine


def test_a_single_card_has_the_address_that_counts_on_no_quota() -> None:
    graph, said = fast(ONE)
    kinds = types(graph)
    assert said == [] and "aws_eip" not in kinds
    others, head = kinds["aws_launch_template"]
    assert "-main-head-" in head["name"] and "head" not in others["name"]
    (interface,) = others["network_interfaces"]
    assert dict(interface) == {
        "associate_public_ip_address": "true",
        "delete_on_termination": "true",
        "device_index": 0,
        "interface_type": "efa",
        "network_card_index": 0,
        "security_groups": (Ref(ResourceAddress("aws_security_group", "nodes"), "id"),),
        "subnet_id": Ref(SUBNET, "id"),
    }
    assert head["network_interfaces"] == (FrozenMap({**interface, "private_ip_address": "10.64.16.10"}),)
    assert [row["resource_type"] for row in others["tag_specifications"]] == ["volume", "network-interface"]
    # EC2 refuses these beside interfaces.
    beside = {"subnet_id", "vpc_security_group_ids", "private_ip", "associate_public_ip_address"}
    assert not [row for row in kinds["aws_instance"] if beside & row.keys()]
    used = {str(row["tags"]["Name"]): str(row["launch_template"]["id"]) for row in kinds["aws_instance"]}
    assert "main_head" in used["t-main-0"] and "main_head" not in used["t-main-1"]


def test_several_cards_have_an_elastic_ip_per_machine() -> None:
    graph, _ = fast(FOUR, A100)
    kinds = types(graph)
    for row in kinds["aws_launch_template"]:
        assert [card["interface_type"] for card in row["network_interfaces"]] == ["efa", "efa-only", "efa-only", "efa-only"]
    addresses = {str(node.address): node for node in graph.resources if node.address.type == "aws_eip"}
    assert sorted(addresses) == ["aws_eip.main-0", "aws_eip.main-1"]
    eip = addresses["aws_eip.main-0"]
    machine = ResourceAddress("aws_instance", "main-0")
    assert eip.arguments["network_interface"] == Ref(machine, "primary_network_interface_id")
    assert eip.arguments["tags"]["skyc-deployment"] == "d"
    assert ResourceAddress("aws_route", "out") in eip.depends_on, "an address in use keeps its gateway"
    nodes = graph.outputs["nodes"]
    assert nodes[0]["address"] == Ref(eip.address, "public_ip") and nodes[0]["ip"] == Ref(machine, "private_ip")


def test_a_first_card_that_takes_no_adapter_carries_ip_alone() -> None:
    made = efa.interfaces(SIXTEEN, "subnet-1", "sg-1", public=True)
    assert [row["interface_type"] for row in made] == ["interface", *["efa-only"] * 16]


def test_the_group_is_named_on_the_way_out_too() -> None:
    """And only where there are adapters: another rule for everybody would be a change of every site."""
    egress = "aws_vpc_security_group_egress_rule"
    (rule,) = [row for row in types(fast(ONE)[0])[egress] if "referenced_security_group_id" in row]
    assert rule["referenced_security_group_id"] == rule["security_group_id"] and rule["ip_protocol"] == "-1"
    for machine, tier in (("m6i.16xlarge", "best"), (ONE, None)):
        graph, _ = lowered(machine, network_tier=tier)
        kinds = types(graph)
        assert len(kinds[egress]) == 1 and "network_interfaces" not in kinds["aws_launch_template"][0]
        assert all("subnet_id" in row for row in kinds["aws_instance"])


def test_a_machine_without_adapters_is_said_with_one_that_has_them() -> None:
    graph, diagnostics = lowered("m6i.16xlarge", network_tier="best")
    assert "aws_placement_group" in types(graph)
    (said,) = diagnostics
    assert said.slug == "no-fast-network" and "m6i.32xlarge has one" in (said.hint or "")
    assert [found.slug for found in lowered("m4.large", network_tier="best")[1]] == ["no-fast-network"]
    assert lowered("m6i.16xlarge")[1] == ()


def test_more_addresses_than_an_account_has_are_said() -> None:
    assert "many-addresses" not in fast(FOUR, A100, nodes=5)[1]
    assert "many-addresses" in fast(FOUR, A100, nodes=6)[1]
    assert "many-addresses" not in fast(ONE, nodes=6)[1]
    for public in (Addresses.HEAD, Addresses.NONE):
        assert "many-addresses" not in fast(FOUR, A100, nodes=6, context=replace(CONTEXT, public=public))[1]


def test_in_a_network_of_the_users_the_head_is_as_the_others() -> None:
    own = replace(
        CONTEXT, network=ExistingNetwork(id="vpc-1", subnets=FrozenMap({"use1-az1": "subnet-1"})), public=Addresses.NONE
    )
    graph, _ = fast(FOUR, A100, context=own)
    kinds = types(graph)
    (template,) = kinds["aws_launch_template"]
    assert "aws_eip" not in kinds and template["network_interfaces"][0]["subnet_id"] == "subnet-1"
    assert {row["address"] for row in graph.outputs["nodes"]} == {""}
    graph, _ = fast(ONE, context=own)
    assert types(graph)["aws_launch_template"][0]["network_interfaces"][0]["associate_public_ip_address"] == "false"


@pytest.mark.parametrize("machine", [ONE, FOUR])
def test_a_head_that_alone_has_an_address_is_in_another_subnet_than_the_others(machine: str) -> None:
    graph, _ = fast(machine, A100 if machine == FOUR else (), context=replace(CONTEXT, public=Addresses.HEAD))
    rows = {str(node.address): node.arguments for node in graph.resources}
    head, others = (rows[f"aws_launch_template.main{name}"]["network_interfaces"][0] for name in ("_head", ""))
    assert (str(head["subnet_id"]), str(others["subnet_id"])) == (
        "${aws_subnet.use1-az1.id}",
        "${aws_subnet.inside-use1-az1.id}",
    )
    late = [name for name in rows if name.startswith("aws_eip.") and name != "aws_eip.nat"]
    assert late == (["aws_eip.main-0"] if machine == FOUR else [])
    addresses = [row["address"] for row in graph.outputs["nodes"]]
    assert addresses[0] != "" and set(addresses[1:]) == {""}


@pytest.mark.parametrize(
    ("machine", "devices", "image", "packages", "asked"),
    [
        (ONE, (), None, True, False),
        ("c6in.32xlarge", (), None, True, False),
        (FOUR, A100, None, False, True),
        (ONE, (), "ami-0123456789abcdef0", False, False),
        (FOUR, A100, "ami-0123456789abcdef0", False, False),
    ],
)
def test_what_the_first_boot_brings(machine: str, devices: Any, image: str | None, packages: bool, asked: bool) -> None:
    """Ubuntu's own libfabric on Ubuntu's plain image; the Deep Learning image has all; nobody's image but ours is touched."""
    graph, _ = fast(machine, devices, image_id=image)
    for row in types(graph)["aws_instance"]:
        boot = yaml.safe_load(row["user_data"])
        assert boot.get("packages", []) == (["ibverbs-providers", "libfabric-bin", "libfabric1"] if packages else [])
        written = {file["path"]: file["content"] for file in boot["write_files"]}
        settings = written["/etc/systemd/system/skyc-ray.service.d/target.conf"]
        assert "LimitMEMLOCK=infinity" in settings and ("Environment=FI_PROVIDER=efa" in settings) is asked
        # An Elastic IP comes after the machine has started, and packages want the internet.
        assert (PATIENCE in written) == (packages and efa.several(machine))


def test_who_boots_before_there_is_a_way_out_asks_for_packages_again() -> None:
    graph, _ = fast(ONE, context=replace(CONTEXT, public=Addresses.HEAD))
    head, other = types(graph)["aws_instance"]
    assert (PATIENCE in head["user_data"], PATIENCE in other["user_data"]) == (False, True)
