"""AWS: ids, ARNs, and errors as the provider reports them (service, operation, HTTP status, code, message).

The texts follow errors quoted in the provider's public issues and in the EC2 API's list of error codes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...aws import errors
from ...tfplugin.codec import UNKNOWN, is_unknown
from ..making import ROOT, Cloud, Making, Refusal

ACCOUNT = "123456789012"

PREFIXES = {
    "aws_ec2_subnet_cidr_reservation": "scr-",
    "aws_eip": "eipalloc-",
    "aws_instance": "i-",
    "aws_internet_gateway": "igw-",
    "aws_launch_template": "lt-",
    "aws_nat_gateway": "nat-",
    "aws_route_table": "rtb-",
    "aws_route_table_association": "rtbassoc-",
    "aws_security_group": "sg-",
    "aws_subnet": "subnet-",
    "aws_vpc": "vpc-",
    "aws_vpc_endpoint": "vpce-",
    "aws_vpc_security_group_egress_rule": "sgr-",
    "aws_vpc_security_group_ingress_rule": "sgr-",
}
"""Types whose id is a prefix and 17 hexadecimal digits."""

OWN = {"security_group_id": "sg-", "route_table_id": "rtb-", "network_acl_id": "acl-"}
"""What a network brings along; its main and its default route table are one."""

NAMED = {
    "aws_autoscaling_group": "name",
    "aws_iam_instance_profile": "name",
    "aws_iam_role": "name",
    "aws_key_pair": "key_name",
    "aws_placement_group": "name",
}
"""Types whose id is a name."""

NEWER = frozenset(
    {
        "aws_s3_bucket_lifecycle_configuration",
        "aws_vpc_security_group_egress_rule",
        "aws_vpc_security_group_ingress_rule",
    }
)
"""Types made with the newer framework: without tags they plan an empty `tags_all`."""

ARNS = {
    "aws_autoscaling_group": "autoscaling:{region}:{account}:autoScalingGroup:{uuid}:autoScalingGroupName/{id}",
    "aws_eip": "ec2:{region}:{account}:elastic-ip/{id}",
    "aws_iam_instance_profile": "iam::{account}:instance-profile/{id}",
    "aws_iam_role": "iam::{account}:role/{id}",
    "aws_instance": "ec2:{region}:{account}:instance/{id}",
    "aws_internet_gateway": "ec2:{region}:{account}:internet-gateway/{id}",
    "aws_key_pair": "ec2:{region}:{account}:key-pair/{id}",
    "aws_launch_template": "ec2:{region}:{account}:launch-template/{id}",
    "aws_placement_group": "ec2:{region}:{account}:placement-group/{id}",
    "aws_route_table": "ec2:{region}:{account}:route-table/{id}",
    "aws_s3_bucket": "s3:::{id}",
    "aws_security_group": "ec2:{region}:{account}:security-group/{id}",
    "aws_subnet": "ec2:{region}:{account}:subnet/{id}",
    "aws_vpc": "ec2:{region}:{account}:vpc/{id}",
    "aws_vpc_endpoint": "ec2:{region}:{account}:vpc-endpoint/{id}",
    "aws_vpc_security_group_egress_rule": "ec2:{region}:{account}:security-group-rule/{id}",
    "aws_vpc_security_group_ingress_rule": "ec2:{region}:{account}:security-group-rule/{id}",
}

CALLS = {
    "aws_autoscaling_group": ("Auto Scaling", "CreateAutoScalingGroup"),
    "aws_default_security_group": ("EC2", "DescribeSecurityGroups"),
    "aws_ec2_subnet_cidr_reservation": ("EC2", "CreateSubnetCidrReservation"),
    "aws_eip": ("EC2", "AllocateAddress"),
    "aws_iam_instance_profile": ("IAM", "CreateInstanceProfile"),
    "aws_iam_role": ("IAM", "CreateRole"),
    "aws_iam_role_policy": ("IAM", "PutRolePolicy"),
    "aws_instance": ("EC2", "RunInstances"),
    "aws_internet_gateway": ("EC2", "CreateInternetGateway"),
    "aws_key_pair": ("EC2", "ImportKeyPair"),
    "aws_launch_template": ("EC2", "CreateLaunchTemplate"),
    "aws_nat_gateway": ("EC2", "CreateNatGateway"),
    "aws_placement_group": ("EC2", "CreatePlacementGroup"),
    "aws_route": ("EC2", "CreateRoute"),
    "aws_route_table": ("EC2", "CreateRouteTable"),
    "aws_route_table_association": ("EC2", "AssociateRouteTable"),
    "aws_s3_bucket": ("S3", "CreateBucket"),
    "aws_s3_bucket_lifecycle_configuration": ("S3", "PutBucketLifecycleConfiguration"),
    "aws_s3_bucket_ownership_controls": ("S3", "PutBucketOwnershipControls"),
    "aws_s3_bucket_policy": ("S3", "PutBucketPolicy"),
    "aws_s3_bucket_public_access_block": ("S3", "PutPublicAccessBlock"),
    "aws_s3_bucket_server_side_encryption_configuration": ("S3", "PutBucketEncryption"),
    "aws_s3_bucket_versioning": ("S3", "PutBucketVersioning"),
    "aws_security_group": ("EC2", "CreateSecurityGroup"),
    "aws_spot_instance_request": ("EC2", "RequestSpotInstances"),
    "aws_subnet": ("EC2", "CreateSubnet"),
    "aws_vpc": ("EC2", "CreateVpc"),
    "aws_vpc_endpoint": ("EC2", "CreateVpcEndpoint"),
    "aws_vpc_security_group_egress_rule": ("EC2", "AuthorizeSecurityGroupEgress"),
    "aws_vpc_security_group_ingress_rule": ("EC2", "AuthorizeSecurityGroupIngress"),
}
"""Type → service and the operation that creates it."""

PHRASES = {
    "aws_autoscaling_group": "creating Auto Scaling Group ({name})",
    "aws_default_security_group": "reading Default Security Group",
    "aws_ec2_subnet_cidr_reservation": "creating EC2 Subnet CIDR Reservation",
    "aws_eip": "creating EC2 EIP",
    "aws_iam_instance_profile": "creating IAM Instance Profile ({name})",
    "aws_iam_role": "creating IAM Role ({name})",
    "aws_iam_role_policy": "putting IAM Role ({role}) Policy ({name})",
    "aws_instance": "creating EC2 Instance",
    "aws_internet_gateway": "creating EC2 Internet Gateway",
    "aws_key_pair": "importing EC2 Key Pair ({key_name})",
    "aws_launch_template": "creating EC2 Launch Template ({name})",
    "aws_nat_gateway": "creating EC2 NAT Gateway",
    "aws_placement_group": "creating EC2 Placement Group ({name})",
    "aws_route": "creating Route in Route Table ({route_table_id})",
    "aws_route_table": "creating Route Table",
    "aws_route_table_association": "creating Route Table ({route_table_id}) Association",
    "aws_s3_bucket": "creating S3 Bucket ({bucket})",
    "aws_s3_bucket_lifecycle_configuration": "creating S3 Bucket ({bucket}) Lifecycle Configuration",
    "aws_s3_bucket_ownership_controls": "creating S3 Bucket ({bucket}) Ownership Controls",
    "aws_s3_bucket_policy": "putting S3 Bucket ({bucket}) Policy",
    "aws_s3_bucket_public_access_block": "creating S3 Bucket ({bucket}) Public Access Block",
    "aws_s3_bucket_server_side_encryption_configuration": "creating S3 Bucket ({bucket}) Server-side Encryption Configuration",
    "aws_s3_bucket_versioning": "creating S3 Bucket ({bucket}) Versioning",
    "aws_security_group": "creating Security Group ({name})",
    "aws_spot_instance_request": "requesting EC2 Spot Instance",
    "aws_subnet": "creating EC2 Subnet",
    "aws_vpc": "creating EC2 VPC",
    "aws_vpc_endpoint": "creating EC2 VPC Endpoint ({service_name})",
    "aws_vpc_security_group_egress_rule": "creating VPC Security Group Rule",
    "aws_vpc_security_group_ingress_rule": "creating VPC Security Group Rule",
}
"""How the provider begins an error, by type. Compared with the released one in the tests."""

PERMISSIONS = {
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
"""Operations whose permission has another name."""

TAKEN = {
    "aws_autoscaling_group": ("AlreadyExists", "AutoScalingGroup by this name already exists"),
    "aws_iam_instance_profile": ("EntityAlreadyExists", "Instance Profile {id} already exists."),
    "aws_iam_role": ("EntityAlreadyExists", "Role with name {id} already exists."),
    "aws_key_pair": ("InvalidKeyPair.Duplicate", "The keypair already exists"),
    "aws_placement_group": ("InvalidPlacementGroup.Duplicate", "The placement group '{id}' already exists."),
    "aws_s3_bucket": (
        "BucketAlreadyOwnedByYou",
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
}

HOLDERS = {
    "aws_eip": frozenset({"aws_nat_gateway"}),
    "aws_iam_role": frozenset({"aws_iam_instance_profile", "aws_iam_role_policy"}),
    "aws_placement_group": frozenset({"aws_instance"}),
    "aws_route_table": frozenset({"aws_route_table_association"}),
    "aws_security_group": frozenset({"aws_instance", "aws_spot_instance_request"}),
    "aws_subnet": frozenset({"aws_instance", "aws_nat_gateway", "aws_spot_instance_request"}),
    "aws_vpc": frozenset({"aws_internet_gateway", "aws_route_table", "aws_security_group", "aws_subnet"}),
}

MACHINES = frozenset({"aws_instance", "aws_spot_instance_request", "aws_autoscaling_group"})


def identity(making: Making) -> str:
    kind = making.type
    if kind in PREFIXES:
        return PREFIXES[kind] + making.hex(17)
    if kind in NAMED:
        return making.text(NAMED[kind], f"terraform-{making.hex(26)}")
    match kind:
        case "aws_default_security_group":
            # Not made: its network brought it along (`fact` gives the network's own the same id).
            network = making.world.find(making.text("vpc_id"), "aws_vpc")
            whose = making if network is None else replace(making, root=str(network.attributes[ROOT]))
            return OWN["security_group_id"] + whose.hex(17, "security_group_id")
        case "aws_iam_role_policy":
            return f"{making.text('role')}:{making.text('name', f'terraform-{making.hex(26)}')}"
        case "aws_route":
            to = making.text("destination_cidr_block") or making.text("destination_ipv6_cidr_block")
            return f"r-{making.text('route_table_id')}{making.hex(10, to)}"
        case "aws_spot_instance_request":
            return f"sir-{making.hex(8)}"
        case "aws_s3_bucket":
            return making.text("bucket", f"terraform-{making.hex(26)}")
    return making.text("bucket", making.hex(17))


def fact(making: Making, name: str) -> Any:
    region = _region(making)
    match name:
        case "arn" if making.type in ARNS:
            form = ARNS[making.type]
            return "arn:aws:" + form.format(region=region, account=ACCOUNT, id=making.id, uuid=making.uuid())
        case "region":
            return region
        case "owner_id":
            return ACCOUNT
        case "default_security_group_id" | "default_route_table_id" | "default_network_acl_id" | "main_route_table_id":
            return OWN[name.partition("_")[2]] + making.hex(17, name.partition("_")[2])
        case "dhcp_options_id":
            return f"dopt-{making.hex(17, name)}"
        case "name" | "key_name" | "bucket" if making.type in NAMED or making.type == "aws_s3_bucket":
            return making.id
        case "name":
            return f"terraform-{making.hex(26)}"
        case "availability_zone":
            return zones(making)[0]
        case "availability_zone_id":
            return f"{region.replace('-', '')[:4]}-az{ord(zones(making)[0][-1]) - ord('a') + 1}"
        case "instance_state" | "spot_request_state" | "state" | "status":
            return {"aws_instance": "running", "aws_spot_instance_request": "active"}.get(making.type, "available")
        case "private_dns" | "public_dns":
            return f"ip-{making.private_ip('private_ip').replace('.', '-')}.{region}.compute.internal"
        case "allocation_id" if making.type == "aws_eip":
            return making.id
        case "subnet_id" if making.type == "aws_instance":
            return _interface(making).get("subnet_id") or f"subnet-{making.hex(17, 'default')}"
        case "private_ip" if making.type == "aws_instance":
            return _interface(making).get("private_ip_address") or None
        case "bucket_domain_name" | "bucket_regional_domain_name":
            return f"{making.id}.s3.{region}.amazonaws.com"
        case "security_group_rule_id":
            return making.id
        case "tags_all":
            return dict(making.known("tags") or {})
    return None


def zones(making: Making) -> tuple[str, ...]:
    """The name of the availability zone, and its id where one was given."""
    region = _region(making)
    given = making.text("availability_zone")
    by_id = making.text("availability_zone_id")
    if given:
        return (given, by_id) if by_id else (given,)
    if by_id and by_id[-1].isdigit():
        return (f"{region}{chr(ord('a') + int(by_id[-1]) - 1)}", by_id)
    subnets = making.known("vpc_zone_identifier") or [making.known("subnet_id") or _interface(making).get("subnet_id")]
    found = [making.world.find(subnet, "aws_subnet") for subnet in subnets if subnet]
    names = [
        str(subnet.attributes.get(key)) for subnet in found if subnet for key in ("availability_zone", "availability_zone_id")
    ]
    return tuple(dict.fromkeys(name for name in names if name)) or (f"{region}a",)


def size(making: Making) -> str:
    given = making.text("instance_type")
    if given:
        return given
    return str(_template(making).get("instance_type") or "")


def _template(making: Making) -> dict[str, Any]:
    """What the launch template of a machine says."""
    for template in making.known("launch_template") or ():
        found = making.world.find(template.get("id") or template.get("name"), "aws_launch_template")
        if found is not None:
            return dict(found.attributes)
    return {}


def _interface(making: Making) -> dict[str, Any]:
    """The primary interface in it, if it names one."""
    found: list[dict[str, Any]] = _template(making).get("network_interfaces") or [{}]
    return found[0]


def refuse(fault: str, making: Making, about: str) -> Refusal:
    if fault == "in-use":
        return _in_use(making)
    service, operation = CALLS[making.type]
    zone, machine = zones(making)[0], size(making)
    match fault:
        case "no-capacity" if making.type == "aws_autoscaling_group":
            return Refusal(
                summary=f"waiting for Auto Scaling Group ({making.text('name')}) capacity satisfied: scaling activity "
                f"({making.uuid()}): Failed: We currently do not have sufficient {machine} capacity in the Availability Zone you "
                f"requested ({zone}). Launching EC2 instance failed."
            )
        case "no-capacity":
            status, code = 500, errors.NO_CAPACITY
            message = (
                f"We currently do not have sufficient {machine} capacity in the Availability Zone you requested ({zone}). "
                f"Our system will be working on provisioning additional capacity. You can currently get {machine} capacity "
                "by not specifying an Availability Zone in your request."
            )
        case "not-sold":
            # terraform-provider-aws, as quoted in ned1313/Getting-Started-Terraform#44
            status, code = 400, errors.NOT_SOLD
            message = (
                f"Your requested instance type ({machine}) is not supported in your requested Availability Zone ({zone}). Please retry "
                "your request by not specifying an Availability Zone or choosing another."
            )
        case "no-region" | "unknown-caller":
            # The same words for both: turbot/steampipe-plugin-aws#75, terraform-provider-aws#28443
            status, code = 401, errors.NOT_KNOWN
            message = "AWS was not able to validate the provided access credentials"
            if service != "EC2":
                status, code = 403, errors.NOT_KNOWN_ELSEWHERE
                message = "The security token included in the request is invalid."
        case "quota" if _is_spot(making):
            status, code, message = 400, errors.NO_SPOT_QUOTA, "Max spot instance count exceeded"
        case "quota":
            status, code = 400, errors.NO_QUOTA
            message = (
                "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket that "
                "the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request "
                "an adjustment to this limit."
            )
        case "throttled":
            status, code, message = 503, errors.THROTTLED, "Request limit exceeded."
            if service != "EC2":
                status, code, message = 400, errors.THROTTLED_ELSEWHERE, "Rate exceeded"
        case "address-in-use":
            status, code, message = 400, errors.ADDRESS_IN_USE, f"Address {making.text('private_ip')} is in use."
        case "denied":
            status = 403
            action = about or f"{service.lower().replace(' ', '')}:{PERMISSIONS.get(operation, operation)}"
            who = f"User: arn:aws:iam::{ACCOUNT}:user/skyc is not authorized to perform: {action}"
            why = f"because no identity-based policy allows the {action} action"
            code = errors.NOT_ALLOWED if service == "EC2" else errors.NOT_ALLOWED_ELSEWHERE
            message = f"{who} on resource: * {why}"
            if service == "EC2":
                message = (
                    f"You are not authorized to perform this operation. {message}. "
                    f"Encoded authorization failure message: {making.hex(40)}"
                )
        case _:
            code, message = TAKEN.get(making.type, ("InvalidParameterValue", "It already exists."))
            status, message = 409, message.format(id=identity(making))
    host = "HostID: , " if service == "S3" else ""
    said = (
        f"operation error {service}: {operation}, https response error StatusCode: {status}, RequestID: {making.uuid(fault)}, "
        f"{host}api error {code}: {message}"
    )
    if making.type in NEWER:
        return Refusal(summary=_phrase(making), detail=said)
    return Refusal(summary=f"{_phrase(making)}: {said}")


def _phrase(making: Making) -> str:
    names = ("name", "key_name", "role", "route_table_id", "bucket", "service_name")
    return PHRASES[making.type].format(**{name: making.text(name) for name in names})


def _in_use(making: Making) -> Refusal:
    service, operation = CALLS[making.type]
    word = PHRASES[making.type].partition(" ")[2].partition(" (")[0]
    status, code = 400, "DependencyViolation"
    message = f"The {making.type.removeprefix('aws_').replace('_', '-')} '{making.id}' has dependencies and cannot be deleted."
    if service == "IAM":
        status, code = 409, "DeleteConflict"
        message = "Cannot delete entity, must remove roles from instance profile first."
    return Refusal(
        summary=f"deleting {word} ({making.id}): operation error {service}: {operation.replace('Create', 'Delete')}, https response "
        f"error StatusCode: {status}, RequestID: {making.uuid('in-use')}, api error {code}: {message}"
    )


def at_plan(type_: str, planned: dict[str, Any]) -> None:
    """`tags_all` follows `tags`, as soon as those are known."""
    if "tags_all" not in planned:
        return
    tags = planned.get("tags")
    if is_unknown(tags) or (isinstance(tags, dict) and any(is_unknown(value) for value in tags.values())):
        planned["tags_all"] = UNKNOWN
    elif tags or type_ in NEWER:
        planned["tags_all"] = dict(tags or {})
    elif not is_unknown(planned["tags_all"]):
        planned["tags_all"] = {}


def _region(making: Making) -> str:
    return making.text("region") or making.setting("region", "us-east-1")


def _is_spot(making: Making) -> bool:
    return making.type == "aws_spot_instance_request" or bool(making.known("instance_market_options"))


AWS = Cloud(
    name="aws",
    machines=MACHINES,
    identity=identity,
    fact=fact,
    zones=zones,
    size=size,
    refuse=refuse,
    at_plan=at_plan,
    holders=HOLDERS,
    newer=NEWER,
    adopts=frozenset({"aws_default_security_group"}),
    versions={"aws_launch_template": "latest_version"},
    stopped={"aws_instance": {"instance_state": "stopped", "public_ip": "", "public_dns": ""}},
)
