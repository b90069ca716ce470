"""What must hold whatever the world: prices of transfers, more offers, another order of the same rows, and what is said of the rest."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.optimize.reference import Plan, has, meets, plans
from tests.optimize.test_brute_force import (
    DOLLARS,
    RANDOM,
    Limit,
    budgets,
    counts,
    deadlines,
    drawn,
    examples,
    quotas,
    same_choice,
)
from tests.optimize.worlds import SOURCES, Shape, World, world

from skyc.compiler.conflict import conflict
from skyc.compiler.ir import (
    Alternative,
    Bound,
    GroupPlacement,
    Infra,
    Market,
    Objective,
    PlacementPlan,
    ResourceRequest,
    Task,
    TaskGraph,
)
from skyc.compiler.ir.catalog import PriceStep, TransferRule
from skyc.compiler.match import Filter, Size, codes_of, requirement_field
from skyc.compiler.optimize import optimize
from skyc.compiler.optimize.atlas import price_of
from skyc.compiler.printer import print_ir
from skyc.providers.snapshot import OfferRow, TypeRow

D = Decimal
ROOT = Path(__file__).parents[2]
SMALL = Shape(tasks=3, offers=4)
KNOWN = Shape(tasks=3, offers=4, unknown=False)


def placed(made: World, objective: Objective = Objective.COST) -> PlacementPlan | None:
    found = made.found()
    if any(not len(options) for options in found.options):
        return None
    return optimize(made.graph, found, SOURCES, objective=objective)[0]


# Transfers

AMOUNTS = st.decimals(min_value=0, max_value=50_000, places=3)
PRICES = st.decimals(min_value=0, max_value=1, places=4)


@st.composite
def transfer_rules(draw: st.DrawFn) -> TransferRule:
    edges = sorted({D(0), *draw(st.lists(st.integers(1, 40_000).map(D), max_size=4))})
    steps = tuple(PriceStep(above=edge, price=draw(PRICES)) for edge in edges)
    both = draw(st.booleans())
    return TransferRule(source="*", destination="internet", steps=steps, price_source="list", as_of="2026", both_ways=both)


def priced(rule: TransferRule, gb: Decimal) -> Decimal:
    price = price_of(rule, gb)
    assert price is not None
    return price


@given(rule=transfer_rules(), first=AMOUNTS, second=AMOUNTS)
@examples(150)
def test_more_data_is_never_cheaper(rule: TransferRule, first: Decimal, second: Decimal) -> None:
    low, high = sorted((first, second))
    dearest = max(step.price or D(0) for step in rule.steps) * (2 if rule.both_ways else 1)
    assert D(0) <= priced(rule, high) - priced(rule, low) <= (high - low) * dearest


@given(rule=transfer_rules())
@examples(150)
def test_prices_do_not_jump_at_an_edge(rule: TransferRule) -> None:
    tiny = D("1e-9")
    for step in rule.steps[1:]:
        assert priced(rule, step.above + tiny) - priced(rule, step.above - tiny) <= 4 * tiny


@given(rule=transfer_rules(), gb=AMOUNTS)
@examples(150)
def test_only_nothing_is_free(rule: TransferRule, gb: Decimal) -> None:
    free = all(step.price == 0 for step in rule.steps if step.above < gb)
    assert (priced(rule, gb) == 0) == (gb == 0 or free)


# More offers, another order


@given(rng=RANDOM)
@examples(36)
def test_another_offer_never_makes_it_dearer(rng: Random) -> None:
    made = world(rng, replace(KNOWN, ordered=False))
    before = placed(made)
    part = rng.randrange(len(made.parts))
    rows = made.parts[part]
    if len(rows.offers) < 2:
        return
    left = rows.offers[:-1]
    # Without its last offer: a region may go with it, and with the region a place for data.
    if {row.region for row in left} != {row.region for row in rows.offers}:
        return
    parts = tuple(replace(rows, offers=left) if number == part else other for number, other in enumerate(made.parts))
    fewer = placed(replace(made, parts=parts))
    if fewer is None or fewer.total is None:
        return
    assert before is not None
    assert before.total is not None
    assert before.total <= fewer.total + DOLLARS


def shuffled(rng: Random, made: World) -> World:
    """The same rows and the same tasks in another order that the tasks' needs allow."""
    parts = []
    for part in made.parts:
        types, offers = list(part.types), list(part.offers)
        rng.shuffle(types)
        rng.shuffle(offers)
        parts.append(replace(part, types=tuple(types), offers=tuple(offers)))
    tasks = list(made.graph.tasks)
    order: list[Task] = []
    while tasks:
        ready = [task for task in tasks if all(need in [done.id for done in order] for need in task.needs)]
        order.append(rng.choice(ready))
        tasks.remove(order[-1])
    return replace(made, parts=tuple(parts), graph=TaskGraph(name=made.graph.name, tasks=tuple(order)))


def in_one_order(plan: PlacementPlan) -> str:
    """The plan as printed, its lists in the order of names: they stand in the order of the file, which is another one."""
    return print_ir(
        replace(
            plan,
            spec_digest="",
            placements=tuple(sorted(plan.placements, key=lambda p: (p.task, p.group))),
            fallbacks=tuple(sorted(plan.fallbacks, key=lambda p: (p.task, p.group))),
            alternatives=tuple(sorted(plan.alternatives, key=lambda a: (a.placement.task, a.placement.group))),
            rejections=tuple(sorted(plan.rejections, key=lambda r: (r.task, r.group, -r.count, r.reason))),
        )
    )


@given(rng=RANDOM, objective=st.sampled_from(Objective), limit=st.sampled_from((None, deadlines, budgets)))
@examples(48)
def test_the_order_of_rows_and_tasks_changes_nothing(rng: Random, objective: Objective, limit: Limit | None) -> None:
    case = drawn(rng, SMALL)
    if case is None:
        return
    made = case[0] if limit is None else limit(rng, *case)
    plan, other = placed(made, objective), placed(shuffled(rng, made), objective)
    assert (plan is None) == (other is None)
    if plan is not None and other is not None:
        assert in_one_order(plan) == in_one_order(other)


@given(rng=RANDOM)
@examples(25)
def test_the_order_of_groups_changes_nothing(rng: Random) -> None:
    """Data belongs to the first group, so only where there is none."""
    made = world(rng, Shape(tasks=2, groups=3, offers=4, data=False, affinities=False))
    made = World(
        parts=made.parts,
        graph=replace(made.graph, tasks=tuple(replace(task, traffic_gb=None) for task in made.graph.tasks)),
    )
    turned = tuple(replace(task, groups=task.groups[::-1]) for task in made.graph.tasks)
    plan, other = placed(made), placed(World(parts=made.parts, graph=replace(made.graph, tasks=turned)))
    assert (plan is None) == (other is None)
    if plan is not None and other is not None:
        assert in_one_order(plan) == in_one_order(other)


CHILD = """
import sys
from random import Random
from tests.optimize.test_properties import SMALL, placed
from tests.optimize.worlds import world
from skyc.compiler.ir import Objective
from skyc.compiler.printer import print_ir
from skyc.providers.snapshot import OfferRow, TypeRow
for seed in range(30):
    for objective in Objective:
        plan = placed(world(Random(seed), SMALL), objective)
        print(seed, "nothing" if plan is None else print_ir(plan))
"""


def test_two_processes_answer_alike() -> None:
    said = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=env, cwd=ROOT, check=True)
        assert done.stderr == ""
        said.append(done.stdout)
    assert said[0] == said[1]
    assert said[0].count("objective") > 20


# Candidates and rejections


@given(rng=RANDOM)
@examples(36)
def test_every_offer_is_a_candidate_or_has_a_reason(rng: Random) -> None:
    made = world(rng, SMALL)
    found = made.found()
    counts = Counter({(row.task, row.group, row.reason): row.count for row in found.rejections})
    expected: Counter[tuple[str, str, str]] = Counter()
    for task in made.graph.tasks:
        for group in task.groups:
            options = next(o for o in found.options if (o.task, o.group) == (task.id, group.name))
            fitting = 0
            for request in group.requests:
                for part in made.parts:
                    kinds = {kind.key: kind for kind in part.types}
                    for offer in part.offers:
                        for market in (Market.ON_DEMAND, Market.SPOT) if part.sells_spot else (Market.ON_DEMAND,):
                            reasons = _reasons(request, part.provider, offer, kinds[offer.type], market)
                            fitting += not reasons
                            assert meets(request, part, kinds[offer.type], offer, market) == (not reasons)
                            expected.update((task.id, group.name, reason) for reason in reasons)
            assert len(options) == fitting
    assert counts == expected


def _reasons(request: ResourceRequest, provider: str, offer: OfferRow, kind: TypeRow, market: Market) -> list[str]:
    reasons = []
    infra = request.infra
    if infra.provider not in (None, provider) or infra.region not in (None, offer.region):
        reasons.append("other-place")
    if request.cpus is not None and (kind.cpus or D(0)) < request.cpus.amount:
        reasons.append("too-few-cpus")
    if request.accelerators is not None and not any(has(kind, a.name, a.count) for a in request.accelerators):
        reasons.append("no-such-accelerator")
    if request.market is not Market.AUTO and request.market is not market:
        reasons.append("other-market")
    if kind.labels is not None and any(kind.labels.get(name) != value for name, value in request.labels.items()):
        reasons.append("label-not-met")
    price = offer.spot if market is Market.SPOT else offer.on_demand
    if request.max_hourly_cost is not None and price is None:
        reasons.append("unknown-price")
    if request.max_hourly_cost is not None and price is not None and price > request.max_hourly_cost:
        reasons.append("too-dear")
    return reasons


@given(rng=RANDOM)
@examples(36)
def test_the_smallest_conflict_and_the_best_relaxation(rng: Random) -> None:
    """Among all sets of fields, by the codes of single offers."""
    made = world(rng, SMALL)
    catalog = made.catalog
    request = replace(
        made.graph.tasks[0].groups[0].requests[0],
        cpus=Bound(amount=D(rng.choice((4, 9, 32))), exact=rng.random() < 0.3),
        memory_gb=rng.choice((None, Bound(amount=D(64)))),
        infra=Infra(provider=rng.choice((None, "aa", "zz"))),
        max_hourly_cost=rng.choice((None, D("0.05"), D(1))),
        arch=rng.choice((None, None, "arm64")),
    )
    size = Size(task_nodes=1, group_nodes=1)
    said = conflict(request, catalog, size, {})
    rows = []
    for codes in codes_of(request, catalog, size, {}):
        offers = catalog.parts[codes.part].offers
        rows += list(zip(codes.on_demand.tolist(), offers.on_demand.tolist(), strict=True))
        rows += list(zip(codes.spot.tolist(), offers.spot.tolist() if len(codes.spot) else [], strict=True))
    fields = [{requirement_field(rule, request) for rule in Filter if code >> rule & 1} for code, _ in rows]
    every = sorted({field for hit in fields for field in hit})
    conflicting = [
        set(chosen)
        for length in range(1, len(every) + 1)
        for chosen in combinations(every, length)
        if all(hit & set(chosen) for hit in fields)
    ]
    smallest = {requirement_field(rule, request) for rule in said.smallest}
    assert len(smallest) == min(map(len, conflicting), default=0)
    assert (smallest in conflicting) == bool(conflicting)
    alone: dict[str, list[int]] = {}
    for hit, (_, price) in zip(fields, rows, strict=True):
        if len(hit) == 1:
            alone.setdefault(next(iter(hit)), []).append(price)
    if said.relaxation is None:
        assert not alone
        return
    prices = alone[requirement_field(said.relaxation.rule, request)]
    assert said.relaxation.offers == len(prices) == max(map(len, alone.values()))
    known = [price for price in prices if price >= 0]
    assert said.relaxation.cheapest == (min(known) * D("1e-9") if known else None)


# Alternatives and fallbacks


@given(
    rng=RANDOM, objective=st.sampled_from(Objective), limit=st.sampled_from((None, None, deadlines, budgets, quotas, counts))
)
@examples(48)
def test_alternatives_and_fallbacks(rng: Random, objective: Objective, limit: Limit | None) -> None:
    case = drawn(rng, SMALL)
    if case is None:
        return
    made, every = case
    if limit is not None:
        made = limit(rng, made, every)
        if not all(len(options) for options in made.found().options):
            return
        every = list(plans_of(made))
    plan = placed(made, objective)
    if plan is None:
        return
    chosen = same_choice(plan, every)
    for kind, placements in (
        ("alternative", [a.placement for a in plan.alternatives]),
        ("fallback", list(plan.fallbacks)),
    ):
        assert len(placements) == len(set(placements))
        seen: dict[tuple[str, str], list[tuple[int, int, Decimal]]] = {}
        for placement in placements:
            key = placement.task, placement.group
            instead = tuple(placement if (p.task, p.group) == key else p for p in plan.placements)
            assert instead != plan.placements, f"a {kind} is what was chosen"
            # `same_choice` finds no combination where a bound is broken.
            other = same_choice(replace(plan, placements=instead), every)
            assert other.keeps_deadlines(made)
            assert other.keeps_budgets(made)
            assert other.keeps_quotas(made)
            rank = other.picks[key].rank
            seen.setdefault(key, []).append((rank, *other.cost))
        for found in seen.values():
            rounded = [(rank, unknown, round(cost, 6)) for rank, unknown, cost in found]
            assert rounded == sorted(rounded), kind
    for alternative in plan.alternatives:
        key = alternative.placement.task, alternative.placement.group
        instead = tuple(alternative.placement if (p.task, p.group) == key else p for p in plan.placements)
        other = same_choice(replace(plan, placements=instead), every)
        if alternative.extra is not None:
            assert abs(alternative.extra - (other.cost.dollars - chosen.cost.dollars)) <= DOLLARS
            assert ("own order" in alternative.reason) <= (other.rank > chosen.rank)
            assert ("but slower" in alternative.reason) <= (other.finish > chosen.finish or alternative.extra_hours > 0)
            _check_line(alternative, next(p for p in plan.placements if (p.task, p.group) == key))
            assert objective is Objective.TIME or alternative.extra >= -DOLLARS or other.rank > chosen.rank
        else:
            assert other.cost.unknown or chosen.cost.unknown


def _check_line(alternative: Alternative, best: GroupPlacement) -> None:
    """The line that is named does differ, and in the direction of the whole."""
    match = re.search(r"compute|disk|addresses|moving data", alternative.reason)
    assert alternative.extra is not None
    assert (match is None) == (alternative.extra == 0)
    if match is None or match.group() == "moving data":
        return
    kind = match.group().replace("addresses", "address")
    mine, theirs = (
        sum((line.amount or D(0) for line in p.lines if line.kind == kind), D(0)) for p in (best, alternative.placement)
    )
    assert (theirs > mine) == (alternative.extra > 0)
    assert theirs != mine


@given(rng=RANDOM)
@examples(36)
def test_the_first_fallback_is_the_best_without_the_chosen_offer(rng: Random) -> None:
    shape = Shape(tasks=1, groups=1, offers=6, storages=1)
    case = drawn(rng, shape)
    if case is None or any(s.auto for task in case[0].graph.tasks for s in task.storages):
        return
    made, every = case
    plan = placed(made)
    assert plan is not None
    chosen = next(iter(same_choice(plan, every).picks.values()))
    rest = [one for one in every if next(iter(one.picks.values())) != chosen]
    assert bool(rest) == bool(plan.fallbacks)
    if rest:
        first = same_choice(replace(plan, placements=plan.fallbacks[:1]), plans_of(made))
        best = min((one.rank, one.cost) for one in rest)
        assert (first.rank, first.cost.unknown) == (best[0], best[1].unknown)
        assert abs(first.cost.dollars - best[1].dollars) <= DOLLARS


def plans_of(made: World) -> list[Plan]:
    return list(plans(made))
