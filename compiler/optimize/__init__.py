"""optimize: where every group and every Storage goes, proven best, and in which order to fall back.

Contract: pure. `atlas` numbers the places and prices transfers, `costs` prices candidates, `model` states the choice as a `problem`,
`prune`, `eliminate` and `program` answer it (`decide` says which), `rank` orders what was not chosen, and `assembly` puts the plan
together. Every amount of the plan is computed anew in Decimal; the solvers' numbers only choose. Ties are broken by the written order:
request, provider, region, zone, machine type, market.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..diagnostics import Diagnostic, SourceMap
from ..ir import CandidateSet, Objective, PlacementPlan, TaskGraph
from ..makeable import better_elsewhere
from .assembly import Assembly
from .atlas import Atlas
from .decide import decide
from .infeasible import nothing_satisfies
from .model import Model, build
from .problem import Answer, excesses, used

SLOW_PAIRS = 16
"""Pairs of groups and Storages that cost something together, from which on a second choice takes longer than a look at each alone."""


def _all_can_be_made(sketch: PlacementPlan, found: CandidateSet) -> CandidateSet:
    return found


def optimize(
    graph: TaskGraph,
    found: CandidateSet,
    sources: SourceMap,
    *,
    objective: Objective = Objective.COST,
    targets: Collection[str] | None = None,
    priced: Collection[str] = (),
    narrowed: Callable[[PlacementPlan, CandidateSet], CandidateSet | None] = _all_can_be_made,
    alone: Callable[[PlacementPlan, CandidateSet], CandidateSet] = _all_can_be_made,
) -> tuple[PlacementPlan | None, tuple[Diagnostic, ...]]:
    """Choose a placement for everything in `graph`. Every group must have a candidate (the candidates stage says so otherwise).

    None with an error when no choice keeps all affinities, deadlines and budgets. targets: providers that machines can be made at; a
    group that is placed at one of them falls back to none of the others. None: to all. priced: providers that are taken only where
    nothing else is left; a note says what was cheaper there. narrowed: is shown the best choice (its placements and Storages alone) and
    gives the candidates without what cannot be made of it, to choose again from; all of them where everything can be made; None where
    nothing would be left, and then it stays at the first choice. alone: the same of choices that were made for each group by itself.
    """
    first: Assembly | None = None
    every, atlas = found, None
    found, ready = _glanced(graph, found, objective, _parts(found, priced), alone)
    while True:
        made, model = _assembled(graph, found, objective, targets, priced, atlas, ready)
        atlas, ready = model.atlas, None
        if made is None and first is None:
            if found is every:
                return None, (nothing_satisfies(graph, model, sources, found),)
            # Of all there is, then: with what cannot be made, which is the better reason.
            found = every
            continue
        narrower = None if made is None else narrowed(made.sketch(), found)
        if made is None or narrower is None:
            assert made is not None or first is not None
            made = first or made
            break
        if narrower is found:
            break
        first, found = first or made, narrower
    assert made is not None
    return made.plan(), better_elsewhere(made.passed_over)


def _glanced(
    graph: TaskGraph,
    found: CandidateSet,
    objective: Objective,
    last: tuple[int, ...],
    alone: Callable[[PlacementPlan, CandidateSet], CandidateSet],
) -> tuple[CandidateSet, Model | None]:
    """The candidates without what cannot be made of what each group would take by itself, where a choice of all together takes long
    (SLOW_PAIRS): most that it would be made again for is among them. And the model of them, as `_chosen` makes it first; None where it
    is not made."""
    if objective is Objective.TIME or len(graph.tasks) == 1:
        return found, None
    atlas: Atlas | None = None
    while True:
        model = build(graph, found, last=last, atlas=atlas)
        atlas, problem = model.atlas, model.problem
        if len(problem.pairs) < SLOW_PAIRS or not all(map(len, problem.variables)):
            return found, model
        values = tuple(int(variable.cost.argmin()) for variable in problem.variables)
        lone = Answer(values=values, value=0.0, bound=0.0, optimal=False, method="each alone")
        made = Assembly(
            graph=graph, found=found, model=model, answer=lone, objective=objective, in_use={}, targets=None, priced=()
        )
        narrower = alone(made.sketch(), found)
        if narrower is found:
            return found, model
        found = narrower


def _assembled(
    graph: TaskGraph,
    found: CandidateSet,
    objective: Objective,
    targets: Collection[str] | None,
    priced: Collection[str],
    atlas: Atlas | None,
    ready: Model | None,
) -> tuple[Assembly | None, Model]:
    """The best choice, ready to be put together; None where no choice keeps all limits. And the model it is of. ready: see `_glanced`."""
    last = _parts(found, priced)
    model, answer = _best(graph, found, objective, last, atlas, ready)
    if answer is None and last:
        # Limits that nothing keeps which can be made: shown where they are kept.
        priced = ()
        model, answer = _best(graph, found, objective, (), model.atlas)
    if answer is None:
        return None, model
    made = Assembly(
        graph=graph,
        found=found,
        model=model,
        answer=answer,
        objective=objective,
        in_use=used(model.problem, answer.values) if model.quotas else {},
        targets=targets,
        priced=priced,
    )
    return made, model


def _parts(found: CandidateSet, providers: Collection[str]) -> tuple[int, ...]:
    """Numbers of these providers' parts of the catalog, of those that have a candidate."""
    import numpy

    parts = [number for number, part in enumerate(found.catalog.parts) if part.provider in providers]
    # Groups with the same candidates share their columns: each is looked at once.
    columns = {id(options.part): options.part for options in found.options}
    return tuple(parts) if any(numpy.isin(column, parts).any() for column in columns.values()) else ()


def _best(
    graph: TaskGraph,
    found: CandidateSet,
    objective: Objective,
    last: tuple[int, ...],
    atlas: Atlas | None,
    ready: Model | None = None,
) -> tuple[Model, Answer | None]:
    model, answer = _chosen(graph, found, objective, any_rank=False, last=last, atlas=atlas, ready=ready)
    ordered = any(choice.rank.any() for choice in model.choices.values())
    if answer is None and (objective is Objective.TIME or model.problem.limited or ordered):
        # What one would rather have cannot keep every limit together with the rest: now what is left, too.
        model, answer = _chosen(graph, found, objective, any_rank=True, last=last, atlas=model.atlas)
    return model, answer


def _chosen(
    graph: TaskGraph,
    found: CandidateSet,
    objective: Objective,
    *,
    any_rank: bool,
    last: tuple[int, ...],
    atlas: Atlas | None,
    ready: Model | None = None,
) -> tuple[Model, Answer | None]:
    """The best solution, and the model it is one of. Quotas take part only when the best without them breaks one."""
    timed = objective is Objective.TIME
    model = ready or build(graph, found, timed=timed, any_rank=any_rank, last=last, atlas=atlas)
    answer = decide(model.problem, model.atlas, objective)
    if answer is None and not model.quotas:
        return model, None
    if answer is not None and not excesses(model.problem, model.quotas, answer.values):
        return model, answer
    # Without an answer the quotas take part in what is said about it.
    model = build(graph, found, timed=timed, any_rank=any_rank, held=True, last=last, atlas=model.atlas)
    return model, None if answer is None else decide(model.problem, model.atlas, objective)


__all__ = ["optimize"]
