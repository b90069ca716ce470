"""Dominance: values that no best solution needs, removed before anything is searched.

Contract: safe. Value b replaces value a of a variable when it is at least as good whatever the others choose: its own cost, plus the most
it can lose on each pair, is no more than a's; the same for what each single budget pays, for hours, and for what each quota counts in
the region, where these count. Of equal
values the first in the written order stays. So every removed value can be exchanged in any solution without making it worse, and the
best solution's value is unchanged. (The single-elimination criterion of Goldstein, 1994, from protein design, with max for min.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .atlas import Atlas
from .problem import Problem, Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIVALS = 4
"""How many values of a variable are tried as a replacement for the others: the cheapest, alone and with their best pairs."""
ROUNDS = 3


def prune(problem: Problem, *, timed: bool) -> tuple[Problem, tuple[NDArray[Any], ...]]:
    """The problem without dominated values, and for each variable the indices that are left. timed: hours count too."""

    kept = everything(problem)
    touching: dict[int, list[int]] = {index: [] for index in range(len(problem.variables))}
    for number, pair in enumerate(problem.pairs):
        touching[pair.first].append(number)
        touching[pair.second].append(number)
    budgets: list[list[tuple[bool, frozenset[int]]]] = [[] for _ in problem.variables]
    for stage in problem.stages:
        if stage.budget is not None:
            paid = frozenset(stage.paid)
            for index in {*stage.variables, *(end for n in paid for end in (problem.pairs[n].first, problem.pairs[n].second))}:
                budgets[index].append((index in stage.variables, paid))
    single = {stage.variables[0] for stage in problem.stages if len(stage.variables) == 1}
    for _ in range(ROUNDS):
        removed = False
        for index in range(len(problem.variables)):
            if len(problem.variables[index]) < 2:
                continue
            keep = _undominated(problem, index, touching[index], timed=timed, alone=index in single, budgets=budgets[index])
            if not keep.all():
                problem = problem.only({index: keep})
                kept = tuple(rows[keep] if i == index else rows for i, rows in enumerate(kept))
                removed = True
        if not removed:
            break
    return problem, kept


def everything(problem: Problem) -> tuple[NDArray[Any], ...]:
    """Every value of every variable."""
    import numpy

    return tuple(numpy.arange(len(variable)) for variable in problem.variables)


def settle(problem: Problem) -> tuple[Problem, tuple[NDArray[Any], ...]]:
    """The problem with one value, the cheapest, for every variable that no pair joins to another. For cost without limits only."""
    joined = {index for pair in problem.pairs for index in (pair.first, pair.second)}
    kept = list(everything(problem))
    for index, variable in enumerate(problem.variables):
        if index not in joined:
            best = int(variable.cost.argmin())
            kept[index] = kept[index][best : best + 1]
    return problem.only({index: rows for index, rows in enumerate(kept) if index not in joined}), tuple(kept)


def one_zone_per_region(problem: Problem, atlas: Atlas) -> tuple[Problem, tuple[NDArray[Any], ...]]:
    """The problem with one zone in every region where one zone is as good as any other for every variable at once.

    Moving everything in a region to that zone makes no single value dearer or slower, data within the region free, and changes nothing
    for data that leaves it. So no zone but that one is needed, unless something asks for distinct zones.
    """
    bounds = {bound for pair in problem.pairs for bound in pair.bounds}
    if len(problem.pairs) == 0 or "distinct zone" in bounds:
        return problem, everything(problem)
    return _one_zone(problem, atlas, bounds)


def _one_zone(problem: Problem, atlas: Atlas, bounds: set[str]) -> tuple[Problem, tuple[NDArray[Any], ...]]:
    """bounds: all that the problem's pairs have, also where the pairs are not made yet."""
    import numpy

    kept = everything(problem)
    regions = [atlas.region_of[variable.place] for variable in problem.variables]
    zones = [atlas.zone_of[variable.place] for variable in problem.variables]
    dropped: set[int] = set()
    wanted = _zones_for_all(problem, regions, zones)
    if "same zone" in bounds:
        # A place whose zone nobody knows is in the same zone as no other.
        wanted = {region: zone for region, zone in wanted.items() if zone != -1}
    if not wanted:
        return problem, kept
    table = numpy.full(len(atlas.regions), -2)
    for region, zone in wanted.items():
        table[region] = zone
    for index in range(len(problem.variables)):
        chosen = table[regions[index]]
        keep = (chosen == -2) | (zones[index] == chosen)
        if not keep.all():
            kept = tuple(rows[keep] if i == index else rows for i, rows in enumerate(kept))
            dropped.add(index)
    return problem.only({index: kept[index] for index in dropped}), kept


def before_pairs(
    variables: list[Variable], joined: set[int], bounds: set[str], atlas: Atlas, *, cheapest: bool, held: bool
) -> list[Variable]:
    """What `one_zone_per_region` leaves of the joined variables, before a table is made for any pair of them.

    bounds: all that the pairs will have. The others are left as they are: they take part in no table. cheapest: nothing but the cost
    counts, and the others may as well be settled first (`settle`). held: quotas count.
    """
    import numpy

    if not joined or "distinct zone" in bounds or any(len(variable) == 0 for variable in variables):
        return variables
    settled = tuple(
        variable
        if index in joined
        else variable.only(numpy.array([int(variable.cost.argmin())] if cheapest else [], dtype=int))
        for index, variable in enumerate(variables)
    )
    quotas = (0,) * variables[0].use.shape[1] if held else ()
    cut, _ = _one_zone(Problem(variables=settled, pairs=(), stages=(), quotas=quotas), atlas, bounds)
    return [cut.variables[index] if index in joined else variable for index, variable in enumerate(variables)]


def _zones_for_all(problem: Problem, regions: list[NDArray[Any]], zones: list[NDArray[Any]]) -> dict[int, int]:
    """Region → a zone that suits every variable with values there: for each of its values in the region one that is as good is in it."""
    import numpy

    common: dict[int, set[int]] = {}
    several: set[int] = set()
    for variable, region, zone in zip(problem.variables, regions, zones, strict=True):
        present, counts = numpy.unique(region, return_counts=True)
        several.update(present[counts > 1].tolist())
        mine = _suiting(variable, region, zone, held=bool(problem.quotas))
        for number, suited in mine.items():
            common[number] = suited if number not in common else common[number] & suited
    return {number: min(suited) for number, suited in common.items() if suited and number in several}


def _suiting(variable: Variable, region: NDArray[Any], zone: NDArray[Any], *, held: bool) -> dict[int, set[int]]:
    """Region → zones that hold everything of the region that no other value of the region beats."""
    import numpy

    columns = [variable.cost, variable.worst, variable.hours, variable.moves, *(variable.use.T if held else ())]
    order = numpy.lexsort((*columns[::-1], region))
    region, zone = region[order], zone[order]
    columns = [column[order] for column in columns]
    best = frontier(region, *columns[1:])
    # Equal values stand together; the first of them is the one on the frontier.
    new = numpy.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = region[1:] != region[:-1]
        for column in columns:
            new[1:] |= column[1:] != column[:-1]
    kind = numpy.cumsum(new) - 1
    wanted = numpy.zeros(len(order), dtype=bool)
    wanted[kind[best]] = True
    needed: dict[int, int] = {}
    for number in region[best].tolist():
        needed[number] = needed.get(number, 0) + 1
    held_by: dict[tuple[int, int], set[int]] = {}
    rows = numpy.flatnonzero(wanted[kind])
    for number, where, which in zip(region[rows].tolist(), zone[rows].tolist(), kind[rows].tolist(), strict=True):
        held_by.setdefault((number, where), set()).add(which)
    suiting: dict[int, set[int]] = {number: set() for number in needed}
    for (number, where), kinds in held_by.items():
        if len(kinds) == needed[number]:
            suiting[number].add(where)
    return suiting


def frontier(place: NDArray[Any], *columns: NDArray[Any]) -> NDArray[Any]:
    """Rows sorted by place and cost: those that no cheaper row of their place beats in all the other columns."""
    import numpy

    kept = []
    left = numpy.arange(len(place))
    while len(left):
        # The cheapest that is left at each place stays; what it beats goes. So many rounds as one place has rows that stay.
        starts = numpy.flatnonzero(numpy.concatenate([[True], place[left[1:]] != place[left[:-1]]]))
        cheapest = left[starts]
        kept.append(cheapest)
        rival = numpy.repeat(cheapest, numpy.diff([*starts, len(left)]))
        beaten = numpy.ones(len(left), dtype=bool)
        for column in columns:
            beaten &= column[rival] <= column[left]
        left = left[~beaten]
    return numpy.sort(numpy.concatenate(kept)) if kept else left


def _rivals(*measures: NDArray[Any]) -> tuple[int, ...]:
    """The best values by each measure: those that may replace others. In a fixed order."""
    import numpy

    best = (int(i) for measure in measures for i in numpy.argsort(measure, kind="stable")[:RIVALS])
    return tuple(dict.fromkeys(best))


def _undominated(
    problem: Problem, index: int, pairs: list[int], *, timed: bool, alone: bool, budgets: list[tuple[bool, frozenset[int]]]
) -> NDArray[Any]:
    """A mask of the values to keep.

    alone: the variable's hours are its stage's; otherwise what it saves may be saved in vain, for another one takes longer. budgets:
    whether a budget pays for the variable itself, and for which pairs.
    """
    import numpy

    variable = problem.variables[index]
    facing = [(pair, pair.first == index) for pair in (problem.pairs[number] for number in pairs)]
    costs = [pair.cost if first else pair.cost.T for pair, first in facing]
    times = [pair.hours if first else pair.hours.T for pair, first in facing] if timed else []
    least = [cost.min(axis=1) for cost in costs]
    # Almost no pair forbids anything, and then half of the passes below are not needed.
    bounded = [bool(numpy.isinf(cost).any()) for cost in costs]
    hopeful = variable.cost + sum(least, numpy.zeros(len(variable)))
    keep = numpy.isfinite(hopeful)
    if not keep.any():
        # Nothing can be chosen: the solver says so.
        return numpy.ones(len(variable), dtype=bool)
    sums = [
        (numpy.where(numpy.isinf(cost), 1e15, cost) if bound else cost).sum(axis=1)
        for cost, bound in zip(costs, bounded, strict=True)
    ]
    total = variable.cost + sum(sums, numpy.zeros(len(variable)))
    for rival in _rivals(variable.cost, total, *([variable.hours + variable.moves] if timed else [])):
        if not keep[rival]:
            continue
        loss = variable.cost[rival] - variable.cost
        slower = variable.hours[rival] - variable.hours
        moving = variable.moves[rival] - variable.moves
        slower = slower + moving if alone else numpy.maximum(slower, 0) + numpy.maximum(moving, 0)
        most: dict[int, NDArray[Any]] = {}
        # An endless loss beside an endless gain is undecided (nan), and the value stays.
        with numpy.errstate(invalid="ignore"):
            for number, cost, bound in zip(pairs, costs, bounded, strict=True):
                more = cost[rival][None, :] - cost
                # What is forbidden for the value to be replaced is no loss; what is forbidden for the rival alone is an endless one.
                most[number] = (numpy.where(numpy.isinf(cost), -numpy.inf, more) if bound else more).max(axis=1)
                loss = loss + most[number]
            for hours in times:
                slower = slower + numpy.maximum((hours[rival][None, :] - hours).max(axis=1), 0)
            beaten = loss <= 0
            if timed:
                beaten &= slower <= 0
            for own, paid in budgets:
                worse = variable.worst[rival] - variable.worst if own else numpy.zeros(len(variable))
                for number in sorted(paid & most.keys()):
                    worse = worse + most[number]
                beaten &= worse <= 0
            if problem.quotas:
                use = variable.use
                here = (variable.region == variable.region[rival])[:, None]
                beaten &= ((use[rival] == 0) | (here & (use[rival] <= use))).all(axis=1)
        # Of two equal values each beats the other: the first one stays.
        equal = beaten & (loss == 0) & (numpy.arange(len(variable)) < rival)
        beaten &= ~equal
        beaten[rival] = False
        keep &= ~beaten
    return keep
