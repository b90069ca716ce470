"""Machines at Azure are deallocated and started, against a fake of its API."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyc.providers.azure.provider import AzureProvider
from skyc.providers.rented import power
from tests.azure.fake_arm import FakeArm
from tests.azure.test_inventory import arm, place, server
from tests.rented.nodes import is_ready, node_of

__all__ = ["arm", "server"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(power, "PAUSE", 0.0)
    place(tmp_path, "left")
    return tmp_path


def machine(arm: FakeArm, size: str = "Standard_D2as_v5") -> str:
    path = "resourceGroups/skyc-left/providers/Microsoft.Compute/virtualMachines/main-0"
    return arm.put(path, "left", vmId="life-1", hardwareProfile={"vmSize": size}).lower()


def test_deallocated_seen_and_started_again(arm: FakeArm, home: Path) -> None:
    id_ = machine(arm)
    provider, node = AzureProvider(), node_of(home, "life-1", "left")
    assert provider.cannot_stop([node], lose_local=False, home=home) == ()
    assert provider.stop([node], home=home, tell=print) == (node.name,)
    assert arm.power[id_] == ["deallocated"]
    assert provider.health(node, home=home) == "stopped"
    assert not is_ready(node)
    assert provider.stop([node], home=home, tell=print) == ()
    assert provider.start([node], home=home, tell=print) == (node.name,)
    assert arm.power[id_] == ["running"]


def test_one_that_was_only_shut_down_still_costs_and_is_deallocated(arm: FakeArm, home: Path) -> None:
    arm.power[machine(arm)] = ["stopped"]
    provider, node = AzureProvider(), node_of(home, "life-1", "left")
    assert provider.health(node, home=home) == "stopped"
    assert provider.stop([node], home=home, tell=print) == (node.name,)
    assert list(arm.power.values()) == [["deallocated"]]


@pytest.mark.parametrize(
    ("size", "held"),
    [
        ("Standard_NC6s_v3", True),
        ("Standard_D2ads_v5", True),
        ("Standard_ND96asr_v4", True),
        ("Standard_B2as_v2", False),
        ("Standard_Unheard1", True),
    ],
)
def test_a_temporary_disk_is_lost(arm: FakeArm, home: Path, size: str, held: bool) -> None:
    machine(arm, size)
    said = AzureProvider().cannot_stop([node_of(home, "life-1", "left")], lose_local=False, home=home)
    assert [item.slug for item in said] == (["local-disks-lost"] if held else [])
    assert not held or "train-main-0 (temporary disk)" in said[0].detail
