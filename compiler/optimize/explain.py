"""Why not: what stands between a group and an offer, a place or an accelerator that somebody expected.

Contract: pure. When some of the subject's offers meet the requirements, the group is held to them and everything is decided anew, so the
difference is what the whole plan would cost more, by kind of line. When none does, every filter is counted over the subject's
offers alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...providers.base import Capability
from ..diagnostics import SkycError, SourceMap, error
from ..ir import (
    AcceleratorRequest,
    CandidateSet,
    Catalog,
    GroupName,
    GroupPlacement,
    NodeGroup,
    Options,
    PlacementPlan,
    Task,
    TaskGraph,
    TaskId,
)
from ..ir.accelerators import asked, canonical, matching
from ..ir.catalog import CANNOT_BE_MADE, UNKNOWN, dollars
from ..ir.restriction import UNRESTRICTED
from ..match import Filter, Size, codes_of, requirement_field
from ..parse.nearest import nearest
from ..sentences import sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """One requirement, and how many of the subject's offers it rules out. alone: offers it rules out and nothing else does."""

    reason: str
    field: str
    detail: str
    offers: int
    alone: int
    cheapest: Decimal | None
    """US dollars per node-hour of the cheapest of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """The answer for one group. offers: of the subject, in any market; fitting: those that meet all requirements.

    best: the placement of the best plan with the group at the subject, extra what that plan costs more (None: a price is unknown,
    or no such plan keeps all limits), changes the difference by kind of line, hours how much later it ends.
    """

    task: TaskId
    group: GroupName
    subject: str
    offers: int
    fitting: int
    chosen: GroupPlacement
    best: GroupPlacement | None = None
    extra: Decimal | None = None
    changes: tuple[tuple[str, Decimal], ...] = ()
    hours: Decimal = Decimal(0)
    hindrances: tuple[Hindrance, ...] = ()


def why_not(
    graph: TaskGraph,
    found: CandidateSet,
    plan: PlacementPlan,
    sources: SourceMap,
    subject: str,
    capabilities: Mapping[str, frozenset[Capability]],
) -> tuple[WhyNot, ...]:
    """The answer for every group. Raises SkycError when the catalog has nothing by that name."""
    masks = subject_rows(found.catalog, subject)
    zone = subject.split("/")[-1]
    answers = []
    everyone = [(task, group) for task in graph.tasks for group in task.groups]
    for index, (task, group) in enumerate(everyone):
        chosen = next(p for p in plan.placements if (p.task, p.group) == (task.id, group.name))
        base = WhyNot(
            task=task.id,
            group=group.name,
            subject=subject,
            offers=sum(_offers(found.catalog, part, mask) for part, mask in enumerate(masks)),
            fitting=0,
            chosen=chosen,
        )
        held = _held(found.options[index], masks)
        if len(held):
            options = tuple(held if i == index else o for i, o in enumerate(found.options))
            forced = _forced(base, graph, dataclasses.replace(found, options=options), plan, sources, len(held))
            answers.append(_in_zone(forced, found.catalog, zone))
        else:
            hindrances = (*_hindrances(found, masks, task, group, capabilities), *_refusals(found, masks, task, group))
            answers.append(dataclasses.replace(base, hindrances=hindrances))
    return tuple(answers)


def _in_zone(answer: WhyNot, catalog: Catalog, zone: str) -> WhyNot:
    """An answer about a zone, of an offer that is known for its region alone, is about that zone."""
    best = answer.best
    if best is None or zone not in catalog.part(best.provider).zones.get(best.region, ()):
        return answer
    return dataclasses.replace(answer, best=dataclasses.replace(best, zone=zone))


def subject_rows(catalog: Catalog, subject: str) -> list[NDArray[Any]]:
    """Per part a mask of the offers that a name means: a provider, a place `a/b/c`, a region, a machine type, or an accelerator."""
    import numpy

    name, _, count = subject.partition(":")
    device = canonical(name)
    masks = []
    for part in catalog.parts:
        offers, types = part.offers, part.offers.types
        steps = subject.split("/")
        places = numpy.array(
            [
                any(
                    subject in (place.region, zone)
                    or (
                        steps[0] == part.provider and all(a == b for a, b in zip(steps[1:], (place.region, zone), strict=False))
                    )
                    for zone in (part.zones.get(place.region, ()) if place.zone is None else ()) or (place.zone,)
                )
                for place in offers.places
            ],
            dtype=bool,
        )
        of_type = numpy.array([known == subject for known in types.names], dtype=bool)
        if device is not None:
            of_type[_types_with(part, name, count)] = True
        masks.append(places[offers.place] | of_type[offers.type])
    if not any(mask.any() for mask in masks):
        names = {part.provider for part in catalog.parts}
        names |= {place.region for part in catalog.parts for place in part.offers.places}
        names |= {name for part in catalog.parts for name in (*part.offers.types.names, *part.offers.types.accelerators)}
        close = nearest(subject, names)
        raise SkycError(
            error(
                "unknown-subject",
                "The catalog has nothing by that name",
                f"`{subject}` is no target, place, machine type or accelerator that the catalog knows.",
                hint=f"did you mean `{close}`?" if close else "`skyc offers` lists what there is",
            )
        )
    return masks


def _types_with(part: Any, name: str, count: str) -> NDArray[Any]:
    import numpy

    from ..match import types_with

    if count:
        return types_with(part, AcceleratorRequest(name=name, count=Decimal(count)))
    types = part.offers.types
    known = matching(asked(name, Decimal(1))[0])
    chosen = [index for index, text in enumerate(types.accelerators) if text in known]
    rows: NDArray[Any] = types.device_type[numpy.isin(types.device_name, chosen)]
    return rows


def _offers(catalog: Catalog, part: int, mask: NDArray[Any]) -> int:
    return int(mask.sum()) * (2 if catalog.parts[part].offers.sells_spot else 1)


def _held(options: Options, masks: list[NDArray[Any]]) -> Options:
    """A group's candidates that belong to the subject."""
    import numpy

    keep = numpy.zeros(len(options), dtype=bool)
    for part, mask in enumerate(masks):
        mine = options.part == part
        keep[mine] = mask[options.row[mine]]
    return options.at(keep)


def _forced(
    base: WhyNot, graph: TaskGraph, found: CandidateSet, plan: PlacementPlan, sources: SourceMap, fitting: int
) -> WhyNot:
    from . import optimize

    other, _ = optimize(graph, found, sources, objective=plan.objective)
    if other is None:
        return dataclasses.replace(base, fitting=fitting)
    best = next(p for p in other.placements if (p.task, p.group) == (base.task, base.group))
    extra = None if plan.total is None or other.total is None else other.total - plan.total
    kinds = sorted({line.kind for line in (*plan.lines, *other.lines)})
    changes = tuple((kind, _kind_total(other, kind) - _kind_total(plan, kind)) for kind in kinds)
    return dataclasses.replace(
        base,
        fitting=fitting,
        best=best,
        extra=extra,
        changes=tuple((kind, amount) for kind, amount in changes if amount),
        hours=other.finish_hours - plan.finish_hours,
    )


def _kind_total(plan: PlacementPlan, kind: str) -> Decimal:
    return sum((line.amount or Decimal(0) for line in plan.lines if line.kind == kind), Decimal(0))


def _hindrances(
    among: CandidateSet,
    masks: list[NDArray[Any]],
    task: Task,
    group: NodeGroup,
    capabilities: Mapping[str, frozenset[Capability]],
) -> tuple[Hindrance, ...]:
    """Every requirement that rules out some of the subject's offers, the one that rules out most first; by the first request."""
    request = group.requests[0]
    size = Size(task_nodes=task.num_nodes, group_nodes=group.num_nodes)
    catalog, restriction = among.catalog, among.restrictions.get(task.id, UNRESTRICTED)
    found: dict[str, Hindrance] = {}
    for codes in codes_of(request, catalog, size, capabilities, restriction, among.images):
        part = catalog.parts[codes.part]
        mask = masks[codes.part]
        for spot, values, prices in ((False, codes.on_demand, part.offers.on_demand), (True, codes.spot, part.offers.spot)):
            if not len(values) or not mask.any():
                continue
            rows = mask.nonzero()[0]
            mine = values[rows]
            for rule in Filter:
                hit = (mine >> rule) & 1 == 1
                if not hit.any():
                    continue
                alone = mine == 1 << rule
                known = prices[rows][alone]
                known = known[known != UNKNOWN]
                before = found.get(rule.reason)
                detail = sentence(rule, request, part, int(rows[hit][0]), spot, size, restriction)
                found[rule.reason] = _added(before, rule, requirement_field(rule, request), detail, hit, alone, known)
    return tuple(sorted(found.values(), key=lambda row: (-row.offers, row.reason)))


def _refusals(found: CandidateSet, masks: list[NDArray[Any]], task: Task, group: NodeGroup) -> Iterator[Hindrance]:
    """What the subject's target refuses to make."""
    import numpy

    for refusal in found.refusals:
        offers = found.catalog.parts[refusal.part].offers
        count = int((masks[refusal.part] & numpy.isin(offers.type, refusal.types)).sum())
        if (refusal.task, refusal.group) == (task.id, group.name) and count:
            field = refusal.requirement.steps[-1]
            yield Hindrance(
                reason=CANNOT_BE_MADE, field=str(field), detail=refusal.detail, offers=count, alone=0, cheapest=None
            )


def _added(
    before: Hindrance | None,
    rule: Filter,
    field: str,
    detail: str,
    hit: NDArray[Any],
    alone: NDArray[Any],
    prices: NDArray[Any],
) -> Hindrance:
    cheapest = dollars(int(prices.min())) if len(prices) else None
    if before is not None and before.cheapest is not None:
        cheapest = before.cheapest if cheapest is None else min(before.cheapest, cheapest)
    return Hindrance(
        reason=rule.reason,
        field=field,
        detail=detail if before is None else before.detail,
        offers=int(hit.sum()) + (before.offers if before else 0),
        alone=int(alone.sum()) + (before.alone if before else 0),
        cheapest=cheapest,
    )


__all__ = ["Hindrance", "WhyNot", "subject_rows", "why_not"]
