"""What a plan costs in the worst case, failover included.

Contract: pure; every amount is US dollars, and None is "unknown", which no limit is above. The worst case of a placement counts a spot
machine at its on-demand price; that of a group is the dearest of its envelope, for failover may go there without asking again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import TypeAlias

from ..failover import GroupKey
from ..ir import GroupPlacement, Market, PlacementPlan, Task, TaskId
from ..optimize.costs import calm_hours
from ..optimize.rates import total

Envelopes: TypeAlias = Mapping[GroupKey, tuple[GroupPlacement, ...]]
"""Group → its choice and then its fallbacks, as `failover.envelope` gives them."""


def envelopes_of(plan: PlacementPlan) -> Envelopes:
    """All envelopes of a plan in one pass: files with a thousand groups exist."""
    found = {(item.task, item.group): [item] for item in plan.placements}
    for item in plan.fallbacks:
        rows = found[item.task, item.group]
        if item.hourly is not None or rows[0].hourly is None:
            rows.append(item)
    return {key: tuple(rows) for key, rows in found.items()}


def worst_of(task: Task, item: GroupPlacement) -> Decimal | None:
    """The most that a group's machines cost for one run of the task there."""
    amount = total(line.amount for line in item.lines)
    if amount is None or item.market is not Market.SPOT:
        return amount
    most = item.group_worst_hourly
    if most is None:
        return None
    # Calm hours: an on-demand machine is not interrupted. As the optimizer counts a budget.
    return max(amount, most * calm_hours(task, item.shape))


def worst_hourly(item: GroupPlacement) -> Decimal | None:
    """The most that all machines of a group cost per hour there, with their disks and addresses."""
    price = item.hourly if item.market is not Market.SPOT else item.worst_hourly
    return None if price is None else price * item.num_nodes + item.beside_worst


def dearest(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The largest; None as soon as one is unknown."""
    found = list(amounts)
    return None if None in found else max((amount for amount in found if amount is not None), default=Decimal(0))


def per_run(plan: PlacementPlan, envelopes: Envelopes, tasks: Collection[Task], *, everything: bool) -> Decimal | None:
    """The most that one run of these tasks costs: machines and the data that moves to them. everything: they are all tasks of the
    file, so that what it keeps in Storages counts too."""
    ids = {task.id: task for task in tasks}
    machines = [
        dearest(worst_of(ids[task], place) for place in places) for (task, _), places in envelopes.items() if task in ids
    ]
    moved = [move.line.amount for move in plan.transfers if everything or _goes_to(move.destination, ids)]
    kept = [line.amount for storage in plan.storages for line in storage.lines] if everything else []
    return total([*machines, *moved, *kept])


def _goes_to(destination: str, tasks: Collection[TaskId]) -> bool:
    """Transfers name a task, or a task and its group."""
    return destination.partition("/")[0] in tasks


def hourly(envelopes: Envelopes, tasks: Collection[TaskId]) -> Decimal | None:
    """The most that all machines of these tasks cost per hour: they are made before the first task begins, and live together."""
    return total(dearest(map(worst_hourly, places)) for (task, _), places in envelopes.items() if task in tasks)
