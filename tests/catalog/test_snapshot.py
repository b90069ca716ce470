"""Catalog files: rows in, bytes out and back, whatever the order, and nothing damaged gets through."""

from __future__ import annotations

import hashlib
import random
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Accelerator, FrozenMap, Market
from skyc.compiler.ir.catalog import (
    AddressRate,
    CatalogPart,
    DiskRate,
    GatewayRate,
    PriceStep,
    Rates,
    StorageRate,
    TransferRule,
)
from skyc.providers.snapshot import OfferRow, TypeRow, build_part, decode, encode, offer_rows, type_rows

NAMES = ("small", "medium", "large", "großer-rechner")
PLACES = (("r1", None), ("r1", "z1"), ("r1", "z2"), ("r2", "z1"))
DEVICES = (
    (),
    (Accelerator(name="L4", count=Decimal("0.125"), memory_gb=Decimal(24)),),
    (Accelerator(name="T4", count=Decimal(2)),),
)

patient = settings(suppress_health_check=[HealthCheck.too_slow])
"""Machines that run these tests are shared; how fast rows are drawn says nothing about the format."""

amounts = st.none() | st.decimals(min_value=0, max_value=100_000, places=3)
prices = st.none() | st.decimals(min_value=Decimal("0.000001"), max_value=900, places=9)


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[list[TypeRow], list[OfferRow], Rates]:
    keys = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(DEVICES)), min_size=1, max_size=5, unique=True))
    types = [
        TypeRow(
            name=name,
            cpus=draw(amounts),
            memory_gb=draw(amounts),
            accelerators=devices,
            arch=draw(st.sampled_from(["x86_64", "arm64"])),
            local_disk_gb=draw(st.none() | st.integers(0, 10_000).map(Decimal)),
            divisible=draw(st.booleans()),
        )
        for name, devices in keys
    ]
    wanted = draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(PLACES)), max_size=6, unique=True))
    offers = []
    for key, (region, zone) in wanted:
        on_demand, spot = draw(prices), draw(prices)
        if on_demand is not None and spot is not None:
            on_demand, spot = max(on_demand, spot), min(on_demand, spot)
        offers.append(
            OfferRow(
                type=key,
                region=region,
                zone=zone,
                on_demand=on_demand,
                spot=spot,
                source=draw(st.sampled_from(["a list", "ein Preis: €"])),
                as_of=draw(st.sampled_from(["", "2021-02", "2026-07-20"])),
                estimated=draw(st.booleans()),
                interruption_rate=draw(st.none() | st.decimals(min_value=0, max_value=1, places=6)),
                capacity=draw(st.none() | st.integers(0, 1000)),
            )
        )
    return types, offers, draw(rates())


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    step = st.builds(PriceStep, above=st.decimals(0, 10_000, places=1), price=prices)
    steps = st.lists(step, max_size=3).map(tuple)
    words = st.sampled_from(["*", "r1", "continent:asia", "é"])
    gateways = st.builds(
        GatewayRate,
        region=words,
        hourly=prices,
        per_gb=prices,
        price_source=words,
        as_of=words,
        per_machine_hourly=prices,
        most_machines=st.none() | st.integers(1, 50),
        many_hourly=prices,
    )
    return Rates(
        continents=FrozenMap(draw(st.dictionaries(words, st.just("asia")))),
        transfers=tuple(
            draw(
                st.lists(
                    st.builds(
                        TransferRule,
                        source=words,
                        destination=words,
                        steps=steps,
                        price_source=words,
                        as_of=words,
                        both_ways=st.booleans(),
                        estimated=st.booleans(),
                    ),
                    max_size=3,
                )
            )
        ),
        disks=(
            DiskRate(
                region="*",
                tier="low",
                name="d",
                per_gb=draw(prices),
                ladder=((Decimal(32), Decimal("1.54")), (Decimal(64), Decimal("3.01"))),
                price_source="s",
                as_of="",
            ),
        ),
        storages=(StorageRate(region="*", name="s", steps=draw(steps), price_source="s", as_of=""),),
        addresses=(AddressRate(region="*", hourly=draw(prices), price_source="s", as_of="", spot_hourly=draw(prices)),),
        gateways=draw(st.lists(gateways, max_size=2).map(tuple)),
        disk_gb=draw(st.none() | st.integers(1, 500).map(Decimal)),
        schemes=("s3",),
        reference_region=draw(st.none() | st.just("r1")),
    )


def part_of(rows: tuple[list[TypeRow], list[OfferRow], Rates]) -> CatalogPart:
    types, offers, made = rows
    return build_part("some", types, offers, made, sells_spot=True, as_of="2021-02", notes=("A note.",), images={"r1": "i-1"})


@patient
@given(catalogs())
def test_bytes_hold_everything(rows: tuple[list[TypeRow], list[OfferRow], Rates]) -> None:
    part = part_of(rows)
    content = encode(part)
    again = decode(content, name="a file")
    assert encode(again) == content
    assert again.digest == part.digest == hashlib.sha256(content).hexdigest()
    assert set(type_rows(again)) == set(rows[0])
    assert set(offer_rows(again)) == set(rows[1])
    assert again.rates == rows[2]
    assert (again.provider, again.as_of, again.notes) == (part.provider, part.as_of, part.notes)
    assert dict(again.images) == {"r1": "i-1"}


@patient
@given(catalogs(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: tuple[list[TypeRow], list[OfferRow], Rates], chance: random.Random) -> None:
    types, offers, made = rows
    shuffled = chance.sample(types, len(types)), chance.sample(offers, len(offers)), made
    assert encode(part_of(shuffled)) == encode(part_of(rows))


@patient
@given(catalogs(), st.data())
def test_a_damaged_file_is_said_and_never_read(rows: tuple[list[TypeRow], list[OfferRow], Rates], data: st.DataObject) -> None:
    content = encode(part_of(rows))
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(SkycError) as caught:
        decode(content[:cut], name="a file")
    assert [diagnostic.slug for diagnostic in caught.value.diagnostics] == ["bad-catalog"]


@patient
@given(catalogs())
def test_rows_are_sorted_and_unknown_is_not_zero(rows: tuple[list[TypeRow], list[OfferRow], Rates]) -> None:
    part = part_of(rows)
    table = part.offers
    order = [(int(table.place[row]), int(table.type[row])) for row in range(len(table.type))]
    assert order == sorted(order)
    for row, written in enumerate(offer_rows(part)):
        assert part.offering(row, Market.ON_DEMAND).hourly == written.on_demand
        assert part.offering(row, Market.SPOT).hourly == written.spot


def offer(**changes: object) -> OfferRow:
    values: dict[str, object] = {
        "type": ("small", ()),
        "region": "r1",
        "zone": None,
        "on_demand": Decimal(1),
        "source": "s",
        "as_of": "2026",
    }
    return OfferRow(**{**values, **changes})  # type: ignore[arg-type]


SMALL = TypeRow(name="small", cpus=Decimal(1), memory_gb=Decimal(1))


@pytest.mark.parametrize(
    ("types", "offers", "words"),
    [
        ([SMALL], [offer(on_demand=Decimal(0))], "costs 0"),
        ([SMALL], [offer(on_demand=Decimal(-1))], "costs -1"),
        ([SMALL], [offer(spot=Decimal(2))], "more on spot"),
        ([SMALL], [offer(), offer(on_demand=Decimal(2))], "offered twice"),
        ([SMALL, TypeRow(name="small", cpus=Decimal(2), memory_gb=Decimal(1))], [], "described in two ways"),
    ],
)
def test_rows_that_contradict_are_refused(types: list[TypeRow], offers: list[OfferRow], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_part("some", types, offers, Rates(), sells_spot=True, as_of="2026")


def test_an_owned_machine_may_be_free() -> None:
    part = build_part("some", [SMALL], [offer(on_demand=Decimal(0), capacity=1)], Rates(), sells_spot=False, as_of="now")
    assert part.offering(0, Market.ON_DEMAND).hourly == 0
