"""Only the head has a public address: the others fetch their packages through public gateways, which the site makes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses, FrozenMap, ResourceGraph
from skyc.providers.base import ExistingNetwork, NetworkChoice
from skyc.providers.ibm.lower import check_graph
from skyc.providers.ibm.provider import IbmProvider
from tests.head_addresses import addresses, bare
from tests.ibm.conftest import compiled, of_type
from tests.lengths import takes_minutes
from tests.simulator.conftest import opened

TASK = """\
name: train
resources: {infra: ibm/us-south/us-south-1, instance_type: bx2-8x32}
num_nodes: 3
run: echo hi
"""
ONE = TASK.replace("num_nodes: 3", "num_nodes: 1")
OWN = ExistingNetwork(
    id="r006-4727d842-f94f-4a2d-824a-9bc9b02c523b",
    subnets=FrozenMap({"us-south-1": "0717-14b1bc80-07ec-86d4-a234-f46d1a1b2c3d"}),
)

WAY_OUT = (
    "ibm_is_floating_ip.out-us-south-1",
    "ibm_is_public_gateway.us-south-1",
    "ibm_is_subnet_public_gateway_attachment.us-south-1",
)


def made(text: str, home: Path, own: ExistingNetwork | None = None, **options: Any) -> ResourceGraph:
    """The head alone, as it is where nothing is said."""
    networks = {} if own is None else {("ibm", "us-south"): NetworkChoice(existing=own)}
    return compiled(text, home, networks=networks, **options)


def opened_up(text: str, home: Path, own: ExistingNetwork | None = None) -> ResourceGraph:
    """All of them have one."""
    return compiled(text, home, networks={("ibm", "us-south"): NetworkChoice(existing=own, public=Addresses.ALL)})


def test_the_others_have_none_and_a_way_out(tmp_path: Path) -> None:
    graph, usual = made(TASK, tmp_path), opened_up(TASK, tmp_path)
    assert addresses(graph) == [True, False, False]
    before, now = bare(usual), bare(graph)
    assert set(before) - set(now) == {"ibm_is_floating_ip.main-1", "ibm_is_floating_ip.main-2"}
    assert {address for address in now if now[address] != before.get(address)} == set(WAY_OUT)
    gateway = of_type(graph, "ibm_is_public_gateway")["us-south-1"]
    assert "skyc-deployment:demo" in gateway["tags"] and gateway["floating_ip"].keys() == {"id"}
    # They boot when their subnet goes out through it.
    machines = [node for node in graph.resources if node.address.type == "ibm_is_instance"]
    assert all(WAY_OUT[2] in map(str, node.depends_on) for node in machines)
    assert check_graph(graph, None) == ()


TWO_GROUPS = """\
name: train
resources: {infra: ibm/us-south, instance_type: bx2-8x32}
groups:
  head: {num_nodes: 1, resources: {infra: ibm/us-south/us-south-1}}
  rest: {num_nodes: 2, resources: {infra: ibm/us-south/us-south-2}}
run: echo hi
"""


def test_a_zone_with_the_head_alone_needs_none(tmp_path: Path) -> None:
    graph = made(TWO_GROUPS, tmp_path)
    assert set(of_type(graph, "ibm_is_subnet")) == {"us-south-1", "us-south-2"}
    assert set(of_type(graph, "ibm_is_public_gateway")) == {"us-south-2"}


def test_one_node_needs_no_way_out(tmp_path: Path) -> None:
    assert bare(made(ONE, tmp_path)) == bare(opened_up(ONE, tmp_path))


def test_in_a_network_of_the_users_nothing_else_is_made(tmp_path: Path) -> None:
    graph, usual = made(TASK, tmp_path, OWN), opened_up(TASK, tmp_path, OWN)
    assert addresses(graph) == [True, False, False] and addresses(usual) == [True, True, True]
    gone = {f"ibm_is_floating_ip.main-{index}" for index in (1, 2)}
    assert set(bare(usual)) - set(bare(graph)) == gone and not set(bare(graph)) - set(bare(usual))


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_life_without_addresses(tmp_path: Path) -> None:
    with opened(("ibm",), tmp_path, tmp_path / "cache") as site:
        site.write(made(ONE, tmp_path, offline=True))
        assert site.apply().ok
        site.write(made(TASK, tmp_path, offline=True))
        changes = site.changes()
        assert {address: change for address, change in changes.items() if change != ["create"]} == {}
        assert set(WAY_OUT) <= set(changes) and "ibm_is_floating_ip.main-1" not in changes
        assert site.apply().ok and site.changes() == {}
        nodes = IbmProvider().nodes(site.terraform.outputs())
        assert [bool(node.address) for node in nodes] == [True, False, False] and all(node.ip for node in nodes)
        # It goes when the last machine that needs it has gone, and before what it is in.
        site.write(made(ONE, tmp_path, offline=True))
        assert site.apply().ok and site.changes() == {}
        assert not site.world.resources("ibm_is_public_gateway") and len(site.world.resources("ibm_is_floating_ip")) == 1
        site.write(made(TASK, tmp_path, offline=True))
        assert site.apply().ok and site.apply(destroy=True).ok and not site.world.resources()
