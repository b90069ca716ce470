"""What the golden files in tests/filetests do not show: invariants, refusals, and what a review of security looks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from skyc.compiler.ir import FrozenMap, Ref, ResourceGraph
from skyc.providers.gcp.lower import check_graph
from skyc.providers.gcp.network import CIDR, HEAD_ADDRESS
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.gcp.storage import below
from skyc.providers.rented.buckets import Place
from skyc.providers.schemas.references import references
from tests.gcp.conftest import ACCESS, compiled, of_type, said

TASK = """\
name: train
resources: {infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-4, ports: [8080]}
num_nodes: 2
run: echo hi
"""
BUCKETS = TASK + "file_mounts: {data: gs://team-data/imagenet}\nstorage: {out: {uri: gs://team-out/train}}\n"
MACHINE = "google_compute_instance.main-0"


def changed(graph: ResourceGraph, address: str, **arguments: Any) -> ResourceGraph:
    nodes = tuple(
        replace(node, arguments=FrozenMap({**node.arguments, **arguments})) if str(node.address) == address else node
        for node in graph.resources
    )
    return replace(graph, resources=nodes)


# The network and who may come in


def test_inbound_is_what_was_declared_and_nothing_else(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    rules = of_type(graph, "google_compute_firewall")
    found = {
        name: (rule.get("source_ranges"), rule.get("source_tags"), rule["allow"][0].get("ports"))
        for name, rule in rules.items()
    }
    (tag,) = of_type(graph, "google_compute_instance")["main-0"]["tags"]
    assert found == {
        "cluster": (None, (tag,), None),
        "ssh": (("203.0.113.7/32",), None, ("22",)),
        "port-8080": (("0.0.0.0/0",), None, ("8080",)),
    }
    assert all(rule["target_tags"] == (tag,) and rule["direction"] == "INGRESS" for rule in rules.values())
    assert of_type(graph, "google_compute_network")["site"]["auto_create_subnetworks"] is False


def test_without_a_range_ssh_is_closed(tmp_path: Path) -> None:
    graph, diagnostics = said(TASK, tmp_path, access=replace(ACCESS, ssh_from=()))
    assert graph is not None
    assert set(of_type(graph, "google_compute_firewall")) == {"cluster", "port-8080"}
    assert "ssh-closed" in [found.slug for found in diagnostics]


def test_a_range_that_reaches_nothing_is_said(tmp_path: Path) -> None:
    graph, diagnostics = said(TASK, tmp_path, access=replace(ACCESS, ssh_from=("203.0.113.7/32", "2001:db8::/64")))
    assert graph is not None
    assert of_type(graph, "google_compute_firewall")["ssh"]["source_ranges"] == ("203.0.113.7/32",)
    assert ["2001:db8::/64" in found.detail for found in diagnostics if found.slug == "ignored-here"] == [True]


def allowing(protocol: str, *ports: str) -> FrozenMap[Any]:
    return FrozenMap({"protocol": protocol, **({"ports": ports} if ports else {})})


OPEN: dict[str, dict[str, Any]] = {
    "a port of Ray's": {"allow": (allowing("tcp", "6379"),)},
    "a range around one": {"allow": (allowing("tcp", "1-65535"),)},
    "every port": {"allow": (allowing("tcp"),)},
    "every protocol": {"allow": (allowing("all"),)},
    "UDP": {"allow": (allowing("udp", "8080"),)},
    "one of two": {"allow": (allowing("tcp", "80"), allowing("tcp", "8265"))},
    "one block, no list": {"allow": allowing("all")},
    "no source at all": {"allow": (allowing("all"),), "source_ranges": None},
}


@pytest.mark.parametrize("what", OPEN)
def test_a_graph_that_opens_ray_is_refused_whoever_made_it(tmp_path: Path, what: str) -> None:
    graph = changed(compiled(TASK, tmp_path), "google_compute_firewall.port-8080", **OPEN[what])
    assert [found.slug for found in check_graph(graph, None)] == ["port-of-ray"]


def test_a_cluster_rule_that_lets_an_address_in_is_refused(tmp_path: Path) -> None:
    graph = changed(compiled(TASK, tmp_path), "google_compute_firewall.cluster", source_ranges=("0.0.0.0/0",))
    assert [found.slug for found in check_graph(graph, None)] == ["port-of-ray"]


def test_what_lets_nobody_in_is_fine(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert check_graph(graph, None) == ()
    out = changed(graph, "google_compute_firewall.cluster", direction="EGRESS", destination_ranges=("0.0.0.0/0",))
    assert check_graph(out, None) == ()
    closed = changed(graph, "google_compute_firewall.port-8080", allow=None, deny=(allowing("all"),))
    assert check_graph(closed, None) == ()


def test_the_head_has_an_address_google_gives_nobody_else(tmp_path: Path) -> None:
    machines = of_type(compiled(TASK, tmp_path), "google_compute_instance")
    assert machines["main-0"]["network_interface"]["network_ip"] == HEAD_ADDRESS
    assert "network_ip" not in machines["main-1"]["network_interface"]
    assert f"--address={HEAD_ADDRESS}:6379" in machines["main-1"]["metadata"]["user-data"]
    # Given are the lowest free ones, and the last two are Google's.
    assert int(ip_address(HEAD_ADDRESS)) - int(CIDR[0]) > 4000
    assert ip_address(HEAD_ADDRESS) in CIDR and ip_address(HEAD_ADDRESS) not in (CIDR[-1], CIDR[-2])


def test_every_name_is_one_google_takes_and_nobody_elses(tmp_path: Path) -> None:
    groups = [
        "a",
        "b",
        "a-1",
        "a-group-with-a-name-of-more-characters-than-google-takes",
        "the-same-name-but-longer-" * 2 + "x",
    ]
    task = "name: a-task-whose-name-is-rather-long\nresources: {infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-4}\n"
    rows = "".join(f"  {name}: {{run: hi, num_nodes: 2, resources: {{network_tier: best}}}}\n" for name in groups)
    graph = compiled(f"{task}groups:\n{rows}", tmp_path)
    names: dict[str, list[str]] = {}
    for node in graph.resources:
        names.setdefault(node.address.type, []).append(str(node.arguments["name"]))
    assert len(names["google_compute_instance"]) == 2 * len(groups)
    for type_, found in names.items():
        assert len(set(found)) == len(found), type_
        assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in found), type_


# The machines

HARDENED: dict[str, Callable[[FrozenMap[Any]], bool]] = {
    "keys of the project log nobody in": lambda machine: machine["metadata"]["block-project-ssh-keys"] == "true",
    "the serial port is closed": lambda machine: machine["metadata"]["serial-port-enable"] == "false",
    "the agent makes no accounts": lambda machine: "accounts_daemon = false" in machine["metadata"]["user-data"],
    "the agent keeps the pinned host key": lambda machine: "set_host_keys = false" in machine["metadata"]["user-data"],
    "it boots what is signed": lambda machine: machine["shielded_instance_config"]["enable_secure_boot"] is True,
    "what it booted is measured": lambda machine: machine["shielded_instance_config"]["enable_vtpm"] is True,
    "and watched": lambda machine: machine["shielded_instance_config"]["enable_integrity_monitoring"] is True,
    "it has no identity": lambda machine: "service_account" not in machine,
    "it forwards nothing": lambda machine: not machine.get("can_ip_forward"),
    "its disk goes with it": lambda machine: machine["boot_disk"]["auto_delete"] is True,
    "nothing starts it again": lambda machine: machine["scheduling"]["automatic_restart"] is False,
}


@pytest.mark.parametrize("rule", HARDENED)
def test_a_machine_is_closed(tmp_path: Path, rule: str) -> None:
    for name, machine in of_type(compiled(TASK, tmp_path), "google_compute_instance").items():
        assert HARDENED[rule](machine), name


def test_a_spot_machine_ends_by_deletion(tmp_path: Path) -> None:
    task = TASK.replace("n2-standard-4,", "n2-standard-4, use_spot: true,")
    assert of_type(compiled(task, tmp_path), "google_compute_instance")["main-0"]["scheduling"] == FrozenMap(
        {
            "automatic_restart": False,
            "instance_termination_action": "DELETE",
            "on_host_maintenance": "TERMINATE",
            "preemptible": True,
            "provisioning_model": "SPOT",
        }
    )


def test_a_device_is_attached_only_where_the_type_has_none(tmp_path: Path) -> None:
    t4 = TASK.replace("instance_type: n2-standard-4", "instance_type: n1-standard-8, accelerators: 'T4:2'")
    machine = of_type(compiled(t4, tmp_path), "google_compute_instance")["main-0"]
    assert machine["guest_accelerator"] == (FrozenMap({"type": "nvidia-tesla-t4", "count": 2}),)
    assert machine["scheduling"]["on_host_maintenance"] == "TERMINATE"
    l4 = TASK.replace("instance_type: n2-standard-4", "instance_type: g2-standard-8")
    machine = of_type(compiled(l4, tmp_path), "google_compute_instance")["main-0"]
    assert "guest_accelerator" not in machine and "nvidia" in machine["boot_disk"]["initialize_params"]["image"]
    # Whether the driver's modules are signed nobody has said.
    assert machine["shielded_instance_config"]["enable_secure_boot"] is False


@pytest.mark.parametrize("kind", ["n2-standard-4", "e2-standard-4"])
def test_close_together_where_google_can(tmp_path: Path, kind: str) -> None:
    task = TASK.replace("n2-standard-4,", f"{kind}, network_tier: best,")
    graph, diagnostics = said(task, tmp_path)
    assert graph is not None
    can = kind.startswith("n2")
    assert len(of_type(graph, "google_compute_resource_policy")) == can
    assert ("ignored-here" in [found.slug for found in diagnostics]) is not can
    machine = of_type(graph, "google_compute_instance")["main-0"]
    assert ("resource_policies" in machine) is can and machine["network_interface"]["nic_type"] == "GVNIC"
    alone = of_type(compiled(task.replace("num_nodes: 2\n", ""), tmp_path), "google_compute_resource_policy")
    assert alone == {}, "one machine is close to itself"


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (("n2-standard-4", "n2-standard-8"), True),
        (("ports: [8080]", "ports: [8080], disk_size: 100"), True),
        (("ports: [8080]", "ports: [8080], use_spot: true"), True),
        (("ports: [8080]", "ports: [8080], image_id: projects/p/global/images/i"), True),
        (("ports: [8080]", "ports: [8080], labels: {team: a}"), False),
        (("ports: [8080]", "ports: [8081]"), False),
        (("num_nodes: 2", "num_nodes: 3"), False),
    ],
)
def test_what_a_node_is_made_of_is_in_its_description(tmp_path: Path, change: tuple[str, str], again: bool) -> None:
    """Google cannot change it, so that another one makes another node."""
    before = of_type(compiled(TASK, tmp_path), "google_compute_instance")["main-0"]["description"]
    after = of_type(compiled(TASK.replace(*change), tmp_path), "google_compute_instance")["main-0"]["description"]
    assert (before != after) is again


def test_another_key_makes_another_node(tmp_path: Path) -> None:
    before = of_type(compiled(TASK, tmp_path), "google_compute_instance")["main-0"]
    other = replace(ACCESS, login_key="ssh-ed25519 BBBB other")
    after = of_type(compiled(TASK, tmp_path, access=other), "google_compute_instance")["main-0"]
    assert before["description"] != after["description"]
    assert 'ssh_authorized_keys: ["ssh-ed25519 BBBB other"]' in after["metadata"]["user-data"]


def test_no_secret_no_look_up_and_no_project(tmp_path: Path) -> None:
    graph = compiled(BUCKETS, tmp_path)
    assert not any(node.address.type.startswith("data.") for node in graph.resources)
    assert all("project" not in node.arguments for node in graph.resources)
    assert {ref.attribute for _, ref in references(FrozenMap(graph.outputs))} == {
        "instance_id",
        "network_interface[0].network_ip",
        "network_interface[0].access_config[0].nat_ip",
    }
    assert "the one-time key" not in str(graph.outputs)
    (need,) = graph.requirements
    assert set(need.config) == {"region", "request_timeout"}


def test_offline_holds_nobodys_credentials(tmp_path: Path) -> None:
    (offline,) = compiled(TASK, tmp_path, offline=True).requirements
    assert (offline.config["access_token"], offline.config["project"]) == ("offline", "offline")


def test_another_plan_changes_nothing_that_is_compared(tmp_path: Path) -> None:
    for node in compiled(TASK, tmp_path).resources:
        assert ("labels" in node.arguments) == ('labels["skyc-plan"]' in node.ignore_changes), node.address
        assert "skyc-plan" not in f"{node.arguments.get('boot_disk')} {node.arguments.get('description')}", node.address


def test_a_wrong_attribute_is_found_before_terraform_runs(tmp_path: Path) -> None:
    graph = changed(compiled(TASK, tmp_path), MACHINE, machine_typ="n2-standard-8")
    (found,) = GcpProvider().check_graph(graph, None)
    assert found.slug == "schema-unknown-attribute" and found.hint == "did you mean `machine_type`?"


# Buckets


def test_without_a_bucket_there_is_no_identity(tmp_path: Path) -> None:
    types = {node.address.type for node in compiled(TASK, tmp_path).resources}
    assert not types & {"google_service_account", "google_storage_bucket_iam_member"}


def test_the_identity_reaches_its_prefixes_and_nothing_else(tmp_path: Path) -> None:
    graph = compiled(BUCKETS, tmp_path)
    rights = of_type(graph, "google_storage_bucket_iam_member").values()
    assert sorted((right["bucket"], right["role"]) for right in rights) == [
        ("team-data", "roles/storage.objectViewer"),
        ("team-out", "roles/storage.objectUser"),
    ]
    assert all(isinstance(right["member"], Ref) and "condition" in right for right in rights)
    assert not [node for node in graph.resources if node.address.type.startswith("google_project_iam")]
    (account,) = of_type(graph, "google_service_account").values()
    assert re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", account["account_id"])
    for machine in of_type(graph, "google_compute_instance").values():
        assert isinstance(machine["service_account"]["email"], Ref), "never the project's default account"
        assert machine["service_account"]["scopes"] == ("https://www.googleapis.com/auth/devstorage.read_write",)


def test_a_whole_bucket_needs_no_condition(tmp_path: Path) -> None:
    graph = compiled(BUCKETS.replace("team-out/train", "team-out"), tmp_path)
    rights = of_type(graph, "google_storage_bucket_iam_member")
    assert {right["bucket"]: "condition" in right for right in rights.values()} == {"team-out": False, "team-data": True}


@given(some.text(min_size=1, max_size=40))
def test_a_prefix_never_leaves_its_quotes(prefix: str) -> None:
    # Without the literals, as CEL reads them, the same is left whatever the prefix holds.
    assert re.sub(r'"(?:[^"\\]|\\.)*"', "_", below(Place("bucket", prefix, True)), flags=re.DOTALL) == (
        "resource.name == _ || resource.name.startsWith(_) || api.getAttribute(_, _).startsWith(_)"
    )


# Labels


def test_a_rewritten_label_is_said(tmp_path: Path) -> None:
    _, diagnostics = said(TASK.replace("ports: [8080]", "labels: {Team: ML Research}"), tmp_path)
    (found,) = [found for found in diagnostics if found.slug == "label-rewritten"]
    assert "`Team: ML Research` → `team: ml-research`" in found.detail
