"""The order of a group's candidates while everything else stays as chosen: fallbacks, and what stands out as an alternative.

Contract: pure. Candidates are ranked by the task's own preference, then by the cost of the whole plan with them, then in the written
order. One that would break a bound or a limit is not in the list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from .model import Model, kept
from .problem import Answer, allowed

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTH = 96
"""How many candidates are looked at: enough to find a few alternatives that differ in more than the zone."""
TRIES = 4
"""How many times as many are tried where limits may rule them out."""
SAMPLED = 16
"""One key in so many is looked at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """row: the candidate; extra: nano-dollars the whole plan costs more (less when negative) than the chosen one; later: the task
    itself puts it after the chosen one."""

    row: int
    extra: float
    later: bool


def rank(model: Model, answer: Answer, variable: int, *, only: NDArray[Any] | None = None) -> tuple[Ranked, ...]:
    """The best candidates of a group besides the chosen one, best first. only: a mask of candidates to look at."""
    import numpy

    found = model.choices[variable]
    beside = _beside(model, answer, variable)
    total = found.cost if beside is None else found.cost + beside[found.place]
    chosen = int(model.problem.variables[variable].row[answer.values[variable]])
    key = total + found.rank * 1e16 if found.rank.any() else total.copy()
    key[chosen] = numpy.inf
    if only is not None:
        key[~only] = numpy.inf
    if model.problem.limited:
        key[~_within_own_limits(model, variable)] = numpy.inf
    depth = DEPTH * TRIES if model.problem.limited else DEPTH
    rows = _least(key, depth)
    best = rows[numpy.lexsort((rows, total[rows], found.rank[rows]))][:depth].tolist()
    if model.problem.limited:
        best = list(islice((row for row in best if _keeps_limits(model, answer, variable, row)), DEPTH))
    return tuple(
        Ranked(row=row, extra=float(total[row] - total[chosen]), later=bool(found.rank[row] > found.rank[chosen]))
        for row in best
    )


def _within_own_limits(model: Model, variable: int) -> NDArray[Any]:
    """Candidates that are not too slow or too dear for their task's limits by themselves: most others need no closer look."""
    import numpy

    found = model.choices[variable]
    stage = next(stage for stage in model.problem.stages if variable in stage.variables)
    good = numpy.ones(len(found.cost), dtype=bool)
    if stage.deadline is not None:
        good &= found.hours <= stage.deadline
    if stage.budget is not None:
        good &= found.worst <= stage.budget
    return good


def _least(key: NDArray[Any], depth: int) -> NDArray[Any]:
    """The rows of the `depth` least keys and of all equal to the last of them, in ascending order; endless ones are in no list."""
    import numpy

    finite = numpy.isfinite(key)
    if numpy.count_nonzero(finite) <= depth:
        return numpy.flatnonzero(finite)
    # The last of the least of some rows is no less than that of all rows: few are left to be looked at closely.
    some = key[::SAMPLED]
    rows = (
        numpy.flatnonzero(key <= numpy.partition(some, depth - 1)[depth - 1]) if len(some) >= depth else numpy.arange(len(key))
    )
    limit = numpy.partition(key[rows], depth - 1)[depth - 1]
    least: NDArray[Any] = rows[key[rows] <= limit]
    return least


def _beside(model: Model, answer: Answer, variable: int) -> NDArray[Any] | None:
    """Per place of the atlas: what data costs with the group there and all else as chosen; `inf` where a bound forbids it.

    None: nothing moves to or from it, and nothing binds it.
    """
    import numpy

    joined = [pair for pair in model.problem.pairs if variable in (pair.first, pair.second)]
    if not joined and variable not in model.fixed_costs:
        return None
    atlas = model.atlas
    everywhere = numpy.arange(len(atlas.locations))
    cost = model.fixed_costs.get(variable, numpy.zeros(len(everywhere))).copy()
    for pair in joined:
        forward = pair.first == variable
        other = pair.second if forward else pair.first
        there = model.problem.variables[other].place[[answer.values[other]]]
        for direction, gb in pair.flows:
            if direction == forward:
                cost += atlas.costs(everywhere, there, gb)[:, 0]
            else:
                cost += atlas.costs(there, everywhere, gb)[0]
        for bound in pair.bounds:
            cost = numpy.where(kept(atlas, bound, everywhere, there)[:, 0], cost, numpy.inf)
    return cost


def _keeps_limits(model: Model, answer: Answer, variable: int, row: int) -> bool:
    """Whether the plan with this candidate keeps every limit on time and money."""
    import numpy

    problem, found = model.problem, model.choices[variable]
    place = int(found.place[row])
    same = numpy.flatnonzero(problem.variables[variable].place == place)
    if not len(same):
        return False
    # The pairs know the place by the value that stands for it; the candidate's own costs and hours take that value's place.
    value = int(same[0])
    old = problem.variables[variable]
    fixed = model.fixed_costs.get(variable)
    hours, cost, worst = old.hours.copy(), old.cost.copy(), old.worst.copy()
    # Data from and to known places depends on the place alone, so its hours are those of any value there.
    hours[value] = found.hours[row]
    cost[value] = found.cost[row] + (0.0 if fixed is None else fixed[place])
    worst[value] = found.worst[row] + (0.0 if fixed is None else fixed[place])
    changed = replace(old, cost=cost, worst=worst, hours=hours)
    variables = tuple(changed if i == variable else v for i, v in enumerate(problem.variables))
    trial = type(problem)(variables=variables, pairs=problem.pairs, stages=problem.stages)
    return allowed(trial, tuple(value if i == variable else v for i, v in enumerate(answer.values)))
