"""What a job is: the types that cross from skyc to a node and back, and their JSON form on the node.

A job has one directory per node, `<node directory>/jobs/<job id>/`:

- `job.json`    `JobFile`: what to run and where. Holds no value of an environment variable and no secret.
- `env.json`    values of `envs` and `secrets`, mode 0600; the node's runner deletes it as soon as it has read it.
- `driver.json` on the head: which process leads the job and how far it is. Written by `runtime/node/gang.py`.
- `cancel`      on the head: somebody asked to stop the job.
- `result.json` on the head: how it ended. Written once, atomically, last. Whoever finds it knows the job is over.
- `output.log`  on the head: the output of every rank as the user sees it, valid UTF-8.
- `rank-<r>.log` on each node: the whole output of that rank, byte for byte except for secrets.

This module runs on nodes too, so it needs the standard library only.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NewType

from ..compiler.ir import DeploymentId, FrozenMap, GroupName, MountMode, TaskId, plain

JobId = NewType("JobId", str)
"""Ours, and Ray's `submission_id`: `[a-z0-9][a-z0-9-]{0,99}`, unique within a cluster."""

FORMAT_VERSION = 1
NODE_LABEL = "skyc.io/node"
"""The Ray node label that holds a node's name."""

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


class JobKind(enum.Enum):
    RUN = "run"
    EXEC = "exec"
    """A command on a running cluster: no setup, no checkpoint."""


class JobState(enum.Enum):
    PENDING = "pending"
    SETTING_UP = "setting-up"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The cluster or the job's driver is gone and left no result: nobody knows how the job would have ended."""

    @property
    def final(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """`exit_code`: of the first rank that failed, 128+n for death by signal n; 0 after success; None if no rank ran.
    `failed_rank`: that rank. `reason`: one or more sentences unless all is well. Times are UTC."""

    state: JobState
    exit_code: int | None = None
    failed_rank: int | None = None
    reason: str = ""
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGroup:
    """The shell text (bash) every node of one group runs. Which ranks those are, the nodes say."""

    name: GroupName
    num_nodes: int
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMount:
    """`source`: an absolute local path or a `scheme://` URI. `target`: as the user wrote it (see `runtime/node/places.py`)."""

    target: str
    source: str
    mode: MountMode = MountMode.COPY


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCheckpoint:
    """What `runtime/checkpoint.py` needs to know. `path`: relative to the workdir, below `~`, or absolute.
    `restore`: bring the newest checkpoint back before `run`."""

    store: str
    prefix: str
    path: str
    every_seconds: int
    keep: int
    restore: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job on one cluster.

    setup_key: changes whenever `setup` must run again (digest of setup text and what it depends on).
    secret_names: names only; values are handed to `jobs.prepare` and live in `env.json` alone.
    workdir: absolute local path to sync, or None.
    ranks: the ranks it runs on, None for all. SKYC_NODE_RANK counts from 0 within these.
    run_id: stays the same when a later job continues this one's work (SKYC_TASK_ID). Empty: the job's id.
    place_timeout: seconds until a gang that cannot be placed fails.
    grace_seconds: between SIGTERM and SIGKILL when a rank is stopped.
    """

    id: JobId
    deployment: DeploymentId
    task: TaskId
    groups: tuple[JobGroup, ...]
    kind: JobKind = JobKind.RUN
    setup: str = ""
    setup_key: str = ""
    envs: FrozenMap[str] = field(default_factory=FrozenMap)
    secret_names: tuple[str, ...] = ()
    workdir: str | None = None
    mounts: tuple[JobMount, ...] = ()
    checkpoint: JobCheckpoint | None = None
    ranks: tuple[int, ...] | None = None
    run_id: str = ""
    place_timeout: int = 60
    grace_seconds: int = 5

    def __post_init__(self) -> None:
        if not _JOB_ID.fullmatch(self.id):
            raise ValueError(f"not a job id: {self.id!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobNode:
    """One node of a job as the node's own code sees it. `rank` counts from 0 within the job; `bundle` is the directory
    that holds the `skyc` package; `whole_machine` allows absolute paths; `identity`: as whom of its identities it opens stores."""

    name: str
    group: GroupName
    rank: int
    ip: str
    directory: str
    python: str
    user_bin: str
    bundle: str
    gpus: int = 0
    whole_machine: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """`job.json`: the request (without values of variables) and the nodes it runs on, by rank."""

    request: JobRequest
    nodes: tuple[JobNode, ...]
    head: str
    """The head's node directory; the head need not be one of `nodes`."""

    def run_text(self, node: JobNode) -> str:
        return next((group.run for group in self.request.groups if group.name == node.group), "")


def encode_job(job: JobFile) -> bytes:
    data = plain(job)
    del data["request"]["envs"]  # values may be private; they travel in env.json
    return json.dumps({"format_version": FORMAT_VERSION, **data}, indent=1, sort_keys=True).encode() + b"\n"


def decode_job(content: bytes) -> JobFile:
    """Raises ValueError for a file of another format version."""
    data = json.loads(content)
    if data.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"job.json has format {data.get('format_version')!r}; this skyc reads {FORMAT_VERSION}")
    request: dict[str, Any] = data["request"]
    request["kind"] = JobKind(request["kind"])
    request["groups"] = tuple(JobGroup(**group) for group in request["groups"])
    request["secret_names"] = tuple(request["secret_names"])
    request["mounts"] = tuple(JobMount(**{**mount, "mode": MountMode(mount["mode"])}) for mount in request["mounts"])
    request["checkpoint"] = JobCheckpoint(**request["checkpoint"]) if request["checkpoint"] else None
    request["ranks"] = None if request["ranks"] is None else tuple(request["ranks"])
    return JobFile(request=JobRequest(**request), nodes=tuple(JobNode(**node) for node in data["nodes"]), head=data["head"])


def encode_status(status: JobStatus) -> bytes:
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "state": status.state.value,
            "exit_code": status.exit_code,
            "failed_rank": status.failed_rank,
            "reason": status.reason,
            "started": status.started.timestamp() if status.started else None,
            "ended": status.ended.timestamp() if status.ended else None,
        }
    ).encode()


def decode_status(data: dict[str, Any]) -> JobStatus:
    """From the parsed JSON of `encode_status`; unknown fields are ignored."""

    def moment(name: str) -> datetime | None:
        seconds = data.get(name)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    return JobStatus(
        state=JobState(data["state"]),
        exit_code=data.get("exit_code"),
        failed_rank=data.get("failed_rank"),
        reason=data.get("reason") or "",
        started=moment("started"),
        ended=moment("ended"),
    )
