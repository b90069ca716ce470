"""The rules every refreshed part is held against, without any network."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyc.compiler.ir import FrozenMap
from skyc.compiler.ir.catalog import CatalogPart, Rates
from skyc.providers.refresh import Completed, Refreshed, completed, money
from skyc.providers.retry import BadAnswer
from skyc.providers.snapshot import OfferRow, TypeRow, build_part, encode, offer_rows, type_rows

from .conftest import found, kind, offer, part

SMALL, LARGE, GPU = kind("small"), kind("large", "8", "32"), kind("gpu", "8", "64", ("A100", "1"))


def checked(
    types: list[TypeRow], offers: list[OfferRow], before: CatalogPart | None = None, gaps: tuple[str, ...] = ()
) -> Completed:
    return completed("x", Refreshed(types=tuple(types), offers=tuple(offers), sells_spot=True, gaps=gaps), before)


def test_images_of_regions_that_were_not_asked_are_kept() -> None:
    before = build_part(
        "x", [SMALL], [offer(SMALL, "r", None, "1")], Rates(), sells_spot=True, as_of="x", images={"r": "i-1", "s": "i-2"}
    )
    anew = Refreshed(
        types=(SMALL,), offers=(offer(SMALL, "r", None, "1"),), sells_spot=True, images=FrozenMap({"r": "i-9", "t": "i-3"})
    )
    assert dict(completed("x", anew, before).part.images) == {"r": "i-9", "s": "i-2", "t": "i-3"}


def test_a_spot_price_above_on_demand_counts_as_unknown() -> None:
    made = checked([SMALL, LARGE], [offer(SMALL, "r", None, "1", "1.01"), offer(LARGE, "r", None, "1", "1")])
    rows = offer_rows(made.part)
    assert found(rows, "small", "r").spot is None
    assert found(rows, "small", "r").on_demand == 1
    assert found(rows, "large", "r").spot == 1
    assert "spot price above on-demand" in made.oddities[0]


@pytest.mark.parametrize("price", ["0", "-1", "100001"])
def test_a_price_that_cannot_be_one_counts_as_unknown(price: str) -> None:
    made = checked([SMALL], [offer(SMALL, "r", None, price), offer(SMALL, "s", None, "2", price)])
    rows = offer_rows(made.part)
    assert found(rows, "small", "r").on_demand is None
    assert found(rows, "small", "s").spot is None
    assert found(rows, "small", "s").on_demand == 2
    assert len(made.oddities) == 1


def test_equal_rows_are_one_and_unequal_ones_leave_the_price_before() -> None:
    before = part("x", [SMALL, LARGE], [offer(SMALL, "r", None, "7"), offer(LARGE, "r", None, "8")])
    new = [
        offer(SMALL, "r", None, "1"),
        offer(SMALL, "r", None, "2"),
        offer(LARGE, "r", None, "9"),
        offer(LARGE, "r", None, "9"),
    ]
    made = checked([SMALL, LARGE], new, before)
    rows = offer_rows(made.part)
    assert found(rows, "small", "r").on_demand == 7
    assert found(rows, "large", "r").on_demand == 9
    assert "two prices at one place" in made.oddities[0]
    assert found(offer_rows(checked([SMALL], new[:2]).part), "small", "r").on_demand is None


def test_an_offer_of_a_type_nobody_describes_is_left_out() -> None:
    made = checked([SMALL], [offer(SMALL, "r", None, "1"), offer(LARGE, "r", None, "1")])
    assert [row.type[0] for row in offer_rows(made.part)] == ["small"]
    assert "described nowhere" in made.oddities[0]


def test_a_known_type_keeps_its_description_and_new_ones_come_in() -> None:
    before = part("x", [GPU], [offer(GPU, "r", None, "1")])
    other = kind("gpu", "9", "1", ("Nvidia A100", "1"))
    made = checked([other, SMALL], [offer(GPU, "r", None, "2"), offer(SMALL, "r", None, "1")], before)
    assert {row.name: row.cpus for row in type_rows(made.part)} == {"gpu": 8, "small": 2}


@pytest.mark.parametrize(
    ("kept", "priced", "lost"), [(10, 10, False), (7, 7, False), (6, 6, True), (10, 7, False), (10, 6, True)]
)
def test_loss_of_offers_and_of_prices(kept: int, priced: int, lost: bool) -> None:
    before = part("x", [SMALL], [offer(SMALL, f"r{number}", None, "1") for number in range(10)])
    new = [offer(SMALL, f"r{number}", None, "1" if number < priced else None) for number in range(kept)]
    made = checked([SMALL], new, before)
    assert (made.loss is not None) == lost
    if made.loss:
        assert (made.loss.offers_before, made.loss.offers_after, made.loss.priced_after) == (10, kept, min(kept, priced))


def test_an_answer_without_any_offer_is_no_catalog() -> None:
    with pytest.raises(BadAnswer, match="nothing at all"):
        checked([SMALL], [])


def test_dates_rates_and_notes() -> None:
    before = part("x", [SMALL], [offer(SMALL, "r", None, "1")])
    new = OfferRow(type=SMALL.key, region="s", zone=None, on_demand=Decimal(2), source="now", as_of="2026-11-25")
    made = checked([SMALL], [*offer_rows(before), new], before, gaps=("Prices of TPUs are old.",))
    assert made.part.as_of == "2021-02 … 2026-11-25"
    assert made.part.notes == ("Prices of TPUs are old.", "Disks are dear.")
    assert made.part.rates == before.rates
    again = checked([SMALL], [new], made.part)
    assert again.part.notes == ("Disks are dear.",)


ROWS = [
    offer(row, region, zone, price, spot)
    for row in (SMALL, LARGE, GPU)
    for region, zone in (("r", "a"), ("r", "b"), ("s", None))
    for price, spot in (("1", "0.5"), ("2", "3"))
]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(rows=st.permutations(ROWS), types=st.permutations([SMALL, LARGE, GPU, kind("small", "4")]))
def test_the_order_of_answers_decides_nothing(rows: list[OfferRow], types: list[TypeRow]) -> None:
    assert encode(checked(types, rows).part) == encode(checked([SMALL, LARGE, GPU, kind("small", "4")], ROWS).part)


@pytest.mark.parametrize("value", [None, "", " ", "free", "NaN", "Infinity", True, [], {}, 1.5])
def test_what_is_no_number_is_no_price(value: object) -> None:
    assert money(value) is None


@pytest.mark.parametrize("value", ["1.50", Decimal("1.5"), "1.5 "])
def test_a_number_is_a_price(value: object) -> None:
    assert money(value) == Decimal("1.5")
