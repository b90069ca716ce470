"""Machines in a network of the user's at Google Cloud: nothing in it is made but rules for them, and an address kept for the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Span
from skyc.compiler.ir import Addresses, FrozenMap, Joined, Ref, ResourceGraph
from skyc.compiler.synth import terraform_value
from skyc.providers.base import EVERY_ZONE, ExistingNetwork, NetworkChoice
from skyc.providers.gcp.lower import check_graph
from skyc.providers.gcp.provider import GcpProvider
from tests.gcp.conftest import compiled, of_type, said
from tests.head_addresses import bare
from tests.simulator.conftest import opened

TASK = """\
name: train
resources: {infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-8, ports: [8080]}
num_nodes: 2
run: echo hi
"""
VPC = "projects/host/global/networks/shared"
SUBNET = "projects/host/regions/us-central1/subnetworks/training"
SPAN = Span(file="config.yaml", line=3, column=5, end_line=3, end_column=16)
OWN = ExistingNetwork(id=VPC, subnets=FrozenMap({EVERY_ZONE: SUBNET}), span=SPAN)
HEAD = "${google_compute_address.head.address}"


def made(home: Path, own: ExistingNetwork = OWN, public: Addresses = Addresses.ALL) -> ResourceGraph:
    return compiled(TASK, home, networks={("gcp", "us-central1"): NetworkChoice(existing=own, public=public)})


def test_only_rules_and_an_address_are_made_in_it(tmp_path: Path) -> None:
    graph = made(tmp_path)
    assert {node.address.type for node in graph.resources} == {
        "google_compute_address",
        "google_compute_firewall",
        "google_compute_instance",
    }
    rules = of_type(graph, "google_compute_firewall")
    assert set(rules) == {"cluster", "ssh", "port-8080", "rest"}
    assert {(rule["network"], rule["project"]) for rule in rules.values()} == {(VPC, "host")}
    tags = {rule["target_tags"] for rule in rules.values()}
    machines = of_type(graph, "google_compute_instance")
    assert tags == {machine["tags"] for machine in machines.values()} and len(tags) == 1
    assert {machine["network_interface"]["subnetwork"] for machine in machines.values()} == {SUBNET}
    address = of_type(graph, "google_compute_address")["head"]
    assert (address["address_type"], address["subnetwork"]) == ("INTERNAL", SUBNET)
    assert check_graph(graph, None) == ()


def test_the_head_has_an_address_that_stays_and_the_others_know_it(tmp_path: Path) -> None:
    machines = of_type(made(tmp_path), "google_compute_instance")
    assert str(machines["main-0"]["network_interface"]["network_ip"]) == HEAD
    assert "network_ip" not in machines["main-1"]["network_interface"]
    text = machines["main-1"]["metadata"]["user-data"]
    assert isinstance(text, Joined) and [str(part) for part in text.parts if isinstance(part, Ref)] == [HEAD]
    assert f"--address={HEAD}:6379" in terraform_value(text)
    usual = of_type(compiled(TASK, tmp_path), "google_compute_instance")["main-1"]["metadata"]["user-data"]
    assert str(text).replace(HEAD, "10.64.15.240") == usual, "everything else is as in a network of skyc's"


def test_what_the_networks_own_rules_let_in_is_denied_after_ours(tmp_path: Path) -> None:
    graph = made(tmp_path)
    rules = of_type(graph, "google_compute_firewall")
    assert [rules[name]["priority"] for name in ("cluster", "ssh", "port-8080", "rest")] == [900, 900, 900, 901]
    assert rules["rest"]["deny"] == (FrozenMap({"protocol": "all"}),) and rules["rest"]["source_ranges"] == ("0.0.0.0/0",)
    # No machine is there without them.
    (after,) = {node.depends_on for node in graph.resources if node.address.type == "google_compute_instance"}
    assert {address.name for address in after} == set(rules)


MUTANTS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "without-the-last-word": ("rest", None),
    "the-last-word-comes-too-late": ("rest", {"priority": 1000}),
    "the-last-word-is-about-some": ("rest", {"source_ranges": ("10.0.0.0/8",)}),
    "the-last-word-is-about-tcp": ("rest", {"deny": (FrozenMap({"protocol": "tcp"}),)}),
    "a-rule-comes-after-the-last-word": ("ssh", {"priority": 950}),
    "ssh-opens-ray": ("ssh", {"allow": (FrozenMap({"protocol": "tcp", "ports": ("22-9000",)}),)}),
    "the-cluster-is-everybody": ("cluster", {"source_tags": None, "source_ranges": ("10.0.0.0/8",)}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_firewall_that_leaves_something_open_is_caught(tmp_path: Path, name: str) -> None:
    rule, change = MUTANTS[name]
    graph = made(tmp_path)
    nodes = []
    for node in graph.resources:
        if str(node.address) != f"google_compute_firewall.{rule}":
            nodes.append(node)
        elif change is not None:
            given = {**node.arguments, **change}
            nodes.append(replace(node, arguments=FrozenMap({k: v for k, v in given.items() if v is not None})))
    broken = replace(graph, resources=tuple(nodes))
    assert "port-of-ray" in {found.slug for found in check_graph(broken, None)}


def test_rules_of_the_users_own_may_do_it(tmp_path: Path) -> None:
    own = replace(OWN, tags=("ray-node", "ssh"))
    graph, diagnostics = said(TASK, tmp_path, networks={("gcp", "us-central1"): NetworkChoice(existing=own)})
    assert graph is not None and not of_type(graph, "google_compute_firewall")
    assert {machine["tags"] for machine in of_type(graph, "google_compute_instance").values()} == {("ray-node", "ssh")}
    (told,) = [item for item in diagnostics if item.slug == "firewall-not-ours"]
    assert told.span == SPAN and "ray-node, ssh" in told.detail and "8265" in told.detail
    assert check_graph(graph, None) == ()


def test_without_a_public_address(tmp_path: Path) -> None:
    graph = made(tmp_path, public=Addresses.NONE)
    machines, usual = (of_type(found, "google_compute_instance") for found in (graph, made(tmp_path)))
    assert all("access_config" not in machine["network_interface"] for machine in machines.values())
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple) and [row["address"] for row in nodes if isinstance(row, FrozenMap)] == ["", ""]
    # Another machine than one with an address: the digest in its description says so.
    assert machines["main-0"]["description"] != usual["main-0"]["description"]


@pytest.mark.parametrize(
    ("own", "slug", "why"),
    [
        (replace(OWN, id="shared"), "bad-network", "names no network"),
        (replace(OWN, subnets=FrozenMap({EVERY_ZONE: "training"})), "bad-network", "names no subnet"),
        (
            replace(OWN, subnets=FrozenMap({EVERY_ZONE: SUBNET.replace("us-central1", "us-east1")})),
            "bad-network",
            "is in us-east1, and the machines are in us-central1",
        ),
        (
            replace(OWN, subnets=FrozenMap({EVERY_ZONE: SUBNET.replace("host", "mine")})),
            "bad-network",
            "in another project",
        ),
        (replace(OWN, subnets=FrozenMap({"us-central1-b": SUBNET})), "no-subnet", "placed in `us-central1-a`"),
    ],
)
def test_a_mistake_is_said_at_its_line(tmp_path: Path, own: ExistingNetwork, slug: str, why: str) -> None:
    graph, diagnostics = said(TASK, tmp_path, networks={("gcp", "us-central1"): NetworkChoice(existing=own)})
    (found,) = [item for item in diagnostics if item.slug == slug]
    assert why in found.detail and found.span == SPAN and graph is None


def test_other_regions_have_networks_of_their_own(tmp_path: Path) -> None:
    elsewhere = {place: NetworkChoice(existing=OWN) for place in (("gcp", "us-east1"), ("aws", "us-central1"))}
    assert bare(compiled(TASK, tmp_path, networks=elsewhere)) == bare(compiled(TASK, tmp_path))


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_life_in_it_leaves_it_as_it_was(tmp_path: Path) -> None:
    with opened(("google",), tmp_path, tmp_path / "cache") as site:
        site.write(compiled(TASK, tmp_path, offline=True, networks={("gcp", "us-central1"): NetworkChoice(existing=OWN)}))
        assert site.apply().ok
        nodes = GcpProvider().nodes(site.terraform.outputs())
        assert [node.rank for node in nodes] == [0, 1] and nodes[0].ip and nodes[0].address
        told = [row.attributes["metadata"]["user-data"] for row in site.world.resources("google_compute_instance")]
        assert sum(f"--address={nodes[0].ip}:6379" in text for text in told) == 1
        assert site.changes() == {}
        # Another port is a rule of its own, and no machine is touched.
        more = TASK.replace("[8080]", "[8080, 443]")
        site.write(compiled(more, tmp_path, offline=True, networks={("gcp", "us-central1"): NetworkChoice(existing=OWN)}))
        assert site.changes() == {"google_compute_firewall.port-443": ["create"]}
        # A head that was taken away comes back at its address, so the others stay.
        (head,) = [row for row in site.world.resources("google_compute_instance") if row.attributes["name"].endswith("main-0")]
        site.world.remove("google_compute_instance", head.id)
        assert site.changes()["google_compute_instance.main-0"] == ["create"]
        assert site.apply().ok
        assert GcpProvider().nodes(site.terraform.outputs())[0].ip == nodes[0].ip
        assert site.apply(destroy=True).ok and not site.world.resources()
        written = (site.directory / "cdk.tf.json").read_text()
        assert '"google_compute_network"' not in written and '"google_compute_subnetwork"' not in written
