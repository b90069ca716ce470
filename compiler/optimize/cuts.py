"""Limits as sums: one way through the tasks, one task's bill, or all that is used of a quota, each with its limit.

Contract: exact. A solution keeps all deadlines, budgets and quotas exactly when it keeps every cut of these three kinds; `broken` finds,
for each limit that a solution breaks, the cut it breaks most. Amounts are shares of the limit, so that those of all kinds compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from .problem import SLACK, Problem, excesses, finish_hours, worst_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Way:
    """Stages one after the other, each with its longest variable, and the pairs whose data comes between them. The last one has a
    deadline."""

    stages: tuple[tuple[int, int], ...]
    pairs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """What a stage's budget pays for."""

    stage: int


@dataclass(frozen=True, slots=True)
class Use:
    """What all stages use of a quota in a region."""

    quota: int
    region: int


Cut: TypeAlias = Way | Bill | Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A cut in numbers: columns of variables and tables of pairs, whose chosen entries together are at most `limit`."""

    singles: dict[int, NDArray[Any]] = field(default_factory=dict)
    pairs: dict[int, NDArray[Any]] = field(default_factory=dict)
    limit: float

    def of(self, problem: Problem, values: tuple[int, ...]) -> float:
        single = sum(float(column[values[index]]) for index, column in self.singles.items())
        ends = ((table, problem.pairs[number]) for number, table in self.pairs.items())
        return single + sum(float(table[values[pair.first], values[pair.second]]) for table, pair in ends)


def sum_of(problem: Problem, cut: Cut) -> Sum:
    """A cut over the values of a problem. Its limit is what `allowed` lets through, what solvers round included."""
    singles: dict[int, NDArray[Any]] = {}
    pairs: dict[int, NDArray[Any]] = {}

    def add(to: dict[int, NDArray[Any]], index: int, column: NDArray[Any]) -> None:
        to[index] = to[index] + column if index in to else column

    match cut:
        case Way():
            deadline = problem.stages[cut.stages[-1][0]].deadline
            assert deadline is not None
            scale = max(deadline, SLACK)
            for number, longest in cut.stages:
                stage = problem.stages[number]
                add(singles, longest, problem.variables[longest].hours / scale)
                for index in stage.variables:
                    add(singles, index, problem.variables[index].moves / scale)
                for pair in stage.moves:
                    add(pairs, pair, problem.pairs[pair].hours / scale)
            for pair in cut.pairs:
                add(pairs, pair, problem.pairs[pair].hours / scale)
            return Sum(singles=singles, pairs=pairs, limit=(deadline + SLACK) / scale)
        case Bill():
            stage = problem.stages[cut.stage]
            assert stage.budget is not None
            scale = max(stage.budget, 1.0)
            for index in stage.variables:
                add(singles, index, problem.variables[index].worst / scale)
            for pair in stage.paid:
                add(pairs, pair, _finite(problem.pairs[pair].cost) / scale)
            return Sum(singles=singles, pairs=pairs, limit=(stage.budget + SLACK * 1e9) / scale)
        case Use():
            limit = problem.quotas[cut.quota]
            scale = max(limit, 1000)
            for stage in problem.stages:
                for index in stage.variables:
                    variable = problem.variables[index]
                    use = variable.use[:, cut.quota] * (variable.region == cut.region)
                    if use.any():
                        add(singles, index, use / scale)
            return Sum(singles=singles, limit=limit / scale)


def _finite(table: NDArray[Any]) -> NDArray[Any]:
    """What is forbidden is forbidden by its cost already."""
    import numpy

    return numpy.where(numpy.isinf(table), 0.0, table)


def broken(problem: Problem, values: tuple[int, ...]) -> Iterator[Cut]:
    """For each limit that a solution breaks the cut it breaks most."""
    ends = finish_hours(problem, values)
    for number, stage in enumerate(problem.stages):
        if stage.deadline is not None and ends[number] > stage.deadline + SLACK:
            yield _way(problem, values, ends, number)
        if stage.budget is not None and worst_of(problem, stage, values) > stage.budget + SLACK * 1e9:
            yield Bill(number)
    if problem.quotas:
        for excess in excesses(problem, problem.quotas, values):
            yield Use(excess.quota, excess.region)


def _way(problem: Problem, values: tuple[int, ...], ends: tuple[float, ...], last: int) -> Way:
    """The way through the tasks that makes a stage end when it does."""
    stages: list[tuple[int, int]] = []
    pairs: list[int] = []
    number: int | None = last
    while number is not None:
        stage = problem.stages[number]
        longest = max(stage.variables, key=lambda index: float(problem.variables[index].hours[values[index]]))
        stages.append((number, longest))
        latest, number = 0.0, None
        through: tuple[int, ...] = ()
        for before, joined in stage.after:
            hours = sum(
                float(problem.pairs[p].hours[values[problem.pairs[p].first], values[problem.pairs[p].second]]) for p in joined
            )
            if ends[before] + hours > latest:
                latest, number, through = ends[before] + hours, before, joined
        pairs += through
    return Way(tuple(reversed(stages)), tuple(sorted(pairs)))
