"""What a plan costs: per run, while it is up, and what stays. Pure; sums are of exact amounts, rounded when they become text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal

from ..buckets import Bucket
from ..ir import CostLine, PlacementPlan, decimal_text
from .model import CostRow, Costs
from .money import Sum, money, sum_of, unit_price
from .placement import hours_text, side

THOUSANDTH = Decimal("0.001")
_DATE = re.compile(r"\b\d{4}-\d{2}(?:-\d{2})?\b")


def costs_of(
    plan: PlacementPlan | None,
    before: PlacementPlan | None,
    *,
    hours: Decimal,
    buckets: tuple[Bucket, ...],
    ending: bool = False,
) -> Costs:
    staying = [bucket for bucket in buckets if bucket.storage.persistent]
    kept = sum_of(bucket.monthly for bucket in staying)
    if plan is None:
        nothing = Sum()
        return Costs(
            total=nothing,
            before=None,
            worst=nothing,
            hourly=nothing,
            kept=kept,
            keeps=bool(staying),
            hours=f"{decimal_text(hours)} h",
            assumed=False,
            rows=(),
            prices_of="",
            ends=_hourly(before) if ending and before is not None else None,
        )
    total = total_of(plan)
    assumed = any(name.endswith(".hours") for name in plan.notes)
    return Costs(
        total=total,
        before=None if before is None else total_of(before),
        worst=_worst(plan, total),
        hourly=_hourly(plan),
        kept=kept,
        keeps=bool(staying),
        # On the machines chosen: a task may have times of its own for each accelerator.
        hours=hours_text(max((placed.hours for placed in plan.placements), default=hours)),
        assumed=assumed,
        rows=tuple(_rows(plan)),
        prices_of=_dates(plan),
    )


def _hourly(plan: PlacementPlan) -> Sum:
    rates = [side(placed).hourly for placed in plan.placements]
    return Sum(known=sum((rate.known for rate in rates), Decimal(0)), whole=all(rate.whole for rate in rates))


def total_of(plan: PlacementPlan) -> Sum:
    """The plan's own total; where it has none, the sum of what is known."""
    if plan.total is not None:
        return Sum(known=plan.total)
    return Sum(known=sum_of(line.amount for line in plan.lines).known, whole=False)


def _worst(plan: PlacementPlan, total: Sum) -> Sum:
    """No less than the total, which is known to be spent."""
    return Sum(known=total.known, whole=False) if plan.worst_case is None else Sum(known=plan.worst_case)


def _dates(plan: PlacementPlan) -> str:
    """`2026-07-20`, or from the oldest to the newest: `2024-07-01 to 2026-07-20`."""
    found = sorted({date for line in plan.lines for date in _DATE.findall(line.as_of)})
    return " to ".join(dict.fromkeys(found[:1] + found[-1:]))


def _rows(plan: PlacementPlan) -> Iterator[CostRow]:
    """Machines in the plan's order, which is the file's; then storages and transfers by name."""
    several = len(plan.placements) > 1
    for placed in plan.placements:
        of = f"{placed.task}/{placed.group}" if several else ""
        yield from (_row(line, of) for line in placed.lines)
    for storage in sorted(plan.storages, key=lambda storage: storage.name):
        yield from (_row(line, "") for line in storage.lines)
    for transfer in sorted(plan.transfers, key=lambda move: (move.source, move.destination, move.gb)):
        yield _row(transfer.line, f"{transfer.source} → {transfer.destination}")


def _row(line: CostLine, of: str) -> CostRow:
    # A thousandth of a month or an hour is below what anybody reads; the amount is of all digits.
    quantity = line.quantity.quantize(THOUSANDTH, ROUND_HALF_EVEN) or line.quantity
    return CostRow(
        of="" if of == line.label else of,
        kind=line.kind,
        label=line.label,
        quantity=decimal_text(quantity),
        unit=line.unit,
        unit_price=unit_price(line.unit_price, quantity, line.amount),
        amount=money(line.amount),
        source=line.source,
        as_of=line.as_of,
        estimated=line.estimated,
    )
