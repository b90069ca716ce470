"""The compiled Terraform in the hands of real Terraform, against the simulated IBM: made, changed, drifted, replaced, removed.

The released provider is on no machine of ours, so this proves shape and order, never that IBM accepts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.compiler.terraform import state_ids
from tests.ibm.conftest import compiled
from tests.simulator.conftest import Site, opened, said

GANG = """\
name: train
resources:
  infra: ibm/us-south/us-south-2
  instance_type: gx2-8x64x1v100
  ports: 8080
  labels: {team: research}
num_nodes: 2
file_mounts: {data: cos://team-data/imagenet}
storage: {out: {uri: cos://team-out/train}}
run: echo hi
"""
OF_A_NODE = ("ibm_is_instance", "ibm_is_virtual_network_interface")
"""Beside the head."""
WAY_OUT = (
    "ibm_is_floating_ip.out-us-south-2",
    "ibm_is_public_gateway.us-south-2",
    "ibm_is_subnet_public_gateway_attachment.us-south-2",
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(("ibm",), tmp_path, tmp_path / "cache") as site:
        yield site


def write(site: Site, text: str, home: Path) -> None:
    site.write(compiled(text, home, offline=True))


@pytest.mark.terraform
def test_a_gang_is_made_changed_and_removed(site: Site, tmp_path: Path) -> None:
    write(site, GANG, tmp_path)
    made = site.apply()
    assert made.ok, said(made)
    nodes = site.terraform.outputs()["nodes"]
    assert [(node["name"], node["rank"], node["accelerators"]) for node in nodes] == [
        ("train-main-0", 0, {"V100": 1}),
        ("train-main-1", 1, {"V100": 1}),
    ]
    assert nodes[0]["ip"] == "10.64.32.10" and nodes[0]["address"] and nodes[1]["address"] == ""
    assert len({node["id"] for node in nodes} | {node["address"] for node in nodes} | {node["ip"] for node in nodes}) == 6
    assert {node["id"] for node in nodes} <= state_ids(site.directory / "terraform.tfstate")
    assert site.changes() == {}, "a second plan of the same graph has something to do"
    # A label changes in place, and nothing else does.
    write(site, GANG.replace("research", "platform"), tmp_path)
    assert site.changes() == {"ibm_is_instance.main-0": ["update"], "ibm_is_instance.main-1": ["update"]}
    # Another port is a rule of its own.
    write(site, GANG.replace("8080", "[8080, 443]"), tmp_path)
    assert site.changes() == {"ibm_is_security_group_rule.port-443": ["create"], "ibm_is_network_acl.nodes": ["update"]}
    # A machine with other CPUs is another machine; its interface, and with it both addresses, stay.
    write(site, GANG.replace("gx2-8x64x1v100", "bx2-8x32").replace("num_nodes: 2", "num_nodes: 1"), tmp_path)
    changes = site.changes()
    assert changes.pop("ibm_is_instance.main-0") == ["delete", "create"]
    assert changes == {address: ["delete"] for address in (*WAY_OUT, *(f"{type_}.main-1" for type_ in OF_A_NODE))}
    assert site.apply(destroy=True).ok
    assert not site.world.resources()


@pytest.mark.terraform
def test_growing_touches_nothing_that_was_there(site: Site, tmp_path: Path) -> None:
    write(site, GANG, tmp_path)
    assert site.apply().ok
    write(site, GANG.replace("num_nodes: 2", "num_nodes: 3"), tmp_path)
    assert site.changes() == {f"{type_}.main-2": ["create"] for type_ in OF_A_NODE}


@pytest.mark.terraform
def test_what_somebody_changed_or_removed_is_put_right(site: Site, tmp_path: Path) -> None:
    write(site, GANG, tmp_path)
    assert site.apply().ok
    rules = site.world.resources("ibm_is_security_group_rule")
    (rule,) = [row.attributes["id"] for row in rules if row.attributes["name"] == "port-8080"]
    site.world.change("ibm_is_security_group_rule", rule, remote="198.51.100.0/24")
    machines = site.world.resources("ibm_is_instance")
    (machine,) = [row.attributes["id"] for row in machines if row.attributes["name"].endswith("main-1")]
    site.world.remove("ibm_is_instance", machine)
    shown = site.plan()
    drifted = {row["address"]: row["change"]["actions"] for row in shown["resource_drift"]}
    assert drifted == {"ibm_is_instance.main-1": ["delete"], "ibm_is_security_group_rule.port-8080": ["update"]}
    assert site.changes() == {
        "ibm_is_instance.main-1": ["create"],
        "ibm_is_security_group_rule.port-8080": ["update"],
    }


@pytest.mark.terraform
def test_a_lack_of_capacity_is_ibms_own_word(site: Site, tmp_path: Path) -> None:
    write(site, GANG, tmp_path)
    site.faults("faults:\n  - {fault: no-capacity, zone: us-south-2, instance_type: 'gx2-*'}\n")
    run = site.apply()
    assert not run.ok and "cannot_start_capacity" in said(run)
    site.faults("faults: []\n")
    assert site.apply(destroy=True).ok
    assert not site.world.resources()
