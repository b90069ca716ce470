"""From tasks, candidates and data to a `Problem`, and which variable stands for what.

Contract: pure. One variable per node group (where it runs and on what) and per Storage whose place is to be chosen; a pair for data that
moves between two of them, for groups that must share a region, and for the task file's affinities. Data of a Storage at a known
place only changes the costs of single values. Variables stand in the order of their names, so the order of the tasks in the file
changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..ir import (
    Affinity,
    CandidateSet,
    GroupName,
    NodeGroup,
    ResourceRequest,
    SpecPath,
    Task,
    TaskGraph,
    TaskId,
)
from ..ir.flows import flow_sources, is_straight
from .atlas import PENALTY, Atlas, nano, price_of
from .costs import Choices, checkpoint_hours, choices
from .problem import Pair, Problem, Stage, Variable
from .prune import before_pairs
from .quotas import Limit, limits, uses
from .storages import StoragePlace, storage_price, storage_variable, storages_of
from .variables import Kinds, group_variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Data that moves once per run between two ends: a task or a Storage."""

    source: TaskId | str
    destination: TaskId | str
    source_is_task: bool
    destination_is_task: bool
    gb: Decimal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A problem and the meaning of its variables."""

    problem: Problem
    atlas: Atlas
    groups: dict[tuple[TaskId, GroupName], int]
    choices: dict[int, Choices]
    storages: dict[str, StoragePlace]
    storage_variables: dict[str, int]
    flows: tuple[Flow, ...]
    fixed_costs: dict[int, NDArray[Any]]
    """Variable → nano-dollars per place of the atlas for data from and to Storages whose place is known."""
    fixed_hours: dict[int, NDArray[Any]]
    limits: tuple[Limit, ...]
    """Quotas, and machines that are few; also where the problem keeps none, because none is broken."""
    uses: dict[int, NDArray[Any]]
    """Variable → [candidate, limit] → thousandths."""

    @property
    def quotas(self) -> tuple[int, ...]:
        """What each of `limits` allows, in thousandths."""
        return tuple(limit.most for limit in self.limits)


@dataclass(slots=True)
class _Build:
    """The parts of a model while it is put together."""

    graph: TaskGraph
    found: CandidateSet
    atlas: Atlas
    variables: list[Variable] = field(default_factory=list)
    flows: dict[tuple[int, int], list[tuple[bool, Decimal]]] = field(default_factory=dict)
    bounds: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    fixed_costs: dict[int, NDArray[Any]] = field(default_factory=dict)
    fixed_hours: dict[int, NDArray[Any]] = field(default_factory=dict)

    def join(self, first: int, second: int, forward: bool, gb: Decimal) -> None:
        key = (min(first, second), max(first, second))
        self.flows.setdefault(key, []).append((forward if first < second else not forward, gb))

    def bind(self, first: int, second: int, bound: str) -> None:
        key = (min(first, second), max(first, second))
        if bound not in self.bounds.setdefault(key, []):
            self.bounds[key].append(bound)


def build(
    graph: TaskGraph,
    found: CandidateSet,
    *,
    any_rank: bool = False,
    timed: bool = False,
    held: bool = False,
    last: Collection[int] = (),
    atlas: Atlas | None = None,
) -> Model:
    """The model of a graph whose groups all have candidates.

    any_rank: also candidates that the task's own order (`ordered`, a list of accelerators) puts after others. timed: keep what is
    quicker though dearer. held: keep quotas over all tasks; without, none is kept beyond a group's own.
    last: parts of the catalog that a group is placed at only if it has no candidate at another. atlas: an earlier model's of the same
    graph, whose tables are used again where they are the same.
    """
    penalty = _penalty(graph, found)
    if atlas is None or atlas.catalog is not found.catalog or atlas.penalty != penalty:
        atlas = Atlas(catalog=found.catalog, penalty=penalty)
    state = _Build(graph=graph, found=found, atlas=atlas)
    timed = timed or any(task.deadline_hours is not None for task in graph.tasks)
    limited = any(task.budget is not None for task in graph.tasks)
    scarce = limits(graph, found)
    kinds = Kinds(any_rank=any_rank, timed=timed, limited=limited, held=held, last=tuple(sorted(last)))
    groups, taken, used = _group_variables(state, scarce, kinds)
    storages = storages_of(graph, found, atlas)
    places = _storage_variables(state, storages, limits=len(scarce))
    flows = tuple(_flows(graph, storages))
    _join_groups(state, graph, groups)
    _join_flows(state, graph, groups, places, storages, flows)
    _join_tasks(state, groups, places)
    state.variables = [
        _with_fixed(variable, state.fixed_costs.get(i), state.fixed_hours.get(i)) for i, variable in enumerate(state.variables)
    ]
    # A table per pair of zones instead of regions is ten times the size, for the same answer.
    joined = {index for pair in (*state.flows, *state.bounds) for index in pair}
    asked = {bound for bounds in state.bounds.values() for bound in bounds}
    cheapest = not (timed or limited or held)
    state.variables = before_pairs(state.variables, joined, asked, atlas, cheapest=cheapest, held=held)
    pairs, numbers = _pairs(state)
    problem = Problem(
        variables=tuple(state.variables),
        pairs=pairs,
        stages=tuple(_stages(graph, groups, places, flows, numbers, atlas.penalty)),
        quotas=tuple(limit.most for limit in scarce) if held else (),
    )
    return Model(
        problem=problem,
        atlas=atlas,
        groups=groups,
        choices=taken,
        storages=storages,
        storage_variables=places,
        flows=flows,
        fixed_costs=state.fixed_costs,
        fixed_hours=state.fixed_hours,
        limits=scarce,
        uses=used,
    )


def _group_variables(
    state: _Build, scarce: tuple[Limit, ...], kinds: Kinds
) -> tuple[dict[tuple[TaskId, GroupName], int], dict[int, Choices], dict[int, NDArray[Any]]]:
    """A variable for every group. Group → its number; number → its choices; number → what each of them takes of every limit."""
    graph, found, atlas = state.graph, state.found, state.atlas
    groups: dict[tuple[TaskId, GroupName], int] = {}
    taken: dict[int, Choices] = {}
    used: dict[int, NDArray[Any]] = {}
    known: dict[object, tuple[Choices, Variable, NDArray[Any]]] = {}
    options = {(o.task, o.group): o for o in found.options}
    for task, group in sorted(_every_group(graph), key=lambda pair: (pair[0].id, pair[0].groups.index(pair[1]))):
        number = len(state.variables)
        groups[task.id, group.name] = number
        mine = options[task.id, group.name]
        # Groups that ask for the same and run as long have the same choices; files with a thousand such tasks exist.
        once = task.num_nodes if group.name == task.groups[0].name and found.catalog.addresses else 0
        asked = _asked(group), found.restrictions.get(task.id)
        key = (id(mine.row), group.num_nodes, group.ordered, task.hours, task.hours_on, checkpoint_hours(task), asked, once)
        if key not in known:
            made = choices(task, group, found, mine, atlas)
            use = uses(mine, group.num_nodes, found.catalog, scarce)
            known[key] = made, group_variable(made, use, atlas, kinds), use
        taken[number], used[number] = known[key][0], known[key][2]
        state.variables.append(replace(known[key][1], name=f"{task.id}/{group.name}"))
    return groups, taken, used


def _join_tasks(state: _Build, groups: dict[tuple[TaskId, GroupName], int], places: dict[str, int]) -> None:
    """What ties a task to a Storage that it opens, and to another task."""
    for task in state.graph.tasks:
        for name in sorted(opened(task) & set(places)):
            # A machine's identity has rights at its own provider alone.
            state.bind(_head(task, groups), places[name], "same cloud")
    for task in state.graph.tasks:
        for affinity in task.affinities:
            state.bind(_head(task, groups), _head(_task(state.graph, affinity.task), groups), _bound(affinity))


def _penalty(graph: TaskGraph, found: CandidateSet) -> float:
    """More than everything known together can cost: the dearest machine for each group, and the dearest path for each byte."""
    dearest = {(o.task, o.group): float(o.hourly.max()) if len(o) else 0.0 for o in found.options}
    rules = {(rule.steps, rule.both_ways): rule for part in found.catalog.parts for rule in part.rates.transfers}
    volumes = [flow.gb for task in graph.tasks for flow in (*task.inputs, *task.outputs)]
    volumes += [task.traffic_gb for task in graph.tasks if task.traffic_gb is not None]
    # A rule's price grows with the volume, so all volumes together bound each of them.
    moved = sum(volumes, Decimal(0)) * max(1, len(graph.tasks))
    known = nano(max((price_of(rule, moved) or Decimal(0) for rule in rules.values()), default=Decimal(0))) if moved else 0.0
    for storage in {storage.name: storage for task in graph.tasks for storage in task.storages if storage.auto}.values():
        prices = [
            storage_price(graph, storage, part, rate.region) for part in found.catalog.parts for rate in part.rates.storages
        ]
        known += nano(max((price for price in prices if price is not None), default=Decimal(0)))
    for task, group in _every_group(graph):
        hours = max([task.hours, *(expected.hours for expected in task.hours_on)])
        known += dearest[task.id, group.name] * float(hours) * group.num_nodes
    penalty = PENALTY
    while penalty < known * 4:
        penalty *= 2
    return penalty


def _asked(group: NodeGroup) -> tuple[ResourceRequest, ...]:
    return tuple(replace(request, origin=SpecPath()) for request in group.requests)


def _every_group(graph: TaskGraph) -> Iterator[tuple[Task, NodeGroup]]:
    return ((task, group) for task in graph.tasks for group in task.groups)


def _task(graph: TaskGraph, name: TaskId) -> Task:
    return next(task for task in graph.tasks if task.id == name)


def _head(task: Task, groups: dict[tuple[TaskId, GroupName], int]) -> int:
    """The variable of the group a task's data comes to and goes from: its first."""
    return groups[task.id, task.groups[0].name]


def _with_fixed(variable: Variable, cost: NDArray[Any] | None, hours: NDArray[Any] | None) -> Variable:
    return replace(
        variable,
        cost=variable.cost if cost is None else variable.cost + cost[variable.place],
        worst=variable.worst if cost is None else variable.worst + cost[variable.place],
        moves=variable.moves if hours is None else variable.moves + hours[variable.place],
    )


def _storage_variables(state: _Build, storages: dict[str, StoragePlace], *, limits: int) -> dict[str, int]:
    """A variable for every Storage that the optimizer places. Name → its number."""
    places: dict[str, int] = {}
    for name in sorted(storages):
        if storages[name].storage.auto:
            variable = storage_variable(state.graph, storages[name].storage, state.found, state.atlas, limits=limits)
            if len(variable):
                places[name] = len(state.variables)
                state.variables.append(variable)
    return places


def _flows(graph: TaskGraph, storages: dict[str, StoragePlace]) -> Iterator[Flow]:
    """What moves: to and from Storages, and straight from task to task. Sorted by its ends."""
    found: list[Flow] = []
    sources = flow_sources(graph.tasks)
    asked = {item.key for task in graph.tasks for item in task.inputs}
    for task in graph.tasks:
        for item in task.inputs:
            if is_straight(item):
                found += [_flow(source, task.id, True, True, item.gb) for source in sources[task.id][item.key]]
            else:
                found.append(_flow(item.storage or item.key, task.id, False, True, item.gb))
        for item in task.outputs:
            if not is_straight(item):
                found.append(_flow(task.id, item.storage or item.key, True, False, item.gb))
            elif item.key not in asked:
                # Nobody asks for it by name: it goes to every task that waits for this one.
                found += [_flow(task.id, later.id, True, True, item.gb) for later in graph.tasks if task.id in later.needs]
    return iter(sorted(found, key=lambda flow: (flow.source, flow.destination, flow.gb)))


def _flow(source: str, destination: str, from_task: bool, to_task: bool, gb: Decimal) -> Flow:
    return Flow(source=source, destination=destination, source_is_task=from_task, destination_is_task=to_task, gb=gb)


def traffic_share(task: Task) -> Decimal:
    """GB that the first group sends to each of the others, and receives from it; 0 when there is none, or nobody knows."""
    others = len(task.groups) - 1
    return (task.traffic_gb or Decimal(0)) / others / 2 if others else Decimal(0)


def _join_groups(state: _Build, graph: TaskGraph, groups: dict[tuple[TaskId, GroupName], int]) -> None:
    """The groups of a task are one cluster: one provider and region, and their traffic is paid between zones."""
    for task in graph.tasks:
        head, *others = (groups[task.id, group.name] for group in task.groups)
        for other in others:
            state.bind(head, other, "same region")
            if share := traffic_share(task):
                state.join(head, other, True, share)
                state.join(head, other, False, share)


def _join_flows(
    state: _Build,
    graph: TaskGraph,
    groups: dict[tuple[TaskId, GroupName], int],
    places: dict[str, int],
    storages: dict[str, StoragePlace],
    flows: tuple[Flow, ...],
) -> None:
    import numpy

    heads = {task.id: _head(task, groups) for task in graph.tasks}
    for flow in flows:
        source = heads.get(TaskId(flow.source)) if flow.source_is_task else places.get(flow.source)
        destination = heads.get(TaskId(flow.destination)) if flow.destination_is_task else places.get(flow.destination)
        if source is not None and destination is not None:
            state.join(source, destination, True, flow.gb)
            if not flow.source_is_task or not flow.destination_is_task:
                state.bind(source, destination, "reachable storage")
            continue
        variable = source if source is not None else destination
        fixed = storages[flow.destination if source is not None else flow.source].place
        if variable is None or fixed is None:
            continue
        here, there = numpy.arange(len(state.atlas.locations)), numpy.array([fixed])
        if source is not None:
            cost, hours = state.atlas.costs(here, there, flow.gb)[:, 0], state.atlas.hours(here, there, flow.gb)[:, 0]
        else:
            cost, hours = state.atlas.costs(there, here, flow.gb)[0], state.atlas.hours(there, here, flow.gb)[0]
        state.fixed_costs[variable] = state.fixed_costs.get(variable, 0.0) + cost
        state.fixed_hours[variable] = state.fixed_hours.get(variable, 0.0) + hours


def opened(task: Task) -> set[str]:
    """The Storages that a task's own nodes read or write: what only moves, or is named for the job itself, is none of them."""
    mounted = {mount.storage for mount in task.file_mounts if mount.storage is not None}
    return mounted | ({task.checkpoint.storage} if task.checkpoint is not None else set())


def _bound(affinity: Affinity) -> str:
    return f"{'same' if affinity.same else 'distinct'} {affinity.level.value}"


def _pairs(state: _Build) -> tuple[tuple[Pair, ...], dict[tuple[int, int], int]]:
    import numpy

    pairs: list[Pair] = []
    numbers: dict[tuple[int, int], int] = {}
    for first, second in sorted({*state.flows, *state.bounds}):
        here, there = state.variables[first].place, state.variables[second].place
        cost, hours = numpy.zeros((len(here), len(there))), numpy.zeros((len(here), len(there)))
        flows = state.flows.get((first, second), [])
        for forward, gb in flows:
            cost = cost + (state.atlas.costs(here, there, gb) if forward else state.atlas.costs(there, here, gb).T)
            hours = hours + (state.atlas.hours(here, there, gb) if forward else state.atlas.hours(there, here, gb).T)
        bounds = state.bounds.get((first, second), [])
        for bound in bounds:
            cost = numpy.where(kept(state.atlas, bound, here, there), cost, numpy.inf)
        numbers[first, second] = len(pairs)
        pairs.append(
            Pair(
                first=first,
                second=second,
                cost=cost,
                hours=hours,
                flows=tuple(flows),
                bounds=tuple(bounds),
            )
        )
    return tuple(pairs), numbers


def kept(atlas: Atlas, bound: str, here: NDArray[Any], there: NDArray[Any]) -> NDArray[Any]:
    """[place, place] → whether the bound holds. Zones that are not known are neither the same nor distinct."""
    which, level = bound.split()
    if which == "reachable":
        return _reachable(atlas, here, there)
    column = {"cloud": atlas.part_of, "region": atlas.region_of, "zone": atlas.zone_of}[level]
    first, second = column[here][:, None], column[there][None, :]
    unknown = (first == -1) | (second == -1)
    if which == "same":
        kept: NDArray[Any] = (first == second) & ~unknown
        return kept
    elsewhere = atlas.region_of[here][:, None] != atlas.region_of[there][None, :]
    distinct: NDArray[Any] = ((first != second) & ~unknown) | (elsewhere if level == "zone" else False)
    return distinct


def _reachable(atlas: Atlas, here: NDArray[Any], there: NDArray[Any]) -> NDArray[Any]:
    """[place, place] → both are at one provider, or neither keeps its storage to itself. (Its machines reach out anyway.)"""
    import numpy

    private = numpy.array([not part.rates.reachable for part in atlas.catalog.parts])
    first, second = atlas.part_of[here], atlas.part_of[there]
    # Only a Storage's side can be in the way; a place without zone stands for one.
    whole_first, whole_second = (
        here >= len(atlas.locations) - len(atlas.regions),
        there >= len(atlas.locations) - len(atlas.regions),
    )
    closed = (private[first] & whole_first)[:, None] | (private[second] & whole_second)[None, :]
    reachable: NDArray[Any] = (first[:, None] == second[None, :]) | ~closed
    return reachable


def _stages(
    graph: TaskGraph,
    groups: dict[tuple[TaskId, GroupName], int],
    places: dict[str, int],
    flows: tuple[Flow, ...],
    pairs: dict[tuple[int, int], int],
    penalty: float,
) -> Iterator[Stage]:
    order = {task.id: number for number, task in enumerate(graph.tasks)}
    heads = {task.id: _head(task, groups) for task in graph.tasks}

    def pair(first: int, second: int) -> int:
        return pairs[min(first, second), max(first, second)]

    for task in graph.tasks:
        mine = heads[task.id]
        after: dict[int, list[int]] = {order[need]: [] for need in task.needs}
        moves = []
        paid = [pair(mine, groups[task.id, group.name]) for group in task.groups[1:]]
        for flow in flows:
            if flow.destination_is_task and flow.destination == task.id:
                if flow.source_is_task:
                    joined = pair(heads[TaskId(flow.source)], mine)
                    after.setdefault(order[TaskId(flow.source)], []).append(joined)
                    paid.append(joined)
                elif flow.source in places:
                    moves.append(pair(places[flow.source], mine))
            elif flow.source_is_task and flow.source == task.id and flow.destination in places:
                moves.append(pair(places[flow.destination], mine))
        yield Stage(
            variables=tuple(groups[task.id, group.name] for group in task.groups),
            after=tuple((before, tuple(dict.fromkeys(joined))) for before, joined in sorted(after.items())),
            moves=tuple(dict.fromkeys(moves)),
            deadline=None if task.deadline_hours is None else float(task.deadline_hours),
            # An unknown price is within no budget, however large; a known one never comes near the penalty.
            budget=None if task.budget is None else min(nano(task.budget), penalty * 0.99),
            paid=tuple(dict.fromkeys([*paid, *moves])),
        )
