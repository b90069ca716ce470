"""IBM Cloud's part of the catalog: prices from the public Global Catalog; profiles, zones and images from the VPC API where there is a key.

Protocol: https://cloud.ibm.com/apidocs/resource-catalog/global-catalog (entries of kind `instance.profile`, their plans, a plan's
pricing for one deployment region) and https://cloud.ibm.com/apidocs/vpc (`/instance/profiles`, `/regions/{r}/zones`). Prices of a
profile fail alone: it keeps its old ones. IBM sells spot machines to select
customers, and publishes no price of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import CatalogPart
from ..http import Http, Request, endpoint
from ..refresh import (
    MOST_PAGES,
    Failure,
    Refreshed,
    Settings,
    by_piece,
    failure_of,
    money,
    needed,
    objects,
    part_of,
    wanted,
)
from ..retry import BadAnswer, SourceFailure
from ..snapshot import OfferRow, TypeRow, offer_rows, type_rows
from .vpc import RegionProfiles, region_profiles, token

PROVIDER = "ibm"
CATALOG_URL = "https://globalcatalog.cloud.ibm.com"
SOURCE = "IBM Global Catalog"
PAGE_SIZE = 200


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    before = needed(before, PROVIDER)
    base = endpoint(settings.environ, "SKYC_IBM_CATALOG_URL", CATALOG_URL)
    old = offer_rows(before)
    regions = wanted(settings, (row.region for row in old))
    profiles, failures, gaps = _profiles(settings, regions)
    entries = dict(_entries(settings.http, base))
    types = {row.name: row for answer in reversed(profiles.values()) for row in answer.types}
    types |= {row.name: row for row in type_rows(before)}
    prices, unpriced = by_piece(
        settings,
        PROVIDER,
        entries.keys() & types.keys(),
        lambda name: _prices(settings.http, base, entries[name], types[name], regions),
    )
    offers = _offers(old, regions, profiles, types, prices, settings.today)
    return Refreshed(
        types=tuple(types.values()),
        offers=offers,
        sells_spot=False,
        failures=(*failures, *unpriced),
        gaps=tuple(gaps),
        images=_images(before, profiles),
    )


def _images(before: CatalogPart, profiles: dict[str, RegionProfiles]) -> FrozenMap[str]:
    """The image of each region. One that is still to be had stays: another image is another machine, and a refresh of prices is no
    reason to replace those that run."""
    chosen: dict[str, str | None] = {}
    for region, answer in profiles.items():
        was = before.images.get(region)
        if answer.images:
            chosen[region] = was if was in answer.images else answer.images[0]
    return FrozenMap({region: image for region, image in chosen.items() if image is not None})


def _profiles(settings: Settings, regions: tuple[str, ...]) -> tuple[dict[str, RegionProfiles], tuple[Failure, ...], list[str]]:
    """What the VPC API says by region; nothing without a key."""
    try:
        key = token(settings.http, settings.environ)
    except SourceFailure as failure:
        return {}, (failure_of("IBM token", failure),), []
    if key is None:
        return {}, (), ["Profiles and zones are those of an earlier catalog; set IC_API_KEY to learn of new ones."]
    found, failures = by_piece(
        settings, PROVIDER, regions, lambda region: region_profiles(settings.http, settings.environ, key, region)
    )
    return found, failures, []


def _entries(http: Http, base: str) -> Iterator[tuple[str, str]]:
    """(profile, its id in the catalog)."""
    offset = 0
    for _ in range(MOST_PAGES):
        params = (("q", "kind:instance.profile"), ("_limit", str(PAGE_SIZE)), ("_offset", str(offset)))
        rows = objects(http.json(Request(url=f"{base}/api/v1", params=params)), "resources")
        for row in rows:
            yield part_of(row, "name", str), part_of(row, "id", str)
        if len(rows) < PAGE_SIZE:
            return
        offset += len(rows)
    raise BadAnswer("the pages of the Global Catalog have no end")


def _prices(http: Http, base: str, entry: str, kind: TypeRow, regions: tuple[str, ...]) -> dict[str, Decimal | None]:
    """Region → price of one profile; None where no price document is understood."""
    plans = objects(http.json(Request(url=f"{base}/api/v1/{entry}/plan")), "resources")
    found: dict[str, Decimal | None] = {}
    for region in regions:
        prices = set()
        for plan in plans:
            request = Request(url=f"{base}/api/v1/{part_of(plan, 'id', str)}/pricing", params=(("deployment_region", region),))
            price = _sum(http.json(request), kind)
            if price is not None:
                prices.add(price)
        # Two plans with two prices: nobody can say which one a machine gets.
        found[region] = min(prices) if len(prices) == 1 else None
    return found


def _sum(pricing: object, kind: TypeRow) -> Decimal | None:
    """A machine's hourly price from a pricing document: metrics per CPU, per GB of memory or per machine, added up."""
    total = Decimal(0)
    for metric in objects(pricing, "metrics"):
        unit = str(metric.get("charge_unit_name", "")).upper()
        count = (
            kind.cpus
            if "VCPU" in unit
            else kind.memory_gb
            if "MEMORY" in unit or "RAM" in unit or unit.startswith("GB")
            else Decimal(1)
            if "INSTANCE" in unit
            else None
        )
        price = _us_price(metric)
        if count is None or price is None or "MONTH" in unit:
            return None
        total += price * count
    return total if total > 0 else None


def _us_price(metric: dict[str, Any]) -> Decimal | None:
    per = money(metric.get("charge_unit_quantity", 1)) or Decimal(1)
    for amount in objects(metric, "amounts"):
        if amount.get("country") == "USA" and amount.get("currency") == "USD":
            tiers = objects(amount, "prices")
            if tiers:
                price = money(tiers[0].get("price"))
                return None if price is None else price / per
    return None


def _offers(
    old: tuple[OfferRow, ...],
    regions: tuple[str, ...],
    profiles: dict[str, RegionProfiles],
    types: dict[str, TypeRow],
    prices: dict[str, dict[str, Decimal | None]],
    today: str,
) -> tuple[OfferRow, ...]:
    by_place = {(row.type[0], row.region, row.zone): row for row in old}
    rows = [row for row in old if row.region not in profiles]
    for region, answer in profiles.items():
        for name in {row.name for row in answer.types}:
            for zone in answer.zones:
                was = by_place.get((name, region, zone)) or by_place.get((name, region, None))
                rows.append(
                    replace(was, zone=zone)
                    if was
                    else OfferRow(type=types[name].key, region=region, zone=zone, on_demand=None, source=SOURCE, as_of=today)
                )
    made = []
    for row in rows:
        price = prices.get(row.type[0], {}).get(row.region) if row.region in regions else None
        made.append(row if price is None else replace(row, on_demand=price, source=SOURCE, as_of=today, estimated=False))
    return tuple(made)
