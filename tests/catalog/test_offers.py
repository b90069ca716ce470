"""Finding offers: the columns give what a row by row reading gives, and the shipped catalog answers as it should."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Accelerator, Bound, decimal_text
from skyc.compiler.ir.accelerators import matching
from skyc.compiler.ir.catalog import CatalogPart, Rates
from skyc.providers.snapshot import OfferRow, TypeRow, build_part
from skyc.runtime.offers import OfferQuery, WantedAccelerator, find, query

TYPES = (
    TypeRow(name="a", cpus=Decimal(2), memory_gb=Decimal(8)),
    TypeRow(name="b", cpus=Decimal(8), memory_gb=Decimal("15.25"), arch="arm64"),
    TypeRow(name="g", cpus=Decimal(8), memory_gb=None, accelerators=(Accelerator(name="H100-SXM", count=Decimal(8)),)),
    TypeRow(name="g", cpus=Decimal(8), memory_gb=Decimal(64), accelerators=(Accelerator(name="T4", count=Decimal("0.5")),)),
    TypeRow(
        name="own",
        cpus=Decimal(16),
        memory_gb=Decimal(64),
        accelerators=(Accelerator(name="H100", count=Decimal(4)),),
        divisible=True,
    ),
)
PLACES = (("r1", "z1"), ("r1", "z2"), ("r2", None))
prices = st.none() | st.sampled_from([Decimal("0.5"), Decimal(1), Decimal(2)])


@st.composite
def parts(draw: st.DrawFn, name: str) -> CatalogPart:
    wanted = draw(st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(PLACES)), min_size=1, max_size=12, unique=True))
    sells_spot = draw(st.booleans())
    rows = []
    for kind, (region, zone) in wanted:
        on_demand, spot = draw(prices), draw(prices) if sells_spot else None
        if on_demand is not None and spot is not None:
            on_demand, spot = max(on_demand, spot), min(on_demand, spot)
        rows.append(
            OfferRow(
                type=kind.key,
                region=region,
                zone=zone,
                on_demand=on_demand,
                spot=spot,
                source=draw(st.sampled_from(["s", "t"])),
                as_of="2026",
                estimated=draw(st.booleans()),
            )
        )
    return build_part(name, TYPES, rows, Rates(), sells_spot=sells_spot, as_of="2026")


bounds = st.none() | st.builds(Bound, amount=st.sampled_from([Decimal("0.5"), Decimal(4), Decimal(8)]), exact=st.booleans())


@st.composite
def queries(draw: st.DrawFn) -> OfferQuery:
    return OfferQuery(
        accelerators=tuple(
            draw(
                st.lists(
                    st.builds(WantedAccelerator, name=st.sampled_from(["H100", "H100-SXM", "T4"]), count=bounds), max_size=2
                )
            )
        ),
        cpus=draw(bounds),
        memory_gb=draw(bounds),
        memory_per_cpu=draw(st.none() | st.just(Bound(amount=Decimal(2)))),
        market=draw(st.sampled_from(["any", "spot", "on-demand"])),
        max_price=draw(st.none() | st.just(Decimal(1))),
        arch=draw(st.none() | st.just("arm64")),
        estimates=draw(st.booleans()),
        sort=draw(st.sampled_from(["price", "spot", "name", "memory", "cpus"])),
        limit=None,
    )


def plainly(part: CatalogPart, wanted: OfferQuery) -> Iterator[tuple[str, str, str | None, Decimal | None, Decimal | None]]:
    """The same question, asked of one row after the other."""
    from skyc.providers.snapshot import offer_rows, type_rows

    kinds = {kind.key: kind for kind in type_rows(part)}
    for row in offer_rows(part):
        kind = kinds[row.type]
        known = [price for price in (row.on_demand, row.spot) if price is not None]
        price = {"on-demand": row.on_demand, "spot": row.spot, "any": min(known, default=None)}[wanted.market]
        fits = (
            _enough(wanted.cpus, kind.cpus, kind)
            and _enough(wanted.memory_gb, kind.memory_gb, kind)
            and (
                wanted.memory_per_cpu is None
                or (kind.memory_gb is not None and kind.cpus is not None and kind.memory_gb >= 2 * kind.cpus)
            )
            and (wanted.arch is None or kind.arch == wanted.arch)
            and (not wanted.accelerators or any(_has(one, kind) for one in wanted.accelerators))
            and (wanted.market != "spot" or part.offers.sells_spot)
            and (wanted.max_price is None or (price is not None and price <= wanted.max_price))
            and (wanted.estimates or not row.estimated)
        )
        if fits:
            yield row.type[0], row.region, row.zone, row.on_demand, row.spot


def _enough(bound: Bound | None, value: Decimal | None, kind: TypeRow) -> bool:
    if bound is None:
        return True
    return value is not None and (value >= bound.amount if kind.divisible else bound.allows(value))


def _has(one: WantedAccelerator, kind: TypeRow) -> bool:
    return any(device.name in matching(one.name) and _enough(one.count, device.count, kind) for device in kind.accelerators)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(parts("first"), parts("second"), queries())
def test_columns_answer_as_rows_do(first: CatalogPart, second: CatalogPart, wanted: OfferQuery) -> None:
    try:
        found = find([first, second], wanted)
    except SkycError as failure:
        assert [diagnostic.slug for diagnostic in failure.diagnostics] == ["unknown-accelerator"]
        return
    assert found.total == len(found.offers)
    seen = sorted(
        (offer.provider, offer.instance_type, offer.region, zone or "", _shown(offer.on_demand), _shown(offer.spot))
        for offer in found.offers
        for zone in offer.zones or (None,)
    )
    expected = sorted(
        (part.provider, name, region, zone or "", _shown(on_demand), _shown(spot))
        for part in (first, second)
        for name, region, zone, on_demand, spot in plainly(part, wanted)
    )
    assert seen == expected
    limited = find([first, second], OfferQuery(limit=1, sort=wanted.sort, market=wanted.market))
    whole = find([first, second], OfferQuery(limit=None, sort=wanted.sort, market=wanted.market))
    assert limited.offers == whole.offers[:1]
    assert limited.total == whole.total == len(whole.offers)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(parts("first"), parts("second"), st.sampled_from(["price", "spot", "name"]))
def test_the_best_region_is_the_first_of_each_type(first: CatalogPart, second: CatalogPart, sort: str) -> None:
    every = find([first, second], OfferQuery(limit=None, sort=sort)).offers
    best = find([first, second], OfferQuery(limit=None, sort=sort, best_region=True))
    expected: dict[tuple[object, ...], object] = {}
    for offer in every:
        expected.setdefault((offer.provider, offer.instance_type, offer.accelerators), offer)
    assert list(best.offers) == list(expected.values())
    assert best.total == len(expected)


def _shown(price: Decimal | None) -> str:
    return "?" if price is None else decimal_text(price)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(parts("first"), st.sampled_from(["price", "spot", "memory", "cpus"]))
def test_what_is_not_known_comes_last(part: CatalogPart, sort: str) -> None:
    offers = find([part], OfferQuery(limit=None, sort=sort)).offers
    columns = {
        "price": [min((p for p in (o.on_demand, o.spot) if p is not None), default=None) for o in offers],
        "spot": [o.spot for o in offers],
        "memory": [o.memory_gb for o in offers],
        "cpus": [o.cpus for o in offers],
    }
    values = columns[sort]
    known = [value for value in values if value is not None]
    assert values == [*sorted(known), *[None] * (len(values) - len(known))]


# The shipped catalog


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_eight_a100_are_forty_gigabyte_ones(home: Path) -> None:
    found = skyc.offers(accelerator="A100:8", limit=None, home=home)
    assert found.offers
    for offer in found.offers:
        assert [(device.name, device.count) for device in offer.accelerators] == [("A100", Decimal(8))]
    assert {offer.provider for offer in found.offers} == {"aws", "azure", "gcp", "lambda"}


def test_every_form_of_an_h100_is_one(home: Path) -> None:
    found = skyc.offers(accelerator="h100", limit=None, home=home).offers
    names = {device.name for offer in found for device in offer.accelerators}
    assert names == {"H100", "H100-MEGA", "H100-PCIE", "H100-SXM"}
    only = skyc.offers(accelerator="H100-PCIE:1", limit=None, home=home).offers
    assert {(offer.provider, offer.instance_type) for offer in only} == {("lambda", "gpu_1x_h100_pcie")}


def test_reported_memory_excludes_no_a10g(home: Path) -> None:
    types = {offer.instance_type for offer in skyc.offers(accelerator="A10G:1", cloud="aws", limit=None, home=home).offers}
    assert types == {f"g5.{size}" for size in ("xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge")}


def test_fractions_and_slices(home: Path) -> None:
    assert {o.instance_type for o in skyc.offers(accelerator="L4:0.125", limit=None, home=home).offers} == {
        "g6f.large",
        "g6f.xlarge",
    }
    assert {o.instance_type for o in skyc.offers(accelerator="tpu-v4-8", limit=None, home=home).offers} == {"tpu-v4-8"}
    assert {o.instance_type for o in skyc.offers(accelerator="v5e:4", limit=None, home=home).offers} == {"tpu-v5litepod-4"}


def test_filters_on_the_shipped_catalog(home: Path) -> None:
    found = skyc.offers(cpus="8", memory="32", cloud="aws", region="us-east-1", arch="arm64", max_price="0.31", home=home)
    assert found.offers
    for offer in found.offers:
        assert (offer.cpus, offer.memory_gb, offer.region, offer.arch) == (Decimal(8), Decimal(32), "us-east-1", "arm64")
        assert min(price for price in (offer.on_demand, offer.spot) if price is not None) <= Decimal("0.31")
    assert all(not o.estimated for o in skyc.offers(cloud="aws", estimates=False, limit=200, home=home).offers)
    spot = skyc.offers(accelerator="H100:8", market="spot", limit=3, home=home).offers
    assert [o.spot for o in spot] == sorted(o.spot for o in spot if o.spot is not None)


@pytest.mark.parametrize(
    ("asked", "slug", "hint"),
    [
        ({"accelerator": "H1O0"}, "unknown-accelerator", "did you mean `H100`?"),
        ({"cloud": "asw"}, "unknown-target", "did you mean `aws`?"),
        ({"cloud": "aws", "region": "us-esat-1"}, "unknown-place", "did you mean `us-east-1`?"),
        ({"zone": "use1-az99"}, "unknown-place", "did you mean `use1-az1`?"),
        ({"cpus": "many"}, "bad-value", "write `8` for exactly 8, or `8+` for at least 8"),
        ({"accelerator": "A100:"}, "bad-value", "write `A100`, `A100:8` or `A100:4+`"),
        ({"max_price": "cheap"}, "bad-value", "write `5.50`"),
        ({"market": "black"}, "bad-value", None),
    ],
)
def test_a_mistake_is_no_empty_answer(home: Path, asked: dict[str, str], slug: str, hint: str | None) -> None:
    with pytest.raises(SkycError) as caught:
        skyc.offers(**asked, home=home)  # type: ignore[arg-type]
    (said,) = caught.value.diagnostics
    assert (said.slug, said.hint) == (slug, hint)


def test_owned_machines_are_offers_too(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("machines: [{name: mine, cpus: 8, memory: 64, accelerators: H100:1}]\n")
    first = skyc.offers(accelerator="H100:1", home=tmp_path).offers[0]
    assert (first.provider, first.instance_type, first.on_demand, first.capacity) == ("owned", "mine", Decimal(0), 1)


def test_the_summary(home: Path) -> None:
    found = {part.provider: part for part in skyc.catalog(home=home)}
    aws = found["aws"]
    assert (aws.types, aws.regions, aws.offers) == (1386, 30, 64284)
    assert (aws.oldest, aws.newest, aws.origin) == ("2021-02", "2026-07-20", "shipped")
    assert not found["lambda"].sells_spot
    assert found["local"].origin == "declared"


def test_a_query_reads_amounts_as_a_task_file_does() -> None:
    wanted = query(accelerator=["A100:4+"], cpus="8", memory="4x", max_price=Decimal("5.50"))
    assert wanted.accelerators == (WantedAccelerator(name="A100", count=Bound(amount=Decimal(4))),)
    assert wanted.cpus == Bound(amount=Decimal(8), exact=True)
    assert (wanted.memory_gb, wanted.memory_per_cpu) == (None, Bound(amount=Decimal(4), exact=True))
    assert wanted.max_price == Decimal("5.50")
