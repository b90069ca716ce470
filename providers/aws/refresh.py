"""AWS's part of the catalog: the public price list, and EC2's own word on zones, types and spot prices where there is a key.

A region's on-demand prices and what EC2 says fail apart. Without EC2, the zones, types and spot prices of the part before stand,
and on-demand prices are new. Without the price list, a region keeps its rows as they are. Local zones keep theirs always.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ...compiler.ir import Accelerator
from ...compiler.ir.catalog import CatalogPart
from ..http import endpoint
from ..refresh import Failure, MissingCredentials, Refreshed, Settings, accelerator, by_piece, failure_of, money, wanted
from ..retry import SourceFailure
from ..snapshot import OfferRow, TypeRow, offer_rows, type_rows
from .client import Ec2, connect
from .prices import PriceList, price_list
from .quotas import read_quotas

PROVIDER = "aws"
PRICE_LIST_URL = "https://pricing.us-east-1.amazonaws.com"
LIST_SOURCE = "AWS price list"
SPOT_SOURCE = "EC2 spot price history"
_ORDINARY_ZONE = re.compile(r"[a-z0-9]+-az[0-9]+")
GIB = Decimal(1024)

ACCELERATORS = {"RTX PRO Server 6000": "RTXPRO6000", "RTX PRO Server 4500": "RTXPRO4500"}
"""EC2's names that follow nobody else's pattern → the canonical ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Answer:
    """What EC2 says about a region. `spot`: by (type, zone id); None where its history could not be read."""

    zones: frozenset[str]
    types: tuple[TypeRow, ...]
    offered: frozenset[tuple[str, str]]
    spot: dict[tuple[str, str], Decimal] | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionAnswer:
    prices: PriceList
    ec2: Ec2Answer | None
    failures: tuple[Failure, ...]


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    base = endpoint(settings.environ, "SKYC_AWS_PRICE_LIST_URL", PRICE_LIST_URL)
    old = offer_rows(before) if before else ()
    failures: list[Failure] = []
    gaps: list[str] = []
    ec2 = connect(settings.http.schedule)
    enabled: tuple[str, ...] = ()
    if isinstance(ec2, str):
        gaps.append(f"Zones, machine types and spot prices are those of an earlier catalog. {ec2}")
    else:
        try:
            enabled = ec2.regions()
        except SourceFailure as failure:
            failures.append(failure_of("EC2 describe_regions", failure))
    if not old and not enabled:
        raise MissingCredentials(
            "The price list tells no machine types, and there is no AWS catalog to begin with.",
            ec2 if isinstance(ec2, str) else "Check the credentials and their permissions.",
        )
    known = frozenset(row.type[0] for row in old)
    regions = wanted(settings, {*enabled, *(row.region for row in old)})
    answers, unanswered = by_piece(
        settings,
        PROVIDER,
        regions,
        lambda region: _ask(settings, base, region, ec2 if isinstance(ec2, Ec2) and region in enabled else None, known),
    )
    failures.extend(unanswered)
    closed = sorted(set(regions) - set(enabled)) if enabled else []
    if closed:
        gaps.append(f"Regions this account has not enabled keep their zones and spot prices: {', '.join(closed)}.")
    quotas, untold = read_quotas(ec2, set(regions) & set(enabled)) if isinstance(ec2, Ec2) else ((), ())
    if untold:
        # No failure of the catalog's: what is not told is not limited.
        gaps.append(f"Quotas are not known everywhere: {untold[0].where}: {untold[0].reason}.")
    return replace(_combined(settings, before, old, answers, failures, gaps), quotas=quotas, regions=enabled or None)


def _ask(settings: Settings, base: str, region: str, ec2: Ec2 | None, known: frozenset[str]) -> RegionAnswer:
    prices = price_list(settings.http, base, region)
    failures = [
        Failure(where=region, reason=f"{kind} has two prices in the price list; the price before is kept")
        for kind in sorted(prices.contradicted)
    ]
    answer = None
    if ec2 is not None:
        try:
            answer = _ask_ec2(ec2, region, known)
            failures.extend(answer.failures)
        except SourceFailure as failure:
            failures.append(failure_of(region, failure))
    return RegionAnswer(prices=prices, ec2=answer, failures=tuple(failures))


def _ask_ec2(ec2: Ec2, region: str, known: frozenset[str]) -> Ec2Answer:
    """`known`: types that need no description any more."""
    zones = ec2.zones(region)
    offered = {(kind, zone) for kind, zone in ec2.offerings(region) if zone in zones.values()}
    types = tuple(described(row) for row in ec2.types(region, {kind for kind, _ in offered} - known))
    failures: tuple[Failure, ...] = ()
    spot: dict[tuple[str, str], Decimal] | None = {}
    try:
        rows = ec2.spot_prices(region)
    except SourceFailure as failure:
        rows, spot, failures = [], None, (failure_of(region, failure),)
    if spot is not None:
        # The newest row of a type and zone is the price in force; their order is not promised.
        for row in sorted(rows, key=lambda row: str(row.get("Timestamp", ""))):
            price, zone = money(row.get("SpotPrice")), zones.get(str(row.get("AvailabilityZone")))
            if price is not None and zone is not None:
                spot[str(row.get("InstanceType")), zone] = price
    return Ec2Answer(zones=frozenset(zones.values()), types=types, offered=frozenset(offered), spot=spot, failures=failures)


def described(row: dict[str, Any]) -> TypeRow:
    """A machine type from EC2's InstanceTypeInfo. What it does not say is unknown."""
    memory = row.get("MemoryInfo", {}).get("SizeInMiB")
    cpus = row.get("VCpuInfo", {}).get("DefaultVCpus")
    archs = row.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
    disk = row.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)
    return TypeRow(
        name=str(row.get("InstanceType")),
        cpus=None if cpus is None else Decimal(cpus),
        memory_gb=None if memory is None else Decimal(memory) / GIB,
        accelerators=_accelerators(row),
        arch="arm64" if "arm64" in archs else "x86_64",
        # GB to GiB, whole ones.
        local_disk_gb=Decimal(int(Decimal(disk) * 10**9 / 2**30)),
    )


def _accelerators(row: dict[str, Any]) -> tuple[Accelerator, ...]:
    devices = row.get("GpuInfo", {}).get("Gpus", []) or row.get("NeuronInfo", {}).get("NeuronDevices", [])
    devices = devices or row.get("InferenceAcceleratorInfo", {}).get("Accelerators", [])
    found = []
    for device in devices:
        size = device.get("MemoryInfo", {}).get("SizeInMiB")
        memory = None if size is None else Decimal(size) / GIB
        # A slice of a GPU is reported as none of them, with its share beside it.
        share = Decimal(str(device.get("GpuPartitionSize", 1)))
        count = Decimal(device.get("Count", 0)) or (share if share < 1 else Decimal(0))
        name = str(device.get("Name"))
        if count > 0:
            found.append(accelerator(ACCELERATORS.get(name, name), count, memory))
    return tuple(sorted(found, key=lambda device: (device.name, device.count)))


def _combined(
    settings: Settings,
    before: CatalogPart | None,
    old: tuple[OfferRow, ...],
    answers: dict[str, RegionAnswer],
    failures: list[Failure],
    gaps: list[str],
) -> Refreshed:
    known = {row.name: row for row in type_rows(before)} if before else {}
    fresh = {row.name: row for region in reversed(answers) for row in (answers[region].ec2 or _NOTHING).types}
    keys = {name: row.key for name, row in {**fresh, **known}.items()}
    offers = [row for row in old if row.region not in answers]
    by_place = {(row.type[0], row.region, row.zone): row for row in old}
    for region, answer in answers.items():
        failures.extend(answer.failures)
        here = [row for row in old if row.region == region]
        if answer.ec2 is None:
            offers.extend(_repriced(row, answer.prices, settings.today) for row in here)
            continue
        offers.extend(row for row in here if row.zone not in (*answer.ec2.zones, None))
        for kind, zone in answer.ec2.offered:
            if kind in keys:
                row = by_place.get((kind, region, zone)) or by_place.get((kind, region, None))
                offers.append(_offer(keys[kind], region, zone, answer, row, settings.today))
    return Refreshed(
        types=tuple(fresh.values()),
        offers=tuple(offers),
        sells_spot=True,
        failures=tuple(sorted(failures, key=lambda failure: (failure.where, failure.reason))),
        gaps=tuple(gaps),
    )


_NOTHING = Ec2Answer(zones=frozenset(), types=(), offered=frozenset(), spot=None, failures=())


def _offer(
    key: tuple[str, tuple[Accelerator, ...]], region: str, zone: str, answer: RegionAnswer, old: OfferRow | None, today: str
) -> OfferRow:
    assert answer.ec2 is not None
    fresh = OfferRow(
        type=key,
        region=region,
        zone=zone,
        on_demand=None,
        source=f"{LIST_SOURCE}; {SPOT_SOURCE}",
        as_of=today,
        interruption_rate=old.interruption_rate if old else None,
    )
    priced = _on_demand(fresh, old, answer.prices)
    if answer.ec2.spot is not None:
        return replace(priced, spot=answer.ec2.spot.get((key[0], zone)))
    return _with_old_spot(priced, old)


def _repriced(row: OfferRow, prices: PriceList, today: str) -> OfferRow:
    """A row of before with a new on-demand price. A local zone has prices of its own, which this list does not give."""
    if row.zone is not None and not _ORDINARY_ZONE.fullmatch(row.zone):
        return row
    return _with_old_spot(_on_demand(replace(row, as_of=today, estimated=False), row, prices), row)


def _on_demand(row: OfferRow, old: OfferRow | None, prices: PriceList) -> OfferRow:
    if row.type[0] in prices.contradicted and old is not None:
        return replace(row, on_demand=old.on_demand, as_of=old.as_of, estimated=True)
    return replace(row, on_demand=prices.prices.get(row.type[0]))


def _with_old_spot(row: OfferRow, old: OfferRow | None) -> OfferRow:
    """The spot price of before, saying so: its own date stands in the source's name."""
    if old is None or old.spot is None:
        return replace(row, spot=None, source=LIST_SOURCE)
    kept = old.source.partition("; spot: ")[2] or f"{old.source}, {old.as_of}"
    return replace(row, spot=old.spot, source=f"{LIST_SOURCE}; spot: {kept}")
