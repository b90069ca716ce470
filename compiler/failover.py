"""failover: where a group goes when its placement could not be had. The plan already says it; this only reads it off.

Contract: pure, and linear in the plan. The order is the plan's own, so what is tried next is what a reviewer saw.
"""

from __future__ import annotations

from collections.abc import Iterator

from .ir import GroupName, GroupPlacement, PlacementPlan, TaskId


def next_placement(
    plan: PlacementPlan, task: TaskId, group: GroupName, failed: tuple[GroupPlacement, ...]
) -> GroupPlacement | None:
    """The first of the plan's fallbacks for the group that no failure rules out; None when there is none.

    failed: every placement of the group that could not be had, the plan's own choice included. Each rules out its machine type in its
    market at its place: in its zone, or in the whole region where the provider was to choose the zone.
    """
    return next((item for item in _fallbacks(plan, task, group) if not any(_ruled_out(item, by) for by in failed)), None)


def _fallbacks(plan: PlacementPlan, task: TaskId, group: GroupName) -> Iterator[GroupPlacement]:
    return (item for item in plan.fallbacks if item.task == task and item.group == group)


def _ruled_out(item: GroupPlacement, by: GroupPlacement) -> bool:
    same = (item.provider, item.region, item.instance_type, item.market) == (
        by.provider,
        by.region,
        by.instance_type,
        by.market,
    )
    return same and by.zone in (None, item.zone)
