"""Regions an account has only where it asked for them: which are closed to a compilation, and what it passes over for that.

Contract: pure. Which regions have to be asked for a target says (`Provider.on_request`), and which of them the user's accounts have is an
option of the compilation; no credentials are read. A task that names such a region, a zone of it or an image for it is taken at its word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from ..providers.base import Capability, Provider
from .diagnostics import Diagnostic, Severity
from .ir import CandidateSet, Market, PlacementPlan, ResourceRequest, SpecPath, Task, TaskGraph, decimal_text
from .ir.catalog import UNKNOWN, CatalogPart
from .ir.restriction import UNRESTRICTED, Restriction
from .makeable import said_of
from .match import Filter, Size, codes_of

SHOWN = 3
LOOKED_AT = 20
"""Different requests that are asked what they pass over. Each costs a pass over the catalog, and the note shows three."""


def closed_regions(parts: Iterable[CatalogPart], providers: Mapping[str, Provider], opened: Collection[str]) -> tuple[str, ...]:
    """`<provider>/<region>`, sorted: the catalog's regions on request that are not among those the accounts have."""
    found = {
        f"{part.provider}/{place.region}"
        for part in parts
        if part.provider in providers
        for place in part.offers.places
        if providers[part.provider].on_request(place.region)
    }
    return tuple(sorted(found - set(opened)))


def places_of_data(graph: TaskGraph, parts: Iterable[CatalogPart]) -> Iterator[str]:
    """`<provider>/<region>` of every Storage whose place is named or that stands: an account that keeps data in a region has it."""
    known = [part.provider for part in parts]
    for infra in {storage.infra for task in graph.tasks for storage in task.storages if storage.infra.region is not None}:
        yield from (f"{name}/{infra.region}" for name in known if infra.provider in (None, name))


def passed_over(
    graph: TaskGraph, found: CandidateSet, plan: PlacementPlan, capabilities: Mapping[str, frozenset[Capability]]
) -> tuple[Diagnostic, ...]:
    """A note of cheaper machines that are left out because their region is closed, each with what was taken; nothing of nothing.

    Of tasks that go where machines are cheapest: where data, other groups or affinities have a say, one machine's price decides nothing.
    """
    touched = {(row.task, row.group) for row in found.rejections if row.reason == Filter.CLOSED.reason}
    tied = {affinity.task for task in graph.tasks for affinity in task.affinities}
    chosen = {(item.task, item.group): item for item in plan.placements}
    lines: list[str] = []
    places: dict[str, list[str]] = {}
    asked: set[object] = set()
    for task in graph.tasks:
        if task.id in tied or _tied(task):
            continue
        for group in task.groups:
            item = chosen[task.id, group.name]
            size = Size(task_nodes=task.num_nodes, group_nodes=group.num_nodes)
            request = group.requests[item.request]
            key = (dataclasses.replace(request, origin=SpecPath()), size)
            if (task.id, group.name) not in touched or key in asked or len(asked) == LOOKED_AT or len(lines) == SHOWN:
                continue
            asked.add(key)
            restriction = found.restrictions.get(task.id, UNRESTRICTED)
            best = _cheapest_behind(request, found, size, capabilities, restriction)
            if best is None:
                continue
            offering = found.catalog.parts[best.part].offering(best.row, Market.SPOT if best.spot else Market.ON_DEMAND)
            assert offering.hourly is not None, "only known prices are compared"
            if item.hourly is not None and offering.hourly >= item.hourly:
                continue
            place = "/".join(step for step in (offering.provider, offering.region, offering.zone) if step)
            lines.append(
                f"{place} {offering.instance_type} {offering.market.value} at ${decimal_text(offering.hourly)} per hour, where"
                f" {said_of(item)} is taken. {best.offers:,} such offer{'s' if best.offers != 1 else ''} left out."
            )
            places.setdefault(offering.provider, []).append(offering.region)
    if not lines:
        return ()
    # With those that are admitted already: the line takes the place of the one there is.
    for place in found.catalog.opened:
        name, _, region = place.partition("/")
        if name in places:
            places[name].append(region)
    line = ", ".join(f"{name}: [{', '.join(sorted(set(regions)))}]" for name, regions in places.items())
    note = Diagnostic(
        severity=Severity.NOTE,
        # Written out, so that the documentation's test finds it.
        slug="region-not-enabled",
        summary="A cheaper machine is in a region that accounts have to ask for",
        detail="\n".join(lines),
        hint=f"if the account has it, write `regions: {{{line}}}` in config.yaml, or name the region with `infra`",
    )
    return (note,)


def _tied(task: Task) -> bool:
    data = task.storages or task.inputs or task.outputs or any(mount.storage is not None for mount in task.file_mounts)
    return bool(data or task.affinities or len(task.groups) > 1)


class _Behind(NamedTuple):
    """What closed regions alone keep out: how many offers, and the cheapest, by its part, its row and whether it is meant as spot."""

    offers: int
    part: int
    row: int
    spot: bool


def _cheapest_behind(
    request: ResourceRequest,
    found: CandidateSet,
    size: Size,
    capabilities: Mapping[str, frozenset[Capability]],
    restriction: Restriction,
) -> _Behind | None:
    """None where they alone keep out no offer with a known price. The first of equals is the cheapest."""
    import numpy

    best: tuple[int, int, int, bool] | None = None
    count = 0
    for codes in codes_of(request, found.catalog, size, capabilities, restriction, found.images):
        offers = found.catalog.parts[codes.part].offers
        for spot, values, prices in ((False, codes.on_demand, offers.on_demand), (True, codes.spot, offers.spot)):
            rows = numpy.flatnonzero(values == 1 << Filter.CLOSED)
            count += len(rows)
            rows = rows[prices[rows] != UNKNOWN]
            if len(rows):
                row = int(rows[prices[rows].argmin()])
                if best is None or prices[row] < best[0]:
                    best = int(prices[row]), codes.part, row, spot
    return None if best is None else _Behind(count, *best[1:])
