"""A group's machines: for each node a public address where it has one, a network interface and a virtual machine.

Contract: pure. A scale set would hide the single node, which is what the runtime replaces and a reviewer looks for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING

from ...compiler.ir import (
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    Ref,
    ResourceAddress,
    ResourceNode,
    ResourceRequest,
    Task,
    Value,
)
from ..rented import nodes
from ..rented.cloud_init import UNBOUND_MEMORY, USER, ray_settings, user_data
from ..rented.names import short
from ..rented.networks import UNKNOWN_HEAD, has_address, told
from .facts import DISK_GB, DISK_SIZES, OPENS
from .images import Image
from .network import HEAD, Network
from .resources import Site, ref
from .sizes import Size, accelerated, has_infiniband, has_nvme

MOST_GB = 4_095
"""Of a root disk; the ladder's last step is sold as 4,096."""
MOST_FIRST_GENERATION_GB = 2_048
"""A generation 1 machine boots from a partition table that ends there."""
DISK_TYPES: FrozenMap[str] = FrozenMap(
    {"low": "Standard_LRS", "medium": "StandardSSD_LRS", "high": "Premium_LRS", "best": "Premium_LRS"}
)
"""Tier → kind, as `facts.py` prices them. An Ultra disk cannot be a root disk."""
_NAME = 60
"""Characters of a machine's name, which is also its host name (64), with room for what its parts add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A node group at its place."""

    group: NodeGroup
    placement: GroupPlacement
    request: ResourceRequest
    """The one of the group's requests that the placement meets."""
    image: Image
    size: Size
    labels: FrozenMap[str]
    """The user's, as Azure takes them."""
    first_rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all groups of a site use. `rights`: the identity and what it may do; empty for none."""

    task: Task
    network: Network
    rights: tuple[ResourceNode, ...]
    head_interface: ResourceAddress


def zone_of(zone: str | None) -> str | None:
    """`eastus-2` and `2` are zone 2."""
    return None if zone is None else zone.rpartition("-")[2]


def tier_of(request: ResourceRequest) -> str:
    return "medium" if request.disk_tier in (None, "none") else str(request.disk_tier)


def disk_gb(request: ResourceRequest, image: Image) -> int:
    """The root disk in GiB: the next size it is sold in, since that is what is paid for."""
    wanted = max(int((request.disk_gb or DISK_GB).to_integral_value(ROUND_CEILING)), image.least_gb)
    return min(next((size for size in DISK_SIZES if size >= wanted), wanted), max(wanted, MOST_GB))


def root_disk(request: ResourceRequest, image: Image, size: Size) -> FrozenMap[Value]:
    """Encrypted at rest by Azure in any case, and gone with the machine. It has no name of its own: Azure's are never used twice, so
    a new machine does not meet an old one's disk."""
    disk: dict[str, Value] = {
        "caching": "ReadWrite",
        "storage_account_type": DISK_TYPES[tier_of(request)],
        "disk_size_gb": disk_gb(request, image),
    }
    if size.confidential:
        disk["security_encryption_type"] = "VMGuestStateOnly"
    return FrozenMap(disk)


def is_close(group: Group) -> bool:
    """Whether its nodes are put close together."""
    return group.request.network_tier == "best" and group.group.num_nodes > 1


def is_joined(group: Group) -> bool:
    return joins(group.group, group.request, group.placement)


def joins(group: NodeGroup, request: ResourceRequest, placement: GroupPlacement) -> bool:
    """Whether its nodes share an InfiniBand network: that of their availability set, which has no zone and no spot machines
    (learn.microsoft.com/azure/cyclecloud, availability-sets; azure/virtual-machines, setup-infiniband)."""
    wanted = request.network_tier == "best" and group.num_nodes > 1
    in_set = placement.zone is None and placement.market is not Market.SPOT
    return wanted and in_set and has_infiniband(placement.instance_type)


def machines(site: Site, group: Group, shared: Shared) -> Iterator[tuple[ResourceNode, Value]]:
    """The group's resources, each with its entry in the output `nodes` (None for what is no node)."""
    packed: ResourceNode | None = None
    name = str(group.group.name)
    if is_joined(group):
        # ForceNew: all of them. With one fault domain no region has too few, and it is one InfiniBand network anyway.
        domains: dict[str, Value] = {"platform_fault_domain_count": 1, "platform_update_domain_count": 1}
        packed = site.placed("azurerm_availability_set", name, {"name": short(name, 80), **domains})
        yield packed, None
    elif is_close(group):
        # Machines close together. ForceNew: name.
        packed = site.placed("azurerm_proximity_placement_group", name, {"name": short(name, 80)})
        yield packed, None
    for index in range(group.group.num_nodes):
        reached = has_address(site.context, is_head=_is_head(group, index))
        address = _address(site, group, shared, index) if reached else None
        interface = _interface(site, group, shared, address, index)
        joined = tuple(_joined(site, group, shared, interface, index))
        machine = _machine(site, group, shared, (interface, *joined), packed, index)
        for node in (address, interface, *joined):
            if node is not None:
                yield node, None
        yield machine, _output(site, group, shared, machine, address, index)


def _address(site: Site, group: Group, shared: Shared, index: int) -> ResourceNode:
    """SSH comes in through it, and packages too where there is no NAT gateway."""
    name = machine_name(shared.task, group, index)
    # ForceNew: name, sku, zones.
    arguments: dict[str, Value] = {"name": f"{name}-ip", "sku": "Standard", "allocation_method": "Static"}
    zone = zone_of(group.placement.zone)
    if zone is not None:
        arguments["zones"] = (zone,)
    return site.placed("azurerm_public_ip", f"{group.group.name}-{index}", arguments, origin=group.request.origin)


def _interface(site: Site, group: Group, shared: Shared, address: ResourceNode | None, index: int) -> ResourceNode:
    name = machine_name(shared.task, group, index)
    inner: dict[str, Value] = {
        "name": "node",
        "subnet_id": shared.network.subnet(group.placement.zone),
        "private_ip_address_allocation": "Dynamic",
    }
    if address is not None:
        inner["public_ip_address_id"] = ref(address)
    if _is_head(group, index) and shared.network.joins is None:
        inner |= {"private_ip_address_allocation": "Static", "private_ip_address": HEAD}
    arguments: dict[str, Value] = {
        "name": f"{name}-nic",
        "ip_configuration": FrozenMap(inner),
        "accelerated_networking_enabled": accelerated(group.size, group.placement.shape.cpus),
    }
    return site.placed(
        "azurerm_network_interface",
        f"{group.group.name}-{index}",
        arguments,
        origin=group.request.origin,
        # Nothing is reachable before the firewall is.
        after=shared.network.firewall,
    )


def _joined(site: Site, group: Group, shared: Shared, interface: ResourceNode, index: int) -> Iterator[ResourceNode]:
    """In a network of the user's: the firewall of an interface, and what the rules know it by."""
    joins = shared.network.joins
    if joins is None:
        return
    common: dict[str, Value] = {"network_interface_id": ref(interface)}
    for type_, attribute, node in (
        ("azurerm_network_interface_security_group_association", "network_security_group_id", joins.firewall),
        (
            "azurerm_network_interface_application_security_group_association",
            "application_security_group_id",
            joins.members,
        ),
    ):
        name = f"{group.group.name}-{index}"
        yield site.untagged(type_, name, {**common, attribute: ref(node)}, origin=group.request.origin)


def _machine(
    site: Site, group: Group, shared: Shared, interfaces: tuple[ResourceNode, ...], packed: ResourceNode | None, index: int
) -> ResourceNode:
    """`interfaces`: its interface, and what must be true of that before the machine is."""
    placement = group.placement
    interface, *joined = interfaces
    arguments: dict[str, Value] = {
        # ForceNew from here, but size and network_interface_ids.
        "name": machine_name(shared.task, group, index),
        "size": placement.instance_type,
        "network_interface_ids": (ref(interface),),
        "admin_username": USER,
        "disable_password_authentication": True,
        "admin_ssh_key": FrozenMap[Value]({"username": USER, "public_key": site.context.access.login_key}),
        "custom_data": _first_boot(site, group, shared, index),
        "os_disk": root_disk(group.request, group.image, group.size),
        **group.image.arguments,
        # Nobody runs commands on the machine through Azure's own management.
        "allow_extension_operations": False,
    }
    if group.size.confidential or (group.size.trusted_launch and group.image.trusted):
        arguments |= {"secure_boot_enabled": True, "vtpm_enabled": True}
    if has_nvme(group.size):
        # Said, where Azure would take it from the size: an image that cannot boot so is then refused with the controller's name.
        arguments["disk_controller_type"] = "NVMe"
    zone = zone_of(placement.zone)
    if zone is not None:
        arguments["zone"] = zone
    if placement.market is Market.SPOT:
        # Delete: machine and disk go, and nothing is paid for any more. A deallocated machine keeps its disk, and its place in the
        # state, while what follows an eviction is decided by skyc's recovery. -1: evicted for capacity only, never for the price,
        # which is at most the on-demand one.
        arguments |= {"priority": "Spot", "eviction_policy": "Delete", "max_bid_price": -1}
    if packed is not None:
        within = "availability_set_id" if is_joined(group) else "proximity_placement_group_id"
        arguments[within] = ref(packed)
    if shared.rights:
        identity: dict[str, Value] = {"type": "UserAssigned", "identity_ids": (ref(shared.rights[0]),)}
        arguments["identity"] = FrozenMap(identity)
    return site.placed(
        "azurerm_linux_virtual_machine",
        f"{group.group.name}-{index}",
        arguments,
        labels=group.labels,
        origin=group.request.origin,
        after=tuple(node.address for node in (*joined, *shared.rights[1:])) + shared.network.way_out,
    )


def _first_boot(site: Site, group: Group, shared: Shared, index: int) -> Value:
    """The user data in base64, as the provider takes it. It names the size: another one is then another machine, where the provider
    would stop this one and resize it under whatever runs on it."""
    name, here = node_name(shared.task, group, index), shared.network.joins is None
    head = None if _is_head(group, index) else HEAD if here else UNKNOWN_HEAD
    boot = nodes.boot_of(name, group.size.arch, group.placement.shape, site.context, head, OPENS)
    if is_joined(group):
        boot = replace(boot, files=ray_settings(UNBOUND_MEMORY))
    after = f"\n# {group.placement.instance_type}\n"
    if head == UNKNOWN_HEAD:
        # An interface has its address before its machine is, and keeps it when that is made anew.
        return told(boot, Ref(shared.head_interface, "private_ip_address"), after=after, base64=True)
    return base64.b64encode(f"{user_data(boot).rstrip()}{after}".encode()).decode()


def node_name(task: Task, group: Group, index: int) -> str:
    return nodes.node_name(task.id, group.group.name, index)


def machine_name(task: Task, group: Group, index: int) -> str:
    """The node's name as Azure takes it."""
    return short(node_name(task, group, index), _NAME, ends=f"{group.group.name}-{index}")


def _is_head(group: Group, index: int) -> bool:
    return group.first_rank == 0 and index == 0


def _output(site: Site, group: Group, shared: Shared, machine: ResourceNode, address: ResourceNode | None, index: int) -> Value:
    return nodes.output(
        node_name(shared.task, group, index),
        group.group.name,
        group.first_rank + index,
        group.placement.shape,
        site.context,
        OPENS,
        # A machine made anew has the same resource id, and another one of these.
        id=ref(machine, "virtual_machine_id"),
        ip=ref(machine, "private_ip_address"),
        # Without one it is reached at its address in the network.
        address=ref(address, "ip_address") if address is not None else "",
        # A policy of the subscription may give the machine more identities.
        identity=ref(shared.rights[0], "client_id") if shared.rights else None,
    )
