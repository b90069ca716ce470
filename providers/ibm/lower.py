"""Lower a task's placements in one region of IBM Cloud (VPC) to the Terraform a platform engineer would have written.

Contract: pure, and no look-ups: nothing here is a data source. The three tables name every field of a ResourceRequest exactly once
(`check_tables` proves it). Names, ranges and the head's address follow from the deployment, the site and the zone, so growing a
group changes nothing that was there. `network`, `machines`, `images` and `storage` say what is emitted and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...compiler.diagnostics import Diagnostic, SourceMap, Span, error, has_errors
from ...compiler.ir import (
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    Ref,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    ResourceRequest,
    Task,
    Value,
)
from ..base import CONTAINER, LowerContext
from ..rented import lowering, ports
from ..rented.buckets import without_rights
from ..rented.labels import about, labels_of, one_text
from ..rented.networks import problems
from ..rented.remarks import disk_raised, own_image, refused
from ..schemas import check
from ..schemas.load import load_schema
from ..tables import Unsupported, Weight, gaps, unclassified
from .facts import PROVIDER
from .images import LIST, NoImage, image_of
from .labels import LABELS
from .machines import LEAST_GB, MOST_GB, Group, Shared, disk_gb, machines
from .network import FORM, network, zone_of
from .resources import OUR_TAGS, Site, requirement
from .storage import SCHEME, identity, without_bucket

SUPPORTED = lowering.SUPPORTED - {"network_tier"}
UNSUPPORTED: FrozenMap[Unsupported] = FrozenMap(
    {
        "network_tier": Unsupported(
            weight=Weight.IGNORE,
            spec_field="network_tier",
            reason="IBM's placement groups spread machines apart, none keeps them close, and skyc makes no cluster networks yet.",
        ),
    }
)
"""What single values cannot do is said where they are read: spot machines, images, odd labels, disks beyond IBM's limits."""

_S390X = re.compile(r"[a-z]z\d")
"""IBM names the profiles of its Z machines so: `bz2-4x16`. A test holds this against the whole catalog."""


def check_tables() -> tuple[str, ...]:
    """Fields that are not exactly once in a table. Empty, or we have a bug."""
    return unclassified(SUPPORTED, lowering.LOWERED, UNSUPPORTED)


def lower(
    task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """One site's graph with the output `nodes`, head first; None with the reasons when a request cannot be met."""
    diagnostics = [*without_bucket(task), *without_rights(task, SCHEME, PROVIDER)]
    diagnostics += ports.said_of_ssh(context.access.ssh_from, PROVIDER)
    groups, said = lowering.groups_at(
        task, placements, context, lambda group, placement, rank: _group(group, placement, rank, context)
    )
    diagnostics += said
    region, own = placements[0].region, context.network
    zones = [zone_of(placement.region, placement.zone) for placement in placements]
    diagnostics += problems(own, FORM, PROVIDER, region, zones)
    if has_errors(diagnostics):
        return None, tuple(dict.fromkeys(diagnostics))
    site = Site(context=context, region=region, origin=task.groups[0].requests[0].origin)
    resources, nodes = _resources(site, task, groups)
    graph = lowering.site_graph(context, PROVIDER, requirement(site), resources, nodes)
    return graph, tuple(dict.fromkeys(diagnostics))


def _resources(site: Site, task: Task, groups: list[Group]) -> tuple[list[ResourceNode], list[Value]]:
    opened = {range_: group.request.origin.child("ports") for group in groups for range_ in ports.declared((group.request,))}
    zones = [group.zone for group in groups for _ in range(group.group.num_nodes)]
    made = network(site, zones, sorted(opened.items(), key=lambda item: item[0]))
    rights = identity(site, task)
    shared = Shared(
        task=task,
        network=made,
        profile=rights[0] if rights else None,
        policies=tuple(node.address for node in rights[1:]),
        head_zone=groups[0].zone,
        head_interface=ResourceAddress("ibm_is_virtual_network_interface", f"{groups[0].group.name}-0"),
    )
    resources = [*made.resources, *rights]
    nodes: list[Value] = []
    for group in groups:
        for resource, row in machines(site, group, shared):
            resources.append(resource)
            nodes += [row] if row is not None else []
    return resources, nodes


def _group(
    group: NodeGroup, placement: GroupPlacement, rank: int, context: LowerContext
) -> tuple[Group | None, tuple[Diagnostic, ...]]:
    request = group.requests[placement.request]
    labels = labels_of(request.labels, LABELS, own=len(OUR_TAGS))
    said = [
        *gaps(request, UNSUPPORTED, PROVIDER),
        *ports.about(request),
        *about(request, labels, LABELS),
        *_about_disk(request),
    ]
    said += _about_machine(request, placement)
    wanted = request.image_at(PROVIDER, placement.region)
    image = image_of(wanted, placement.region, bool(placement.shape.accelerators), context.images)
    if isinstance(image, NoImage):
        field = request.origin.child("image_id")
        detail = f"`{field}` on `{PROVIDER}`: {image.why}"
        summary = "The target cannot do this" if request.image_id is not None else "No image is named for these machines"
        slug = "unsupported-here" if request.image_id is not None else "no-image"
        listing = (f"ibmcloud target -r {placement.region}", LIST)
        refreshed = (
            () if placement.shape.accelerators or request.image_id is not None else ("skyc catalog refresh --cloud ibm",)
        )
        commands = () if (wanted or "").startswith(CONTAINER) else (*refreshed, *listing)
        said.append(error(slug, summary, detail, hint=image.hint, commands=commands, subject=field))
        return None, tuple(said)
    if request.image_id is not None:
        said.append(own_image(request, PROVIDER, image, "; machines with GPUs need the driver in it."))
    tags = tuple(one_text(name, value) for name, value in labels.written.items())
    return Group(group=group, placement=placement, request=request, image=image, tags=tags, first_rank=rank), tuple(said)


def _about_machine(request: ResourceRequest, placement: GroupPlacement) -> Iterator[Diagnostic]:
    if _S390X.match(placement.instance_type):
        why = f"{placement.instance_type} is an IBM Z machine (s390x), and Ray has no build for it."
        yield refused(request, "instance_type", PROVIDER, why, hint="choose a profile without `z` in its family")
    if placement.market is Market.SPOT:
        why = "IBM sells spot machines to select customers and publishes no price, so skyc cannot choose one."
        yield refused(request, "market", PROVIDER, why, hint="choose another `infra` for spot machines")


def _about_disk(request: ResourceRequest) -> Iterator[Diagnostic]:
    size = disk_gb(request)
    if size > MOST_GB:
        why = f"a boot volume has at most {MOST_GB} GB, and {size} are asked for."
        yield refused(request, "disk_size", PROVIDER, why, hint="ask for less, or read from a bucket")
    if request.disk_gb is not None and request.disk_gb < LEAST_GB:
        yield disk_raised(request, PROVIDER, least_gb=LEAST_GB, gigabytes=size)


def check_graph(graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
    """Against the provider's schema, and closed by default: inbound from an address only SSH and declared ports, never Ray's."""
    return (*check(graph, (load_schema("ibm"),), sources), *_opened(graph, sources))


def _opened(graph: ResourceGraph, sources: SourceMap | None) -> Iterator[Diagnostic]:
    for node in graph.resources:
        if node.address.type != "ibm_is_security_group_rule" or node.arguments.get("direction") != "inbound":
            continue
        source = node.arguments.get("remote") or "everybody"
        if isinstance(source, Ref):
            # A group, and so machines of the site.
            continue
        first, last = node.arguments.get("port_min"), node.arguments.get("port_max")
        span: Span | None = sources.find(node.origin) if sources is not None else None
        bounded = isinstance(first, int) and isinstance(last, int) and node.arguments.get("protocol") == "tcp"
        if not bounded or ports.is_rays(ports.PortRange(int(str(first)), int(str(last)))):
            yield error(
                "port-of-ray",
                "A port that must stay closed",
                f"{node.address} lets {source} reach Ray, which runs commands for whoever does.",
                span=span,
                hint="have the task listen on another port; skyc reaches Ray itself through SSH",
            )
