"""Exact minimum of a sum of single and pair costs, by eliminating one variable after the other (dynamic programming).

Contract: exact for every graph; cheap for trees, chains and what is nearly one. Eliminating a variable joins all its neighbours into
one table; `solve` gives up, returning None, when the smallest such table would be larger than `LARGEST`. Ties go to the first value
in the written order of the variable that is eliminated, which depends on nothing but the problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .problem import Answer, Problem, cost_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 4_000_000
"""Entries of the largest table: 32 MB, and some ten milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Factor:
    """A cost table over some variables, one axis each, in ascending order of variables."""

    scope: tuple[int, ...]
    table: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """How to read off a variable's value once the values of `scope` are known."""

    variable: int
    scope: tuple[int, ...]
    best: Any
    """Table over the scope: the value's index."""


def solve(problem: Problem) -> Answer | None:
    """The cheapest solution, ignoring limits of time and money. None: the graph is too entangled for this method.

    A forbidden problem gives an answer of value `inf`.
    """
    sizes = [len(variable) for variable in problem.variables]
    factors = [_Factor(scope=(index,), table=variable.cost) for index, variable in enumerate(problem.variables)]
    for pair in problem.pairs:
        forward = pair.first < pair.second
        scope = (pair.first, pair.second) if forward else (pair.second, pair.first)
        factors.append(_Factor(scope=scope, table=pair.cost if forward else pair.cost.T))
    joined = {variable for factor in factors if len(factor.scope) > 1 for variable in factor.scope}
    left = set(range(len(sizes)))
    steps: list[_Step] = []
    for variable in sorted(left - joined):
        steps.append(_Step(variable=variable, scope=(), best=problem.variables[variable].cost.argmin()))
    left &= joined
    factors = [factor for factor in factors if factor.scope[0] in joined]
    while left:
        chosen, width = _next(left, factors, sizes)
        if width > LARGEST:
            return None
        left.remove(chosen)
        factors, step = _eliminate(chosen, factors, sizes)
        steps.append(step)
    values = [0] * len(sizes)
    for step in reversed(steps):
        values[step.variable] = int(step.best[tuple(values[other] for other in step.scope)])
    found = tuple(values)
    cost = cost_of(problem, found)
    return Answer(values=found, value=cost, bound=cost, optimal=True, method="elimination" if problem.pairs else "independent")


def _next(left: set[int], factors: list[_Factor], sizes: list[int]) -> tuple[int, int]:
    """The variable whose elimination makes the smallest table, and that table's size; ties to the lowest number."""
    neighbours: dict[int, set[int]] = {variable: {variable} for variable in left}
    for factor in factors:
        for variable in factor.scope:
            neighbours[variable].update(factor.scope)
    best, smallest = -1, -1
    for variable in sorted(left):
        width = 1
        for other in neighbours[variable]:
            width *= sizes[other]
        if best < 0 or width < smallest:
            best, smallest = variable, width
    return best, smallest


def _eliminate(variable: int, factors: list[_Factor], sizes: list[int]) -> tuple[list[_Factor], _Step]:
    import numpy

    mine = [factor for factor in factors if variable in factor.scope]
    rest = [factor for factor in factors if variable not in factor.scope]
    scope = tuple(sorted({other for factor in mine for other in factor.scope if other != variable}))
    axes = (*scope, variable)
    table = numpy.zeros([sizes[other] for other in axes])
    for factor in mine:
        order = sorted(factor.scope, key=axes.index)
        shaped = numpy.transpose(factor.table, [factor.scope.index(other) for other in order])
        shape = [sizes[other] if other in factor.scope else 1 for other in axes]
        # In place: the largest tables are tens of megabytes, and a new one per term is mostly page faults.
        table += shaped.reshape(shape)
    best = table.argmin(axis=-1)
    rest.append(_Factor(scope=scope, table=table.min(axis=-1)))
    return [factor for factor in rest if factor.scope], _Step(variable=variable, scope=scope, best=best)
