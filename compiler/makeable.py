"""makeable: a choice that can be made is taken before one that is only priced.

Contract: pure. The catalog also has targets that skyc cannot make machines at yet, so that their prices are seen. Such an offer is chosen
where nothing else fits, or where the task names its target; the plan then shows the price, and lowering says what is missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .diagnostics import Diagnostic, Severity
from .ir import CandidateSet, Catalog, GroupPlacement, Options, PlacementPlan, decimal_text
from .ir.catalog import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 3


def only_priced(catalog: Catalog, targets: Collection[str]) -> frozenset[str]:
    """Providers that rent machines out and where none can be made. `targets`: those where they can. Machines of one's own, of which
    there are so many, are passed over for nothing: to rent others beside them would spend money nobody has asked for."""
    return frozenset(
        part.provider for part in catalog.parts if part.provider not in targets and (part.offers.capacity == UNKNOWN).all()
    )


def makeable_alone(found: CandidateSet, priced: Collection[str]) -> CandidateSet:
    """The candidates without those of providers in `priced`; of a group that has no others, all."""
    import numpy

    made = numpy.array([part.provider not in priced for part in found.catalog.parts], dtype=bool)
    return dataclasses.replace(found, options=tuple(_kept(options, made) for options in found.options))


def _kept(options: Options, made: NDArray[Any]) -> Options:
    kept = made[options.part]
    if kept.all() or not kept.any():
        return options
    columns = {name: getattr(options, name)[kept] for name in ("request", "part", "row", "spot", "hourly")}
    return dataclasses.replace(options, **columns)


def better_elsewhere(best: PlacementPlan, made: PlacementPlan, priced: Collection[str]) -> tuple[Diagnostic, ...]:
    """What is passed over when `made` is taken for `best`, the choice over everything; empty when nothing is."""
    instead = {(item.task, item.group): item for item in made.placements}
    pairs = [(item, instead[item.task, item.group]) for item in best.placements if item.provider in priced]
    there = [(item, other) for item, other in pairs if other.provider not in priced]
    if not there:
        return ()
    shown = [f"{_said(item)}, where {_said(other)} is taken." for item, other in there[:SHOWN]]
    more = [f"And {len(there) - SHOWN} more groups."] if len(there) > SHOWN else []
    note = Diagnostic(
        severity=Severity.NOTE,
        slug="better-elsewhere",
        summary="A better place is priced and cannot be made yet",
        detail="\n".join((*shown, *more)),
        hint=f"write `infra: {there[0][0].provider}` to see the whole plan there",
    )
    return (note,)


def _said(item: GroupPlacement) -> str:
    place = "/".join(part for part in (item.provider, item.region, item.zone) if part)
    price = "?" if item.hourly is None else f"${decimal_text(item.hourly)}"
    return f"{place} {item.instance_type} {item.market.value} at {price} per hour"
