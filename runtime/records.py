"""What skyc remembers between commands, as values. `runtime/state.py` writes and reads them.

Invariants: times are aware and in UTC; money is Decimal US dollars, None for "not known"; a record is a fact of the moment it
was read and never changes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..compiler.ir import DeploymentId, GroupName, SiteId, TaskId
from .job import JobId, JobKind, JobState

SECONDS_PER_HOUR = Decimal(3600)


class DeploymentState(enum.Enum):
    """How the last command that changed a deployment left it."""

    APPLYING = "applying"
    """An apply began and its end was not recorded: it is going on, or it was killed."""
    ACTIVE = "active"
    """Applied: what the plan asked for is there."""
    FAILED = "failed"
    """An apply stopped with an error; some of its resources may exist."""
    DESTROYING = "destroying"
    """A destroy began and its end was not recorded, or it stopped with an error."""
    EJECTED = "ejected"
    """Handed over to plain Terraform (`eject.py`): skyc changes nothing of it."""
    DESTROYED = "destroyed"
    """Nothing of it runs. Its history and persistent storage stay until it is purged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord:
    """`spec_path`: absolute path of the task file as of the last apply. `plan_digest`: of the plan last applied."""

    id: DeploymentId
    spec_path: str
    spec_digest: str
    plan_digest: str
    state: DeploymentState
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRecord:
    """One root module. `directory`: absolute; holds its Terraform code and state."""

    deployment: DeploymentId
    site: SiteId
    provider: str
    directory: str
    graph_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMemory:
    """What a site's Terraform state looked like when skyc last saw it (DESIGN D14). `sha256`: of its bytes."""

    lineage: str
    serial: int
    sha256: str
    resources: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """Written before a Terraform run, finished after it. An entry without `finished` was cut off: reconcile its site."""

    id: int
    deployment: DeploymentId
    site: SiteId
    plan_digest: str
    action: str
    """`apply`, `destroy`, `refresh`, `repair` or `adopt`."""
    started: datetime
    outcome: str | None = None
    finished: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFileRecord:
    """A plan file that was applied here. `finished` None: its apply was cut off, or failed, and is gone on with."""

    deployment: DeploymentId
    digest: str
    began: datetime
    finished: datetime | None = None


class AttemptOutcome(enum.Enum):
    """What came of trying a placement."""

    TRYING = "trying"
    """Under way, or cut off."""
    UP = "up"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not tried: skyc cannot make it from here, for a reason that is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One placement of a group that was tried, written down before it was.

    search: counts the times a place was looked for; the attempts of one belong together. choice, placement: what the plan chose
    for the group and what was tried, as `compiler.failover.name_of` spells them. kind, code, reach, detail: of a FAILED one, as in
    `Failure`; of a SKIPPED one `detail` says why. over: the search ended without a place, or what it found is gone.
    """

    number: int
    deployment: DeploymentId
    search: int
    task: TaskId
    group: GroupName
    choice: str
    placement: str
    outcome: AttemptOutcome
    started: datetime
    kind: str = ""
    code: str = ""
    reach: str = ""
    detail: str = ""
    finished: datetime | None = None
    over: bool = False


class RunState(enum.Enum):
    OPEN = "open"
    """Not over: a job of it is going on, or the next apply resumes it."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One logical execution of a task, over any number of attempts. `number` counts from 1 per task of a deployment."""

    deployment: DeploymentId
    task: TaskId
    number: int
    task_digest: str
    state: RunState
    created: datetime
    finished: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One submission to a cluster.

    run, attempt: which run it serves and the how-manieth try it is, both from 1; an `exec` job has run 0.
    exit_code: of the first rank that failed, 128+n for death by signal n; None while it runs or if no rank ran.
    hourly: US dollars per hour for all of its nodes together, at the price of the plan that placed it.
    """

    id: JobId
    deployment: DeploymentId
    task: TaskId
    run: int
    attempt: int
    kind: JobKind
    state: JobState
    submitted: datetime
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    failed_rank: int | None = None
    reason: str = ""
    hourly: Decimal | None = None

    @property
    def seconds(self) -> Decimal | None:
        """How long it ran; 0 if it ended without starting; None while it runs."""
        if self.ended is None:
            return None
        if self.started is None:
            return Decimal(0)
        length = self.ended - self.started
        return max(Decimal(0), Decimal(length.days * 86_400 + length.seconds) + Decimal(length.microseconds) / 1_000_000)

    @property
    def paid(self) -> Decimal | None:
        """Price × time in US dollars. None while it runs, or when the price is not known."""
        seconds = self.seconds
        return None if seconds is None or self.hourly is None else self.hourly * seconds / SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """Something that happened, for people to read later. `kind` is a slug. Events outlive their deployment."""

    id: int
    time: datetime
    deployment: DeploymentId | None
    kind: str
    text: str
