"""AWS's public price list: one CSV of EC2 per region, hundreds of megabytes, read as it arrives and needing no key.

Protocol: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html (bulk API). Five lines of metadata,
then a header and one row per SKU and term. A machine's price is the row of a plain Linux machine on shared hardware that is not
part of a reservation; everything else of the type (Windows, licences, dedicated hosts, capacity blocks) is another product.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from ..http import Http, Request
from ..refresh import money
from ..retry import BadAnswer

METADATA_LINES = 5
PLAIN = {
    "TermType": ("OnDemand",),
    "Unit": ("Hrs",),
    "Currency": ("USD",),
    "Location Type": ("AWS Region",),
    "Operating System": ("Linux",),
    "Pre Installed S/W": ("", "NA"),
    "CapacityStatus": ("Used",),
    "Tenancy": ("Shared",),
}
"""Column → what it holds in the rows that count. Local zones have rows of their own with other prices; they are left out."""
ORDINARY_MARKET = ("", "OnDemand")
"""`MarketOption`, a column older lists lack; the other market is capacity blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """US dollars per hour by instance type. `contradicted`: types with two prices."""

    prices: dict[str, Decimal]
    contradicted: frozenset[str]


def price_list(http: Http, base: str, region: str) -> PriceList:
    """On-demand prices of one region. Raises SourceFailure."""
    request = Request(url=f"{base}/offers/v1.0/aws/AmazonEC2/current/{region}/index.csv")
    return http.lines(request, lambda lines: parse(lines, region))


def parse(lines: Iterator[str], region: str) -> PriceList:
    """Raises BadAnswer for a list that lacks a column or holds no price."""
    rows = csv.reader(islice(lines, METADATA_LINES, None))
    try:
        header = next(rows, [])
        column = {name: position for position, name in enumerate(header)}
        missing = sorted({*PLAIN, "Instance Type", "PricePerUnit"} - column.keys())
        if missing:
            raise BadAnswer(f"the price list of {region} has no column {', '.join(missing)}")
        found = _prices(rows, column, len(header), region)
    except csv.Error as failure:
        raise BadAnswer(f"the price list of {region} is not the documented CSV") from failure
    if not found:
        raise BadAnswer(f"the price list of {region} holds no price of a Linux machine")
    return PriceList(
        prices={kind: min(prices) for kind, prices in sorted(found.items()) if len(prices) == 1},
        contradicted=frozenset(kind for kind, prices in found.items() if len(prices) > 1),
    )


def _prices(rows: Iterator[list[str]], column: dict[str, int], width: int, region: str) -> dict[str, set[Decimal]]:
    tests = tuple((column[name], allowed) for name, allowed in PLAIN.items())
    kind_at, price_at, market_at = column["Instance Type"], column["PricePerUnit"], column.get("MarketOption")
    found: dict[str, set[Decimal]] = {}
    for row in rows:
        if len(row) != width:
            raise BadAnswer(f"a row of the price list of {region} has {len(row)} fields instead of {width}")
        if any(row[position] not in allowed for position, allowed in tests):
            continue
        if market_at is not None and row[market_at] not in ORDINARY_MARKET:
            continue
        price = money(row[price_at])
        # Zero stands for what is billed elsewhere (a host, a reservation), not for a free machine.
        if row[kind_at] and price is not None and price > 0:
            found.setdefault(row[kind_at], set()).add(price)
    return found
