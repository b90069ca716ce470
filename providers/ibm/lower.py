"""Lower a task's placements in one region of IBM Cloud (VPC) to the Terraform a platform engineer would have written.

Contract: pure, and no look-ups: nothing here is a data source. The three tables name every field of a ResourceRequest exactly once
(`check_tables` proves it). Names, ranges and the head's address follow from the deployment, the site and the zone, so growing a
group changes nothing that was there. `network`, `machines`, `images` and `storage` say what is emitted and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...compiler.diagnostics import Diagnostic, SourceMap, Span, error, has_errors, warning
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
from ..rented.names import DEPLOYMENT_TAG, SITE_TAG
from ..rented.networks import problems
from ..schemas import check
from ..schemas.load import load_schema
from ..tables import Unsupported, Weight, gaps, unclassified
from .facts import PROVIDER
from .images import LIST, NoImage, image_of
from .machines import LEAST_GB, MOST_GB, Group, Shared, disk_gb, machines
from .network import FORM, ipv4, network, zone_of
from .resources import TAG_LIMIT, Site, label_tag, requirement
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

_TAG = re.compile(r"[a-z0-9 _.:\-]+")
_S390X = re.compile(r"[a-z]z\d")
"""IBM names the profiles of its Z machines so: `bz2-4x16`. A test holds this against the whole catalog."""


def check_tables() -> tuple[str, ...]:
    """Fields that are not exactly once in a table. Empty, or we have a bug."""
    return unclassified(SUPPORTED, lowering.LOWERED, UNSUPPORTED)


def lower(
    task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """One site's graph with the output `nodes`, head first; None with the reasons when a request cannot be met."""
    diagnostics = [*without_bucket(task), *without_rights(task, SCHEME, PROVIDER), *_about_ssh(context.access.ssh_from)]
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
    said = [*gaps(request, UNSUPPORTED, PROVIDER), *ports.about(request), *_odd_labels(request), *_about_disk(request)]
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
        field = request.origin.child("image_id")
        detail = (
            f"`{field}`: skyc does not look `{image}` up. It must be Ubuntu or another system with cloud-init"
            " and systemd; machines with GPUs need the driver in it."
        )
        said.append(warning("own-image", "The image must be of a form skyc expects", detail, subject=field))
    return Group(group=group, placement=placement, request=request, image=image, first_rank=rank), tuple(said)


def _about_machine(request: ResourceRequest, placement: GroupPlacement) -> Iterator[Diagnostic]:
    if _S390X.match(placement.instance_type):
        field = request.origin.child("instance_type")
        detail = (
            f"`{field}` on `{PROVIDER}`: {placement.instance_type} is an IBM Z machine (s390x), and Ray has no build for it."
        )
        hint = "choose a profile without `z` in its family"
        yield error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=field)
    if placement.market is Market.SPOT:
        field = request.origin.child("market")
        detail = (
            f"`{field}` on `{PROVIDER}`: IBM sells spot machines to select customers and publishes no price,"
            " so skyc cannot choose one."
        )
        hint = "choose another `infra` for spot machines"
        yield error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=field)


def _about_disk(request: ResourceRequest) -> Iterator[Diagnostic]:
    size = disk_gb(request)
    field = request.origin.child("disk_size")
    if size > MOST_GB:
        detail = f"`{field}` on `{PROVIDER}`: a boot volume has at most {MOST_GB} GB, and {size} are asked for."
        hint = "ask for less, or read from a bucket"
        yield error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=field)
    if request.disk_gb is not None and request.disk_gb < LEAST_GB:
        detail = f"`{field}`: IBM's images need {LEAST_GB} GB, so the disk has {size} GB."
        yield warning("disk-raised", "The disk is larger than asked for", detail, subject=field)


def _odd_labels(request: ResourceRequest) -> Iterator[Diagnostic]:
    for name, value in request.labels.items():
        tag = label_tag(name, value)
        ours = name.lower().partition(":")[0] in (DEPLOYMENT_TAG, SITE_TAG)
        if len(tag) > TAG_LIMIT or not _TAG.fullmatch(tag) or ours:
            field = request.origin.child("labels")
            detail = (
                f"`{field}`: IBM takes no tag {tag!r}. A name, a colon and a value have at most {TAG_LIMIT}"
                f" letters, digits, spaces and `_-.:` together, and `{DEPLOYMENT_TAG}` and `{SITE_TAG}` are skyc's own."
            )
            hint = "shorten or rename the label"
            yield error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=field)


def _about_ssh(ssh_from: tuple[str, ...]) -> Iterator[Diagnostic]:
    usable = ipv4(ssh_from)
    left = [text for text in ssh_from if text not in usable]
    if left:
        detail = f"`access.ssh_from` in config.yaml holds {', '.join(left)}, and IBM's VPC knows IPv4 only."
        yield warning("ignored-here", "The target ignores this", detail, hint="name your IPv4 address as well")
    yield from ports.said_of_ssh(usable, PROVIDER)


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
