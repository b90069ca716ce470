"""Quotas as the choice sees them: what each candidate uses of each, and how a quota is called.

Contract: pure. What is in use at once is `problem.excesses`' matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import Catalog, Market, Options, Quota, decimal_text
from ..ir.catalog import MILLI
from ..match import quota_amounts

if TYPE_CHECKING:
    from numpy.typing import NDArray


def limits(quotas: tuple[Quota, ...]) -> tuple[int, ...]:
    """What each quota allows, in whole thousandths."""
    return tuple(int(quota.limit / MILLI) for quota in quotas)


def described(quota: Quota) -> str:
    """A quota in words: `96 CPUs in each region of a provider`."""
    what = "CPUs" if quota.accelerator is None else quota.accelerator
    market = "" if quota.market is Market.AUTO else f" ({quota.market.value})"
    where = f"each region of {quota.provider}" if quota.region is None else f"{quota.provider}/{quota.region}"
    return f"{decimal_text(quota.limit)} {what}{market} in {where}"


def uses(options: Options, nodes: int, catalog: Catalog) -> NDArray[Any]:
    """[candidate, quota] → thousandths that a group of `nodes` counts against the quota."""
    import numpy

    used = numpy.zeros((len(options), len(catalog.quotas)), dtype=numpy.int64)
    for number, quota in enumerate(catalog.quotas):
        for index, part in enumerate(catalog.parts):
            if part.provider != quota.provider:
                continue
            rows = numpy.flatnonzero(options.part == index)
            if quota.market is not Market.AUTO:
                rows = rows[options.spot[rows] == (quota.market is Market.SPOT)]
            offers = part.offers
            there = numpy.array([quota.region in (None, place.region) for place in offers.places], dtype=bool)
            rows = rows[there[offers.place[options.row[rows]]]]
            # What nobody knows is not counted.
            amounts = numpy.maximum(quota_amounts(quota, part), 0)
            used[rows, number] = amounts[offers.type[options.row[rows]]] * nodes
    return used
