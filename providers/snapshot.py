"""Catalog parts as files: rows to columns, columns to bytes and back.

Contract: `build_part` is a pure function of its rows, in any order; `encode` gives the same bytes for equal parts on every machine,
and `decode(encode(part))` is the part. The digest is SHA-256 over those bytes, so the file is the fact that a plan names.

The format: a line with name and version, the header's length, a JSON header (texts and rates), then the columns as little-endian
integers. A column whose values are all the same is one number in the header. Opening one costs a read and a hash, no parsing: the
measurements that led here are in docs/performance.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import Accelerator, FrozenMap, decimal_text, plain
from ..compiler.ir.catalog import (
    MILLI,
    NANO,
    UNKNOWN,
    AddressRate,
    CatalogPart,
    DiskRate,
    GatewayRate,
    OfferTable,
    Place,
    PriceStep,
    Rates,
    StorageRate,
    TransferRule,
    TypeTable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"skyc-catalog 1\n"
_TYPE_COLUMNS = {"cpus": "<i4", "memory": "<i4", "arch": "<i2", "local_disk": "<i4", "divisible": "|b1"}
_DEVICE_COLUMNS = {"device_type": "<i4", "device_name": "<i2", "device_count": "<i4", "device_memory": "<i4"}
_OFFER_COLUMNS = {
    "type": "<i4",
    "place": "<i2",
    "on_demand": "<i8",
    "spot": "<i8",
    "source": "<i2",
    "estimated": "|b1",
    "interruptions": "<i4",
    "capacity": "<i4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRow:
    """A machine type. memory_gb, local_disk_gb: GiB. None: unknown."""

    name: str
    cpus: Decimal | None
    memory_gb: Decimal | None
    accelerators: tuple[Accelerator, ...] = ()
    arch: str = "x86_64"
    local_disk_gb: Decimal | None = Decimal(0)
    divisible: bool = False
    labels: FrozenMap[str] | None = None
    """What tasks may ask for by label. None: such machines get a task's labels. Of one part, all types have some or none."""

    @property
    def key(self) -> tuple[str, tuple[Accelerator, ...]]:
        """What an offer names a type by: one name can stand for several combinations with accelerators."""
        return self.name, self.accelerators


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """A type at one place. US dollars per hour for the whole machine; None: unknown."""

    type: tuple[str, tuple[Accelerator, ...]]
    region: str
    zone: str | None
    on_demand: Decimal | None
    spot: Decimal | None = None
    source: str
    as_of: str
    estimated: bool = False
    interruption_rate: Decimal | None = None
    """Expected spot interruptions per node-hour."""
    capacity: int | None = None


def build_part(
    provider: str,
    types: Iterable[TypeRow],
    offers: Iterable[OfferRow],
    rates: Rates,
    *,
    sells_spot: bool,
    as_of: str,
    notes: tuple[str, ...] = (),
    images: Mapping[str, str] | None = None,
    zones: Mapping[str, tuple[str, ...]] | None = None,
    zone_needed: bool = False,
) -> CatalogPart:
    """Columns from rows. Raises ValueError for a row that contradicts another or itself (a price of zero or less included).

    Owned machines may be free: there `sells_spot` is False and a price of 0 is a fact, so zero is refused only for offers
    without a `capacity`.
    """
    kinds = sorted(set(types), key=lambda row: (row.name, _device_key(row.accelerators)))
    index = {row.key: position for position, row in enumerate(kinds)}
    if len(index) != len(kinds):
        raise ValueError(f"{provider}: one machine type is described in two ways")
    rows = sorted(offers, key=lambda row: (row.region, row.zone or "", row.type[0], _device_key(row.type[1])))
    for before, row in pairwise(rows):
        if (before.region, before.zone, before.type) == (row.region, row.zone, row.type):
            raise ValueError(f"{provider}: {row.type[0]} is offered twice in {row.region} {row.zone or ''}")
    for row in rows:
        _check(provider, row)
    places = sorted({(row.region, row.zone or "") for row in rows})
    place_index = {place: position for position, place in enumerate(places)}
    sources = sorted({(row.source, row.as_of) for row in rows})
    source_index = {source: position for position, source in enumerate(sources)}
    table = OfferTable(
        types=_type_table(kinds),
        places=tuple(Place(region=region, zone=zone or None) for region, zone in places),
        type=_column(_OFFER_COLUMNS["type"], (index[row.type] for row in rows)),
        place=_column(_OFFER_COLUMNS["place"], (place_index[row.region, row.zone or ""] for row in rows)),
        on_demand=_column(_OFFER_COLUMNS["on_demand"], (_units(row.on_demand, NANO) for row in rows)),
        spot=_column(_OFFER_COLUMNS["spot"], (_units(row.spot, NANO) for row in rows)),
        source=_column(_OFFER_COLUMNS["source"], (source_index[row.source, row.as_of] for row in rows)),
        estimated=_column(_OFFER_COLUMNS["estimated"], (row.estimated for row in rows)),
        interruptions=_column(
            _OFFER_COLUMNS["interruptions"], (_units(row.interruption_rate, Decimal(10) ** -6) for row in rows)
        ),
        capacity=_column(_OFFER_COLUMNS["capacity"], (UNKNOWN if row.capacity is None else row.capacity for row in rows)),
        sources=tuple(sources),
        sells_spot=sells_spot,
    )
    part = CatalogPart(
        provider=provider,
        offers=table,
        rates=rates,
        digest="",
        as_of=as_of,
        notes=notes,
        images=FrozenMap(images or {}),
        zones=FrozenMap(zones or {}),
        zone_needed=zone_needed,
    )
    return replace(part, digest=hashlib.sha256(encode(part)).hexdigest())


def _check(provider: str, row: OfferRow) -> None:
    for price in (row.on_demand, row.spot):
        if price is not None and (price < 0 or (price == 0 and row.capacity is None)):
            raise ValueError(f"{provider}: {row.type[0]} in {row.region} costs {price}")
    if row.spot is not None and row.on_demand is not None and row.spot > row.on_demand:
        raise ValueError(f"{provider}: {row.type[0]} in {row.region} costs more on spot than on demand")


def _device_key(accelerators: tuple[Accelerator, ...]) -> tuple[tuple[str, Decimal], ...]:
    return tuple((device.name, device.count) for device in accelerators)


def _type_table(kinds: list[TypeRow]) -> TypeTable:
    archs = sorted({row.arch for row in kinds})
    labels = tuple(row.labels for row in kinds if row.labels is not None)
    if len(labels) not in (0, len(kinds)):
        raise ValueError("labels are declared for some machine types and not for others")
    names = sorted({device.name for row in kinds for device in row.accelerators})
    devices = [(position, device) for position, row in enumerate(kinds) for device in row.accelerators]
    return TypeTable(
        names=tuple(row.name for row in kinds),
        cpus=_column(_TYPE_COLUMNS["cpus"], (_units(row.cpus, MILLI) for row in kinds)),
        memory=_column(_TYPE_COLUMNS["memory"], (_units(row.memory_gb, MILLI) for row in kinds)),
        arch=_column(_TYPE_COLUMNS["arch"], (archs.index(row.arch) for row in kinds)),
        local_disk=_column(_TYPE_COLUMNS["local_disk"], (_units(row.local_disk_gb, Decimal(1)) for row in kinds)),
        divisible=_column(_TYPE_COLUMNS["divisible"], (row.divisible for row in kinds)),
        archs=tuple(archs),
        accelerators=tuple(names),
        device_type=_column(_DEVICE_COLUMNS["device_type"], (position for position, _ in devices)),
        device_name=_column(_DEVICE_COLUMNS["device_name"], (names.index(device.name) for _, device in devices)),
        device_count=_column(_DEVICE_COLUMNS["device_count"], (_units(device.count, MILLI) for _, device in devices)),
        device_memory=_column(_DEVICE_COLUMNS["device_memory"], (_units(device.memory_gb, MILLI) for _, device in devices)),
        labels=labels or None,
    )


def _units(value: Decimal | None, unit: Decimal) -> int:
    """`value` in whole units, rounded half-even; UNKNOWN for None."""
    return UNKNOWN if value is None else int((value / unit).to_integral_value())


def _column(kind: str, values: Iterable[int]) -> NDArray[Any]:
    import numpy

    column = numpy.array(list(values), dtype=kind)
    column.setflags(write=False)
    return column


def encode(part: CatalogPart) -> bytes:
    """A part's bytes; its digest is not among them, being made from them."""
    types, offers = part.offers.types, part.offers
    columns: list[bytes] = []
    described: dict[str, object] = {}
    for owner, kinds in ((types, _TYPE_COLUMNS), (types, _DEVICE_COLUMNS), (offers, _OFFER_COLUMNS)):
        for name, kind in kinds.items():
            values = getattr(owner, name)
            if len(values) and (values == values[0]).all():
                described[name] = [len(values), int(values[0])]
            else:
                described[name] = [len(values)]
                columns.append(values.astype(kind, copy=False).tobytes())
    header = {
        "provider": part.provider,
        "as_of": part.as_of,
        "notes": list(part.notes),
        "sells_spot": offers.sells_spot,
        "types": list(types.names),
        "archs": list(types.archs),
        "accelerators": list(types.accelerators),
        "places": [[place.region, place.zone] for place in offers.places],
        "sources": [list(source) for source in offers.sources],
        "rates": _plain_rates(part.rates),
        "columns": described,
        # Most know none, and their files stay as they are.
        **({"images": dict(part.images)} if part.images else {}),
        **({"zones": {region: list(zones) for region, zones in part.zones.items()}} if part.zones else {}),
        **({"zone_needed": True} if part.zone_needed else {}),
    }
    if types.labels is not None:
        # Only where machines are declared: the bytes of all other parts stay what they are.
        header["labels"] = [dict(labels) for labels in types.labels]
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(len(MAGIC) + 8 + len(text)) % 8)
    return b"".join([MAGIC, len(text).to_bytes(8, "little"), text, *columns])


def decode(content: bytes, *, name: str) -> CatalogPart:
    """The part of `content`. `name`: what to call it in a message. Raises SkycError for bytes that are not a whole part."""
    try:
        return _decode(content)
    except (ValueError, KeyError, TypeError, IndexError) as failure:
        raise SkycError(
            error(
                "bad-catalog",
                "A catalog file cannot be read",
                f"{name} is not a catalog that this version of skyc wrote, or it is damaged ({failure}).",
                commands=("skyc catalog refresh",),
            )
        ) from failure


def _decode(content: bytes) -> CatalogPart:
    import numpy

    if not content.startswith(MAGIC):
        raise ValueError("it begins with something else")
    start = len(MAGIC) + 8
    length = int.from_bytes(content[len(MAGIC) : start], "little")
    header = json.loads(content[start : start + length])
    position = start + length
    read: dict[str, NDArray[Any]] = {}
    for kinds in (_TYPE_COLUMNS, _DEVICE_COLUMNS, _OFFER_COLUMNS):
        for name, kind in kinds.items():
            count, *constant = header["columns"][name]
            if constant:
                read[name] = numpy.full(count, constant[0], dtype=kind)
                read[name].setflags(write=False)
            else:
                read[name] = numpy.frombuffer(content, dtype=kind, count=count, offset=position)
                position += read[name].nbytes
    if position != len(content):
        raise ValueError(f"it has {len(content)} bytes and describes {position}")
    types = TypeTable(
        names=tuple(header["types"]),
        archs=tuple(header["archs"]),
        accelerators=tuple(header["accelerators"]),
        labels=tuple(FrozenMap(labels) for labels in header["labels"]) if "labels" in header else None,
        **{name: read[name] for name in (*_TYPE_COLUMNS, *_DEVICE_COLUMNS)},
    )
    offers = OfferTable(
        types=types,
        places=tuple(Place(region=region, zone=zone) for region, zone in header["places"]),
        sources=tuple((source, as_of) for source, as_of in header["sources"]),
        sells_spot=header["sells_spot"],
        **{name: read[name] for name in _OFFER_COLUMNS},
    )
    return CatalogPart(
        provider=header["provider"],
        offers=offers,
        rates=_rates(header["rates"]),
        digest=hashlib.sha256(content).hexdigest(),
        as_of=header["as_of"],
        notes=tuple(header["notes"]),
        images=FrozenMap(header.get("images", {})),
        zones=FrozenMap({region: tuple(zones) for region, zones in dict(header.get("zones", {})).items()}),
        zone_needed=header.get("zone_needed", False),
    )


def read_part(path: Path) -> CatalogPart:
    """A part from its file. Raises SkycError for one that is damaged, OSError for one that cannot be opened."""
    return decode(path.read_bytes(), name=str(path))


def _plain_rates(rates: Rates) -> Any:
    """A field that came later and says nothing is left out, so that a part without it keeps its bytes."""
    found = plain(rates)
    for row in found["addresses"]:
        if row["spot_hourly"] is None:
            del row["spot_hourly"]
    if not found["gateways"]:
        del found["gateways"]
    return found


_GATEWAY_PRICES = ("hourly", "per_gb", "per_machine_hourly", "many_hourly")


def _rates(data: Mapping[str, Any]) -> Rates:
    def steps(rows: list[dict[str, str | None]]) -> tuple[PriceStep, ...]:
        return tuple(PriceStep(above=Decimal(row["above"] or 0), price=_decimal(row["price"])) for row in rows)

    return Rates(
        continents=FrozenMap(data["continents"]),
        transfers=tuple(TransferRule(**{**row, "steps": steps(row["steps"])}) for row in data["transfers"]),
        disks=tuple(
            DiskRate(
                **{
                    **row,
                    "per_gb": _decimal(row["per_gb"]),
                    "ladder": tuple((Decimal(size), Decimal(price)) for size, price in row["ladder"]),
                }
            )
            for row in data["disks"]
        ),
        storages=tuple(StorageRate(**{**row, "steps": steps(row["steps"])}) for row in data["storages"]),
        addresses=tuple(
            AddressRate(**{**row, "hourly": _decimal(row["hourly"]), "spot_hourly": _decimal(row.get("spot_hourly"))})
            for row in data["addresses"]
        ),
        gateways=tuple(
            GatewayRate(**{**row, **{name: _decimal(row[name]) for name in _GATEWAY_PRICES}})
            for row in data.get("gateways", ())
        ),
        disk_gb=_decimal(data["disk_gb"]),
        schemes=tuple(data["schemes"]),
        reachable=data["reachable"],
        reference_region=data["reference_region"],
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def type_rows(part: CatalogPart) -> tuple[TypeRow, ...]:
    """The part's machine types as rows again, for a refresh that keeps what it could not ask for."""
    types = part.offers.types
    return tuple(
        TypeRow(
            name=name,
            cpus=_known(int(types.cpus[row]), MILLI),
            memory_gb=_known(int(types.memory[row]), MILLI),
            accelerators=types.devices(row),
            arch=types.archs[int(types.arch[row])],
            local_disk_gb=_known(int(types.local_disk[row]), Decimal(1)),
            divisible=bool(types.divisible[row]),
            labels=None if types.labels is None else types.labels[row],
        )
        for row, name in enumerate(types.names)
    )


def offer_rows(part: CatalogPart) -> tuple[OfferRow, ...]:
    """The part's offers as rows again."""
    offers = part.offers
    kinds = [row.key for row in type_rows(part)]
    made = []
    for row in range(len(offers.type)):
        place = offers.places[int(offers.place[row])]
        source, as_of = offers.sources[int(offers.source[row])]
        made.append(
            OfferRow(
                type=kinds[int(offers.type[row])],
                region=place.region,
                zone=place.zone,
                on_demand=_known(int(offers.on_demand[row]), NANO),
                spot=_known(int(offers.spot[row]), NANO),
                source=source,
                as_of=as_of,
                estimated=bool(offers.estimated[row]),
                interruption_rate=_known(int(offers.interruptions[row]), Decimal(10) ** -6),
                capacity=None if offers.capacity[row] == UNKNOWN else int(offers.capacity[row]),
            )
        )
    return tuple(made)


def _known(value: int, unit: Decimal) -> Decimal | None:
    return None if value == UNKNOWN else Decimal(decimal_text(value * unit))


__all__ = [
    "OfferRow",
    "TypeRow",
    "build_part",
    "decode",
    "encode",
    "offer_rows",
    "read_part",
    "type_rows",
]
