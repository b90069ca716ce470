"""Single cases: what the random worlds seldom or never reach."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.optimize.worlds import SOURCES

from skyc.compiler.candidates import candidates
from skyc.compiler.ir import (
    Accelerator,
    AcceleratorRequest,
    Affinity,
    AffinityLevel,
    Bound,
    CandidateSet,
    Catalog,
    CatalogPart,
    CheckpointPolicy,
    DataFlow,
    FrozenMap,
    GroupName,
    HoursOn,
    Infra,
    Market,
    NodeGroup,
    Objective,
    PlacementPlan,
    ResourceRequest,
    SpecPath,
    Storage,
    Task,
    TaskGraph,
    TaskId,
)
from skyc.compiler.ir.catalog import DiskRate, PriceStep, Rates, StorageRate, TransferRule
from skyc.compiler.optimize import optimize
from skyc.compiler.optimize.costs import interrupted_hours
from skyc.providers.snapshot import OfferRow, TypeRow, build_part

D = Decimal
ORIGIN = SpecPath(("tasks", 0))


def kind(
    name: str, cpus: int | None = 4, memory: int | None = 16, gpu: str | None = None, *, divisible: bool = False
) -> TypeRow:
    name_, _, count = (gpu or "").partition(":")
    devices = (Accelerator(name=name_, count=D(count or 1)),) if gpu else ()
    return TypeRow(
        name=name,
        cpus=None if cpus is None else D(cpus),
        memory_gb=None if memory is None else D(memory),
        accelerators=devices,
        divisible=divisible,
    )


def offer(
    row: TypeRow, price: str | None, *, spot: str | None = None, zone: str | None = None, region: str = "north"
) -> OfferRow:
    return OfferRow(
        type=row.key,
        region=region,
        zone=zone,
        on_demand=None if price is None else D(price),
        spot=None if spot is None else D(spot),
        source="list",
        as_of="2026-11-01",
        capacity=4 if row.divisible else None,
    )


def part(name: str, *rows: tuple[TypeRow, OfferRow], rates: Rates | None = None, spot: bool = True) -> CatalogPart:
    kinds = {row.key: row for row, _ in rows}
    return build_part(name, kinds.values(), [row for _, row in rows], rates or Rates(), sells_spot=spot, as_of="2026-11-01")


def group(*requests: ResourceRequest, nodes: int = 1, ordered: bool = False, name: str = "main") -> NodeGroup:
    return NodeGroup(name=GroupName(name), origin=ORIGIN, num_nodes=nodes, requests=requests, ordered=ordered, run="true")


def task(*groups: NodeGroup, name: str = "t", hours: str = "1") -> Task:
    return Task(
        id=TaskId(name),
        origin=ORIGIN,
        groups=groups,
        setup="",
        envs=FrozenMap(),
        secrets=(),
        workdir=None,
        hours=D(hours),
        hours_assumed=False,
    )


def ask(*accelerators: str, market: Market = Market.ON_DEMAND) -> ResourceRequest:
    wanted = tuple(AcceleratorRequest(name=a.partition(":")[0], count=D(a.partition(":")[2] or 1)) for a in accelerators)
    return ResourceRequest(
        origin=ORIGIN.child("resources"),
        market=market,
        accelerators=wanted or None,
        cpus=None if wanted else Bound(amount=D(1)),
    )


def found_in(catalog: Catalog, *tasks: Task) -> tuple[TaskGraph, CandidateSet]:
    graph = TaskGraph(name="case", tasks=tasks)
    return graph, candidates(graph, catalog, SOURCES)[0]


def place(catalog: Catalog, *tasks: Task, objective: Objective = Objective.COST) -> PlacementPlan:
    plan, said = optimize(*found_in(catalog, *tasks), SOURCES, objective=objective)
    assert plan is not None, said
    return plan


# Unknown prices


def test_an_unknown_price_never_wins_over_a_known_one_however_large() -> None:
    """64 nodes for a month at 100 dollars an hour: 4.6 million dollars, still better than a price nobody knows."""
    known, unknown = kind("known"), kind("unknown")
    catalog = Catalog(parts=(part("aa", (known, offer(known, "100")), (unknown, offer(unknown, None))),))
    plan = place(catalog, task(group(ask(), nodes=64), hours="720"))
    assert plan.placements[0].instance_type == "known"
    assert plan.total == D(100) * 64 * 720


def test_no_budget_is_kept_by_an_unknown_price() -> None:
    row = kind("unknown")
    catalog = Catalog(parts=(part("aa", (row, offer(row, None))),))
    graph, found = found_in(catalog, replace(task(group(ask())), budget=D(5_000_000)))
    plan, (said,) = optimize(graph, found, SOURCES)
    assert plan is None
    assert said.slug == "over-budget"
    assert "a price is not known" in said.detail


def test_the_number_to_move_a_budget_to_suffices() -> None:
    row = kind("one")
    catalog = Catalog(parts=(part("aa", (row, offer(row, "0.0333"))),))
    poor = replace(task(group(ask())), budget=D("0.01"))
    _, (said,) = optimize(*found_in(catalog, poor), SOURCES)
    assert "$0.04." in said.detail
    assert place(catalog, replace(poor, budget=D("0.04"))).total == D("0.0333")


def test_too_late_names_the_task_that_is_late() -> None:
    """The other task takes ten hours whatever happens, and so would leave the first one all the time in the world."""
    slow, quick = kind("slow", gpu="T4"), kind("quick", gpu="L4")
    catalog = Catalog(parts=(part("aa", (slow, offer(slow, "1")), (quick, offer(quick, "5"))),))
    timed = replace(
        task(group(ask("T4", "L4")), name="a", hours="5"),
        hours_on=(HoursOn(accelerator=AcceleratorRequest(name="L4", count=D(1)), hours=D(2)),),
        deadline="1h",
        deadline_hours=D(1),
    )
    other = task(group(ask("T4")), name="b", hours="10")
    _, (said,) = optimize(*found_in(catalog, timed, other), SOURCES)
    assert said.slug == "too-late"
    assert "a: it must end within 1 h; the soonest it can end is 2 h" in said.detail


# Spot


@pytest.mark.parametrize("rate", ["0.05", "1", "30"])
def test_a_spot_run_that_never_ends_is_not_chosen(rate: str) -> None:
    row = kind("one")
    catalog = Catalog(parts=(part("aa", (row, offer(row, "1", spot="0.1"))),))
    request = replace(ask(market=Market.AUTO), interruption_rate=D(rate))
    plan = place(catalog, task(group(request, nodes=16), hours="700"))
    assert plan.placements[0].market is Market.ON_DEMAND
    assert place(catalog, task(group(replace(request, market=Market.SPOT), nodes=16), hours="700")).total is not None


def test_more_interruptions_never_end_sooner() -> None:
    hours = [interrupted_hours(D(50), D(step) / 20, 4, None) for step in range(60)]
    assert hours == sorted(hours)
    assert interrupted_hours(D(50), D(1), 4, D(1)) < interrupted_hours(D(50), D(1), 4, D(10))


@pytest.mark.parametrize("hours_on", ["3", "30"])
def test_the_worst_case_runs_as_long_as_the_machine_takes(hours_on: str) -> None:
    row = kind("gpu", gpu="L4")
    rates = Rates(
        disks=(DiskRate(region="*", tier="medium", name="disk", per_gb=D("7.3"), price_source="list", as_of="2026"),),
        disk_gb=D(100),
    )
    catalog = Catalog(parts=(part("aa", (row, offer(row, "2", spot="1")), rates=rates),))
    expected = HoursOn(accelerator=AcceleratorRequest(name="L4", count=D(1)), hours=D(hours_on))
    one = replace(task(group(ask("L4", market=Market.SPOT)), hours="10"), hours_on=(expected,))
    plan = place(catalog, one)
    assert plan.worst_case == D(hours_on) * (2 + 1)
    _, (said,) = optimize(*found_in(catalog, replace(one, budget=plan.worst_case - D("0.1"))), SOURCES)
    assert said.slug == "over-budget"
    assert place(catalog, replace(one, budget=plan.worst_case)).worst_case == plan.worst_case


# Machines that are shared out


def test_a_shared_machine_takes_its_place_in_the_tasks_own_order() -> None:
    owned, rented = kind("host", 64, 256, "T4:4", divisible=True), kind("gpu", gpu="L4")
    parts = (part("aa", (rented, offer(rented, "5"))), part("own", (owned, offer(owned, "0")), spot=False))
    wanted = replace(ask("L4", "T4"), accelerators_ordered=True)
    plan = place(Catalog(parts=parts), task(group(wanted)))
    assert plan.placements[0].instance_type == "gpu"
    assert "later in the task's own order" in plan.alternatives[0].reason


def test_a_shared_machine_takes_the_hours_of_the_share() -> None:
    owned = kind("host", 64, 256, "T4:4", divisible=True)
    catalog = Catalog(parts=(part("own", (owned, offer(owned, "1")), spot=False),))
    on_one = HoursOn(accelerator=AcceleratorRequest(name="T4", count=D(1)), hours=D(7))
    plan = place(catalog, replace(task(group(ask("T4:1"))), hours_on=(on_one,)))
    assert plan.placements[0].hours == 7
    assert plan.finish_hours == 7
    assert plan.proof.value == 7


# Matching


def test_unknown_memory_meets_no_request_for_memory_per_cpu() -> None:
    slice_ = kind("slice", None, None, "L4")
    catalog = Catalog(parts=(part("aa", (slice_, offer(slice_, "1"))),))
    request = replace(ask("L4"), memory_per_cpu=Bound(amount=D(4)))
    assert not len(found_in(catalog, task(group(request)))[1].options[0])


@pytest.mark.parametrize(("cpus", "each"), [(3, "1.1"), (5, "3.3"), (7, "0.1"), (4, "4")])
def test_memory_per_cpu_is_exact(cpus: int, each: str) -> None:
    row = TypeRow(name="one", cpus=D(cpus), memory_gb=D(each) * cpus)
    catalog = Catalog(parts=(part("aa", (row, offer(row, "1"))),))
    request = replace(ask(), memory_per_cpu=Bound(amount=D(each)))
    assert len(found_in(catalog, task(group(request)))[1].options[0]) == 1
    request = replace(ask(), memory_per_cpu=Bound(amount=D(each) + D("0.001")))
    assert not len(found_in(catalog, task(group(request)))[1].options[0])


# Data


def steps(price: str) -> tuple[PriceStep, ...]:
    return (PriceStep(above=D(0), price=D(price)),)


def rule(source: str, destination: str, price: str, **more: bool) -> TransferRule:
    return TransferRule(source=source, destination=destination, steps=steps(price), price_source="list", as_of="2026", **more)


def test_nothing_moved_over_an_unpriced_path_costs_nothing() -> None:
    row = kind("one")
    parts = (part("aa", (row, offer(row, "1"))), part("bb", (row, offer(row, "1"))))
    first, second = task(group(ask()), name="a"), task(group(ask()), name="b")
    flow = DataFlow(key="x", storage=None, gb=D(0), origin=ORIGIN)

    apart = Affinity(level=AffinityLevel.PROVIDER, same=False, task=first.id, origin=ORIGIN)
    plan = place(
        Catalog(parts=parts),
        replace(first, outputs=(flow,)),
        replace(second, inputs=(flow,), needs=(first.id,), affinities=(apart,)),
    )
    assert plan.total == 2


def test_traffic_between_groups_is_in_the_plan_and_in_the_budget() -> None:
    """One group only fits in zone a, the other only in zone b: 100 GB go between them, half each way, paid at both ends."""
    left, right = kind("left", gpu="L4"), kind("right", gpu="T4")
    rates = Rates(transfers=(rule("*", "other-zone", "0.01", both_ways=True),))
    rows = (left, offer(left, "1", zone="north-a")), (right, offer(right, "1", zone="north-b"))
    one = replace(task(group(ask("L4"), name="x"), group(ask("T4"), name="y")), traffic_gb=D(100))
    catalog = Catalog(parts=(part("aa", *rows, rates=rates),))
    plan = place(catalog, one)
    assert plan.total == plan.worst_case == 4
    assert [(t.source, t.destination, t.line.amount) for t in plan.transfers] == [("t/x", "t/y", D(1)), ("t/y", "t/x", D(1))]
    _, (said,) = optimize(*found_in(catalog, replace(one, budget=D("3.9"))), SOURCES)
    assert said.slug == "over-budget"


def test_a_budget_is_held_against_its_own_task_alone() -> None:
    """The cheaper machine of `a` makes the data of `b` dearer: not what `a` pays, so the sum of both is no measure."""
    row = kind("one")
    rates = Rates(transfers=(rule("*", "internet", "0.5"),))
    parts = (part("aa", (row, offer(row, "1")), rates=rates), part("bb", (row, offer(row, "9")), rates=rates))
    flow = DataFlow(key="x", storage=None, gb=D(10), origin=ORIGIN)

    first = replace(task(group(ask()), name="a"), outputs=(flow,))
    there = replace(ask(), infra=Infra(provider="bb"))
    second = replace(task(group(there), name="b"), inputs=(flow,), needs=(first.id,), budget=D("9.5"))
    plan = place(Catalog(parts=parts), first, second)
    assert [placement.provider for placement in plan.placements] == ["bb", "bb"]


def test_a_known_place_takes_as_long_as_the_same_place_found() -> None:
    """Data comes before the longest of the groups begins, whether the Storage's place is given or the only one there is."""
    left, right = kind("left", gpu="L4"), kind("right", gpu="T4")
    rates = Rates(
        storages=(StorageRate(region="north", name="s", steps=steps("0.01"), price_source="list", as_of="2026"),),
        schemes=("aa",),
        reference_region="north",
    )
    catalog = Catalog(parts=(part("aa", (left, offer(left, "1")), (right, offer(right, "1")), rates=rates),))
    flow = DataFlow(key="s", storage="s", gb=D(9000), origin=ORIGIN)
    ends = []
    for storage in (
        Storage(name="s", origin=ORIGIN, uri="aa://bucket"),
        Storage(name="s", origin=ORIGIN, uri=None, auto=True),
    ):
        one = task(group(ask("L4"), name="x"), group(ask("T4"), name="y"))
        longer = HoursOn(accelerator=AcceleratorRequest(name="T4", count=D(1)), hours=D(5))
        ends.append(place(catalog, replace(one, hours_on=(longer,), storages=(storage,), inputs=(flow,))).finish_hours)
    assert ends == [7, 7]


def test_fallbacks_are_found_behind_many_that_are_too_slow() -> None:
    slow = [kind(f"slow-{number:03}", gpu="T4") for number in range(500)]
    quick = [kind(f"quick-{number}", gpu="L4") for number in range(4)]
    rows = [*((row, offer(row, "1")) for row in slow), *((row, offer(row, "5")) for row in quick)]
    one = replace(
        task(group(ask("T4", "L4")), hours="10"),
        hours_on=(HoursOn(accelerator=AcceleratorRequest(name="L4", count=D(1)), hours=D(1)),),
        deadline="2h",
        deadline_hours=D(2),
    )
    plan = place(Catalog(parts=(part("aa", *rows),)), one)
    assert [fallback.instance_type for fallback in plan.fallbacks] == ["quick-1", "quick-2", "quick-3"]


CHECKPOINT = CheckpointPolicy(origin=ORIGIN, path="out", storage="s", every_seconds=600, keep=1)


def test_checkpoints_make_spot_worth_it() -> None:
    row = kind("one")
    catalog = Catalog(parts=(part("aa", (row, offer(row, "1", spot="0.3"))),))
    one = task(group(replace(ask(market=Market.AUTO), interruption_rate=D("0.2"))), hours="24")
    assert place(catalog, one).placements[0].market is Market.ON_DEMAND
    assert place(catalog, replace(one, checkpoint=CHECKPOINT)).placements[0].market is Market.SPOT
