"""The choice as numbers: variables with domains, costs of single values and of pairs, and the limits on money and time.

Contract: nothing here knows what a variable stands for. Costs are whole nano-dollars as floats (exact below 2**53) and `inf` for what
is forbidden; hours are hours. A solution gives each variable the index of a value in its domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLACK = 1e-6
"""Hours and US dollars by which a limit may be missed, for what solvers round."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variable:
    """One thing to place. Row i of every column is about value i; rows stand in the written order.

    place: number in the atlas; cost, worst: expected and worst-case cost; hours: how long it takes; moves: hours that data takes from
    and to Storages at known places, on top; row: which candidate it is; rank: how many the task would rather have (0 first);
    region: number in the atlas; use[i, q]: thousandths that value i counts against quota q in its region.
    """

    name: str
    place: NDArray[Any]
    cost: NDArray[Any]
    worst: NDArray[Any]
    hours: NDArray[Any]
    moves: NDArray[Any]
    row: NDArray[Any]
    rank: NDArray[Any]
    region: NDArray[Any]
    use: NDArray[Any]

    def __len__(self) -> int:
        return len(self.cost)

    def only(self, rows: NDArray[Any]) -> Variable:
        """The variable with some of its values (indices, or a mask)."""
        return Variable(
            name=self.name,
            place=self.place[rows],
            cost=self.cost[rows],
            worst=self.worst[rows],
            hours=self.hours[rows],
            moves=self.moves[rows],
            row=self.row[rows],
            rank=self.rank[rows],
            region=self.region[rows],
            use=self.use[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """What two variables cost together: `cost[i, j]` for value i of `first` and j of `second`; `hours` likewise.

    flows: (forward, GB): data from first to second (True) or back, of which cost and hours are made. bound: what else must hold,
    such as `same region`; its violations are `inf` in `cost`.
    """

    first: int
    second: int
    cost: NDArray[Any]
    hours: NDArray[Any]
    flows: tuple[tuple[bool, Decimal], ...] = ()
    bounds: tuple[str, ...] = ()

    def only(self, rows: dict[int, NDArray[Any]]) -> Pair:
        """The pair with some values of its variables (indices, or masks)."""
        import numpy

        first, second = rows.get(self.first), rows.get(self.second)
        if first is None and second is None:
            return self
        if first is not None and second is not None:
            # Both at once: one pass over what is left instead of two over more.
            both = numpy.ix_(first, second)
            cost, hours = self.cost[both], self.hours[both]
        elif first is not None:
            cost, hours = self.cost[first], self.hours[first]
        else:
            cost, hours = self.cost[:, second], self.hours[:, second]
        return Pair(first=self.first, second=self.second, cost=cost, hours=hours, flows=self.flows, bounds=self.bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One task in time: it starts when every `(stage, pairs)` of `after` has ended and its data has come, takes the longest of its
    variables plus their own `moves` and the hours of its `moves` (pairs), and must end by `deadline` hours.

    budget: most nano-dollars of worst cost for its variables, and for the pairs of `paid`.
    """

    variables: tuple[int, ...]
    after: tuple[tuple[int, tuple[int, ...]], ...] = ()
    moves: tuple[int, ...] = ()
    deadline: float | None = None
    budget: float | None = None
    paid: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    variables: tuple[Variable, ...]
    pairs: tuple[Pair, ...]
    stages: tuple[Stage, ...]
    """In topological order."""
    quotas: tuple[int, ...] = ()
    """Per quota the thousandths that all stages together may use in one region; nothing when no quota is to be kept."""

    @property
    def terms(self) -> tuple[Variable | Pair, ...]:
        """Everything that costs."""
        return (*self.variables, *self.pairs)

    @cached_property
    def limited(self) -> bool:
        """Whether a limit on time or money joins choices that no pair joins."""
        return any(stage.deadline is not None or stage.budget is not None for stage in self.stages)

    def only(self, rows: dict[int, NDArray[Any]]) -> Problem:
        """The problem with some values of some variables."""
        return Problem(
            variables=tuple(v.only(rows[i]) if i in rows else v for i, v in enumerate(self.variables)),
            pairs=tuple(pair.only(rows) for pair in self.pairs),
            stages=self.stages,
            quotas=self.quotas,
        )

    @cached_property
    def touching(self) -> tuple[tuple[int, ...], ...]:
        """The pairs of each variable."""
        found: list[list[int]] = [[] for _ in self.variables]
        for number, pair in enumerate(self.pairs):
            found[pair.first].append(number)
            found[pair.second].append(number)
        return tuple(map(tuple, found))

    @cached_property
    def stage_of(self) -> tuple[int | None, ...]:
        """The stage of each variable; None for a Storage, which takes no time of its own."""
        found = {variable: number for number, stage in enumerate(self.stages) for variable in stage.variables}
        return tuple(found.get(index) for index in range(len(self.variables)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A quota that a solution breaks in a region (number in the atlas): the stages that use it there, and the thousandths they use."""

    quota: int
    region: int
    stages: tuple[int, ...]
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """values: a value per variable. bound: no solution costs less (nano-dollars), or none ends sooner (hours)."""

    values: tuple[int, ...]
    value: float
    bound: float
    optimal: bool
    method: str


def cost_of(problem: Problem, values: tuple[int, ...]) -> float:
    """The cost of a solution in nano-dollars."""
    single = sum(float(v.cost[i]) for v, i in zip(problem.variables, values, strict=True))
    return single + sum(float(pair.cost[values[pair.first], values[pair.second]]) for pair in problem.pairs)


def rank_of(problem: Problem, values: tuple[int, ...]) -> int:
    """How many candidates the tasks would rather have had."""
    return sum(int(v.rank[i]) for v, i in zip(problem.variables, values, strict=True))


def finish_hours(problem: Problem, values: tuple[int, ...]) -> tuple[float, ...]:
    """When each stage ends, in hours from the start."""
    ends: list[float] = []
    for stage in problem.stages:
        start = 0.0
        for before, pairs in stage.after:
            start = max(start, ends[before] + sum(_pair_hours(problem, pair, values) for pair in pairs))
        length = max((float(problem.variables[v].hours[values[v]]) for v in stage.variables), default=0.0)
        length += sum(float(problem.variables[v].moves[values[v]]) for v in stage.variables)
        ends.append(start + length + sum(_pair_hours(problem, pair, values) for pair in stage.moves))
    return tuple(ends)


def soonest_hours(problem: Problem) -> tuple[float, ...]:
    """When each stage could end if every choice were the quickest for it: no solution ends one sooner."""
    ends: list[float] = []
    least = [float(pair.hours.min()) if pair.hours.size else 0.0 for pair in problem.pairs]
    for stage in problem.stages:
        start = max((ends[before] + sum(least[pair] for pair in pairs) for before, pairs in stage.after), default=0.0)
        mine = [problem.variables[index] for index in stage.variables]
        length = max((float(v.hours.min()) for v in mine), default=0.0) + sum(float(v.moves.min()) for v in mine)
        ends.append(start + length + sum(least[pair] for pair in stage.moves))
    return tuple(ends)


def worst_of(problem: Problem, stage: Stage, values: tuple[int, ...]) -> float:
    """What a stage's budget is held against."""
    single = sum(float(problem.variables[v].worst[values[v]]) for v in stage.variables)
    pairs = (problem.pairs[index] for index in stage.paid)
    return single + sum(float(pair.cost[values[pair.first], values[pair.second]]) for pair in pairs)


def _pair_hours(problem: Problem, index: int, values: tuple[int, ...]) -> float:
    pair = problem.pairs[index]
    return float(pair.hours[values[pair.first], values[pair.second]])


def allowed(problem: Problem, values: tuple[int, ...], *, slack: float = SLACK) -> bool:
    """Whether a solution keeps every limit. slack: see `SLACK`."""
    if cost_of(problem, values) == float("inf"):
        return False
    ends = finish_hours(problem, values)
    for stage, end in zip(problem.stages, ends, strict=True):
        if stage.deadline is not None and end > stage.deadline + slack:
            return False
        if stage.budget is not None and worst_of(problem, stage, values) > stage.budget + slack * 1e9:
            return False
    return not (problem.quotas and excesses(problem, problem.quotas, values))


def used(problem: Problem, values: tuple[int, ...]) -> dict[tuple[int, int], dict[int, int]]:
    """(quota, region) → stage → thousandths that the solution uses of it; nothing for what uses none."""
    found: dict[tuple[int, int], dict[int, int]] = {}
    for number, stage in enumerate(problem.stages):
        for index in stage.variables:
            variable, value = problem.variables[index], values[index]
            for quota in variable.use[value].nonzero()[0].tolist():
                weights = found.setdefault((quota, int(variable.region[value])), {})
                weights[number] = weights.get(number, 0) + int(variable.use[value, quota])
    return found


def excesses(problem: Problem, quotas: Sequence[int], values: tuple[int, ...]) -> tuple[Excess, ...]:
    """Every quota and region of which a solution uses more than is allowed. quotas: as of a problem.

    The machines of all tasks are made before the first job starts and stay until they are destroyed, so tasks count together also where
    one waits for the other.
    """
    return tuple(
        Excess(quota=quota, region=region, stages=tuple(weights), amount=amount)
        for (quota, region), weights in sorted(used(problem, values).items())
        if (amount := sum(weights.values())) > quotas[quota]
    )
