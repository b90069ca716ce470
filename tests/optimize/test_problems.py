"""Each way to answer a problem, on purpose, against every solution there is; and what is removed before, against the same."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from random import Random

import numpy
import pytest
from hypothesis import given
from tests.optimize.test_brute_force import RANDOM, SHAPES, drawn, examples

from skyc.compiler.ir import Catalog, Objective
from skyc.compiler.ir.catalog import Rates
from skyc.compiler.optimize import ascent, eliminate
from skyc.compiler.optimize.atlas import Atlas
from skyc.compiler.optimize.cuts import broken, sum_of
from skyc.compiler.optimize.decide import decide
from skyc.compiler.optimize.model import build
from skyc.compiler.optimize.problem import Answer, Pair, Problem, Stage, Variable, allowed, cost_of, finish_hours, soonest_hours
from skyc.compiler.optimize.program import Program
from skyc.compiler.optimize.prune import one_zone_per_region, prune
from skyc.compiler.optimize.relax import relax
from skyc.compiler.optimize.single import changed
from skyc.compiler.optimize.windows import punctual
from skyc.providers.snapshot import OfferRow, TypeRow, build_part

INF = float("inf")
MICRO = 1000.0
"""Nano-dollars in a micro-dollar."""
MOST = 4000
QUOTAS = 2


def _atlas() -> Atlas:
    kind = TypeRow(name="one", cpus=Decimal(1), memory_gb=Decimal(1))
    offers = [
        OfferRow(
            type=kind.key, region=region, zone=zone, on_demand=Decimal(1), spot=None, source="list", as_of="2026", capacity=None
        )
        for region in ("north", "south")
        for zone in (f"{region}-a", f"{region}-b")
    ]
    parts = [build_part(name, (kind,), offers, Rates(), sells_spot=False, as_of="2026") for name in ("aa", "bb", "cc")]
    return Atlas(catalog=Catalog(parts=tuple(parts)))


ATLAS = _atlas()


def _matrix(rng: Random, rows: int, columns: int) -> "numpy.ndarray[tuple[int, int], numpy.dtype[numpy.float64]]":
    kind = rng.choice(("few", "many", "regions"))
    top = rng.choice((3, 10**9, 10**12))
    entries = [[float(rng.randint(0, top)) for _ in range(columns)] for _ in range(rows)]
    if kind == "few":
        entries = [[rng.choice((0.0, 5e8, 1e14)) for _ in range(columns)] for _ in range(rows)]
    for row, column in itertools.product(range(rows), range(columns)):
        if rng.random() < 0.12:
            entries[row][column] = INF
    return numpy.array(entries).reshape(rows, columns)


def _variable(rng: Random, number: int, size: int, top: int, scattered: bool) -> Variable:
    whole = [ATLAS.region_place(region) for region in range(len(ATLAS.regions))]
    places = rng.sample(whole, size) if scattered else [rng.randrange(len(ATLAS.locations)) for _ in range(size)]
    cost = numpy.array([float(rng.randint(0, top)) for _ in range(size)])
    return Variable(
        name=f"v{number}",
        place=numpy.array(sorted(places), dtype=numpy.int32),
        cost=cost,
        worst=cost + numpy.array([float(rng.choice((0, 0, rng.randint(0, top)))) for _ in range(size)]),
        hours=numpy.array([rng.choice((0.5, 1.0, 2.0, 7.25)) for _ in range(size)]),
        moves=numpy.array([rng.choice((0.0, 0.0, 0.25)) for _ in range(size)]),
        row=numpy.arange(size),
        rank=numpy.zeros(size, dtype=numpy.int32),
        region=ATLAS.region_of[numpy.array(sorted(places), dtype=numpy.int32)],
        use=numpy.zeros((size, QUOTAS), dtype=numpy.int64),
    )


def problem(rng: Random, *, dense: bool = False, staged: bool = False, scattered: bool = False) -> Problem:
    """scattered: no two values of a variable in one region, so that zones play no part.

    Ties, single values, forbidden entries, several components; dense ones join all of 6 to 8 variables."""
    count = rng.randint(6, 8) if dense else rng.randint(1, 6)
    sizes = [rng.randint(1, 2 if dense else 5) for _ in range(count)]
    if dense:
        for _ in range(3):
            sizes[rng.randrange(count)] = 3
    top = rng.choice((2, 10**9, 10**12))
    variables = tuple(_variable(rng, number, size, top, scattered) for number, size in enumerate(sizes))
    share = 1.0 if dense else rng.choice((0.2, 0.5, 0.9))
    pairs = tuple(
        Pair(
            first=first,
            second=second,
            cost=_matrix(rng, sizes[first], sizes[second]),
            hours=numpy.array([[rng.choice((0.0, 0.5, 3.0)) for _ in range(sizes[second])] for _ in range(sizes[first])]),
        )
        for first, second in itertools.combinations(range(count), 2)
        if rng.random() < share
    )
    stages = _stages(rng, count, pairs) if staged else ()
    timed = {variable for stage in stages for variable in stage.variables}
    zeros = tuple(replace(v, hours=numpy.zeros(len(v)), moves=numpy.zeros(len(v))) for v in variables)
    variables = tuple(v if number in timed else zeros[number] for number, v in enumerate(variables))
    return Problem(variables=variables, pairs=pairs, stages=stages)


def _stages(rng: Random, count: int, pairs: tuple[Pair, ...]) -> tuple[Stage, ...]:
    """Some stages have two variables, some variables (Storages) have none."""
    owner: dict[int, int] = {}
    stages: list[tuple[int, ...]] = []
    left = list(range(count))
    while left:
        mine = [left.pop(0) for _ in range(min(len(left), rng.choice((1, 1, 2))))]
        if rng.random() < 0.2 and stages:
            continue
        owner.update(dict.fromkeys(mine, len(stages)))
        stages.append(tuple(mine))
    made = []
    for number, variables in enumerate(stages):
        after: dict[int, tuple[int, ...]] = {}
        moves, paid = [], []
        for index, pair in enumerate(pairs):
            ends = owner.get(pair.first), owner.get(pair.second)
            if ends[1] == number and ends[0] is not None and ends[0] < number:
                after[ends[0]] = (*after.get(ends[0], ()), index)
                paid.append(index)
            elif number in ends and None in ends:
                moves.append(index)
                paid.append(index)
        made.append(Stage(variables=variables, after=tuple(sorted(after.items())), moves=tuple(moves), paid=tuple(paid)))
    return tuple(made)


def solutions(made: Problem) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(len(variable)) for variable in made.variables))


def few(made: Problem) -> bool:
    count = 1
    for variable in made.variables:
        count *= len(variable)
    return count <= MOST


def spent(made: Problem, values: tuple[int, ...], stage: Stage) -> float:
    pairs = [made.pairs[index] for index in stage.paid]
    return sum(float(made.variables[v].worst[values[v]]) for v in stage.variables) + sum(
        float(pair.cost[values[pair.first], values[pair.second]]) for pair in pairs
    )


def with_limits(rng: Random, made: Problem) -> Problem:
    every = [values for values in solutions(made) if cost_of(made, values) < INF]
    if not every:
        return made
    stages = []
    for number, stage in enumerate(made.stages):
        deadline = budget = None
        if rng.random() < 0.4:
            deadline = finish_hours(made, rng.choice(every))[number] + rng.choice((0.01, -0.01))
        if rng.random() < 0.4:
            budget = spent(made, rng.choice(every), stage) + rng.choice((1e5, -1e5))
        stages.append(replace(stage, deadline=deadline, budget=budget))
    return replace(made, stages=tuple(stages))


def with_quotas(rng: Random, made: Problem) -> Problem:
    """Values use something of two quotas, and some solution is within them, or nearly so."""
    variables = tuple(
        replace(v, use=numpy.array([[rng.choice((0, 0, 1000, 3000)) for _ in range(QUOTAS)] for _ in range(len(v))]))
        for v in made.variables
    )
    made = replace(made, variables=variables)
    some = next((values for values in solutions(made) if rng.random() < 0.1), tuple(0 for _ in variables))
    limits = []
    for quota in range(QUOTAS):
        most = max((in_use(made, some, quota, region) for region in regions_of(made)), default=0)
        limits.append(max(0, most - rng.choice((0, 0, 1, 1000))))
    return replace(made, quotas=tuple(limits))


def regions_of(made: Problem) -> set[int]:
    return {int(region) for variable in made.variables for region in variable.region}


def in_use(made: Problem, values: tuple[int, ...], quota: int, region: int) -> int:
    """What all stages use of a quota in a region."""
    taken = [(made.variables[v], values[v]) for stage in made.stages for v in stage.variables]
    return sum(int(v.use[i, quota]) for v, i in taken if v.region[i] == region)


def within_quotas(made: Problem, values: tuple[int, ...]) -> bool:
    return all(
        in_use(made, values, quota, region) <= limit for quota, limit in enumerate(made.quotas) for region in regions_of(made)
    )


def best_allowed(made: Problem) -> float:
    """The least cost that keeps all limits."""
    bare = replace(made, quotas=())
    good = sorted((cost_of(made, v), v) for v in solutions(made) if allowed(bare, v, slack=0.0))
    return next((cost for cost, values in good if within_quotas(made, values)), INF)


@pytest.mark.parametrize("held", [False, True])
@given(rng=RANDOM)
@examples(36)
def test_windows_and_prices_keep_the_best(held: bool, rng: Random) -> None:
    """No solution that keeps all limits is lost or forbidden, and none is below the bound."""
    made = with_limits(rng, problem(rng, staged=True))
    if held:
        made = with_quotas(rng, made)
    if not few(made):
        return
    best = best_allowed(made)
    timely, rows = punctual(made)
    for values in solutions(made):
        if cost_of(made, values) < INF and allowed(made, values, slack=0.0):
            assert all(value in kept for value, kept in zip(values, rows, strict=True))
            places = tuple(int(kept.searchsorted(value)) for value, kept in zip(values, rows, strict=True))
            assert cost_of(timely, places) == cost_of(made, values)
    if any(len(kept) == 0 for kept in rows):
        assert best == INF
        return
    relaxed = relax(timely)
    assert relaxed.bound <= best + MICRO
    narrowed = timely.only(dict(enumerate(relaxed.kept)))
    if relaxed.values is None:
        assert best_allowed(narrowed) == best
        return
    assert allowed(timely, relaxed.values)
    assert relaxed.value == cost_of(timely, relaxed.values) >= best
    assert not relaxed.optimal or relaxed.value <= best + MICRO
    assert best_allowed(narrowed) <= best + MICRO


@given(rng=RANDOM)
@examples(36)
def test_a_solution_breaks_a_cut_exactly_when_it_breaks_a_limit(rng: Random) -> None:
    made = with_quotas(rng, with_limits(rng, problem(rng, staged=True)))
    if not few(made):
        return
    every = [values for values in solutions(made) if cost_of(made, values) < INF][:40]
    found = {cut for values in every for cut in broken(made, values)}
    for values in every:
        good = allowed(made, values)
        assert good == (not list(broken(made, values)))
        for variable in range(len(values)):
            _, missed = changed(made, values, variable)
            assert (missed[values[variable]] == 0) == good
        for cut in found:
            total = sum_of(made, cut)
            # What a solution that keeps all limits uses of any of them is within it.
            assert not good or total.of(made, values) <= total.limit + 1e-12


def cheapest(made: Problem) -> float:
    return min(cost_of(made, values) for values in solutions(made))


def quickest(made: Problem) -> tuple[float, float]:
    """Hours, and the least cost among the quickest. `inf` twice when nothing is allowed."""
    good = [values for values in solutions(made) if allowed(made, values, slack=0.0)]
    hours = min((max(finish_hours(made, values), default=0.0) for values in good), default=INF)
    soon = [values for values in good if max(finish_hours(made, values), default=0.0) <= hours + 1e-9]
    return hours, min((cost_of(made, values) for values in soon), default=INF)


def agree(made: Problem, answer: Answer | None, best: float) -> None:
    if best == INF:
        assert answer is None or answer.value == INF
        return
    assert answer is not None
    assert answer.optimal
    assert cost_of(made, answer.values) == answer.value
    assert abs(answer.value - best) <= MICRO + best * 1e-12, (answer.value, best)
    assert answer.bound <= best + MICRO + best * 1e-12


@given(rng=RANDOM)
@examples(90)
def test_elimination(rng: Random) -> None:
    made = problem(rng)
    answer = eliminate.solve(made)
    assert answer is not None
    if few(made):
        best = cheapest(made)
        assert answer.value == best


@pytest.mark.parametrize("dense", [False, True])
@given(rng=RANDOM)
@examples(36)
def test_ascent_bounds_and_keeps_the_best(dense: bool, rng: Random) -> None:
    made = problem(rng, dense=dense)
    if not few(made):
        return
    best = cheapest(made)
    tight = ascent.tighten(made)
    assert tight.value >= best
    assert tight.value == cost_of(made, tight.values)
    if best == INF:
        return
    # Far above 2**53 nano-dollars sums are rounded; the bound is allowed the same.
    assert tight.bound <= best + MICRO, (tight.bound, best)
    assert all(value in rows for value, rows in zip(tight.values, tight.kept, strict=True))
    narrowed = made.only(dict(enumerate(tight.kept)))
    assert cheapest(narrowed) <= best + MICRO


@pytest.mark.parametrize("dense", [False, True])
@given(rng=RANDOM)
@examples(16)
def test_integer_program(dense: bool, rng: Random) -> None:
    made = problem(rng, dense=dense)
    if few(made):
        program = Program(made, ATLAS, timed=False)
        agree(made, program.minimize(program.cost), cheapest(made))


@given(rng=RANDOM)
@examples(16)
def test_integer_program_that_knows_a_solution(rng: Random) -> None:
    made = problem(rng)
    known = ascent.tighten(made).value
    if few(made):
        program = Program(made, ATLAS, timed=False, forbidding=known)
        agree(made, program.minimize(program.cost), cheapest(made))


@pytest.mark.parametrize("dense", [False, True])
@given(rng=RANDOM)
@examples(25)
def test_decide_without_elimination(dense: bool, rng: Random) -> None:
    """What large graphs go through: ascent, dominance, and a program where these leave something open."""
    made = problem(rng, dense=dense, staged=True, scattered=True)
    if not few(made):
        return
    if rng.random() < 0.5:
        made = with_limits(rng, made)
    best = min((cost_of(made, values) for values in solutions(made) if allowed(made, values, slack=0.0)), default=INF)
    with pytest.MonkeyPatch.context() as patch:
        # The package names the function like its module.
        patch.setattr(sys.modules[decide.__module__], "solve", lambda problem: None)
        agree(made, decide(made, ATLAS, Objective.COST), best)


@given(rng=RANDOM)
@examples(25)
def test_decide_within_limits(rng: Random) -> None:
    made = with_limits(rng, problem(rng, staged=True, scattered=True))
    if few(made):
        agree(made, decide(made, ATLAS, Objective.COST), best_allowed(made))


@pytest.mark.parametrize("limited", [False, True])
@given(rng=RANDOM)
@examples(25)
def test_decide_within_quotas(limited: bool, rng: Random) -> None:
    made = problem(rng, staged=True, scattered=True)
    if not few(made):
        return
    made = with_quotas(rng, with_limits(rng, made) if limited else made)
    answer = decide(made, ATLAS, Objective.COST)
    agree(made, answer, best_allowed(made))
    assert answer is None or within_quotas(made, answer.values)


def test_only_stages_use_quotas() -> None:
    """A variable in no stage was counted by the program alone, so that it forbade the best solution of this world."""
    rng = Random(285)
    made = with_quotas(rng, problem(rng, staged=True, scattered=True))
    assert any(number is None for number in made.stage_of)
    agree(made, decide(made, ATLAS, Objective.COST), best_allowed(made))


@given(rng=RANDOM)
@examples(25)
def test_decide_the_quickest(rng: Random) -> None:
    made = problem(rng, staged=True, scattered=True)
    if not few(made):
        return
    if rng.random() < 0.5:
        made = with_limits(rng, made)
    hours, cost = quickest(made)
    answer = decide(made, ATLAS, Objective.TIME, any_price=True)
    if hours == INF:
        assert answer is None
        return
    assert answer is not None
    assert abs(answer.value - hours) <= 1e-6
    assert abs(cost_of(made, answer.values) - cost) <= MICRO + cost * 1e-12, (cost_of(made, answer.values), cost)


@given(rng=RANDOM)
@examples(36)
def test_no_stage_ends_sooner(rng: Random) -> None:
    made = problem(rng, staged=True)
    if few(made):
        ends = [finish_hours(made, values) for values in solutions(made)]
        bounds = soonest_hours(made)
        assert all(end >= bound - 1e-9 for one in ends for end, bound in zip(one, bounds, strict=True))


@given(rng=RANDOM)
@examples(90)
def test_dominance_keeps_the_best(rng: Random) -> None:
    made = with_limits(rng, problem(rng, staged=True))
    if not few(made):
        return
    held = with_quotas(rng, made)
    assert best_allowed(prune(held, timed=True)[0]) == best_allowed(held)
    smaller, rows = prune(made, timed=False)
    free, bare = replace(made, stages=()), replace(smaller, stages=())
    assert cheapest(prune(free, timed=False)[0]) == cheapest(free)
    assert cheapest(bare) == cheapest(free)
    timed, _ = prune(made, timed=True)
    for one in (timed, *([smaller] if all(stage.deadline is None for stage in made.stages) else [])):
        best = [min((cost_of(p, v) for v in solutions(p) if allowed(p, v, slack=0.0)), default=INF) for p in (made, one)]
        assert best[0] == best[1]
    hours, cost = quickest(made)
    assert quickest(timed) == (hours, cost)
    assert all((numpy.diff(kept) > 0).all() for kept in rows)


@pytest.mark.parametrize("name", ["graph", "groups", "plain"])
@given(rng=RANDOM)
@examples(25)
def test_one_zone_of_a_region_is_enough(name: str, rng: Random) -> None:
    case = drawn(rng, SHAPES[name])
    if case is None:
        return
    model = build(case[0].graph, case[0].found())
    if few(model.problem):
        merged, _ = one_zone_per_region(model.problem, model.atlas)
        assert cheapest(merged) == cheapest(model.problem)
        assert quickest(merged) == quickest(model.problem)
        held = with_quotas(rng, model.problem)
        merged, _ = one_zone_per_region(held, model.atlas)
        quotas = [replace(p, quotas=held.quotas) for p in (held, merged)]
        assert best_allowed(quotas[0]) == best_allowed(quotas[1])


@pytest.mark.parametrize("seed", [327145180, 48551])
def test_a_program_is_not_infeasible_because_presolve_says_so(seed: int) -> None:
    """HiGHS 1.13.1 said so of the programs of these two worlds."""
    rng = Random(seed)
    made = problem(rng, staged=True, scattered=True)
    rng.random()
    made = with_limits(rng, made)
    best = min((cost_of(made, values) for values in solutions(made) if allowed(made, values, slack=0.0)), default=INF)
    assert best < INF
    agree(made, decide(made, ATLAS, Objective.COST), best)
