"""Machines in a VPC of the user's at IBM: nothing in it is made but a security group, and the interfaces of the machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Span
from skyc.compiler.ir import Addresses, FrozenMap, Joined, Ref, ResourceGraph
from skyc.compiler.synth import terraform_value
from skyc.providers.base import EVERY_ZONE, ExistingNetwork, NetworkChoice
from skyc.providers.ibm.lower import check_graph
from skyc.providers.ibm.provider import IbmProvider
from tests.ibm.conftest import TASK, changed, compilation, compiled, of_type
from tests.ibm.policy import findings
from tests.lengths import takes_minutes
from tests.simulator.conftest import opened

VPC = "r006-4727d842-f94f-4a2d-824a-9bc9b02c523b"
SUBNET = "0717-14b1bc80-07ec-86d4-a234-f46d1a1b2c3d"
SPAN = Span(file="config.yaml", line=3, column=5, end_line=3, end_column=13)
OWN = ExistingNetwork(id=VPC, subnets=FrozenMap({"us-south-1": SUBNET}), span=SPAN)
NIC, VM, RULE = "ibm_is_virtual_network_interface", "ibm_is_instance", "ibm_is_security_group_rule"
HEAD = f"${{{NIC}.main-0.primary_ip[0].address}}"
NOT_OURS = {f"missing: {type_}" for type_ in ("ibm_is_vpc", "ibm_is_network_acl", "ibm_is_subnet")}


def made(home: Path, own: ExistingNetwork = OWN, public: Addresses = Addresses.ALL, **options: Any) -> ResourceGraph:
    return compiled(TASK, home, networks={("ibm", "us-south"): NetworkChoice(existing=own, public=public)}, **options)


def module(graph: ResourceGraph) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for node in graph.resources:
        resources.setdefault(node.address.type, {})[node.address.name] = terraform_value(node.arguments)
    return {"provider": {"ibm": [{}]}, "resource": resources}


def test_only_a_security_group_is_made_in_it(tmp_path: Path) -> None:
    graph = made(tmp_path)
    assert {node.address.type for node in graph.resources} == {
        "ibm_is_floating_ip",
        "ibm_is_security_group",
        RULE,
        NIC,
        VM,
    }
    assert of_type(graph, "ibm_is_security_group")["nodes"]["vpc"] == VPC
    assert {(vm["vpc"], vm["zone"]) for vm in of_type(graph, VM).values()} == {(VPC, "us-south-1")}
    assert {nic["subnet"] for nic in of_type(graph, NIC).values()} == {SUBNET}
    assert check_graph(graph, None) == ()
    assert findings(module(graph), ("203.0.113.7/32",), ((8080, 8080),)) == NOT_OURS


def test_the_others_learn_the_heads_address_which_outlives_its_machine(tmp_path: Path) -> None:
    graph = made(tmp_path)
    assert "address" not in of_type(graph, NIC)["main-0"]["primary_ip"]
    text = of_type(graph, VM)["main-1"]["user_data"]
    assert isinstance(text, Joined) and [str(part) for part in text.parts if isinstance(part, Ref)] == [HEAD]
    usual = of_type(compiled(TASK, tmp_path), VM)["main-1"]["user_data"]
    assert f"--address={HEAD}:6379" in str(text) and str(text).replace(HEAD, "10.64.16.10") == usual


MUTANTS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "the-networks-own-group": ("default-group", lambda m: m[NIC]["main-1"].update(security_groups=["r006-theirs"])),
    "no-group": ("default-group", lambda m: m[NIC]["main-1"].pop("security_groups")),
    "the-cluster-is-everybody": ("open-to-everything", lambda m: m[RULE]["cluster"].update(remote="10.0.0.0/8")),
    "ray": ("open-ray", lambda m: m[RULE]["port-8080"].update(port_min=8265, port_max=8265)),
    "an-interface-in-place": ("interface-in-place", lambda m: m[VM]["main-0"].update(primary_network_interface={})),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_way_of_breaking_it_is_caught(tmp_path: Path, name: str) -> None:
    wanted, breaking = MUTANTS[name]
    broken = module(made(tmp_path))
    breaking(broken["resource"])
    found = findings(broken, ("203.0.113.7/32",), ((8080, 8080),))
    assert wanted in {text.partition(":")[0] for text in found}


def test_the_compiler_itself_refuses_an_open_ray(tmp_path: Path) -> None:
    broken = changed(made(tmp_path), f"{RULE}.cluster", remote="10.0.0.0/8")
    assert "port-of-ray" in {found.slug for found in check_graph(broken, None)}


def test_without_a_public_address(tmp_path: Path) -> None:
    graph = made(tmp_path, public=Addresses.NONE)
    assert not of_type(graph, "ibm_is_floating_ip")
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple) and [row["address"] for row in nodes if isinstance(row, FrozenMap)] == ["", ""]
    assert check_graph(graph, None) == ()


@pytest.mark.parametrize(
    ("own", "slug", "why"),
    [
        (replace(OWN, id="company"), "bad-network", "names no network"),
        (replace(OWN, subnets=FrozenMap({"us-south-1": "training"})), "bad-network", "names no subnet"),
        (replace(OWN, subnets=FrozenMap({EVERY_ZONE: SUBNET})), "bad-network", "lies in one zone"),
        (replace(OWN, tags=("ray",)), "bad-network", "do not know any"),
        (replace(OWN, subnets=FrozenMap({"us-south-2": SUBNET})), "no-subnet", "placed in `us-south-1`"),
    ],
)
def test_a_mistake_is_said_at_its_line(tmp_path: Path, own: ExistingNetwork, slug: str, why: str) -> None:
    done = compilation(TASK, tmp_path, networks={("ibm", "us-south"): NetworkChoice(existing=own)})
    (found,) = [item for item in done.diagnostics if item.slug == slug]
    assert why in found.detail and found.span == SPAN and not done.graphs


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_life_in_it_leaves_it_as_it_was(tmp_path: Path) -> None:
    networks = {("ibm", "us-south"): NetworkChoice(existing=OWN, public=Addresses.ALL)}
    with opened(("ibm",), tmp_path, tmp_path / "cache") as site:
        site.write(made(tmp_path, offline=True))
        assert site.apply().ok
        nodes = IbmProvider().nodes(site.terraform.outputs())
        assert nodes[0].ip and nodes[0].address and len({node.ip for node in nodes}) == 2
        told = [row.attributes["user_data"] for row in site.world.resources(VM)]
        assert sum(f"--address={nodes[0].ip}:6379" in text for text in told) == 1
        assert site.changes() == {}
        site.write(compiled(TASK.replace("[8080]", "[8080, 443]"), tmp_path, offline=True, networks=networks))
        assert site.changes() == {f"{RULE}.port-443": ["create"]}
        # A head that was taken away comes back at its address, so the others stay.
        (head,) = [row for row in site.world.resources(VM) if row.attributes["name"].endswith("main-0")]
        site.world.remove(VM, head.id)
        assert site.changes()[f"{VM}.main-0"] == ["create"] and f"{VM}.main-1" not in site.changes()
        assert site.apply(destroy=True).ok and not site.world.resources()
        assert '"ibm_is_vpc"' not in (site.directory / "cdk.tf.json").read_text()
