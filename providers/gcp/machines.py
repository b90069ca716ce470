"""A group's machines: one instance for each node, and a placement policy where they belong close together.

Contract: pure. A node is replaced, never changed under what runs on it: what of an instance Google would change in place, or only while
it is stopped, is in a digest in its description, and another description is another instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING

from ...compiler.ir import (
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    Ref,
    ResourceNode,
    ResourceRequest,
    Task,
    Value,
    canonical,
)
from ..rented.cloud_init import user_data
from ..rented.images import Image
from ..rented.names import description
from ..rented.networks import UNKNOWN_HEAD, has_address, told
from ..rented.nodes import boot_of, node_name, output, whole
from .facts import DISK_GB, OPENS
from .network import Network
from .resources import Site, ref, zone_of
from .series import COMPACT, NEVER_MOVED, boot_disks, is_metal, series
from .storage import SCOPE

MOST_GB = 65_536
"""Of a Persistent Disk and of Hyperdisk Balanced."""
SHARED_CORE_GB = 3_072
"""Of all Persistent Disks of a machine that shares a core (`maximumPersistentDisksSizeGb` of its type; docs.cloud.google.com/compute/docs,
"Disks": 3 TB)."""
FREE_IOPS = 3_000
FREE_THROUGHPUT = 140
"""MiB/s. What Hyperdisk Balanced has without a further charge ("About Hyperdisk Balanced", baseline performance). It is written, since
Google's own values, where none are, may be higher, and are charged for."""
HIGH_IOPS = 6_000
HIGH_THROUGHPUT = 280
"""MiB/s. Twice that."""
IOPS_PER_GB = 500
"""At most, of Hyperdisk Balanced."""
_BY_TIER = {"low": "pd-standard", "high": "pd-ssd", "best": "pd-ssd"}
_MEDIUM = "pd-balanced"

ATTACHED: FrozenMap[str] = FrozenMap(
    {
        "P100": "nvidia-tesla-p100",
        "P4": "nvidia-tesla-p4",
        "T4": "nvidia-tesla-t4",
        "V100": "nvidia-tesla-v100",
    }
)
"""Devices that are attached to an N1 machine of one's choice, by the API's names. All others come with their machine type."""

AS_MADE = ("boot_disk[0].initialize_params", "network_interface[0].nic_type", "scratch_disk")
"""What Google says of these may not be what was asked for, and the provider would replace a machine for it at every plan: a family is
an image by then, which it recognizes by its name at best (`DiskImageDiffSuppress`); the kind of interface that Google chose; disks
inside a machine, which follow from its type (hashicorp/terraform-provider-google#19648). What is asked for is in the digest."""

AGENT: FrozenMap[str] = FrozenMap(
    {
        "/etc/default/instance_configs.cfg": "[Daemons]\naccounts_daemon = false\n[InstanceSetup]\nset_host_keys = false\n",
    }
)
"""Google's agent on the machine: it would make accounts for keys in the metadata of the machine or the project, and host keys of its
own over the pinned one (github.com/GoogleCloudPlatform/guest-agent, "Configuration")."""


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
    """The user's, as Google takes them."""
    first_rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all groups of a site use."""

    task: Task
    network: Network
    account: ResourceNode | None


def disk_gb(request: ResourceRequest, image: Image) -> int:
    """The root disk in GiB, as it is priced: rounded up."""
    return max(int((request.disk_gb or DISK_GB).to_integral_value(ROUND_CEILING)), image.least_gb)


def priced_disk(request: ResourceRequest) -> str:
    """The disk type whose price the plan shows (`facts.py`)."""
    return _BY_TIER.get(request.disk_tier or "", _MEDIUM)


def root_disk(request: ResourceRequest, image: Image, machine_type: str) -> dict[str, Value]:
    """`initialize_params`: the tier's disk type, or what comes nearest to it of those the machine boots from. Google encrypts every disk,
    with keys of its own where nobody names others; there is nothing to switch on."""
    wanted, has = priced_disk(request), boot_disks(machine_type)
    kind = wanted if wanted in has else has[0]
    disk: dict[str, Value] = {"image": image.id, "size": disk_gb(request, image), "type": kind}
    if kind == "hyperdisk-balanced":
        high = wanted == "pd-ssd"
        iops = min(HIGH_IOPS if high else FREE_IOPS, IOPS_PER_GB * disk_gb(request, image))
        disk |= {"provisioned_iops": iops, "provisioned_throughput": HIGH_THROUGHPUT if high else FREE_THROUGHPUT}
    return disk


def is_close(group: Group) -> bool:
    """Whether its nodes are put close together."""
    wanted = group.request.network_tier == "best" and group.group.num_nodes > 1
    return wanted and series(group.placement.instance_type) in COMPACT


def machines(site: Site, group: Group, shared: Shared) -> Iterator[tuple[ResourceNode, Value]]:
    """The group's resources, each with its entry in the output `nodes` (None for what is no node)."""
    name = str(group.group.name)
    policy: ResourceNode | None = None
    if is_close(group):
        # ForceNew: all of it. Without a count, so that the group can grow.
        policy = site.described(
            "google_compute_resource_policy",
            name,
            {
                "name": site.called(name),
                "region": site.region,
                "group_placement_policy": FrozenMap[Value]({"collocation": "COLLOCATED"}),
            },
        )
        yield policy, None
    for index in range(group.group.num_nodes):
        node = _instance(site, group, shared, policy, index)
        yield (
            node,
            output(
                node_name(shared.task.id, group.group.name, index),
                group.group.name,
                group.first_rank + index,
                group.placement.shape,
                site.context,
                OPENS,
                # Not `id`, which is made of names: a node that replaces another has those again.
                id=ref(node, "instance_id"),
                ip=ref(node, "network_interface[0].network_ip"),
                # Without one it is reached at its address in the network.
                address=ref(node, "network_interface[0].access_config[0].nat_ip")
                if has_address(site.context, is_head=_is_head(group, index))
                else "",
            ),
        )


def _is_head(group: Group, index: int) -> bool:
    return group.first_rank == 0 and index == 0


def _instance(site: Site, group: Group, shared: Shared, policy: ResourceNode | None, index: int) -> ResourceNode:
    placement = group.placement
    reached = has_address(site.context, is_head=_is_head(group, index))
    # ForceNew: name, zone, description, boot_disk, guest_accelerator, scheduling's model.
    arguments: dict[str, Value] = {
        "name": site.called(f"{group.group.name}-{index}"),
        "zone": zone_of(placement.region, placement.zone),
        "machine_type": placement.instance_type,
        "tags": shared.network.tags,
        "metadata": _metadata(site, group, shared, index),
        "scheduling": _scheduling(group),
        "boot_disk": FrozenMap[Value](
            {
                "auto_delete": True,
                "initialize_params": FrozenMap[Value](
                    {
                        **root_disk(group.request, group.image, placement.instance_type),
                        "labels": FrozenMap[Value](site.lasting_labels()),
                    }
                ),
            }
        ),
        "network_interface": _interface(shared, group, index, public=reached),
    }
    devices = tuple(
        FrozenMap[Value]({"type": ATTACHED[device.name], "count": whole(device.count)})
        for device in placement.shape.accelerators
        if device.name in ATTACHED
    )
    if devices:
        arguments["guest_accelerator"] = devices
    if not is_metal(placement.instance_type):
        arguments["shielded_instance_config"] = _shielded(group)
    if policy is not None:
        arguments["resource_policies"] = (ref(policy, "self_link"),)
    if shared.account is not None:
        arguments["service_account"] = FrozenMap[Value]({"email": ref(shared.account, "email"), "scopes": (SCOPE,)})
    made_as = hashlib.sha256(canonical(FrozenMap(arguments))).hexdigest()[:16]
    node = site.labelled(
        "google_compute_instance",
        f"{group.group.name}-{index}",
        {**arguments, "description": f"{description(site.context)} made-as={made_as}"},
        labels=group.labels,
        origin=group.request.origin,
    )
    before = shared.network.firewall if reached else (*shared.network.firewall, *shared.network.way_out)
    return replace(node, ignore_changes=(*node.ignore_changes, *AS_MADE), depends_on=before)


def _metadata(site: Site, group: Group, shared: Shared, index: int) -> Value:
    name = node_name(shared.task.id, group.group.name, index)
    head = shared.network.head
    known = None if _is_head(group, index) else head if isinstance(head, str) else UNKNOWN_HEAD
    boot = boot_of(name, group.arch, group.placement.shape, site.context, known, OPENS)
    boot = replace(boot, login_key=site.context.access.login_key, files=AGENT)
    # The login key is part of the first boot and not of the metadata: whether that is looked at is a setting of the project (OS Login).
    return FrozenMap[Value](
        {
            "block-project-ssh-keys": "true",
            "serial-port-enable": "false",
            "user-data": told(boot, head) if boot.head == UNKNOWN_HEAD and isinstance(head, Ref) else user_data(boot),
        }
    )


def _scheduling(group: Group) -> Value:
    """Nothing starts again behind skyc's back: what follows the loss of a node is its decision, on-demand or spot."""
    spot = group.placement.market is Market.SPOT
    given: dict[str, Value] = {"automatic_restart": False, "provisioning_model": "SPOT" if spot else "STANDARD"}
    if spot:
        # Deleted and not stopped: a machine that was taken away costs nothing any more, where a stopped one would pay for its disk,
        # and Terraform sees that it is gone.
        given |= {"preemptible": True, "instance_termination_action": "DELETE"}
    machine = group.placement.instance_type
    stays = is_metal(machine) or series(machine) in NEVER_MOVED or is_close(group)
    if spot or stays or group.placement.shape.accelerators:
        # These cannot be moved to another host while they run. Of the others Google knows it by their type.
        given["on_host_maintenance"] = "TERMINATE"
    return FrozenMap[Value](given)


def _shielded(group: Group) -> Value:
    """Secure boot takes only signed kernel modules, and nobody has said that those of a GPU's driver, or of an own image, are; nor that
    every Arm machine has it."""
    signed = group.arch == "x86_64" and not group.placement.shape.accelerators and not group.image.own
    return FrozenMap[Value]({"enable_integrity_monitoring": True, "enable_secure_boot": signed, "enable_vtpm": True})


def _interface(shared: Shared, group: Group, index: int, *, public: bool) -> Value:
    given: dict[str, Value] = {"subnetwork": shared.network.subnet(zone_of(group.placement.region, group.placement.zone))}
    if public:
        # SSH comes in and packages come through it.
        given["access_config"] = FrozenMap[Value]({"network_tier": "PREMIUM"})
    if _is_head(group, index):
        given["network_ip"] = shared.network.head
    if is_metal(group.placement.instance_type):
        given["nic_type"] = "IDPF"
    elif group.request.network_tier == "best" and not group.image.own:
        given["nic_type"] = "GVNIC"
    return FrozenMap[Value](given)
