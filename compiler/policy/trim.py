"""The envelope within the limits of a policy: a fallback that would pass one is left out, so that failover never goes there.

Contract: pure and linear. A limit that the choice itself passes takes nothing out: then the plan is denied, or somebody approves it with
its worst case. After this, a `max` that the choice keeps is kept by everything failover may come to, all groups at their dearest at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ..ir import DeploymentId, FrozenMap, GroupName, GroupPlacement, PlacementPlan, PolicyEffect, Task, TaskGraph, TaskId
from .amounts import envelopes_of, hourly, per_run, worst_hourly, worst_of
from .rules import Max, PolicySet
from .scope import holds_for

Key = tuple[TaskId, GroupName]


@dataclass(slots=True)
class _Room:
    """What one limit has left, and how high each group stands. None: no limit."""

    rule: str
    tasks: dict[TaskId, Task]
    run: Decimal | None
    hourly: Decimal | None
    hours: Decimal | None
    levels: dict[Key, tuple[Decimal, Decimal]] = field(default_factory=dict)

    def take(self, item: GroupPlacement, *, only_look: bool) -> bool:
        """Whether there is room for a fallback; it is taken, unless only looked for."""
        task = self.tasks.get(item.task)
        if task is None:
            return True
        if self.hours is not None and item.hours > self.hours:
            return False
        worst, per_hour = worst_of(task, item), worst_hourly(item)
        key = (item.task, item.group)
        level_run, level_hourly = self.levels[key]
        rise_run = _rise(worst, level_run, self.run)
        rise_hourly = _rise(per_hour, level_hourly, self.hourly)
        if rise_run is None or rise_hourly is None:
            return False
        if not only_look:
            self.run = None if self.run is None else self.run - rise_run
            self.hourly = None if self.hourly is None else self.hourly - rise_hourly
            self.levels[key] = (level_run + rise_run, level_hourly + rise_hourly)
        return True


def _rise(amount: Decimal | None, level: Decimal, spare: Decimal | None) -> Decimal | None:
    """What a group would rise by; None when it does not fit."""
    if spare is None:
        return Decimal(0)
    if amount is None:
        return None
    rise = max(amount - level, Decimal(0))
    return rise if rise <= spare else None


def trimmed(plan: PlacementPlan, policies: PolicySet, graph: TaskGraph, deployment: DeploymentId) -> PlacementPlan:
    """The plan without the fallbacks that would pass a limit which its choice keeps."""
    rooms = list(_rooms(replace(plan, fallbacks=()), policies, graph, deployment))
    if not rooms:
        return plan
    kept: list[GroupPlacement] = []
    by: dict[str, int] = {}
    for item in plan.fallbacks:
        full = next((room.rule for room in rooms if not room.take(item, only_look=True)), None)
        if full is not None:
            by[full] = by.get(full, 0) + 1
            continue
        for room in rooms:
            room.take(item, only_look=False)
        kept.append(item)
    if not by:
        return plan
    words = ", ".join(f"{count} by `{rule}`" for rule, count in sorted(by.items()))
    notes = FrozenMap({**plan.notes, "policy": f"fallbacks left out, as they would pass a limit: {words}"})
    return replace(plan, fallbacks=tuple(kept), notes=notes)


def _rooms(choice: PlacementPlan, policies: PolicySet, graph: TaskGraph, deployment: DeploymentId) -> Iterator[_Room]:
    """The limits that the choice keeps, with what it leaves of them."""
    envelopes = envelopes_of(choice)
    for rule in policies.rules:
        limits = rule.check
        if not isinstance(limits, Max) or rule.effect is PolicyEffect.WARN:
            continue
        tasks = {task.id: task for task in graph.tasks if holds_for(rule, task, deployment)}
        if not tasks:
            continue
        spent = per_run(choice, envelopes, tuple(tasks.values()), everything=len(tasks) == len(graph.tasks))
        yield _Room(
            rule=rule.name,
            tasks=tasks,
            run=_spare(limits.per_run, spent),
            hourly=_spare(limits.hourly, hourly(envelopes, tasks)),
            hours=_kept_hours(limits, choice, tasks),
            levels={
                (item.task, item.group): (
                    worst_of(tasks[item.task], item) or Decimal(0),
                    worst_hourly(item) or Decimal(0),
                )
                for item in choice.placements
                if item.task in tasks
            },
        )


def _spare(limit: Decimal | None, amount: Decimal | None) -> Decimal | None:
    return None if limit is None or amount is None or amount > limit else limit - amount


def _kept_hours(limits: Max, choice: PlacementPlan, tasks: Collection[TaskId]) -> Decimal | None:
    longest = max(item.hours for item in choice.placements if item.task in tasks)
    return None if limits.hours is None or longest > limits.hours else limits.hours
