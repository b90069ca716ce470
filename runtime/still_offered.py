"""Whether what was approved is still on offer, for no more than was approved. Reads the catalog as it is now; pure given that."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from ..compiler.artifact.fingerprint import ceiling
from ..compiler.ir import Accelerator, CatalogPart, GroupPlacement, Market, decimal_text

Key = tuple[str, str, str | None, str, Market, tuple[Accelerator, ...]]


class StillOffered:
    """Asked about many placements: files of many tasks name few machines."""

    def __init__(self, parts: Iterable[CatalogPart]) -> None:
        self._parts = {part.provider: part for part in parts}
        self._known: dict[Key, tuple[bool, Decimal | None]] = {}

    def moved(self, item: GroupPlacement) -> str | None:
        """Why a placement cannot be had any more for what was approved; None when it can."""
        there, now = self._least(item)
        if not there:
            return "the catalog has no such offer any more."
        most = ceiling(item)
        if most is None:
            return None
        if now is None:
            return f"its price is not known any more; {_money(most)} an hour were approved."
        if now <= most:
            return None
        return f"{_money(most)} → {_money(now)} an hour, {percent(most, now)}, for each of {item.num_nodes} machines."

    def _least(self, item: GroupPlacement) -> tuple[bool, Decimal | None]:
        """Whether there is such an offer, and the least it costs an hour in the placement's market; None: nobody says."""
        key = (item.provider, item.region, item.zone, item.instance_type, item.market, item.shape.accelerators)
        if key not in self._known:
            part = self._parts.get(item.provider)
            self._known[key] = (False, None) if part is None else _least(item, part)
        return self._known[key]


def _least(item: GroupPlacement, part: CatalogPart) -> tuple[bool, Decimal | None]:
    import numpy

    table = part.offers
    if item.market is Market.SPOT and not table.sells_spot:
        return False, None
    # A name can stand twice, with other accelerators; a divisible machine is shared out, and has more than a node of it.
    kinds = [
        row
        for row, name in enumerate(table.types.names)
        if name == item.instance_type
        and (bool(table.types.divisible[row]) or table.types.devices(row) == item.shape.accelerators)
    ]
    # An offer of a region whose zones are known may be made in any of them.
    anywhere = item.zone in part.zones.get(item.region, ())
    places = [
        row
        for row, place in enumerate(table.places)
        if place.region == item.region and (item.zone in (None, place.zone) or (place.zone is None and anywhere))
    ]
    (rows,) = numpy.nonzero(numpy.isin(table.type, kinds) & numpy.isin(table.place, places))
    prices = [part.offering(int(row), item.market).hourly for row in rows]
    return bool(prices), min((price for price in prices if price is not None), default=None)


def percent(before: Decimal, now: Decimal) -> str:
    """`+21 %`; what was free has none."""
    return "from nothing" if not before else f"{(now - before) / before * 100:+.0f} %"


def _money(amount: Decimal) -> str:
    """In cents, or in full where it has more digits."""
    text = decimal_text(amount)
    return f"${text}" if len(text.partition(".")[2]) > 2 else f"${amount:.2f}"
