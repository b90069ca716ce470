"""The choice as an integer program (PuLP, solved by HiGHS, else CBC): for graphs too entangled to eliminate, and for limits.

Contract: exact. A pair's cost is not given a variable per pair of values, which takes tens of seconds on real catalogs, but as a base
that depends on classes of regions (most prices depend on the sending region and the receiving provider alone) and corrections where
the real price differs, above all within one region. Base and corrections together are the pair's cost, entry by entry; `_split`
checks that. pulp is imported when a program is built: it takes 0.4 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .atlas import Atlas
from .problem import Answer, Pair, Problem, cost_of, finish_hours, rank_of

if TYPE_CHECKING:
    import pulp
    from numpy.typing import NDArray

SECONDS = 60
"""Most seconds for one program; then the best solution found is taken, with its gap."""
SCALE = 1e-9
"""Costs are US dollars inside a program: solvers want numbers near one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Split:
    """A matrix as `base[row_class[i], column_class[j]]` plus, for listed blocks of rows and columns, a correction."""

    row_class: NDArray[Any]
    column_class: NDArray[Any]
    base: NDArray[Any]
    least: NDArray[Any]
    """The smallest entry of each cell of the base, corrections included."""
    corrections: dict[tuple[int, int], list[tuple[NDArray[Any], NDArray[Any], float]]]
    """Cell of the base → blocks of rows and columns inside it, with what is added there."""
    forbidden: tuple[tuple[NDArray[Any], NDArray[Any]], ...]


class Program:
    """One integer program over a problem. Built once, solved for cost, for time, or for one after the other."""

    def __init__(self, problem: Problem, atlas: Atlas, *, timed: bool, forbidding: float = float("inf")) -> None:
        """forbidding: a cost that a single term of a best solution cannot reach, because a cheaper solution is known."""
        import pulp

        # What changes with PuLP 4 is said at every call from 3.3 on, and it is pinned below 4.
        getattr(pulp, "set_v4_migration_warnings", lambda enabled: None)(False)
        self._pulp = pulp
        self._problem = problem
        self._atlas = atlas
        self._model = pulp.LpProblem("placement", pulp.LpMinimize)
        self._count = 0
        self.seconds = SECONDS
        self.undecided = False
        """Whether the last `minimize` was ended by its time limit: without an answer nothing is proven then."""
        self._forbidding = forbidding * SCALE * (1 + 1e-9)
        self._timed = timed or any(stage.deadline is not None for stage in problem.stages)
        self._chosen = [self._choice(len(variable)) for variable in problem.variables]
        self._pair_cost: list[Any] = []
        self._pair_hours: list[Any] = []
        for pair in problem.pairs:
            self._pair_cost.append(self._linear(pair, pair.cost * SCALE))
            self._pair_hours.append(self._linear(pair, pair.hours) if self._timed else 0)
        self.cost = pulp.lpSum(
            [
                *(
                    float(cost) * SCALE * x
                    for variable, chosen in zip(problem.variables, self._chosen, strict=True)
                    for cost, x in zip(variable.cost, chosen, strict=True)
                ),
                *self._pair_cost,
            ]
        )
        self.rank = pulp.lpSum(
            self._weighted(index, variable.rank) for index, variable in enumerate(problem.variables) if variable.rank.any()
        )
        self.finish = self._real() if self._timed else None
        # How much more than any quota allows may be in use, in whole CPUs or devices.
        self.excess = self._real()
        self.excess.upBound = 0
        self._schedule()
        self._budgets()
        self._quotas()

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _real(self) -> pulp.LpVariable:
        return self._model.add_variable(self._name(), lowBound=0)

    def _choice(self, size: int) -> list[pulp.LpVariable]:
        chosen = [self._model.add_variable(self._name(), cat="Binary") for _ in range(size)]
        self._model += self._pulp.lpSum(chosen) == 1
        return chosen

    def _any(self, variable: int, rows: NDArray[Any]) -> Any:
        """1 when the variable takes one of these values."""
        return self._pulp.lpSum(self._chosen[variable][int(row)] for row in rows)

    def _linear(self, pair: Pair, matrix: NDArray[Any]) -> Any:
        """The matrix entry that the two choices pick, as a linear expression."""
        import numpy

        split = _split(self._problem, self._atlas, pair, matrix)
        terms = []
        for rows, columns in split.forbidden:
            self._model += self._any(pair.first, rows) + self._any(pair.second, columns) <= 1
        # A transport between the classes of both sides: exactly one cell carries 1.
        height, width = split.base.shape
        cell = [[self._real() for _ in range(width)] for _ in range(height)]
        for i, j in zip(*numpy.nonzero(split.least > self._forbidding), strict=True):
            cell[i][j].upBound = 0
        for i in range(height):
            rows = numpy.flatnonzero(split.row_class == i)
            self._model += self._pulp.lpSum(cell[i]) == self._any(pair.first, rows)
        for j in range(width):
            columns = numpy.flatnonzero(split.column_class == j)
            self._model += self._pulp.lpSum(cell[i][j] for i in range(height)) == self._any(pair.second, columns)
        terms += [float(split.base[i, j]) * cell[i][j] for i in range(height) for j in range(width) if split.base[i, j]]
        for (i, j), blocks in split.corrections.items():
            # What is corrected in a cell is part of what the cell carries; without this the program believes in fractions of both.
            shares = []
            for rows, columns, amount in blocks:
                both = self._real()
                first, second = self._any(pair.first, rows), self._any(pair.second, columns)
                # Upper bounds for what saves, a lower bound for what costs; both, since time may want the opposite.
                self._model += both <= first
                self._model += both <= second
                if amount > 0 or self._timed:
                    self._model += both >= first + second - 1
                shares.append(both)
                terms.append(amount * both)
            self._model += self._pulp.lpSum(shares) <= cell[i][j]
        return self._pulp.lpSum(terms)

    def _schedule(self) -> None:
        if not self._timed:
            return
        ends: list[Any] = []
        for stage in self._problem.stages:
            start, end = self._real(), self._real()
            for before, pairs in stage.after:
                self._model += start >= ends[before] + self._pulp.lpSum(self._pair_hours[pair] for pair in pairs)
            moves = self._pulp.lpSum(
                [
                    *(self._pair_hours[pair] for pair in stage.moves),
                    *(self._weighted(index, self._problem.variables[index].moves) for index in stage.variables),
                ]
            )
            for index in stage.variables:
                hours = self._weighted(index, self._problem.variables[index].hours)
                self._model += end >= start + hours + moves
            if stage.deadline is not None:
                self._model += end <= stage.deadline
            self._model += self.finish >= end
            ends.append(end)

    def _budgets(self) -> None:
        for stage in self._problem.stages:
            if stage.budget is not None:
                worst = [self._weighted(index, self._problem.variables[index].worst * SCALE) for index in stage.variables]
                paid = [self._pair_cost[pair] for pair in stage.paid]
                self._model += self._pulp.lpSum([*worst, *paid]) <= stage.budget * SCALE

    def _quotas(self) -> None:
        """Nothing for what a quota allows whatever is chosen."""
        problem = self._problem
        for quota, limit in enumerate(problem.quotas):
            # What is in no stage is a Storage and uses nothing.
            staged = [index for stage in problem.stages for index in stage.variables]
            using = [(i, problem.variables[i]) for i in staged if problem.variables[i].use[:, quota].any()]
            for region in sorted({int(number) for _, v in using for number in v.region[v.use[:, quota] > 0]}):
                use = [(i, (v.region == region) * v.use[:, quota]) for i, v in using]
                if sum(int(column.max()) for _, column in use) > limit:
                    # Amounts are whole, so half a thousandth is only room for what a solver rounds.
                    total = self._pulp.lpSum(self._weighted(i, column / 1000) for i, column in use)
                    self._model += total <= (limit + 0.5) / 1000 + self.excess

    def limit_cost(self, cost: float) -> None:
        """From now on nothing that costs more is wanted (nano-dollars): a solution of that cost is known."""
        self._model += self.cost <= cost * SCALE * (1 + 1e-9) + 1e-6

    def forgive_quotas(self) -> None:
        """From now on quotas may be broken, by `excess`."""
        self.excess.upBound = None

    def _weighted(self, index: int, weights: NDArray[Any]) -> Any:
        return self._pulp.lpSum(float(w) * x for w, x in zip(weights, self._chosen[index], strict=True))

    def minimize(self, goal: Any) -> Answer | None:
        """The solution with the least `goal` (`cost`, `finish`, `rank` or `excess`). None: there is none.

        Raises RuntimeError without a solver.
        """
        self._model.setObjective(goal)
        status, bound = self._solve()
        self.undecided = status == "stopped"
        if status != "optimal" and not any(x.value() for x in self._chosen[0]):
            return None
        values = tuple(_taken(chosen) for chosen in self._chosen)
        value, unit = cost_of(self._problem, values), SCALE
        if goal is self.finish:
            value, unit = max(finish_hours(self._problem, values), default=0.0), 1.0
        elif goal is self.rank:
            value, unit = float(rank_of(self._problem, values)), 1.0
        elif goal is self.excess:
            value, unit = self.excess.value(), 1.0
        # Nothing is negative: a solver that has no bound yet says minus infinity.
        bound = value if status == "optimal" else max(0.0, bound / unit)
        return Answer(
            values=values, value=value, bound=min(bound, value), optimal=status == "optimal", method="integer program"
        )

    def exclude(self, values: tuple[int, ...]) -> None:
        """From now on one solution is not wanted."""
        taken = [chosen[value] for chosen, value in zip(self._chosen, values, strict=True)]
        self._model += self._pulp.lpSum(taken) <= len(taken) - 1

    def limit_rank(self, rank: float) -> None:
        """From now on the tasks' own order is kept as well as this."""
        self._model += self.rank <= rank

    def limit_finish(self, hours: float) -> None:
        """From now on the last stage ends within `hours`."""
        assert self.finish is not None
        self._model += self.finish <= hours * (1 + 1e-9) + 1e-9

    def _solve(self) -> tuple[str, float]:
        """`optimal`, `infeasible` or `stopped`, and the proven bound of the goal (for `stopped` only)."""
        answer = self._solved(presolve="on")
        # HiGHS's presolve (1.13.1) has called programs infeasible that are not: before a user is told so, it is asked without.
        return answer if answer[0] != "infeasible" else self._solved(presolve="off")

    def _solved(self, *, presolve: str) -> tuple[str, float]:
        pulp = self._pulp
        try:
            solver = pulp.HiGHS(msg=False, timeLimit=self.seconds, gapRel=0.0, gapAbs=1e-7, threads=1, presolve=presolve)
            available = solver.available()
        except (pulp.PulpError, AttributeError, ImportError):
            available = False
        if not available:
            solver = pulp.PULP_CBC_CMD(msg=False, timeLimit=self.seconds, gapRel=0.0, threads=1)
        self._model.solve(solver)
        if self._model.status == pulp.LpStatusOptimal and self._model.sol_status == pulp.LpSolutionOptimal:
            return "optimal", 0.0
        if self._model.status in (pulp.LpStatusInfeasible, pulp.LpStatusUndefined):
            return "infeasible", 0.0
        info = getattr(getattr(self._model, "solverModel", None), "getInfo", None)
        return "stopped", float(info().mip_dual_bound) if info is not None else 0.0


def _taken(chosen: list[pulp.LpVariable]) -> int:
    values = [x.value() or 0.0 for x in chosen]
    return values.index(max(values))


def _split(problem: Problem, atlas: Atlas, pair: Pair, matrix: NDArray[Any]) -> _Split:
    """A matrix over two domains as classes of regions plus corrections."""
    import numpy

    rows, columns = problem.variables[pair.first].place, problem.variables[pair.second].place
    finite = numpy.isfinite(matrix)
    values = numpy.where(finite, matrix, 0.0)
    backwards = bool(pair.flows) and not any(forward for forward, _ in pair.flows)
    row_group, column_group, base = _base(atlas, rows, columns, values, finite, backwards=backwards)
    # Regions with equal prices are one class; so the base is as small as the price list really is.
    distinct_rows, row_class = numpy.unique(base, axis=0, return_inverse=True)
    distinct, column_class = numpy.unique(distinct_rows, axis=1, return_inverse=True)
    row_class, column_class = row_class.reshape(-1)[row_group], column_class.reshape(-1)[column_group]
    rest = values - distinct[numpy.ix_(row_class, column_class)]
    rest[~finite] = 0.0
    corrections: dict[tuple[int, int], list[tuple[NDArray[Any], NDArray[Any], float]]] = {}
    least = distinct.copy()
    rows_of = [numpy.flatnonzero(row_class == i) for i in range(distinct.shape[0])]
    columns_of = [numpy.flatnonzero(column_class == j) for j in range(distinct.shape[1])]
    for i, inside in enumerate(rows_of):
        mine = rest[inside]
        for j in numpy.unique(column_class[mine.any(axis=0)]).tolist():
            blocks = [(inside[r], columns_of[j][c], amount) for r, c, amount in _blocks(mine[:, columns_of[j]])]
            corrections[i, j] = blocks
            least[i, j] += min([0.0, *(amount for _, _, amount in blocks)])
    return _Split(
        row_class=row_class,
        column_class=column_class,
        base=distinct,
        least=least,
        corrections=corrections,
        forbidden=tuple((r, c) for r, c, _ in _blocks(numpy.where(finite, 0.0, 1.0))),
    )


def _base(
    atlas: Atlas, rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], finite: NDArray[Any], *, backwards: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Groups of rows and columns by region, and a price per pair of groups; within one provider the sender's commonest one.

    backwards: the columns send. The choice only makes the program smaller: what the base gets wrong is corrected.
    """
    import numpy

    if backwards:
        column_group, row_group, base = _base(atlas, columns, rows, values.T, finite.T, backwards=False)
        return row_group, column_group, base.T
    senders, first_row, row_group = numpy.unique(atlas.region_of[rows], return_index=True, return_inverse=True)
    receivers, first_column, column_group = numpy.unique(atlas.region_of[columns], return_index=True, return_inverse=True)
    part_of = numpy.array([region.part for region in atlas.regions])
    # Between two regions of different providers there is one price.
    base = values[numpy.ix_(first_row, first_column)]
    for i, sender in enumerate(senders):
        group = numpy.flatnonzero(part_of[receivers] == part_of[sender])
        if len(group):
            others = group[receivers[group] != sender]
            chosen = numpy.isin(column_group, others if len(others) else group)
            block = numpy.ix_(row_group == i, chosen)
            base[i, group] = _commonest(values[block], finite[block])
    return row_group.reshape(-1), column_group.reshape(-1), base


def _commonest(values: NDArray[Any], finite: NDArray[Any]) -> float:
    import numpy

    known = values[finite]
    if not known.size:
        return 0.0
    distinct, counts = numpy.unique(known, return_counts=True)
    return float(distinct[counts.argmax()])


def _blocks(matrix: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any], float]]:
    """The entries of a matrix that are not zero as blocks of equal value: rows with equal entries share their columns' blocks."""
    import numpy

    blocks = []
    equal: dict[bytes, list[int]] = {}
    for number in numpy.flatnonzero(matrix.any(axis=1)).tolist():
        equal.setdefault(matrix[number].tobytes(), []).append(number)
    for rows in equal.values():
        row = matrix[rows[0]]
        for amount in numpy.unique(row[row != 0.0]).tolist():
            blocks.append((numpy.array(rows), numpy.flatnonzero(row == amount), float(amount)))
    return blocks
