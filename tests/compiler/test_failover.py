"""The next placement after failures: the plan's order, without what has failed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from skyc.compiler.failover import next_placement
from skyc.compiler.ir import GroupName, GroupPlacement, Market, NodeShape, Objective, PlacementPlan, Proof, TaskId

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


def test_the_first_fallback_follows_the_plans_choice() -> None:
    made = plan(at("aws/east/b"), at("gcp/north/a"))
    assert next_placement(made, TRAIN, MAIN, made.placements) == at("aws/east/b")


def test_the_plans_order_is_kept_and_what_failed_is_passed_over() -> None:
    made = plan(at("aws/east/b"), at("gcp/north/a"), at("azure/west/1"))
    assert next_placement(made, TRAIN, MAIN, (at("aws/east/b"),)) == at("gcp/north/a")
    assert next_placement(made, TRAIN, MAIN, (at("gcp/north/a"), at("aws/east/b"))) == at("azure/west/1")


def test_none_is_left_when_all_have_failed() -> None:
    made = plan(at("aws/east/b"))
    assert next_placement(made, TRAIN, MAIN, (at("aws/east/b"),)) is None
    assert next_placement(plan(), TRAIN, MAIN, ()) is None


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
def test_a_failure_says_nothing_about_another(other: GroupPlacement) -> None:
    assert next_placement(plan(other), TRAIN, MAIN, (at("aws/east/a"),)) == other


def test_a_failure_without_a_zone_is_one_of_the_whole_region() -> None:
    made = plan(at("aws/east/b"), at("aws/east"), at("aws/west"))
    assert next_placement(made, TRAIN, MAIN, (at("aws/east"),)) == at("aws/west")


def test_another_request_of_the_group_at_the_same_place_has_failed_too() -> None:
    """The provider has no such machine there, whichever of the task's wishes it was to meet."""
    made = plan(at("aws/east/a"), at("aws/east/b"))
    assert next_placement(made, TRAIN, MAIN, made.placements) == at("aws/east/b")


def test_other_groups_and_tasks_have_fallbacks_of_their_own() -> None:
    learner = at("aws/east/b", group=GroupName("learner"))
    serve = at("aws/east/c", task=TaskId("serve"))
    made = plan(learner, serve, at("aws/east/d"))
    assert next_placement(made, TRAIN, MAIN, ()) == at("aws/east/d")
    assert next_placement(made, TRAIN, GroupName("learner"), ()) == learner
    assert next_placement(made, TaskId("serve"), MAIN, ()) == serve
