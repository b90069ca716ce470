"""The plan against every combination there is, for every objective and every kind of limit."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.optimize.reference import Money, Plan, best, fixed_keeping, plans
from tests.optimize.worlds import SOURCES, Shape, World, world

from skyc.compiler.diagnostics import Diagnostic
from skyc.compiler.ir import Market, Objective, PlacementPlan, Quota, Task
from skyc.compiler.optimize import optimize

D = Decimal
EXAMPLES = float(os.environ.get("SKYC_EXAMPLES", "1"))
"""How many times as many examples are tried: `make examples` tries ten times as many."""
MOST = 3000
"""Combinations that are tried; larger worlds are left out."""
DOLLARS, HOURS = D("1e-6"), D("1e-4")
NO_SLACK = D("1e-6")
"""How near to a limit a plan may be for the answer to be undecided: what a solver rounds."""

RANDOM = st.builds(Random, st.integers(0, 2**32 - 1))
"""Seeds, and not draws of Hypothesis: a world takes some hundred of those, and small ones say no more than their seed."""
Limit = Callable[[Random, World, list[Plan]], World]


def drawn(rng: Random, shape: Shape) -> tuple[World, list[Plan]] | None:
    """A world and its combinations; None when there are too many, or a group has no candidate."""
    made = world(rng, shape)
    found = made.found()
    count = 1
    for options in found.options:
        count *= len(options)
    regions = sum(len(part.regions) for part in made.parts)
    count *= regions ** len({s.name for task in made.graph.tasks for s in task.storages if s.auto})
    if not 0 < count <= MOST:
        return None
    return made, list(plans(made))


def with_tasks(made: World, change: Callable[[Task], Task]) -> World:
    return replace(made, graph=replace(made.graph, tasks=tuple(change(task) for task in made.graph.tasks)))


def check(made: World, every: list[Plan], objective: Objective) -> PlacementPlan | None:
    """The optimizer's plan is as good as the best combination, and keeps what it must."""
    expected = best(made, every, objective)
    plan, said = optimize(made.graph, made.found(), SOURCES, objective=objective)
    if expected is None:
        assert plan is None, "nothing satisfies all limits, and still there is a plan"
        (diagnostic,) = said
        check_reason(made, every, diagnostic)
        return None
    assert plan is not None, (said, expected)
    assert not said
    assert plan.status == "optimal"
    fixed = fixed_keeping(made)
    cost = expected.cost.plus(fixed)
    known = sum((line.amount or D(0) for line in plan.lines), D(0))
    unknown = sum(line.amount is None for line in plan.lines)
    if objective is Objective.TIME:
        assert abs(plan.finish_hours - expected.finish) <= HOURS, (plan.finish_hours, expected.finish)
        assert abs(plan.proof.value - expected.finish) <= HOURS
    else:
        assert abs(plan.proof.value - known) <= DOLLARS
    assert unknown == cost.unknown, (unknown, cost)
    assert abs(known - cost.dollars) <= DOLLARS, (known, cost)
    assert (plan.total is None) == bool(unknown)
    assert plan.total is None or abs(plan.total - cost.dollars) <= DOLLARS
    # The combination it chose, by the reference's own sums.
    chosen = same_choice(plan, every)
    assert chosen.keeps_deadlines(made)
    assert chosen.keeps_budgets(made)
    assert chosen.keeps_quotas(made)
    assert abs(plan.finish_hours - chosen.finish) <= HOURS
    assert chosen.cost.unknown + fixed.unknown == unknown
    assert abs(chosen.cost.dollars + fixed.dollars - known) <= DOLLARS
    worst = sum((amount.dollars for amount in chosen.worst.values()), D(0))
    if not any(amount.unknown for amount in chosen.worst.values()) and plan.total is not None:
        kept = plan.total - known_machine_cost(plan) - sum((t.line.amount or D(0) for t in plan.transfers), D(0))
        assert plan.worst_case is not None
        assert abs(plan.worst_case - worst - kept) <= DOLLARS, (plan.worst_case, worst, kept)
    else:
        assert plan.worst_case is None
    return plan


CENT = D("0.01")


def check_reason(made: World, every: list[Plan], diagnostic: Diagnostic) -> None:
    """The kind of limit that cannot be kept alone, and what each task would need."""
    tasks = made.graph.tasks
    numbers = {
        line.split(":")[0]: re.findall(r"[$ ](\d+(?:\.\d+)?)(?: h|\.$)", line) for line in diagnostic.detail.splitlines()
    }

    def said_of(task: Task, least: Decimal) -> bool:
        said = D(numbers[task.id][-1])
        return -DOLLARS <= said - least <= CENT

    def worst(plans: list[Plan], task: Task) -> Money:
        return min(plan.worst[task.id] for plan in plans)

    if not every:
        assert diagnostic.slug in ("affinities-conflict", "groups-apart")
        return
    kept = [plan for plan in every if plan.keeps_quotas(made)]
    if not kept:
        assert diagnostic.slug == "over-quota"
        check_quota(made, every, diagnostic)
        return
    # Where quotas can be kept, everything that is said is with them kept.
    every = kept
    if not any(plan.keeps_budgets(made) for plan in every):
        assert diagnostic.slug == "over-budget"
        over = [task for task in tasks if task.budget is not None and worst(every, task) > Money(0, task.budget)]
        for task in over or [task for task in tasks if task.budget is not None]:
            least = worst(every, task)
            assert (f"{task.id}:" in diagnostic.detail) and ("cannot be told" in diagnostic.detail if least.unknown else True)
            assert least.unknown or said_of(task, least.dollars), (least, diagnostic.detail)
        assert ("all of them together" in diagnostic.detail) == (not over)
    elif not any(plan.keeps_deadlines(made) for plan in every):
        assert diagnostic.slug == "too-late"
        soonest = {task.id: min(plan.ends[task.id] for plan in every) for task in tasks}
        late = [task for task in tasks if task.deadline_hours is not None and soonest[task.id] > task.deadline_hours]
        for task in late or [task for task in tasks if task.deadline_hours is not None]:
            assert said_of(task, soonest[task.id]), (soonest, diagnostic.detail)
        assert ("all of them together" in diagnostic.detail) == (not late)
    else:
        assert diagnostic.slug == "limits-conflict"
        punctual = [plan for plan in every if plan.keeps_deadlines(made)]
        for task in tasks:
            if task.budget is not None:
                least = worst(punctual, task)
                assert least.unknown or said_of(task, least.dollars), (least, diagnostic.detail)


def beyond(quota: Quota, plan: Plan) -> Decimal:
    return plan.in_use(quota) - quota.limit


def check_quota(made: World, every: list[Plan], diagnostic: Diagnostic) -> None:
    """The limit that is named, and how much more than it the tasks that are named need at least."""
    owned = list(dict.fromkeys(key for plan in every for key in plan.taken()))
    # Each limit, and by how much a plan is over it.
    over: list[tuple[Decimal, Callable[[Plan], Decimal]]] = [(quota.limit, partial(beyond, quota)) for quota in made.quotas]
    for key in owned:
        count = next(plan.taken()[key][0] for plan in every if key in plan.taken())

        def machines(plan: Plan, key: tuple[str, str, str | None, str] = key, count: int = count) -> Decimal:
            return D(plan.taken().get(key, (count, 0))[1] - count)

        over.append((D(count), machines))
    alone = [one for one in over if all(one[1](plan) > 0 for plan in every)]
    found = re.search(r"(?:The quota is|there (?:is|are)) ([\d.]+)\b.* use at least ([\d.]+) ", diagnostic.detail)
    assert found is not None, diagnostic.detail
    limit, needed = D(found.group(1)), D(found.group(2))
    # Of several the first is named; which of the machines that is, is the catalog's matter.
    named = alone[:1] if alone and alone[0] in over[: len(made.quotas)] else alone
    least = [min(excess(plan) for plan in every) for mine, excess in named if mine == limit]
    assert needed - limit in (least or [min(max(excess(plan) for _, excess in over) for plan in every)])
    assert not named or limit in [mine for mine, _ in named]
    assert ("not all of them together" in diagnostic.detail) == (not alone)


def known_machine_cost(plan: PlacementPlan) -> Decimal:
    return sum((line.amount or D(0) for placement in plan.placements for line in placement.lines), D(0))


def same_choice(plan: PlacementPlan, every: list[Plan]) -> Plan:
    """The combination that the plan is."""
    wanted = {(p.task, p.group): (p.provider, p.region, p.zone, p.instance_type, p.market, p.request) for p in plan.placements}
    places = {s.name: None if s.location is None else (s.location.provider, s.location.region) for s in plan.storages}
    for one in every:
        got = {key: (*pick.place.key, pick.type, pick.market, pick.request) for key, pick in one.picks.items()}
        where = {name: None if spot is None else spot.key[:2] for name, spot in one.places.items()}
        if got == wanted and where == places:
            return one
    raise AssertionError("the plan is no combination of candidates at all")


def examples(count: int) -> settings:
    return settings(
        max_examples=max(1, round(count * EXAMPLES)),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )


SHAPES = {
    "one-task": Shape(tasks=1, offers=8),
    "graph": Shape(tasks=3, offers=3),
    "four": Shape(tasks=4, offers=2, groups=1, storages=1),
    "groups": Shape(tasks=1, groups=3, offers=4, storages=1),
    "plain": Shape(tasks=3, offers=4, unknown=False, ordered=False),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("objective", Objective)
@given(rng=RANDOM)
@examples(24)
def test_the_best(name: str, objective: Objective, rng: Random) -> None:
    case = drawn(rng, SHAPES[name])
    if case is not None:
        check(*case, objective)


def deadlines(rng: Random, made: World, every: list[Plan]) -> World:
    """Some tasks must end by a time that some combinations keep and some do not."""

    def change(task: Task) -> Task:
        if not every or rng.random() < 0.4:
            return task
        limit = rng.choice(every).ends[task.id] + rng.choice((D("0.001"), D("-0.001"), D("0.3")))
        return replace(task, deadline="as drawn", deadline_hours=max(limit, D("0.01")))

    return with_tasks(made, change)


def budgets(rng: Random, made: World, every: list[Plan]) -> World:
    """Some tasks may cost what some combinations cost, or a little less or more."""

    def change(task: Task) -> Task:
        if not every or rng.random() < 0.4:
            return task
        limit = rng.choice(every).worst[task.id].dollars + rng.choice((D("0.0001"), D("-0.0001"), D("0.5")))
        return replace(task, budget=max(limit, D("0.001")))

    return with_tasks(made, change)


def quotas(rng: Random, made: World, every: list[Plan]) -> World:
    """Quotas of what some combination uses at once, or a little less."""
    found = []
    for _ in range(rng.randint(1, 3)):
        part = rng.choice(made.parts)
        quota = Quota(
            provider=part.provider,
            region=rng.choice((None, *part.regions)),
            market=rng.choice((Market.AUTO, Market.AUTO, Market.SPOT, Market.ON_DEMAND)),
            accelerator=rng.choice((None, None, "L4", "H100")),
            limit=D(0),
        )
        limit = (rng.choice(every).in_use(quota) if every else D(4)) - rng.choice((0, 0, 1, 4))
        found.append(replace(quota, limit=max(limit, D(0))))
    return replace(made, quotas=tuple(found))


def counts(rng: Random, made: World, every: list[Plan]) -> World:
    """Some machines are the user's own, and there are few of them."""
    parts = []
    for part in made.parts:
        offers = [replace(row, capacity=rng.choice((None, 1, 1, 2, 3))) for row in part.offers]
        parts.append(replace(part, offers=tuple(offers)))
    return replace(made, parts=tuple(parts))


def everything(rng: Random, made: World, every: list[Plan]) -> World:
    held = quotas(rng, both(rng, made, every), every)
    return counts(rng, held, every) if rng.random() < 0.5 else held


def both(rng: Random, made: World, every: list[Plan]) -> World:
    return budgets(rng, deadlines(rng, made, every), every)


LIMITS: dict[str, Limit] = {
    "deadlines": deadlines,
    "budgets": budgets,
    "both": both,
    "quotas": quotas,
    "counts": counts,
    "everything": everything,
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("objective", Objective)
@given(rng=RANDOM)
@examples(10)
def test_the_best_within_limits(name: str, limit: str, objective: Objective, rng: Random) -> None:
    case = drawn(rng, SHAPES[name])
    if case is not None:
        made, every = case
        made = LIMITS[limit](rng, made, every)
        if limit not in ("deadlines", "budgets", "both"):
            # What a group uses by itself is part of which candidates there are.
            if not all(len(options) for options in made.found().options):
                return
            every = list(plans(made))
        check(made, every, objective)
