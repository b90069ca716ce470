"""Rows of the home's database as records, and records as rows."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..compiler.ir import DeploymentId, decimal_text
from .job import JobKind, JobState
from .records import DeploymentRecord, DeploymentState, JobRecord, JournalEntry, RunRecord, RunState


def text_of(moment: datetime) -> str:
    """Of one width, so that text sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_of(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def optional_time(text: str | None) -> datetime | None:
    return None if text is None else time_of(text)


def deployment_record(row: sqlite3.Row) -> DeploymentRecord:
    fields: dict[str, Any] = dict(row)
    fields["state"] = DeploymentState(fields["state"])
    return DeploymentRecord(**{**fields, "created": time_of(row["created"]), "updated": time_of(row["updated"])})


def journal_entry(row: sqlite3.Row) -> JournalEntry:
    fields: dict[str, Any] = dict(row)
    return JournalEntry(**{**fields, "started": time_of(row["started"]), "finished": optional_time(row["finished"])})


def run_record(row: sqlite3.Row) -> RunRecord:
    fields: dict[str, Any] = dict(row)
    fields["state"] = RunState(fields["state"])
    return RunRecord(**{**fields, "created": time_of(row["created"]), "finished": optional_time(row["finished"])})


def run_row(deployment: DeploymentId, run: RunRecord) -> tuple[object, ...]:
    finished = text_of(run.finished) if run.finished else None
    return (deployment, run.task, run.number, run.task_digest, run.state.value, text_of(run.created), finished)


def job_row(deployment: DeploymentId, job: JobRecord) -> tuple[object, ...]:
    times = (text_of(moment) if moment else None for moment in (job.submitted, job.started, job.ended))
    hourly = None if job.hourly is None else decimal_text(job.hourly)
    head = (deployment, job.id, job.kind.value, job.task, job.run, job.attempt, job.state.value)
    return (*head, *times, job.exit_code, job.failed_rank, job.reason, hourly)


def job_record(row: sqlite3.Row) -> JobRecord:
    fields: dict[str, Any] = dict(row)
    del fields["number"]
    fields["kind"] = JobKind(fields["kind"])
    fields["state"] = JobState(fields["state"])
    fields["hourly"] = None if fields["hourly"] is None else Decimal(fields["hourly"])
    fields["submitted"] = time_of(fields["submitted"])
    fields["started"] = optional_time(fields["started"])
    fields["ended"] = optional_time(fields["ended"])
    return JobRecord(**fields)
