"""What was approved, held against the shipped catalog and against one that has moved."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Accelerator, CatalogPart, GroupPlacement, Market, NodeShape
from skyc.providers.registry import load
from skyc.runtime.still_offered import StillOffered, percent
from tests.compiler.test_failover import at

DEVICE = Accelerator(name="T4", count=Decimal(3), memory_gb=Decimal(16))


@pytest.fixture(scope="module")
def part() -> CatalogPart:
    return load("gcp").catalog(home=Path("/nowhere"))


def row_of(part: CatalogPart, kind: int) -> int:
    """The first offer of a type with both prices."""
    table = part.offers
    return next(
        row for row in range(len(table.type)) if table.type[row] == kind and table.on_demand[row] > 0 and table.spot[row] > 0
    )


def placed(part: CatalogPart, row: int, market: Market, hourly: Decimal | None, **more: Any) -> GroupPlacement:
    found = part.offering(row, market)
    kind = part.instance_type(int(part.offers.type[row]))
    place = replace(
        at(f"gcp/{found.region}", kind.name, market),
        zone=found.zone,
        shape=NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators),
        hourly=hourly,
    )
    return dataclasses.replace(place, **more)


def test_prices_are_held_against_the_ceiling(part: CatalogPart) -> None:
    still, row = StillOffered([part]), row_of(part, int(part.offers.type[0]))
    list_price, spot = part.offering(row, Market.ON_DEMAND).hourly, part.offering(row, Market.SPOT).hourly
    assert list_price is not None and spot is not None
    assert still.moved(placed(part, row, Market.ON_DEMAND, list_price)) is None
    low = still.moved(placed(part, row, Market.ON_DEMAND, list_price / 2))
    assert low is not None and "+100 %" in low and "→" in low
    # A spot price may rise up to the on-demand price that was shown as the most.
    assert still.moved(placed(part, row, Market.SPOT, spot / 2, worst_hourly=list_price)) is None
    assert "+100 %" in str(still.moved(placed(part, row, Market.SPOT, spot / 2)))
    assert still.moved(placed(part, row, Market.SPOT, None)) is None, "nobody approved an amount"


def test_what_is_gone_is_gone(part: CatalogPart) -> None:
    still, row = StillOffered([part]), row_of(part, int(part.offers.type[0]))
    item = placed(part, row, Market.ON_DEMAND, Decimal(1000))
    assert still.moved(item) is None
    others: tuple[dict[str, Any], ...] = (
        {"instance_type": "none"},
        {"region": "nowhere"},
        {"zone": "nowhere"},
        {"provider": "aws"},
        {"shape": replace(item.shape, accelerators=(DEVICE,))},
    )
    for other in others:
        assert "no such offer" in str(still.moved(dataclasses.replace(item, **other))), other
    no_spot = dataclasses.replace(part, offers=dataclasses.replace(part.offers, sells_spot=False))
    assert "no such offer" in str(StillOffered([no_spot]).moved(placed(part, row, Market.SPOT, Decimal(1000))))


def test_a_name_that_stands_for_two_machines_is_told_by_its_devices(part: CatalogPart) -> None:
    names = part.offers.types.names
    twice = next(name for name, count in Counter(names).items() if count > 1)
    kinds = sorted(
        (kind for kind, name in enumerate(names) if name == twice), key=lambda kind: len(part.offers.types.devices(kind))
    )
    rows = [row_of(part, kind) for kind in kinds]
    prices = [part.offering(row, Market.ON_DEMAND).hourly for row in rows]
    known = [price for price in prices if price is not None]
    assert len(set(known)) > 1
    dearest = max(range(len(rows)), key=lambda index: known[index])
    cheaper = placed(part, rows[dearest], Market.ON_DEMAND, known[dearest] - Decimal("0.000001"))
    assert StillOffered([part]).moved(cheaper) is not None, "the cheaper machine of the same name is another one"


def test_percent() -> None:
    assert percent(Decimal("1.20"), Decimal("1.45")) == "+21 %"
    assert percent(Decimal(2), Decimal(1)) == "-50 %"
    assert percent(Decimal(0), Decimal(1)) == "from nothing"
