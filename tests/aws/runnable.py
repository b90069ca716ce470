"""The AWS target as one jobs could be started at, its account behind a proxy that can fail: for what `apply` does until then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.failover import envelope
from skyc.compiler.ir import DeploymentId, GroupName, TaskId
from skyc.compiler.ir.catalog import CatalogPart
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Capability
from tests.aws.fault_proxy import Call, Proxy, Refuse, Rule
from tests.failover.pretended import Account, opened
from tests.simulator.real_provider import mirror

DEPLOYMENT = DeploymentId("train")
TASK = """\
name: train
resources: {infra: aws/us-east-1, instance_type: g5.xlarge}
num_nodes: 2
file_mounts: {data: s3://team-data/imagenet}
run: echo hi
"""
"""With every kind of resource that moto can make."""
DROPPED = ("AWS_PROFILE", "AWS_CA_BUNDLE", "TF_CLI_CONFIG_FILE")


at_length = pytest.mark.skipif(
    not os.environ.get("SKYC_KILL_POINTS"), reason="takes minutes with the real provider: `make faults`"
)


class RunnableAws(AwsProvider):
    """`AwsProvider` as it is, but for the claim that jobs can be started there."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.RUN}

    def catalog(self, *, home: Path) -> CatalogPart:
        # The shipped one lies beside the class that is asked.
        return AwsProvider().catalog(home=home)


def environment(endpoint: str) -> dict[str, str]:
    """In which Terraform's provider and boto3 reach the pretended account."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SKYC_PROVIDER_MIRROR": str(mirror()),
    }


@contextmanager
def aws(home: Path, proxy: Proxy, patch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A home whose one target is AWS behind the proxy."""
    environ = environment(proxy.url)
    for name in DROPPED:
        patch.delenv(name, raising=False)
    for name in environ.keys() - os.environ.keys() | {"AWS_ENDPOINT_URL"}:
        patch.setenv(name, environ[name])
    with opened(home, environ, aws=RunnableAws()) as account:
        yield account


def zones_of(home: Account) -> list[str]:
    """Zone ids of the task's envelope, in its order."""
    _, compilation = home.compiled(TASK)
    found = envelope(compilation.reviewed, TaskId("train"), GroupName("main"))
    return [str(item.zone) for item in found]


def no_capacity(zone: str) -> Rule:
    """There are no machines in a zone."""

    def rule(call: Call) -> Refuse | None:
        if call.operation == "RunInstances" and call.zone == zone:
            return Refuse("InsufficientInstanceCapacity", 500, "We currently do not have sufficient g5.xlarge capacity")
        return None

    return rule


LISTINGS = {
    "describe_instances": ("Reservations", ""),
    "describe_internet_gateways": ("InternetGateways", "InternetGatewayId"),
    "describe_key_pairs": ("KeyPairs", "KeyName"),
    "describe_launch_templates": ("LaunchTemplates", "LaunchTemplateId"),
    "describe_route_tables": ("RouteTables", "RouteTableId"),
    "describe_security_groups": ("SecurityGroups", "GroupId"),
    "describe_security_group_rules": ("SecurityGroupRules", "SecurityGroupRuleId"),
    "describe_subnets": ("Subnets", "SubnetId"),
    "describe_volumes": ("Volumes", "VolumeId"),
    "describe_vpcs": ("Vpcs", "VpcId"),
}


def everything(client: Any) -> frozenset[str]:
    """Ids of all that the account has in the region, tagged or not; machines that are ended are gone.

    moto gives a machine of a launch template a second root disk, and keeps that when the machine ends: disks of machines that are gone
    are left out. (At AWS such a disk would be tagged and free, which the inventory finds.)
    """
    ec2, iam = client("ec2"), client("iam")
    found: set[str] = set()
    for operation, (rows, name) in LISTINGS.items():
        for row in getattr(ec2, operation)()[rows]:
            if not name:
                found |= {item["InstanceId"] for item in row["Instances"] if item["State"]["Name"] != "terminated"}
            elif not row.get("Attachments") or name != "VolumeId" or row["Attachments"][0]["InstanceId"] in found:
                found.add(str(row[name]))
    found |= {row["RoleName"] for row in iam.list_roles()["Roles"]}
    found |= {row["InstanceProfileName"] for row in iam.list_instance_profiles()["InstanceProfiles"]}
    return frozenset(found)


def machines(client: Any, deployment: str, region: str = "us-east-1") -> list[tuple[str, str]]:
    """(zone id, type) of every machine of a deployment that is not ended, sorted."""
    ec2 = client("ec2", region)
    filters = [{"Name": "tag:skyc-deployment", "Values": [deployment]}]
    zones = {row["SubnetId"]: row["AvailabilityZoneId"] for row in ec2.describe_subnets()["Subnets"]}
    return sorted(
        (zones[machine["SubnetId"]], machine["InstanceType"])
        for reservation in ec2.describe_instances(Filters=filters)["Reservations"]
        for machine in reservation["Instances"]
        if machine["State"]["Name"] != "terminated"
    )
