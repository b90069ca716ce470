"""Azure's part of the catalog: the public price list region by region, and ResourceSkus where there is a subscription.

Without a subscription, machine types are those of the part before, and types the price list names beyond them are left out.
Offers are of a region: Azure numbers zones differently in every subscription.
"""

from __future__ import annotations

from dataclasses import replace

from ...compiler.ir.catalog import CatalogPart
from ..http import endpoint
from ..refresh import Failure, Prices, Refreshed, Settings, by_piece, failure_of, needed, wanted
from ..retry import SourceFailure
from ..snapshot import OfferRow, TypeRow, offer_rows, type_rows
from .prices import region_prices
from .skus import machine_types
from .zones import ZONES

PROVIDER = "azure"
PRICES_URL = "https://prices.azure.com"
SOURCE = "Azure Retail Prices"


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    before = needed(before, PROVIDER)
    base = endpoint(settings.environ, "SKYC_AZURE_PRICES_URL", PRICES_URL)
    old = offer_rows(before)
    failures: list[Failure] = []
    types, gaps = _types(settings, before, failures)
    regions = wanted(settings, (row.region for row in old))
    answers, unanswered = by_piece(
        settings, PROVIDER, regions, lambda region: region_prices(settings.http, base, region, settings.today)
    )
    offers = [row for row in old if row.region not in answers]
    strangers: set[str] = set()
    places: dict[tuple[str, str], list[OfferRow]] = {}
    for row in old:
        places.setdefault((row.type[0], row.region), []).append(row)
    for region, prices in answers.items():
        strangers |= prices.keys() - types.keys()
        for kind in prices.keys() & types.keys():
            rows = places.get((kind, region)) or [_new(types[kind], region)]
            offers.extend(_priced(row, prices[kind], settings.today) for row in rows)
    if strangers:
        gaps.append(f"{len(strangers)} machine types of the price list are left out, because nothing here says what they are.")
    return Refreshed(
        types=tuple(types.values()),
        offers=tuple(offers),
        sells_spot=True,
        failures=(*failures, *unanswered),
        gaps=tuple(gaps),
        zones=ZONES,
    )


def _types(settings: Settings, before: CatalogPart, failures: list[Failure]) -> tuple[dict[str, TypeRow], list[str]]:
    known = {row.name: row for row in type_rows(before)}
    try:
        found = machine_types(settings.http, settings.environ)
    except SourceFailure as failure:
        failures.append(failure_of("Azure machine types", failure))
        return known, []
    if found is None:
        return known, [
            "Machine types are those of an earlier catalog; set AZURE_SUBSCRIPTION_ID, AZURE_TENANT_ID, AZURE_CLIENT_ID and "
            "AZURE_CLIENT_SECRET to learn of new ones."
        ]
    rows, nameless = found
    new = nameless - known.keys()
    gaps = [f"{len(new)} new machine types have accelerators of an unknown kind and are left out."] if new else []
    return {row.name: row for row in rows} | known, gaps


def _new(kind: TypeRow, region: str) -> OfferRow:
    return OfferRow(type=kind.key, region=region, zone=None, on_demand=None, source=SOURCE, as_of="")


def _priced(row: OfferRow, prices: Prices, today: str) -> OfferRow:
    return replace(row, on_demand=prices.on_demand, spot=prices.spot, source=SOURCE, as_of=today, estimated=False)
