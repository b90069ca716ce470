"""Where groups go, as a difference to where they are, and what lost against it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ..buckets import Bucket
from ..failover import envelope
from ..ir import GroupPlacement, Market, NodeShape, Objective, PlacementPlan, decimal_text
from .model import AlternativeRow, FallbackRow, GroupRow, RejectionRow, Side
from .money import Sum, money, rate, signed, sum_of

TENTH, HUNDREDTH = Decimal("0.1"), Decimal("0.01")
MOST_REJECTIONS = 3
"""Reasons that are listed, the commonest first."""


def group_rows(plan: PlacementPlan | None, before: PlacementPlan | None) -> tuple[GroupRow, ...]:
    """Every group of either plan, those of the new one first, in its order."""
    old = {(item.task, item.group): item for item in before.placements} if before else {}
    rows = [
        GroupRow(
            task=item.task,
            group=item.group,
            before=side(old[item.task, item.group]) if (item.task, item.group) in old else None,
            after=side(item),
            fallbacks=len(envelope(plan, item.task, item.group)) - 1,
        )
        for item in (plan.placements if plan else ())
        if plan is not None
    ]
    here = {(row.task, row.group) for row in rows}
    gone = sorted((key for key in old if key not in here), key=str) if plan else []
    return (
        *rows,
        *(GroupRow(task=key[0], group=key[1], before=side(old[key]), after=None, fallbacks=0) for key in gone),
    )


def side(placed: GroupPlacement) -> Side:
    return Side(
        where=place(placed),
        machine=placed.instance_type,
        shape=shape(placed.shape),
        nodes=placed.num_nodes,
        market=market(placed),
        hourly=per_hour(placed),
        hours=hours_text(placed.hours),
        amount=sum_of(line.amount for line in placed.lines),
    )


def hours_text(hours: Decimal) -> str:
    return f"{decimal_text(hours.quantize(HUNDREDTH))} h"


def per_hour(placed: GroupPlacement) -> Sum:
    """All its nodes, with their disks and addresses."""
    return sum_of(
        None if line.unit_price is None else line.unit_price * placed.units(line) for line in placed.lines if line.unit == "h"
    )


def place(placed: GroupPlacement) -> str:
    return "/".join(dict.fromkeys(part for part in (placed.provider, placed.region, placed.zone) if part))


def market(placed: GroupPlacement) -> str:
    return "spot" if placed.market is Market.SPOT else "on-demand"


def shape(node: NodeShape) -> str:
    parts = [f"{decimal_text(node.cpus)} CPU{'s' if node.cpus != 1 else ''}", f"{decimal_text(node.memory_gb)} GiB"]
    return ", ".join(parts + [f"{decimal_text(device.count)}× {device.name}" for device in node.accelerators])


def proof_line(plan: PlacementPlan | None, *, worst: bool = True) -> str:
    """One line: `best of 1,234 matching offers · worst case $1.20 · ends after 3 h`."""
    if plan is None:
        return ""
    proof = plan.proof
    count = f"{proof.choices:,} matching offers"
    word = "quickest" if plan.objective is Objective.TIME else "best"
    parts = [f"{word} of {count}" if proof.choices != 1 else "the only matching offer"]
    if proof.status != "optimal":
        parts = [f"within {proof.gap * 100:.1f} % of the best of {count}"]
    if worst and plan.worst_case != plan.total:
        parts.append(f"worst case {money(plan.worst_case)}")
    if len(plan.placements) > 1 or plan.transfers:
        parts.append(f"ends after {decimal_text(plan.finish_hours.quantize(TENTH))} h")
    return " · ".join(parts)


def moves(plan: PlacementPlan | None, buckets: tuple[Bucket, ...]) -> tuple[str, ...]:
    """Storages and where they lie, then what data moves."""
    if plan is None:
        return ()
    chosen = {storage.name for storage in plan.storages if storage.chosen}
    places = {storage.name: storage.location for storage in plan.storages if storage.location is not None}
    made = {bucket.storage.name: bucket for bucket in buckets}
    places |= {name: bucket.location for name, bucket in made.items()}
    stored = [
        f"storage {name} at {places[name]}"
        + (" · chosen with the tasks" if name in chosen else "")
        + (_bucket_words(made[name]) if name in made else "")
        for name in sorted(places)
    ]
    moved = sorted(
        f"{move.source} → {move.destination} · {decimal_text(move.gb)} GB · {money(move.line.amount)}"
        for move in plan.transfers
    )
    return (*stored, *moved)


def _bucket_words(bucket: Bucket) -> str:
    """` · new bucket … · $2.30 a month · stays after destroy`."""
    price = f"{money(bucket.monthly)} a month"
    if bucket.monthly is None:
        price = "price unknown" if bucket.gb_month is None else f"${decimal_text(bucket.gb_month)} per GB and month"
    stays = "stays after a destroy" if bucket.storage.persistent else "goes with the deployment"
    gone = "" if bucket.named else " · the file does not name it any more"
    return f" · {bucket.storage.uri} · {price} · {stays}{gone}"


def fallback_rows(plan: PlacementPlan) -> Iterator[FallbackRow]:
    """Group by group, in the order in which they are tried."""
    for placed in plan.placements:
        for item in envelope(plan, placed.task, placed.group)[1:]:
            worst = item.group_worst_hourly
            here = per_hour(item)
            yield FallbackRow(
                task=item.task,
                group=item.group,
                where=str(item.location),
                machine=item.instance_type,
                market=market(item),
                hourly=here.rate,
                worst="" if worst == here.exact else rate(worst),
            )


def alternative_rows(plan: PlacementPlan) -> Iterator[AlternativeRow]:
    """The runners-up, in the optimizer's order: the best first."""
    for item in plan.alternatives:
        total = None if item.extra is None or plan.total is None else plan.total + item.extra
        yield AlternativeRow(
            task=item.placement.task,
            group=item.placement.group,
            where=place(item.placement),
            machine=item.placement.instance_type,
            market=market(item.placement),
            total=money(total),
            extra="" if item.extra is None else signed(item.extra),
            reason=item.reason,
        )


def rejection_rows(plan: PlacementPlan) -> tuple[RejectionRow, ...]:
    """Why other offers were not compared: the commonest reasons, the rest counted in none."""
    rows = [
        RejectionRow(task=item.task, group=item.group, count=item.count, reason=item.reason, detail=item.detail)
        for item in plan.rejections
        if item.count
    ]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.task, row.group, row.reason, row.detail))[:MOST_REJECTIONS])
