"""A group's machines: one launch template for the group, one instance for each node.

Contract: pure. The template exists because nothing else takes an image by parameter together with a root disk (`images.py`). The
rest stands on the instance, where a reviewer looks for it.
"""

from __future__ import annotations

import re
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
from ..rented.cloud_init import Boot, user_data
from ..rented.images import Image
from ..rented.names import DEPLOYMENT_TAG, SITE_TAG, short, tags
from ..rented.networks import UNKNOWN_HEAD, told
from ..rented.nodes import boot_of, devices, node_name, output
from . import efa
from .facts import DISK_GB, HIGH_SIZES, OPENS
from .images import ROOT_DEVICE
from .network import Network
from .ranges import head_address
from .resources import Site, ref

HIGH_IOPS = 7_000
HIGH_THROUGHPUT = 500
"""MB/s."""
IO2_IOPS_PER_GB = 20
_IO2_MOST_IOPS = 64_000
_XEN_MOST_IOPS = 32_000
"""Of a volume on a machine that is not built on the Nitro System (EC2 API, EbsBlockDevice, `Iops`)."""
MOST_GB = 16_384
MOST_MAGNETIC_GB = 1_024
_MOST_NAME = 125
"""Characters of a launch template's name, as Terraform's provider counts them; a placement group may have more."""
_APART = re.compile(r"(?:t\d\w*|vt\d|[a-z]\d\w*-flex|mac\d\w*|m[1-3]|c1)\.")
"""Machines that no cluster placement group takes: burstable ones, flex, and what came before M4 and is not named as an exception (EC2
user guide, "Placement strategies")."""

_XEN = re.compile(r"(?:t[12]|m[1-4]|c[134]|cc2|cg1|cr1|r[34]|x1e?|d2|h1|hs1|i[23]|f1|g[23]s?|p[23])\.(?!metal)")
"""Machines that are not built on the Nitro System (EC2 instance types guide, "Hypervisor type"). A test holds this against the whole
catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A node group at its place."""

    group: NodeGroup
    placement: GroupPlacement
    request: ResourceRequest
    """The one of the group's requests that the placement meets."""
    image: Image
    arch: str
    labels: FrozenMap[str]
    """The user's, as EC2 takes them."""
    first_rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all groups of a site use."""

    task: Task
    network: Network
    key: ResourceNode
    profile: ResourceNode | None
    head_zone: str | None
    head: ResourceAddress
    """The first machine of the first group."""


def disk_gb(request: ResourceRequest, image: Image) -> int:
    """The root disk in GiB, as it is priced: rounded up, and for tier `high` to the sizes that tier is sold in."""
    wanted = max(int((request.disk_gb or DISK_GB).to_integral_value(ROUND_CEILING)), image.least_gb)
    if request.disk_tier == "high":
        return next((size for size in HIGH_SIZES if size >= wanted), wanted)
    return wanted


def root_disk(request: ResourceRequest, image: Image, machine: str) -> FrozenMap[Value]:
    """The tiers of the catalog's rates (`facts.py`), always encrypted and gone with the machine. machine: its instance type."""
    size = disk_gb(request, image)
    disk: dict[str, Value] = {"encrypted": "true", "delete_on_termination": "true", "volume_size": size}
    match request.disk_tier:
        case "low":
            disk["volume_type"] = "standard"
        case "high":
            disk |= {"volume_type": "gp3", "iops": HIGH_IOPS, "throughput": HIGH_THROUGHPUT}
        case "ultra" | "best":
            most = _XEN_MOST_IOPS if _XEN.match(machine) else _IO2_MOST_IOPS
            disk |= {"volume_type": "io2", "iops": min(max(IO2_IOPS_PER_GB * size, 100), most)}
        case _:
            disk["volume_type"] = "gp3"
    return FrozenMap(disk)


def is_close(group: Group) -> bool:
    """Whether its nodes are put close together."""
    wanted = group.request.network_tier == "best" and group.group.num_nodes > 1
    return wanted and _APART.match(group.placement.instance_type) is None


def has_adapters(group: Group) -> bool:
    """Whether its nodes get the fast network, and so their interfaces from the launch template."""
    return is_close(group) and group.placement.instance_type in efa.ADAPTERS


def has_late_address(group: Group) -> bool:
    """Whether its nodes' public addresses are Elastic IPs."""
    return has_adapters(group) and efa.several(group.placement.instance_type)


def machines(site: Site, group: Group, shared: Shared) -> Iterator[tuple[ResourceNode, Value]]:
    """The group's resources, each with its entry in the output `nodes` (None for what is no node)."""
    name = str(group.group.name)
    label = short(f"{site.name}-{name}", _MOST_NAME, ends=name)
    packed: ResourceNode | None = None
    if is_close(group):
        # Machines close together. ForceNew: name, strategy.
        packed = site.tagged("aws_placement_group", name, {"name": label, "strategy": "cluster"}, label=label)
        yield packed, None
    is_heads = group.first_rank == 0
    head = _connection(group, shared, head=is_heads)
    # Where the head is alone there may be no subnet for others.
    others = _connection(group, shared, head=is_heads and group.group.num_nodes == 1)
    template = heads = _template(site, group, shared, name, label, others)
    yield template, None
    if has_adapters(group) and head != others:
        # How a machine is connected stands with its interfaces, in the template. No group has an underscore in its name.
        label = short(f"{site.name}-{name}_head", _MOST_NAME, ends=f"{name}_head")
        heads = _template(site, group, shared, f"{name}_head", label, head)
        yield heads, None
    for index in range(group.group.num_nodes):
        node = _instance(site, group, shared, template if index else heads, packed, index)
        is_public = shared.network.is_public(head=is_heads and index == 0)
        public: Value = ref(node, "public_ip") if is_public else ""
        if has_late_address(group) and is_public:
            label = node_name(shared.task.id, group.group.name, index)
            late = efa.address(site, node, label, group.request.origin, shared.network.way_out)
            yield late, None
            public = ref(late, "public_ip")
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
                ip=ref(node, "private_ip"),
                # Without one it is reached at its address in the network.
                address=public,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    """How a machine is in the network."""

    subnet: Value
    public: bool
    private_ip: str | None


def _connection(group: Group, shared: Shared, *, head: bool) -> _Connection:
    zone = group.placement.zone
    fixed = head_address(zone) if head and shared.network.fixed else None
    subnet = shared.network.head_subnet if head else shared.network.subnets[zone]
    return _Connection(subnet=subnet, public=shared.network.is_public(head=head), private_ip=fixed)


def _template(site: Site, group: Group, shared: Shared, name: str, label: str, joined: _Connection) -> ResourceNode:
    # Every change makes a new version, and a new version replaces the instances: neither labels nor the plan's tag stand here.
    lasting: dict[str, Value] = {
        key: tag for key, tag in tags(site.context, label).items() if key in (DEPLOYMENT_TAG, SITE_TAG)
    }
    tagged = ["volume"]
    arguments: dict[str, Value] = {
        "name": label,
        "image_id": group.image.id,
        # The instance's type stands here too: another one then replaces the node, where it would otherwise be stopped and
        # resized under whatever runs on it.
        "instance_type": group.placement.instance_type,
        "block_device_mappings": (
            FrozenMap[Value](
                {"device_name": ROOT_DEVICE, "ebs": root_disk(group.request, group.image, group.placement.instance_type)}
            ),
        ),
        "metadata_options": METADATA,
    }
    if has_adapters(group):
        # On the instance there may be no word of subnet, groups and addresses then.
        arguments["network_interfaces"] = efa.interfaces(
            group.placement.instance_type,
            joined.subnet,
            ref(shared.network.group),
            public=joined.public,
            private_ip=joined.private_ip,
        )
        tagged.append("network-interface")
    arguments["tag_specifications"] = tuple(
        FrozenMap[Value]({"resource_type": kind, "tags": FrozenMap(lasting)}) for kind in tagged
    )
    return site.tagged("aws_launch_template", name, arguments, label=label, origin=group.request.origin)


METADATA: FrozenMap[Value] = FrozenMap(
    {
        "http_endpoint": "enabled",
        "http_tokens": "required",
        "http_put_response_hop_limit": 1,
        "instance_metadata_tags": "disabled",
    }
)
"""IMDSv2 only, and for the machine itself: a container a hop away does not get the identity's credentials."""

SPOT: FrozenMap[Value] = FrozenMap(
    {
        "market_type": "spot",
        # One-time: Terraform, and skyc's recovery, decide what follows an interruption; a persistent request would start a
        # machine nobody knows of. It also has to end by termination, since only persistent ones can stop.
        "spot_options": FrozenMap[Value]({"spot_instance_type": "one-time", "instance_interruption_behavior": "terminate"}),
    }
)


def _instance(
    site: Site, group: Group, shared: Shared, template: ResourceNode, packed: ResourceNode | None, index: int
) -> ResourceNode:
    placement = group.placement
    name = node_name(shared.task.id, group.group.name, index)
    is_head = group.first_rank == 0 and index == 0
    head = None if is_head else head_address(shared.head_zone) if shared.network.fixed else UNKNOWN_HEAD
    public = shared.network.is_public(head=is_head)
    boot = _boot(name, group, site, head, public=public)
    arguments: dict[str, Value] = {
        "launch_template": FrozenMap[Value]({"id": ref(template), "version": ref(template, "latest_version")}),
        "instance_type": placement.instance_type,
        # ForceNew from here: subnet_id, private_ip, key_name, associate_public_ip_address, instance_market_options,
        # placement_group; and user_data because of the line after it.
        "key_name": ref(shared.key, "key_name"),
        "user_data": _first_boot(shared, boot, public=public),
        "user_data_replace_on_change": True,
        # A machine that shuts itself down costs nothing any more.
        "instance_initiated_shutdown_behavior": "terminate",
        "metadata_options": METADATA,
    }
    if not has_adapters(group):
        joined = _connection(group, shared, head=is_head)
        arguments |= {
            "subnet_id": joined.subnet,
            # SSH comes in and packages come through the machine's own address, or the head and the network's way out.
            "associate_public_ip_address": joined.public,
            "vpc_security_group_ids": (ref(shared.network.group),),
        }
        if joined.private_ip is not None:
            arguments["private_ip"] = joined.private_ip
    if placement.market is Market.SPOT:
        arguments["instance_market_options"] = SPOT
    if packed is not None:
        arguments["placement_group"] = ref(packed, "name")
    if shared.profile is not None:
        arguments["iam_instance_profile"] = ref(shared.profile, "name")
    node = site.tagged(
        "aws_instance",
        f"{group.group.name}-{index}",
        arguments,
        label=name,
        labels=group.labels,
        origin=group.request.origin,
        after=shared.network.way_out if is_head else (*shared.network.way_out, *shared.network.inside),
    )
    return node if has_adapters(group) else replace(node, ignore_changes=(*node.ignore_changes, *GONE_WHILE_STOPPED))


GONE_WHILE_STOPPED = ("associate_public_ip_address",)
"""A stopped machine has no public address, which the provider reads as if it had been made without one, and would replace the machine
(hashicorp/terraform-provider-aws#33775). What it says is in the first boot too."""


def _boot(name: str, group: Group, site: Site, head: str | None, *, public: bool) -> Boot:
    inside = not public and site.context.network is None
    late = inside or (public and has_late_address(group))
    boot = replace(boot_of(name, group.arch, group.placement.shape, site.context, head, OPENS), late=late)
    if not has_adapters(group):
        return boot
    own, accelerated = group.image.own, devices(group.placement.shape.accelerators) > 0
    return replace(
        boot,
        packages=efa.packages(own=own, accelerated=accelerated),
        files=efa.files(own=own, accelerated=accelerated, late=late),
    )


def _first_boot(shared: Shared, boot: Boot, *, public: bool) -> Value:
    """It says that there is no public address, since the argument that does is not looked at again (GONE_WHILE_STOPPED)."""
    after = "" if public else "# no public address\n"
    if boot.head != UNKNOWN_HEAD:
        return user_data(boot) + after
    return told(boot, Ref(shared.head, "private_ip"), after=after)
