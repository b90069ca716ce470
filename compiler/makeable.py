"""makeable: a choice that can be made is taken before one that is only priced.

Contract: pure. The catalog also has targets that skyc cannot make machines at yet, so that their prices are seen. Such an offer is chosen
where nothing else fits, or where the task names its target; the plan then shows the price, and lowering says what is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .diagnostics import Diagnostic, Severity
from .ir import Catalog, GroupPlacement, decimal_text
from .ir.catalog import UNKNOWN

SHOWN = 3


def only_priced(catalog: Catalog, targets: Collection[str]) -> frozenset[str]:
    """Providers that rent machines out and where none can be made. `targets`: those where they can. Machines of one's own, of which
    there are so many, are passed over for nothing: to rent others beside them would spend money nobody has asked for."""
    return frozenset(
        part.provider for part in catalog.parts if part.provider not in targets and (part.offers.capacity == UNKNOWN).all()
    )


def better_elsewhere(passed_over: Sequence[tuple[GroupPlacement, GroupPlacement]]) -> tuple[Diagnostic, ...]:
    """A note of what is cheaper and was not taken, each with what was taken for it; nothing of nothing."""
    if not passed_over:
        return ()
    shown = [f"{said_of(cheaper)}, where {said_of(taken)} is taken." for cheaper, taken in passed_over[:SHOWN]]
    more = [f"And {len(passed_over) - SHOWN} more groups."] if len(passed_over) > SHOWN else []
    note = Diagnostic(
        severity=Severity.NOTE,
        slug="better-elsewhere",
        summary="A better place is priced and cannot be made yet",
        detail="\n".join((*shown, *more)),
        hint=f"write `infra: {passed_over[0][0].provider}` to see the whole plan there",
    )
    return (note,)


def said_of(item: GroupPlacement) -> str:
    """A placement with its price, for a sentence."""
    place = "/".join(part for part in (item.provider, item.region, item.zone) if part)
    price = "?" if item.hourly is None else f"${decimal_text(item.hourly)}"
    return f"{place} {item.instance_type} {item.market.value} at {price} per hour"
