"""The price of a machine whose name stands for several, as where accelerators are attached."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.ir import Accelerator, CatalogPart, Market
from skyc.providers.registry import load
from skyc.runtime.drift_prices import machine_hourly

NAME, REGION = "n1-standard-8", "us-central1"
Devices = tuple[Accelerator, ...]


@pytest.fixture(scope="module")
def part() -> CatalogPart:
    return load("gcp").catalog(home=Path("/nowhere"))


def kinds(part: CatalogPart) -> dict[Devices, list[Decimal]]:
    """The accelerators that machines of this name have → what those cost."""
    offers, found = part.offers, dict[Devices, list[Decimal]]()
    for row in range(len(offers.type)):
        kind = int(offers.type[row])
        price = part.offering(row, Market.ON_DEMAND).hourly
        if offers.types.names[kind] == NAME and offers.places[int(offers.place[row])].region == REGION and price is not None:
            found.setdefault(offers.types.devices(kind), []).append(price)
    return found


def test_a_machine_is_told_by_what_it_was_placed_with(part: CatalogPart) -> None:
    known = kinds(part)
    assert len(known) > 2 and () in known
    for devices, prices in known.items():
        assert machine_hourly(part, REGION, NAME, spot=False, devices=frozenset({devices})) == min(prices)


def test_what_cannot_be_told_has_no_price(part: CatalogPart) -> None:
    several = frozenset(kinds(part))
    assert machine_hourly(part, REGION, NAME, spot=False) is None
    assert machine_hourly(part, REGION, NAME, spot=False, devices=several) is None
    odd = (Accelerator(name="H100", count=Decimal(8), memory_gb=Decimal(80)),)
    assert machine_hourly(part, REGION, NAME, spot=False, devices=frozenset({odd})) is None
    # A name of one machine is that machine, whatever the others of the site have.
    assert machine_hourly(part, REGION, "e2-standard-4", spot=False, devices=frozenset({odd})) is not None
