"""failover: where a group goes when its placement could not be had. The plan already says it; this only reads it off.

Contract: pure, and linear in the plan. The order is the plan's own, so what is tried next is what a reviewer saw. The plan's choice
and its fallbacks are the **envelope**: nothing outside it is ever tried, so nothing dearer than what was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from .ir import (
    AffinityLevel,
    FrozenMap,
    GroupName,
    GroupPlacement,
    Objective,
    PlacementPlan,
    Reach,
    TaskGraph,
    TaskId,
)

Pool = Callable[[GroupPlacement], str]
"""The quota a placement counts on (`Provider.quota_pool`)."""
GroupKey = tuple[TaskId, GroupName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A placement that could not be had, and how far that reaches."""

    placement: GroupPlacement
    reach: Reach = Reach.MACHINE_IN_ZONE


def _one_pool_each(placement: GroupPlacement) -> str:
    return placement.instance_type


def name_of(placement: GroupPlacement) -> str:
    """`aws/us-east-1/use1-az1 g5.xlarge on-demand`: what tells a group's placements apart, for people and on record."""
    return f"{placement.location} {placement.instance_type} {placement.market.value}"


def envelope(plan: PlacementPlan, task: TaskId, group: GroupName) -> tuple[GroupPlacement, ...]:
    """The plan's choice for a group and then its fallbacks, in their order.

    A fallback whose price nobody knows is approved only where that of the choice is not known either: a reviewer approves amounts.
    """
    chosen = choice_of(plan, task, group)
    beside = (item for item in plan.fallbacks if (item.task, item.group) == (task, group))
    return (chosen, *(item for item in beside if item.hourly is not None or chosen.hourly is None))


def choice_of(plan: PlacementPlan, task: TaskId, group: GroupName) -> GroupPlacement:
    """Where the plan puts a group. Raises StopIteration for a group that is not in it."""
    return next(item for item in plan.placements if (item.task, item.group) == (task, group))


def next_placement(
    plan: PlacementPlan,
    task: TaskId,
    group: GroupName,
    refused: Sequence[Refused],
    *,
    pool: Pool = _one_pool_each,
    fits: Callable[[GroupPlacement], bool] = lambda item: True,
) -> GroupPlacement | None:
    """The first of the group's envelope that no refusal rules out; None when there is none.

    refused: every placement of the group that could not be had. `fits`: whether it suits where everything else is by now.
    """
    found = envelope(plan, task, group)
    return next((item for item in found if not any(ruled_out(item, by, pool) for by in refused) and fits(item)), None)


def ruled_out(item: GroupPlacement, by: Refused, pool: Pool = _one_pool_each) -> bool:
    """Whether a refusal says that this placement cannot be had either."""
    other = by.placement
    same_machine = (item.instance_type, item.market) == (other.instance_type, other.market)
    same_region = (item.provider, item.region) == (other.provider, other.region)
    # Where the provider was to choose the zone, it found none.
    same_zone = same_region and other.zone in (None, item.zone)
    if same_machine and same_zone:
        return True
    match by.reach:
        case Reach.MACHINE_IN_ZONE:
            return False
        case Reach.MACHINE_IN_REGION:
            return same_machine and same_region
        case Reach.ZONE:
            return same_zone
        case Reach.POOL:
            return same_region and pool(item) == pool(other)
        case Reach.REGION:
            return same_region
        case Reach.PROVIDER:
            return item.provider == other.provider


def moved(plan: PlacementPlan, now: Mapping[GroupKey, GroupPlacement], why: Mapping[GroupKey, str]) -> PlacementPlan:
    """The plan with groups at other placements of their envelopes: its costs follow, its envelope stays the same.

    why: what each group's move is due to, for the notes. Data that moves is priced as for the first choice.
    """
    placements = tuple(now.get((item.task, item.group), item) for item in plan.placements)
    extra = _difference(plan, placements, lambda item: [line.amount for line in item.lines])
    more = sum((item.hours for item in placements), Decimal(0)) - sum((item.hours for item in plan.placements), Decimal(0))
    cost = plan.objective is Objective.COST
    known = sum((line.amount or Decimal(0) for item in placements for line in item.lines), Decimal(0))
    before = sum((line.amount or Decimal(0) for item in plan.placements for line in item.lines), Decimal(0))
    value = plan.proof.value + ((known - before) if cost else more)
    notes = {
        f"{task}/{group}": f"first choice was {name_of(choice_of(plan, task, group))}: {why[task, group]}"
        for task, group in now
        if (task, group) in why
    }
    return replace(
        plan,
        placements=placements,
        fallbacks=tuple(
            item
            for task, group in dict.fromkeys((item.task, item.group) for item in plan.placements)
            for item in envelope(plan, task, group)
            if item not in placements and (item is not choice_of(plan, task, group) or (task, group) in now)
        ),
        total=None if plan.total is None or extra is None else plan.total + extra,
        worst_case=_worst(plan, placements, extra),
        finish_hours=plan.finish_hours + max(more, Decimal(0)),
        # It was the best that could be had, which is not the best there is.
        proof=replace(plan.proof, status="feasible", value=value, bound=min(plan.proof.bound, value)),
        notes=FrozenMap({**plan.notes, **notes}),
    )


def _difference(
    plan: PlacementPlan,
    placements: tuple[GroupPlacement, ...],
    amounts: Callable[[GroupPlacement], Sequence[Decimal | None]],
) -> Decimal | None:
    total = Decimal(0)
    for sign, items in ((1, placements), (-1, plan.placements)):
        for item in items:
            for amount in amounts(item):
                if amount is None:
                    return None
                total += sign * amount
    return total


def _worst(plan: PlacementPlan, placements: tuple[GroupPlacement, ...], extra: Decimal | None) -> Decimal | None:
    """What the spot price may rise by, on top of the new total. Hours are the expected ones, which are no fewer than the calm ones."""
    if plan.worst_case is None or extra is None:
        return None

    def rise(item: GroupPlacement) -> list[Decimal | None]:
        if item.hourly is None or item.worst_hourly is None:
            return [None]
        return [max(item.worst_hourly - item.hourly, Decimal(0)) * item.hours * item.num_nodes]

    risen = _difference(plan, placements, rise)
    return None if risen is None else max(plan.worst_case + extra + risen, (plan.total or Decimal(0)) + extra)


def keeps_affinities(graph: TaskGraph, placements: Sequence[GroupPlacement], item: GroupPlacement) -> bool:
    """Whether a group may go there while everything else is where `placements` has it. Affinities are between first groups."""
    heads = {task.id: task.groups[0].name for task in graph.tasks}
    where = {place.task: place for place in placements if heads.get(place.task) == place.group}
    if heads.get(item.task) == item.group:
        where[item.task] = item
    return all(
        _kept(affinity.level, affinity.same, where[task.id], where[affinity.task])
        for task in graph.tasks
        for affinity in task.affinities
    )


def _kept(level: AffinityLevel, same: bool, one: GroupPlacement, other: GroupPlacement) -> bool:
    if level is AffinityLevel.ZONE and None in (one.zone, other.zone):
        # Zones that are not known are neither the same nor distinct; regions that differ have no zone in common.
        return not same and (one.provider, one.region) != (other.provider, other.region)
    parts = {AffinityLevel.PROVIDER: 1, AffinityLevel.REGION: 2, AffinityLevel.ZONE: 3}[level]
    here, there = ((place.provider, place.region, place.zone)[:parts] for place in (one, other))
    return (here == there) is same
