"""The next placement after failures: the plan's order, without what has failed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from skyc.compiler.failover import Refused, envelope, keeps_affinities, moved, next_placement, ruled_out
from skyc.compiler.ir import (
    Affinity,
    AffinityLevel,
    CostLine,
    FrozenMap,
    GroupName,
    GroupPlacement,
    Market,
    NodeGroup,
    NodeShape,
    Objective,
    PlacementPlan,
    Proof,
    Reach,
    SpecPath,
    Task,
    TaskGraph,
    TaskId,
)

TRAIN, MAIN = TaskId("train"), GroupName("main")
SHAPE = NodeShape(cpus=Decimal(4), memory_gb=Decimal(16))


def at(
    place: str, kind: str = "small", market: Market = Market.SPOT, *, task: TaskId = TRAIN, group: GroupName = MAIN
) -> GroupPlacement:
    """A placement at `provider/region` or `provider/region/zone`."""
    provider, region, zone = (*place.split("/"), None)[:3]
    return GroupPlacement(
        task=task,
        group=group,
        provider=provider or "",
        region=region or "",
        zone=zone,
        instance_type=kind,
        market=market,
        num_nodes=1,
        shape=SHAPE,
        hourly=Decimal(1),
        hours=Decimal(1),
        lines=(),
    )


def plan(*fallbacks: GroupPlacement) -> PlacementPlan:
    return PlacementPlan(
        name="train",
        spec_digest="",
        catalog_digest="",
        objective=Objective.COST,
        proof=Proof(status="optimal", method="independent", value=Decimal(1), bound=Decimal(1), choices=1),
        total=Decimal(1),
        worst_case=Decimal(1),
        finish_hours=Decimal(1),
        placements=(at("aws/east/a"),),
        fallbacks=fallbacks,
    )


def refused(*places: GroupPlacement, reach: Reach = Reach.MACHINE_IN_ZONE) -> tuple[Refused, ...]:
    return tuple(Refused(placement=place, reach=reach) for place in places)


CHOICE = at("aws/east/a")


def named(text: str) -> GroupPlacement:
    place, _, kind = text.partition(":")
    return at(place, kind or "small")


def after(made: PlacementPlan, *places: GroupPlacement, reach: Reach = Reach.MACHINE_IN_ZONE) -> GroupPlacement | None:
    return next_placement(made, TRAIN, MAIN, refused(CHOICE, *places, reach=reach), pool=lambda item: item.instance_type[0])


def test_the_plans_own_choice_comes_first() -> None:
    assert next_placement(plan(at("aws/east/b")), TRAIN, MAIN, ()) == CHOICE


def test_the_first_fallback_follows_the_plans_choice() -> None:
    assert after(plan(at("aws/east/b"), at("gcp/north/a"))) == at("aws/east/b")


def test_the_plans_order_is_kept_and_what_failed_is_passed_over() -> None:
    made = plan(at("aws/east/b"), at("gcp/north/a"), at("azure/west/1"))
    assert after(made, at("aws/east/b")) == at("gcp/north/a")
    assert after(made, at("gcp/north/a"), at("aws/east/b")) == at("azure/west/1")


def test_none_is_left_when_all_have_failed() -> None:
    assert after(plan(at("aws/east/b")), at("aws/east/b")) is None
    assert after(plan()) is None


@pytest.mark.parametrize(
    "other",
    [
        at("aws/east/b"),
        at("aws/west/a"),
        at("gcp/east/a"),
        at("aws/east/a", "large"),
        at("aws/east/a", market=Market.ON_DEMAND),
        at("aws/east"),
    ],
    ids=("zone", "region", "provider", "type", "market", "zone left to the provider"),
)
def test_a_lack_of_capacity_says_nothing_about_another(other: GroupPlacement) -> None:
    assert after(plan(other)) == other


REACHES = {
    Reach.MACHINE_IN_ZONE: "aws/east/a:large aws/east/b:small aws/east/b:smaller aws/west/a:small gcp/east/a:small",
    Reach.MACHINE_IN_REGION: "aws/east/a:large aws/east/b:smaller aws/west/a:small gcp/east/a:small",
    Reach.ZONE: "aws/east/b:small aws/east/b:smaller aws/west/a:small gcp/east/a:small",
    Reach.POOL: "aws/east/a:large aws/west/a:small gcp/east/a:small",
    Reach.REGION: "aws/west/a:small gcp/east/a:small",
    Reach.PROVIDER: "gcp/east/a:small",
}


@pytest.mark.parametrize("reach", Reach)
def test_how_far_a_refusal_reaches(reach: Reach) -> None:
    """What is left of all the others, read off one by one. Types whose names begin alike count on one quota."""
    names = REACHES[Reach.MACHINE_IN_ZONE].split()
    made = plan(*(named(name) for name in names))
    found = [
        item for item in names if not ruled_out(named(item), refused(CHOICE, reach=reach)[0], lambda p: p.instance_type[0])
    ]
    assert found == REACHES[reach].split()
    first = REACHES[reach].split()[0]
    assert after(made, reach=reach) == named(first)


def test_a_failure_without_a_zone_is_one_of_the_whole_region() -> None:
    made = plan(at("aws/east/b"), at("aws/east"), at("aws/west"))
    assert after(made, at("aws/east")) == at("aws/west")


def test_another_request_of_the_group_at_the_same_place_has_failed_too() -> None:
    """The provider has no such machine there, whichever of the task's wishes it was to meet."""
    assert after(plan(at("aws/east/a"), at("aws/east/b"))) == at("aws/east/b")


def test_other_groups_and_tasks_have_fallbacks_of_their_own() -> None:
    learner = at("aws/east/b", group=GroupName("learner"))
    made = plan(learner, at("aws/east/c", task=TaskId("serve")), at("aws/east/d"))
    assert after(made) == at("aws/east/d")


def test_a_price_nobody_knows_is_not_approved_beside_one_that_is() -> None:
    unknown = replace(at("aws/east/b"), hourly=None)
    assert after(plan(unknown)) is None
    made = plan(unknown)
    made = replace(made, placements=(replace(CHOICE, hourly=None),))
    assert after(made) == unknown


def test_what_does_not_suit_the_others_is_passed_over() -> None:
    made = plan(at("aws/east/b"), at("aws/west/a"))
    found = next_placement(made, TRAIN, MAIN, refused(CHOICE), fits=lambda item: item.region == "west")
    assert found == at("aws/west/a")


def priced(place: GroupPlacement, hourly: str, worst: str | None = None) -> GroupPlacement:
    line = CostLine(
        kind="compute", label="x", quantity=Decimal(2), unit="h", unit_price=Decimal(hourly), source="list", as_of="2026-11-01"
    )
    return replace(
        place, hourly=Decimal(hourly), worst_hourly=Decimal(worst or hourly), hours=Decimal(2), lines=(line,), num_nodes=1
    )


def test_a_moved_plan_has_the_costs_of_its_place_and_the_same_envelope() -> None:
    first, second, third = (priced(at(f"aws/east/{zone}"), price, "5") for zone, price in (("a", "1"), ("b", "2"), ("c", "3")))
    made = replace(plan(second, third), placements=(first,), total=Decimal(2), worst_case=Decimal(10))
    key = (TRAIN, MAIN)
    now = moved(made, {key: second}, {key: "NoCapacity"})
    assert now.placements == (second,)
    assert now.fallbacks == (first, third)
    assert set(envelope(now, *key)) == set(envelope(made, *key))
    assert (now.total, now.worst_case) == (Decimal(4), Decimal(10))
    assert now.notes["train/main"] == "first choice was aws/east/a small spot: NoCapacity"
    assert now.digest != made.digest
    assert moved(made, {}, {}).fallbacks == made.fallbacks
    assert (
        moved(made, {key: replace(second, hourly=None, lines=(replace(second.lines[0], unit_price=None),))}, {}).total is None
    )


@pytest.mark.parametrize(
    ("level", "same", "place", "kept"),
    [
        (AffinityLevel.REGION, True, "aws/east/b", True),
        (AffinityLevel.REGION, True, "aws/west/a", False),
        (AffinityLevel.REGION, False, "aws/west/a", True),
        (AffinityLevel.REGION, False, "aws/east/b", False),
        (AffinityLevel.ZONE, False, "aws/east/b", True),
        (AffinityLevel.ZONE, False, "aws/east", False),
        (AffinityLevel.ZONE, False, "aws/west", True),
        (AffinityLevel.ZONE, True, "aws/east", False),
        (AffinityLevel.PROVIDER, True, "aws/west/a", True),
        (AffinityLevel.PROVIDER, True, "gcp/east/a", False),
    ],
)
def test_affinities_hold_where_everything_else_is_by_now(level: AffinityLevel, same: bool, place: str, kept: bool) -> None:
    serve = TaskId("serve")
    other = at("aws/east/a", task=serve)
    affinity = Affinity(level=level, same=same, task=serve, origin=SpecPath())
    graph = TaskGraph(name="x", tasks=(task(TRAIN, affinity), task(serve)))
    assert keeps_affinities(graph, (CHOICE, other), at(place)) is kept
    # Only first groups are joined.
    assert keeps_affinities(graph, (at("aws/west/b") if not same else CHOICE, other), at(place, group=GroupName("learner")))


def task(name: TaskId, *affinities: Affinity) -> Task:
    group = NodeGroup(name=MAIN, origin=SpecPath(), num_nodes=1, requests=(), ordered=False, run="")
    return Task(
        id=name, origin=SpecPath(), groups=(group,), setup="", envs=FrozenMap(), secrets=(), workdir=None, affinities=affinities
    )
