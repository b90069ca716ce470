"""What to say when every group has candidates and still no choice satisfies everything together.

Contract: pure. Limits of one kind are held alone; a kind that cannot be kept even then is named, with the best that each of its tasks
can have without any limit, since that is the number the user has to move it to. Numbers are rounded up, so that they suffice. Quotas
come first, and where they can be kept, everything else that is said is with them kept.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from ..diagnostics import Diagnostic, SourceMap, error
from ..ir import AffinityLevel, CandidateSet, Catalog, NodeGroup, Objective, SpecPath, Task, TaskGraph, decimal_text
from ..ir.catalog import MILLI
from .decide import decide
from .model import Model, build, opened
from .problem import Excess, Pair, Problem, Stage, excesses, soonest_hours, worst_of

if TYPE_CHECKING:
    from .atlas import Atlas

NANO_DOLLARS = Decimal(10) ** -9
CENT = Decimal("0.01")
ENDLESS = 10**15
"""Thousandths that no plan uses."""


def nothing_satisfies(graph: TaskGraph, model: Model, sources: SourceMap, found: CandidateSet) -> Diagnostic:
    """The error for a graph without a solution."""
    problem = model.problem
    budgeted = [(task, stage) for task, stage in zip(graph.tasks, problem.stages, strict=True) if task.budget is not None]
    timed = [(task, number) for number, task in enumerate(graph.tasks) if task.deadline_hours is not None]
    free = _without(problem, budget=True, deadline=True)
    if not _possible(free, model.atlas):
        if problem.quotas and _possible(replace(free, quotas=()), model.atlas):
            return _over_quota(graph, model, free, found.catalog, sources)
        return _split(graph, model, sources) or _not_reachable(graph, found, sources) or _apart(graph, sources)
    # With one kind of limit alone there is nothing to tell apart.
    if budgeted and not (timed and _possible(_without(problem, deadline=True), model.atlas)):
        return _over_budget(model, budgeted, sources)
    if timed and not (budgeted and _possible(_without(problem, budget=True), model.atlas)):
        return _too_late(model, timed, sources)
    lines = [f"{task.id}: {_least(_worst(model, stage, deadlines=True))}." for task, stage in budgeted]
    return error(
        "limits-conflict",
        "Budgets and deadlines cannot hold together",
        "\n".join(
            [
                "Each kind of limit can be kept without the other, but no placement keeps them all. With all deadlines kept:",
                *lines,
            ]
        ),
        span=sources.find(budgeted[0][0].origin.child("budget")),
        hint="raise a budget or move a deadline",
    )


SHOWN = 3


def _split(graph: TaskGraph, model: Model, sources: SourceMap) -> Diagnostic | None:
    """The error for a task whose groups have no region in common; None where each has one."""
    for task in graph.tasks:
        regions = {group.name: _regions(model, task, group) for group in task.groups}
        if len(regions) < 2 or set.intersection(*map(set, regions.values())):
            continue
        # The first group that fits none of those before it: there the user wrote what cannot be.
        common, odd = set(regions[task.groups[0].name]), task.groups[0]
        for group in task.groups[1:]:
            if not common & set(regions[group.name]):
                odd = group
                break
            common &= set(regions[group.name])
        where = [f"`{name}` can be in {_some(found)}" for name, found in regions.items()]
        return error(
            "groups-apart",
            "The groups of a cluster have no region in common",
            f"The groups of `{task.id}` are one Ray cluster, which lies in one region: its nodes talk to each other on every port, at"
            f" addresses of one private network. {'; '.join(where)}.",
            span=sources.find(odd.requests[0].origin.child("infra")),
            hint="give the groups one region with `infra`, or make them tasks of their own: data can go from one to the other",
        )
    return None


def _regions(model: Model, task: Task, group: NodeGroup) -> list[str]:
    """Where a group has candidates, as `provider/region`, sorted."""
    variable = model.problem.variables[model.groups[task.id, group.name]]
    regions = (model.atlas.regions[int(number)] for number in set(variable.region.tolist()))
    return sorted(f"{model.atlas.catalog.parts[region.part].provider}/{region.name}" for region in regions)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _not_reachable(graph: TaskGraph, found: CandidateSet, sources: SourceMap) -> Diagnostic | None:
    """The error for Storages of which no place can be opened by the machines that use them; None where that is not what stands in the
    way: without what the tasks mount, there is no solution either."""
    used = [(task, name) for task in graph.tasks for name in sorted(opened(task) & _open_storages(task))]
    if not used:
        return None
    bare = replace(graph, tasks=tuple(replace(task, file_mounts=(), checkpoint=None) for task in graph.tasks))
    model = build(bare, found)
    if not _possible(_without(model.problem, budget=True, deadline=True), model.atlas):
        return None
    task, name = used[0]
    storage = next(item for item in task.storages if item.name == name)
    return error(
        "not-reachable",
        "No place of a Storage can be opened by the machines that use it",
        f"`{task.id}` mounts `{name}` or keeps its checkpoints there, and the optimizer is to choose where it lies. A machine opens places"
        " at its own provider, and no provider with machines for all tasks that use it keeps data, or the file puts it elsewhere.",
        span=sources.find(storage.origin),
        hint="allow the task another provider with `infra`, or name a place with `uri` that the job can open by itself",
    )


def _open_storages(task: Task) -> set[str]:
    return {storage.name for storage in task.storages if storage.auto}


def _possible(problem: Problem, atlas: Atlas) -> bool:
    return decide(problem, atlas, Objective.COST) is not None


def _apart(graph: TaskGraph, sources: SourceMap) -> Diagnostic:
    zonal = any(affinity.level is AffinityLevel.ZONE for task in graph.tasks for affinity in task.affinities)
    named = "; a machine that the catalog knows by region alone counts as in the first zone: name the zone with `infra`"
    return error(
        "affinities-conflict",
        "No placement satisfies all affinities",
        "Every task has offers that meet its own requirements, but none of them are where the affinities"
        " and the groups of one cluster want them together.",
        span=sources.find(_first_affinity(graph)),
        hint=f"loosen an affinity, or the place one of its tasks asks for{named if zonal else ''}",
    )


def _over_quota(graph: TaskGraph, model: Model, free: Problem, catalog: Catalog, sources: SourceMap) -> Diagnostic:
    """free: without other limits. The first quota that cannot be kept though no other were, and the least it would have to be."""
    every = free.quotas
    alone = [
        replace(free, quotas=tuple(limit if other == number else ENDLESS for other, limit in enumerate(every)))
        for number in range(len(every))
    ]
    broken = next((problem for problem in alone if not _possible(problem, model.atlas)), None)
    found = _least_excess(broken or free, model)
    lines = [] if found is None else [_together(graph, model, found, catalog)]
    if broken is None:
        lines.append("Each limit can be kept by itself, but not all of them together.")
    tasks = graph.tasks if found is None else [graph.tasks[number] for number in found.stages]
    raised = "add machines" if found is not None and model.limits[found.quota].quota is None else "raise the quota"
    return error(
        "over-quota",
        "No placement keeps the quotas",
        "\n".join([*lines, "The machines of all tasks of a file are made before the first one runs, so they count together."]),
        span=sources.find(tasks[0].origin),
        hint=f"{raised} in `config.yaml` if there is more, allow other places, or apply the tasks as files of their own and destroy each"
        " before the next",
    )


def _together(graph: TaskGraph, model: Model, found: Excess, catalog: Catalog) -> str:
    limit = model.limits[found.quota]
    names = [str(graph.tasks[number].id) for number in found.stages]
    who = f"All groups of {names[0]} use" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} use"
    region = model.atlas.regions[found.region].name
    return f"{limit.described(catalog)}. {who} at least {decimal_text(found.amount * MILLI)} {limit.unit(catalog)} together in {region}."


def _least_excess(problem: Problem, model: Model) -> Excess | None:
    """What breaks a quota most in a solution that breaks quotas least; None when time ran out."""
    from .program import Program

    program = Program(problem, model.atlas, timed=False)
    program.forgive_quotas()
    answer = program.minimize(program.excess)
    found = () if answer is None else excesses(problem, problem.quotas, answer.values)
    return max(found, key=lambda item: item.amount - problem.quotas[item.quota], default=None)


def _without(problem: Problem, *, budget: bool = False, deadline: bool = False) -> Problem:
    return replace(
        problem,
        stages=tuple(
            replace(
                stage,
                budget=None if budget else stage.budget,
                deadline=None if deadline else stage.deadline,
            )
            for stage in problem.stages
        ),
    )


def _over_budget(model: Model, budgeted: list[tuple[Task, Stage]], sources: SourceMap) -> Diagnostic:
    worst = [(task, _worst(model, stage, deadlines=False)) for task, stage in budgeted]
    over = [(task, least) for task, least in worst if least is None or least > (task.budget or Decimal(0))]
    lines = [
        f"{task.id}: the budget is ${decimal_text(task.budget or Decimal(0))}; {_least(least)}."
        for task, least in over or worst
    ]
    if not over:
        lines.append("Each of these budgets can be kept by itself, but not all of them together.")
    return error(
        "over-budget",
        "No placement keeps the budget",
        "\n".join(
            [*lines, "The worst case counts spot machines at their on-demand price and all data that moves to the task."]
        ),
        span=sources.find((over or worst)[0][0].origin.child("budget")),
        hint="raise the budget, lower `hours` if they are too high, or allow more machines or places",
    )


def _least(worst: Decimal | None) -> str:
    if worst is None:
        return "what it costs in the worst case cannot be told: a price is not known, or the search took too long"
    return f"the least it can cost in the worst case is ${decimal_text(worst.quantize(CENT, ROUND_CEILING))}"


def _worst(model: Model, stage: Stage, *, deadlines: bool) -> Decimal | None:
    """The least worst case of one task, whatever the others cost; None when nobody can tell."""
    problem = _without(model.problem, budget=True, deadline=not deadlines)
    paid = frozenset(stage.paid)
    alone = replace(
        problem,
        variables=tuple(
            replace(v, cost=v.worst if i in stage.variables else 0 * v.cost) for i, v in enumerate(problem.variables)
        ),
        pairs=tuple(pair if number in paid else _allowing(pair) for number, pair in enumerate(problem.pairs)),
    )
    answer = decide(alone, model.atlas, Objective.COST)
    if answer is None:
        # It is possible, so time ran out.
        return None
    worst = worst_of(alone, stage, answer.values)
    return None if worst >= model.atlas.penalty / 2 else Decimal(round(worst)) * NANO_DOLLARS


def _allowing(pair: Pair) -> Pair:
    """The pair with its bounds and without its costs."""
    import numpy

    return replace(pair, cost=numpy.where(numpy.isinf(pair.cost), numpy.inf, 0.0))


def _too_late(model: Model, timed: list[tuple[Task, int]], sources: SourceMap) -> Diagnostic:
    ends = [(task, _soonest(model, number)) for task, number in timed]
    late = [(task, end) for task, end in ends if end > (task.deadline_hours or Decimal(0))]
    lines = [
        f"{task.id}: it must end within {decimal_text(task.deadline_hours or Decimal(0))} h; the soonest it can end is"
        f" {decimal_text(end.quantize(CENT, ROUND_CEILING))} h after the start."
        for task, end in late or ends
    ]
    if not late:
        lines.append("Each of these deadlines can be kept by itself, but not all of them together.")
    return error(
        "too-late",
        "No placement keeps the deadline",
        "\n".join([*lines, "Counted are the run times of everything it waits for and the time its data takes."]),
        span=sources.find((late or ends)[0][0].origin.child("deadline")),
        hint="move the deadline, or give `hours` for quicker machines",
    )


def _soonest(model: Model, number: int) -> Decimal:
    """When one task ends at the soonest, whatever becomes of those it does not wait for."""
    problem = _without(model.problem, budget=True, deadline=True)
    waiting = _before(problem, number)
    # The others stay, for they may use up a quota, and take no time.
    stages = tuple(stage if old in waiting else replace(stage, after=(), moves=()) for old, stage in enumerate(problem.stages))
    counted = {variable for old in waiting for variable in problem.stages[old].variables}
    # What the others take is no matter, but they stay: affinities may join them to these. Nor is what a task would rather have.
    variables = tuple(
        replace(v, rank=0 * v.rank) if i in counted else replace(v, rank=0 * v.rank, hours=0 * v.hours, moves=0 * v.moves)
        for i, v in enumerate(problem.variables)
    )
    alone = replace(problem, variables=variables, stages=stages)
    answer = decide(alone, model.atlas, Objective.TIME, any_price=True)
    # It is possible, so without an answer time ran out; then a bound is better than nothing.
    return Decimal(repr(max(soonest_hours(alone)) if answer is None else answer.value))


def _before(problem: Problem, number: int) -> set[int]:
    """The stages that one waits for, itself included."""
    found: set[int] = set()
    left = [number]
    while left:
        stage = left.pop()
        if stage not in found:
            found.add(stage)
            left += [before for before, _ in problem.stages[stage].after]
    return found


def _first_affinity(graph: TaskGraph) -> SpecPath:
    return next(
        (affinity.origin for task in graph.tasks for affinity in task.affinities),
        next((task.groups[0].origin for task in graph.tasks if len(task.groups) > 1), graph.tasks[0].origin),
    )
