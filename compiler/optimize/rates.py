"""What stands beside a machine costs by the hour: disks, public addresses, a site's NAT gateway.

Contract: pure, in Decimal US dollars; None is a price nobody knows. Columns (`costs`) and lines (`lines`) are made of the same rates. A
month has 730 hours, as the providers' own price lists count.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol, TypeVar

from ..ir import Addresses, Catalog, Market, NodeGroup, ResourceRequest, Task
from ..ir.catalog import ANY_REGION, NANO, AddressRate, CatalogPart, DiskRate, GatewayRate

MONTH = Decimal(730)
"""Hours in a month of a price list."""
DEFAULT_TIER = "medium"


class _Regional(Protocol):
    @property
    def region(self) -> str: ...


_Rate = TypeVar("_Rate", bound=_Regional)


def _there(rates: Iterable[_Rate], region: str) -> _Rate | None:
    """A region's own rate, else the one that stands for every region without one."""
    return next((rate for name in (region, ANY_REGION) for rate in rates if rate.region == name), None)


def disk_gb(request: ResourceRequest, part: CatalogPart) -> Decimal:
    """GiB of disk that are charged per node; 0 where machines have their own."""
    return Decimal(0) if part.rates.disk_gb is None else request.disk_gb or part.rates.disk_gb


def disk_hourly(request: ResourceRequest, part: CatalogPart, region: str) -> Decimal | None:
    size = disk_gb(request, part)
    if not size:
        return Decimal(0)
    rate = disk_rate(request, part, region)
    monthly = None if rate is None else disk_monthly(rate, size)
    return None if monthly is None else per_hour(monthly)


def per_hour(monthly: Decimal) -> Decimal:
    """A monthly price per hour, to the nano-dollar: columns and lines then hold the same number."""
    return (monthly / MONTH).quantize(NANO)


def disk_rate(request: ResourceRequest, part: CatalogPart, region: str) -> DiskRate | None:
    tier = request.disk_tier or DEFAULT_TIER
    rates = [rate for rate in part.rates.disks if rate.tier == tier]
    return _there(rates, region)


def disk_monthly(rate: DiskRate, size_gb: Decimal) -> Decimal | None:
    """US dollars per month; None when unknown, or when no disk of the ladder is large enough."""
    if rate.per_gb is not None:
        return rate.per_gb * size_gb
    return next((price for size, price in rate.ladder if size >= size_gb), None)


def address_hourly(part: CatalogPart, region: str, market: Market) -> Decimal | None:
    rate = address_rate(part, region)
    return Decimal(0) if rate is None else rate.at(market)


def address_rate(part: CatalogPart, region: str) -> AddressRate | None:
    """The rate of a public address; None where it costs nothing."""
    return _there(part.rates.addresses, region)


def is_first(task: Task, group: NodeGroup) -> bool:
    """Whether the head is one of its nodes."""
    return group.name == task.groups[0].name


def address_count(task: Task, group: NodeGroup, catalog: Catalog, part: CatalogPart, region: str) -> int:
    """How many of a group's machines have a public address, whether ports are opened or not: SSH comes in through it."""
    found = catalog.public(part.provider, region)
    if found is Addresses.HEAD:
        return 1 if is_first(task, group) else 0
    return group.num_nodes if found is Addresses.ALL else 0


def gateway_rate(task: Task, group: NodeGroup, catalog: Catalog, part: CatalogPart, region: str) -> GatewayRate | None:
    """The rate of the NAT gateway that a task's site makes there; None where it makes none. It is counted with the head's group."""
    alone = task.num_nodes == 1 or not is_first(task, group)
    if alone or catalog.public(part.provider, region) is not Addresses.HEAD or f"{part.provider}/{region}" in catalog.owned:
        return None
    return gateway_price(part, region)


def gateway_price(part: CatalogPart, region: str) -> GatewayRate:
    """What a NAT gateway costs in a region, wherever one is made."""
    return _there(part.rates.gateways, region) or _UNPRICED


_UNPRICED = GatewayRate(region=ANY_REGION, hourly=None, per_gb=None, price_source="no price is known", as_of="")


def gateway_hourly(task: Task, group: NodeGroup, catalog: Catalog, part: CatalogPart, region: str) -> Decimal | None:
    rate = gateway_rate(task, group, catalog, part, region)
    return Decimal(0) if rate is None else rate.of(task.num_nodes - 1)


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; None as soon as one is unknown."""
    result = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        result += amount
    return result
