"""Why nothing fits: the smallest set of requirements that excludes every offer, and the one whose change would help most.

Contract: pure and exact. An offer is excluded by a set of requirements when one of its filters belongs to it, so a set conflicts
exactly when every offer's code meets it; the codes that occur are few, and all sets are tried, smallest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..providers.base import Capability
from .ir import NO_IMAGES, Catalog, ImagePlaces, ResourceRequest
from .ir.catalog import UNKNOWN, dollars
from .ir.restriction import UNRESTRICTED, Restriction
from .match import Filter, Size, codes_of, requirement_field

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """A requirement that alone stands between some offers and the request. cheapest: US dollars per node-hour, None: unknown."""

    rule: Filter
    offers: int
    cheapest: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """smallest: one filter of each requirement of a smallest conflicting set; empty when the request has candidates."""

    smallest: tuple[Filter, ...]
    relaxation: Relaxation | None
    barred: int = 0
    """Offers that only a policy keeps from being candidates."""
    example: tuple[int, int, bool] | None = None
    """The first of these: part, row, whether it is meant as spot."""
    closed: tuple[int, int, bool] | None = None
    """Likewise, the first that only a region keeps out which the account would have to ask for."""


def conflict(
    request: ResourceRequest,
    catalog: Catalog,
    size: Size,
    capabilities: Mapping[str, frozenset[Capability]],
    restriction: Restriction = UNRESTRICTED,
    images: ImagePlaces = NO_IMAGES,
) -> Conflict:
    """What excludes every offer of `catalog`. Ties are broken by the filters' order."""
    import numpy

    fields = _fields(request)
    every: dict[int, int] = {}
    best: dict[str, tuple[int, int]] = {}
    example: tuple[int, int, bool] | None = None
    closed: tuple[int, int, bool] | None = None
    for codes in codes_of(request, catalog, size, capabilities, restriction, images):
        offers = catalog.parts[codes.part].offers
        for spot, values, prices in ((False, codes.on_demand, offers.on_demand), (True, codes.spot, offers.spot)):
            for code, count in zip(*(column.tolist() for column in numpy.unique(values, return_counts=True)), strict=True):
                every[code] = every.get(code, 0) + count
                alone = _only_field(code, fields)
                if example is None and alone == Filter.POLICY.field:
                    example = codes.part, int(numpy.argmax(values == code)), spot
                if closed is None and code == 1 << Filter.CLOSED:
                    closed = codes.part, int(numpy.argmax(values == code)), spot
                if alone is not None:
                    seen, cheapest = best.get(alone, (0, UNKNOWN))
                    best[alone] = (seen + count, _cheaper(cheapest, prices[values == code]))
    barred, _ = best.get(Filter.POLICY.field, (0, UNKNOWN))
    return Conflict(
        smallest=_smallest(every, fields),
        relaxation=_relaxation(best, fields),
        barred=barred,
        example=example,
        closed=closed,
    )


def _fields(request: ResourceRequest) -> dict[str, int]:
    """Field → the bits of all its filters, in the filters' order."""
    fields: dict[str, int] = {}
    for rule in Filter:
        field = requirement_field(rule, request)
        fields[field] = fields.get(field, 0) | 1 << rule
    return fields


def _only_field(code: int, fields: dict[str, int]) -> str | None:
    hit = [field for field, bits in fields.items() if code & bits]
    return hit[0] if len(hit) == 1 else None


def _cheaper(before: int, prices: NDArray[Any]) -> int:
    known = prices[prices != UNKNOWN]
    if not len(known):
        return before
    return int(known.min()) if before == UNKNOWN else min(before, int(known.min()))


def _smallest(codes: dict[int, int], fields: dict[str, int]) -> tuple[Filter, ...]:
    used = [field for field, bits in fields.items() if any(code & bits for code in codes)]
    for length in range(1, len(used) + 1):
        for chosen in combinations(used, length):
            bits = sum(fields[field] for field in chosen)
            if all(code & bits for code in codes):
                return tuple(next(rule for rule in Filter if fields[field] >> rule & 1) for field in chosen)
    return ()


def _relaxation(best: dict[str, tuple[int, int]], fields: dict[str, int]) -> Relaxation | None:
    if not best:
        return None
    order = list(fields)
    field = min(best, key=lambda name: (-best[name][0], order.index(name)))
    offers, cheapest = best[field]
    rule = next(rule for rule in Filter if fields[field] >> rule & 1)
    return Relaxation(rule=rule, offers=offers, cheapest=dollars(cheapest))
