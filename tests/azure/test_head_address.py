"""Only the head has a public address: the others fetch their packages through a NAT gateway, which the site makes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses, FrozenMap, ResourceGraph
from skyc.providers.azure.lower import check_graph
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import EVERY_ZONE, ExistingNetwork, NetworkChoice
from tests.azure.conftest import compiled, of_type
from tests.head_addresses import addresses, bare
from tests.lengths import takes_minutes
from tests.simulator.conftest import opened

TASK = """\
name: train
resources: {infra: azure/eastus, instance_type: Standard_D8s_v5}
num_nodes: 3
run: echo hi
"""
ONE = TASK.replace("num_nodes: 3", "num_nodes: 1")
HUB = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/company/providers/Microsoft.Network/virtualNetworks/hub"
)
OWN = ExistingNetwork(
    id=HUB,
    subnets=FrozenMap({EVERY_ZONE: f"{HUB}/subnets/training"}),
)

WAY_OUT = (
    "azurerm_public_ip.out",
    "azurerm_nat_gateway.out",
    "azurerm_nat_gateway_public_ip_association.out",
    "azurerm_subnet_nat_gateway_association.out",
)


def made(text: str, home: Path, own: ExistingNetwork | None = None, **options: Any) -> ResourceGraph:
    """The head alone, as it is where nothing is said."""
    networks = {} if own is None else {("azure", "eastus"): NetworkChoice(existing=own)}
    return compiled(text, home, networks=networks, **options)


def opened_up(text: str, home: Path, own: ExistingNetwork | None = None) -> ResourceGraph:
    """All of them have one."""
    return compiled(text, home, networks={("azure", "eastus"): NetworkChoice(existing=own, public=Addresses.ALL)})


def test_the_others_have_none_and_a_way_out(tmp_path: Path) -> None:
    graph, usual = made(TASK, tmp_path), opened_up(TASK, tmp_path)
    assert addresses(graph) == [True, False, False]
    before, now = bare(usual), bare(graph)
    assert set(before) - set(now) == {"azurerm_public_ip.main-1", "azurerm_public_ip.main-2"}
    assert {address for address in now if now[address] != before.get(address)} == {
        *WAY_OUT,
        "azurerm_network_interface.main-1",
        "azurerm_network_interface.main-2",
        "azurerm_subnet.nodes",
    }
    inner = {name: nic["ip_configuration"] for name, nic in of_type(graph, "azurerm_network_interface").items()}
    assert ["public_ip_address_id" in inner[f"main-{index}"] for index in range(3)] == [True, False, False]
    assert of_type(graph, "azurerm_subnet")["nodes"]["service_endpoints"] == ("Microsoft.Storage",)
    gateway = of_type(graph, "azurerm_nat_gateway")["out"]
    assert "zones" not in gateway and gateway["tags"]["skyc-deployment"] == "demo"
    # All of them go out through it, so all boot when it is there.
    (after,) = {node.depends_on for node in graph.resources if node.address.type == "azurerm_linux_virtual_machine"}
    assert {str(address) for address in after} == set(WAY_OUT[2:])
    assert check_graph(graph, None) == ()


def test_one_node_needs_no_way_out(tmp_path: Path) -> None:
    assert bare(made(ONE, tmp_path)) == bare(opened_up(ONE, tmp_path))


def test_in_a_network_of_the_users_nothing_else_is_made(tmp_path: Path) -> None:
    graph, usual = made(TASK, tmp_path, OWN), opened_up(TASK, tmp_path, OWN)
    assert addresses(graph) == [True, False, False] and addresses(usual) == [True, True, True]
    gone = {f"azurerm_public_ip.main-{index}" for index in (1, 2)}
    assert set(bare(usual)) - set(bare(graph)) == gone and not set(bare(graph)) - set(bare(usual))


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_life_without_addresses(tmp_path: Path) -> None:
    with opened(("azurerm",), tmp_path, tmp_path / "cache") as site:
        site.write(made(ONE, tmp_path, offline=True))
        assert site.apply().ok
        site.write(made(TASK, tmp_path, offline=True))
        changes = site.changes()
        assert {address: change for address, change in changes.items() if change != ["create"]} == {
            "azurerm_subnet.nodes": ["update"]
        }
        assert set(WAY_OUT) <= set(changes) and "azurerm_public_ip.main-1" not in changes
        assert site.apply().ok and site.changes() == {}
        nodes = AzureProvider().nodes(site.terraform.outputs())
        assert [bool(node.address) for node in nodes] == [True, False, False] and all(node.ip for node in nodes)
        # It goes when the last machine that needs it has gone, and before what it is in.
        site.write(made(ONE, tmp_path, offline=True))
        assert site.apply().ok and site.changes() == {}
        assert not site.world.resources("azurerm_nat_gateway") and len(site.world.resources("azurerm_public_ip")) == 1
        site.write(made(TASK, tmp_path, offline=True))
        assert site.apply().ok and site.apply(destroy=True).ok and not site.world.resources()
