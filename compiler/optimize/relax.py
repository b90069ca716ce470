"""Limits on time and money, and quotas, given a price: a lower bound, a good solution that keeps them, and what the two rule out.

Contract: safe. Whatever price a limit is given (a Lagrange multiplier, not below 0), the cost of a solution that keeps it plus the price
of what it uses, less the price of the whole limit, is no more than the solution's cost; so the least of such sums over all solutions
bounds them all, and dual ascent bounds that sum from below in turn. A value with which the bound exceeds the best known solution
is in no better one. Prices move towards what solutions read off the bound miss (a subgradient, with the step of B. T. Polyak,
"Minimization of unsmooth functionals", 1969). Nothing here depends on a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .ascent import ENOUGH, Ascent
from .cuts import Cut, Sum, broken, sum_of
from .problem import Problem, allowed, cost_of
from .single import changed

if TYPE_CHECKING:
    from numpy.typing import NDArray

TURNS = 240
CHECK_EVERY = 6
PATIENCE = 5
"""Turns without a better bound after which the steps become half as long."""
SHORTEST = 0.01
"""Shorter steps than this share of the whole one move nothing any more."""
REPAIRS = 60
IMPROVEMENTS = 12
ROUNDING = 1e-13
"""More than sums of floats lose, as a share of what is summed."""
NEAR = 1e-6
"""A distance from bound to solution, as a share of it, that leaves too little for a program to find."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """values: the best solution that was found, in the problem's own values, None: none; value: what it costs; bound: no solution costs
    less; kept: per variable, the indices of values that may still be in a better solution, those of `values` included."""

    values: tuple[int, ...] | None
    value: float
    bound: float
    kept: tuple[NDArray[Any], ...]

    @property
    def optimal(self) -> bool:
        return self.values is not None and self.value - self.bound < ENOUGH


def relax(problem: Problem) -> Relaxed:
    """Bound, solution and what is left."""
    search = _Search(problem)
    search.run()
    return search.found()


class _Search:
    """Mutable state: what is left of the problem, the ascent over it with all prices, and the best solution."""

    def __init__(self, problem: Problem) -> None:
        import numpy

        self.whole = problem
        self.problem = problem
        self.ascent = Ascent(problem)
        self.rows = [numpy.arange(len(variable)) for variable in problem.variables]
        self.best: tuple[int, ...] | None = None
        """In the whole problem's values."""
        self.value = numpy.inf
        self.bound = -numpy.inf
        self.prices: dict[Cut, float] = {}
        self.sums: dict[Cut, Sum] = {}

    def found(self) -> Relaxed:
        import numpy

        kept = tuple(
            numpy.union1d(rows, [self.best[index]]) if self.best is not None else rows for index, rows in enumerate(self.rows)
        )
        return Relaxed(values=self.best, value=self.value, bound=min(self.bound, self.value), kept=kept)

    def offer(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Take note of a solution: the cuts it breaks if it does, itself if it is better than what is known."""
        cuts = list(broken(self.problem, values))
        for cut in cuts:
            if cut not in self.prices:
                self.prices[cut] = 0.0
                self.sums[cut] = sum_of(self.problem, cut)
        if not cuts and (cost := cost_of(self.problem, values)) < self.value:
            self.value = cost
            self.best = tuple(int(rows[i]) for rows, i in zip(self.rows, values, strict=True))
        return values

    def run(self) -> None:
        share, stuck = 1.0, 0
        for turn in range(TURNS):
            self.ascent.sweep()
            reached = self._reached()
            stuck = 0 if reached > self.bound + max(1.0, abs(self.bound) * 1e-7) else stuck + 1
            self.bound = max(self.bound, reached)
            forwards, backwards = self.ascent.solutions()
            for values in {forwards, backwards}:
                self.offer(values)
            if turn % CHECK_EVERY == CHECK_EVERY - 1:
                self._mend(forwards, tries=REPAIRS if self.best is None else REPAIRS // 4)
                self._narrow()
                # What was moved to the variables says what is left; what solutions are read off next is what is left of them.
                forwards = self.offer(self.ascent.solutions()[0])
            if self.value - self.bound < max(ENOUGH, abs(self.value) * NEAR * 0.01):
                break
            if stuck >= PATIENCE:
                share, stuck = share / 2, 0
                if share < SHORTEST or not self.prices:
                    break
            self._step(forwards, share)
        self._narrow()

    def _reached(self) -> float:
        """The bound at the prices of now, less what its sums may have been rounded up by: prices can be far above all costs."""
        priced = sum(price * self.sums[cut].limit for cut, price in self.prices.items())
        least = self.ascent.bound()
        return least - priced - ROUNDING * (abs(least) + priced)

    def _step(self, values: tuple[int, ...], share: float) -> None:
        """Move the prices towards what a solution misses of the cuts."""
        missing = {cut: total.of(self.problem, values) - total.limit for cut, total in self.sums.items()}
        # A price of nothing cannot fall.
        missing = {cut: miss for cut, miss in missing.items() if miss > 0 or self.prices[cut] > 0}
        length = sum(miss * miss for miss in missing.values())
        if length == 0.0:
            return
        aim = self.value if self.best is not None else self.bound + max(abs(self.bound) * 0.05, 1e6)
        step = share * max(aim - self._reached(), abs(aim) * 1e-9) / length
        for cut, miss in missing.items():
            price = max(0.0, self.prices[cut] + step * miss)
            if (change := price - self.prices[cut]) != 0.0:
                self.ascent.add(self.sums[cut].singles, self.sums[cut].pairs, change)
                self.prices[cut] = price

    def _narrow(self) -> None:
        """Remove the values whose bound is above the best known solution."""
        import numpy

        self.ascent.gather()
        reached = self._reached()
        self.bound = max(self.bound, reached)
        if self.best is None:
            return
        rows: dict[int, NDArray[Any]] = {}
        for index, column in enumerate(self.ascent.single):
            keep = reached - column.min() + column <= self.value + ENOUGH
            if not keep.all() and keep.any():
                rows[index] = numpy.flatnonzero(keep)
        if sum(len(self.rows[index]) - len(kept) for index, kept in rows.items()) == 0:
            return
        self.ascent.narrow(rows)
        self.problem = self.ascent.problem
        for index, kept in rows.items():
            self.rows[index] = self.rows[index][kept]
        self.sums = {cut: sum_of(self.problem, cut) for cut in self.prices}

    def _mend(self, values: tuple[int, ...], tries: int) -> None:
        """Make a solution keep all limits, one choice at a time: the one that gains most for what it costs. Then make it cheaper."""
        import numpy

        for _ in range(tries):
            best: tuple[float, int, int] | None = None
            for variable in self._involved(values):
                cost, missed = changed(self.problem, values, variable)
                now = values[variable]
                if not numpy.isfinite(missed[now]):
                    # What is forbidden is missed endlessly, and nothing says which way leads out.
                    continue
                gain = missed[now] - missed
                better = (gain > 1e-12) & numpy.isfinite(cost)
                if better.any():
                    before = cost[now] if numpy.isfinite(cost[now]) else cost[better].max()
                    dearer = (numpy.where(better, cost, numpy.inf) - before) / numpy.where(better, gain, 1.0)
                    choice = int(dearer.argmin())
                    if best is None or dearer[choice] < best[0]:
                        best = float(dearer[choice]), variable, choice
            if best is None:
                break
            values = tuple(best[2] if index == best[1] else value for index, value in enumerate(values))
        if allowed(self.problem, values):
            self.offer(self._improved(values))
        else:
            self.offer(values)

    def _involved(self, values: tuple[int, ...]) -> list[int]:
        """Variables that a broken cut counts."""
        found: set[int] = set()
        for cut in broken(self.problem, values):
            total = self.sums[cut] if cut in self.sums else sum_of(self.problem, cut)
            found |= total.singles.keys()
            for number in total.pairs:
                found |= {self.problem.pairs[number].first, self.problem.pairs[number].second}
        return sorted(found)

    def _improved(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """A solution that keeps all limits, made cheaper one choice at a time."""
        import numpy

        for _ in range(IMPROVEMENTS):
            before = values
            for variable in range(len(values)):
                if len(self.problem.variables[variable]) < 2:
                    continue
                cost, missed = changed(self.problem, values, variable)
                choice = int(numpy.where(missed == 0, cost, numpy.inf).argmin())
                if missed[choice] == 0 and cost[choice] < cost[values[variable]]:
                    values = tuple(choice if index == variable else value for index, value in enumerate(values))
            if values == before:
                break
        return values
