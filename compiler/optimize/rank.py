"""The order of a group's candidates while everything else stays as chosen: fallbacks, and what stands out as an alternative.

Contract: pure. Candidates are ranked by the task's own preference, then by the cost of the whole plan with them, then in the written
order. One that would break a bound or a limit is not in the list.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .model import Model, kept
from .problem import Answer, Pair
from .single import missed, terms_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTH = 96
"""How many candidates are looked at: enough to find a few alternatives that differ in more than the zone."""
TRIES = 4
"""How many times as many are tried where limits may rule them out."""
SAMPLED = 16
"""One key in so many is looked at first."""
Tight: TypeAlias = tuple[int, int, int]
"""A quota, a region, and the thousandths that the plan uses of it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """row: the candidate; extra: nano-dollars the whole plan costs more (less when negative) than the chosen one; later: the task
    itself puts it after the chosen one."""

    row: int
    extra: float
    later: bool


def rank(model: Model, answer: Answer, variable: int, tight: tuple[Tight, ...] = ()) -> tuple[Ranked, ...]:
    """The best candidates of a group besides the chosen one, best first. tight: the group's of `nearly_used`."""
    import numpy

    found = model.choices[variable]
    beside = _beside(model, answer, variable)
    costs = found.costs()
    total = costs if beside is None else costs + beside[found.place]
    chosen = int(model.problem.variables[variable].row[answer.values[variable]])
    mine = float(total[chosen])
    # Without ranks the costs are the keys themselves: nothing but the chosen one's is written over.
    key = total + found.rank * 1e16 if found.rank.any() else total
    key[chosen] = numpy.inf
    if model.problem.limited:
        key[~_within_own_limits(model, variable)] = numpy.inf
    if tight:
        key[~_within_quotas(model, answer, variable, tight)] = numpy.inf
    depth = DEPTH * TRIES if model.problem.limited else DEPTH
    rows = _least(key, depth)
    best = rows[numpy.lexsort((rows, total[rows], found.rank[rows]))][:depth]
    if model.problem.limited:
        best = best[_keeping_limits(model, answer, variable, best)]
    best = best[:DEPTH]
    return tuple(
        Ranked(row=row, extra=float(total[row] - mine), later=bool(found.rank[row] > found.rank[chosen]))
        for row in best.tolist()
    )


def zones_beside(
    model: Model, answer: Answer, variable: int, row: int, zones: tuple[str | None, ...]
) -> tuple[str | None, ...]:
    """Those of other zones of a candidate's region that break no bound, and, where the file has limits, in which data costs no more."""
    beside = _beside(model, answer, variable) if zones else None
    if beside is None:
        return zones
    place = int(model.choices[variable].place[row])
    most = float(beside[place]) if model.problem.limited else sys.float_info.max
    return tuple(zone for zone in zones if beside[model.atlas.zone_place(place, zone)] <= most)


def _within_own_limits(model: Model, variable: int) -> NDArray[Any]:
    """Candidates that are not too slow or too dear for their task's limits by themselves: most others need no closer look."""
    import numpy

    found = model.choices[variable]
    stage = next(stage for stage in model.problem.stages if variable in stage.variables)
    good = numpy.ones(len(found), dtype=bool)
    if stage.deadline is not None:
        good &= found.hours <= stage.deadline
    if stage.budget is not None:
        good &= found.worst() <= stage.budget
    return good


def nearly_used(model: Model, in_use: dict[tuple[int, int], dict[int, int]], variable: int) -> tuple[Tight, ...]:
    """Where some candidate of a group could break a quota beside what is `used`. Alone none can: those are no candidates."""
    most = model.uses[variable].max(axis=0)
    return tuple(
        (quota, region, amount)
        for (quota, region), weights in in_use.items()
        if most[quota] and (amount := sum(weights.values())) + int(most[quota]) > model.quotas[quota]
    )


def _within_quotas(model: Model, answer: Answer, variable: int, tight: tuple[Tight, ...]) -> NDArray[Any]:
    """Candidates with which no quota is broken while everything else stays as chosen."""
    import numpy

    found = model.choices[variable]
    region = model.atlas.region_of[found.place]
    good = numpy.ones(len(found), dtype=bool)
    mine, chosen = model.problem.variables[variable], answer.values[variable]
    for quota, where, used in tight:
        own = int(mine.use[chosen, quota]) if mine.region[chosen] == where else 0
        left = model.quotas[quota] - (used - own)
        good &= (region != where) | (model.uses[variable][:, quota] <= left)
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


def _keeping_limits(model: Model, answer: Answer, variable: int, rows: NDArray[Any]) -> NDArray[Any]:
    """A mask of those candidates with which the plan keeps every limit on time and money, all of them looked at together."""
    import numpy

    problem, found = model.problem, model.choices[variable]
    place = found.place[rows]
    terms = terms_of(problem, answer.values)
    terms.hours[variable] = found.hours[rows]
    terms.moves[variable] = model.fixed_hours[variable][place] if variable in model.fixed_hours else 0.0
    terms.worst[variable] = found.worst()[rows] + (model.fixed_costs[variable][place] if variable in model.fixed_costs else 0.0)
    for number in problem.touching[variable]:
        terms.paid[number], terms.taken[number] = _moved(model, answer, variable, problem.pairs[number], place)
    good: NDArray[Any] = numpy.broadcast_to(missed(problem, terms) == 0, len(rows))
    return good


def _moved(model: Model, answer: Answer, variable: int, pair: Pair, place: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What data of a pair costs, and how long it takes, with one end at each of some places and the other as chosen."""
    import numpy

    atlas = model.atlas
    forward = pair.first == variable
    other = pair.second if forward else pair.first
    there = model.problem.variables[other].place[[answer.values[other]]]
    cost, hours = numpy.zeros(len(place)), numpy.zeros(len(place))
    for direction, gb in pair.flows:
        if direction == forward:
            cost = cost + atlas.costs(place, there, gb)[:, 0]
            hours = hours + atlas.hours(place, there, gb)[:, 0]
        else:
            cost = cost + atlas.costs(there, place, gb)[0]
            hours = hours + atlas.hours(there, place, gb)[0]
    return cost, hours
