"""What to say when every group has candidates and still no choice satisfies everything together.

Contract: pure. Limits are taken away one kind at a time; the first whose absence makes the problem solvable is named, with the best that
can be had without it, since that is the number the user has to move it to.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from ..diagnostics import Diagnostic, SourceMap, error
from ..ir import Objective, SpecPath, Task, TaskGraph, decimal_text
from .decide import decide
from .model import Model
from .problem import Problem, finish_hours, worst_of

NANO_DOLLARS = Decimal(10) ** -9


def nothing_satisfies(graph: TaskGraph, model: Model, objective: Objective, sources: SourceMap) -> Diagnostic:
    """The error for a graph without a solution."""
    problem = model.problem
    budgeted = [task for task in graph.tasks if task.budget is not None]
    timed = [task for task in graph.tasks if task.deadline_hours is not None]
    if budgeted and (said := _over_budget(graph, model, sources)) is not None:
        return said
    if timed and (said := _too_late(graph, model, sources)) is not None:
        return said
    unlimited = _without(problem, budget=True, deadline=True)
    if decide(unlimited, model.atlas, objective) is not None:
        task = (budgeted or timed)[0]
        field = "budget" if task in budgeted else "deadline"
        return error(
            "limits-conflict",
            "Budgets and deadlines cannot hold together",
            "Each kind of limit can be kept without the other, but no placement keeps them all.",
            span=sources.find(task.origin.child(field)),
            hint="raise a budget or move a deadline",
        )
    return error(
        "affinities-conflict",
        "No placement satisfies all affinities",
        "Every task has offers that meet its own requirements, but none of them are where the affinities"
        " and the groups of one cluster want them together.",
        span=sources.find(_first_affinity(graph)),
        hint="loosen an affinity, or the place one of its tasks asks for",
    )


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


def _over_budget(graph: TaskGraph, model: Model, sources: SourceMap) -> Diagnostic | None:
    """None when the budgets are not what stands in the way."""
    free = _without(model.problem, budget=True)
    answer = decide(_by_worst(free), model.atlas, Objective.COST)
    if answer is None:
        return None
    over: list[tuple[Task, Decimal]] = []
    for task, stage in zip(graph.tasks, free.stages, strict=True):
        worst = Decimal(round(worst_of(free, stage, answer.values))) * NANO_DOLLARS
        if task.budget is not None and worst > task.budget:
            over.append((task, worst))
    if not over:
        return None
    lines = [
        f"{task.id}: the budget is ${decimal_text(task.budget or Decimal(0))}; the least it can cost in the worst case is"
        f" ${decimal_text(worst.quantize(Decimal('0.01')))}."
        for task, worst in over
    ]
    return error(
        "over-budget",
        "No placement keeps the budget",
        "\n".join(
            [*lines, "The worst case counts spot machines at their on-demand price and all data that moves to the task."]
        ),
        span=sources.find(over[0][0].origin.child("budget")),
        hint="raise the budget, lower `hours` if they are too high, or allow more machines or places",
    )


def _by_worst(problem: Problem) -> Problem:
    return replace(problem, variables=tuple(replace(v, cost=v.worst) for v in problem.variables))


def _too_late(graph: TaskGraph, model: Model, sources: SourceMap) -> Diagnostic | None:
    free = _without(model.problem, budget=True, deadline=True)
    answer = decide(free, model.atlas, Objective.TIME)
    if answer is None:
        return None
    ends = finish_hours(free, answer.values)
    late = [
        (task, Decimal(repr(end)).quantize(Decimal("0.01")))
        for task, end in zip(graph.tasks, ends, strict=True)
        if task.deadline_hours is not None and end > float(task.deadline_hours)
    ]
    if not late:
        return None
    lines = [
        f"{task.id}: it must end within {decimal_text(task.deadline_hours or Decimal(0))} h; the soonest it can end is"
        f" {decimal_text(end)} h after the start."
        for task, end in late
    ]
    return error(
        "too-late",
        "No placement keeps the deadline",
        "\n".join([*lines, "Counted are the run times of everything it waits for and the time its data takes."]),
        span=sources.find(late[0][0].origin.child("deadline")),
        hint="move the deadline, or give `hours` for quicker machines",
    )


def _first_affinity(graph: TaskGraph) -> SpecPath:
    return next(
        (affinity.origin for task in graph.tasks for affinity in task.affinities),
        next((task.groups[0].origin for task in graph.tasks if len(task.groups) > 1), graph.tasks[0].origin),
    )
