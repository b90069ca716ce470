"""Azure's public price list: pages of meters, needing no key.

Protocol: https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices. One machine type has many meters
with the same `armSkuName`: Linux and Windows, Cloud Services, spot, the older "low priority". Only the plain one and its spot
meter count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from ..http import Http, Request, same_origin
from ..refresh import MOST_PAGES, Prices, money, objects
from ..retry import BadAnswer

API_VERSION = "2023-01-01-preview"
OTHER_PRODUCTS = ("Windows", "Cloud Services", "CloudServices", "Dedicated Host")


def region_prices(http: Http, base: str, region: str, today: str) -> dict[str, Prices]:
    """Machine type → prices in one region. Raises SourceFailure."""
    asked = f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armRegionName eq '{region}'"
    request = Request(url=f"{base}/api/retail/prices", params=(("api-version", API_VERSION), ("$filter", asked)))
    found = parse(_meters(http, base, request), region, today)
    if not found:
        raise BadAnswer(f"the price list of {region} holds no machine")
    return found


def _meters(http: Http, base: str, request: Request) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        answer = http.json(request)
        yield from objects(answer, "Items")
        following = answer.get("NextPageLink")
        if not following:
            return
        if not isinstance(following, str) or following in seen or not same_origin(following, base):
            break
        seen.add(following)
        request = Request(url=following)
    raise BadAnswer("the price list's next page is not one of its own")


def parse(meters: Iterable[dict[str, Any]], region: str, today: str) -> dict[str, Prices]:
    """Zero prices are passed over: they occur, and mean that nobody has entered one."""
    newest: dict[tuple[str, bool], tuple[tuple[bool, str], Decimal]] = {}
    for meter in meters:
        read = _read(meter, region)
        if read is None:
            continue
        kind, spot, price = read
        since = str(meter.get("effectiveStartDate", ""))
        if since[:10] > today:
            continue
        # A region can have a second meter for the same thing; the primary one is billed. Then the newest in force, and of
        # two from one day the dearer, so that the order of the pages decides nothing.
        rank = (meter.get("isPrimaryMeterRegion") is not False, since)
        if (kind, spot) not in newest or (rank, price) > newest[kind, spot]:
            newest[kind, spot] = (rank, price)
    kinds = sorted({kind for kind, _ in newest})
    none = ((False, ""), None)
    return {
        kind: Prices(on_demand=newest.get((kind, False), none)[1], spot=newest.get((kind, True), none)[1]) for kind in kinds
    }


def _read(meter: dict[str, Any], region: str) -> tuple[str, bool, Decimal] | None:
    """(machine type, spot, price), or None for another product."""
    kind, name, product = meter.get("armSkuName"), str(meter.get("skuName", "")), str(meter.get("productName", ""))
    wanted = (
        isinstance(kind, str)
        and kind.startswith("Standard_")
        and meter.get("armRegionName") == region
        and meter.get("currencyCode", "USD") == "USD"
        and meter.get("type", "Consumption") == "Consumption"
        and meter.get("unitOfMeasure") == "1 Hour"
        and not any(word in product for word in OTHER_PRODUCTS)
        and not name.endswith("Low Priority")
    )
    price = money(meter.get("retailPrice"))
    if not wanted or price is None or price <= 0:
        return None
    return str(kind), name.endswith(" Spot"), price
