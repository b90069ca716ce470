"""Lower a task's placements in one region of Google Cloud to the Terraform a platform engineer would have written.

Contract: pure, and no look-ups: nothing here is a data source, and the project is nowhere in it. The three tables name every field of a
ResourceRequest exactly once (`check_tables` proves it). Names, ranges and the head's address follow from the deployment and the site,
so growing a group changes nothing that was there. `network`, `machines`, `images` and `storage` say what is emitted and why.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.diagnostics import Diagnostic, SourceMap, Span, error, has_errors, warning
from ...compiler.ir import (
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    ResourceGraph,
    ResourceNode,
    ResourceRequest,
    Task,
    Value,
)
from ..base import ExistingNetwork, LowerContext
from ..rented import lowering, ports
from ..rented.buckets import without_rights
from ..rented.images import Image
from ..rented.labels import about, labels_of
from ..rented.networks import problems
from ..rented.remarks import disk_raised, own_image, refused
from ..schemas import check
from ..schemas.load import load_schema
from ..tables import Unsupported, gaps, unclassified
from .facts import PROVIDER
from .images import image_of
from .labels import LABELS, OWN
from .machines import MOST_GB, SHARED_CORE_GB, Group, Shared, disk_gb, is_close, machines, priced_disk, root_disk
from .network import FORM, elsewhere, network
from .resources import Site, requirement, zone_of
from .series import ARM, SHARED_CORE, boot_disks, fast_network, is_tpu, not_sold, series
from .storage import SCHEME, identity, without_bucket

UNSUPPORTED: FrozenMap[Unsupported] = FrozenMap()
"""What single values cannot do is said where they are read: container images, TPUs, tier `ultra`, labels that Google would not take."""


USUAL_PRIORITY = 1000
"""Of a firewall rule that says none."""


def check_tables() -> tuple[str, ...]:
    """Fields that are not exactly once in a table. Empty, or we have a bug."""
    return unclassified(lowering.SUPPORTED, lowering.LOWERED, UNSUPPORTED)


def lower(
    task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """One site's graph with the output `nodes`, head first; None with the reasons when a request cannot be met."""
    diagnostics = [*without_bucket(task), *without_rights(task, SCHEME, PROVIDER)]
    diagnostics += ports.said_of_ssh(context.access.ssh_from, PROVIDER)
    groups, said = lowering.groups_at(task, placements, context, _group)
    diagnostics += said
    region, own = placements[0].region, context.network
    zones = [zone_of(placement.region, placement.zone) for placement in placements]
    diagnostics += [*problems(own, FORM, PROVIDER, region, zones), *_about_network(own, region)]
    if has_errors(diagnostics):
        return None, tuple(dict.fromkeys(diagnostics))
    site = Site(context=context, region=region, origin=task.groups[0].requests[0].origin)
    resources, nodes = _resources(site, task, groups)
    graph = lowering.site_graph(context, PROVIDER, requirement(site), resources, nodes)
    return graph, tuple(dict.fromkeys(diagnostics))


def _resources(site: Site, task: Task, groups: list[Group]) -> tuple[list[ResourceNode], list[Value]]:
    opened = {range_: group.request.origin.child("ports") for group in groups for range_ in ports.declared((group.request,))}
    head = groups[0].placement
    nodes_in_all = sum(group.group.num_nodes for group in groups)
    made = network(site, zone_of(head.region, head.zone), nodes_in_all, sorted(opened.items(), key=lambda item: item[0]))
    rights = identity(site, task)
    shared = Shared(task=task, network=made, account=rights[0] if rights else None)
    resources = [*made.resources, *rights]
    nodes: list[Value] = []
    for group in groups:
        for resource, output in machines(site, group, shared):
            resources.append(resource)
            nodes += [output] if output is not None else []
    return resources, nodes


def _group(group: NodeGroup, placement: GroupPlacement, rank: int) -> tuple[Group | None, tuple[Diagnostic, ...]]:
    request = group.requests[placement.request]
    arch = "arm64" if series(placement.instance_type) in ARM else "x86_64"
    said = [*gaps(request, UNSUPPORTED, PROVIDER), *ports.about(request)]
    if is_tpu(placement.instance_type):
        return None, (*said, _no_tpu(request, placement))
    devices = placement.shape.accelerators
    shared = any(device.count % 1 for device in devices)
    image = image_of(request.image_at(PROVIDER, placement.region), arch, [device.name for device in devices], shared=shared)
    labels = labels_of(request.labels, LABELS, own=OWN)
    said += _about_market(request, placement)
    said += about(request, labels, LABELS)
    if isinstance(image, str):
        return None, (*said, refused(request, "image_id", PROVIDER, image, hint="name an image of yours or a family"))
    found = Group(
        group=group,
        placement=placement,
        request=request,
        image=image,
        arch=arch,
        labels=labels.written,
        first_rank=rank,
    )
    said += [*_about_disk(request, image, placement.instance_type), *_about_place(found)]
    return found, tuple(said)


def _about_market(request: ResourceRequest, placement: GroupPlacement) -> Iterator[Diagnostic]:
    why = not_sold(placement.instance_type, spot=placement.market is Market.SPOT)
    if why:
        hint = "choose the other `market`, another `instance_type`, or another `infra`"
        yield refused(request, "market", PROVIDER, why, hint=hint)


def _about_disk(request: ResourceRequest, image: Image, machine_type: str) -> Iterator[Diagnostic]:
    size, tier = disk_gb(request, image), request.origin.child("disk_tier")
    if size > MOST_GB:
        why = f"a root disk has at most {MOST_GB} GB, and {size} are asked for."
        yield refused(request, "disk_size", PROVIDER, why, hint="ask for less")
    elif machine_type in SHARED_CORE and size > SHARED_CORE_GB:
        why = (
            f"{machine_type} shares a core with others, and such machines have at most {SHARED_CORE_GB} GB of disks; {size} are asked"
            " for."
        )
        yield refused(request, "disk_size", PROVIDER, why, hint="ask for less, or for a machine with whole cores")
    if request.disk_tier == "ultra":
        why = "Hyperdisk Extreme is no boot disk, and the catalog has no price for pd-extreme."
        yield refused(request, "disk_tier", PROVIDER, why, hint="ask for `best`")
        return
    if request.disk_gb is not None and request.disk_gb < image.least_gb:
        yield disk_raised(request, PROVIDER, least_gb=image.least_gb, gigabytes=size)
    kind = root_disk(request, image, machine_type)["type"]
    if kind != priced_disk(request):
        detail = (
            f"`{tier}`: {machine_type} does not boot from {priced_disk(request)}, only from {', '.join(boot_disks(machine_type))}; it gets "
            f"{kind}. The price in the plan is that of {priced_disk(request)}, since the catalog knows no other."
        )
        yield warning("disk-of-another-kind", "The disk is of another kind than the one priced", detail, subject=tier)
    if image.own:
        yield own_image(request, PROVIDER, image.id, ", and no larger than the disk.")


def _about_place(group: Group) -> Iterator[Diagnostic]:
    request, placement = group.request, group.placement
    if placement.zone is None:
        zone = zone_of(placement.region, None)
        yield warning(
            "zone-not-known",
            "The catalog does not know in which zones the machine is",
            f"{placement.instance_type} is priced for all of {placement.region}, whose zones are not known either, and Google makes"
            f" machines in a zone. `{zone}` is taken; when there are none of these in it, Terraform says so when one is made.",
            hint="name the zone with `infra`, if you know it",
            subject=request.origin.child("infra"),
        )
    if request.network_tier == "best" and group.group.num_nodes > 1:
        yield from _about_network_tier(request, placement.instance_type, close=is_close(group))


def _about_network_tier(request: ResourceRequest, machine: str, *, close: bool) -> Iterator[Diagnostic]:
    """Of several nodes that want the best network and do not get it."""
    field = request.origin.child("network_tier")
    if not close:
        detail = f"`{field}` on `{PROVIDER}`: machines of the series {series(machine)} cannot be put close together."
        yield warning("ignored-here", "The target ignores this field", detail, subject=field)
    fast = fast_network(machine)
    if fast:
        detail = (
            f"`{field}` on `{PROVIDER}`: the GPUs of several {machine} reach each other by {fast}, which skyc does not set up. Each"
            f" node has one network card{', and they are put close together' if close else ''}; NCCL goes over TCP."
        )
        hint = "use one node, or a target whose fast network skyc sets up: AWS (EFA) or Azure (InfiniBand)"
        yield warning("no-fast-network", "The machines have no fast network", detail, subject=field, hint=hint)


def _about_network(own: ExistingNetwork | None, region: str) -> Iterator[Diagnostic]:
    if own is None:
        return
    for why in elsewhere(own, region):
        detail = f"`networks` in config.yaml, {PROVIDER}/{region}: {why}"
        yield error("bad-network", "A network in the configuration cannot be used", detail, span=own.span)
    if own.tags:
        yield warning(
            "firewall-not-ours",
            "Another firewall decides who reaches the machines",
            f"`tags` in config.yaml: the machines carry {', '.join(own.tags)}, and skyc makes no rule in {own.id}. Rules of yours must"
            " let them reach each other on every port, and SSH in from where you work. Ray's ports"
            f" ({', '.join(map(str, ports.RAY))}) must stay closed to all others: whoever reaches Ray runs commands."
            " `access.ssh_from` and the task's `ports` open nothing.",
            span=own.span,
        )


def _no_tpu(request: ResourceRequest, placement: GroupPlacement) -> Diagnostic:
    return error(
        "cannot-compile-yet",
        "The target is priced and cannot be compiled yet",
        f"`{request.origin.child('accelerators')}` on `{PROVIDER}`: {placement.instance_type} is a slice of TPUs, and skyc makes only"
        " machines of Compute Engine yet.",
        hint="ask for a GPU, or for another `infra`",
    )


def check_graph(graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
    """Against the provider's schema, and closed by default: inbound from an address only SSH and declared ports, never Ray's."""
    return (*check(graph, (load_schema("google"),), sources), *_opened(graph, sources))


def _opened(graph: ResourceGraph, sources: SourceMap | None) -> Iterator[Diagnostic]:
    yield from _left_open(graph)
    for node in graph.resources:
        if node.address.type != "google_compute_firewall" or node.arguments.get("direction") == "EGRESS":
            continue
        if "deny" in node.arguments:
            continue
        by_tag = node.arguments.get("source_tags") or node.arguments.get("source_service_accounts")
        # A rule that names no source at all means everybody; ranges beside tags widen it.
        ranges = node.arguments.get("source_ranges") or (() if by_tag else ("everybody",))
        allow = node.arguments.get("allow") or ()
        allowed = allow if isinstance(allow, tuple) else (allow,)
        if ranges and not all(map(_is_bounded, allowed)):
            span: Span | None = sources.find(node.origin) if sources is not None else None
            source = ", ".join(map(str, ranges)) if isinstance(ranges, tuple) else str(ranges)
            yield error(
                "port-of-ray",
                "A port that must stay closed",
                f"{node.address} lets {source} reach Ray, which runs commands for whoever does.",
                span=span,
                hint="have the task listen on another port; skyc reaches Ray itself through SSH",
            )


def _left_open(graph: ResourceGraph) -> Iterator[Diagnostic]:
    """In a network of somebody's the last word of our rules must be no."""
    rules = [node for node in graph.resources if node.address.type == "google_compute_firewall"]
    if not rules or any(node.address.type == "google_compute_network" for node in graph.resources):
        return
    allowing = [_priority(node) for node in rules if "allow" in node.arguments]
    denying = [_priority(node) for node in rules if _denies_all(node)]
    if not denying or max(allowing) >= min(denying) or min(denying) >= USUAL_PRIORITY:
        yield error(
            "port-of-ray",
            "A port that must stay closed",
            "No rule of the site's denies what the others do not allow, so the network's own may let somebody reach Ray, which runs"
            " commands for whoever does.",
        )


def _priority(rule: ResourceNode) -> int:
    return int(str(rule.arguments.get("priority", USUAL_PRIORITY)))


def _denies_all(rule: ResourceNode) -> bool:
    everything = (FrozenMap[Value]({"protocol": "all"}),)
    return rule.arguments.get("deny") == everything and rule.arguments.get("source_ranges") == ("0.0.0.0/0",)


def _is_bounded(allowed: Value) -> bool:
    """Whether an `allow` block opens TCP ports alone, and none of Ray's."""
    if not isinstance(allowed, FrozenMap) or allowed.get("protocol") != "tcp":
        return False
    opened = allowed.get("ports")
    return isinstance(opened, tuple) and bool(opened) and not any(ports.is_rays(ports.read(str(port))) for port in opened)
