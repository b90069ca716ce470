"""Lower a task's placements in one region of AWS to the Terraform a platform engineer would have written.

Contract: pure, and no look-ups: nothing here is a data source. The three tables name every field of a ResourceRequest exactly once
(`check_tables` proves it). Names, ranges and the head's address follow from the deployment, the site and the zone, so growing a
group changes nothing that was there. `network`, `machines`, `images` and `storage` say what is emitted and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...compiler.diagnostics import Diagnostic, SourceMap, Span, error, has_errors, warning
from ...compiler.ir import (
    Addresses,
    FrozenMap,
    GroupPlacement,
    NodeGroup,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    ResourceRequest,
    Task,
    Value,
)
from ..base import LowerContext
from ..rented import lowering, ports
from ..rented.buckets import without_rights
from ..rented.images import Image
from ..rented.labels import about, labels_of
from ..rented.names import tags
from ..rented.networks import problems
from ..rented.remarks import disk_raised, own_image, refused
from ..schemas import check
from ..schemas.load import load_schema
from ..tables import Unsupported, gaps, unclassified
from . import efa
from .facts import PROVIDER
from .images import image_of
from .inside import gateway_last
from .labels import LABELS
from .machines import MOST_GB, MOST_MAGNETIC_GB, Group, Shared, disk_gb, has_adapters, has_late_address, is_close, machines
from .network import FORM, network
from .resources import Site, requirement
from .storage import SCHEME, bad_keys, identity, without_bucket

UNSUPPORTED: FrozenMap[Unsupported] = FrozenMap()
"""What single values cannot do is said where they are read: container images, odd labels, disks beyond AWS's limits."""

_ARM = re.compile(r"(?:a1|[a-z]+\d+g[a-z]*)\.")
"""AWS names what runs on its own processors `g` after the generation. A test holds this against the whole catalog."""
_PARAVIRTUAL = re.compile(r"(?:t1|m1|m2|c1)\.")
"""Machines that start paravirtual images alone (EC2 user guide, "Virtualization types"). Ubuntu has made none for years."""


def check_tables() -> tuple[str, ...]:
    """Fields that are not exactly once in a table. Empty, or we have a bug."""
    return unclassified(lowering.SUPPORTED, lowering.LOWERED, UNSUPPORTED)


def lower(
    task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """One site's graph with the output `nodes`, head first; None with the reasons when a request cannot be met."""
    diagnostics = [
        *without_bucket(task),
        *without_rights(task, SCHEME, PROVIDER),
        *bad_keys(task, context.access.bucket_keys),
        *ports.said_of_ssh(context.access.ssh_from, PROVIDER),
    ]
    groups, said = lowering.groups_at(
        task, placements, context, lambda group, placement, rank: _group(group, placement, context, rank)
    )
    diagnostics += said
    site = Site(context=context, region=placements[0].region, origin=task.groups[0].requests[0].origin)
    zones = [placement.zone for placement in placements]
    diagnostics += problems(context.network, FORM, PROVIDER, site.region, zones)
    if has_errors(diagnostics):
        return None, tuple(dict.fromkeys(diagnostics))
    diagnostics += _about_addresses(groups, context)
    resources, nodes = _resources(site, task, groups)
    graph = lowering.site_graph(context, PROVIDER, requirement(site), resources, nodes)
    return graph, tuple(dict.fromkeys(diagnostics))


def _resources(site: Site, task: Task, groups: list[Group]) -> tuple[list[ResourceNode], list[Value]]:
    opened = {range_: group.request.origin.child("ports") for group in groups for range_ in ports.declared((group.request,))}
    zones = [group.placement.zone for group in groups]
    # The head is the first machine of the first group.
    others = [group.placement.zone for group in groups if group is not groups[0] or group.group.num_nodes > 1]
    made = network(site, zones, sorted(opened.items(), key=lambda item: item[0]), others=others)
    # ForceNew: key_name, public_key.
    key = site.tagged("aws_key_pair", "login", {"key_name": site.name, "public_key": site.context.access.login_key})
    rights = identity(site, task)
    shared = Shared(
        task=task,
        network=made,
        key=key,
        profile=rights[-1] if rights else None,
        head_zone=groups[0].placement.zone,
        head=ResourceAddress("aws_instance", f"{groups[0].group.name}-0"),
    )
    resources = [*made.resources, key, *rights]
    if any(has_adapters(group) for group in groups):
        resources.append(efa.rule(site, made.group))
    nodes: list[Value] = []
    for group in groups:
        for resource, output in machines(site, group, shared):
            resources.append(resource)
            nodes += [output] if output is not None else []
    return gateway_last(resources), nodes


def _group(
    group: NodeGroup, placement: GroupPlacement, context: LowerContext, rank: int
) -> tuple[Group | None, tuple[Diagnostic, ...]]:
    request = group.requests[placement.request]
    arch = "arm64" if _ARM.match(placement.instance_type) else "x86_64"
    image = _image(request, placement, arch)
    labels = labels_of(request.labels, LABELS, own=len(tags(context, "name")))
    said = [*gaps(request, UNSUPPORTED, PROVIDER), *ports.about(request), *about(request, labels, LABELS)]
    if isinstance(image, str):
        return None, (*said, refused(request, "image_id", PROVIDER, image, hint="name an AMI"))
    found = Group(
        group=group,
        placement=placement,
        request=request,
        image=image,
        arch=arch,
        labels=labels.written,
        first_rank=rank,
    )
    said += [*_about_disk(request, image), *_about_place(found)]
    return found, tuple(said)


def _image(request: ResourceRequest, placement: GroupPlacement, arch: str) -> Image | str:
    devices = placement.shape.accelerators
    if request.image_id is None and _PARAVIRTUAL.match(placement.instance_type):
        return f"{placement.instance_type} starts paravirtual images alone, and skyc knows none; name one, or take a newer machine."
    shared = any(device.count % 1 for device in devices)
    return image_of(request.image_at(PROVIDER, placement.region), arch, [device.name for device in devices], shared=shared)


def _about_place(group: Group) -> Iterator[Diagnostic]:
    if group.request.network_tier != "best" or group.group.num_nodes < 2:
        return
    field, machine = group.request.origin.child("network_tier"), group.placement.instance_type
    if not is_close(group):
        detail = f"`{field}` on `{PROVIDER}`: {machine} is not taken into a cluster placement group."
        yield warning("ignored-here", "The target ignores this field", detail, subject=field)
    elif not has_adapters(group):
        detail = f"`{field}` on `{PROVIDER}`: {machine} has no Elastic Fabric Adapter, so its nodes are put close together and no more."
        larger = next(efa.with_adapters(machine), None)
        hint = f"{larger} has one" if larger else "take a machine that has one, such as c7i.48xlarge or g6.8xlarge"
        yield warning("no-fast-network", "The machines have no fast network", detail, subject=field, hint=hint)


def _about_addresses(groups: list[Group], context: LowerContext) -> Iterator[Diagnostic]:
    """Said of the account's quota where it would end an apply half-way."""
    if context.public is not Addresses.ALL:
        # One at most, and the gateway's.
        return
    wanted = [group for group in groups if has_late_address(group)]
    count = sum(group.group.num_nodes for group in wanted)
    if count > efa.FREE_ADDRESSES:
        field = wanted[0].request.origin.child("network_tier")
        detail = (
            f"`{field}` on `{PROVIDER}`: a machine with several network cards gets its public address as an Elastic IP, and {count} are"
            f" needed. An account has {efa.FREE_ADDRESSES} per region unless it asked for more."
        )
        hint = "have the quota `EC2-VPC Elastic IPs` raised, or leave out `public: true` in config.yaml"
        yield warning("many-addresses", "The account may not have enough addresses", detail, subject=field, hint=hint)


def _about_disk(request: ResourceRequest, image: Image) -> Iterator[Diagnostic]:
    size = disk_gb(request, image)
    most = MOST_MAGNETIC_GB if request.disk_tier == "low" else MOST_GB
    if size > most:
        why = f"a root disk of this tier has at most {most} GB, and {size} are asked for."
        yield refused(request, "disk_size", PROVIDER, why, hint="ask for less, or for another `disk_tier`")
    if request.disk_gb is not None and request.disk_gb < image.least_gb:
        yield disk_raised(request, PROVIDER, least_gb=image.least_gb, gigabytes=size)
    if image.own:
        more = " whose root device is /dev/sda1; with another one the disk's size would go to a second disk."
        yield own_image(request, PROVIDER, image.id, more)


def check_graph(graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
    """Against the provider's schema, and closed by default: inbound from an address only SSH and declared ports, never Ray's."""
    return (*check(graph, (load_schema("aws"),), sources), *_opened(graph, sources))


def _opened(graph: ResourceGraph, sources: SourceMap | None) -> Iterator[Diagnostic]:
    for node in graph.resources:
        if node.address.type != "aws_vpc_security_group_ingress_rule":
            continue
        source = node.arguments.get("cidr_ipv4") or node.arguments.get("cidr_ipv6")
        if source is None:
            continue
        first, last = node.arguments.get("from_port"), node.arguments.get("to_port")
        span: Span | None = sources.find(node.origin) if sources is not None else None
        bounded = isinstance(first, int) and isinstance(last, int) and node.arguments.get("ip_protocol") == "tcp"
        if not bounded or ports.is_rays(ports.PortRange(int(str(first)), int(str(last)))):
            yield error(
                "port-of-ray",
                "A port that must stay closed",
                f"{node.address} lets {source} reach Ray, which runs commands for whoever does.",
                span=span,
                hint="have the task listen on another port; skyc reaches Ray itself through SSH",
            )
