"""Facts about clouds as collected tables, and what turning them into a catalog part has in common for all clouds.

Contract: everything here is a pure function of the tables. A cloud's own quirks are in its folder, `providers/<cloud>/facts.py`,
whose `part(facts)` is the only thing `build_catalog` calls. A blank cell is unknown and stays so: no price is ever zero because
nobody said one. `tables` raises OSError for a missing table, KeyError for one that lacks a column.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ..compiler.ir import Accelerator, FrozenMap, accelerators
from ..compiler.ir.catalog import PriceStep
from .snapshot import OfferRow, TypeRow

Row = Mapping[str, str]

ESTIMATED_BEFORE = "2025"
"""A price dated before this year is kept and marked as an estimate."""
_DATE = re.compile(r"\b20\d\d(?:-\d\d(?:-\d\d)?)?\b")
_SPOT_DATE = re.compile(r"spot: [^|]*?(20\d\d-\d\d)")
_MEMORY_TOLERANCE = Decimal("0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The rows about one cloud, as they stand in the tables."""

    types: tuple[Row, ...]
    offers: tuple[Row, ...]
    egress: tuple[Row, ...]
    disks: tuple[Row, ...]
    storages: tuple[Row, ...]


def tables(directory: Path) -> Callable[[str], Facts]:
    """Reads the tables of a directory once; the answer gives the rows of one cloud."""
    read = {
        "types": ("cloud", _rows(directory / "instance_types.csv.gz")),
        "offers": ("cloud", _rows(directory / "offers.csv.gz")),
        "egress": ("src_cloud", _rows(directory / "egress.csv")),
        "disks": ("cloud", _rows(directory / "disk.csv")),
        "storages": ("cloud", _rows(directory / "storage.csv")),
    }

    def of(cloud: str) -> Facts:
        return Facts(**{name: tuple(row for row in rows if row[column] == cloud) for name, (column, rows) in read.items()})

    return of


def _rows(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(io.StringIO(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a cloud's rows are read. The defaults are what most clouds need.

    left_out: True for a type that cannot be used, or about which too little is known.
    device: the accelerator a row means, where its own words do not say it all.
    no_local_disk: a blank cell means that the machine has none; otherwise that nobody has said.
    unsure_memory: canonical accelerators whose reported memory is known to be wrong.
    region: where an offer is; None to leave it out.
    zones: in which of its zones, of (machine type, region, zones that the row lists); None for what is known by region alone.
    """

    left_out: Callable[[Row], bool] = lambda row: False
    device: Callable[[Row], str] = lambda row: row["accelerator"]
    unlisted: FrozenMap[tuple[str, str]] = field(default_factory=FrozenMap)
    """Machine type → (accelerator, count) where the tables have none and the type's own name tells it."""
    no_local_disk: bool = False
    unsure_memory: frozenset[str] = frozenset()
    region: Callable[[Row], str | None] = lambda row: row["region"] or None
    zones: Callable[[str, str, tuple[str, ...]], tuple[str | None, ...]] = lambda kind, region, listed: listed or (None,)


def machine_types(facts: Facts, reading: Reading) -> tuple[TypeRow, ...]:
    """Every machine type that is not left out."""
    return tuple(_machine_type(row, reading) for row in facts.types if not reading.left_out(row))


def _machine_type(row: Row, reading: Reading) -> TypeRow:
    disk = number(row["local_ssd_gib"])
    return TypeRow(
        name=row["instance_type"],
        cpus=number(row["vcpus"]),
        # One table rounds half a GiB to none.
        memory_gb=number(row["memory_gib"]) or None,
        accelerators=_devices(row, reading),
        arch=row["arch"],
        local_disk_gb=Decimal(0) if disk is None and reading.no_local_disk else disk,
    )


def _devices(row: Row, reading: Reading) -> tuple[Accelerator, ...]:
    """The accelerators of a row, under the canonical name and with the memory they are sold with."""
    text, number_of = reading.device(row), row["accelerator_count"]
    if not text:
        text, number_of = reading.unlisted.get(row["instance_type"], ("", ""))
    if not text:
        return ()
    device = accelerators.device(text)
    if device is None:
        raise ValueError(f"{row['instance_type']} has {text}, which compiler/ir/accelerators.py does not know")
    count = Decimal(number_of)
    reported = number(row.get("accelerator_memory_gib", ""))
    # A part of a device reports its part of the memory, so only whole devices can be compared.
    if reported is not None and count >= 1 and device.name not in reading.unsure_memory:
        difference = abs(reported - device.memory_gb)
        if difference > device.memory_gb * _MEMORY_TOLERANCE:
            raise ValueError(f"{row['instance_type']}: a {device.name} of {reported} GiB is another device")
    return (Accelerator(name=device.name, count=count, memory_gb=device.memory_gb),)


def offers(facts: Facts, types: Iterable[TypeRow], reading: Reading) -> tuple[OfferRow, ...]:
    """One row per type, region and zone. A zone's own spot price stands before the region's."""
    known = {kind.name for kind in types}
    return tuple(offer for row in facts.offers if row["instance_type"] in known for offer in _offers(row, reading))


def _offers(row: Row, reading: Reading) -> Iterator[OfferRow]:
    region = reading.region(row)
    if region is None:
        return
    on_demand, spot = number(row["price_hourly"]), number(row["spot_price_hourly"])
    by_zone = {zone: Decimal(price) for zone, price in (pair.split("=") for pair in row["zone_spot_prices"].split(";") if pair)}
    source, as_of = origin(row)
    for zone in reading.zones(row["instance_type"], region, tuple(zone for zone in row["zones"].split(";") if zone)):
        # Where zones have prices of their own, a zone without one has no known market.
        here = by_zone.get(zone or "") if by_zone else spot
        yield OfferRow(
            type=(row["instance_type"], _devices(row, reading)),
            region=region,
            zone=zone,
            on_demand=on_demand,
            # A market that costs what on-demand costs is how price lists say that there is none.
            spot=None if here == on_demand else here,
            source=source,
            as_of=as_of,
            estimated=_doubtful(row) and (on_demand is not None or here is not None),
        )


def origin(row: Row) -> tuple[str, str]:
    """(who gave the price, and its date), as short as they can be and still be found."""
    pieces = {}
    for piece in row["source"].split(" | "):
        name, colon, text = piece.partition(": ")
        pieces[name if colon else "price"] = text if colon else piece
    price, spot = pieces.get("price", row["source"]).strip(), pieces.get("spot", "").strip()
    said = [] if price in ("", "none") else [price]
    if spot and spot != price:
        said.append(f"spot: {spot}")
    as_of = row["as_of"]
    dated = _SPOT_DATE.search(row["source"])
    if dated:
        as_of = f"{as_of}; spot {dated[1]}"
    return "; ".join(said) or "no price known", as_of if said else ""


def _doubtful(row: Row) -> bool:
    dates = _DATE.findall(row["as_of"])
    derived = "DERIVED" in row["source"] or "derived from" in row["source"]
    return derived or "(est.)" in row["as_of"] or not dates or min(dates) < ESTIMATED_BEFORE


def span(rows: Iterable[OfferRow]) -> str:
    """Oldest and newest date of all prices, as a part's `as_of` holds it."""
    priced = {row.as_of for row in rows if row.on_demand is not None or row.spot is not None}
    dates = sorted(date for text in priced for date in _DATE.findall(text))
    if not dates:
        return "undated"
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} … {dates[-1]}"


def number(text: str) -> Decimal | None:
    """A cell's amount; None for a blank one."""
    return Decimal(text) if text.strip() else None


def steps(rows: Iterable[Row]) -> tuple[PriceStep, ...]:
    """Marginal price steps from tier rows. Beyond the last tier that is bounded, the price is unknown.

    Raises ValueError for tiers that leave a gap or overlap: a volume would then have no price, or two.
    """
    made: list[PriceStep] = []
    reached: Decimal | None = Decimal(0)
    for row in sorted(rows, key=lambda row: Decimal(row["tier_from_gb"])):
        start = Decimal(row["tier_from_gb"])
        if start != reached:
            raise ValueError(f"a tier begins at {start} GB where one at {reached} GB is wanted: {row}")
        made.append(PriceStep(above=start, price=number(row["price_per_gb"])))
        reached = number(row["tier_to_gb"])
    if reached is not None:
        made.append(PriceStep(above=reached, price=None))
    return tuple(made)


def flat(price: str | Decimal | None) -> tuple[PriceStep, ...]:
    """One price for every volume; None: unknown."""
    return (PriceStep(above=Decimal(0), price=None if price is None else Decimal(price)),)
