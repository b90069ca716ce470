"""What the golden files in tests/filetests do not show: invariants, refusals, and what holds for the whole catalog."""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from skyc.compiler.diagnostics import Diagnostic
from skyc.compiler.ir import (
    FrozenMap,
    InstanceType,
    Ref,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    ResourceRequest,
    SpecPath,
)
from skyc.providers.azure.facts import DISK_GB
from skyc.providers.azure.images import Image
from skyc.providers.azure.lower import check_graph, lower
from skyc.providers.azure.machines import disk_gb, root_disk, zone_of
from skyc.providers.azure.network import HEAD, SUBNET
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.azure.sizes import size_of
from skyc.providers.rented.ports import PortRange, is_rays, read
from skyc.providers.schemas.references import references
from tests.azure.conftest import ACCESS, ACCOUNTS, changed, compilation, compiled, context, of_type, placed, said_of

TASK = """\
name: train
resources: {infra: azure/eastus, instance_type: Standard_D4s_v5, ports: [8080]}
num_nodes: 2
run: echo hi
"""
BLOBS = (
    TASK
    + "file_mounts: {data: az://teamdata/imagenet/train}\nstorage: {out: {uri: https://teamout.blob.core.windows.net/runs/a}}\n"
)
RULE = "azurerm_network_security_rule"
VM = "azurerm_linux_virtual_machine"
GALLERY = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i/versions/1.0.0"
IMAGE = Image(name="Canonical:ubuntu-24_04-lts:server:latest", least_gb=30, trusted=True)
PLAIN = size_of("Standard_D4s_v5")
D4S = InstanceType(
    name="Standard_D4s_v5",
    provider="azure",
    cpus=Decimal(4),
    memory_gb=Decimal(16),
    accelerators=(),
    arch="x86_64",
    divisible=False,
)


def on(size: str, **more: str) -> str:
    fields = "".join(f", {name}: {value}" for name, value in more.items())
    return f"name: train\nresources: {{infra: azure/eastus, instance_type: {size}{fields}}}\nrun: echo hi\n"


def slugs(said: tuple[Diagnostic, ...]) -> list[str]:
    return [found.slug for found in said]


def test_inbound_is_what_was_declared_and_nothing_else(tmp_path: Path) -> None:
    rules = of_type(compiled(TASK, tmp_path), RULE)
    found = {
        name: (rule["priority"], rule["access"], rule.get("source_address_prefix") or rule.get("source_address_prefixes"))
        for name, rule in rules.items()
    }
    assert found == {
        "cluster": (100, "Allow", str(SUBNET)),
        "ssh": (200, "Allow", ("203.0.113.7/32",)),
        "ports": (300, "Allow", "Internet"),
        "closed": (4096, "Deny", "*"),
    }
    assert rules["ssh"]["destination_port_range"] == "22" and rules["ports"]["destination_port_ranges"] == ("8080",)
    assert {rule["direction"] for rule in rules.values()} == {"Inbound"}


def test_without_a_range_and_without_ports_nothing_is_open(tmp_path: Path) -> None:
    text = TASK.replace(", ports: [8080]", "")
    graphs, said = said_of(text, tmp_path, access=replace(ACCESS, ssh_from=()))
    assert set(of_type(graphs[0], RULE)) == {"cluster", "closed"} and "ssh-closed" in slugs(said)


def test_ranges_and_ports_are_joined_since_azure_takes_none_that_overlap(tmp_path: Path) -> None:
    access = replace(ACCESS, ssh_from=("10.1.0.0/16", "10.0.0.0/8", "198.51.100.0/25", "198.51.100.128/25"))
    text = TASK.replace("[8080]", "[8080, 8000-8010, 8005-8020, 8021, 443]")
    rules = of_type(compiled(text, tmp_path, access=access), RULE)
    assert rules["ssh"]["source_address_prefixes"] == ("10.0.0.0/8", "198.51.100.0/24")
    assert rules["ports"]["destination_port_ranges"] == ("443", "8000-8021", "8080")


def test_ssh_from_everywhere_is_said_in_azures_own_word(tmp_path: Path) -> None:
    graphs, said = said_of(TASK, tmp_path, access=replace(ACCESS, ssh_from=("0.0.0.0/0", "203.0.113.7/32")))
    assert of_type(graphs[0], RULE)["ssh"]["source_address_prefix"] == "Internet" and "ssh-open" in slugs(said)


def test_a_range_nobody_can_come_from_is_said_and_left_out(tmp_path: Path) -> None:
    graphs, said = said_of(TASK, tmp_path, access=replace(ACCESS, ssh_from=("2001:db8::/32",)))
    assert "ssh" not in of_type(graphs[0], RULE)
    assert {"ignored-here", "ssh-closed"} <= set(slugs(said))


@pytest.mark.parametrize(
    ("rule", "mutation"),
    [
        ("ports", {"destination_port_ranges": ("6379",)}),
        ("ports", {"destination_port_ranges": ("8080", "8000-9000")}),
        ("ports", {"destination_port_ranges": None, "destination_port_range": "*"}),
        ("ports", {"destination_port_ranges": None, "destination_port_range": "10001"}),
        ("ports", {"protocol": "*"}),
        ("ssh", {"destination_port_range": "1-65535"}),
        ("ssh", {"protocol": "Udp"}),
        ("cluster", {"source_address_prefix": "VirtualNetwork"}),
        ("cluster", {"source_address_prefix": "*"}),
        ("cluster", {"source_address_prefix": "10.64.0.0/16"}),
        ("closed", {"access": "Allow"}),
        ("closed", {"source_address_prefix": "Internet"}),
        ("closed", {"protocol": "Tcp"}),
        ("closed", {"destination_port_range": "22"}),
        ("closed", {"direction": "Outbound"}),
    ],
)
def test_a_graph_that_opens_ray_is_refused_whoever_made_it(tmp_path: Path, rule: str, mutation: dict[str, Any]) -> None:
    graph = compiled(TASK, tmp_path)
    assert check_graph(graph, None) == ()
    mutant = changed(graph, f"{RULE}.{rule}", **mutation)
    assert "port-of-ray" in slugs(check_graph(mutant, None))


def test_a_rule_written_inside_the_group_is_seen_too(tmp_path: Path) -> None:
    plural = ("source_port_ranges", "source_address_prefixes", "destination_port_ranges", "destination_address_prefixes")
    groups = ("source_application_security_group_ids", "destination_application_security_group_ids")
    inner: FrozenMap[Any] = FrozenMap(
        {
            "name": "open",
            "priority": 150,
            "direction": "Inbound",
            "access": "Allow",
            "protocol": "Tcp",
            "source_address_prefix": "*",
            "source_port_range": "*",
            "destination_address_prefix": "*",
            "destination_port_range": "8265",
            **dict.fromkeys(("description", *plural, *groups)),
        }
    )
    graph = changed(compiled(TASK, tmp_path), "azurerm_network_security_group.nodes", security_rule=(inner,))
    assert slugs(check_graph(graph, None)) == ["port-of-ray"]


PORTS = some.one_of(some.sampled_from([22, 80, 443, 6379, 8080, 8265, 10001]), some.integers(1, 65_535))
RANGES = some.lists(some.tuples(PORTS, some.integers(0, 200)), max_size=4)
ADDRESSES = some.lists(some.tuples(some.integers(0, 2**32 - 1), some.integers(3, 32)), max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranges=RANGES, addresses=ADDRESSES)
def test_whatever_is_declared_exactly_that_is_open(
    tmp_path: Path, ranges: list[tuple[int, int]], addresses: list[tuple[int, int]]
) -> None:
    wanted = [PortRange(first, min(first + more, 65_535)) for first, more in ranges]
    networks = [ipaddress.IPv4Network((address, length), strict=False) for address, length in addresses]
    task, placement = placed(D4S)
    request = replace(task.groups[0].requests[0], ports=tuple(map(str, wanted)))
    task = replace(task, groups=(replace(task.groups[0], requests=(request,)),))
    access = replace(ACCESS, ssh_from=tuple(map(str, networks)))
    graph, said = lower(task, (placement,), replace(context(tmp_path), access=access))
    if any(map(is_rays, wanted)):
        assert graph is None and "port-of-ray" in slugs(said)
        return
    assert graph is not None and check_graph(graph, None) == ()
    rules = of_type(graph, RULE)
    opened = [read(text) for text in rules["ports"]["destination_port_ranges"]] if "ports" in rules else []
    numbers = [number for range_ in opened for number in range(range_.first, range_.last + 1)]
    assert len(numbers) == len(set(numbers)), "two ranges overlap"
    assert set(numbers) == {number for range_ in wanted for number in range(range_.first, range_.last + 1)}
    reached = [ipaddress.IPv4Network(text) for text in (rules["ssh"]["source_address_prefixes"] if "ssh" in rules else ())]
    assert reached == list(ipaddress.collapse_addresses(networks))
    assert not any(one.overlaps(other) for one, other in itertools.combinations(reached, 2))


def node(graph: ResourceGraph, address: str) -> ResourceNode:
    (found,) = [node for node in graph.resources if str(node.address) == address]
    return found


def test_nothing_is_reachable_before_its_firewall(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    association = "azurerm_subnet_network_security_group_association.nodes"
    assert [str(address) for address in node(graph, association).depends_on] == [f"{RULE}.closed"]
    for index in (0, 1):
        interface = node(graph, f"azurerm_network_interface.main-{index}")
        assert {association, *(f"{RULE}.{name}" for name in of_type(graph, RULE))} == {
            str(address) for address in interface.depends_on
        }


def test_a_wrong_attribute_is_found_before_terraform_runs(tmp_path: Path) -> None:
    graph = changed(compiled(TASK, tmp_path), f"{VM}.main-0", sizee="Standard_D2s_v5")
    (found,) = AzureProvider().check_graph(graph, None)
    assert found.slug == "schema-unknown-attribute" and found.hint == "did you mean `size`?"


def test_logins_are_with_the_deployments_key_alone(tmp_path: Path) -> None:
    for machine in of_type(compiled(TASK, tmp_path), VM).values():
        assert machine["disable_password_authentication"] is True and "admin_password" not in machine
        assert dict(machine["admin_ssh_key"]) == {"username": "skyc", "public_key": ACCESS.login_key}
        assert machine["allow_extension_operations"] is False


def test_the_first_boot_is_base64_and_nothing_else_holds_the_host_key(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert not any(node.address.type.startswith("data.") for node in graph.resources)
    for name, machine in of_type(graph, VM).items():
        text = base64.b64decode(str(machine["custom_data"])).decode()
        assert text.startswith("#cloud-config\n") and "the one-time key" in text, name
        assert text.endswith("# Standard_D4s_v5\n"), "another size must be another machine"
        assert "the one-time key" not in str({key: value for key, value in machine.items() if key != "custom_data"})
    outputs = [ref for _, ref in references(FrozenMap(graph.outputs))]
    assert {(ref.address.type, ref.attribute) for ref in outputs} == {
        (VM, "virtual_machine_id"),
        (VM, "private_ip_address"),
        ("azurerm_public_ip", "ip_address"),
    }


def test_workers_know_the_head_and_cannot_take_its_address(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    interfaces = of_type(graph, "azurerm_network_interface")
    assert interfaces["main-0"]["ip_configuration"]["private_ip_address"] == HEAD == "10.64.15.254"
    assert interfaces["main-1"]["ip_configuration"]["private_ip_address_allocation"] == "Dynamic"
    worker = base64.b64decode(str(of_type(graph, VM)["main-1"]["custom_data"])).decode()
    assert f"--address={HEAD}:6379" in worker


def test_spot_ends_by_deletion_and_never_for_the_price(tmp_path: Path) -> None:
    spot = of_type(compiled(on("Standard_D4s_v5", use_spot="true"), tmp_path), VM)["main-0"]
    assert (spot["priority"], spot["eviction_policy"], spot["max_bid_price"]) == ("Spot", "Delete", -1)
    plain = of_type(compiled(on("Standard_D4s_v5"), tmp_path), VM)["main-0"]
    assert not {"priority", "eviction_policy", "max_bid_price"} & set(plain)


def test_machines_close_together_only_where_there_are_several(tmp_path: Path) -> None:
    group = "azurerm_proximity_placement_group"
    several = compiled(TASK.replace("ports: [8080]", "network_tier: best"), tmp_path)
    assert of_type(several, VM)["main-1"]["proximity_placement_group_id"] == Ref(ResourceAddress(group, "main"), "id")
    assert not of_type(compiled(on("Standard_D4s_v5", network_tier="best"), tmp_path), group)


def test_without_a_container_there_is_no_identity(tmp_path: Path) -> None:
    graph = compiled(TASK + "file_mounts: {data: https://example.org/set.tar}\n", tmp_path)
    assert not of_type(graph, "azurerm_user_assigned_identity") and not of_type(graph, "azurerm_role_assignment")
    assert "identity" not in of_type(graph, VM)["main-0"]


def test_the_identity_reaches_its_containers_and_nothing_else(tmp_path: Path) -> None:
    graph = compiled(BLOBS, tmp_path)
    roles = of_type(graph, "azurerm_role_assignment")
    assert {(role["scope"], role["role_definition_name"]) for role in roles.values()} == {
        (f"{ACCOUNTS['teamdata']}/blobServices/default/containers/imagenet", "Storage Blob Data Reader"),
        (f"{ACCOUNTS['teamout']}/blobServices/default/containers/runs", "Storage Blob Data Contributor"),
    }
    principal = Ref(ResourceAddress("azurerm_user_assigned_identity", "nodes"), "principal_id")
    assert all(role["principal_id"] == principal for role in roles.values())
    machine = of_type(graph, VM)["main-0"]
    assert machine["identity"]["type"] == "UserAssigned", "an identity of the machine's own would be nobody's to name"


def test_one_container_read_and_written_gets_one_role(tmp_path: Path) -> None:
    text = TASK + "file_mounts: {data: az://teamout/runs/old}\nstorage: {out: {uri: az://teamout/runs/new}}\n"
    assert set(of_type(compiled(text, tmp_path), "azurerm_role_assignment")) == {"write-teamout-runs"}


@pytest.mark.parametrize("known", [{}, {"teamdata": "/subscriptions/x"}, {"teamdata": ACCOUNTS["teamout"]}])
def test_an_account_nobody_has_placed_stops_a_plan_and_not_an_offline_one(tmp_path: Path, known: dict[str, str]) -> None:
    access = replace(ACCESS, storage_accounts=FrozenMap(known))
    text = TASK + "file_mounts: {data: az://teamdata/imagenet}\n"
    graphs, said = said_of(text, tmp_path, access=access)
    assert graphs == () and slugs(said) == ["storage-account-unknown"]
    (graph,), said = said_of(text, tmp_path, access=access, offline=True)
    assert "storage-account-unknown" in slugs(said)
    (role,) = of_type(graph, "azurerm_role_assignment").values()
    assert role["scope"].startswith("/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/not-configured/")


@pytest.mark.parametrize(
    "uri",
    [
        "az://teamdata",
        "https://teamdata.blob.core.windows.net/",
        "az://container@teamdata.blob.core.windows.net/x",
        "az://teamdata/Imagenet/x",
        "az://teamdata/a--b/x",
        "https://teamdata.blob.core.windows.net/imagenet?sv=2024&sig=s3cr3t",
    ],
)
def test_an_address_without_a_container_is_refused_and_not_repeated(tmp_path: Path, uri: str) -> None:
    graphs, said = said_of(TASK + f"file_mounts: {{data: '{uri}'}}\n", tmp_path)
    assert graphs == () and slugs(said) == ["unsupported-here"]
    assert "s3cr3t" not in said[0].detail


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("az://teamdata", "does not name an account and a container"),
        ("az://teamdata//x", "does not name an account and a container"),
        ("az://teamdata/in", "3 to 63 lower-case letters, digits and hyphens"),
        ("az://teamdata/In-put", "no container can be called so"),
        ("az://team-data/input", "3 to 24 lower-case letters and digits"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(tmp_path: Path, uri: str, rule: str) -> None:
    _, (found,) = said_of(TASK + f"file_mounts: {{data: '{uri}'}}\n", tmp_path)
    assert rule in found.detail and found.span is not None


def test_a_storage_without_a_container_is_refused(tmp_path: Path) -> None:
    _, said = said_of(TASK + "storage: {out: {infra: local}}\n", tmp_path)
    assert "cannot-compile-yet" in slugs(said)


def test_another_plan_changes_nothing_that_is_compared(tmp_path: Path) -> None:
    """The plan's tag says who made a resource; a new price must not change every resource."""
    for found in compiled(BLOBS, tmp_path).resources:
        assert ("tags" in found.arguments) == (found.ignore_changes == ('tags["skyc-plan"]',)), found.address


def test_the_plan_is_the_same_for_everybody_and_offline_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", "99999999-2222-3333-4444-555555555555")
    (online,) = compiled(TASK, tmp_path).requirements
    (offline,) = compiled(TASK, tmp_path, offline=True).requirements
    assert "subscription_id" not in online.config and online.config["resource_provider_registrations"] == "none"
    assert offline.config["subscription_id"] == "00000000-0000-0000-0000-000000000000"
    assert "resource_providers_to_register" not in offline.config and offline.config["use_cli"] is False


@pytest.mark.parametrize(
    "labels",
    [
        {"Microsoft-team": "x"},
        {"SKYC-Deployment": "mine"},
        {f"label-{number}": "x" for number in range(48)},
    ],
    ids=["reserved", "ours", "many"],
)
def test_a_label_that_cannot_be_the_users_is_refused(tmp_path: Path, labels: dict[str, str]) -> None:
    text = on("Standard_D4s_v5", labels=json.dumps(labels))
    graphs, said = said_of(text, tmp_path)
    assert graphs == () and set(slugs(said)) == {"unsupported-here"}
    assert all(found.span is not None for found in said), "it points at the line"


@pytest.mark.parametrize(
    ("size", "tier", "gigabytes", "why"),
    [
        ("Standard_D4s_v5", "ultra", "100", "Ultra"),
        ("Standard_D4_v5", "best", "100", "takes no Premium SSD"),
        ("Standard_D4s_v5", "high", "4096", "at most 4095"),
        ("Standard_A4_v2", "low", "2049", "at most 2048"),
    ],
)
def test_a_disk_that_cannot_be_is_said(tmp_path: Path, size: str, tier: str, gigabytes: str, why: str) -> None:
    graphs, said = said_of(on(size, disk_tier=tier, disk_size=gigabytes), tmp_path)
    assert graphs == () and any(why in found.detail for found in said), said


@pytest.mark.parametrize(
    ("tier", "size", "expected"),
    [
        (None, None, ("StandardSSD_LRS", 256)),
        ("none", "100", ("StandardSSD_LRS", 128)),
        ("low", "100", ("Standard_LRS", 128)),
        ("medium", "128.5", ("StandardSSD_LRS", 256)),
        ("high", "1", ("Premium_LRS", 32)),
        ("best", "4000", ("Premium_LRS", 4095)),
    ],
)
def test_a_disk_is_what_its_price_is_for(tier: str | None, size: str | None, expected: tuple[str, int]) -> None:
    request = ResourceRequest(origin=SpecPath(), disk_tier=tier, disk_gb=None if size is None else Decimal(size))
    disk = root_disk(request, IMAGE, PLAIN)
    assert (disk["storage_account_type"], disk["disk_size_gb"]) == expected
    assert disk_gb(request, IMAGE) == expected[1] and DISK_GB == 256
    assert "name" not in disk, "a machine made anew would meet the old one's disk"


@pytest.mark.parametrize(
    ("wanted", "argument"),
    [
        ("Canonical:ubuntu-22_04-lts:server:22.04.202601010", "source_image_reference"),
        (
            "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i/versions/1.0.0",
            "source_image_id",
        ),
        ("/communityGalleries/public-1/images/node/versions/latest", "source_image_id"),
    ],
)
def test_an_image_of_ones_own_boots_as_it_is(tmp_path: Path, wanted: str, argument: str) -> None:
    graphs, said = said_of(on("Standard_D4s_v5", image_id=json.dumps(wanted)), tmp_path)
    machine = of_type(graphs[0], VM)["main-0"]
    assert argument in machine and "secure_boot_enabled" not in machine and "own-image" in slugs(said)


@pytest.mark.parametrize("wanted", ["docker:ubuntu:24.04", "docker:a:b:c", "ami-0123456789abcdef0", "ubuntu"])
def test_what_is_no_machine_image_is_refused(tmp_path: Path, wanted: str) -> None:
    graphs, said = said_of(on("Standard_D4s_v5", image_id=json.dumps(wanted)), tmp_path)
    assert graphs == () and slugs(said) == ["unsupported-here"]


@pytest.mark.parametrize(
    ("size", "image", "boots"),
    [
        ("Standard_DC8as_v5", "Canonical:ubuntu-24_04-lts:server:latest", False),
        ("Standard_DC8as_v5", "microsoft-dsvm:ubuntu-hpc:2204:latest", False),
        ("Standard_DC8as_v5", "Canonical:ubuntu-24_04-lts:cvm:latest", True),
        ("Standard_EC8as_v5", "redhat:rhel-cvm:9_4_cvm:latest", True),
        ("Standard_DC8as_v5", GALLERY, True),
        ("Standard_DC8s_v3", "Canonical:ubuntu-24_04-lts:server:latest", True),
    ],
)
def test_a_confidential_machine_boots_images_made_for_one(tmp_path: Path, size: str, image: str, boots: bool) -> None:
    graphs, said = said_of(on(size, image_id=json.dumps(image)), tmp_path)
    (found,) = [found for found in said if found.slug == ("own-image" if boots else "unsupported-here")]
    assert bool(graphs) is boots and found.span is not None
    if boots:
        assert ("without secure boot" in found.detail) is not size_of(size).confidential
        assert of_type(graphs[0], VM)["main-0"].get("secure_boot_enabled") is (size_of(size).confidential or None)
    else:
        assert "image_id" in found.detail and "cvm" in str(found.hint)


@pytest.mark.parametrize("image", ["Canonical:ubuntu-24_04-lts:server:latest", GALLERY])
def test_nobody_gets_a_confidential_machine_for_an_ordinary_image(tmp_path: Path, image: str) -> None:
    """Unless the size is named: neither chosen nor what a failover would try."""
    for image_id in ("", f", image_id: {json.dumps(image)}"):
        # Only DC sizes are this cheap with so much memory.
        text = f"name: train\nresources: {{infra: azure/eastus, cpus: 8, memory: 32{image_id}}}\nrun: echo hi\n"
        made = compilation(text, tmp_path)
        assert made.placement is not None and made.graphs
        tried = [item.instance_type for item in (*made.placement.placements, *made.placement.fallbacks)]
        assert any(size_of(name).confidential for name in tried) is (image_id == ""), tried


def test_a_zone_is_told_by_its_last_word() -> None:
    assert [zone_of(zone) for zone in (None, "2", "eastus-3")] == [None, "2", "3"]
