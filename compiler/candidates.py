"""candidates: every offer that meets a group's requirements, and why the others do not.

Contract: `candidates(graph, catalog)` is pure. Every filter is applied to every offer, so a rejection counts each offer once per
reason. Equal requests are matched once. Output is in the written order: task, group, request, provider, region, zone, type, market.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..providers.base import Capability, ZoneNames
from .conflict import Conflict, conflict
from .diagnostics import Diagnostic, SourceMap, error
from .ir import (
    NO_IMAGES,
    Candidate,
    CandidateList,
    CandidateReport,
    CandidateSet,
    Catalog,
    FrozenMap,
    ImagePlaces,
    Market,
    NodeGroup,
    Options,
    Rejection,
    ResourceRequest,
    SpecPath,
    Task,
    TaskGraph,
    TaskId,
    decimal_text,
)
from .ir.catalog import UNKNOWN
from .ir.restriction import UNRESTRICTED, Restriction
from .match import Filter, Match, Size, match, requirement_field
from .node_shape import node_shape
from .sentences import sentence
from .shelves import Shelves
from .unknown import thin, unknown_names
from .zones import allowed_zones

LISTED = 20
"""How many candidates of a group are written out for people."""


def candidates(
    graph: TaskGraph,
    catalog: Catalog,
    sources: SourceMap,
    capabilities: Mapping[str, frozenset[Capability]] | None = None,
    restrictions: Mapping[TaskId, Restriction] | None = None,
    images: ImagePlaces = NO_IMAGES,
    zone_names: Mapping[str, ZoneNames] | None = None,
) -> tuple[CandidateSet, tuple[Diagnostic, ...]]:
    """All candidates of all groups. A group without any is an error that names what stands in the way.

    capabilities: what each provider can do; one that is not listed can do everything. restrictions: what a policy leaves of the offers,
    per task. images: where machines can start from the images that requests name (`images.image_places`). zone_names: how providers call
    their zones, for what is said of a name that nothing has.
    """
    can = capabilities or {}
    barred = {name: restriction for name, restriction in (restrictions or {}).items() if restriction.bars}
    known: dict[tuple[ResourceRequest, Size, Restriction], Match] = {}
    shelves = Shelves(catalog, images)
    options: list[Options] = []
    rejections: list[Rejection] = []
    diagnostics: list[Diagnostic] = []
    for task in graph.tasks:
        restriction = barred.get(task.id, UNRESTRICTED)
        for group in task.groups:
            size = Size(task_nodes=task.num_nodes, group_nodes=group.num_nodes)
            matches: list[Match] = []
            for request in group.requests:
                # Where a request was written does not change what meets it.
                key = (dataclasses.replace(request, origin=SpecPath()), size, restriction)
                if key not in known:
                    known[key] = match(request, catalog, size, can, shelves, restriction)
                matches.append(known[key])
            options.append(_options(task, group, matches))
            counted = _rejections(task, group, matches, catalog, size, restriction)
            rejections += counted
            if not len(options[-1]):
                diagnostics += unknown_names(group, catalog, zone_names or {}, sources) or (
                    _nothing_fits(group, counted, catalog, size, can, sources, restriction, images),
                )
    found = CandidateSet(
        catalog=catalog,
        options=tuple(options),
        rejections=tuple(rejections),
        restrictions=FrozenMap(barred.items()),
        images=images,
    )
    return found, tuple(diagnostics)


def _options(task: Task, group: NodeGroup, matches: list[Match]) -> Options:
    """The matches of a group's requests, one after the other. With one request its columns are shared, not copied."""
    import numpy

    if len(matches) == 1:
        (only,) = matches
        # A column of one number takes no room.
        zeros = numpy.broadcast_to(numpy.int16(0), len(only.row))
        return Options(
            task=task.id, group=group.name, request=zeros, part=only.part, row=only.row, spot=only.spot, hourly=only.hourly
        )
    return Options(
        task=task.id,
        group=group.name,
        request=numpy.repeat(numpy.arange(len(matches), dtype=numpy.int16), [len(found.row) for found in matches]),
        part=numpy.concatenate([found.part for found in matches]),
        row=numpy.concatenate([found.row for found in matches]),
        spot=numpy.concatenate([found.spot for found in matches]),
        hourly=numpy.concatenate([found.hourly for found in matches]),
    )


def _rejections(
    task: Task, group: NodeGroup, matches: list[Match], catalog: Catalog, size: Size, restriction: Restriction
) -> list[Rejection]:
    rows: dict[str, Rejection] = {}
    for request, found in zip(group.requests, matches, strict=True):
        for rule, count in found.counts.items():
            row = rows.get(rule.reason)
            if row is not None:
                rows[rule.reason] = dataclasses.replace(row, count=row.count + count)
                continue
            part, offer, spot = found.examples[rule]
            rows[rule.reason] = Rejection(
                task=task.id,
                group=group.name,
                reason=rule.reason,
                detail=sentence(rule, request, catalog.parts[part], offer, spot, size, restriction),
                requirement=_requirement(rule, request, group),
                count=count,
            )
    return sorted(rows.values(), key=lambda row: (-row.count, row.reason))


def _requirement(rule: Filter, request: ResourceRequest, group: NodeGroup) -> SpecPath:
    field = requirement_field(rule, request)
    return (group.origin if field == "num_nodes" else request.origin).child(field)


def _nothing_fits(
    group: NodeGroup,
    rejections: list[Rejection],
    catalog: Catalog,
    size: Size,
    capabilities: Mapping[str, frozenset[Capability]],
    sources: SourceMap,
    restriction: Restriction,
    images: ImagePlaces,
) -> Diagnostic:
    """The error for a group without candidates: every reason, what contradicts, and the one change that would help most."""
    found = [conflict(request, catalog, size, capabilities, restriction, images) for request in group.requests]
    gaps = tuple(dict.fromkeys(thin(group, catalog)))
    lines = [gap.why for gap in gaps]
    lines += [f"{_offers(row.count)} rejected, {row.reason}: {row.detail}" for row in rejections]
    lines += [
        _contradiction(request, item) for request, item in zip(group.requests, found, strict=True) if len(item.smallest) > 1
    ]
    helpful = [
        (request, item.relaxation) for request, item in zip(group.requests, found, strict=True) if item.relaxation is not None
    ]
    place = group.origin
    hint = None
    for request, item in zip(group.requests, found, strict=True):
        if item.closed is not None:
            part, row, spot = item.closed
            return error(
                "region-not-enabled",
                "What fits is in a region that accounts have to ask for",
                sentence(Filter.CLOSED, request, catalog.parts[part], row, spot, size, restriction),
                span=sources.find(request.origin.child("infra")),
                hint="enable the region in the account, then say so; or ask for what others have too",
                commands=("skyc check",),
            )
        if item.example is not None:
            # Nothing of the task's own is wrong: it is a denial, and no change of the task's that would help more is proposed.
            part, row, spot = item.example
            why = sentence(Filter.POLICY, request, catalog.parts[part], row, spot, size, restriction)
            return _denied(request, why, item.barred, lines, sources)
    if helpful:
        request, relaxation = max(helpful, key=lambda pair: pair[1].offers)
        place = _requirement(relaxation.rule, request, group)
        price = "" if relaxation.cheapest is None else f", from ${decimal_text(relaxation.cheapest)} per hour"
        hint = f"changing `{place.steps[-1]}` alone would admit {_offers(relaxation.offers)}{price}"
    elif rejections:
        place = rejections[0].requirement
    return error(
        "nothing-fits",
        "No offer meets all requirements of this group",
        "\n".join(lines) or "No target offers any machine. Run `skyc check` to see which targets work.",
        span=sources.find(place),
        hint=hint,
        commands=[command for gap in gaps for command in gap.commands],
    )


def _denied(request: ResourceRequest, why: str, barred: int, lines: list[str], sources: SourceMap) -> Diagnostic:
    """The error for a group that would have candidates without the policy."""
    return error(
        "policy-denied",
        "The policy forbids every offer that meets the requirements of this group",
        "\n".join([why, f"Without the policy {_offers(barred)} would meet the requirements.", *lines]),
        span=sources.find(request.origin.child("infra")),
        hint="ask for what the rule allows, or ask who keeps the policy",
    )


def _contradiction(request: ResourceRequest, found: Conflict) -> str:
    names = [f"`{requirement_field(rule, request)}`" for rule in found.smallest]
    return f"Together {', '.join(names[:-1])} and {names[-1]} exclude every offer; any of them alone does not."


def _offers(count: int) -> str:
    return f"{count:,} offer{'s' if count != 1 else ''}"


def report(graph: TaskGraph, found: CandidateSet) -> CandidateReport:
    """The candidates as people read them: per group how many there are, and the cheapest; then why others are none."""
    return CandidateReport(groups=_lists(graph, found), rejections=found.rejections, catalog_digest=found.catalog_digest)


def _lists(graph: TaskGraph, found: CandidateSet) -> tuple[CandidateList, ...]:
    import numpy

    lists = []
    groups = [(task, group) for task in graph.tasks for group in task.groups]
    for (task, group), options in zip(groups, found.options, strict=True):
        price = numpy.where(options.hourly == UNKNOWN, numpy.iinfo(numpy.int64).max, options.hourly)
        chosen = numpy.argsort(price, kind="stable")[:LISTED]
        lists.append(
            CandidateList(
                task=task.id,
                group=group.name,
                count=len(options),
                cheapest=tuple(candidate(task, group, found, options, int(index)) for index in chosen),
            )
        )
    return tuple(lists)


def candidate(task: Task, group: NodeGroup, found: CandidateSet, options: Options, index: int) -> Candidate:
    """One row of the columns as a value. Where the offer names no zone and one is needed or asked for, it is in the first that will do."""
    part = found.catalog.parts[int(options.part[index])]
    row = int(options.row[index])
    request = int(options.request[index])
    kind = part.instance_type(int(part.offers.type[row]))
    offering = part.offering(row, Market.SPOT if options.spot[index] else Market.ON_DEMAND)
    if offering.zone is None:
        restriction = found.restrictions.get(task.id, UNRESTRICTED)
        zone = allowed_zones(found.catalog, part, offering.region, None, group.requests[request].infra, restriction)[0]
        offering = dataclasses.replace(offering, zone=zone)
    return Candidate(
        task=task.id,
        group=group.name,
        request=request,
        offering=offering,
        shape=node_shape(group.requests[request], kind, task.num_nodes),
        num_nodes=group.num_nodes,
    )
