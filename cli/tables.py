"""Records as rows for a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

from ..compiler.ir import decimal_text
from ..compiler.report import money
from ..runtime.failover_words import outcome
from ..runtime.job import JobKind, JobState

if TYPE_CHECKING:
    from ..runtime.records import AttemptRecord, JobRecord
    from ..runtime.results import NodeStatus

JOB_HEADINGS = ("JOB", "RUN", "STATE", "SUBMITTED (UTC)", "TOOK", "PAID")
ATTEMPT_HEADINGS = ("TRIED", "WHAT CAME OF IT")
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


def attempt_rows(attempts: Iterable[AttemptRecord]) -> list[tuple[str, ...]]:
    return [(attempt.placement, outcome(attempt)) for attempt in attempts]


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
