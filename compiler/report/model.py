"""What a reviewer needs to know, gathered once and rendered by every format.

Contract: pure. Everything is sorted, money is rounded once (half-even, to cents) and never summed after rounding, and nothing
here knows the time of day, so equal changes give equal bytes. An unknown price is `?` and makes every total that holds it
read "at least".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from ..buckets import Bucket
from ..failover import envelope
from ..ir import (
    Action,
    ChangeSet,
    CostLine,
    Fingerprints,
    GroupPlacement,
    JobPlan,
    Market,
    Objective,
    PlacementPlan,
    PolicyResult,
    ResourceChange,
    decimal_text,
)

CENT = Decimal("0.01")
TENTH = Decimal("0.1")
SYMBOLS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.DELETE: "-",
    Action.REPLACE: "-/+",
    Action.CREATE_BEFORE_DESTROY: "+/-",
    Action.FORGET: "x",
    Action.READ: "<=",
    Action.NO_OP: " ",
}
RISK_ORDER = (
    Action.DELETE,
    Action.REPLACE,
    Action.CREATE_BEFORE_DESTROY,
    Action.FORGET,
    Action.CREATE,
    Action.UPDATE,
    Action.READ,
)
"""Destroys first: what a reader must not miss stands on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRow:
    task: str
    group: str
    where: str
    machine: str
    nodes: int
    market: str
    hourly: str
    fallbacks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackRow:
    """`hourly`: of all nodes of the group together; `worst`: the most that can become, where it is another amount."""

    task: str
    group: str
    where: str
    machine: str
    market: str
    hourly: str
    worst: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    label: str
    quantity: str
    unit_price: str
    amount: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    add: int
    change: int
    destroy: int

    def __str__(self) -> str:
        return f"{self.add} to add · {self.change} to change · {self.destroy} to destroy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole report, ready for a renderer."""

    deployment: str
    destroying: bool
    total: str
    hourly: str
    hours: str
    counts: Counts
    compared: bool
    """False: there was no state to compare with, so nothing is called new or old."""
    cautions: tuple[str, ...]
    proof: str
    """What is known about the placement: that it is the best, of how many, the worst case, when it ends."""
    placements: tuple[PlacementRow, ...]
    moves: tuple[str, ...]
    """Storages with a place, what keeping them costs and whether they stay, and data that moves."""
    kept: tuple[str, ...]
    """What a destroy leaves, and what keeping it costs."""
    notes: tuple[str, ...]
    costs: tuple[CostRow, ...]
    alternatives: tuple[str, ...]
    fallbacks: tuple[FallbackRow, ...]
    """What is tried, in this order, where there is no capacity: approved with the plan."""
    jobs: tuple[JobPlan, ...]
    changes: tuple[ResourceChange, ...]
    drift: tuple[ResourceChange, ...]
    engine: str
    catalog_digest: str


def build(
    *,
    deployment: str,
    placement: PlacementPlan | None,
    changes: tuple[ChangeSet, ...],
    jobs: tuple[JobPlan, ...],
    hours: Decimal,
    destroying: bool = False,
    buckets: tuple[Bucket, ...] = (),
    kept: tuple[str, ...] = (),
    before: PlacementPlan | None = None,
    policies: tuple[PolicyResult, ...] = (),
    fingerprints: Fingerprints | None = None,
) -> Report:
    """Gather a report. `placement` None: nothing is placed (a destroy). buckets: what is made for Storages. kept: what a destroy
    leaves, in words."""
    placed = placement.placements if placement else ()
    everything = sorted(
        (change for site in changes for change in site.changes if change.action in RISK_ORDER),
        key=lambda change: (RISK_ORDER.index(change.action), change.address),
    )
    assumed = any(name.endswith(".hours") for name in placement.notes) if placement else False
    engines = sorted({f"{site.engine} {site.engine_version}" for site in changes})
    return Report(
        deployment=deployment,
        destroying=destroying,
        total=money(placement.total) if placement else "$0.00",
        hourly=money(_total(p.hourly if p.hourly is None else p.hourly * p.num_nodes for p in placed)),
        hours=f"{decimal_text(hours)} h" + (" assumed" if assumed else ""),
        counts=_counts(everything),
        compared=bool(changes),
        cautions=_cautions(everything),
        proof=proof_line(placement),
        placements=tuple(_placement_row(p, placement) for p in placed),
        moves=_moves(placement, buckets),
        kept=kept,
        notes=tuple(f"{name}: {text}" for name, text in placement.notes.items() if not name.endswith(".hours"))
        if placement
        else (),
        costs=tuple(_cost_row(line) for line in placement.lines) if placement else (),
        alternatives=_alternatives(placement),
        fallbacks=tuple(_fallback_rows(placement)) if placement else (),
        jobs=jobs,
        changes=tuple(everything),
        drift=tuple(sorted((d for site in changes for d in site.drift), key=lambda d: d.address)),
        engine=", ".join(engines),
        catalog_digest=placement.catalog_digest[:12] if placement else "",
    )


def proof_line(plan: PlacementPlan | None) -> str:
    """One line: `best of 1,234 matching offers · worst case $1.20 · ends after 3 h`."""
    if plan is None:
        return ""
    proof = plan.proof
    count = f"{proof.choices:,} matching offers"
    word = "quickest" if plan.objective is Objective.TIME else "best"
    parts = [f"{word} of {count}" if proof.choices != 1 else "the only matching offer"]
    if proof.status != "optimal":
        parts = [f"within {proof.gap * 100:.1f} % of the best of {count}"]
    if plan.worst_case != plan.total:
        parts.append(f"worst case {money(plan.worst_case)}")
    if len(plan.placements) > 1 or plan.transfers:
        parts.append(f"ends after {decimal_text(plan.finish_hours.quantize(TENTH))} h")
    return " · ".join(parts)


def _moves(plan: PlacementPlan | None, buckets: tuple[Bucket, ...]) -> tuple[str, ...]:
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
    moved = [
        f"{move.source} → {move.destination} · {decimal_text(move.gb)} GB · {money(move.line.amount)}"
        for move in plan.transfers
    ]
    return (*stored, *moved)


def _bucket_words(bucket: Bucket) -> str:
    """` · new bucket … · $2.30 a month · stays after destroy`."""
    price = f"{money(bucket.monthly)} a month"
    if bucket.monthly is None:
        price = "price unknown" if bucket.gb_month is None else f"${decimal_text(bucket.gb_month)} per GB and month"
    stays = "stays after a destroy" if bucket.storage.persistent else "goes with the deployment"
    gone = "" if bucket.named else " · the file does not name it any more"
    return f" · {bucket.storage.uri} · {price} · {stays}{gone}"


def money(amount: Decimal | None) -> str:
    """`$1,234.50`, `$0.0041` below a cent, or `?` for a price nobody knows."""
    if amount is None:
        return "?"
    # What is not nothing never reads as nothing.
    step = CENT if amount == 0 or abs(amount) >= CENT else Decimal(10) ** (amount.adjusted() - 1)
    return f"${amount.quantize(step, ROUND_HALF_EVEN):,f}"


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _counts(changes: Iterable[ResourceChange]) -> Counts:
    add = change = destroy = 0
    for item in changes:
        replaced = item.action in (Action.REPLACE, Action.CREATE_BEFORE_DESTROY)
        add += replaced or item.action is Action.CREATE
        destroy += replaced or item.action is Action.DELETE
        change += item.action is Action.UPDATE
    return Counts(add=add, change=change, destroy=destroy)


def _cautions(changes: Iterable[ResourceChange]) -> tuple[str, ...]:
    said = []
    for change in changes:
        if change.action is Action.DELETE:
            said.append(f"destroys {change.address}")
        elif change.action in (Action.REPLACE, Action.CREATE_BEFORE_DESTROY):
            forced = [a for a in change.attributes if a.forces_replacement]
            why = ", ".join(
                f"{a.path} was {a.before}" if a.after is None else f"{a.path} {a.before} → {a.after}" for a in forced
            )
            said.append(f"replaces {change.address}" + (f" ({why})" if why else ""))
    return tuple(said)


def _placement_row(placed: GroupPlacement, plan: PlacementPlan | None) -> PlacementRow:
    shape = placed.shape
    parts = [f"{decimal_text(shape.cpus)} CPU{'s' if shape.cpus != 1 else ''}", f"{decimal_text(shape.memory_gb)} GiB"]
    parts += [f"{decimal_text(a.count)}× {a.name}" for a in shape.accelerators]
    fallbacks = envelope(plan, placed.task, placed.group)[1:] if plan else ()
    return PlacementRow(
        task=placed.task,
        group=placed.group,
        where="/".join(dict.fromkeys(part for part in (placed.provider, placed.region, placed.zone) if part)),
        machine=f"{placed.instance_type} ({', '.join(parts)} each)",
        nodes=placed.num_nodes,
        market="spot" if placed.market is Market.SPOT else "on-demand",
        hourly=money(placed.hourly),
        fallbacks=len(fallbacks),
    )


def _fallback_rows(plan: PlacementPlan) -> Iterator[FallbackRow]:
    for placed in plan.placements:
        for item in envelope(plan, placed.task, placed.group)[1:]:
            hourly, worst = (None if price is None else price * item.num_nodes for price in (item.hourly, item.worst_hourly))
            yield FallbackRow(
                task=item.task,
                group=item.group,
                where=str(item.location),
                machine=item.instance_type,
                market="spot" if item.market is Market.SPOT else "on-demand",
                hourly=money(hourly),
                worst="" if worst == hourly else money(worst),
            )


def _cost_row(line: CostLine) -> CostRow:
    return CostRow(
        label=line.label,
        quantity=f"{decimal_text(line.quantity)} {line.unit}",
        unit_price=money(line.unit_price),
        amount=money(line.amount),
        source=(f"{line.source}, {line.as_of}" if line.as_of else line.source) + (" (estimate)" if line.estimated else ""),
    )


def _alternatives(plan: PlacementPlan | None) -> tuple[str, ...]:
    if plan is None:
        return ()
    return tuple(
        f"{a.placement.provider}/{a.placement.region} {a.placement.instance_type}: "
        + (a.reason if a.extra is None else f"{money(abs(a.extra))} {'less' if a.extra < 0 else 'more'}, {a.reason}")
        for a in plan.alternatives
    )
