"""When a task can end at the earliest and has to end at the latest with each of its values, and what fits into no such window.

Contract: safe. What is removed or forbidden breaks a deadline whatever else is chosen: a value's earliest end counts for each task before
it the quickest of that task's values for this one, and its latest end likewise what comes after. Only deadlines are looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .problem import SLACK, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 4
ROUNDING = 1e-9
"""Hours for what sums round."""


def punctual(problem: Problem) -> tuple[Problem, tuple[NDArray[Any], ...]]:
    """The problem without values that cannot be in time, with pairs of values that cannot forbidden; and the values that are left."""
    import numpy

    rows = [numpy.arange(len(variable)) for variable in problem.variables]
    if all(stage.deadline is None for stage in problem.stages):
        return problem, tuple(rows)
    for _ in range(ROUNDS):
        narrowed = _once(problem)
        if narrowed is None:
            break
        problem, kept = narrowed
        for index, left in kept.items():
            rows[index] = rows[index][left]
        if any(len(left) == 0 for left in rows):
            break
    return problem, tuple(rows)


def _once(problem: Problem) -> tuple[Problem, dict[int, NDArray[Any]]] | None:
    """One round. None: everything fits."""
    import numpy

    windows = _Windows(problem)
    forbidden = {}
    for number, stage in enumerate(problem.stages):
        for before, pairs in stage.after:
            table = windows.between(before, number, pairs)
            if table is None:
                continue
            soonest = windows.earliest[before][:, None] + table + windows.length[number][None, :]
            late = (soonest > windows.latest[number][None, :] + ROUNDING) & numpy.isfinite(table)
            if late.any():
                forbidden[pairs[0]] = late if problem.pairs[pairs[0]].first == windows.head[before] else late.T
    kept = {}
    for number, stage in enumerate(problem.stages):
        if stage.variables:
            good = windows.earliest[number] <= windows.latest[number] + ROUNDING
            if not good.all():
                kept[windows.head[number]] = numpy.flatnonzero(good)
        start, last = windows.start[number].min(initial=numpy.inf), windows.latest[number].max(initial=-numpy.inf)
        for index in stage.variables[1:]:
            variable = problem.variables[index]
            good = start + variable.hours + variable.moves <= last + ROUNDING
            if not good.all():
                kept[index] = numpy.flatnonzero(good)
    if not forbidden and not kept:
        return None
    allowed = tuple(
        replace(pair, cost=numpy.where(forbidden[number], numpy.inf, pair.cost)) if number in forbidden else pair
        for number, pair in enumerate(problem.pairs)
    )
    return replace(problem, pairs=allowed).only(kept), kept


class _Windows:
    """Per stage, over the values of its first variable: earliest start and end, length, and latest end."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._least = [float(pair.hours.min()) if pair.hours.size else 0.0 for pair in problem.pairs]
        self.head = [stage.variables[0] if stage.variables else -1 for stage in problem.stages]
        self.start: list[NDArray[Any]] = []
        self.length: list[NDArray[Any]] = []
        self.earliest: list[NDArray[Any]] = []
        self.latest: list[NDArray[Any]] = []
        self._forwards()
        self._backwards()

    def between(self, before: int, number: int, pairs: tuple[int, ...]) -> NDArray[Any] | None:
        """[value of one stage, value of the next] → hours between them, `inf` for what is forbidden; None: the same for all values."""
        import numpy

        if len(pairs) != 1:
            return None
        pair = self._problem.pairs[pairs[0]]
        table = numpy.where(numpy.isinf(pair.cost), numpy.inf, pair.hours)
        if (pair.first, pair.second) == (self.head[before], self.head[number]):
            return table
        return table.T if (pair.second, pair.first) == (self.head[before], self.head[number]) else None

    def _forwards(self) -> None:
        import numpy

        for number, stage in enumerate(self._problem.stages):
            mine = [self._problem.variables[index] for index in stage.variables]
            count = len(mine[0]) if mine else 1
            start = numpy.zeros(count)
            for before, pairs in stage.after:
                table = self.between(before, number, pairs)
                if table is None:
                    came = self.earliest[before].min(initial=numpy.inf) + sum(self._least[pair] for pair in pairs)
                else:
                    came = (self.earliest[before][:, None] + table).min(axis=0, initial=numpy.inf)
                start = numpy.maximum(start, came)
            longest = max((float(v.hours.min(initial=numpy.inf)) for v in mine[1:]), default=0.0)
            beside = sum(float(v.moves.min(initial=numpy.inf)) for v in mine[1:]) + sum(
                self._least[pair] for pair in stage.moves
            )
            length = numpy.zeros(count) + beside
            if mine:
                length = length + numpy.maximum(mine[0].hours, longest) + mine[0].moves
            self.start.append(start)
            self.length.append(length)
            self.earliest.append(start + length)

    def _backwards(self) -> None:
        import numpy

        stages = self._problem.stages
        self.latest = [
            numpy.full(len(end), numpy.inf if stage.deadline is None else stage.deadline + SLACK)
            for stage, end in zip(stages, self.earliest, strict=True)
        ]
        for number in reversed(range(len(stages))):
            begin = self.latest[number] - self.length[number]
            for before, pairs in stages[number].after:
                table = self.between(before, number, pairs)
                if table is None:
                    latest = begin.max(initial=-numpy.inf) - sum(self._least[pair] for pair in pairs)
                else:
                    # Without a deadline there is no latest end; what is forbidden is none either.
                    gone = numpy.isinf(table)
                    room = numpy.where(gone, -numpy.inf, begin[None, :] - numpy.where(gone, 0.0, table))
                    latest = room.max(axis=1, initial=-numpy.inf)
                self.latest[before] = numpy.minimum(self.latest[before], latest)
