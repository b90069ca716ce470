"""Every cloud's refusals are told apart by their codes, and nothing else is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from skyc.compiler.ir import (
    Accelerator,
    Failure,
    FailureKind,
    GroupName,
    GroupPlacement,
    Market,
    NodeShape,
    Reach,
    TaskId,
)
from skyc.compiler.scrub import Scrubber
from skyc.compiler.terraform_stream import diagnostic_of
from skyc.providers.registry import load
from skyc.providers.simulator.clouds.aws import AWS
from skyc.providers.simulator.clouds.azurerm import AZURERM
from skyc.providers.simulator.clouds.google import GOOGLE
from skyc.providers.simulator.clouds.ibm import IBM
from skyc.providers.simulator.making import Cloud, Making
from skyc.providers.simulator.world import Contents

MACHINES: dict[str, tuple[Cloud, str, dict[str, Any]]] = {
    "aws": (AWS, "aws_instance", {"instance_type": "g5.xlarge"}),
    "azure": (
        AZURERM,
        "azurerm_linux_virtual_machine",
        {"size": "Standard_NC24ads_A100_v4", "location": "eastus", "zone": "1"},
    ),
    "gcp": (GOOGLE, "google_compute_instance", {"machine_type": "a2-highgpu-1g", "zone": "us-central1-a"}),
    "ibm": (IBM, "ibm_is_instance", {"profile": "gx3-16x80x1l4", "zone": "us-south-1"}),
}
FAULTS = {
    "no-capacity": FailureKind.CAPACITY,
    "not-sold": FailureKind.NOT_OFFERED,
    "no-region": FailureKind.NOT_OFFERED,
    "unknown-caller": FailureKind.CREDENTIALS,
    "quota": FailureKind.QUOTA,
    "throttled": FailureKind.THROTTLED,
    "denied": FailureKind.PERMISSION,
    "exists": FailureKind.OTHER,
    "in-use": FailureKind.OTHER,
}
PERMISSIONS = {
    "aws": "ec2:RunInstances",
    "azure": "Microsoft.Compute/virtualMachines/write",
    "gcp": "compute.instances.create",
    "ibm": "is.instance.instance.create",
}


NOT_AT_IBM = {"not-sold", "no-region", "unknown-caller"}


def means(provider: str, summary: str, detail: str = "", address: str = "x.y", region: str = "") -> Failure:
    said = diagnostic_of({"severity": "error", "summary": summary, "detail": detail, "address": address}, scrubber=Scrubber(()))
    (found,) = load(provider).failures([said], region)
    return found


@pytest.mark.parametrize(
    ("provider", "fault"),
    [(provider, fault) for provider in MACHINES for fault in FAULTS if provider != "ibm" or fault not in NOT_AT_IBM],
)
def test_what_the_simulator_says(provider: str, fault: str) -> None:
    cloud, type_, values = MACHINES[provider]
    making = Making(type=type_, values=values, config={}, world=Contents(), root="0" * 64, id="x")
    refusal = cloud.refuse(fault, making, "")
    region = "eu-south-2" if fault == "no-region" else ""
    found = means(provider, refusal.summary, refusal.detail, f"{type_}.main-0", region)
    assert found.kind is FAULTS[fault], found
    assert found.resource == f"{type_}.main-0"
    assert (found.reach is not None) == found.kind.moves_on
    assert found.permission == (PERMISSIONS[provider] if fault == "denied" else "")
    assert bool(found.code) or fault in ("exists", "in-use")


AWS_SAYS = "creating EC2 Instance: operation error EC2: RunInstances, "


@pytest.mark.parametrize(
    ("text", "kind", "code", "reach"),
    [
        (
            AWS_SAYS + "exceeded maximum number of attempts, 4, https response error StatusCode: 500, RequestID: 1, "
            "api error InsufficientInstanceCapacity: We currently do not have sufficient g5.xlarge capacity",
            FailureKind.CAPACITY,
            "InsufficientInstanceCapacity",
            Reach.MACHINE_IN_ZONE,
        ),
        (
            "creating EC2 Instance: InsufficientInstanceCapacity: We currently do not have sufficient m6i.xlarge capacity in the "
            "Availability Zone you requested (us-east-2a).\n\tstatus code: 500, request id: 889de2c1",
            FailureKind.CAPACITY,
            "InsufficientInstanceCapacity",
            Reach.MACHINE_IN_ZONE,
        ),
        (
            "waiting for EC2 Instance (i-1) create: unexpected state 'shutting-down', wanted target 'running'. last error: "
            "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request",
            FailureKind.CAPACITY,
            "InsufficientInstanceCapacity",
            Reach.MACHINE_IN_ZONE,
        ),
        (
            AWS_SAYS
            + "https response error StatusCode: 400, RequestID: 1, api error Unsupported: Your requested instance type "
            "(p4d.24xlarge) is not supported in your requested Availability Zone (us-east-1e).",
            FailureKind.NOT_OFFERED,
            "Unsupported",
            Reach.MACHINE_IN_ZONE,
        ),
        (
            AWS_SAYS
            + "https response error StatusCode: 400, RequestID: 1, api error Unsupported: The volume type is not supported.",
            FailureKind.OTHER,
            "Unsupported",
            None,
        ),
        (
            "creating EC2 VPC: operation error EC2: CreateVpc, https response error StatusCode: 400, RequestID: 1, "
            "api error VpcLimitExceeded: The maximum number of VPCs has been reached.",
            FailureKind.QUOTA,
            "VpcLimitExceeded",
            Reach.REGION,
        ),
        (
            "creating IAM Role (x): operation error IAM: CreateRole, https response error StatusCode: 409, RequestID: E-1, "
            "LimitExceeded: Cannot exceed quota for RolesPerAccount: 1000",
            FailureKind.QUOTA,
            "LimitExceeded",
            Reach.PROVIDER,
        ),
        (
            "adding IAM Role to Instance Profile: operation error IAM: AddRoleToInstanceProfile, https response error StatusCode: 409, "
            "RequestID: E-1, LimitExceeded: Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
            FailureKind.OTHER,
            "LimitExceeded",
            None,
        ),
        # Words alone say nothing, whatever they are about.
        ("Insufficient capacity: the quota was exceeded, access denied, try again later", FailureKind.OTHER, "", None),
        ("creating thing: api error NeverHeardOf: no capacity", FailureKind.OTHER, "NeverHeardOf", None),
    ],
)
def test_what_aws_says(text: str, kind: FailureKind, code: str, reach: Reach | None) -> None:
    found = means("aws", text)
    assert (found.kind, found.code, found.reach) == (kind, code, reach)


def test_a_permission_that_is_not_named_is_the_calls() -> None:
    text = (
        "creating IAM Role (x): operation error IAM: CreateRole, https response error StatusCode: 403, RequestID: 1, api error "
    )
    assert means("aws", text + "AccessDenied: no").permission == "iam:CreateRole"
    named = "AccessDenied: User: arn:aws:iam::1:user/x is not authorized to perform: iam:TagRole on resource: *"
    assert means("aws", text + named).permission == "iam:TagRole"


@pytest.mark.parametrize(
    ("text", "code", "reach"),
    [
        (
            "Error waiting for instance to create: The zone 'projects/p/zones/us-west1-c' does not have enough resources available "
            "to fulfill the request.  Try a different zone, or try again later.",
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            Reach.MACHINE_IN_ZONE,
        ),
        (
            "Error waiting for instance to create: Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.",
            "QUOTA_EXCEEDED_GLOBALLY",
            Reach.PROVIDER,
        ),
        (
            "Error waiting for instance to create: Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 1.0 in region us-west1.",
            "QUOTA_EXCEEDED",
            Reach.POOL,
        ),
    ],
)
def test_what_google_says_without_a_code(text: str, code: str, reach: Reach) -> None:
    found = means("gcp", text)
    assert (found.code, found.reach) == (code, reach)


def test_azures_code_for_many_things_is_a_quota_only_where_it_says_so() -> None:
    text = "creating Linux Virtual Machine: performing CreateOrUpdate: unexpected status 409 (409 Conflict) with error: "
    assert means("azure", text + "OperationNotAllowed: The VM is deallocating.").kind is FailureKind.OTHER
    said = "OperationNotAllowed: Operation could not be completed as it results in exceeding approved standardNC Cores quota."
    assert means("azure", text + said).kind is FailureKind.QUOTA


def machine(provider: str, name: str, market: Market = Market.ON_DEMAND, *devices: str) -> GroupPlacement:
    shape = NodeShape(
        cpus=Decimal(1), memory_gb=Decimal(1), accelerators=tuple(Accelerator(name=name, count=Decimal(1)) for name in devices)
    )
    return GroupPlacement(
        task=TaskId("t"),
        group=GroupName("main"),
        provider=provider,
        region="r",
        zone=None,
        instance_type=name,
        market=market,
        num_nodes=1,
        shape=shape,
        hourly=None,
        hours=Decimal(1),
        lines=(),
    )


@pytest.mark.parametrize(
    ("provider", "one", "other", "same"),
    [
        ("aws", "m7i.large", "t3.micro", True),
        ("aws", "m7i.large", "im4gn.large", True),
        ("aws", "m7i.large", "g5.xlarge", False),
        ("aws", "g5.xlarge", "vt1.3xlarge", True),
        ("aws", "p4d.24xlarge", "p5.48xlarge", True),
        ("aws", "p4d.24xlarge", "x2gd.large", False),
        ("aws", "inf2.xlarge", "i4i.large", False),
        ("azure", "Standard_NC24ads_A100_v4", "Standard_NC48ads_A100_v4", True),
        ("azure", "Standard_NC24ads_A100_v4", "Standard_D4s_v5", False),
        ("gcp", "n2-standard-4", "n2-highmem-8", True),
        ("gcp", "n2-standard-4", "c3-standard-4", False),
    ],
)
def test_what_counts_on_one_quota(provider: str, one: str, other: str, same: bool) -> None:
    pool = load(provider).quota_pool
    assert (pool(machine(provider, one)) == pool(machine(provider, other))) is same
    if provider == "aws":
        assert pool(machine(provider, one)) != pool(machine(provider, one, Market.SPOT))
