"""What skyc's public calls give back, as frozen values. The command line prints these and nothing else.

The calls live in `skyc` itself and have these signatures (`cli/api.py` states them as a protocol):

    plan(path, *, deployment, env, secrets, home, emit, destroy, objective, offline, policies, out, locked) -> Plan
    apply(path, *, deployment, env, secrets, rerun, objective, detach, confirm, on_progress, home, wait, policies, approve,
        fingerprint, locked) -> ApplyResult
    status(deployment, *, refresh, home) -> tuple[DeploymentStatus, ...]
    logs(deployment, job, *, follow, home) -> Iterator[str]
    queue(deployment, *, home) -> tuple[JobRecord, ...]
    exec(deployment, command, *, nodes, home, on_progress) -> ApplyResult
    cancel(deployment, job, *, home) -> tuple[JobRecord, ...]
    destroy(deployment, *, confirm, on_progress, purge, home, wait, policies, approve) -> DestroyResult
    drift(deployment, *, on_progress, home, wait) -> tuple[Drift, ...]
    repair_drift(deployment, *, only, confirm, on_progress, home, wait) -> MendResult
    adopt_drift(deployment, *, only, security, confirm, on_progress, home, wait) -> MendResult
    check(*, home) -> tuple[CheckReport, ...]
    mirror(directory) -> Path
    backend_create(uri, *, region, endpoint, key) -> Backend
    backend_show(*, home) -> Backend | None
    schema(*, policy) -> JsonObject
    policy_check(path, tasks, *, env, home) -> PolicyCheck

Each raises SkycError with diagnostics when it cannot do what it says, and Interrupted when the user stops it half way.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from ..compiler.buckets import Bucket
from ..compiler.diagnostics import Diagnostic, has_errors
from ..compiler.ir import (
    ChangeSet,
    DeploymentId,
    DriftClass,
    DriftRow,
    Fingerprints,
    FrozenMap,
    GroupName,
    JobAction,
    JobPlan,
    PlacementPlan,
    PolicyEffect,
    PolicyResult,
    ResourceGraph,
    SiteId,
    TaskId,
    decimal_text,
)
from ..providers.base import BucketProperty
from .records import AttemptRecord, DeploymentState, JobRecord

if TYPE_CHECKING:
    pass

ReportFormat = Literal["text", "markdown", "json", "html"]
SchemaOf = Literal["task", "policy", "report", "plan-file"]
"""Of what `skyc schema` prints the JSON Schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an apply or destroy would do; nothing has been done.

    placement: None for a destroy, and when `emit` stopped the compiler before it.
    buckets: the Storages skyc makes a place for, those that are there included. kept: what a destroy leaves.
    changes: one per site; empty when there was nothing to compare with.
    offline: nobody was asked; what the diagnostics call schema-valid is all that is known. Never to be applied.
    hours: the expected run time that the price per run is made of.
    emitted: the text of the stage asked for with `emit`.
    diagnostics: warnings and notes; errors are raised instead, but for a placement that is priced and cannot be compiled.
    timings: (stage, seconds).
    before: the placement that was applied last; None where there is none, or it is not known here.
    policies: every rule held against the plan. fingerprints: what names it. policy_digest: names the rules themselves; empty without any.
    environment: `production` where the task file says so, or another name it gives. task_file: its path, as it was given.
    """

    deployment: DeploymentId
    placement: PlacementPlan | None
    graphs: tuple[ResourceGraph, ...]
    changes: tuple[ChangeSet, ...]
    buckets: tuple[Bucket, ...] = ()
    kept: tuple[KeptStorage, ...] = ()
    jobs: tuple[JobPlan, ...] = ()
    hours: Decimal = Decimal(1)
    destroying: bool = False
    offline: bool = False
    emitted: str | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    timings: tuple[tuple[str, float], ...] = ()
    before: PlacementPlan | None = None
    policies: tuple[PolicyResult, ...] = ()
    fingerprints: Fingerprints | None = None
    environment: str = ""
    task_file: str = ""
    policy_digest: str = ""

    @property
    def denied(self) -> bool:
        """A rule forbids it, whoever approves."""
        return any(row.blocks and row.effect is PolicyEffect.DENY for row in self.policies)

    @property
    def failed(self) -> bool:
        """The plan shows a placement and cannot be carried out; the diagnostics say why."""
        return has_errors(self.diagnostics)

    @property
    def job(self) -> JobAction | None:
        """What happens to the jobs, in one word: what starts something comes before what shows or leaves something."""
        order = (JobAction.RESUME, JobAction.RUN, JobAction.FOLLOW, JobAction.NOTHING)
        actions = [job.action for job in self.jobs]
        return min(actions, key=order.index) if actions else None

    @property
    def has_changes(self) -> bool:
        """Whether doing this plan would change anything: resources, or a job that starts. True when nothing was compared."""
        if any(change.has_changes for change in self.changes):
            return True
        starts = self.job in (JobAction.RUN, JobAction.RESUME)
        return starts or (not self.changes and bool(self.graphs))

    def report(self, format: ReportFormat = "text") -> str:
        """The plan for a person (`text`, `markdown`, `html`) or a program (`json`, `schema: skyc.plan/v1`). Markdown fits into a
        comment; the others are whole. Text leaves the diagnostics to who prints it."""
        from ..compiler import report as made
        from ..providers.registry import meanings

        gathered = made.build(
            deployment=self.deployment,
            placement=self.placement,
            changes=self.changes,
            jobs=self.jobs,
            hours=self.hours,
            destroying=self.destroying,
            buckets=self.buckets,
            kept=tuple(storage.sentence for storage in self.kept),
            before=self.before,
            policies=self.policies,
            policy_digest=self.policy_digest,
            fingerprints=self.fingerprints,
            diagnostics=self.diagnostics,
            meanings=meanings(),
            environment=self.environment,
            task_file=self.task_file,
        )
        match format:
            case "text":
                # The command line prints diagnostics itself, each with its line of the task file.
                return made.render_text(made.compose(replace(gathered, diagnostics=())))
            case "markdown":
                return made.comment(gathered)
            case "json":
                return made.render_json(gathered)
            case "html":
                return made.render_html(made.compose(gathered))


class ProgressKind(enum.Enum):
    STEP = "step"
    """A new piece of work began; the one before is done. `text` says what it is."""
    RESOURCE = "resource"
    """Something happened to one resource within the step."""
    OUTPUT = "output"
    """One line the job printed, without its line end, as it came."""
    NOTE = "note"
    """A fact worth a line of its own: a wait, a retry, what an interrupt does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Something that happened while a call works. `stage`: a slug (`compile`, `plan`, `apply`, `job`, …).
    `resource`: a Terraform address. `elapsed`: seconds since the call began. `task`: whose output it is, where jobs of several tasks may
    run side by side."""

    kind: ProgressKind
    stage: str
    text: str
    resource: str | None = None
    elapsed: float = 0.0
    task: TaskId | None = None


class Interrupted(KeyboardInterrupt):
    """The user stopped a call half way. `detail` says what still goes on, `commands` what to do about it."""

    def __init__(self, detail: str, *commands: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.commands = commands


class Outcome(enum.Enum):
    """How an apply or exec ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ALREADY_SUCCEEDED = "already-succeeded"
    """The same task succeeded before and was not run again."""
    DETACHED = "detached"
    """The job is going on; nobody waited for it."""
    DECLINED = "declined"
    """The plan was shown and not approved; nothing was done."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """The cluster went away and left no result. The next apply resumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """`job`: the one that `outcome` is about: of several the first that did not succeed, else the last; None when it did not come to one.
    `jobs`: all that were submitted or shown, in the file's order. `not_started`: tasks whose jobs were not, because of what became of
    others. `attempts`: the placements that were tried, where the first one could not be had."""

    deployment: DeploymentId
    outcome: Outcome
    job: JobRecord | None = None
    jobs: tuple[JobRecord, ...] = ()
    not_started: tuple[TaskId, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()


class DestroyOutcome(enum.Enum):
    DESTROYED = "destroyed"
    NOTHING = "nothing"
    """There was nothing left to destroy."""
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStorage:
    """Storage that outlives its deployment, and where it is. gb_month: US dollars for a GB kept a month, for a bucket of skyc's;
    None: unknown, or not paid to a cloud by skyc's doing."""

    name: str
    uri: str
    gb_month: Decimal | None = None

    @property
    def sentence(self) -> str:
        """`out at s3://… · $0.023 per GB and month`."""
        price = "" if self.gb_month is None else f" · ${decimal_text(self.gb_month)} per GB and month"
        return f"{self.name} at {self.uri}{price}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyResult:
    """`removed`: Terraform addresses and swept leftovers, sorted. `kept`: persistent storage, untouched."""

    deployment: DeploymentId
    outcome: DestroyOutcome
    removed: tuple[str, ...] = ()
    kept: tuple[KeptStorage, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StillPaid:
    """What stopped machines go on costing. kind: of a plan's cost line; hourly: US dollars per hour of all there is of it, None where
    nobody knows the price."""

    kind: str
    hourly: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchResult:
    """After a stop or a start. `nodes`: names of those whose machines were stopped, or started, by it. paid: after a stop."""

    deployment: DeploymentId
    nodes: tuple[str, ...]
    paid: tuple[StillPaid, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What of a deployment is not as it was applied. rows: the gravest first. diagnostics: an error says that it could not be looked at,
    or not at all of it."""

    deployment: DeploymentId
    rows: tuple[DriftRow, ...]
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def failed(self) -> bool:
        return has_errors(self.diagnostics)

    def matters(self, classes: frozenset[DriftClass] | None = None) -> bool:
        """Whether there is drift that is not benign, of these classes. What is unclassified counts as security does."""
        return any(row.matters and (classes is None or _counts_as(row.drift) in classes) for row in self.rows)

    def report(self, format: Literal["text", "markdown"] = "text") -> str:
        from ..compiler.drift import render_markdown, render_text

        return (render_markdown if format == "markdown" else render_text)(self.deployment, self.rows)


def _counts_as(drift: DriftClass) -> DriftClass:
    return DriftClass.SECURITY if drift is DriftClass.UNCLASSIFIED else drift


class MendOutcome(enum.Enum):
    """How a repair or an adoption ended."""

    NOTHING = "nothing"
    """There was nothing to do."""
    DECLINED = "declined"
    DONE = "done"
    LEFT = "left"
    """It was done, and something is still, or again, not as it was applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MendResult:
    """After a repair or an adoption. rows: what it was about. left: what drifts now. fields: lines a task file needs, so that the next
    apply does not undo what was adopted."""

    deployment: DeploymentId
    outcome: MendOutcome
    rows: tuple[DriftRow, ...] = ()
    left: tuple[DriftRow, ...] = ()
    fields: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One node as last seen. `health`: `healthy`, or a short reason. Memory in MiB."""

    name: str
    site: SiteId
    task: TaskId
    group: GroupName
    rank: int
    ip: str
    cpus: float
    memory_mb: int
    accelerators: FrozenMap[int] = field(default_factory=FrozenMap)
    health: str = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """`resources`: how many its Terraform state holds; None when the state could not be read."""

    site: SiteId
    provider: str
    resources: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """What is known of one deployment.

    refreshed: nodes and jobs were asked just now; otherwise they are as last recorded.
    working: who works on it right now, in a sentence; None if nobody does.
    storages: its buckets, also those that a destroy left.
    hourly: US dollars per hour for what is up; None when a price is not known, as that of what stays beside stopped machines is not.
    attempts: the placements that were tried, where the first one could not be had.
    """

    deployment: DeploymentId
    state: DeploymentState
    spec_path: str
    created: datetime
    updated: datetime
    sites: tuple[SiteStatus, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    jobs: tuple[JobRecord, ...] = ()
    storages: tuple[KeptStorage, ...] = ()
    hourly: Decimal | None = None
    refreshed: bool = True
    working: str | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDeployment:
    """A deployment as the backend has it. `working`: who works on it now, in words. `problem`: why it cannot be read."""

    name: str
    state: DeploymentState | None = None
    sites: int = 0
    resources: int = 0
    cut_off: int = 0
    """Terraform runs that began and of which nobody has said how they ended."""
    working: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where states are kept. `made`: by this call. `setting`: lines for config.yaml."""

    uri: str
    properties: tuple[BucketProperty, ...] = ()
    deployments: tuple[SharedDeployment, ...] = ()
    made: bool = False
    setting: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()
