"""Records as rows for a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

from ..compiler.ir import decimal_text
from ..compiler.report import money
from ..runtime.job import JobKind, JobState

if TYPE_CHECKING:
    from ..runtime.offers import Offer
    from ..runtime.records import JobRecord
    from ..runtime.results import NodeStatus

JOB_HEADINGS = ("JOB", "RUN", "STATE", "SUBMITTED (UTC)", "TOOK", "PAID")
NODE_HEADINGS = ("NODE", "GROUP", "RANK", "CPUS", "MEMORY", "ACCELERATORS", "HEALTH")


def job_rows(jobs: Iterable[JobRecord]) -> list[tuple[str, ...]]:
    return [
        (
            job.id,
            "command" if job.kind is JobKind.EXEC else f"{job.run}, attempt {job.attempt}",
            _state(job),
            job.submitted.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            duration(job.seconds),
            "–" if job.ended is None else money(job.paid),
        )
        for job in jobs
    ]


def node_rows(nodes: Iterable[NodeStatus]) -> list[tuple[str, ...]]:
    return [
        (
            node.name,
            node.group,
            str(node.rank),
            f"{node.cpus:g}",
            f"{node.memory_mb / 1024:.1f} GiB",
            ", ".join(f"{name}:{count}" for name, count in node.accelerators.items()) or "–",
            node.health,
        )
        for node in nodes
    ]


OFFER_HEADINGS = ("TARGET", "REGION", "ZONES", "TYPE", "ACCELERATORS", "CPUS", "MEMORY", "ON DEMAND", "SPOT", "DATED")


def offer_rows(offers: Iterable[Offer]) -> list[tuple[str, ...]]:
    """A price that is an estimate has a `~` before it; one that is not known is `?`, and `–` where there is no spot market.

    A date may say more than fits; `--json` has all of it.
    """
    return [
        (
            offer.provider,
            offer.region,
            _zones(offer.zones),
            offer.instance_type,
            ", ".join(f"{device.name}:{decimal_text(device.count)}" for device in offer.accelerators) or "–",
            _amount(offer.cpus),
            f"{_amount(offer.memory_gb)} GiB",
            hourly(offer.on_demand, estimated=offer.estimated),
            hourly(offer.spot, estimated=offer.estimated) if offer.sells_spot else "–",
            offer.as_of.partition(";")[0].partition(" (")[0] or "–",
        )
        for offer in offers
    ]


def hourly(price: Decimal | None, *, estimated: bool = False) -> str:
    """`$3.67`, `$0.0058`, `~$0.10`: at least cents, at most four digits where they hold the price."""
    if price is None:
        return "?"
    short = price.quantize(Decimal("0.0001"))
    text = decimal_text(short or price)
    whole, _, part = text.partition(".")
    return f"{'~' if estimated else ''}${int(whole):,}.{part:0<2}"


def _zones(zones: tuple[str, ...]) -> str:
    return ", ".join(zones) if 0 < len(zones) <= 2 else f"{len(zones)} zones" if zones else "–"


def _amount(value: Decimal | None) -> str:
    return "?" if value is None else decimal_text(value)


def duration(seconds: Decimal | None) -> str:
    """`3.2 s`, `4 min 05 s`, `2 h 03 min`; a dash for what has no end yet."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{decimal_text(seconds.quantize(Decimal('0.1')))} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _state(job: JobRecord) -> str:
    if job.state is JobState.FAILED and job.exit_code is not None:
        rank = f", rank {job.failed_rank}" if job.failed_rank is not None else ""
        return f"failed (exit {job.exit_code}{rank})"
    return job.state.value
