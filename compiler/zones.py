"""Zones of machines that the catalog knows by region alone.

Contract: pure. Offers stay what the catalog has: they are not multiplied by zones, which would only make every choice slower. A zone is
taken where an offer becomes a candidate for people, a placement, or a fallback: the one that the task names, else the first of the
region's where a machine needs one, and the others after it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .diagnostics import Diagnostic, SourceMap, warning
from .ir import Catalog, CatalogPart, GroupPlacement, Infra, PlacementPlan, TaskGraph
from .ir.restriction import Restriction

NamedZones = tuple[str | None, ...]


def zones_for(
    part: CatalogPart, region: str, zone: str | None, infra: Infra, subnets: tuple[str, ...] | None = None
) -> NamedZones:
    """In which zones a machine can be that is offered in `zone`, or, where that is None, in the region: the first choice first. None among
    them: the provider chooses. infra: what the task asks for; subnets: the zones in which the user's own network has one."""
    if zone is not None:
        return (zone,)
    if infra.zone is not None:
        return (infra.zone,)
    known = part.zones.get(region, ()) if part.zone_needed else ()
    return tuple(name for name in known if subnets is None or name in subnets) or (None,)


def allowed_zones(
    catalog: Catalog, part: CatalogPart, region: str, zone: str | None, infra: Infra, restriction: Restriction
) -> NamedZones:
    """Those of them that a policy allows; all, where it allows none: that is said of the placement."""
    found = zones_for(part, region, zone, infra, catalog.zones.get(f"{part.provider}/{region}"))
    return tuple(name for name in found if restriction.place(part.provider, region, name)) or found


def unknown_zones(graph: TaskGraph, plan: PlacementPlan, catalog: Catalog, sources: SourceMap) -> Iterator[Diagnostic]:
    """A warning for each group in a zone of which the catalog does not say that such machines are there. Only after fallbacks that cannot
    be made have left the plan: it says where an apply goes on."""
    requests = {(task.id, group.name): group.requests for task in graph.tasks for group in task.groups}
    for item in plan.placements:
        if item.zone is None or _is_known(item, catalog):
            continue
        request = requests[item.task, item.group][item.request]
        named = request.infra.zone is not None
        yield warning(
            "zone-not-known",
            "The catalog does not know in which zones the machine is",
            f"{item.instance_type} is priced for all of {item.provider}/{item.region}, and"
            f" `{item.zone}` is {'what the task names' if named else 'tried first'}. {_then(item, plan)}",
            span=sources.find(request.origin.child("infra")),
            hint=None if named else "name the zone with `infra`, if you know it",
        )


def _then(item: GroupPlacement, plan: PlacementPlan) -> str:
    """What an apply does where there are no such machines in the zone, as a sentence."""
    mine = [other for other in plan.fallbacks if (other.task, other.group) == (item.task, item.group)]
    same = (item.provider, item.region, item.instance_type, item.market)
    zones = [str(o.zone) for o in mine if (o.provider, o.region, o.instance_type, o.market) == same]
    if zones:
        return f"Where there are none, an apply goes on with {', '.join(dict.fromkeys(zones))}."
    return f"Where there are none, an apply {'goes on with the next fallback' if mine else 'fails'}."


def _is_known(item: GroupPlacement, catalog: Catalog) -> bool:
    """Whether the catalog offers the machine in that zone itself."""
    import numpy

    part = catalog.part(item.provider)
    if item.region not in part.zones:
        return True
    offers = part.offers
    kinds = [row for row, name in enumerate(offers.types.names) if name == item.instance_type]
    places = [row for row, place in enumerate(offers.places) if (place.region, place.zone) == (item.region, item.zone)]
    return bool((numpy.isin(offers.type, kinds) & numpy.isin(offers.place, places)).any())
