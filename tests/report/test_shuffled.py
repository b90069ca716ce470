"""The same change has the same bytes, in whatever order its parts were found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from tests.report.plans import BROKEN, CHANGES, POLICIES, SAID, TRAIN, change, everything, known, many, site

from skyc.compiler.buckets import Bucket
from skyc.compiler.ir import (
    Action,
    ChangeSet,
    JobAction,
    JobPlan,
    Location,
    SpecPath,
    Storage,
    StoragePlacement,
    TaskId,
)
from skyc.compiler.report import Report, build, comment, compose, render_html, render_json, render_text

T = TypeVar("T")
FORMS: dict[str, Callable[[Report], str]] = {
    "text": lambda made: render_text(compose(made)),
    "markdown": comment,
    "cut": lambda made: comment(made, budget=4_000),
    "html": lambda made: render_html(compose(made)),
    "json": render_json,
}


def arguments() -> dict[str, Any]:
    base = everything()
    plan = base["placement"]
    storages = tuple(
        StoragePlacement(name=name, uri=None, location=Location(provider="p", region="r"), chosen=True) for name in "abc"
    )
    buckets = tuple(
        Bucket(
            storage=Storage(name=name, origin=SpecPath(), uri=f"s3://{name}", size_gb=Decimal(10)),
            location=Location(provider="p", region="r"),
            gb_month=Decimal("0.02"),
        )
        for name in "abc"
    )
    move = plan.transfers[0]
    rejection = plan.rejections[0]
    drift = tuple(change(Action.UPDATE, f"cloud_machine.{n}", known("b", "1", "2"), known("a", "1", "2")) for n in "xyz")
    first = site(*CHANGES, *many(3), drift=drift, name="one", outputs=("a", "b"))
    other = site(*many(3, Action.UPDATE), name="two", complete=False)
    return {
        **base,
        "placement": replace(
            plan,
            storages=storages,
            transfers=(move, replace(move, source="another"), replace(move, destination="other")),
            rejections=(rejection, replace(rejection, reason="other"), replace(rejection, count=3)),
        ),
        "buckets": buckets,
        "kept": ("a at x", "b at y", "c at z"),
        "changes": (first, other),
        "jobs": tuple(JobPlan(task=TaskId(name), action=JobAction.RUN, run=1, detail="new") for name in (TRAIN, "b", "a")),
        "policies": (*POLICIES, replace(POLICIES[0], source="policy.yaml:30")),
        "diagnostics": (*SAID, *BROKEN, replace(SAID[0], detail="Another."), *SAID),
    }


def shuffled(given: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Every tuple whose order says nothing. Rankings, and the order of a file's groups, are part of the plan."""

    def mixed(items: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(chance.sample(items, len(items)))

    def mixed_site(one: ChangeSet) -> ChangeSet:
        changes, drift = (
            mixed(tuple(replace(item, attributes=mixed(item.attributes)) for item in items))
            for items in (one.changes, one.drift)
        )
        return replace(one, changes=changes, drift=drift, outputs=mixed(one.outputs))

    plan = given["placement"]
    plan = replace(plan, storages=mixed(plan.storages), transfers=mixed(plan.transfers), rejections=mixed(plan.rejections))
    parts = {name: mixed(given[name]) for name in ("buckets", "kept", "jobs", "policies", "diagnostics")}
    return {**given, **parts, "placement": plan, "changes": mixed(tuple(map(mixed_site, given["changes"])))}


def test_a_hundred_orders_give_the_same_bytes() -> None:
    """A form is a function of the report alone, so equal reports have equal bytes; every tenth is written out all the same."""
    chance = random.Random(7)
    given = arguments()
    first = build(**given)
    expected = {name: form(first) for name, form in FORMS.items()}
    for number in range(100):
        made = build(**shuffled(given, chance))
        assert made == first
        if number % 10 == 0:
            assert {name: form(made) for name, form in FORMS.items()} == expected


def test_the_placement_counts() -> None:
    """A test of order that saw no difference at all would pass too."""
    given = arguments()
    other = {**given, "placement": replace(given["placement"], alternatives=given["placement"].alternatives[::-1])}
    assert all(form(build(**other)) != form(build(**given)) for name, form in FORMS.items() if name != "cut")
