"""Machines in a network of the user's at Azure: nothing in it is made, and the firewall is each interface's own."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Span
from skyc.compiler.ir import Addresses, FrozenMap, Joined, Ref, ResourceAddress, ResourceGraph
from skyc.providers.azure.lower import check_graph, lower
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import EVERY_ZONE, ExistingNetwork, NetworkChoice
from tests.azure.conftest import SUBSCRIPTION, changed, compiled, context, of_type, placed, said_of
from tests.lengths import takes_minutes
from tests.simulator.conftest import opened

TASK = """\
name: train
resources: {infra: azure/eastus, instance_type: Standard_D8s_v5, ports: [8080]}
num_nodes: 2
run: echo hi
"""
VNET = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/company/providers/Microsoft.Network/virtualNetworks/hub"
SUBNET = f"{VNET}/subnets/training"
SPAN = Span(file="config.yaml", line=3, column=5, end_line=3, end_column=11)
OWN = ExistingNetwork(id=VNET, subnets=FrozenMap({EVERY_ZONE: SUBNET}), span=SPAN)
RULE, NIC, VM = "azurerm_network_security_rule", "azurerm_network_interface", "azurerm_linux_virtual_machine"
TO_FIREWALL = "azurerm_network_interface_security_group_association"
TO_MEMBERS = "azurerm_network_interface_application_security_group_association"
MEMBERS = (Ref(ResourceAddress("azurerm_application_security_group", "nodes"), "id"),)


def made(home: Path, own: ExistingNetwork = OWN, public: Addresses = Addresses.ALL) -> ResourceGraph:
    return compiled(TASK, home, networks={("azure", "eastus"): NetworkChoice(existing=own, public=public)})


def test_nothing_is_made_in_it(tmp_path: Path) -> None:
    graph = made(tmp_path)
    types = {node.address.type for node in graph.resources}
    assert types == {
        "azurerm_application_security_group",
        "azurerm_network_security_group",
        "azurerm_public_ip",
        "azurerm_resource_group",
        RULE,
        NIC,
        VM,
        TO_FIREWALL,
        TO_MEMBERS,
    }
    # The subnet's own firewall is neither named nor replaced.
    assert not [type_ for type_ in types if "subnet" in type_]
    for nic in of_type(graph, NIC).values():
        assert nic["ip_configuration"]["subnet_id"] == SUBNET
        assert nic["ip_configuration"]["private_ip_address_allocation"] == "Dynamic"
    assert check_graph(graph, None) == ()


def test_only_the_machines_themselves_reach_each_other(tmp_path: Path) -> None:
    rules = of_type(made(tmp_path), RULE)
    assert rules["cluster"]["source_application_security_group_ids"] == MEMBERS
    assert {rules[name]["destination_application_security_group_ids"] for name in ("cluster", "ssh", "ports")} == {MEMBERS}
    assert rules["ssh"]["source_address_prefixes"] == ("203.0.113.7/32",)
    assert (rules["closed"]["access"], rules["closed"]["source_address_prefix"]) == ("Deny", "*")


def test_a_machine_is_not_there_before_its_firewall(tmp_path: Path) -> None:
    graph = made(tmp_path)
    for node in graph.resources:
        if node.address.type == VM:
            after = {str(address) for address in node.depends_on}
            assert after == {f"{TO_FIREWALL}.{node.address.name}", f"{TO_MEMBERS}.{node.address.name}"}


def test_the_others_learn_the_heads_address(tmp_path: Path) -> None:
    machines = of_type(made(tmp_path), VM)
    head = base64.b64decode(machines["main-0"]["custom_data"]).decode()
    assert "--address" not in head
    text = machines["main-1"]["custom_data"]
    assert isinstance(text, Joined) and text.base64
    address = "${azurerm_network_interface.main-0.private_ip_address}"
    assert [str(part) for part in text.parts if isinstance(part, Ref)] == [address]
    plain = "".join(map(str, text.parts))
    assert f"--address={address}:6379" in plain
    usual = of_type(compiled(TASK, tmp_path), VM)["main-1"]["custom_data"]
    assert plain.replace(address, "10.64.15.254").split() == base64.b64decode(usual).decode().split()


MUTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "the-cluster-is-the-network": (
        f"{RULE}.cluster",
        {"source_application_security_group_ids": None, "source_address_prefix": "VirtualNetwork"},
    ),
    "ssh-opens-ray": (f"{RULE}.ssh", {"destination_port_range": "*"}),
    "nothing-is-denied": (f"{RULE}.closed", {"access": "Allow"}),
    "an-interface-without-it": (f"{TO_FIREWALL}.main-1", {"network_interface_id": Ref(ResourceAddress(NIC, "main-0"), "id")}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_firewall_that_leaves_something_open_is_caught(tmp_path: Path, name: str) -> None:
    address, change = MUTANTS[name]
    broken = changed(made(tmp_path), address, **change)
    assert "port-of-ray" in {found.slug for found in check_graph(broken, None)}


def test_without_a_public_address(tmp_path: Path) -> None:
    graph = made(tmp_path, public=Addresses.NONE)
    assert not of_type(graph, "azurerm_public_ip")
    assert all("public_ip_address_id" not in nic["ip_configuration"] for nic in of_type(graph, NIC).values())
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple) and [row["address"] for row in nodes if isinstance(row, FrozenMap)] == ["", ""]
    # `Internet` is Azure's word for what is outside of all private networks: nobody would come in.
    assert of_type(graph, RULE)["ports"]["source_address_prefix"] == "*"
    assert check_graph(graph, None) == ()


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (replace(OWN, id="hub"), "names no network"),
        (replace(OWN, subnets=FrozenMap({EVERY_ZONE: "training"})), "names no subnet"),
        (replace(OWN, subnets=FrozenMap({EVERY_ZONE: SUBNET.replace("hub", "spoke")})), "is no subnet of"),
        (replace(OWN, tags=("ray",)), "do not know any"),
    ],
)
def test_a_mistake_is_said_at_its_line(tmp_path: Path, own: ExistingNetwork, why: str) -> None:
    graphs, diagnostics = said_of(TASK, tmp_path, networks={("azure", "eastus"): NetworkChoice(existing=own)})
    found = [item for item in diagnostics if item.slug == "bad-network"]
    assert any(why in item.detail for item in found) and {item.span for item in found} == {SPAN} and not graphs


def test_a_zone_without_a_subnet_is_said(tmp_path: Path) -> None:
    part = AzureProvider().catalog(home=tmp_path)
    task, placement = placed(part.instance_type(part.offers.types.names.index("Standard_D8s_v5")))
    own = replace(OWN, subnets=FrozenMap({"eastus-2": SUBNET}))
    where = replace(context(tmp_path), network=own)
    graph, diagnostics = lower(task, (replace(placement, zone="eastus-1"),), where)
    (found,) = [item for item in diagnostics if item.slug == "no-subnet"]
    assert graph is None and "placed in `eastus-1`" in found.detail and found.span == SPAN
    assert lower(task, (replace(placement, zone="eastus-2"),), where)[0] is not None


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_life_in_it_leaves_it_as_it_was(tmp_path: Path) -> None:
    networks = {("azure", "eastus"): NetworkChoice(existing=OWN)}
    with opened(("azurerm",), tmp_path, tmp_path / "cache") as site:
        site.write(compiled(TASK, tmp_path, offline=True, networks=networks))
        assert site.apply().ok
        nodes = AzureProvider().nodes(site.terraform.outputs())
        assert nodes[0].ip and nodes[0].address and len({node.ip for node in nodes}) == 2
        booted = {
            row.attributes["name"]: base64.b64decode(row.attributes["custom_data"]).decode() for row in site.world.resources(VM)
        }
        # What Terraform writes in base64 is what every machine gets, but for who the head is.
        assert (
            booted["train-main-1"].startswith("#cloud-config\n") and f"--address={nodes[0].ip}:6379" in booted["train-main-1"]
        )
        usual = base64.b64decode(of_type(compiled(TASK, tmp_path), VM)["main-1"]["custom_data"]).decode()
        assert booted["train-main-1"].replace(nodes[0].ip, "10.64.15.254").split("\n") == usual.replace(
            "\n# S", "\n\n# S"
        ).split("\n")
        assert site.changes() == {}
        site.write(compiled(TASK.replace("[8080]", "[8080, 443]"), tmp_path, offline=True, networks=networks))
        assert site.changes() == {f"{RULE}.ports": ["update"]}
        # A head that was taken away comes back at its address, so the others stay.
        (head,) = [row for row in site.world.resources(VM) if row.attributes["name"] == "train-main-0"]
        site.world.remove(VM, head.id)
        assert site.changes()[f"{VM}.main-0"] == ["create"] and f"{VM}.main-1" not in site.changes()
        assert site.apply(destroy=True).ok and not site.world.resources()
        assert '"azurerm_virtual_network"' not in (site.directory / "cdk.tf.json").read_text()
