"""The compiled Terraform in the hands of Terraform itself, against a simulated Azure: made, changed, drifted, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.providers.azure.inventory import written
from skyc.providers.azure.provider import AzureProvider
from tests.azure.conftest import compiled
from tests.simulator.conftest import Site, opened, said

GANG = """\
name: train
resources:
  infra: azure/eastus
  instance_type: Standard_ND96asr_v4
  use_spot: true
  network_tier: best
  ports: [8080]
  labels: {team: research}
num_nodes: 2
file_mounts: {data: az://teamdata/imagenet/train}
storage: {out: {uri: https://teamout.blob.core.windows.net/runs/first}}
run: echo hi
"""
VM = "azurerm_linux_virtual_machine"
RULE = "azurerm_network_security_rule"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(("azurerm",), tmp_path, tmp_path / "cache") as site:
        yield site


@pytest.mark.terraform
def test_a_spot_gang_is_made_changed_and_removed(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    assert site.apply().ok
    nodes = AzureProvider().nodes(site.terraform.outputs())
    assert [(node.name, node.rank, node.accelerators["A100"]) for node in nodes] == [
        ("train-main-0", 0, 8),
        ("train-main-1", 1, 8),
    ]
    assert nodes[0].ip == "10.64.15.254" and nodes[1].ip.startswith("10.") and nodes[0].ip != nodes[1].ip
    assert nodes[0].address.startswith("198."), "reached from outside at the public address"
    assert not nodes[1].address and nodes[1].via == nodes[0]
    assert len({node.id for node in nodes}) == 2
    assert site.changes() == {}
    # What is found by tag is written as the state has it; otherwise it would be removed as an orphan.
    ids = [found.id for found in site.world.resources() if "tags" in found.attributes]
    assert ids and [written(id_.upper()) for id_ in ids] == ids
    assert [written(id_) for id_ in ids] == ids

    # Labels and open ports change in place, and only there.
    site.write(compiled(GANG.replace("research", "platform").replace("[8080]", "[8080, 9000-9010]"), tmp_path, offline=True))
    assert site.changes() == {f"{VM}.main-0": ["update"], f"{VM}.main-1": ["update"], f"{RULE}.ports": ["update"]}
    assert site.apply().ok

    # Another size is another machine, with the same address.
    site.write(compiled(GANG.replace("Standard_ND96asr_v4", "Standard_ND96amsr_A100_v4"), tmp_path, offline=True))
    replaced = {address: actions for address, actions in site.changes().items() if actions == ["delete", "create"]}
    assert set(replaced) == {f"{VM}.main-0", f"{VM}.main-1"}
    assert site.apply().ok
    later = AzureProvider().nodes(site.terraform.outputs())
    assert [node.address for node in later] == [node.address for node in nodes]
    assert {node.id for node in later} & {node.id for node in nodes} == set(), "a node made anew is another node"
    assert site.apply(destroy=True).ok
    assert not site.world.resources()


@pytest.mark.terraform
def test_growing_makes_one_node_more(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    assert site.apply().ok
    site.write(compiled(GANG.replace("num_nodes: 2", "num_nodes: 3"), tmp_path, offline=True))
    assert site.changes() == {
        f"{VM}.main-2": ["create"],
        "azurerm_network_interface.main-2": ["create"],
    }


@pytest.mark.terraform
def test_what_somebody_opened_by_hand_is_seen_and_closed(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    assert site.apply().ok
    (rule,) = [found for found in site.world.resources(RULE) if found.attributes["name"] == "ssh"]
    site.world.change(RULE, rule.id, source_address_prefixes=["0.0.0.0/0"])
    assert site.changes() == {f"{RULE}.ssh": ["update"]}
    drift = [row["address"] for row in site.plan()["resource_drift"]]
    assert drift == [f"{RULE}.ssh"]
    assert site.apply().ok
    assert site.changes() == {}


@pytest.mark.terraform
def test_a_lack_of_capacity_leaves_what_the_next_destroy_removes(site: Site, tmp_path: Path) -> None:
    site.faults("faults:\n- {fault: no-capacity, instance_type: Standard_ND96*}\n")
    site.write(compiled(GANG, tmp_path, offline=True))
    run = site.apply()
    assert not run.ok and "SkuNotAvailable" in said(run)
    assert site.apply(destroy=True).ok
    assert not site.world.resources()


@pytest.mark.terraform
def test_an_evicted_machine_is_made_again_at_the_same_address(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    assert site.apply().ok
    before = AzureProvider().nodes(site.terraform.outputs())
    (machine,) = [found for found in site.world.resources(VM) if found.attributes["name"] == "train-main-1"]
    site.world.remove(VM, machine.id)
    assert site.changes() == {f"{VM}.main-1": ["create"]}
    assert site.apply().ok
    after = AzureProvider().nodes(site.terraform.outputs())
    assert after[0] == before[0] and (after[1].ip, after[1].address) == (before[1].ip, before[1].address)
