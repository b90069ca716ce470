"""What a deployment has is found by its tag and removed without a state, in whatever order it is listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
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
