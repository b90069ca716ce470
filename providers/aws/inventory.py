"""What a deployment has at AWS, found by its tag and removed without a state.

Contract: `observe` lists what a Terraform state would hold, under the ids it would have there: what only goes with another thing
(a disk that is attached, a network interface, a network's own security group) is not listed. `remove` also removes what is
inside a network, a subnet or a security group, since those cannot go before; it waits until machines are gone.

A bucket is removed only when it is empty, which S3 itself sees to; `empty` is a call of its own. Buckets are told by their tag, and
by the mark in their name: another home may use the same deployment's name in the same account, and data is not like a machine.

Permissions: `ec2:Describe*` of what is named below, `iam:List*` and `iam:Get*` of roles and profiles, `s3:ListAllMyBuckets` and
`s3:GetBucketTagging`, and the deletes of each. docs/aws.md has them all.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ...compiler.ir import DeploymentId
from ..base import OwnedResource
from ..rented.names import DEPLOYMENT_TAG, KEEP_TAG, STORAGE_TAG
from .client import HOME_REGION, Account, Answered, LoginRefused
from .errors import CLOSED
from .regions import on_request

GONE_SECONDS = 600.0
"""A machine with much memory takes minutes to end."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How EC2 lists one kind of resource, and what Terraform calls it. `id`: the field that Terraform uses as its id."""

    type: str
    operation: str
    rows: str
    id: str
    filters: str = "Filters"


_KINDS = {
    "elastic-ip": _Kind("aws_eip", "describe_addresses", "Addresses", "AllocationId"),
    "internet-gateway": _Kind("aws_internet_gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "key-pair": _Kind("aws_key_pair", "describe_key_pairs", "KeyPairs", "KeyName"),
    "launch-template": _Kind("aws_launch_template", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "natgateway": _Kind("aws_nat_gateway", "describe_nat_gateways", "NatGateways", "NatGatewayId", "Filter"),
    "network-interface": _Kind(
        "aws_network_interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"
    ),
    "placement-group": _Kind("aws_placement_group", "describe_placement_groups", "PlacementGroups", "GroupName"),
    "route-table": _Kind("aws_route_table", "describe_route_tables", "RouteTables", "RouteTableId"),
    "security-group": _Kind("aws_security_group", "describe_security_groups", "SecurityGroups", "GroupId"),
    "security-group-rule": _Kind(
        "aws_vpc_security_group_rule", "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"
    ),
    "subnet": _Kind("aws_subnet", "describe_subnets", "Subnets", "SubnetId"),
    "volume": _Kind("aws_ebs_volume", "describe_volumes", "Volumes", "VolumeId"),
    "vpc-endpoint": _Kind("aws_vpc_endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    "vpc": _Kind("aws_vpc", "describe_vpcs", "Vpcs", "VpcId"),
}
_IN_USE = {"network-interface": "Status", "volume": "State"}
"""What goes with the machine it is in: kind → the field that says whether it is in one."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inventory:
    """One account. `pause`: between looks at a machine that is ending."""

    account: Account
    pause: Callable[[float], object] = time.sleep

    def observe(
        self,
        deployment: DeploymentId,
        regions: tuple[str, ...],
        mark: str | None = None,
        *,
        empty: Collection[str] = (),
    ) -> tuple[OwnedResource, ...]:
        """Everything tagged with the deployment in these regions, sorted by id. `detail` is the region. mark: ends the names of its
        buckets; None: it has none. empty: regions of which no state says that something is there."""
        found: list[OwnedResource] = []
        lacking = set()
        for region in regions:
            try:
                found += self._in_region(deployment, region)
            except LoginRefused as refused:
                if region not in empty or not self._lacks(region, refused.code):
                    raise
                lacking.add(region)
        asked = next((region for region in regions if region not in lacking), HOME_REGION)
        # Identities belong to no region; they are told by path and tag.
        found += self._identities(deployment, asked) if regions else ()
        found += self._buckets(deployment, asked, mark) if regions and mark else ()
        return tuple(sorted(found, key=lambda item: (item.id, item.type)))

    def _lacks(self, region: str, code: str) -> bool:
        """Whether an answer says that the account does not have the region, and so has nothing in it: its credentials count elsewhere.
        Raises SourceFailure where they do not."""
        if not on_request(region) or code not in {*CLOSED, "OptInRequired"}:
            return False
        self.account.call("sts", HOME_REGION, "get_caller_identity")
        return True

    def _in_region(self, deployment: DeploymentId, region: str) -> Iterator[OwnedResource]:
        chosen = [{"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [str(deployment)]}]
        mine = [{"Name": "key", "Values": [DEPLOYMENT_TAG]}, {"Name": "value", "Values": [str(deployment)]}]
        # One call tells which kinds there are. Tags can outlive what they were on, so each kind is then asked for itself.
        tags = self.account.pages("ec2", region, "describe_tags", "Tags", Filters=mine)
        kinds = {str(row["ResourceType"]) for row in tags}

        def owned(type_: str, id_: str, name: str) -> OwnedResource:
            return OwnedResource(id=id_, type=type_, name=name or id_, deployment=deployment, detail=region)

        if "instance" in kinds:
            for row in self._machines(region, chosen):
                yield owned("aws_instance", row["InstanceId"], _named(row))
        for name in sorted(kinds & set(_KINDS)):
            kind = _KINDS[name]
            for row in self.account.pages("ec2", region, kind.operation, kind.rows, **{kind.filters: chosen}):
                # A network's own group goes with it, and a disk or an interface in use with its machine.
                if row.get("GroupName") == "default" or row.get(_IN_USE.get(name, ""), "available") != "available":
                    continue
                # A gateway is listed for an hour after it has gone.
                if str(row.get("State")).lower() in _LISTED_ONLY:
                    continue
                yield owned(kind.type, row[kind.id], _named(row))
                if name == "route-table":
                    yield from (owned(*inner) for inner in _within_table(row))
                if name == "subnet":
                    for id_, cidr in self._reserved(row[kind.id], region):
                        yield owned("aws_ec2_subnet_cidr_reservation", id_, f"{row[kind.id]} {cidr}")

    def _machines(self, region: str, filters: list[Row]) -> Iterator[Row]:
        for reservation in self.account.pages("ec2", region, "describe_instances", "Reservations", Filters=filters):
            yield from (row for row in reservation["Instances"] if row["State"]["Name"] != "terminated")

    def _identities(self, deployment: DeploymentId, region: str) -> list[OwnedResource]:
        path = f"/skyc/{deployment}/"
        found = []
        for row in self.account.pages("iam", region, "list_instance_profiles", "InstanceProfiles", PathPrefix=path):
            name = row["InstanceProfileName"]
            profile = self.account.call("iam", region, "get_instance_profile", InstanceProfileName=name)["InstanceProfile"]
            if _carries(profile.get("Tags", []), deployment):
                found.append(
                    OwnedResource(id=name, type="aws_iam_instance_profile", name=name, deployment=deployment, detail=region)
                )
        for row in self.account.pages("iam", region, "list_roles", "Roles", PathPrefix=path):
            name = row["RoleName"]
            role = self.account.call("iam", region, "get_role", RoleName=name)["Role"]
            if _carries(role.get("Tags", []), deployment):
                found.append(OwnedResource(id=name, type="aws_iam_role", name=name, deployment=deployment, detail=region))
        return found

    def _buckets(self, deployment: DeploymentId, region: str, mark: str) -> Iterator[OwnedResource]:
        # The list of buckets is right at once; an index of tags follows later, and would miss what was made a moment ago.
        for row in self.account.pages("s3", region, "list_buckets", "Buckets"):
            name = str(row["Name"])
            if not name.endswith(f"-{mark}"):
                continue
            where = self._delete("s3", region, "get_bucket_location", Bucket=name)
            place = str((where or {}).get("LocationConstraint") or "us-east-1")
            tags = {tag["Key"]: tag["Value"] for tag in self._tags_of_bucket(name, place)}
            if tags.get(DEPLOYMENT_TAG) == deployment:
                yield OwnedResource(
                    id=name,
                    type="aws_s3_bucket",
                    name=name,
                    deployment=deployment,
                    detail=place,
                    storage=tags.get(STORAGE_TAG, name),
                    # Without a word about it, data stays.
                    keep=tags.get(KEEP_TAG) != "no",
                )

    def _tags_of_bucket(self, name: str, region: str) -> list[Row]:
        found = self._delete("s3", region, "get_bucket_tagging", Bucket=name)
        rows: list[Row] = (found or {}).get("TagSet", [])
        return rows

    def empty(self, resource: OwnedResource) -> None:
        """Delete everything in a bucket: objects, old versions, and uploads that nobody finished. Raises SourceFailure when S3
        keeps one, as a retention rule can ask for."""
        name, region = resource.id, resource.detail
        while found := self._delete("s3", region, "list_object_versions", Bucket=name):
            rows = [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]
            if not rows:
                break
            objects = [{"Key": row["Key"], "VersionId": row["VersionId"]} for row in rows]
            done = self.account.call("s3", region, "delete_objects", Bucket=name, Delete={"Objects": objects, "Quiet": True})
            if refused := done.get("Errors"):
                code = str(refused[0].get("Code"))
                raise Answered(f"S3 does not delete {len(refused)} of the objects in {name} ({code})", code)
        while found := self._delete("s3", region, "list_multipart_uploads", Bucket=name):
            uploads = found.get("Uploads", ())
            if not uploads:
                break
            for row in uploads:
                key, upload = row["Key"], row["UploadId"]
                self._delete("s3", region, "abort_multipart_upload", Bucket=name, Key=key, UploadId=upload)

    def remove(self, resource: OwnedResource) -> None:
        """Remove one resource and what is inside it, but no data: a bucket must be empty. What is gone already is fine."""
        region, id_ = resource.detail, resource.id
        match resource.type:
            case "aws_instance":
                self._end([id_], region)
            case "aws_vpc":
                self._empty_network(id_, region)
                self._delete("ec2", region, "delete_vpc", VpcId=id_)
            case "aws_subnet":
                self._end(self._inside(region, "subnet-id", id_), region)
                self._end_gateways(region, lambda row: row["SubnetId"] == id_)
                self._drop_interfaces("subnet-id", id_, region)
                self._delete_subnet(id_, region)
            case "aws_security_group":
                self._end(self._inside(region, "instance.group-id", id_), region)
                self._drop_interfaces("group-id", id_, region)
                self._delete("ec2", region, "delete_security_group", GroupId=id_)
            case "aws_vpc_security_group_rule":
                self._delete_rule(id_, region)
            case "aws_internet_gateway":
                self._delete_gateway(id_, region)
            case "aws_nat_gateway":
                self._end_gateways(region, lambda row: row["NatGatewayId"] == id_)
            case "aws_eip":
                # It cannot go before the gateway that has it.
                self._end_gateways(region, lambda row: id_ in {at.get("AllocationId") for at in row["NatGatewayAddresses"]})
                self._release(id_, region)
            case "aws_vpc_endpoint":
                self._delete_endpoint(id_, region)
            case "aws_route_table":
                self._delete_table(id_, region)
            case "aws_route":
                table, _, destination = resource.name.partition(" ")
                kind = "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"
                self._delete("ec2", region, "delete_route", RouteTableId=table, **{kind: destination})
            case "aws_iam_instance_profile":
                self._delete_profile(id_, region)
            case "aws_iam_role":
                self._delete_role(id_, region)
            case "aws_s3_bucket":
                self._delete("s3", region, "delete_bucket", Bucket=id_)
            case _:
                operation, argument = _SIMPLE[resource.type]
                self._delete("ec2", region, operation, **{argument: id_})

    def _delete(self, service: str, region: str, operation: str, **arguments: Any) -> Row | None:
        """The answer, or None when there is nothing of that id any more."""
        try:
            return self.account.call(service, region, operation, **arguments)
        except Answered as answer:
            if answer.code.endswith((".NotFound", ".NotFoundException", ".Unknown", ".Malformed")) or answer.code in _GONE:
                return None
            raise

    def _inside(self, region: str, filter_: str, id_: str) -> list[str]:
        return [row["InstanceId"] for row in self._machines(region, [{"Name": filter_, "Values": [id_]}])]

    def _end(self, ids: list[str], region: str) -> None:
        """Terminate machines and wait until they are gone: until then their network cannot go."""
        for id_ in ids:
            self._delete("ec2", region, "terminate_instances", InstanceIds=[id_])
        waited = 0.0
        while ids and waited < GONE_SECONDS:
            ids = [row["InstanceId"] for row in self._machines(region, [{"Name": "instance-id", "Values": ids}])]
            if ids:
                self.pause(3.0)
                waited += 3.0

    def _end_gateways(self, region: str, those: Callable[[Row], bool]) -> None:
        """Delete NAT gateways and wait until they are gone: until then their address and their subnet cannot go."""
        found = self.account.pages("ec2", region, "describe_nat_gateways", "NatGateways")
        ids = [row["NatGatewayId"] for row in found if row["State"] not in _LISTED_ONLY and those(row)]
        for id_ in ids:
            self._delete("ec2", region, "delete_nat_gateway", NatGatewayId=id_)
        waited = 0.0
        while ids and waited < GONE_SECONDS:
            rows = self.account.pages("ec2", region, "describe_nat_gateways", "NatGateways")
            there = {row["NatGatewayId"] for row in rows if row["State"] not in _LISTED_ONLY}
            ids = [id_ for id_ in ids if id_ in there]
            if ids:
                self.pause(3.0)
                waited += 3.0

    def _delete_endpoint(self, id_: str, region: str) -> None:
        done = self._delete("ec2", region, "delete_vpc_endpoints", VpcEndpointIds=[id_])
        for row in (done or {}).get("Unsuccessful", ()):
            code = str(row.get("Error", {}).get("Code"))
            if not code.endswith(".NotFound"):
                raise Answered(f"EC2 does not delete {id_} ({code})", code)

    def _drop_interfaces(self, filter_: str, id_: str, region: str) -> None:
        """Those that a launch which failed left behind: no machine has them, and they keep what they are in."""
        alone = [{"Name": filter_, "Values": [id_]}, {"Name": "status", "Values": ["available"]}]
        for row in self.account.pages("ec2", region, "describe_network_interfaces", "NetworkInterfaces", Filters=alone):
            self._delete("ec2", region, "delete_network_interface", NetworkInterfaceId=row["NetworkInterfaceId"])

    def _empty_network(self, id_: str, region: str) -> None:
        self._end(self._inside(region, "vpc-id", id_), region)
        self._end_gateways(region, lambda row: row["VpcId"] == id_)
        self._drop_interfaces("vpc-id", id_, region)
        here = [{"Name": "vpc-id", "Values": [id_]}]
        for row in self.account.pages("ec2", region, "describe_vpc_endpoints", "VpcEndpoints", Filters=here):
            self._delete_endpoint(row["VpcEndpointId"], region)
        for row in self.account.pages("ec2", region, "describe_security_groups", "SecurityGroups", Filters=here):
            if row["GroupName"] != "default":
                self._delete("ec2", region, "delete_security_group", GroupId=row["GroupId"])
        for row in self.account.pages("ec2", region, "describe_subnets", "Subnets", Filters=here):
            self._delete_subnet(row["SubnetId"], region)
        joined = [{"Name": "attachment.vpc-id", "Values": [id_]}]
        for row in self.account.pages("ec2", region, "describe_internet_gateways", "InternetGateways", Filters=joined):
            self._delete_gateway(row["InternetGatewayId"], region)
        for row in self.account.pages("ec2", region, "describe_route_tables", "RouteTables", Filters=here):
            if not any(association.get("Main") for association in row["Associations"]):
                self._delete_table(row["RouteTableId"], region)

    def _reserved(self, subnet: str, region: str) -> Iterator[tuple[str, str]]:
        """Id and range of what is reserved in a subnet. It has no tags, and would be in the way of what is to be reserved there."""
        found = self._delete("ec2", region, "get_subnet_cidr_reservations", SubnetId=subnet)
        for row in (found or {}).get("SubnetIpv4CidrReservations", ()):
            yield row["SubnetCidrReservationId"], row["Cidr"]

    def _delete_subnet(self, id_: str, region: str) -> None:
        # Whether a subnet can go before them, EC2 does not say.
        for reserved, _ in self._reserved(id_, region):
            self._delete("ec2", region, "delete_subnet_cidr_reservation", SubnetCidrReservationId=reserved)
        self._delete("ec2", region, "delete_subnet", SubnetId=id_)

    def _delete_gateway(self, id_: str, region: str) -> None:
        found = self._delete("ec2", region, "describe_internet_gateways", InternetGatewayIds=[id_])
        networks = [joined["VpcId"] for row in (found or {}).get("InternetGateways", ()) for joined in row["Attachments"]]
        self._end_gateways(region, lambda row: row["VpcId"] in networks)
        for vpc in networks:
            self._end(self._inside(region, "vpc-id", vpc), region)
            self._delete("ec2", region, "detach_internet_gateway", InternetGatewayId=id_, VpcId=vpc)
        self._delete("ec2", region, "delete_internet_gateway", InternetGatewayId=id_)

    def _delete_table(self, id_: str, region: str) -> None:
        found = self._delete("ec2", region, "describe_route_tables", RouteTableIds=[id_])
        for row in (found or {}).get("RouteTables", ()):
            for association in row["Associations"]:
                self._delete("ec2", region, "disassociate_route_table", AssociationId=association["RouteTableAssociationId"])
        self._delete("ec2", region, "delete_route_table", RouteTableId=id_)

    def _release(self, id_: str, region: str) -> None:
        found = self._delete("ec2", region, "describe_addresses", AllocationIds=[id_])
        for row in (found or {}).get("Addresses", ()):
            if "AssociationId" in row:
                self._delete("ec2", region, "disassociate_address", AssociationId=row["AssociationId"])
        self._delete("ec2", region, "release_address", AllocationId=id_)

    def _delete_rule(self, id_: str, region: str) -> None:
        found = self._delete("ec2", region, "describe_security_group_rules", SecurityGroupRuleIds=[id_])
        for row in (found or {}).get("SecurityGroupRules", ()):
            way = "egress" if row["IsEgress"] else "ingress"
            arguments = {"GroupId": row["GroupId"], "SecurityGroupRuleIds": [id_]}
            self._delete("ec2", region, f"revoke_security_group_{way}", **arguments)

    def _delete_profile(self, name: str, region: str) -> None:
        found = self._delete("iam", region, "get_instance_profile", InstanceProfileName=name)
        for role in (found or {}).get("InstanceProfile", {}).get("Roles", ()):
            arguments = {"InstanceProfileName": name, "RoleName": role["RoleName"]}
            self._delete("iam", region, "remove_role_from_instance_profile", **arguments)
        self._delete("iam", region, "delete_instance_profile", InstanceProfileName=name)

    def _delete_role(self, name: str, region: str) -> None:
        joined = self._delete("iam", region, "list_instance_profiles_for_role", RoleName=name)
        for row in (joined or {}).get("InstanceProfiles", ()):
            self._delete_profile(row["InstanceProfileName"], region)
        written = self._delete("iam", region, "list_role_policies", RoleName=name)
        for policy in (written or {}).get("PolicyNames", ()):
            self._delete("iam", region, "delete_role_policy", RoleName=name, PolicyName=policy)
        self._delete("iam", region, "delete_role", RoleName=name)


def _within_table(row: Row) -> Iterator[tuple[str, str, str]]:
    """Type, id and name of the routes and associations that were put into a route table: they have no tags, and one that no state
    knows would be in the way of the one that is to be made."""
    table = row["RouteTableId"]
    for route in row.get("Routes", ()):
        destination = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
        if destination and route.get("Origin") == "CreateRoute":
            # Terraform's id: a checksum stands for the destination.
            yield "aws_route", f"r-{table}{zlib.crc32(destination.encode())}", f"{table} {destination}"
    for joined in row.get("Associations", ()):
        if not joined.get("Main"):
            yield "aws_route_table_association", joined["RouteTableAssociationId"], joined["RouteTableAssociationId"]


_SIMPLE = {
    "aws_ec2_subnet_cidr_reservation": ("delete_subnet_cidr_reservation", "SubnetCidrReservationId"),
    "aws_route_table_association": ("disassociate_route_table", "AssociationId"),
    "aws_ebs_volume": ("delete_volume", "VolumeId"),
    "aws_key_pair": ("delete_key_pair", "KeyName"),
    "aws_launch_template": ("delete_launch_template", "LaunchTemplateId"),
    "aws_network_interface": ("delete_network_interface", "NetworkInterfaceId"),
    "aws_placement_group": ("delete_placement_group", "GroupName"),
}
_LISTED_ONLY = frozenset({"deleted", "failed"})
"""States of gateways and endpoints that are no more, or never were, and cost nothing."""
_GONE = frozenset({"NoSuchBucket", "NoSuchEntity", "NoSuchTagSet", "NoSuchUpload"})


def _named(row: Row) -> str:
    return next((str(tag["Value"]) for tag in row.get("Tags", ()) if tag["Key"] == "Name"), "")


def _carries(tags: list[Row], deployment: DeploymentId) -> bool:
    return any(tag["Key"] == DEPLOYMENT_TAG and tag["Value"] == deployment for tag in tags)
