"""A plan as one file: everything a reviewer approved and everything its apply needs.

Format: one JSON object of `format`, `digest` and `plan`, in this order. `digest` is the SHA-256 of the bytes of `plan` as they stand in
the file, so a copy that is cut off, edited or run through a formatter is noticed. JSON, because one schema then describes all of it,
nothing in it is ever a path of a file to be unpacked, and nothing can be larger than it looks; Terraform's own plans, which are
zipped, cost a third more in base64. Minor versions (`skyc.plan-file/2.1`) only add fields.

Contract: pure. What is read is untrusted: `NotAPlan` is all that is raised, and names that become names of files are checked here.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...providers.base import NetworkChoice
from ..buckets import Bucket, KnownBucket
from ..ir import (
    ChangeSet,
    DeploymentId,
    Fingerprints,
    FrozenMap,
    JobPlan,
    JsonObject,
    NodeRuntime,
    Objective,
    PlacementPlan,
    PolicyResult,
    ResourceGraph,
    SiteId,
    SynthManifest,
    TaskGraph,
    TaskId,
)
from . import BEGINNING, FORMAT
from .codec import Damaged, decode, encode, json_schema, parts_of

MAJOR = "2"
LARGEST = 256 << 20
"""Bytes a plan file may have."""
_DEPLOYMENT = re.compile(r"[a-z][a-z0-9-]{0,38}")
_SITE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


class NotAPlan(ValueError):
    """The text says what is wrong, and repeats nothing of the file. `newer`: another version of skyc may read it."""

    def __init__(self, why: str, *, newer: bool = False) -> None:
        super().__init__(why)
        self.newer = newer


class PlanKind(enum.Enum):
    COMPARED = "compared"
    """Held against the deployment's states: it can be applied."""
    COMPILED = "compiled"
    """Compiled and compared with nothing: for review only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineName:
    """The Terraform that made the plans in the file, and alone can apply them."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSource:
    """The task file. `path`: absolute. `text`: with crosses for what is secret; columns stay. `digest`: SHA-256 of the real one."""

    path: str
    text: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTree:
    """Local files a task sends. `workdir`: files that are ignored do not count. `files`: path → what is in it, where there are few."""

    path: str
    workdir: bool
    digest: str
    files: FrozenMap[str] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """The Terraform state a plan was made on."""

    lineage: str
    serial: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSite:
    """One root module and its plan.

    graph: None for a site that goes. changes, plan: None where nothing was compared, or nothing is to be done. lock: the text of
    Terraform's dependency lock, empty where it needs none. health: node → `up`, `stopped` or `lost` as the plan found it.
    """

    site: SiteId
    provider: str
    graph: ResourceGraph | None
    manifest: SynthManifest | None
    module: str
    changes: ChangeSet | None = None
    plan: bytes | None = None
    state: SiteState | None = None
    lock: str = ""
    health: FrozenMap[str] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """What becomes of a task's job, and the newest run and attempt there were when that was decided (0: none)."""

    plan: JobPlan
    task_digest: str
    last_run: int
    last_attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """What is said of the machines' network in one region."""

    provider: str
    region: str
    network: NetworkChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What else the code was compiled with, for other placements of the envelope."""

    runtime: NodeRuntime
    ssh_from: tuple[str, ...] = ()
    storage_accounts: FrozenMap[str] = field(default_factory=FrozenMap)
    bucket_keys: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    networks: tuple[NetworkRow, ...] = ()
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    versions: FrozenMap[str] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A reviewed plan.

    home: host and place of the home it was made in. keys: a digest of the deployment's public keys, empty where it has none. mark: what
    the names of its buckets end with, empty without any. placement: what is made, with its fallbacks, its costs and the offers that were
    left out; chosen: the optimizer's choice, where a failover had gone on from it. secrets: name → keyed hash of the value. trees: the
    local files that are sent. policies: what the rules of that day said; policy_digest: names those rules. locked: the facts of the
    lock file that it was held to, empty where it was held to none. endless: tasks that are services.
    """

    kind: PlanKind
    skyc: str
    deployment: DeploymentId
    home: str
    engine: EngineName | None
    task: TaskSource
    objective: Objective
    graph: TaskGraph
    placement: PlacementPlan
    chosen: PlacementPlan | None
    before: PlacementPlan | None
    sites: tuple[PlannedSite, ...]
    jobs: tuple[PlannedJob, ...]
    settings: Settings
    buckets: tuple[Bucket, ...] = ()
    known: tuple[KnownBucket, ...] = ()
    trees: tuple[LocalTree, ...] = ()
    secrets: FrozenMap[str] = field(default_factory=FrozenMap)
    keys: str = ""
    mark: str = ""
    policies: tuple[PolicyResult, ...] = ()
    policy_digest: str = ""
    locked: FrozenMap[str] = field(default_factory=FrozenMap)
    endless: tuple[TaskId, ...] = ()
    fingerprints: Fingerprints | None = None

    @property
    def reviewed(self) -> PlacementPlan:
        """The plan whose envelope holds."""
        return self.chosen or self.placement


def written(plan: PlanFile) -> tuple[bytes, str]:
    """The file's bytes, and its digest."""
    body = encode(plan)
    digest = hashlib.sha256(body).hexdigest()
    return BEGINNING + b'%s","digest":"%s","plan":%s}\n' % (MAJOR.encode(), digest.encode(), body), digest


def looks_like_one(head: bytes) -> bool:
    """Whether a file that begins so is meant to be a plan file, damaged or not."""
    return head.lstrip().startswith(b"{") and FORMAT.encode() in head


def read(data: bytes) -> tuple[PlanFile, str]:
    """A plan file's content and its digest. Raises NotAPlan."""
    if len(data) > LARGEST:
        raise NotAPlan(f"it has more than {LARGEST >> 20} MiB")
    try:
        parts = parts_of(data)
        form, told = decode(str, parts["format"]), decode(str, parts["digest"])
        body = parts["plan"]
    except (Damaged, KeyError):
        raise NotAPlan("it is no whole JSON object of `format`, `digest` and `plan`") from None
    if not form.startswith(FORMAT):
        raise NotAPlan("its `format` is none of skyc's plan files")
    if form.removeprefix(FORMAT).partition(".")[0] != MAJOR:
        raise NotAPlan(f"this version of skyc reads {FORMAT}{MAJOR}", newer=True)
    digest = hashlib.sha256(body).hexdigest()
    if digest != told:
        raise NotAPlan("what it holds is not what its digest says: it was edited, or cut off")
    try:
        plan = decode(PlanFile, body)
    except Damaged as failure:
        raise NotAPlan(f"its content cannot be read: {failure}") from None
    for why in _wrong(plan):
        raise NotAPlan(why)
    return plan, digest


def schema() -> JsonObject:
    """The JSON Schema of a plan file."""
    plan = json_schema(PlanFile)
    return {
        "$schema": plan["$schema"],
        "title": "A plan file of skyc",
        "type": "object",
        "properties": {
            "format": {"type": "string", "pattern": rf"^{re.escape(FORMAT)}{MAJOR}(\.\d+)?$"},
            "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "plan": {"$ref": plan["$ref"]},
        },
        "required": ["format", "digest", "plan"],
        "$defs": plan["$defs"],
    }


def _wrong(plan: PlanFile) -> Iterator[str]:
    """What no plan of skyc's is like."""
    if not _DEPLOYMENT.fullmatch(plan.deployment):
        yield "its deployment has a name that cannot be one"
    if not re.fullmatch(r"[0-9a-f]{0,64}", plan.mark):
        yield "its mark cannot be one"
    names = [site.site for site in plan.sites]
    if len(set(names)) != len(names) or not all(_SITE.fullmatch(name) and ".." not in name for name in names):
        yield "one of its sites has a name that cannot be one"
    for site in plan.sites:
        if site.graph is not None and (site.graph.site, site.graph.deployment) != (site.site, plan.deployment):
            yield "the code of a site is another one's"
    tasks = {task.id for task in plan.graph.tasks}
    if {job.plan.task for job in plan.jobs} - tasks or {item.task for item in plan.placement.placements} != tasks:
        yield "its jobs, its tasks and its placements do not fit together"
