"""Properties of candidates and optimize over random catalogs and tasks."""

import itertools
import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import SourceFile, SourceMap, has_errors
from skyc.compiler.ir import (
    Bound,
    CandidateSet,
    CatalogSnapshot,
    FrozenMap,
    GroupName,
    GroupPlacement,
    InstanceType,
    Market,
    NodeGroup,
    Offering,
    ResourceRequest,
    SpecPath,
    Task,
    TaskGraph,
    TaskId,
)
from skyc.compiler.optimize import optimize
from skyc.compiler.printer import print_ir

ORIGIN = SpecPath(("tasks", 0))
SOURCES = SourceMap(SourceFile(path="task.yaml", text=""))
REGIONS = ("south", "north", "east")


@st.composite
def catalogs(draw: st.DrawFn) -> CatalogSnapshot:
    sizes = draw(st.lists(st.sampled_from((1, 2, 4, 8)), min_size=1, max_size=4))
    kinds = tuple(
        InstanceType(name=f"kind-{index}", provider="rented", cpus=Decimal(cpus), memory_gb=Decimal(cpus * 4))
        for index, cpus in enumerate(sizes)
    )
    places = [(kind.name, region, market) for kind in kinds for region in REGIONS for market in (Market.SPOT, Market.ON_DEMAND)]
    chosen = draw(st.lists(st.sampled_from(places), min_size=1, max_size=8, unique=True))
    prices = draw(
        st.lists(st.none() | st.integers(0, 5).map(lambda n: Decimal(n) / 4), min_size=len(chosen), max_size=len(chosen))
    )
    return CatalogSnapshot(
        instance_types=kinds,
        offerings=tuple(
            Offering(
                instance_type=name,
                provider="rented",
                region=region,
                zone=None,
                market=market,
                hourly=price,
                price_source="list",
                as_of="2026-11-01",
            )
            for (name, region, market), price in zip(chosen, prices, strict=True)
        ),
    )


@st.composite
def graphs(draw: st.DrawFn) -> TaskGraph:
    groups = tuple(
        NodeGroup(
            name=GroupName(f"group-{index}"),
            origin=ORIGIN,
            num_nodes=draw(st.integers(1, 3)),
            requests=tuple(
                ResourceRequest(
                    origin=ORIGIN, cpus=draw(st.none() | st.builds(Bound, amount=st.sampled_from((1, 2, 4)).map(Decimal)))
                )
                for _ in range(draw(st.integers(1, 2)))
            ),
            ordered=draw(st.booleans()),
            run="true",
        )
        for index in range(draw(st.integers(1, 2)))
    )
    task = Task(id=TaskId("t"), origin=ORIGIN, groups=groups, setup="", envs=FrozenMap(), secrets=(), workdir=None)
    return TaskGraph(name="t", tasks=(task,))


def found(graph: TaskGraph, catalog: CatalogSnapshot) -> CandidateSet | None:
    """None when a group fits nowhere."""
    made, said = candidates(graph, catalog, SOURCES)
    return None if has_errors(said) else made


def cost(placements: tuple[GroupPlacement, ...]) -> tuple[int, Decimal]:
    """Unknown prices first: one of them is worse than any price that is known."""
    amounts = [line.amount for placement in placements for line in placement.lines]
    return sum(amount is None for amount in amounts), sum((a for a in amounts if a is not None), Decimal(0))


def every_choice(graph: TaskGraph, made: CandidateSet) -> list[tuple[int, Decimal]]:
    """The cost of every combination a group's own order allows, counted without the optimizer."""
    (task,) = graph.tasks
    per_group = []
    for group in task.groups:
        mine = [c for c in made.candidates if c.group == group.name]
        if group.ordered:
            first = min(c.request for c in mine)
            mine = [c for c in mine if c.request == first]
        per_group.append([(c.offering.hourly, c.num_nodes) for c in mine])
    return [
        (
            sum(price is None for price, _ in choice),
            sum((price * nodes * task.hours for price, nodes in choice if price is not None), Decimal(0)),
        )
        for choice in itertools.product(*per_group)
    ]


@settings(max_examples=150, deadline=None)
@given(graphs(), catalogs())
def test_the_choice_is_the_cheapest_of_all(graph: TaskGraph, catalog: CatalogSnapshot) -> None:
    made = found(graph, catalog)
    if made is not None:
        assert cost(optimize(graph, made).placements) == min(every_choice(graph, made))


@settings(max_examples=100, deadline=None)
@given(graphs(), catalogs(), st.randoms(use_true_random=False))
def test_the_order_of_catalog_rows_does_not_matter(graph: TaskGraph, catalog: CatalogSnapshot, chance: random.Random) -> None:
    def shuffled() -> CatalogSnapshot:
        kinds, offerings = list(catalog.instance_types), list(catalog.offerings)
        chance.shuffle(kinds)
        chance.shuffle(offerings)
        return CatalogSnapshot(instance_types=tuple(kinds), offerings=tuple(offerings))

    def printed(rows: CatalogSnapshot) -> str:
        made, said = candidates(graph, rows, SOURCES)
        text = repr(said) if has_errors(said) else print_ir(made) + print_ir(optimize(graph, made))
        return "\n".join(line for line in text.splitlines() if "catalog_digest" not in line)

    assert printed(shuffled()) == printed(catalog)


@settings(max_examples=100, deadline=None)
@given(graphs(), catalogs())
def test_every_offer_is_a_candidate_or_has_a_reason(graph: TaskGraph, catalog: CatalogSnapshot) -> None:
    made, _ = candidates(graph, catalog, SOURCES)
    (task,) = graph.tasks
    for group in task.groups:
        tried = len(group.requests) * len(catalog.offerings)
        kept = sum(c.group == group.name for c in made.candidates)
        most = max((r.count for r in made.rejections if r.group == group.name), default=0)
        total = sum(r.count for r in made.rejections if r.group == group.name)
        assert kept + most <= tried <= kept + total
