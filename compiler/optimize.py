"""optimize: the cheapest (or quickest) candidate per group, and the order to fall back in.

Contract: pure and exact. While no data moves along edges the groups do not influence each other, so the minimum of the sum is
the sum of the minima and the answer is optimal by construction; a test compares it with brute force over all combinations.
Ties are broken by the written order: unknown price last, then cost, request, provider, region, zone, instance type, market.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from .ir import (
    Alternative,
    Candidate,
    CandidateSet,
    CostLine,
    FrozenMap,
    GroupPlacement,
    NodeGroup,
    Objective,
    PlacementPlan,
    Task,
    TaskGraph,
    digest,
)

ALTERNATIVES_SHOWN = 3
FALLBACKS_KEPT = 8
"""How many further placements a plan carries: what a reviewer approves beside the first choice (DESIGN D4)."""


def optimize(graph: TaskGraph, found: CandidateSet, *, objective: Objective = Objective.COST) -> PlacementPlan:
    """Choose a placement for every group. Every group must have a candidate (the candidates stage says so otherwise)."""
    chosen: list[GroupPlacement] = []
    fallbacks: list[GroupPlacement] = []
    alternatives: list[Alternative] = []
    for task in graph.tasks:
        for group in task.groups:
            ranked = _ranked(task, group, found, objective)
            best, *others = [_place(task, candidate) for candidate in ranked]
            chosen.append(best)
            fallbacks += others[:FALLBACKS_KEPT]
            alternatives += [_alternative(best, other) for other in others[:ALTERNATIVES_SHOWN]]
    return PlacementPlan(
        name=graph.name,
        spec_digest=digest(graph),
        catalog_digest=found.catalog_digest,
        objective=objective,
        status="optimal",
        total=_sum(line.amount for placement in chosen for line in placement.lines),
        placements=tuple(chosen),
        fallbacks=tuple(fallbacks),
        alternatives=tuple(alternatives),
        rejections=found.rejections,
        notes=FrozenMap(
            {f"{task.id}.hours": "assumed: the task gives no `hours`" for task in graph.tasks if task.hours_assumed}
        ),
    )


def _ranked(task: Task, group: NodeGroup, found: CandidateSet, objective: Objective) -> list[Candidate]:
    mine = [c for c in found.candidates if c.task == task.id and c.group == group.name]
    if group.ordered:
        first = min(candidate.request for candidate in mine)
        mine = [c for c in mine if c.request == first] + [c for c in mine if c.request != first]

    def order(candidate: Candidate) -> tuple[object, ...]:
        offering = candidate.offering
        total = _sum(line.amount for line in _lines(task, candidate))
        return (
            candidate.request if group.ordered else 0,
            # Every candidate runs the same `hours`, so time does not tell them apart yet and cost decides for both objectives.
            objective.value if objective is Objective.TIME else "",
            total is None,
            total if total is not None else Decimal(0),
            candidate.request,
            offering.provider,
            offering.region,
            offering.zone or "",
            offering.instance_type,
            offering.market.value,
        )

    return sorted(mine, key=order)


def _place(task: Task, candidate: Candidate) -> GroupPlacement:
    offering = candidate.offering
    return GroupPlacement(
        task=candidate.task,
        group=candidate.group,
        provider=offering.provider,
        region=offering.region,
        zone=offering.zone,
        instance_type=offering.instance_type,
        market=offering.market,
        num_nodes=candidate.num_nodes,
        shape=candidate.shape,
        hourly=offering.hourly,
        lines=_lines(task, candidate),
    )


def _lines(task: Task, candidate: Candidate) -> tuple[CostLine, ...]:
    offering = candidate.offering
    return (
        CostLine(
            label=f"compute, {offering.market.value}",
            quantity=task.hours * candidate.num_nodes,
            unit="h",
            unit_price=offering.hourly,
            source=offering.price_source,
            as_of=offering.as_of,
        ),
    )


def _alternative(best: GroupPlacement, other: GroupPlacement) -> Alternative:
    mine, theirs = _sum(line.amount for line in best.lines), _sum(line.amount for line in other.lines)
    if theirs is None or mine is None:
        return Alternative(placement=other, extra=None, reason="its price is unknown")
    if theirs == mine:
        return Alternative(placement=other, extra=Decimal(0), reason="same cost, later in the written order")
    # Only where the task gives an order (`ordered`) can the one chosen cost more than one that was not.
    reason = "dearer" if theirs > mine else "cheaper, but later in the task's own order"
    return Alternative(placement=other, extra=theirs - mine, reason=reason)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
