"""What becomes of a solution when one of its choices is another one: all values of a variable looked at together.

Contract: pure. By how much limits are missed is a sum of shares, each limit's excess by the limit itself, so that hours, money and
what quotas count can be added up; it is 0 exactly when every limit is kept within `SLACK`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .problem import SLACK, Problem, used

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Per variable hours, moves and worst case, per pair the hours and money taken: numbers, or columns over several choices."""

    hours: list[Any]
    moves: list[Any]
    worst: list[Any]
    taken: list[Any]
    paid: list[Any]


def terms_of(problem: Problem, values: tuple[int, ...]) -> Terms:
    """All numbers of a solution."""
    chosen = list(zip(problem.variables, values, strict=True))
    return Terms(
        hours=[v.hours[i] for v, i in chosen],
        moves=[v.moves[i] for v, i in chosen],
        worst=[v.worst[i] for v, i in chosen],
        taken=[pair.hours[values[pair.first], values[pair.second]] for pair in problem.pairs],
        paid=[pair.cost[values[pair.first], values[pair.second]] for pair in problem.pairs],
    )


def missed(problem: Problem, terms: Terms) -> Any:
    """By how much limits on time and money are missed."""
    import numpy

    total: Any = 0.0
    ends: list[Any] = []
    for stage in problem.stages:
        start: Any = 0.0
        for before, pairs in stage.after:
            start = numpy.maximum(start, ends[before] + sum(terms.taken[pair] for pair in pairs))
        length: Any = 0.0
        for index in stage.variables:
            length = numpy.maximum(length, terms.hours[index])
        moves = sum(terms.moves[index] for index in stage.variables) + sum(terms.taken[pair] for pair in stage.moves)
        ends.append(start + length + moves)
        if stage.deadline is not None:
            late = ends[-1] - stage.deadline
            total = total + numpy.where(late > SLACK, late, 0.0) / max(stage.deadline, SLACK)
        if stage.budget is not None:
            dear = sum(terms.worst[index] for index in stage.variables) + sum(terms.paid[p] for p in stage.paid) - stage.budget
            total = total + numpy.where(dear > SLACK * 1e9, dear, 0.0) / max(stage.budget, 1.0)
    return total


def changed(problem: Problem, values: tuple[int, ...], variable: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Per value of a variable, all else as in `values`: what depends on it costs, and by how much all limits are missed."""
    import numpy

    mine = problem.variables[variable]
    cost = mine.cost.copy()
    terms = terms_of(problem, values)
    terms.hours[variable], terms.moves[variable], terms.worst[variable] = mine.hours, mine.moves, mine.worst
    for number in problem.touching[variable]:
        pair = problem.pairs[number]
        first = pair.first == variable
        other = values[pair.second if first else pair.first]
        terms.paid[number] = pair.cost[:, other] if first else pair.cost[other]
        terms.taken[number] = pair.hours[:, other] if first else pair.hours[other]
        cost = cost + terms.paid[number]
    total = numpy.zeros(len(mine)) + (missed(problem, terms) if problem.limited else 0.0)
    if problem.quotas:
        total = total + _over(problem, values, variable)
    return cost, total


def _over(problem: Problem, values: tuple[int, ...], variable: int) -> NDArray[Any]:
    """Per value of a variable: by how much quotas are missed."""
    import numpy

    mine, now = problem.variables[variable], values[variable]
    amounts = {key: sum(weights.values()) for key, weights in used(problem, values).items()}
    if problem.stage_of[variable] is not None:
        for quota in mine.use[now].nonzero()[0].tolist():
            amounts[quota, int(mine.region[now])] -= int(mine.use[now, quota])
    # What is over without this variable at all, and what each of its values adds to that.
    over = sum(float(_share(amount, problem.quotas[quota])) for (quota, _), amount in amounts.items())
    total = numpy.full(len(mine), over, dtype=numpy.float64)
    if problem.stage_of[variable] is None:
        return total
    for quota, limit in enumerate(problem.quotas):
        column = mine.use[:, quota]
        if column.any():
            before = numpy.array([amounts.get((quota, region), 0) for region in mine.region.tolist()])
            total += _share(before + column, limit) - _share(before, limit)
    return total


def _share(amount: Any, limit: int) -> Any:
    import numpy

    return numpy.maximum(0, amount - limit) / max(limit, 1000)
