"""IBM Cloud: ids are a region's letter and a UUID, or CRNs; errors carry a code of the VPC API.

The codes are the VPC API's; the texts are not compared with the released provider.
"""

from __future__ import annotations

from typing import Any

from ...ibm import errors
from ..making import Cloud, Making, Refusal

ACCOUNT = "a0123456789abcdef0123456789abcdef"
GROUP = "0123456789abcdef0123456789abcdef"
"""The account's default resource group."""
ZONED = frozenset({"ibm_is_instance", "ibm_is_subnet", "ibm_is_virtual_network_interface"})

PERMISSIONS = {
    "ibm_is_floating_ip": "is.floating-ip.floating-ip.create",
    "ibm_is_instance": "is.instance.instance.create",
    "ibm_is_network_acl": "is.network-acl.network-acl.create",
    "ibm_is_public_gateway": "is.public-gateway.public-gateway.create",
    "ibm_is_security_group": "is.security-group.security-group.create",
    "ibm_is_ssh_key": "is.key.key.create",
    "ibm_is_subnet": "is.subnet.subnet.create",
    "ibm_is_subnet_public_gateway_attachment": "is.subnet.subnet.operate",
    "ibm_is_virtual_network_interface": "is.virtual-network-interface.virtual-network-interface.create",
    "ibm_is_vpc": "is.vpc.vpc.create",
}

HOLDERS = {
    "ibm_is_floating_ip": frozenset({"ibm_is_public_gateway"}),
    "ibm_is_network_acl": frozenset({"ibm_is_subnet"}),
    "ibm_is_placement_group": frozenset({"ibm_is_instance"}),
    "ibm_is_public_gateway": frozenset({"ibm_is_subnet", "ibm_is_subnet_public_gateway_attachment"}),
    "ibm_is_security_group": frozenset({"ibm_is_instance", "ibm_is_virtual_network_interface"}),
    "ibm_is_subnet": frozenset({"ibm_is_instance", "ibm_is_virtual_network_interface"}),
    "ibm_is_virtual_network_interface": frozenset({"ibm_is_instance"}),
    "ibm_is_vpc": frozenset(
        {
            "ibm_is_instance",
            "ibm_is_network_acl",
            "ibm_is_public_gateway",
            "ibm_is_security_group",
            "ibm_is_subnet",
        }
    ),
}

MACHINES = frozenset({"ibm_is_instance"})


def identity(making: Making) -> str:
    match making.type:
        case "ibm_cos_bucket":
            instance = making.text("resource_instance_id").removesuffix("::")
            return f"{instance}:bucket:{making.text('bucket_name')}:meta:rl:{_region(making)}:public"
        case "ibm_resource_instance":
            return f"crn:v1:bluemix:public:{making.text('service')}:{making.text('location')}:a/{ACCOUNT}:{making.uuid()}::"
        case "ibm_iam_service_id":
            return f"ServiceId-{making.uuid()}"
        case "ibm_iam_trusted_profile":
            return f"Profile-{making.uuid()}"
        case "ibm_iam_trusted_profile_claim_rule":
            return f"{making.text('profile_id')}/ClaimRule-{making.uuid()}"
        case "ibm_iam_service_policy" | "ibm_iam_trusted_profile_policy":
            whose = making.text("iam_service_id") or making.text("profile_id") or making.text("iam_id")
            return f"{whose}/{making.uuid()}"
        case "ibm_iam_authorization_policy":
            return making.uuid()
        case "ibm_is_subnet_public_gateway_attachment":
            return making.text("subnet")
        case "ibm_is_vpc_address_prefix":
            return f"{making.text('vpc')}/r006-{making.uuid()}"
        case "ibm_is_security_group_rule":
            return f"{making.text('group')}.r006-{making.uuid()}"
    return f"0717_{making.uuid()}" if making.type in ZONED else f"r006-{making.uuid()}"


def fact(making: Making, name: str) -> Any:
    match name:
        case "crn":
            kind = making.type.removeprefix("ibm_is_").replace("_", "-")
            return f"crn:v1:bluemix:public:is:{_region(making)}:a/{ACCOUNT}::{kind}:{making.id}"
        case "iam_id":
            return f"iam-{making.id}"
        case "profile_id" | "guid":
            return making.id
        case "status":
            return {"ibm_is_instance": "running", "ibm_resource_instance": "active"}.get(making.type, "available")
        case "resource_group" | "resource_group_id":
            return GROUP
        case "address":
            return making.public_ip(name)
        case "ipv4_cidr_block":
            return f"10.240.{making.number(256)}.0/24"
        case "zone":
            return f"{_region(making)}-1"
    return None


def zones(making: Making) -> tuple[str, ...]:
    return (making.text("zone") or f"{_region(making)}-1",)


def size(making: Making) -> str:
    return making.text("profile")


def refuse(fault: str, making: Making, about: str) -> Refusal:
    creating = f"[ERROR] Create {making.type.removeprefix('ibm_')} failed"
    match fault:
        case "no-capacity":
            return Refusal(
                summary=f"[ERROR] Instance ({identity(making)}) went into failed state during the operation",
                detail=f"({errors.NO_CAPACITY}) Insufficient capacity: the instance cannot start because the zone "
                f"{zones(making)[0]} has no capacity left for the profile {size(making)}.",
            )
        case "quota":
            code, message = errors.NO_QUOTA, "The quota of vCPUs for instances in this region would be exceeded."
        case "throttled":
            code, message = errors.THROTTLED, "429 Too Many Requests: too many requests have been made."
        case "denied":
            needed = about or PERMISSIONS.get(making.type, "iam.policy.create")
            code = errors.NOT_ALLOWED
            message = f"The request is not authorized: the provided token does not allow the action {needed}."
        case "in-use":
            kind = making.type.removeprefix("ibm_is_")
            return Refusal(
                summary=f"[ERROR] Error Deleting {kind} : The {kind} is still in use and cannot be deleted.",
                detail=f"error code: {kind}_in_use, it is used by {about}, trace: {making.hex(16, fault)}",
            )
        case _:
            code, message = "validation_unique_failed", f"Provided Name ({making.text('name')}) is not unique"
    return Refusal(summary=f"{creating}: {message}", detail=f"error code: {code}, trace: {making.hex(16, fault)}")


def at_plan(type_: str, planned: dict[str, Any]) -> None:
    """This provider knows nothing more at plan than what is written."""


def _region(making: Making) -> str:
    zone = making.text("zone")
    return zone.rpartition("-")[0] or making.setting("region", "us-south")


IBM = Cloud(
    name="ibm",
    machines=MACHINES,
    identity=identity,
    fact=fact,
    zones=zones,
    size=size,
    refuse=refuse,
    at_plan=at_plan,
    holders=HOLDERS,
    stopped={"ibm_is_instance": {"status": "stopped"}},
)
