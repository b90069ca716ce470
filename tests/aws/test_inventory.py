"""What a deployment has is found by its tag and removed without a state, in whatever order it is listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.providers.aws import provider as aws_provider
from skyc.providers.aws.client import Account, LoginRefused
from skyc.providers.aws.inventory import Inventory
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import OwnedResource
from tests.aws.conftest import KEY

DEPLOYMENT = DeploymentId("left")
REGION = "us-east-1"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2"}}],
}

RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::team-data/*"}],
}


def tagged(kind: str, deployment: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": "skyc-deployment", "Value": deployment}]}]


def leave(account: Any, deployment: str, *, network: str) -> None:
    """What a Terraform run that was killed could leave, made by hand."""
    ec2, iam = account("ec2"), account("iam")
    vpc = ec2.create_vpc(CidrBlock=network, TagSpecifications=tagged("vpc", deployment))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=vpc, CidrBlock=network.replace("/16", "/20"), TagSpecifications=tagged("subnet", deployment)
    )["Subnet"]["SubnetId"]
    ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr=network.replace(".0/16", ".10/32"), ReservationType="explicit")
    gateway = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway", deployment))["InternetGateway"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=tagged("route-table", deployment))["RouteTable"]
    ec2.create_route(
        RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway["InternetGatewayId"]
    )
    ec2.associate_route_table(RouteTableId=table["RouteTableId"], SubnetId=subnet)
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip", deployment))["AllocationId"]
    ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address, TagSpecifications=tagged("natgateway", deployment))
    ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{REGION}.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[table["RouteTableId"]],
        TagSpecifications=tagged("vpc-endpoint", deployment),
    )
    group = ec2.create_security_group(
        GroupName="nodes", Description="d", VpcId=vpc, TagSpecifications=tagged("security-group", deployment)
    )["GroupId"]
    ec2.import_key_pair(KeyName=deployment, PublicKeyMaterial=KEY.encode(), TagSpecifications=tagged("key-pair", deployment))
    machine = ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        ImageId="ami-12c6146b",
        InstanceType="t3.micro",
        SubnetId=subnet,
        SecurityGroupIds=[group],
        TagSpecifications=tagged("instance", deployment),
    )["Instances"][0]
    interface = machine["NetworkInterfaces"][0]["NetworkInterfaceId"]
    # With a tag too, as a template gives it; the other belongs to no machine any more.
    ec2.create_tags(Resources=[interface], Tags=[{"Key": "skyc-deployment", "Value": deployment}])
    ec2.create_network_interface(SubnetId=subnet, TagSpecifications=tagged("network-interface", deployment))
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip", deployment))
    ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=interface)
    tags = [{"Key": "skyc-deployment", "Value": deployment}]
    path = f"/skyc/{deployment}/"
    iam.create_role(RoleName=deployment, Path=path, AssumeRolePolicyDocument=json.dumps(TRUST), Tags=tags)
    iam.put_role_policy(RoleName=deployment, PolicyName="buckets", PolicyDocument=json.dumps(RIGHTS))
    iam.create_instance_profile(InstanceProfileName=deployment, Path=path, Tags=tags)
    iam.add_role_to_instance_profile(InstanceProfileName=deployment, RoleName=deployment)


def place(home: Path, deployment: str) -> None:
    (home / "deployments" / deployment / "sites" / f"train.aws-{REGION}").mkdir(parents=True)


@pytest.mark.parametrize("backwards", [False, True], ids=["as-listed", "backwards"])
def test_what_is_left_is_found_and_removed(tmp_path: Path, account: Any, backwards: bool) -> None:
    name = f"left-{backwards}".lower()
    leave(account, name, network="10.1.0.0/16")
    leave(account, f"{name}-other", network="10.2.0.0/16")
    place(tmp_path, name)
    place(tmp_path, f"{name}-other")
    provider = AwsProvider()
    found = provider.observe(DeploymentId(name), home=tmp_path)
    assert sorted(item.type for item in found) == [
        "aws_ec2_subnet_cidr_reservation",
        "aws_eip",
        "aws_eip",
        "aws_iam_instance_profile",
        "aws_iam_role",
        "aws_instance",
        "aws_internet_gateway",
        "aws_key_pair",
        "aws_nat_gateway",
        "aws_network_interface",
        "aws_route",
        "aws_route_table",
        "aws_route_table_association",
        "aws_security_group",
        "aws_subnet",
        "aws_vpc",
        "aws_vpc_endpoint",
    ]
    others = provider.observe(DeploymentId(f"{name}-other"), home=tmp_path)
    for item in sorted(found, key=lambda item: item.id, reverse=backwards):
        provider.remove(item, home=tmp_path)
        provider.remove(item, home=tmp_path)
    assert provider.observe(DeploymentId(name), home=tmp_path) == ()
    assert provider.observe(DeploymentId(f"{name}-other"), home=tmp_path) == others


def test_where_nothing_was_made_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert AwsProvider().observe(DEPLOYMENT, home=tmp_path) == ()


def test_without_credentials_nobody_says_that_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    place(tmp_path, DEPLOYMENT)
    resource = OwnedResource(id="vpc-1", type="aws_vpc", name="vpc-1", deployment=DEPLOYMENT, detail=REGION)
    with pytest.raises(SkycError) as observed:
        AwsProvider().observe(DEPLOYMENT, home=tmp_path)
    with pytest.raises(SkycError) as removed:
        AwsProvider().remove(resource, home=tmp_path)
    assert [caught.value.diagnostics[0].slug for caught in (observed, removed)] == ["cannot-observe"] * 2


class Closed:
    """An account without eu-south-2, or one whose credentials count nowhere."""

    def __init__(self, *, known: bool = True) -> None:
        self.known = known
        self.asked: list[tuple[str, str]] = []

    def pages(self, service: str, region: str, operation: str, rows: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        self.call(service, region, operation)
        yield from ()

    def call(self, service: str, region: str, operation: str, **arguments: Any) -> dict[str, Any]:
        self.asked.append((region, operation))
        if region == "eu-south-2" or not self.known:
            raise LoginRefused(f"{operation} was refused (AuthFailure)", "AuthFailure")
        return {"Account": "123456789012"}


def closed(home: Path, monkeypatch: pytest.MonkeyPatch, *regions: str, known: bool = True) -> tuple[OwnedResource, ...]:
    for region in regions:
        (home / "deployments" / DEPLOYMENT / "sites" / f"train.aws-{region}").mkdir(parents=True, exist_ok=True)
    account = cast(Account, Closed(known=known))
    monkeypatch.setattr(aws_provider, "_inventory", lambda: Inventory(account))
    return AwsProvider().observe(DEPLOYMENT, home=home)


def test_what_was_never_made_in_a_region_the_account_lacks_keeps_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan there, or a failover through it, leaves the folder of a site: the next command must be able to leave it behind."""
    assert closed(tmp_path, monkeypatch, "eu-south-2") == ()
    assert closed(tmp_path, monkeypatch, "eu-south-2", "us-east-2") == ()
    for region, known in (("eu-south-2", False), ("us-east-2", False)):
        with pytest.raises(SkycError, match="cannot-observe"):
            closed(tmp_path / region, monkeypatch, region, known=known)


def test_what_was_made_in_a_region_that_was_closed_since_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed(tmp_path, monkeypatch, "eu-south-2", "us-east-2")
    resource = {"mode": "managed", "type": "aws_vpc", "name": "v", "instances": [{"attributes": {"id": "vpc-1"}}]}
    state = {"version": 4, "lineage": "l", "serial": 3, "outputs": {}, "resources": [resource]}
    folder = tmp_path / "deployments" / DEPLOYMENT / "sites" / "train.aws-eu-south-2"
    (folder / "terraform.tfstate").write_text(json.dumps(state))
    with pytest.raises(SkycError, match="cannot-observe"):
        closed(tmp_path, monkeypatch)
