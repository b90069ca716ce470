"""Lower a task's placements in one region of Azure to the Terraform a platform engineer would have written.

Contract: pure, and no look-ups: nothing here is a data source. The three tables name every field of a ResourceRequest exactly once
(`check_tables` proves it). Names, ranges and the head's address follow from the deployment and the site, so growing a group changes
nothing that was there. `network`, `machines`, `images`, `sizes` and `storage` say what is emitted and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    holds_storage,
)
from ..base import ExistingNetwork, LowerContext
from ..rented import lowering, ports
from ..rented.buckets import without_rights
from ..rented.labels import about, labels_of
from ..rented.networks import problems
from ..rented.remarks import disk_raised, own_image, refused
from ..schemas import check
from ..schemas.load import load_schema
from ..tables import Unsupported, gaps, unclassified
from .buckets import SCHEME
from .facts import PROVIDER
from .images import UBUNTU, Image, image_of
from .labels import LABELS
from .machines import (
    DISK_TYPES,
    MOST_FIRST_GENERATION_GB,
    MOST_GB,
    Group,
    Shared,
    disk_gb,
    is_close,
    is_joined,
    joins,
    machines,
    tier_of,
)
from .network import FORM, SUBNET, network, strangers
from .resources import Site, own_tags, requirement
from .sizes import Size, has_infiniband, sells_spot, size_of
from .storage import identity
from .storage import refused as refused_places

UNSUPPORTED: FrozenMap[Unsupported] = FrozenMap()
"""What single values cannot do is said where they are read: container images, odd labels, disks beyond Azure's limits."""

MEMBERS = "azurerm_application_security_group"
"""What machines in a network of the user's are known by."""


def check_tables() -> tuple[str, ...]:
    """Fields that are not exactly once in a table. Empty, or we have a bug."""
    return unclassified(lowering.SUPPORTED, lowering.LOWERED, UNSUPPORTED)


def lower(
    task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """One site's graph with the output `nodes`, head first; None with the reasons when a request cannot be met."""
    diagnostics = [
        *refused_places(task, context),
        *without_rights(task, SCHEME, PROVIDER),
        *ports.said_of_ssh(context.access.ssh_from, PROVIDER),
    ]
    groups, said = lowering.groups_at(
        task, placements, context, lambda group, placement, rank: _group(group, placement, context, rank)
    )
    diagnostics += said
    region, own = placements[0].region, context.network
    diagnostics += problems(own, FORM, PROVIDER, region, [placement.zone for placement in placements])
    diagnostics += [_stranger(own, why) for why in strangers(own)] if own is not None else []
    if has_errors(diagnostics):
        return None, tuple(dict.fromkeys(diagnostics))
    site = Site(context=context, region=region, origin=task.groups[0].requests[0].origin)
    resources, nodes = _resources(site, task, groups)
    graph = lowering.site_graph(context, PROVIDER, requirement(site), resources, nodes)
    return graph, tuple(dict.fromkeys(diagnostics))


def _resources(site: Site, task: Task, groups: list[Group]) -> tuple[list[ResourceNode], list[Value]]:
    opened = {range_: group.request.origin.child("ports") for group in groups for range_ in ports.declared((group.request,))}
    made = network(site, sum(group.group.num_nodes for group in groups), sorted(opened.items(), key=lambda item: item[0]))
    rights = identity(site, task)
    shared = Shared(
        task=task,
        network=made,
        rights=rights,
        head_interface=ResourceAddress("azurerm_network_interface", f"{groups[0].group.name}-0"),
    )
    resources = [site.group(), *made.resources, *rights]
    nodes: list[Value] = []
    for group in groups:
        for resource, output in machines(site, group, shared):
            resources.append(resource)
            nodes += [output] if output is not None else []
    return resources, nodes


def _group(
    group: NodeGroup, placement: GroupPlacement, context: LowerContext, rank: int
) -> tuple[Group | None, tuple[Diagnostic, ...]]:
    request = group.requests[placement.request]
    size = size_of(placement.instance_type)
    image = image_of(
        request.image_at(PROVIDER, placement.region),
        size,
        [device.name for device in placement.shape.accelerators],
        named=request.instance_type is not None,
        infiniband=joins(group, request, placement),
    )
    labels = labels_of(request.labels, LABELS, own=len(own_tags(context)))
    said = [*gaps(request, UNSUPPORTED, PROVIDER), *ports.about(request), *about(request, labels, LABELS)]
    if isinstance(image, str):
        said.append(refused(request, "image_id", PROVIDER, image, hint=_other_image(request, size)))
        return None, tuple(said)
    said += _about_disk(request, size, image)
    if placement.market is Market.SPOT and not sells_spot(size.name):
        why = f"{size.name} is never a spot machine: Azure sells no B size and no promotion so."
        said.append(
            refused(request, "market", PROVIDER, why, hint="choose another `instance_type`, or more `cpus`, or no spot machine")
        )
    if image.own:
        said.append(_own_image(request, size, image))
    found = Group(
        group=group,
        placement=placement,
        request=request,
        image=image,
        size=size,
        labels=labels.written,
        first_rank=rank,
    )
    said += _about_infiniband(found)
    return found, tuple(said)


def _about_infiniband(group: Group) -> Iterator[Diagnostic]:
    """Where a size has it, and nodes that want it would not get it."""
    name, spot = group.size.name, group.placement.market is Market.SPOT
    if not is_close(group) or is_joined(group) or not has_infiniband(name):
        return
    lacks = "takes no spot machines" if spot else "has no zone"
    why = f"is that of an availability set, which {lacks}"
    hint = "leave out `use_spot`" if spot else "name the region alone in `infra`"
    field = group.request.origin.child("network_tier")
    detail = f"`{field}` on `{PROVIDER}`: the InfiniBand of {name} {why}. The nodes may talk over Ethernet alone."
    yield warning("no-fast-network", "The machines have no fast network", detail, subject=field, hint=hint)


def _other_image(request: ResourceRequest, size: Size) -> str:
    if request.image_id is None or not size.confidential:
        return "name an image, as `publisher:offer:sku:version` or by its id"
    made = UBUNTU.format(sku="cvm")
    return f"take another size, or an image made for it, such as `{made}`; with an image of a gallery, name the `instance_type` too"


def _stranger(own: ExistingNetwork, why: str) -> Diagnostic:
    detail = f"`networks` in config.yaml: {why}"
    return error("bad-network", "A network in the configuration cannot be used", detail, span=own.span)


def _about_disk(request: ResourceRequest, size: Size, image: Image) -> Iterator[Diagnostic]:
    tier = tier_of(request)
    if tier not in DISK_TYPES:
        why = "An Ultra disk is a data disk at Azure, and skyc's root disk holds everything."
        yield refused(request, "disk_tier", PROVIDER, why, hint="ask for `disk_tier: best`, which is Premium SSD")
        return
    if DISK_TYPES[tier].startswith("Premium") and not size.premium:
        why = f"{size.name} takes no Premium SSD; sizes with an `s` among the letters after their number do."
        yield refused(
            request, "disk_tier", PROVIDER, why, hint="ask for `disk_tier: medium`, or for such a size with `instance_type`"
        )
    gigabytes = disk_gb(request, image)
    most = MOST_FIRST_GENERATION_GB if size.generation == 1 else MOST_GB
    if gigabytes > most:
        why = f"a root disk of {size.name} has at most {most} GB, and {gigabytes} are asked for."
        yield refused(request, "disk_size", PROVIDER, why, hint="ask for less, or for another machine")
    if request.disk_gb is not None and request.disk_gb < image.least_gb and not image.own:
        yield disk_raised(request, PROVIDER, least_gb=image.least_gb, gigabytes=gigabytes)


def _own_image(request: ResourceRequest, size: Size, image: Image) -> Diagnostic:
    boots = "It boots without secure boot, which not every image bears."
    if size.confidential:
        boots = f"{size.name} is a confidential machine: it boots with secure boot and a TPM, and only an image made for that."
    more = f", for {size.arch}, of a generation that {size.name} boots, and without a purchase plan. {boots}"
    return own_image(request, PROVIDER, image.name, more)


def check_graph(graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
    """Against the provider's schema, and closed by default: inbound from outside the subnet only SSH and declared ports, never
    Ray's, and everything else denied, on every interface."""
    return (*check(graph, (load_schema("azurerm"),), sources), *_opened(graph, sources), *_without_firewall(graph))


def _without_firewall(graph: ResourceGraph) -> Iterator[Diagnostic]:
    """In a network of the user's the subnet's firewall, if it has any, is not ours."""
    guarded = {
        node.arguments.get("network_interface_id")
        for node in graph.resources
        if node.address.type == "azurerm_network_interface_security_group_association"
    }
    if any(node.address.type == "azurerm_subnet_network_security_group_association" for node in graph.resources):
        return
    for node in graph.resources:
        if node.address.type == "azurerm_network_interface" and Ref(node.address, "id") not in guarded:
            yield _port_of_ray(f"{node.address} has no firewall of the site's, so whoever is in the network reaches Ray.", None)


def _opened(graph: ResourceGraph, sources: SourceMap | None) -> Iterator[Diagnostic]:
    closed = False
    inside = {str(SUBNET), *(str(Ref(node.address, "id")) for node in graph.resources if node.address.type == MEMBERS)}
    for node in graph.resources:
        span = sources.find(node.origin) if sources is not None else None
        for rule in _inbound(node):
            source = _source(rule)
            if rule.get("access") == "Deny":
                closed = closed or (source, rule.get("protocol"), rule.get("destination_port_range")) == ("*", "*", "*")
            elif source not in inside and (rule.get("protocol") != "Tcp" or any(map(_reaches_ray, _port_texts(rule)))):
                yield _port_of_ray(f"{node.address} lets {source} reach Ray, which runs commands for whoever does.", span)
    if not closed and not holds_storage(graph.site):
        yield _port_of_ray("No rule denies what none allows, so whatever joins the network reaches Ray.", None)


def _inbound(node: ResourceNode) -> Iterator[Mapping[str, Value]]:
    """The inbound rules of a resource, its own or those written inside a group."""
    rules: tuple[Value, ...] = ()
    if node.address.type == "azurerm_network_security_rule":
        rules = (node.arguments,)
    elif node.address.type == "azurerm_network_security_group":
        inner = node.arguments.get("security_rule")
        rules = inner if isinstance(inner, tuple) else (inner,)
    for rule in rules:
        if isinstance(rule, FrozenMap) and rule.get("direction") == "Inbound":
            yield rule


def _source(rule: Mapping[str, Value]) -> str:
    several = rule.get("source_address_prefixes") or rule.get("source_application_security_group_ids")
    return ", ".join(map(str, several)) if isinstance(several, tuple) else str(rule.get("source_address_prefix"))


def _port_texts(rule: Mapping[str, Value]) -> tuple[str, ...]:
    several = rule.get("destination_port_ranges")
    return tuple(map(str, several)) if isinstance(several, tuple) else (str(rule.get("destination_port_range")),)


def _reaches_ray(text: str) -> bool:
    """Also what is no port or range: `*` is everything."""
    try:
        return ports.is_rays(ports.read(text))
    except ValueError:
        return True


def _port_of_ray(detail: str, span: Span | None) -> Diagnostic:
    return error(
        "port-of-ray",
        "A port that must stay closed",
        detail,
        span=span,
        hint="have the task listen on another port; skyc reaches Ray itself through SSH",
    )
