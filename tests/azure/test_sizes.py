"""What names of machine sizes tell, held against known sizes and against the whole catalog."""

from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Severity, has_errors
from skyc.compiler.ir import InstanceType, Market
from skyc.providers.azure.images import image_of
from skyc.providers.azure.lower import check_graph, lower
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.azure.sizes import accelerated, has_infiniband, has_nvme, size_of
from tests.azure.conftest import context, of_type, placed


@pytest.mark.parametrize(
    ("name", "generation", "premium", "trusted"),
    [
        ("Standard_A4_v2", 1, False, False),
        ("Standard_B2s", 2, True, True),
        ("Standard_D4_v3", 1, False, False),
        ("Standard_D4_v5", 2, False, True),
        ("Standard_D4s_v3", 2, True, True),
        ("Standard_D16as_v6", 2, True, True),
        ("Standard_D16pds_v6", 2, True, False),
        ("Standard_DS2_v2", 2, True, True),
        ("Standard_DS11_v2_Promo", 2, True, True),
        ("Standard_DS2", 1, True, False),
        ("Standard_DC8_v2", 2, True, False),
        ("Standard_DC16ads_cc_v5", 2, True, False),
        ("Standard_E16-4as_v5", 2, True, True),
        ("Standard_F16s", 1, True, False),
        ("Standard_F16s_v2", 2, True, True),
        ("Standard_M416ds_6_v3", 2, True, False),
        ("Standard_M128", 1, False, False),
        ("Standard_NC24ads_A100_v4", 2, True, True),
        ("Standard_ND96asr_v4", 2, True, False),
        ("Standard_NP10s", 1, True, False),
        ("Standard_Q9000_new", 2, True, False),
    ],
)
def test_what_a_size_boots(name: str, generation: int, premium: bool, trusted: bool) -> None:
    size = size_of(name)
    assert (size.generation, size.premium, size.trusted_launch) == (generation, premium, trusted)


@pytest.mark.parametrize(
    ("name", "confidential"),
    [
        ("Standard_DC16as_v5", True),
        ("Standard_DC16es_v6", True),
        ("Standard_EC96iads_v5", True),
        ("Standard_NCC40ads_H100_v5", True),
        ("Standard_DC16ads_cc_v5", False),
        ("Standard_DC16s_v3", False),
        ("Standard_D16as_v5", False),
    ],
)
def test_which_sizes_are_confidential(name: str, confidential: bool) -> None:
    assert size_of(name).confidential is confidential


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Standard_D2s_v5", False),
        ("Standard_D2as_v6", True),
        ("Standard_D16pds_v6", True),
        ("Standard_E4s_v6", True),
        ("Standard_F4als_v7", True),
        ("Standard_F4s_v2", False),
        ("Standard_FX4mds_v2", True),
        ("Standard_FX4mds", False),
        # NVMe and SCSI, but for the largest.
        ("Standard_E96bds_v5", False),
        ("Standard_E112ibs_v5", True),
        ("Standard_E104ids_v5", False),
        ("Standard_M128bds_v3", False),
        ("Standard_L8s_v3", False),
        ("Standard_L8as_v4", True),
        ("Standard_M416ds_6_v3", False),
        ("Standard_ND96isr_H100_v5", False),
        # Its image must be a confidential one, and Azure says which controller that takes.
        ("Standard_DC16as_v6", False),
        ("Standard_Q9000_new", False),
    ],
)
def test_whose_disks_are_nvme_alone(kinds: tuple[InstanceType, ...], tmp_path: Path, name: str, expected: bool) -> None:
    assert has_nvme(size_of(name)) is expected
    kind = next((kind for kind in kinds if kind.name == name), None)
    if kind is not None and not kind.accelerators:
        task, placement = placed(kind)
        graph, _ = lower(task, (placement,), context(tmp_path))
        assert graph is not None
        (machine,) = of_type(graph, "azurerm_linux_virtual_machine").values()
        assert machine.get("disk_controller_type") == ("NVMe" if expected else None)


@pytest.mark.parametrize(
    ("name", "sold"), [("Standard_D4s_v5", True), ("Standard_B4ms", False), ("Standard_DS11_v2_Promo", False)]
)
def test_what_azure_never_sells_as_spot_is_refused(
    kinds: tuple[InstanceType, ...], tmp_path: Path, name: str, sold: bool
) -> None:
    task, placement = placed(next(kind for kind in kinds if kind.name == name))
    graph, said = lower(task, (replace(placement, market=Market.SPOT),), context(tmp_path))
    assert (graph is not None) is sold
    assert ["market" in found.detail for found in said if found.severity is Severity.ERROR] == ([] if sold else [True])


@pytest.mark.parametrize(
    ("name", "cpus", "expected"),
    [
        ("Standard_A4_v2", 4, False),
        ("Standard_B2s", 2, False),
        ("Standard_B16ms", 16, True),
        ("Standard_B2as_v2", 2, True),
        ("Standard_D1_v2", 1, False),
        ("Standard_D2_v2", 2, True),
        ("Standard_D14", 16, False),
        ("Standard_D2s_v3", 2, False),
        ("Standard_D4s_v3", 4, True),
        ("Standard_D2s_v5", 2, True),
        ("Standard_DC8_v2", 8, False),
        ("Standard_DC16as_v6", 16, False),
        ("Standard_DC16as_cc_v5", 16, True),
        ("Standard_NC6s_v3", 6, False),
        ("Standard_NC4as_T4_v3", 4, True),
        ("Standard_NV12s_v3", 12, False),
        ("Standard_NV12ads_A10_v5", 12, True),
        ("Standard_ND96isr_H100_v5", 96, True),
        ("Standard_Q9000_new", 96, False),
    ],
)
def test_where_the_network_may_be_accelerated(name: str, cpus: int, expected: bool) -> None:
    assert accelerated(size_of(name), Decimal(cpus)) is expected


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[InstanceType, ...]:
    part = AzureProvider().catalog(home=tmp_path_factory.mktemp("home"))
    return tuple(part.instance_type(index) for index in range(len(part.offers.types.names)))


def test_what_a_machine_runs_on_follows_from_its_name(kinds: tuple[InstanceType, ...]) -> None:
    for kind in kinds:
        size = size_of(kind.name)
        assert size.family, f"{kind.name} is of a form nobody knows"
        assert size.arch == kind.arch, kind.name


def test_every_machine_with_a_device_has_an_image_or_a_reason(kinds: tuple[InstanceType, ...]) -> None:
    without = {}
    for kind in kinds:
        image = image_of(None, size_of(kind.name), [device.name for device in kind.accelerators])
        if isinstance(image, str):
            without[kind.name] = image
            assert "image_id" in image
    assert {kind.accelerators[0].name for kind in kinds if kind.name in without} == {"A10", "H100-NVL", "M60", "MI25"}
    assert [name for name in without if "H100" in name] == ["Standard_NCC40ads_H100_v5"], "only the confidential one"


def test_every_machine_of_the_catalog_is_lowered_to_what_fits_it(kinds: tuple[InstanceType, ...], tmp_path: Path) -> None:
    for kind in kinds:
        size = size_of(kind.name)
        if isinstance(image_of(None, size, [device.name for device in kind.accelerators]), str):
            continue
        task, placement = placed(kind)
        graph, said = lower(task, (placement,), context(tmp_path))
        assert graph is not None and not has_errors(said), (kind.name, said)
        assert check_graph(graph, None) == (), kind.name
        (machine,) = of_type(graph, "azurerm_linux_virtual_machine").values()
        sku = machine["source_image_reference"]["sku"]
        assert ("arm64" in sku) == (kind.arch == "arm64"), kind.name
        assert ("gen1" in sku) == (size.generation == 1), kind.name
        assert (machine["os_disk"].get("security_encryption_type") is not None) == (sku == "cvm"), kind.name
        assert machine.get("secure_boot_enabled") == machine.get("vtpm_enabled")
        assert machine["os_disk"]["storage_account_type"] == ("Premium_LRS" if size.premium else "StandardSSD_LRS")


def test_a_zone_that_was_asked_for_holds_machine_and_address(kinds: tuple[InstanceType, ...], tmp_path: Path) -> None:
    kind = next(kind for kind in kinds if kind.name == "Standard_D4s_v5")
    task, placement = placed(kind)
    graph, _ = lower(task, (replace(placement, zone="eastus-2"),), context(tmp_path))
    assert graph is not None
    assert of_type(graph, "azurerm_linux_virtual_machine")["main-0"]["zone"] == "2"
    assert of_type(graph, "azurerm_public_ip")["main-0"]["zones"] == ("2",)


HPC = "microsoft-dsvm:ubuntu-hpc:2204:latest"


def test_who_has_infiniband(kinds: tuple[InstanceType, ...]) -> None:
    found = {kind.name for kind in kinds if has_infiniband(kind.name)}
    assert {"Standard_HB120-16rs_v3", "Standard_HX176rs", "Standard_NC24rs_v3", "Standard_ND96isr_H100_v5"} <= found
    assert all(name.startswith(("Standard_H", "Standard_N")) for name in found)


@pytest.mark.parametrize(
    ("name", "asked", "joined", "warned"),
    [
        ("Standard_ND96isr_H100_v5", {}, True, ""),
        ("Standard_HB120rs_v3", {"image": HPC}, True, ""),
        ("Standard_HB120rs_v3", {}, True, ""),
        ("Standard_HB120rs_v3", {"zone": "eastus-2"}, False, "infra"),
        ("Standard_ND96isr_H100_v5", {"market": Market.SPOT}, False, "use_spot"),
        ("Standard_ND96isr_H100_v5", {"zone": "eastus-2"}, False, "infra"),
        ("Standard_D4s_v5", {}, False, ""),
        ("Standard_ND96isr_H100_v5", {"nodes": 1}, False, ""),
        ("Standard_ND96isr_H100_v5", {"network": None}, False, ""),
    ],
)
def test_infiniband_joins_the_machines_of_one_availability_set(
    kinds: tuple[InstanceType, ...], tmp_path: Path, name: str, asked: dict[str, Any], joined: bool, warned: str
) -> None:
    kind = next(kind for kind in kinds if kind.name == name)
    task, placement = placed(kind, **{"nodes": 2, "network": "best", **asked})
    graph, said = lower(task, (placement,), context(tmp_path))
    assert graph is not None and check_graph(graph, None) == ()
    sets = of_type(graph, "azurerm_availability_set")
    assert bool(sets) is joined
    for machine in of_type(graph, "azurerm_linux_virtual_machine").values():
        assert ("availability_set_id" in machine) is joined
        close = not joined and placement.num_nodes > 1 and asked.get("network", "best") == "best"
        assert ("proximity_placement_group_id" in machine) is close
        boot = base64.b64decode(str(machine["custom_data"])).decode()
        assert ("LimitMEMLOCK=infinity" in boot) is joined
    hints = [item.hint or "" for item in said if item.slug == "no-fast-network"]
    assert [warned in hint for hint in hints] == ([True] if warned else [])


@pytest.mark.parametrize(
    ("name", "asked", "offer", "sku"),
    [
        ("Standard_HB120rs_v3", {}, "ubuntu-hpc", "2204"),
        ("Standard_HC44rs", {}, "ubuntu-hpc", "2204"),
        ("Standard_HX176rs", {}, "ubuntu-hpc", "2204"),
        # Without the others there is nothing to join, and so with a zone.
        ("Standard_HB120rs_v3", {"nodes": 1}, "ubuntu-24_04-lts", "server"),
        ("Standard_HB120rs_v3", {"zone": "eastus-2"}, "ubuntu-24_04-lts", "server"),
        ("Standard_HB120rs_v3", {"image": "Canonical:ubuntu-22_04-lts:server:latest"}, "ubuntu-22_04-lts", "server"),
        # The driver of the device comes first.
        ("Standard_ND40rs_v2", {}, "ubuntu-hpc", "2204-v100"),
        ("Standard_ND96isr_MI300X_v5", {}, "ubuntu-hpc", "2204-rocm"),
    ],
)
def test_machines_joined_by_infiniband_have_its_driver(
    kinds: tuple[InstanceType, ...], tmp_path: Path, name: str, asked: dict[str, Any], offer: str, sku: str
) -> None:
    task, placement = placed(next(kind for kind in kinds if kind.name == name), **{"nodes": 2, "network": "best", **asked})
    graph, _ = lower(task, (placement,), context(tmp_path))
    assert graph is not None
    for machine in of_type(graph, "azurerm_linux_virtual_machine").values():
        reference = machine["source_image_reference"]
        assert (reference["offer"], reference["sku"]) == (offer, sku)
        # Its drivers are not signed.
        assert offer != "ubuntu-hpc" or "secure_boot_enabled" not in machine
