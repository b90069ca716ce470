"""The compiled Terraform in real Terraform's hands, with Google's provider simulated: a whole life, and what must replace a node.

Schema-valid, nothing more: the released provider is in no mirror yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.providers.gcp.provider import GcpProvider
from tests.gcp.conftest import compiled
from tests.simulator.conftest import Site, opened
from tests.simulator.conftest import said as errors

GANG = """\
name: train
resources:
  infra: gcp/us-central1/us-central1-a
  instance_type: a2-highgpu-8g
  use_spot: true
  network_tier: best
  labels: {team: research}
  ports: 8080
num_nodes: 2
file_mounts: {data: gs://team-data/imagenet}
run: echo hi
"""
ONE, OTHER = "google_compute_instance.main-0", "google_compute_instance.main-1"
REPLACED = [["delete", "create"], ["delete", "create"]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(("google",), tmp_path, tmp_path / "cache") as site:
        yield site


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_whole_life(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    assert site.apply().ok
    nodes = GcpProvider().nodes(site.terraform.outputs())
    assert [(node.name, node.rank, node.accelerators["A100"]) for node in nodes] == [
        ("train-main-0", 0, 8),
        ("train-main-1", 1, 8),
    ]
    assert nodes[0].ip == "10.64.15.240" and nodes[0].address and nodes[1].via == nodes[0] and not nodes[1].address
    assert all(node.id.isdigit() for node in nodes), "a machine's own number, which no other machine has again"
    assert "the one-time key" not in str(site.terraform.outputs())
    assert site.changes() == {}

    # A label changes in place, and so does what somebody changed by hand.
    site.write(compiled(GANG.replace("research", "platform"), tmp_path, offline=True))
    assert site.changes() == {ONE: ["update"], OTHER: ["update"]}
    (rule,) = [row for row in site.world.resources("google_compute_firewall") if row.attributes["name"].endswith("-8080")]
    site.world.change("google_compute_firewall", rule.id, source_ranges=["0.0.0.0/0", "::/0"])
    assert site.changes()["google_compute_firewall.port-8080"] == ["update"]
    assert site.apply().ok and site.changes() == {}

    # Another plan's tag, a newer image of the family and disks inside the machine are no changes.
    (machine,) = [row for row in site.world.resources("google_compute_instance") if row.attributes["name"].endswith("-0")]
    boot = machine.attributes["boot_disk"][0]
    image = (
        "https://www.googleapis.com/compute/v1/projects/ubuntu-os-accelerator-images/global/images/ubuntu-accelerator-v20260901"
    )
    resolved = {**boot, "initialize_params": [{**boot["initialize_params"][0], "image": image}]}
    site.world.change(
        "google_compute_instance",
        machine.id,
        boot_disk=[resolved],
        scratch_disk=[{"device_name": "local-ssd-0", "interface": "NVME", "size": 375}],
    )
    assert site.changes() == {}

    # What runs on a node is never changed under it: another type is another node, and nothing else.
    other = GANG.replace("research", "platform").replace("a2-highgpu-8g", "a2-ultragpu-8g")
    site.write(compiled(other, tmp_path, offline=True))
    plan = site.plan()
    rows = {row["address"]: row["change"] for row in plan["resource_changes"] if row["change"]["actions"] != ["no-op"]}
    assert [rows[ONE]["actions"], rows[OTHER]["actions"]] == REPLACED and set(rows) == {ONE, OTHER}
    # The new one starts from what is asked for today, and not from what the old one had.
    made = rows[ONE]["after"]
    assert made["boot_disk"][0]["initialize_params"][0]["image"].endswith("nvidia-580") and not made["scratch_disk"]

    assert site.apply(destroy=True).ok
    assert not site.world.resources()


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_no_capacity_says_where(site: Site, tmp_path: Path) -> None:
    site.write(compiled(GANG, tmp_path, offline=True))
    site.faults("faults:\n- {fault: no-capacity, zone: us-central1-a}\n")
    failed = site.apply()
    assert not failed.ok
    assert "does not have enough resources available" in errors(failed) and "us-central1-a" in errors(failed)
    # What was made is in the state, and goes.
    assert site.apply(destroy=True).ok
    assert not site.world.resources()


@pytest.mark.terraform
def test_a_machine_that_was_taken_away_is_made_again(site: Site, tmp_path: Path) -> None:
    single = GANG.replace("num_nodes: 2\n", "").replace("  network_tier: best\n", "")
    site.write(compiled(single, tmp_path, offline=True))
    assert site.apply().ok
    before = GcpProvider().nodes(site.terraform.outputs())
    (machine,) = site.world.resources("google_compute_instance")
    site.world.remove("google_compute_instance", machine.id)
    assert site.changes()[ONE] == ["create"]
    assert site.apply().ok
    after = GcpProvider().nodes(site.terraform.outputs())
    assert (before[0].name, before[0].ip) == (after[0].name, after[0].ip)
