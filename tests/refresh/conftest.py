"""Fixtures of the refresh tests: a fake server, a client that makes no pauses, parts of a catalog to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from skyc.compiler.ir import Accelerator
from skyc.compiler.ir.catalog import CatalogPart, Rates
from skyc.providers.http import Http
from skyc.providers.refresh import Settings
from skyc.providers.retry import Schedule
from skyc.providers.snapshot import OfferRow, TypeRow, build_part, encode

from .fakes.server import FakeServer, serving

TODAY = "2026-11-25"
HURRY = Schedule(pauses=(0.0, 0.0, 0.0), sleep=lambda _: None)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as made:
        yield made


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(schedule=HURRY, silence=2.0, limit=5.0) as client:
        yield client


@pytest.fixture
def settings(http: Http) -> Callable[..., Settings]:
    def make(regions: frozenset[str] | None = None, **environ: str) -> Settings:
        return Settings(environ=environ, http=http, today=TODAY, regions=regions)

    return make


def kind(name: str, cpus: str = "2", memory: str = "8", *devices: tuple[str, str], disk: str = "0") -> TypeRow:
    return TypeRow(
        name=name,
        cpus=Decimal(cpus),
        memory_gb=Decimal(memory),
        accelerators=tuple(Accelerator(name=device, count=Decimal(count)) for device, count in devices),
        local_disk_gb=Decimal(disk),
    )


def offer(
    row: TypeRow, region: str, zone: str | None, price: str | None, spot: str | None = None, *, estimated: bool = False
) -> OfferRow:
    return OfferRow(
        type=row.key,
        region=region,
        zone=zone,
        on_demand=None if price is None else Decimal(price),
        spot=None if spot is None else Decimal(spot),
        source="before",
        as_of="2021-02",
        estimated=estimated,
    )


def part(provider: str, types: list[TypeRow], offers: list[OfferRow], *, sells_spot: bool = True) -> CatalogPart:
    # Newer than what ships, which would else count instead of it.
    as_of = "2021-02 … 2026-11-24"
    return build_part(provider, types, offers, Rates(), sells_spot=sells_spot, as_of=as_of, notes=("Disks are dear.",))


def put(home: Path, made: CatalogPart) -> Path:
    """The part as a refresh left it."""
    place = home / "catalog" / f"{made.provider}.skyc"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(encode(made))
    return place


def found(rows: tuple[OfferRow, ...], name: str, region: str, zone: str | None = None) -> OfferRow:
    (only,) = (row for row in rows if (row.type[0], row.region, row.zone) == (name, region, zone))
    return only
