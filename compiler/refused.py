"""refused: machines that their cloud's module cannot be written for leave the candidates, where something else would do.

Contract: pure, given the providers. The optimizer knows prices and requirements; that a cloud has no image with a driver for a device, or
takes no such disk, its lowering says. So each choice is lowered alone. Where that ends in an error, every type of machine of the same
cloud is asked for the group, and those that are refused leave it. A group that nothing would be left for keeps its choice, and the error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..providers.base import Capability
from .buckets import Bucket
from .candidates import candidate
from .diagnostics import Diagnostic, Severity, SourceMap, located
from .envelope import FEW
from .ir import (
    CandidateSet,
    GroupPlacement,
    NodeGroup,
    Options,
    PlacementPlan,
    Refusal,
    Rejection,
    SpecPath,
    Task,
    TaskGraph,
)
from .ir.catalog import CANNOT_BE_MADE
from .lower import Lowering
from .makeable import said_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 3
_SETTLED: dict[str, Any] = {
    "origin": SpecPath(),
    "cpus": None,
    "memory_gb": None,
    "memory_per_cpu": None,
    "accelerators": None,
    "max_hourly_cost": None,
    "interruption_rate": None,
}
"""What of a request has become a placement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A choice that cannot be made. index: of its group in the file; why: what the cloud's lowering says."""

    index: int
    item: GroupPlacement
    why: Diagnostic


@dataclass(slots=True, kw_only=True)
class Narrowing:
    """What the optimizer calls with each best choice (`optimize`'s `narrowed`), and before it (`alone`). buckets: of a choice.

    met: the best choices that were refused, in order; found: the candidates that the last choice was accepted of, None before.
    """

    graph: TaskGraph
    how: Lowering
    buckets: Callable[[PlacementPlan], tuple[Bucket, ...]]
    met: list[Refused] = field(default_factory=list)
    found: CandidateSet | None = None
    known: dict[object, Diagnostic | None] = field(default_factory=dict)
    """What `_refused` was answered, with the same buckets."""
    known_of: tuple[Bucket, ...] = ()

    def __call__(self, choice: PlacementPlan, found: CandidateSet) -> CandidateSet | None:
        buckets = self.buckets(choice)
        if buckets != self.known_of:
            self.known, self.known_of = {}, buckets
        wrong = _refused(self.graph, choice, self.how, buckets, self.known)
        self.met += wrong
        left = _without(self.graph, found, wrong, self.how, buckets) if wrong else found
        self.found = None if wrong else found
        return left

    def alone(self, choices: PlacementPlan, found: CandidateSet) -> CandidateSet:
        """The candidates without what cannot be made of these choices of each group by itself, wherever data lies: what the machines
        are. A group that nothing would be left for keeps what it has. Nothing is noted: a best choice might be none of these."""
        bare = dataclasses.replace(self.graph, tasks=tuple(dataclasses.replace(task, **_NO_DATA) for task in self.graph.tasks))
        wrong = _refused(bare, choices, self.how, (), {})
        left = _without(bare, found, wrong, self.how, ()) if wrong else found
        if left is not None:
            return left
        for one in wrong:
            found = _without(bare, found, [one], self.how, ()) or found
        return found

    def notes(self, plan: PlacementPlan) -> tuple[Diagnostic, ...]:
        """What would have been better and cannot be made; nothing of nothing."""
        return _passed_over(self.met, plan, self.how.sources) if self.found is not None else ()


_NO_DATA: dict[str, Any] = {"file_mounts": (), "storages": (), "inputs": (), "outputs": (), "checkpoint": None}


def _refused(
    graph: TaskGraph, plan: PlacementPlan, how: Lowering, buckets: tuple[Bucket, ...], known: dict[object, Diagnostic | None]
) -> list[Refused]:
    """The choices that cannot be made. Groups that ask for the same are asked about once. known: answers there are."""
    found = []
    for index, ((task, group), item) in enumerate(zip(_groups(graph), plan.placements, strict=True)):
        if Capability.LOWER not in how.providers[item.provider].capabilities:
            # Only priced: that is said by who chose it all the same.
            continue
        key = (_asked(task, group), item.location, item.instance_type, item.market, item.request, item.shape)
        if key not in known:
            known[key] = _why(task, group, item, how, buckets)
        why = known[key]
        if why is not None:
            found.append(Refused(index=index, item=item, why=why))
    return found


def _asked(task: Task, group: NodeGroup) -> tuple[object, ...]:
    """What lowering looks at in a group, but for how many nodes there are: equal for groups that fare alike. How large a machine must be
    it does not look at: the choice has been made."""
    requests = tuple(dataclasses.replace(request, **_SETTLED) for request in group.requests)
    data = (task.storages, task.file_mounts, task.inputs, task.outputs, task.checkpoint)
    return (requests, data, group.num_nodes > 1)


def _without(
    graph: TaskGraph, found: CandidateSet, wrong: Sequence[Refused], how: Lowering, buckets: tuple[Bucket, ...]
) -> CandidateSet | None:
    """The candidates without what is refused like these choices; None where a group would have none left."""
    import numpy

    groups, options, refusals = _groups(graph), list(found.options), list(found.refusals)
    rejections = list(found.rejections)
    known: dict[object, list[int]] = {}
    # Groups that ask for the same share their columns, and go on doing so: what is computed of them is computed once.
    shared: dict[object, Options] = {}
    for one in wrong:
        task, group = groups[one.index]
        mine = options[one.index]
        part, kinds = _kinds(found, mine, one)
        key = (_asked(task, group), one.item.provider, one.item.request, one.item.location, one.item.instance_type)
        if key not in known:
            each = _one_of_each(task, group, found, one)
            known[key] = [kind for kind, item in each if _why(task, group, item, how, buckets)]
        gone = numpy.isin(kinds, known[key])
        if gone.all():
            return None
        columns = (key, id(mine.row))
        if columns not in shared:
            shared[columns] = mine.at(~gone)
        options[one.index] = dataclasses.replace(shared[columns], task=task.id, group=group.name)
        detail = f"`{one.item.provider}` cannot make it: {one.why.detail}"
        requirement = one.why.subject or group.origin
        count = int(gone.sum())
        rejections.append(
            Rejection(
                task=task.id, group=group.name, reason=CANNOT_BE_MADE, detail=detail, requirement=requirement, count=count
            )
        )
        types = tuple(sorted({kind // 2 for kind in known[key]}))
        refusals.append(Refusal(task=task.id, group=group.name, part=part, types=types, detail=detail, requirement=requirement))
    return dataclasses.replace(found, options=tuple(options), rejections=tuple(rejections), refusals=tuple(refusals))


def _passed_over(wrong: Sequence[Refused], plan: PlacementPlan, sources: SourceMap) -> tuple[Diagnostic, ...]:
    first = list({one.index: one for one in reversed(wrong)}.values())[::-1]
    if not first:
        return ()
    why = [located(one.why, sources) for one in first]
    shown = [
        f"{said_of(one.item)}: {known.detail}\nTaken is {said_of(plan.placements[one.index])}."
        for one, known in zip(first[:SHOWN], why, strict=False)
    ]
    more = [f"And {len(first) - SHOWN} more groups."] if len(first) > SHOWN else []
    note = Diagnostic(
        severity=Severity.NOTE,
        # Written out, so that the documentation's test finds it.
        slug="cannot-be-made",
        summary="A better place cannot be made as the task is written",
        detail="\n".join((*shown, *more)),
        span=why[0].span,
        hint=why[0].hint,
    )
    return (note,)


def _groups(graph: TaskGraph) -> list[tuple[Task, NodeGroup]]:
    return [(task, group) for task in graph.tasks for group in task.groups]


def _why(task: Task, group: NodeGroup, item: GroupPlacement, how: Lowering, buckets: tuple[Bucket, ...]) -> Diagnostic | None:
    """The first error of the group's lowering at a placement, with few nodes and by itself."""
    few = min(group.num_nodes, FEW)
    alone = dataclasses.replace(task, groups=(dataclasses.replace(group, num_nodes=few),))
    _, said = how.task(alone, (dataclasses.replace(item, num_nodes=few),), buckets, "")
    return next((one for one in said if one.severity is Severity.ERROR), None)


def _kinds(found: CandidateSet, options: Options, one: Refused) -> tuple[int, NDArray[Any]]:
    """The number of the refused choice's part of the catalog, and per option its machine type there, times two, and one more for spot;
    -1 for options of other parts and requests."""
    import numpy

    part = next(number for number, part in enumerate(found.catalog.parts) if part.provider == one.item.provider)
    kinds = numpy.full(len(options), -1, dtype=numpy.int64)
    here = (options.part == part) & (options.request == one.item.request)
    kinds[here] = found.catalog.parts[part].offers.type[options.row[here]].astype(numpy.int64) * 2 + options.spot[here]
    return part, kinds


def _one_of_each(task: Task, group: NodeGroup, found: CandidateSet, one: Refused) -> Iterator[tuple[int, GroupPlacement]]:
    """One placement of each kind at the choice's cloud, which is the choice itself for its own: a refusal may be about a place."""
    import numpy

    options = found.options[one.index]
    kinds, positions = numpy.unique(_kinds(found, options, one)[1], return_index=True)
    for kind, position in zip(kinds.tolist(), positions.tolist(), strict=True):
        if kind < 0:
            continue
        made = candidate(task, group, found, options, position)
        offering = made.offering
        if (offering.instance_type, offering.market) == (one.item.instance_type, one.item.market):
            yield kind, one.item
            continue
        item = dataclasses.replace(
            one.item,
            region=offering.region,
            zone=offering.zone,
            instance_type=offering.instance_type,
            market=offering.market,
            shape=made.shape,
        )
        yield kind, item
