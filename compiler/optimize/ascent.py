"""A lower bound by dual ascent, a good solution on the way, and what the two together rule out.

Contract: safe. Costs are moved between variables and pairs without changing the cost of any solution (a reparametrization), so
that the sum of the smallest entries, which no solution can be below, grows. A value whose entry exceeds its variable's smallest by
more than the distance from the bound to the best known solution is in no better solution and is removed. When the distance falls below
a micro-dollar the known solution counts as optimal; that is also far above what rounding can do to the sums.

The order of the moves is that of sequential reweighted message passing (V. Kolmogorov, "Convergent tree-reweighted message passing
for energy minimization", 2006, and "A new look at reweighted message passing", 2015): at each variable all pairs give up what they
can, then what was gathered is dealt out to the pairs still ahead, once forwards and once backwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .eliminate import solve
from .problem import Problem, cost_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SWEEPS = 400
CHECK_EVERY = 10
POLISHES = 42
ENOUGH = 1000.0
"""Nano-dollars: one micro-dollar."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tightened:
    """values: the best solution seen, in the problem's own values; bound: no solution costs less; kept: per variable, the indices
    of values that may still be in a better solution, those of `values` included."""

    values: tuple[int, ...]
    value: float
    bound: float
    kept: tuple[NDArray[Any], ...]

    @property
    def optimal(self) -> bool:
        return self.value - self.bound < ENOUGH


class Ascent:
    """Mutable working copy of a problem's tables."""

    def __init__(self, problem: Problem) -> None:
        import numpy

        self.problem = problem
        # Stands for `inf` in sums: more than any solution costs, and adding to it keeps it so.
        forbidden = 4 * sum(float(numpy.where(numpy.isinf(term.cost), 0.0, term.cost).max()) for term in problem.terms) + 1e12
        self.own = [variable.cost.copy() for variable in problem.variables]
        self.single = [column.copy() for column in self.own]
        self.tables = [numpy.where(numpy.isinf(pair.cost), forbidden, pair.cost) for pair in problem.pairs]
        self.costs = [table.copy() for table in self.tables]
        self.touching: list[list[tuple[int, int, bool]]] = [[] for _ in problem.variables]
        for number, pair in enumerate(problem.pairs):
            self.touching[pair.first].append((number, pair.second, True))
            self.touching[pair.second].append((number, pair.first, False))
        self.order = list(range(len(problem.variables)))

    def add(self, singles: dict[int, NDArray[Any]], pairs: dict[int, NDArray[Any]], times: float) -> None:
        """More costs, a multiple of some columns and tables. What has been moved so far stays where it is."""
        for variable, column in singles.items():
            self.own[variable] += times * column
            self.single[variable] += times * column
        for number, table in pairs.items():
            self.costs[number] += times * table
            self.tables[number] += times * table

    def narrow(self, rows: dict[int, NDArray[Any]]) -> None:
        """Only some values of some variables from now on."""
        import numpy

        self.problem = self.problem.only(rows)
        for variable, kept in rows.items():
            self.own[variable] = self.own[variable][kept]
            self.single[variable] = self.single[variable][kept]
        for number, pair in enumerate(self.problem.pairs):
            if pair.first in rows or pair.second in rows:
                height, width = self.tables[number].shape
                both = numpy.ix_(rows.get(pair.first, numpy.arange(height)), rows.get(pair.second, numpy.arange(width)))
                self.tables[number], self.costs[number] = self.tables[number][both], self.costs[number][both]

    def sweep(self) -> None:
        """Once forwards, once backwards."""
        for order in (self.order, self.order[::-1]):
            rank = {variable: position for position, variable in enumerate(order)}
            for variable in order:
                self._visit(variable, rank)

    def _visit(self, variable: int, rank: dict[int, int]) -> None:
        ahead = []
        for number, other, first in self.touching[variable]:
            table = self.tables[number]
            gathered = table.min(axis=1 if first else 0)
            self.single[variable] += gathered
            if first:
                table -= gathered[:, None]
            else:
                table -= gathered[None, :]
            if rank[other] > rank[variable]:
                ahead.append((number, first))
        behind = len(self.touching[variable]) - len(ahead)
        if not ahead:
            return
        share = self.single[variable] / max(len(ahead), behind)
        for number, first in ahead:
            self.tables[number] += share[:, None] if first else share[None, :]
        self.single[variable] -= share * len(ahead)

    def bound(self) -> float:
        return float(sum(column.min() for column in self.single) + sum(table.min() for table in self.tables))

    def gather(self) -> None:
        """Everything that pairs can give up goes to their variables, so that the variables' own entries say most."""
        for variable in self.order:
            for number, _, first in self.touching[variable]:
                table = self.tables[number]
                gathered = table.min(axis=1 if first else 0)
                self.single[variable] += gathered
                table -= gathered[:, None] if first else gathered[None, :]

    def solutions(self) -> tuple[tuple[int, ...], ...]:
        """Two solutions read off the moved costs, from either end, each improved one variable at a time."""
        return self._read_off(self.order), self._read_off(self.order[::-1])

    def _read_off(self, order: list[int]) -> tuple[int, ...]:
        values = [-1] * len(self.single)
        for variable in order:
            score = self.own[variable].copy()
            for number, other, first in self.touching[variable]:
                if values[other] >= 0:
                    score = score + (self.costs[number][:, values[other]] if first else self.costs[number][values[other]])
                else:
                    # What the pair has moved to this variable so far stands for the choice not made yet.
                    moved = self.costs[number] - self.tables[number]
                    score = score + (moved.min(axis=1) if first else moved.min(axis=0))
            values[variable] = int(score.argmin())
        return self._improved(values)

    def _improved(self, values: list[int]) -> tuple[int, ...]:
        for _ in range(20):
            changed = False
            for variable in self.order:
                score = self.own[variable].copy()
                for number, other, first in self.touching[variable]:
                    score = score + (self.costs[number][:, values[other]] if first else self.costs[number][values[other]])
                best = int(score.argmin())
                if score[best] < score[values[variable]]:
                    values[variable], changed = best, True
            if not changed:
                break
        return tuple(values)


def _polished(problem: Problem, values: tuple[int, ...]) -> tuple[int, ...]:
    """A solution no worse: again and again some variables that form a forest are chosen anew, exactly, while the others stay."""
    count = len(values)
    failures = 0
    for turn in range(POLISHES):
        start = turn * count // 7 % count
        free = _forest(problem, [*range(start, count), *range(start)][:: 1 if turn % 2 else -1])
        fixed = {index: _only(value) for index, value in enumerate(values) if index not in free}
        answer = solve(problem.only(fixed))
        failures += 1
        if answer is not None and answer.value < cost_of(problem, values):
            values = tuple(value if index in free else values[index] for index, value in enumerate(answer.values))
            failures = 0
        if failures == 7:
            break
    return values


def _only(value: int) -> NDArray[Any]:
    import numpy

    return numpy.array([value])


def _forest(problem: Problem, order: list[int]) -> set[int]:
    """A maximal set of variables, taken in `order`, among which the pairs close no cycle."""
    parent = list(range(len(problem.variables)))

    def root(variable: int) -> int:
        while parent[variable] != variable:
            variable = parent[variable]
        return variable

    neighbours: dict[int, set[int]] = {}
    for pair in problem.pairs:
        neighbours.setdefault(pair.first, set()).add(pair.second)
        neighbours.setdefault(pair.second, set()).add(pair.first)
    free: set[int] = set()
    for variable in order:
        trees = [root(other) for other in neighbours.get(variable, ()) if other in free]
        if len(set(trees)) == len(trees):
            free.add(variable)
            for tree in trees:
                parent[tree] = variable
    return free


def tighten(problem: Problem) -> Tightened:
    """Bound, solution and what is left, after at most SWEEPS sweeps."""
    import numpy

    ascent = Ascent(problem)
    best = min(ascent.solutions(), key=lambda found: cost_of(problem, found))
    value = cost_of(problem, best)
    bound = -numpy.inf
    kept = [numpy.arange(len(variable)) for variable in problem.variables]
    stuck = 0
    for number in range(SWEEPS):
        ascent.sweep()
        if number % CHECK_EVERY:
            continue
        for found in (_renamed(kept, values) for values in ascent.solutions()):
            if (cost := cost_of(problem, found)) < value:
                best, value = found, cost
        ascent.gather()
        reached = ascent.bound()
        stuck = 0 if reached > bound + max(1.0, (value - bound) * 0.005) else stuck + 1
        bound = max(bound, reached)
        # Tables shrink with what is ruled out, and so does what the next sweeps cost.
        kept = _narrowed(ascent, kept, reached, value, best)
        if value - bound < ENOUGH or stuck >= 3:
            break
    if value - bound >= ENOUGH:
        # What a better solution is made of is left.
        inside = tuple(int(rows.searchsorted(chosen)) for rows, chosen in zip(kept, best, strict=True))
        polished = _renamed(kept, _polished(ascent.problem, inside))
        if polished != best:
            best, value = polished, cost_of(problem, polished)
            kept = _narrowed(ascent, kept, reached, value, best)
    return Tightened(values=best, value=value, bound=min(bound, value), kept=tuple(kept))


def _renamed(kept: list[NDArray[Any]], values: tuple[int, ...]) -> tuple[int, ...]:
    """A solution of what is left in the whole problem's values."""
    return tuple(int(rows[value]) for rows, value in zip(kept, values, strict=True))


def _narrowed(
    ascent: Ascent, kept: list[NDArray[Any]], reached: float, value: float, best: tuple[int, ...]
) -> list[NDArray[Any]]:
    """What is left of each variable when only solutions that cost no more than `value` count; the ascent goes on with it.

    kept: what was left before; reached: the ascent's bound, with its entries as they are.
    """
    masks = {}
    for index, (rows, column) in enumerate(zip(kept, ascent.single, strict=True)):
        mask = (reached - column.min() + column <= value + ENOUGH) | (rows == best[index])
        if not mask.all():
            masks[index] = mask.nonzero()[0]
    if masks:
        ascent.narrow(masks)
    return [rows[masks[index]] if index in masks else rows for index, rows in enumerate(kept)]
