"""Google Cloud's part of the catalog: new prices for the machine types and places of the part before.

The Cloud Billing Catalog names prices of parts and no machine types, so places and types stand as they are, and a type whose
parts cannot all be priced keeps its old price and date. TPUs keep theirs always.
"""

from __future__ import annotations

from typing import Any

from ...compiler.ir import Secret
from ...compiler.ir.catalog import CatalogPart
from ..http import Request, endpoint
from ..refresh import MOST_PAGES, Refreshed, Repricing, Settings, needed, objects, wanted
from ..retry import BadAnswer
from ..snapshot import offer_rows, type_rows
from .credentials import headers
from .prices import machine_price, part_prices
from .zones import ZONES, is_zone

PROVIDER = "gcp"
BILLING_URL = "https://cloudbilling.googleapis.com"
COMPUTE_ENGINE = "6F81-5844-456A"
"""The service id of Compute Engine in the Billing Catalog."""
PAGE_SIZE = "5000"
SOURCE = "Cloud Billing Catalog"


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    before = needed(before, PROVIDER)
    base = endpoint(settings.environ, "SKYC_GCP_BILLING_URL", BILLING_URL)
    # An older skyc knew zones that there are not.
    old = tuple(row for row in offer_rows(before) if row.zone is None or is_zone(row.region, row.zone))
    regions = frozenset(wanted(settings, (row.region for row in old)))
    prices = part_prices(_skus(settings, base, headers(settings.environ, settings.http)))
    types = {row.key: row for row in type_rows(before)}
    made = Repricing(source=SOURCE, today=settings.today)
    unknown: set[str] = set()
    for row in old:
        price = machine_price(types[row.type], row.region, prices) if row.region in regions else None
        if price is None:
            made.keep(row)
            if row.region in regions:
                unknown.add(row.type[0].split("-")[0])
        else:
            made.price(row, price)
    if all(row.source != SOURCE or row.as_of != settings.today for row in made.rows):
        raise BadAnswer("the Cloud Billing Catalog prices none of the machine types known here")
    gaps = [f"Families with types that the price list does not price keep older prices: {', '.join(sorted(unknown))}."]
    return Refreshed(
        types=tuple(types.values()),
        offers=tuple(made.rows),
        sells_spot=True,
        gaps=tuple(gaps if unknown else ()),
        zones=ZONES,
        zone_needed=True,
    )


def _skus(settings: Settings, base: str, auth: dict[str, tuple[str, Secret]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    seen: set[str] = set()
    for page in range(1, MOST_PAGES):
        settings.tell(PROVIDER, page - 1, page, f"page {page} of the price list")
        params = (("currencyCode", "USD"), ("pageSize", PAGE_SIZE), *((("pageToken", token),) if token else ()))
        answer = settings.http.json(
            Request(url=f"{base}/v1/services/{COMPUTE_ENGINE}/skus", params=params, secret_headers=auth)
        )
        found.extend(objects(answer, "skus"))
        token = answer.get("nextPageToken") or ""
        if not isinstance(token, str) or token in seen:
            break
        if not token:
            settings.tell(PROVIDER, page, page, "price list read")
            return found
        seen.add(token)
    raise BadAnswer("the pages of the Cloud Billing Catalog have no end")
