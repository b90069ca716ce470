"""Disks, images and zones, and that every machine of the shipped catalog is compiled or refused with a reason."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Severity
from skyc.compiler.ir import (
    DeploymentId,
    FrozenMap,
    GroupName,
    GroupPlacement,
    InstanceType,
    Market,
    NodeGroup,
    NodeRuntime,
    NodeShape,
    ResourceRequest,
    SiteId,
    SpecPath,
    Task,
    TaskId,
)
from skyc.providers.base import LowerContext
from skyc.providers.gcp.facts import DISK_GB
from skyc.providers.gcp.images import image_of
from skyc.providers.gcp.lower import check_graph, lower
from skyc.providers.gcp.machines import disk_gb, root_disk
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.gcp.series import ARM, BOOT_DISKS, SHARED_CORE, boot_disks, is_tpu, series
from skyc.providers.rented.images import Image
from tests.gcp.conftest import ACCESS, of_type, said

IMAGE = Image(id="projects/p/global/images/i", least_gb=10)
FREE = {"type": "hyperdisk-balanced", "provisioned_iops": 3000, "provisioned_throughput": 140}
"""What Google charges nothing more for: its own values, where none are written, may be higher."""
FAST = {"type": "hyperdisk-balanced", "provisioned_iops": 6000, "provisioned_throughput": 280}


@pytest.mark.parametrize(
    ("machine", "tier", "size", "expected"),
    [
        ("n2-standard-4", None, None, {"type": "pd-balanced", "size": 256}),
        ("n2-standard-4", "low", "100", {"type": "pd-standard", "size": 100}),
        ("n2-standard-4", "medium", "100.5", {"type": "pd-balanced", "size": 101}),
        ("n2-standard-4", "high", "1", {"type": "pd-ssd", "size": 10}),
        ("n2-standard-4", "best", "100", {"type": "pd-ssd", "size": 100}),
        ("c3-standard-4", "low", "100", {"type": "pd-balanced", "size": 100}),
        ("h3-standard-88", "high", "100", {"type": "pd-balanced", "size": 100}),
        ("c4-standard-4", "low", "100", {**FREE, "size": 100}),
        ("c4-standard-4", "best", "100", {**FAST, "size": 100}),
        ("c4-standard-4", "best", "10", {**FAST, "size": 10, "provisioned_iops": 5000}),
        ("c3-standard-192-metal", None, "100", {**FREE, "size": 100}),
        ("a3-highgpu-8g", None, "100", {"type": "pd-balanced", "size": 100}),
        ("a3-ultragpu-8g", None, "100", {**FREE, "size": 100}),
        ("c4-standard-4", "low", "1", {**FREE, "size": 10}),
        ("n9-standard-4", None, "100", {**FREE, "size": 100}),
    ],
)
def test_a_disk_is_what_its_price_is_for_or_the_nearest(
    machine: str, tier: str | None, size: str | None, expected: dict[str, Any]
) -> None:
    request = ResourceRequest(origin=SpecPath(), disk_tier=tier, disk_gb=None if size is None else Decimal(size))
    disk = root_disk(request, IMAGE, machine)
    assert disk.pop("image") == IMAGE.id
    assert disk == expected and disk_gb(request, IMAGE) == expected["size"] and DISK_GB == 256


def refusals(diagnostics: Any) -> set[str]:
    return {found.slug for found in diagnostics if found.severity is Severity.ERROR}


def lowered(kind: InstanceType, zone: str | None = None, market: Market = Market.ON_DEMAND, **wanted: Any) -> Any:
    """What two nodes of a machine type become."""
    request = ResourceRequest(origin=SpecPath(("resources",)), **wanted)
    group = NodeGroup(
        name=GroupName("main"), origin=request.origin, num_nodes=2, requests=(request,), ordered=False, run="true"
    )
    task = Task(
        id=TaskId("t"), origin=SpecPath(("name",)), groups=(group,), setup="", envs=FrozenMap(), secrets=(), workdir=None
    )
    placement = GroupPlacement(
        task=task.id,
        group=group.name,
        provider="gcp",
        region="us-east1",
        zone=zone,
        instance_type=kind.name,
        market=market,
        num_nodes=2,
        shape=NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators),
        hourly=None,
        hours=Decimal(1),
        lines=(),
    )
    context = LowerContext(
        deployment=DeploymentId("d"),
        site=SiteId("t.gcp-us-east1"),
        home="/h",
        runtime=NodeRuntime(python="3.11"),
        access=ACCESS,
    )
    return lower(task, (placement,), context)


def kinds(home: Path) -> list[InstanceType]:
    part = GcpProvider().catalog(home=home)
    return [part.instance_type(index) for index in range(len(part.offers.types.names))]


def kind_called(home: Path, name: str) -> InstanceType:
    return next(kind for kind in kinds(home) if kind.name == name)


@pytest.mark.parametrize(
    ("machine", "wanted", "slug"),
    [
        ("n2-standard-4", {"disk_tier": "ultra"}, "unsupported-here"),
        ("n2-standard-4", {"disk_gb": Decimal(70_000)}, "unsupported-here"),
        ("n2-standard-4", {"image_id": "ami-0123456789abcdef0"}, "unsupported-here"),
        ("e2-micro", {"disk_gb": Decimal(4_000)}, "unsupported-here"),
        ("f1-micro", {"disk_gb": Decimal(3_073)}, "unsupported-here"),
        ("e2-micro", {"disk_gb": Decimal(3_072)}, None),
        ("e2-standard-2", {"disk_gb": Decimal(4_000)}, None),
        ("n2-standard-4", {"disk_gb": Decimal(5)}, "disk-raised"),
        ("c3-standard-4", {"disk_tier": "low"}, "disk-of-another-kind"),
        ("c4-standard-4", {}, "disk-of-another-kind"),
        ("n2-standard-4", {"image_id": "projects/p/global/images/family/mine"}, "own-image"),
        ("n2-standard-4", {}, None),
    ],
)
def test_what_a_disk_or_image_cannot_be_is_said(tmp_path: Path, machine: str, wanted: dict[str, Any], slug: str | None) -> None:
    graph, diagnostics = lowered(kind_called(tmp_path, machine), "us-east1-c", **wanted)
    assert [found.slug for found in diagnostics] == ([slug] if slug else [])
    assert (graph is None) == (slug == "unsupported-here")
    fields = {"disk-raised": "disk_size", "disk-of-another-kind": "disk_tier", "own-image": "image_id"}
    assert all(found.subject is not None for found in diagnostics), "each at the user's line"
    assert [str(found.subject).endswith(fields[found.slug]) for found in diagnostics if found.slug in fields] in ([], [True])


def test_who_shares_a_core_is_known(tmp_path: Path) -> None:
    """Types with less memory than a whole core's are those: no other of the catalog has a part of one."""
    names = {kind.name for kind in kinds(tmp_path)}
    assert names >= SHARED_CORE >= {name for name in names if name.endswith(("-micro", "-small", "-medium"))}


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ("a3-highgpu-8g", "GPUDirect-TCPX over four"),
        ("a3-megagpu-8g", "GPUDirect-TCPXO over eight"),
        ("a3-ultragpu-8g", "RDMA over eight"),
        ("a4-highgpu-8g", "RDMA over eight"),
        ("a2-highgpu-8g", None),
        ("n2-standard-8", None),
    ],
)
def test_a_network_between_gpus_that_is_not_made_is_said(tmp_path: Path, machine: str, words: str | None) -> None:
    """As at AWS and Azure: `network_tier: best` is not silently less there."""
    kind = kind_called(tmp_path, machine)
    graph, diagnostics = lowered(kind, "us-east1-c", Market.SPOT, network_tier="best")
    assert graph is not None and "google_compute_resource_policy" in {node.address.type for node in graph.resources}
    found = [item for item in diagnostics if item.slug == "no-fast-network"]
    assert [words in item.detail and "one network card" in item.detail for item in found if words] == ([True] if words else [])
    assert len(found) == (words is not None) and all(str(item.subject).endswith("network_tier") for item in found)
    assert "no-fast-network" not in {item.slug for item in lowered(kind, "us-east1-c", Market.SPOT)[1]}


@pytest.mark.parametrize("wanted", ["projects/p/global/images/i", "projects/example.com:p/global/images/family/f-1"])
def test_an_own_image_is_a_path(wanted: str) -> None:
    assert image_of(wanted, "x86_64", ("V100",)) == Image(id=wanted, least_gb=10, own=True)


def test_every_machine_of_the_catalog_is_compiled_or_refused_with_a_reason(tmp_path: Path) -> None:
    """Its disk, image, devices and placement fit together, and the provider's schema takes them."""
    refused: dict[str, set[str]] = {}
    for kind in kinds(tmp_path):
        metal = kind.name.endswith("-metal")
        market = Market.ON_DEMAND if metal else Market.SPOT
        graph, diagnostics = lowered(kind, market=market, network_tier="best", disk_tier="high")
        if graph is None:
            (why,) = refusals(diagnostics)
            refused.setdefault(why, set()).update(f"{device.name}:{float(device.count):g}" for device in kind.accelerators)
            continue
        assert check_graph(graph, None) == (), kind.name
        machine = of_type(graph, "google_compute_instance")["main-1"]
        disk = machine["boot_disk"]["initialize_params"]
        assert disk["type"] in boot_disks(kind.name), kind.name
        assert ("arm64" in disk["image"]) == (kind.arch == "arm64"), kind.name
        assert ("nvidia" in disk["image"]) == bool(kind.accelerators), kind.name
        secure = machine.get("shielded_instance_config", {}).get("enable_secure_boot", False)
        assert secure == (kind.arch == "x86_64" and not kind.accelerators and not metal), kind.name
        assert ("guest_accelerator" in machine) == (bool(kind.accelerators) and series(kind.name) == "n1"), kind.name
    without_driver = {"RTXPRO6000:0.125", "RTXPRO6000:0.25", "RTXPRO6000:0.5", "V100:1", "V100:2", "V100:4", "V100:8"}
    by_reservation = {"GB200:4", "GB300:4"}
    assert refused["unsupported-here"] == without_driver | by_reservation
    assert all(name.startswith("tpu-") for name in refused["cannot-compile-yet"])
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("machine", "on_demand", "spot"),
    [
        ("n2-standard-4", True, True),
        ("a3-highgpu-8g", True, True),
        ("a3-highgpu-1g", False, True),
        ("a3-ultragpu-8g", False, True),
        ("a4-highgpu-8g", False, True),
        ("a4x-highgpu-4g", False, False),
        ("c3-standard-192-metal", True, False),
    ],
)
def test_a_machine_is_made_only_as_google_sells_it(tmp_path: Path, machine: str, on_demand: bool, spot: bool) -> None:
    kind = kind_called(tmp_path, machine)
    for market, sold in ((Market.ON_DEMAND, on_demand), (Market.SPOT, spot)):
        graph, diagnostics = lowered(kind, "us-east1-c", market)
        assert (graph is not None) is sold
        assert ["market" in found.detail for found in diagnostics if found.severity is Severity.ERROR] == (
            [] if sold else [True]
        )


@pytest.mark.parametrize(
    ("machine", "expected"), [("h3-standard-88", "TERMINATE"), ("h4d-standard-192", "TERMINATE"), ("n2-standard-4", None)]
)
def test_what_cannot_be_moved_while_it_runs_says_so(tmp_path: Path, machine: str, expected: str | None) -> None:
    """Google refuses such a series without it, and an E2 with it."""
    graph, _ = lowered(kind_called(tmp_path, machine), "us-east1-c")
    assert of_type(graph, "google_compute_instance")["main-0"]["scheduling"].get("on_host_maintenance") == expected


def test_every_series_of_the_catalog_is_known(tmp_path: Path) -> None:
    named = {series(kind.name) for kind in kinds(tmp_path) if not is_tpu(kind.name)}
    assert named - set(BOOT_DISKS) == set() and named >= ARM


def test_a_zone_nobody_knows_is_chosen_and_said(tmp_path: Path) -> None:
    task = "name: t\nresources: {infra: gcp/us-east1, instance_type: c4-standard-4}\nrun: x\n"
    graph, diagnostics = said(task, tmp_path)
    assert graph is not None
    assert of_type(graph, "google_compute_instance")["main-0"]["zone"] == "us-east1-b", "us-east1 has no zone a"
    assert ["`us-east1-b`" in found.detail for found in diagnostics if found.slug == "zone-not-known"] == [True]
