"""What a drift costs: the catalog's price of what is there now, less that of what was applied. What it does not know has no price."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from ..compiler.diagnostics import SkycError
from ..compiler.drift.rows import Prices
from ..compiler.ir import Accelerator, RateKind, task_of
from ..compiler.ir.catalog import ANY_REGION, CatalogPart, dollars
from ..compiler.optimize.rates import disk_monthly, per_hour
from .applied import AppliedModule
from .buckets import region_of
from .records import SiteRecord
from .session import Session

SPOT = "spot"


def prices_at(session: Session, record: SiteRecord, module: AppliedModule) -> Prices:
    """The prices of a site's target and region. Without a catalog nothing has a price."""
    part: CatalogPart | None
    try:
        part = session.provider(record.provider).catalog(home=session.home)
    except SkycError:
        part = None
    region = region_of(record.site, record.provider)
    spot = any(str(value).lower() == SPOT for resource in module.resources.values() for value in _leaves(resource.arguments))

    devices = _devices(session, record)

    def price(kind: RateKind, before: str | None, after: str | None, attributes: Any) -> Decimal | None:
        if part is None or before is None or after is None:
            return None
        try:
            old, new = json.loads(before), json.loads(after)
            match kind:
                case RateKind.MACHINE:
                    sides = [machine_hourly(part, region, str(value), spot=spot, devices=devices) for value in (old, new)]
                case RateKind.DISK:
                    sides = [_disk_hourly(part, region, Decimal(str(value)), attributes) for value in (old, new)]
        except (ValueError, InvalidOperation):
            return None
        return None if sides[0] is None or sides[1] is None else sides[1] - sides[0]

    return price


def machine_hourly(
    part: CatalogPart, region: str, name: str, *, spot: bool, devices: frozenset[tuple[Accelerator, ...]] = frozenset()
) -> Decimal | None:
    """The least price of a machine type in a region; None where nobody has said it. devices: the accelerators that the site's machines were
    placed with. A name can stand for machines with others, as where they are attached: then it is the one with the same, if that is one."""
    offers = part.offers
    kinds = {row: offers.types.devices(row) for row, known in enumerate(offers.types.names) if known == name}
    if len(set(kinds.values())) > 1:
        same = devices & set(kinds.values())
        kinds = {row: found for row, found in kinds.items() if {found} == same}
    rows = set(kinds)
    column = offers.spot if spot else offers.on_demand
    found = [
        dollars(int(column[row]))
        for row in range(len(offers.type))
        if int(offers.type[row]) in rows and offers.places[int(offers.place[row])].region == region
    ]
    return min((price for price in found if price is not None), default=None)


def _devices(session: Session, record: SiteRecord) -> frozenset[tuple[Accelerator, ...]]:
    plan = session.store.placement(record.deployment)
    task = task_of(record.site)
    return frozenset(item.shape.accelerators for item in (plan.placements if plan is not None else ()) if item.task == task)


def _disk_hourly(part: CatalogPart, region: str, size: Decimal, attributes: Any) -> Decimal | None:
    """By the rate whose disk type is named among the resource's attributes."""
    words = {str(value) for value in _leaves(attributes)}
    rates = [rate for rate in part.rates.disks if rate.name in words]
    rate = next((rate for place in (region, ANY_REGION) for rate in rates if rate.region == place), None)
    monthly = None if rate is None else disk_monthly(rate, size)
    return None if monthly is None else per_hour(monthly)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value
