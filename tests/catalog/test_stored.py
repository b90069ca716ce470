"""Which file counts: the shipped one, or one that a refresh wrote; and that a bad one is never used."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest
from numpy.typing import NDArray

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import FrozenMap, Market
from skyc.compiler.ir.catalog import CatalogPart, Rates
from skyc.providers.lambdalabs.provider import LambdaProvider
from skyc.providers.snapshot import OfferRow, TypeRow, build_part, encode
from skyc.providers.stored import refreshed_path, stored_part


def part(as_of: str, *, provider: str = "some", price: str = "1", zone: str | None = None) -> CatalogPart:
    kind = TypeRow(name="small", cpus=Decimal(1), memory_gb=Decimal(1))
    offers = [
        OfferRow(type=kind.key, region=region, zone=zone, on_demand=Decimal(price), spot=Decimal("0.5"), source="s", as_of="")
        for region in ("r1", "r2")
    ]
    return build_part(provider, [kind], offers, Rates(), sells_spot=True, as_of=as_of)


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / "shipped.skyc"
    path.write_bytes(encode(part("2024-01 … 2026-08-03")))
    return path


def refresh(home: Path, content: bytes) -> Path:
    path = refreshed_path(home, "some")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_shipped_part_counts_without_another(shipped: Path, tmp_path: Path) -> None:
    assert stored_part("some", shipped, home=tmp_path).as_of == "2024-01 … 2026-08-03"


@pytest.mark.parametrize(
    ("as_of", "counts"),
    [("2024-01 … 2026-11-25", True), ("2024-01 … 2026-08-03", True), ("2024-01 … 2026-08-02", False), ("2026", False)],
)
def test_the_newer_one_counts(shipped: Path, tmp_path: Path, as_of: str, counts: bool) -> None:
    refreshed = part(as_of, price="2")
    refresh(tmp_path, encode(refreshed))
    assert (stored_part("some", shipped, home=tmp_path).digest == refreshed.digest) == counts


def test_zones_that_an_older_refresh_does_not_know_are_the_shipped_ones(shipped: Path, tmp_path: Path) -> None:
    zones = FrozenMap({"r1": ("r1-a", "r1-b")})
    shipped.write_bytes(encode(replace(part("2026-08-03"), zones=zones, zone_needed=True)))
    old = part("2026-11-25", price="2", zone="x")
    refresh(tmp_path, encode(old))
    read = stored_part("some", shipped, home=tmp_path)
    assert (read.zones, read.zone_needed, read.as_of) == (zones, True, "2026-11-25")
    assert [(place.region, place.zone) for place in read.offers.places] == [("r2", "x")], "r1 has no such zone"
    assert len(read.offers.place) == 1 and read.offering(0, Market.ON_DEMAND).region == "r2"
    assert read.digest == old.digest, "by which it is known as the refreshed one"
    refresh(tmp_path, encode(replace(old, zones=FrozenMap({"r1": ("r1-c",)}))))
    read = stored_part("some", shipped, home=tmp_path)
    assert (read.zones, read.zone_needed) == (FrozenMap({"r1": ("r1-c",)}), False), "what a refresh says itself counts"


def broken() -> dict[str, bytes]:
    whole = part("2026-11-25")
    content = encode(whole)
    offers = whole.offers
    types = numpy.array([0, 7], dtype=offers.type.dtype)

    def changed(column: str, values: NDArray[Any]) -> bytes:
        columns: dict[str, Any] = {column: values}
        return encode(replace(whole, offers=replace(offers, **columns)))

    return {
        "cut": content[:-3],
        "another provider's": encode(part("2026-11-25", provider="other")),
        "empty": b"",
        "a type that is not there": changed("type", types),
        "a place that is not there": changed("place", numpy.array([0, -1], dtype="<i2")),
        "a free machine": changed("on_demand", numpy.array([0, 10**9], dtype="<i8")),
        "spot above on-demand": changed("spot", numpy.array([1, 2 * 10**9], dtype="<i8")),
        "columns of two lengths": changed("spot", numpy.array([1], dtype="<i8")),
        "a column nobody looks at, of another length": changed("interruptions", numpy.array([1], dtype="<i4")),
    }


@pytest.mark.parametrize("name", list(broken()))
def test_a_part_that_cannot_be_trusted_is_refused(shipped: Path, tmp_path: Path, name: str) -> None:
    path = refresh(tmp_path, broken()[name])
    with pytest.raises(SkycError) as caught:
        stored_part("some", shipped, home=tmp_path)
    (said,) = caught.value.diagnostics
    assert said.slug == "bad-catalog"
    assert str(path) in said.detail
    assert said.commands == ("skyc catalog refresh",)


def test_check_says_it_instead_of_failing(tmp_path: Path) -> None:
    path = refreshed_path(tmp_path, "lambda")
    path.parent.mkdir()
    path.write_bytes(b"nonsense")
    report = LambdaProvider().check(home=tmp_path)
    assert [diagnostic.slug for diagnostic in report.diagnostics] == ["bad-catalog"]
    path.unlink()
    path.mkdir()
    with pytest.raises(SkycError):
        LambdaProvider().catalog(home=tmp_path)
