"""A group's machines: for each node an interface of its own, a floating IP on it where it has one, and the instance that boots with both.

Contract: pure. The interface outlives the machine: a node that is replaced has its addresses again. It also has its floating IP
before the machine boots, which fetches packages in its first minute. The head's interface is made first, so that no other one is
given the address that all of them were told.

The login key is part of the first boot and no `ibm_is_ssh_key`: IBM holds a key once per region, whatever it is called there, so the
second task of a deployment in a region could not have its own (IBM-Cloud/terraform-provider-ibm#2231).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING

from ...compiler.ir import (
    FrozenMap,
    GroupPlacement,
    NodeGroup,
    Ref,
    ResourceAddress,
    ResourceNode,
    ResourceRequest,
    Task,
    Value,
)
from ..rented.cloud_init import user_data
from ..rented.networks import UNKNOWN_HEAD, has_address, told
from ..rented.nodes import boot_of, node_name, output
from .facts import DISK_GB, OPENS
from .network import Network, head_address, zone_of
from .resources import Site, ref

LEAST_GB, MOST_GB = 100, 250
"""Of a boot volume. IBM's images need 100 GB, and a boot volume of these profiles has at most 250."""
ARCH = "x86_64"
TIERS = {
    "low": "general-purpose",
    "medium": "general-purpose",
    "high": "5iops-tier",
    "ultra": "10iops-tier",
    "best": "10iops-tier",
}
"""3, 5 and 10 IOPS per GB, 3,000 at least. Source: cloud.ibm.com/docs/vpc, "Block Storage for VPC profiles"."""

ADDRESS = "primary_ip[0].address"
"""Of an interface, as Terraform writes it."""
METADATA: FrozenMap[Value] = FrozenMap({"enabled": True, "protocol": "https", "response_hop_limit": 1})
"""For the machine itself: a container a hop away does not get the identity's token."""
AVAILABILITY: FrozenMap[Value] = FrozenMap({"host_failure": "restart"})
"""On another host. Ray comes up again with the machine; a machine that stayed stopped would wait for somebody and keep its disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A node group at its place."""

    group: NodeGroup
    placement: GroupPlacement
    request: ResourceRequest
    """The one of the group's requests that the placement meets."""
    image: str
    tags: tuple[str, ...]
    """The user's labels, as IBM takes them."""
    first_rank: int

    @property
    def zone(self) -> str:
        return zone_of(self.placement.region, self.placement.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all groups of a site use."""

    task: Task
    network: Network
    profile: ResourceNode | None
    policies: tuple[ResourceAddress, ...]
    head_zone: str
    head_interface: ResourceAddress


def disk_gb(request: ResourceRequest) -> int:
    """The boot volume in GB, rounded up."""
    return max(int((request.disk_gb or DISK_GB).to_integral_value(ROUND_CEILING)), LEAST_GB)


def machines(site: Site, group: Group, shared: Shared) -> Iterator[tuple[ResourceNode, Value]]:
    """The group's resources, each with its entry in the output `nodes` (None for what is no node)."""
    for index in range(group.group.num_nodes):
        label = f"{group.group.name}-{index}"
        interface = _interface(site, group, shared, label, is_head=group.first_rank == 0 and index == 0)
        yield interface, None
        reached = has_address(site.context, is_head=group.first_rank == 0 and index == 0)
        public = _floating(site, group, interface, label) if reached else None
        if public is not None:
            yield public, None
        node = _instance(site, group, shared, interface, public, index)
        yield (
            node,
            output(
                node_name(shared.task.id, group.group.name, index),
                group.group.name,
                group.first_rank + index,
                group.placement.shape,
                site.context,
                OPENS,
                id=ref(node),
                ip=ref(interface, ADDRESS),
                # Without one it is reached at its address in the network.
                address=ref(public, "address") if public is not None else "",
            ),
        )


def _floating(site: Site, group: Group, interface: ResourceNode, label: str) -> ResourceNode:
    given: dict[str, Value] = {"name": site.named(label), "target": ref(interface)}
    return site.tagged("ibm_is_floating_ip", label, given, origin=group.request.origin)


def _interface(site: Site, group: Group, shared: Shared, label: str, *, is_head: bool) -> ResourceNode:
    address: dict[str, Value] = {"address": head_address(group.zone)} if is_head and shared.network.fixed else {}
    # ForceNew: subnet.
    arguments: dict[str, Value] = {
        "name": site.named(label),
        "subnet": shared.network.subnets[group.zone],
        "security_groups": (ref(shared.network.group),),
        "primary_ip": FrozenMap[Value]({"name": site.named(label), "auto_delete": True, **address}),
        "allow_ip_spoofing": False,
        "enable_infrastructure_nat": True,
        # It is Terraform that removes it, after the machine.
        "auto_delete": False,
    }
    return site.tagged(
        "ibm_is_virtual_network_interface",
        label,
        arguments,
        origin=group.request.origin,
        after=() if is_head else (shared.head_interface,),
    )


def _instance(
    site: Site, group: Group, shared: Shared, interface: ResourceNode, public: ResourceNode | None, index: int
) -> ResourceNode:
    request, label = group.request, f"{group.group.name}-{index}"
    is_head = group.first_rank == 0 and index == 0
    head = None if is_head else head_address(shared.head_zone) if shared.network.fixed else UNKNOWN_HEAD
    name = node_name(shared.task.id, group.group.name, index)
    boot = replace(
        boot_of(name, ARCH, group.placement.shape, site.context, head, OPENS), login_key=site.context.access.login_key
    )
    arguments: dict[str, Value] = {
        "name": site.named(label),
        "profile": group.placement.instance_type,
        # ForceNew from here: image, vpc, zone, the interface, user_data, default_trusted_profile_target.
        "image": group.image,
        "vpc": shared.network.vpc,
        "zone": group.zone,
        "primary_network_attachment": FrozenMap[Value](
            {"name": "primary", "virtual_network_interface": FrozenMap[Value]({"id": ref(interface)})}
        ),
        # An interface has its address before its machine is, and keeps it when that is made anew.
        "user_data": told(boot, Ref(shared.head_interface, ADDRESS)) if head == UNKNOWN_HEAD else user_data(boot),
        "boot_volume": boot_volume(site, request, label),
        "metadata_service": METADATA,
        "availability_policy": AVAILABILITY,
    }
    if shared.profile is not None:
        # IBM links the machine to the profile when it makes it, and takes the link away with the machine.
        arguments |= {"default_trusted_profile_target": ref(shared.profile), "default_trusted_profile_auto_link": True}
    return site.tagged(
        "ibm_is_instance",
        label,
        arguments,
        labels=group.tags,
        origin=request.origin,
        after=tuple(
            sorted(
                (
                    *(() if public is None else (public.address,)),
                    *shared.network.way_out,
                    *shared.policies,
                ),
                key=str,
            )
        ),
    )


def boot_volume(site: Site, request: ResourceRequest, label: str) -> FrozenMap[Value]:
    """The tiers of the catalog's rates, gone with the machine. IBM encrypts every volume, with a key of its own where none is named
    here, and cannot be told not to."""
    return FrozenMap[Value](
        {
            "name": site.named(label, "boot"),
            "profile": TIERS[request.disk_tier or "medium"],
            "size": disk_gb(request),
            "auto_delete_volume": True,
            "tags": site.tags,
        }
    )
