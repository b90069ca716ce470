"""Which placements of a deployment were tried, and where each of its groups is therefore to be now.

Contract
- An attempt is on record before it is made. Whatever is killed, the next command reads off how far it came and goes on from there.
- A group that came up at a fallback stays there for as long as the plan's own choice for it is the same and the fallback is one of
  its envelope: an apply for another reason does not move it back to where there was nothing to be had.
- Deciding (`where`, `refused`) is pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler.failover import (
    GroupKey,
    Pool,
    Refused,
    choice_of,
    envelope,
    keeps_affinities,
    moved,
    name_of,
    next_placement,
)
from ..compiler.ir import (
    DeploymentId,
    FailureKind,
    GroupName,
    GroupPlacement,
    PlacementPlan,
    Reach,
    TaskGraph,
    TaskId,
)
from ..compiler.pipeline import Compilation, recompiled
from .records import AttemptOutcome, AttemptRecord, DeploymentState
from .session import Session

GONE_ON = frozenset(kind.value for kind in FailureKind if kind.moves_on)
"""Failures after which another placement is tried; after any other the same one is tried again."""


TOLD = frozenset(kind.value for kind in FailureKind if kind is not FailureKind.OTHER)


def trail(records: Sequence[AttemptRecord], plan: PlacementPlan, task: TaskId, group: GroupName) -> tuple[AttemptRecord, ...]:
    """The attempts of a group's search that goes on; none when it is over, or when the plan now chooses otherwise."""
    choice = name_of(choice_of(plan, task, group))
    return tuple(row for row in records if (row.task, row.group) == (task, group) and not row.over and row.choice == choice)


def refused(rows: Sequence[AttemptRecord], plan: PlacementPlan) -> tuple[Refused, ...]:
    """What a search has ruled out so far."""
    if not rows:
        return ()
    known = {name_of(item): item for item in envelope(plan, rows[0].task, rows[0].group)}
    return tuple(
        Refused(placement=known[row.placement], reach=Reach[row.reach] if row.reach else Reach.MACHINE_IN_ZONE)
        for row in rows
        if row.placement in known and _is_refusal(row)
    )


def _is_refusal(row: AttemptRecord) -> bool:
    return row.outcome is AttemptOutcome.SKIPPED or (row.outcome is AttemptOutcome.FAILED and row.kind in GONE_ON)


def where(rows: Sequence[AttemptRecord], plan: PlacementPlan, graph: TaskGraph, pool: Pool) -> GroupPlacement | None:
    """Where a search has brought its group: where it is up, was cut off, or is to go on; None to begin anew."""
    if not rows:
        return None
    last = rows[-1]
    if _is_refusal(last):
        return following(rows, plan, plan, graph, pool)
    known = {name_of(item): item for item in envelope(plan, last.task, last.group)}
    return known.get(last.placement)


def following(
    rows: Sequence[AttemptRecord], plan: PlacementPlan, now: PlacementPlan, graph: TaskGraph, pool: Pool
) -> GroupPlacement | None:
    """The next placement of a search. `now`: where everything is meanwhile."""
    task, group = rows[0].task, rows[0].group
    return next_placement(
        plan,
        task,
        group,
        refused(rows, plan),
        pool=pool,
        fits=lambda item: keeps_affinities(graph, now.placements, item),
    )


def pools(session: Session) -> Pool:
    return lambda placement: session.provider(placement.provider).quota_pool(placement)


def elsewhere(compilation: Compilation) -> dict[GroupKey, GroupPlacement]:
    """The groups that are not where the plan chose, and where they are."""
    assert compilation.placement is not None
    chosen = {(item.task, item.group): item for item in compilation.reviewed.placements}
    return {(item.task, item.group): item for item in compilation.placement.placements if chosen[item.task, item.group] != item}


def reason(rows: Sequence[AttemptRecord]) -> str:
    """Why a group is not at its first choice: the first refusal's code."""
    return next((row.code or row.detail for row in rows if _is_refusal(row)), "")


def continued(session: Session, compilation: Compilation) -> Compilation:
    """The compilation with every group where the searches on record have brought it."""
    plan, graph = compilation.placement, compilation.graph
    if plan is None or graph is None or compilation.failed or compilation.options.offline:
        return compilation
    record = session.store.deployment(compilation.deployment)
    if record is None or record.state is DeploymentState.DESTROYED:
        return compilation
    records = session.store.attempts(compilation.deployment)
    now: dict[GroupKey, GroupPlacement] = {}
    why: dict[GroupKey, str] = {}
    for item in plan.placements:
        rows = trail(records, plan, item.task, item.group)
        place = where(rows, plan, graph, pools(session))
        if place is not None and place != item:
            now[item.task, item.group], why[item.task, item.group] = place, reason(rows)
    if not now:
        return compilation
    found = recompiled(compilation, moved(plan, now, why))
    return compilation if found.failed else found


def begin(session: Session, deployment: DeploymentId, plan: PlacementPlan, item: GroupPlacement) -> AttemptRecord:
    """Write down that a group is about to be made at `item`: in its search, if that goes on there, else in a new one."""
    rows = trail(session.store.attempts(deployment), plan, item.task, item.group)
    name = name_of(item)
    goes_on = (
        bool(rows)
        and rows[-1].outcome is not AttemptOutcome.UP
        and all(row.placement != name or not _is_refusal(row) for row in rows)
    )
    if goes_on and rows[-1].outcome is AttemptOutcome.TRYING and rows[-1].placement == name:
        return rows[-1]
    return session.store.begin_attempt(
        deployment,
        item.task,
        item.group,
        search=rows[-1].search if goes_on else session.store.next_search(deployment),
        choice=name_of(choice_of(plan, item.task, item.group)),
        placement=name,
    )


def worth_telling(records: Sequence[AttemptRecord]) -> tuple[AttemptRecord, ...]:
    """The attempts of searches in which something was refused."""
    searches = {(row.task, row.group, row.search) for row in records if _is_refusal(row) or row.kind in TOLD}
    return tuple(row for row in records if (row.task, row.group, row.search) in searches)
