"""Every fault, in the real provider's words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from skyc.providers.simulator.faults import FaultsFileError, read_faults
from tests.schemas import graphs
from tests.schemas.graphs import ALL, changed

from .conftest import Site, said

pytestmark = [pytest.mark.terraform, pytest.mark.fault]

MACHINES = {
    "aws": "aws_instance",
    "azurerm": "azurerm_linux_virtual_machine",
    "google": "google_compute_instance",
    "ibm": "ibm_is_instance",
}

GRAPHS = {**ALL, "aws": graphs.aws_machine, "google": graphs.google_machine}

WORDS = {
    (
        "aws",
        "no-capacity",
    ): "api error InsufficientInstanceCapacity: We currently do not have sufficient g5.xlarge capacity in the "
    "Availability Zone you requested (us-east-1a)",
    ("aws", "quota"): "StatusCode: 400",
    ("aws", "throttled"): "api error RequestLimitExceeded: Request limit exceeded.",
    ("aws", "denied"): "is not authorized to perform: ec2:RunInstances",
    ("azurerm", "no-capacity"): 'Status: "ZonalAllocationFailed"',
    ("azurerm", "quota"): "OperationNotAllowed: Operation could not be completed as it results in exceeding approved",
    ("azurerm", "throttled"): "429 (429 Too Many Requests)",
    ("azurerm", "denied"): "AuthorizationFailed: ",
    ("google", "no-capacity"): "ZONE_RESOURCE_POOL_EXHAUSTED",
    ("google", "quota"): "Quota 'CPUS' exceeded.",
    ("google", "throttled"): "rateLimitExceeded",
    ("google", "denied"): "googleapi: Error 403: Required 'compute.instances.create' permission",
    ("ibm", "no-capacity"): "cannot_start_capacity",
    ("ibm", "quota"): "over_quota",
    ("ibm", "throttled"): "too_many_requests",
    ("ibm", "denied"): "not_authorized",
}


@pytest.mark.parametrize("name", MACHINES)
def test_each_cloud_says_no_in_its_own_words(site: Site, name: str) -> None:
    """One run per cloud: every rule strikes once, so each apply meets the next one."""
    kinds = ("no-capacity", "quota", "throttled", "denied")
    site.faults("faults:\n" + "".join(f"  - {{fault: {kind}, type: {MACHINES[name]}, times: 1}}\n" for kind in kinds))
    site.write(GRAPHS[name]())
    for kind in kinds:
        run = site.apply()
        assert not run.ok
        assert WORDS[name, kind] in said(run)
        assert site.world.resources(MACHINES[name]) == ()
    assert site.apply().finished
    assert site.changes() == {}


def test_capacity_is_by_zone_and_type(site: Site) -> None:
    site.faults("faults:\n  - {fault: no-capacity, zone: us-east-1a, instance_type: 'g5.*'}\n")
    site.write(graphs.aws_machine())
    run = site.apply()
    assert "InsufficientInstanceCapacity" in said(run)
    elsewhere = changed(graphs.aws_machine(), "aws_subnet.a", availability_zone_id="use1-az2")
    site.write(elsewhere)
    assert site.apply().finished
    (found,) = site.world.resources("aws_instance")
    assert found.attributes["availability_zone"] == "us-east-1b"


def test_another_type_has_capacity(site: Site) -> None:
    site.faults("faults:\n  - {fault: no-capacity, instance_type: 'g5.*'}\n")
    site.write(changed(graphs.aws_machine(), "aws_instance.node", instance_type="m7i.large"))
    assert site.apply().finished


def test_the_missing_permission_is_named(site: Site) -> None:
    site.faults("faults:\n  - {fault: denied, type: aws_vpc, permission: 'ec2:CreateTags'}\n")
    site.write(graphs.aws_machine())
    assert "is not authorized to perform: ec2:CreateTags" in said(site.apply())


def test_a_slow_create_takes_its_time(site: Site) -> None:
    site.faults("faults:\n  - {fault: slow, type: aws_vpc, seconds: 1}\n")
    site.write(graphs.aws_machine())
    before = time.monotonic()
    assert site.apply().finished
    assert time.monotonic() - before >= 1


def test_a_lost_reply_leaves_an_orphan(site: Site) -> None:
    site.faults("faults:\n  - {fault: reply-lost, type: google_compute_instance, times: 1}\n")
    site.write(graphs.google_machine())
    run = site.apply()
    assert not run.ok
    (found,) = site.world.resources("google_compute_instance")
    assert found.id not in site.ids()
    assert "alreadyExists" in said(site.apply())
    assert next(call["outcome"] for call in site.world.calls() if call["type"] == "google_compute_instance") == "reply lost"


def test_a_refusal_can_leave_something_behind(site: Site) -> None:
    site.faults("faults:\n  - {fault: no-capacity, leaves: true, times: 1}\n")
    site.write(graphs.azurerm())
    assert "ZonalAllocationFailed" in said(site.apply())
    (found,) = site.world.resources("azurerm_linux_virtual_machine")
    assert found.id not in site.ids()
    assert "needs to be imported into the State" in said(site.apply())


IN_USE = {
    "aws": ("aws_subnet", "DependencyViolation: The subnet"),
    "azurerm": ("azurerm_network_interface", "NicInUse"),
    "google": ("google_compute_subnetwork", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"),
    "ibm": ("ibm_is_subnet", "subnet_in_use"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_an_orphan_keeps_its_network(site: Site, name: str) -> None:
    """Terraform cannot remove what a machine it does not know still uses; when that is gone, it can."""
    site.faults(f"faults:\n  - {{fault: reply-lost, type: {MACHINES[name]}, times: 1}}\n")
    site.write(GRAPHS[name]())
    assert not site.apply().ok
    run = site.apply(destroy=True)
    held, words = IN_USE[name]
    assert words in said(run)
    assert site.world.resources(held)
    (orphan,) = site.world.resources(MACHINES[name])
    site.world.remove(orphan.type, orphan.id)
    assert site.apply(destroy=True).finished
    assert site.world.resources() == ()


def test_an_error_after_the_create_taints(site: Site) -> None:
    site.faults("faults:\n  - {fault: error-after-create, type: aws_instance, times: 1}\n")
    site.write(graphs.aws_machine())
    assert not site.apply().ok
    (found,) = site.world.resources("aws_instance")
    assert found.id in site.ids()
    assert site.changes() == {"aws_instance.node": ["delete", "create"]}
    assert site.apply().finished
    assert len(site.world.resources("aws_instance")) == 1


def test_throttling_of_other_calls(site: Site) -> None:
    site.write(graphs.aws_machine())
    site.apply()
    site.faults("faults:\n  - {fault: throttled, call: delete, type: aws_instance, times: 1}\n")
    assert not site.apply(destroy=True).ok
    assert site.apply(destroy=True).finished
    assert site.world.resources() == ()


@pytest.mark.parametrize("effect", ["vanish", "stop"])
def test_a_preempted_machine(site: Site, effect: str) -> None:
    site.write(graphs.google_machine())
    site.apply()
    site.faults(f"faults:\n  - {{fault: preempted, zone: us-central1-*, effect: {effect}, times: 1}}\n")
    if effect == "vanish":
        assert site.changes() == {"google_compute_instance.node": ["create"]}
        return
    plan = site.plan()
    (drifted,) = plan["resource_drift"]
    assert drifted["address"] == "google_compute_instance.node"
    assert drifted["change"]["after"]["current_status"] == "TERMINATED"


@pytest.mark.parametrize(
    "text",
    [
        "faults: [{fault: earthquake}]",
        "faults: [{fault: slow, secs: 3}]",
        "faults: [{fault: preempted, effect: melt}]",
        "nothing: []",
        "faults: [",
    ],
)
def test_a_file_of_faults_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(FaultsFileError):
        read_faults(path)
    assert read_faults(tmp_path / "none.yaml") == ()


def test_a_wrong_file_stops_a_create(site: Site) -> None:
    site.faults("faults: [{fault: earthquake}]")
    site.write(graphs.ibm())
    assert "The simulator's faults cannot be read" in said(site.apply())
    assert site.world.resources() == ()
