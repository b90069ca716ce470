"""envelope: the fallbacks of a plan that could not be made leave it before anybody reviews them.

Contract: pure, given the providers. The optimizer ranks machines by their price; whether a cloud's module can be written for one, and
whether anybody could log in to it, lowering says. A failover that found out while it runs would have made and removed the first choice
by then, or rented machines for which no job can be started. The choice itself is not looked at here: what is wrong with it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..providers.base import Capability
from .buckets import Bucket
from .diagnostics import Diagnostic, Severity
from .failover import GroupKey, name_of
from .ir import GroupPlacement, NodeGroup, PlacementPlan, SpecPath, Task, TaskGraph
from .lower import Lowering

NOBODY = "ssh-closed"
"""Said of machines that nobody could log in to: a warning, since a plan may be made before an address is declared."""
NO_LOGIN = "nobody could log in to the machines"
FEW = 2
"""Nodes that a group is lowered with to see whether it can be made: what holds for two holds for any number, and takes as long for each."""
SHOWN = 3


def makeable(
    graph: TaskGraph,
    plan: PlacementPlan,
    how: Lowering,
    *,
    buckets: tuple[Bucket, ...] = (),
    known: dict[object, str] | None = None,
) -> tuple[PlacementPlan, tuple[Diagnostic, ...]]:
    """The plan without the fallbacks that could not be made, and a note about each group that lost all of them, or some because nobody
    could log in to them. known: see `CompileOptions.tried`."""
    if not plan.fallbacks:
        return plan, ()
    why: dict[GroupPlacement, str] = {}
    notes: list[Diagnostic] = []
    known = {} if known is None else known
    choices = {(item.task, item.group): item for item in plan.placements}
    beside: dict[GroupKey, list[GroupPlacement]] = {}
    for item in plan.fallbacks:
        beside.setdefault((item.task, item.group), []).append(item)
    for task in graph.tasks:
        for group in task.groups:
            fallbacks = beside.get((task.id, group.name))
            if not fallbacks:
                continue
            lost = dict(_lost(task, group, choices[task.id, group.name], fallbacks, how, buckets, known))
            why |= lost
            # Somebody who has not set up a cloud does not want to hear of it at every plan; that nothing is left, they do.
            if lost and (len(lost) == len(fallbacks) or NO_LOGIN in lost.values()):
                notes.append(_note(task, group, lost))
    kept = tuple(item for item in plan.fallbacks if item not in why)
    return (replace(plan, fallbacks=kept) if why else plan), tuple(notes)


def _lost(
    task: Task,
    group: NodeGroup,
    choice: GroupPlacement,
    fallbacks: list[GroupPlacement],
    how: Lowering,
    buckets: tuple[Bucket, ...],
    known: dict[object, str],
) -> Iterator[tuple[GroupPlacement, str]]:
    """Fallbacks that are worse off than the choice, and why. `known`: answers for tasks that ask for the same."""
    few = min(group.num_nodes, FEW)
    alone = replace(task, groups=(replace(group, num_nodes=few),))
    asked = tuple(replace(request, origin=SpecPath()) for request in group.requests)
    data = (task.storages, task.file_mounts, task.inputs, task.outputs, task.checkpoint, buckets)
    closed: bool | None = None
    for item in fallbacks:
        provider = how.providers[item.provider]
        if Capability.RUN not in provider.capabilities and Capability.RUN in how.providers[choice.provider].capabilities:
            yield item, f"skyc cannot start jobs at {item.provider} yet"
            continue
        key = (how.deployment, asked, data, few, item.request, name_of(item), choice.provider)
        if key not in known:
            _, said = how.task(alone, (replace(item, num_nodes=few),), buckets, "")
            known[key] = next((found.summary for found in said if found.severity is Severity.ERROR), "")
            if not known[key] and any(found.slug == NOBODY for found in said):
                if closed is None:
                    closed = any(
                        found.slug == NOBODY for found in how.task(alone, (replace(choice, num_nodes=few),), buckets, "")[1]
                    )
                known[key] = "" if closed else NO_LOGIN
        if known[key]:
            yield item, known[key]


def _note(task: Task, group: NodeGroup, lost: dict[GroupPlacement, str]) -> Diagnostic:
    shown = [f"{name_of(item)}: {reason}." for item, reason in list(lost.items())[:SHOWN]]
    more = [f"And {len(lost) - SHOWN} more."] if len(lost) > SHOWN else []
    return Diagnostic(
        severity=Severity.NOTE,
        slug="fallbacks-left-out",
        summary="Some fallbacks could not be made and are left out",
        detail="\n".join((f"Of `{task.id}/{group.name}`:", *shown, *more)),
    )
