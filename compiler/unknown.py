"""unknown: names in a request that nothing has, said as such, each with what was meant and where one finds it.

Contract: pure, and asked only for requests that nothing meets: errors where their group has no candidates, warnings where others of it
have. A name is wrong for sure (another region's zone, another cloud's machine, no form that zones have) or only unknown to the catalog,
which may be older than the name: the two are worded apart. Where a catalog has no zones for a region it cannot say that one is unknown,
and nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..providers.base import ZoneNames
from .diagnostics import Diagnostic, SourceMap, error
from .ir import Catalog, CatalogPart, Infra, NodeGroup, ResourceRequest
from .ir.accelerators import asked, canonical, close
from .ir.catalog import Place
from .parse.nearest import nearest
from .shelves import inside

SHOWN = 6
PLACE_UNKNOWN = "A region or zone is not known"
LISTED = 12
"""So few known names are all said where none is close."""
DECLARED = "now"
"""`CatalogPart.as_of` of machines that no refresh asks for."""
SAMPLE = 10
"""A catalog that offers less than one in so many of the machine types it knows is a sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What is wrong with a name, what to write, and commands that tell more."""

    why: str
    hint: str | None = None
    commands: tuple[str, ...] = ()
    certain: bool = True
    """False: the catalog does not have it, which may be older than the name."""


def unknown_names(
    requests: Iterable[ResourceRequest],
    catalog: Catalog,
    names: Mapping[str, ZoneNames],
    sources: SourceMap,
    say: Callable[..., Diagnostic] = error,
) -> tuple[Diagnostic, ...]:
    """What there is to say of names in requests; nothing where all are known. names: how each provider calls its zones. say: `warning`
    for requests beside which the group has others that can be met."""
    return tuple(dict.fromkeys(said for request in requests for said in _of_request(request, catalog, names, sources, say)))


def _of_request(
    request: ResourceRequest,
    catalog: Catalog,
    names: Mapping[str, ZoneNames],
    sources: SourceMap,
    say: Callable[..., Diagnostic],
) -> Iterator[Diagnostic]:
    infra = request.infra
    parts = [part for part in catalog.parts if infra.provider in (None, part.provider)]

    def complain(slug: str, summary: str, found: Unknown, field: str) -> Diagnostic:
        span = sources.find(request.origin.child(field))
        return say(slug, summary, found.why, span=span, hint=found.hint, commands=found.commands)

    if not parts and catalog.parts:
        yield complain("unknown-target", "There is no such target", _target(infra, catalog), "infra")
        return
    place = None if infra.region is None else unknown_region(infra.region, parts, names, catalog.parts)
    field = "region"
    if place is None and infra.zone is not None:
        place, field = unknown_zone(infra.zone, infra.region, parts, names), "zone"
    if place is not None:
        yield complain("unknown-place", PLACE_UNKNOWN, place, field)
    device = _device(request, catalog)
    if device is not None:
        yield complain("unknown-accelerator", "An accelerator is not known", device, "accelerators")
    if request.instance_type is None:
        return
    machine = _machine(request.instance_type, parts, catalog.parts)
    if machine is not None:
        yield complain("unknown-machine", "A machine type is not known", machine, "instance_type")
    elif place is None and (elsewhere := _elsewhere(request, parts)) is not None:
        yield complain("machine-elsewhere", "The machine type is not sold there", elsewhere, "instance_type")


def _target(infra: Infra, catalog: Catalog) -> Unknown:
    known = [part.provider for part in catalog.parts]
    return Unknown(why=f"`{infra.provider}` is none of {_all(known)}.", hint=_meant(infra.provider or "", known))


def unknown_region(
    region: str, parts: Sequence[CatalogPart], names: Mapping[str, ZoneNames], all_parts: Iterable[CatalogPart] = ()
) -> Unknown | None:
    """What is wrong with a region's name; None where one of the parts has it. all_parts: where else it may be one."""
    known = {place.region for part in parts for place in part.offers.places}
    if not known or region in known:
        return None
    owner = _owner(region, parts, names)
    if owner is not None:
        return Unknown(why=f"`{region}` is no region: it is a zone of {owner}.", hint=f"write `infra: {owner}/{region}`")
    shuffled = next(_names_of_accounts(region, None, parts, names), None)
    if shuffled is not None:
        return shuffled
    others = [part.provider for part in all_parts if any(place.region == region for place in part.offers.places)]
    if others:
        return Unknown(
            why=f"`{region}` is no region of {_parts(parts)}; it is one of `{others[0]}`.",
            hint=f"write `infra: {others[0]}/{region}`",
        )
    return _newer(f"region `{region}`", "", parts, region, sorted(known))


def unknown_zone(zone: str, region: str | None, parts: Sequence[CatalogPart], names: Mapping[str, ZoneNames]) -> Unknown | None:
    """What is wrong with a zone's name in a region that is known (None: in any); None where nothing is, or nobody here can say."""
    here = [part for part in parts if any(region in (None, place.region) for place in part.offers.places)]
    zones = [zones_of(part, region) for part in here]
    known = sorted({name for names_of_part, _ in zones for name in names_of_part})
    if not here or zone in known:
        return None
    provider = here[0].provider
    said = names.get(provider) if region is not None else None
    if said is not None and region in said.without:
        why = f"`{zone}` cannot be a zone of {provider}/{region}: {provider}/{region} has no zones."
        return Unknown(why=why, hint=f"write `infra: {provider}/{region}`")
    fits = said is not None and _fits(said.form, region or "", zone)
    # Without a region a name of the right form may be a zone of any.
    owner = _owner(zone, parts, names if region is not None and not fits else {})
    if owner is not None:
        return Unknown(
            why=f"`{zone}` is a zone of {owner}, not of {provider}/{region}.",
            hint=f"write `infra: {owner}/{zone}`, or `infra: {provider}/{region}` for any of its zones",
        )
    shuffled = next(_names_of_accounts(zone, region, parts, names), None)
    if shuffled is not None:
        return shuffled
    if said is not None and not fits:
        why = f"`{zone}` is no zone of {provider}/{region}. {said.words.format(region=region)}{_listed(known, ' The catalog has ')}"
        return Unknown(why=why, hint=_meant(zone, known), commands=(said.show.format(region=region),))
    if not known or not all(whole for _, whole in zones):
        return None
    return _newer(f"zone `{zone}`", "" if region is None else f" in {region}", parts, zone, known)


def zones_of(part: CatalogPart, region: str | None) -> tuple[tuple[str, ...], bool]:
    """The zones of a region (None: of all) that a catalog knows, sorted, and whether it would know of others."""
    here = [place.zone for place in part.offers.places if region in (None, place.region)]
    listed = [zone for home, zones in part.zones.items() if region in (None, home) for zone in zones]
    return tuple(sorted({*listed, *(zone for zone in here if zone is not None)})), bool(listed) or None not in here


def _within(infra: Infra, part: CatalogPart, place: Place) -> bool:
    return inside(infra, part.provider, place.region, place.zone, part.zones.get(place.region, ()))


def _owner(zone: str, parts: Iterable[CatalogPart], names: Mapping[str, ZoneNames]) -> str | None:
    """The region that a zone is of, by the catalog or by how its provider calls zones."""
    for part in parts:
        said = names.get(part.provider)
        form, without = ("", frozenset[str]()) if said is None else (said.form, said.without)
        for place in part.offers.places:
            like = zone.startswith(f"{place.region}-") and place.region not in without
            if place.zone == zone or (like and _fits(form, place.region, zone)):
                return f"{part.provider}/{place.region}"
    return None


def _names_of_accounts(
    name: str, region: str | None, parts: Iterable[CatalogPart], names: Mapping[str, ZoneNames]
) -> Iterator[Unknown]:
    """The name as one that means another zone in every account."""
    for part in parts:
        said = names.get(part.provider)
        if said is None or said.of_account is None:
            continue
        for home in sorted({place.region for place in part.offers.places}):
            if _fits(said.of_account, home, name):
                zones, _ = zones_of(part, home)
                where = f"{part.provider}/{home}"
                lost = "" if region in (None, home) else f", not of {region}"
                yield Unknown(
                    why=f"`{name}` names a zone of {home}{lost}. {said.words.format(region=home)}{_listed(zones, f' {where} has ')}",
                    hint=f"write `infra: {where}` for any of its zones"
                    + (f", or one as `infra: {where}/{zones[0]}`" if zones else ""),
                    commands=(said.show.format(region=home),),
                )


def _device(request: ResourceRequest, catalog: Catalog) -> Unknown | None:
    """An accelerator that nothing has under any spelling."""
    sold = {name for part in catalog.parts for name in part.offers.types.accelerators}
    for wanted in request.accelerators or ():
        name, _ = asked(wanted.name, wanted.count)
        if canonical(name) is None and name not in sold:
            near = close(name)
            hint = f"did you mean `{near}`?" if near else "`skyc offers` lists what there is"
            return Unknown(why=f"No target has an accelerator called `{wanted.name}`.", hint=hint)
    return None


def _machine(name: str, parts: Sequence[CatalogPart], all_parts: Iterable[CatalogPart]) -> Unknown | None:
    """A machine type that is not in the catalog where it is asked for."""
    if not parts or any(name in part.offers.types.names for part in parts):
        return None
    others = [part.provider for part in all_parts if name in part.offers.types.names]
    if others:
        return Unknown(
            why=f"`{name}` is no machine type of {_parts(parts)}; it is one of `{others[0]}`.",
            hint=f"write `infra: {others[0]}`, or name another machine type",
        )
    known = {known for part in parts for known in part.offers.types.names}
    return _newer(f"machine type `{name}`", "", parts, name, sorted(known))


def _elsewhere(request: ResourceRequest, parts: Iterable[CatalogPart]) -> Unknown | None:
    """A machine type that is known, and not sold where it is asked for."""
    name, infra = request.instance_type or "", request.infra
    holders = [part for part in parts if name in part.offers.types.names]
    sold = [(part, place) for part in holders for place in _sold_at(part, name)]
    if any(_within(infra, part, place) for part, place in sold):
        return None
    if not sold:
        why = f"The catalog knows {name} of {_parts(holders)} without a region and a price, so it offers none."
        return Unknown(why=why, hint="name another machine type, or ask the cloud", commands=_refresh(holders))
    inner = [
        f"{part.provider}/{place.region}/{place.zone}" for part, place in sold if place.region == infra.region and place.zone
    ]
    places = inner or list(dict.fromkeys(f"{part.provider}/{place.region}" for part, place in sold))
    if not inner and any(place.region == infra.region for _, place in sold):
        # In which zones of the region it is sold the catalog does not know.
        return None
    return Unknown(
        why=f"The catalog has {name} in {_some(places)}, and not in {infra}.",
        hint=f"write `infra: {places[0]}`, or name another machine type",
        commands=_refresh(holders),
    )


def _sold_at(part: CatalogPart, name: str) -> list[Place]:
    import numpy

    offers = part.offers
    kinds = [row for row, known in enumerate(offers.types.names) if known == name]
    return [offers.places[row] for row in numpy.unique(offers.place[numpy.isin(offers.type, kinds)]).tolist()]


def thin(group: NodeGroup, catalog: Catalog) -> Iterator[Unknown]:
    """Where the catalog itself is too thin for what a group asks of one target."""
    for infra in dict.fromkeys(request.infra for request in group.requests):
        for part in catalog.parts:
            if part.provider == infra.provider:
                yield from _sample(part)
                yield from _without_zones(part, infra)


def _sample(part: CatalogPart) -> Iterator[Unknown]:
    import numpy

    types = part.offers.types.names
    offered = [types[row] for row in numpy.unique(part.offers.type).tolist()]
    if len(offered) * SAMPLE < len(types):
        yield Unknown(
            why=f"The catalog knows {len(types)} machine types of `{part.provider}` and offers {_some(offered)} alone: where"
            " the others are sold, and for how much, it does not know. A refresh asks the cloud.",
            commands=_refresh([part]),
        )


def _without_zones(part: CatalogPart, infra: Infra) -> Iterator[Unknown]:
    places = [place for place in part.offers.places if place.region == infra.region]
    if infra.zone is None or any(_within(infra, part, place) for place in places):
        return
    where, (zones, _) = f"{part.provider}/{infra.region}", zones_of(part, infra.region)
    if zones:
        yield Unknown(why=f"The catalog has no offer in `{infra.zone}`; of {where} it knows the zones {_some(zones)}.")
    elif places:
        yield Unknown(
            why=f"The catalog knows no zones of {where}, so it has no offer in `{infra.zone}`: write `infra: {where}`, and the cloud"
            " chooses the zone."
        )


def _newer(what: str, scope: str, parts: Sequence[CatalogPart], word: str, known: Sequence[str]) -> Unknown:
    """For a name that nobody here knows, and that may be younger than the catalog."""
    refreshed = _refresh(parts)
    later = " If it is newer than the catalog, a refresh finds it." if refreshed else ""
    near = _meant(word, known)
    listed = f" It knows {_all(known)}." if not near and len(known) <= LISTED else ""
    only = f" --cloud {parts[0].provider}" if len(parts) == 1 else ""
    why = f"The catalog knows no {what} of {_parts(parts)}{scope}.{listed}{later}"
    return Unknown(why=why, hint=near or f"`skyc offers{only}` lists what there is", commands=refreshed, certain=False)


def _refresh(parts: Sequence[CatalogPart]) -> tuple[str, ...]:
    """The command, where it is one cloud's catalog."""
    one = len(parts) == 1 and parts[0].as_of != DECLARED
    return (f"skyc catalog refresh --cloud {parts[0].provider}",) if one else ()


def _fits(form: str, region: str, name: str) -> bool:
    return re.fullmatch(form.replace("{region}", re.escape(region)), name) is not None


def _meant(word: str, known: Collection[str]) -> str | None:
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near else None


def _parts(parts: Sequence[CatalogPart]) -> str:
    return f"`{parts[0].provider}`" if len(parts) == 1 else "any target"


def _listed(names: Sequence[str], lead: str) -> str:
    return f"{lead}{_some(names)}." if names else ""


def _some(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(names) - SHOWN
    if more > 1:
        return f"{', '.join(names[:SHOWN])} and {more} more"
    return _all(names)


def _all(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
