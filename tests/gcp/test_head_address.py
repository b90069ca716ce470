"""Only the head has a public address: the others fetch their packages through Cloud NAT, which the site makes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses, FrozenMap, ResourceGraph
from skyc.providers.base import EVERY_ZONE, ExistingNetwork, NetworkChoice
from skyc.providers.gcp.lower import check_graph
from skyc.providers.gcp.provider import GcpProvider
from tests.gcp.conftest import compiled, of_type, said
from tests.head_addresses import addresses, bare
from tests.lengths import takes_minutes
from tests.simulator.conftest import opened

TASK = """\
name: train
resources: {infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-8}
num_nodes: 3
run: echo hi
"""
ONE = TASK.replace("num_nodes: 3", "num_nodes: 1")
OWN = ExistingNetwork(
    id="projects/host/global/networks/shared",
    subnets=FrozenMap({EVERY_ZONE: "projects/host/regions/us-central1/subnetworks/training"}),
)
NAT = "google_compute_router_nat.out"


def made(text: str, home: Path, own: ExistingNetwork | None = None, **options: Any) -> ResourceGraph:
    """The head alone, as it is where nothing is said."""
    networks = {} if own is None else {("gcp", "us-central1"): NetworkChoice(existing=own)}
    return compiled(text, home, networks=networks, **options)


def opened_up(text: str, home: Path, own: ExistingNetwork | None = None) -> ResourceGraph:
    """All of them have one."""
    return compiled(text, home, networks={("gcp", "us-central1"): NetworkChoice(existing=own, public=Addresses.ALL)})


def test_the_others_have_none_and_a_way_out(tmp_path: Path) -> None:
    graph, usual = made(TASK, tmp_path), opened_up(TASK, tmp_path)
    machines = of_type(graph, "google_compute_instance")
    assert ["access_config" in machines[f"main-{index}"]["network_interface"] for index in range(3)] == [True, False, False]
    assert addresses(graph) == [True, False, False]
    nat, router = of_type(graph, "google_compute_router_nat")["out"], of_type(graph, "google_compute_router")["out"]
    (subnetwork,) = of_type(graph, "google_compute_subnetwork").values()
    assert [str(served["name"]) for served in nat["subnetwork"]] == ["${google_compute_subnetwork.nodes.id}"]
    assert str(nat["router"]) == "${google_compute_router.out.name}" and subnetwork["private_ip_google_access"] is True
    assert "skyc-deployment=demo" in router["description"].split()
    # They boot when it is there; the head does not wait, and is the machine that it is with addresses everywhere.
    after = {node.address.name: [str(item) for item in node.depends_on] for node in graph.resources}
    assert (after["main-0"], after["main-1"], after["main-2"]) == ([], [NAT], [NAT])
    before, now = bare(usual), bare(graph)
    assert {address for address in now if now[address] != before.get(address)} == {
        NAT,
        "google_compute_router.out",
        "google_compute_instance.main-1",
        "google_compute_instance.main-2",
    }
    assert check_graph(graph, None) == ()


@pytest.mark.parametrize("opens", ["first", "second"])
def test_ports_that_nobody_outside_reaches_are_said(tmp_path: Path, opens: str) -> None:
    place = "infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-8"
    opened = {name: f"{{{place}, ports: [8080]}}" if name == opens else f"{{{place}}}" for name in ("first", "second")}
    groups = [f"  {name}: {{num_nodes: 2, resources: {text}}}\n" for name, text in opened.items()]
    text = f"name: train\ngroups:\n{''.join(groups)}run: echo hi\n"
    slugs = {found.slug for found in said(text, tmp_path)[1]}
    assert ("ports-inside" in slugs) == (opens == "second")
    open_ = {("gcp", "us-central1"): NetworkChoice(public=Addresses.ALL)}
    assert "ports-inside" not in {found.slug for found in said(text, tmp_path, networks=open_)[1]}


def test_one_node_needs_no_way_out(tmp_path: Path) -> None:
    assert bare(made(ONE, tmp_path)) == bare(opened_up(ONE, tmp_path))


def test_in_a_network_of_the_users_nothing_else_is_made(tmp_path: Path) -> None:
    graph, usual = made(TASK, tmp_path, OWN), opened_up(TASK, tmp_path, OWN)
    assert addresses(graph) == [True, False, False] and addresses(usual) == [True, True, True]
    assert [node.address for node in graph.resources] == [node.address for node in usual.resources]


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_life_without_addresses(tmp_path: Path) -> None:
    with opened(("google",), tmp_path, tmp_path / "cache") as site:
        site.write(made(ONE, tmp_path, offline=True))
        assert site.apply().ok
        site.write(made(TASK, tmp_path, offline=True))
        assert site.changes() == {
            NAT: ["create"],
            "google_compute_router.out": ["create"],
            "google_compute_instance.main-1": ["create"],
            "google_compute_instance.main-2": ["create"],
        }
        assert site.apply().ok and site.changes() == {}
        nodes = GcpProvider().nodes(site.terraform.outputs())
        assert [bool(node.address) for node in nodes] == [True, False, False] and all(node.ip for node in nodes)
        # What still serves machines is not removed before them.
        site.write(made(ONE, tmp_path, offline=True))
        assert site.apply().ok and site.changes() == {}
        assert not site.world.resources("google_compute_router_nat") and not site.world.resources("google_compute_router")
        site.write(made(TASK, tmp_path, offline=True))
        assert site.apply().ok and site.apply(destroy=True).ok and not site.world.resources()
