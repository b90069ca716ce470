"""What skyc remembers between commands: deployments, sites, runs, jobs, the journal and events, in one SQLite file.

Contract
- Every method is one transaction. When it returns, its effect survives a crash of the machine (WAL, `synchronous=FULL`).
- Many processes may use one home at once: a writer waits for the others (`BUSY_SECONDS`), it does not fail.
- A home that cannot be written, a full disk, a damaged file and a file of a newer skyc are `SkycError`s that say what to do.
- Only the clock given as `now` is read.

Terraform states are not in here: they lie beside it, in the directory of each site. This file can be lost without losing them.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import DeploymentId, SiteId, TaskId, decimal_text
from .job import JobId, JobKind, JobState, JobStatus
from .records import (
    DeploymentRecord,
    DeploymentState,
    EventRecord,
    JobRecord,
    JournalEntry,
    RunRecord,
    RunState,
    SiteRecord,
    StateMemory,
)
from .state_attempts import Attempts
from .state_failures import cannot_use_home, newer_file, not_private, sqlite_failure
from .state_plans import Plans
from .state_rows import deployment_record, job_record, job_row, journal_entry, run_record, run_row, text_of, time_of
from .state_schema import MIGRATIONS

FILE_NAME = "state.db"
BUSY_SECONDS = 60.0
"""How long a writer waits for other writers. One write takes milliseconds, so this many seconds mean a stopped process."""

_DEPLOYMENT_ID = re.compile(r"[a-z][a-z0-9-]{0,38}")


def utc_now() -> datetime:
    return datetime.now(UTC)


def home_directory(given: Path | str | None = None, *, environ: Mapping[str, str] = os.environ) -> Path:
    """SKYC_HOME as an absolute path: the one given, else the variable, else `~/.skyc`. Nothing is created."""
    chosen = given or environ.get("SKYC_HOME") or "~/.skyc"
    return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - resolve() would follow a link the user chose


def deployment_id(text: str) -> DeploymentId:
    """`text` as a deployment's name. Raises SkycError (`bad-deployment-name`), so it is safe as part of a path."""
    if not _DEPLOYMENT_ID.fullmatch(text):
        raise SkycError(
            error(
                "bad-deployment-name",
                "This is not the name of a deployment.",
                f"{text!r} cannot be one: a name begins with a lower-case letter, holds lower-case letters, digits and "
                "hyphens, and is at most 39 characters long.",
                commands=("skyc status",),
            )
        )
    return DeploymentId(text)


def deployment_directory(home: Path, deployment: DeploymentId) -> Path:
    """Where everything of a deployment lies: its lock, its sites, its logs."""
    return home / "deployments" / deployment_id(deployment)


def prepare_home(home: Path) -> None:
    """Make `home`, readable by its owner alone. Raises SkycError when it cannot be made or others may write in it."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            # A directory that is ours is closed; one that holds other things is the user's to judge.
            if (home / FILE_NAME).exists() or not any(home.iterdir()):
                home.chmod(0o700)
            elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise SkycError(not_private(home))
    except OSError as failure:
        raise SkycError(cannot_use_home(home, failure)) from failure


class StateStore(Attempts, Plans):
    """The state of one home. A context manager; may be shared by threads, but not carried across a fork."""

    def __init__(self, home: Path, *, now: Callable[[], datetime] = utc_now) -> None:
        self._home = home
        self._path = home / FILE_NAME
        self._now = now
        self._mutex = threading.RLock()
        prepare_home(home)
        with self._explained():
            self._connection = self._open()

    def __enter__(self) -> StateStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        with self._mutex, suppress(sqlite3.OperationalError):
            # Closing folds the log back into the file; where that cannot be done (full disk) the next opener does it.
            self._connection.close()

    # Deployments and their sites

    def save_deployment(
        self, deployment: DeploymentId, *, spec_path: str, spec_digest: str, plan_digest: str, state: DeploymentState
    ) -> DeploymentRecord:
        """Make or renew a deployment's record. `created` is when it was first saved."""
        moment = text_of(self._now())
        with self._write() as db:
            db.execute(
                "INSERT INTO deployments (id, spec_path, spec_digest, plan_digest, state, created, updated)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET spec_path = excluded.spec_path,"
                " spec_digest = excluded.spec_digest, plan_digest = excluded.plan_digest, state = excluded.state,"
                " updated = excluded.updated",
                (deployment_id(deployment), spec_path, spec_digest, plan_digest, state.value, moment, moment),
            )
            return deployment_record(self._one("SELECT * FROM deployments WHERE id = ?", deployment))

    def set_deployment_state(self, deployment: DeploymentId, state: DeploymentState) -> None:
        """Raises KeyError for a deployment that was never saved."""
        with self._write() as db:
            done = db.execute(
                "UPDATE deployments SET state = ?, updated = ? WHERE id = ?", (state.value, text_of(self._now()), deployment)
            )
            if not done.rowcount:
                raise KeyError(deployment)

    def deployment(self, deployment: DeploymentId) -> DeploymentRecord | None:
        rows = self._read("SELECT * FROM deployments WHERE id = ?", deployment)
        return deployment_record(rows[0]) if rows else None

    def deployments(self) -> tuple[DeploymentRecord, ...]:
        """All of them, the destroyed ones too, by name."""
        return tuple(deployment_record(row) for row in self._read("SELECT * FROM deployments ORDER BY id"))

    def forget_deployment(self, deployment: DeploymentId) -> None:
        """Remove everything about a deployment except its events."""
        with self._write() as db:
            db.execute("DELETE FROM deployments WHERE id = ?", (deployment,))

    def save_site(self, site: SiteRecord) -> None:
        with self._write() as db:
            db.execute(
                "INSERT INTO sites (deployment, site, provider, directory, graph_digest) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (deployment, site) DO UPDATE SET provider = excluded.provider,"
                " directory = excluded.directory, graph_digest = excluded.graph_digest",
                (site.deployment, site.site, site.provider, site.directory, site.graph_digest),
            )

    def sites(self, deployment: DeploymentId) -> tuple[SiteRecord, ...]:
        """In the order of their names."""
        rows = self._read("SELECT * FROM sites WHERE deployment = ? ORDER BY site", deployment)
        return tuple(SiteRecord(**dict(row)) for row in rows)

    def remove_site(self, deployment: DeploymentId, site: SiteId) -> None:
        """Forget a site whose resources are gone, with what was remembered of its state."""
        with self._write() as db:
            db.execute("DELETE FROM sites WHERE deployment = ? AND site = ?", (deployment, site))

    # Memory of Terraform states (DESIGN D14)

    def remember(self, deployment: DeploymentId, site: SiteId, memory: StateMemory) -> None:
        """What the state of a saved site looks like now."""
        with self._write() as db:
            db.execute(
                "INSERT INTO memory (deployment, site, lineage, serial, sha256, resources) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (deployment, site) DO UPDATE SET lineage = excluded.lineage, serial = excluded.serial,"
                " sha256 = excluded.sha256, resources = excluded.resources",
                (deployment, site, memory.lineage, memory.serial, memory.sha256, memory.resources),
            )

    def recall(self, deployment: DeploymentId, site: SiteId) -> StateMemory | None:
        rows = self._read(
            "SELECT lineage, serial, sha256, resources FROM memory WHERE deployment = ? AND site = ?", deployment, site
        )
        return StateMemory(**dict(rows[0])) if rows else None

    # Journal (DESIGN D14)

    def begin(self, deployment: DeploymentId, site: SiteId, *, plan_digest: str, action: str) -> JournalEntry:
        """Write down that a Terraform run is about to start. On disk when this returns."""
        with self._write() as db:
            made = db.execute(
                "INSERT INTO journal (deployment, site, plan_digest, action, started) VALUES (?, ?, ?, ?, ?)",
                (deployment, site, plan_digest, action, text_of(self._now())),
            )
            return journal_entry(self._one("SELECT * FROM journal WHERE id = ?", made.lastrowid))

    def finish(self, entry: JournalEntry, outcome: str) -> JournalEntry:
        """The run is over and its site is known. An entry that is finished already keeps its first outcome."""
        with self._write() as db:
            db.execute(
                "UPDATE journal SET outcome = ?, finished = ? WHERE id = ? AND finished IS NULL",
                (outcome, text_of(self._now()), entry.id),
            )
            return journal_entry(self._one("SELECT * FROM journal WHERE id = ?", entry.id))

    def open_entries(self, deployment: DeploymentId | None = None) -> tuple[JournalEntry, ...]:
        """Runs whose end was never written, oldest first."""
        rows = self._read(
            "SELECT * FROM journal WHERE finished IS NULL AND deployment = coalesce(?, deployment) ORDER BY id", deployment
        )
        return tuple(journal_entry(row) for row in rows)

    # Runs and jobs

    def begin_run(self, deployment: DeploymentId, task: TaskId, *, task_digest: str) -> RunRecord:
        """Open the next run of a task; two processes never get the same number."""
        with self._write() as db:
            db.execute(
                "INSERT INTO runs (deployment, task, number, task_digest, state, created)"
                " SELECT ?, ?, coalesce(max(number), 0) + 1, ?, ?, ? FROM runs WHERE deployment = ? AND task = ?",
                (deployment, task, task_digest, RunState.OPEN.value, text_of(self._now()), deployment, task),
            )
            query = "SELECT * FROM runs WHERE deployment = ? AND task = ? ORDER BY number DESC LIMIT 1"
            return run_record(self._one(query, deployment, task))

    def set_run_state(
        self, deployment: DeploymentId, task: TaskId, number: int, state: RunState, *, task_digest: str | None = None
    ) -> RunRecord:
        """Raises KeyError for a run that never began. OPEN takes the finish time back. `task_digest`: what it runs from now on."""
        finished = None if state is RunState.OPEN else text_of(self._now())
        with self._write() as db:
            db.execute(
                "UPDATE runs SET state = ?, finished = ?, task_digest = coalesce(?, task_digest)"
                " WHERE deployment = ? AND task = ? AND number = ?",
                (state.value, finished, task_digest, deployment, task, number),
            )
            query = "SELECT * FROM runs WHERE deployment = ? AND task = ? AND number = ?"
            return run_record(self._one(query, deployment, task, number))

    def latest_run(self, deployment: DeploymentId, task: TaskId) -> RunRecord | None:
        rows = self._read("SELECT * FROM runs WHERE deployment = ? AND task = ? ORDER BY number DESC LIMIT 1", deployment, task)
        return run_record(rows[0]) if rows else None

    def runs(self, deployment: DeploymentId) -> tuple[RunRecord, ...]:
        rows = self._read("SELECT * FROM runs WHERE deployment = ? ORDER BY task, number", deployment)
        return tuple(run_record(row) for row in rows)

    def begin_job(
        self,
        deployment: DeploymentId,
        task: TaskId,
        *,
        run: int,
        kind: JobKind = JobKind.RUN,
        hourly: Decimal | None = None,
    ) -> JobRecord:
        """Write down a job before it is submitted, with the next attempt number of its run.

        Its id is `<task>-<run>-<attempt>`, or `exec-<n>` for a command: unique in the deployment, and the same after a crash.
        """
        with self._write() as db:
            query = "SELECT coalesce(max(attempt), 0) + 1 FROM jobs WHERE deployment = ? AND kind = ?"
            if kind is JobKind.EXEC:
                attempt = int(db.execute(query, (deployment, kind.value)).fetchone()[0])
                job = f"exec-{attempt}"
            else:
                query += " AND task = ? AND run = ?"
                attempt = int(db.execute(query, (deployment, kind.value, task, run)).fetchone()[0])
                job = f"{task}-{run}-{attempt}"
            db.execute(
                "INSERT INTO jobs (deployment, id, kind, task, run, attempt, state, submitted, hourly)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    deployment,
                    job,
                    kind.value,
                    task,
                    run,
                    attempt,
                    JobState.PENDING.value,
                    text_of(self._now()),
                    None if hourly is None else decimal_text(hourly),
                ),
            )
            return job_record(self._one("SELECT * FROM jobs WHERE deployment = ? AND id = ?", deployment, job))

    def update_job(self, deployment: DeploymentId, job: JobId, status: JobStatus) -> JobRecord:
        """What a job's cluster says of it. Raises KeyError for an unknown job.

        A job that has ended stays ended: only LOST gives way, and only to how it really ended. A job that ended without
        saying when ends now, so that it has a price.
        """
        ended = status.ended or (self._now() if status.state.final else None)
        with self._write() as db:
            known = job_record(self._one("SELECT * FROM jobs WHERE deployment = ? AND id = ?", deployment, job))
            if known.state.final and (known.state is not JobState.LOST or not status.state.final):
                return known
            db.execute(
                "UPDATE jobs SET state = ?, exit_code = ?, failed_rank = ?, reason = ?, started = coalesce(?, started),"
                " ended = ? WHERE deployment = ? AND id = ?",
                (
                    status.state.value,
                    status.exit_code,
                    status.failed_rank,
                    status.reason,
                    text_of(status.started) if status.started else None,
                    text_of(ended) if ended else None,
                    deployment,
                    job,
                ),
            )
            return job_record(self._one("SELECT * FROM jobs WHERE deployment = ? AND id = ?", deployment, job))

    def job(self, deployment: DeploymentId, job: JobId) -> JobRecord | None:
        rows = self._read("SELECT * FROM jobs WHERE deployment = ? AND id = ?", deployment, job)
        return job_record(rows[0]) if rows else None

    def jobs(self, deployment: DeploymentId) -> tuple[JobRecord, ...]:
        """In the order they were submitted."""
        return tuple(
            job_record(row) for row in self._read("SELECT * FROM jobs WHERE deployment = ? ORDER BY number", deployment)
        )

    def absorb(self, deployment: DeploymentId, runs: Iterable[RunRecord], jobs: Iterable[JobRecord]) -> None:
        """Take over what another home has written down of a saved deployment.

        What has ended here stays ended: a run is opened again only by a job that is not known here.
        """
        with self._write() as db:
            known = {row["id"] for row in db.execute("SELECT id FROM jobs WHERE deployment = ?", (deployment,))}
            given = tuple(jobs)
            news = {(job.task, job.run) for job in given if job.id not in known}
            for run in runs:
                db.execute(
                    "INSERT INTO runs (deployment, task, number, task_digest, state, created, finished)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (deployment, task, number) DO UPDATE SET"
                    " task_digest = excluded.task_digest, state = excluded.state, finished = excluded.finished"
                    " WHERE runs.state = ? OR ?",
                    (*run_row(deployment, run), RunState.OPEN.value, (run.task, run.number) in news),
                )
            for job in given:
                db.execute(
                    "INSERT INTO jobs (deployment, id, kind, task, run, attempt, state, submitted, started, ended, exit_code,"
                    " failed_rank, reason, hourly) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (deployment, id) DO UPDATE SET state = excluded.state, ended = excluded.ended,"
                    " started = coalesce(excluded.started, jobs.started), exit_code = excluded.exit_code,"
                    " failed_rank = excluded.failed_rank, reason = excluded.reason"
                    " WHERE jobs.ended IS NULL OR (jobs.state = ? AND excluded.ended IS NOT NULL)",
                    (*job_row(deployment, job), JobState.LOST.value),
                )

    # Events

    def record(self, kind: str, text: str, *, deployment: DeploymentId | None = None) -> None:
        """Append an event. Events are never changed."""
        with self._write() as db:
            db.execute(
                "INSERT INTO events (time, deployment, kind, text) VALUES (?, ?, ?, ?)",
                (text_of(self._now()), deployment, kind, text),
            )

    def events(self, deployment: DeploymentId | None = None, *, after: int = 0) -> tuple[EventRecord, ...]:
        """Events whose id is greater than `after`, in the order they were appended."""
        rows = self._read(
            "SELECT * FROM events WHERE id > ?1 AND (?2 IS NULL OR deployment = ?2) ORDER BY id", after, deployment
        )
        return tuple(EventRecord(**{**dict(row), "time": time_of(row["time"])}) for row in rows)

    # SQLite

    def _moment(self) -> datetime:
        return self._now()

    def _open(self) -> sqlite3.Connection:
        # SQLite would make the file with the process's umask; its log and index files copy the mode they find here.
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as failure:
            raise SkycError(cannot_use_home(self._home, failure)) from failure
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._set_up(connection)
                return connection
            except sqlite3.OperationalError as failure:
                connection.close()
                # SQLite does not wait for others while it switches a new file to WAL.
                busy = failure.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            except BaseException:
                connection.close()
                raise

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if self._version(connection) == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read again: another process may have migrated while this one waited.
            for number, statements in enumerate(MIGRATIONS[self._version(connection) :], self._version(connection) + 1):
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise SkycError(newer_file(self._path, version, len(MIGRATIONS)))
        return version

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction. IMMEDIATE, because a read that turns into a write fails instead of waiting."""
        with self._mutex, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _read(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._mutex, self._explained():
            return self._connection.execute(query, values).fetchall()

    def _one(self, query: str, *values: object) -> sqlite3.Row:
        row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        if row is None:
            raise KeyError(values)
        return row

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as failure:
            diagnostic = sqlite_failure(self._path, failure)
            if diagnostic is None:  # a broken constraint or statement is a bug of ours, not something the user can mend
                raise
            raise SkycError(diagnostic) from failure
