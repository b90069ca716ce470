"""`deployment.json` in the backend: what a home needs to know a deployment, beside its Terraform states.

The wire is not the core: this module alone knows the file's form. Fields may be added to a format; a reader ignores those it does not
know. Another major version is refused, since what it cannot read it would drop when it writes.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...compiler.ir import DeploymentId, SiteId, TaskId, decimal_text
from ..job import JobId, JobKind, JobState
from ..records import DeploymentState, JobRecord, RunRecord, RunState, StateMemory

FILE = "deployment.json"
FORMAT = "skyc.backend/"
VERSION = "1"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


class NewerFormat(Exception):
    """Its text is the format found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEntry:
    """A site. `memory`: what its state object holds, None before the first apply. `module`: SHA-256 of the root module that was
    applied last, which a destroy from another home needs for its provider's configuration. `machine`: the home its nodes are part of, where
    they are on one machine that no other can reach; else empty."""

    site: SiteId
    provider: str
    graph_digest: str
    memory: StateMemory | None = None
    module: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A Terraform run that began and of which nobody has said how it ended. `home`: whose journal has it."""

    home: str
    site: SiteId
    action: str
    plan_digest: str
    started: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`edition` grows with every write, so that an earlier version put back is noticed."""

    deployment: DeploymentId
    state: DeploymentState
    spec_path: str
    spec_digest: str
    plan_digest: str
    created: datetime
    edition: int = 0
    sites: tuple[SiteEntry, ...] = ()
    intents: tuple[Intent, ...] = ()
    ssh: tuple[tuple[str, str], ...] = ()
    """Name and SHA-256 of every file below `ssh/`."""
    mark: str = ""
    """What the names of its buckets end with (`access.mark_of`); empty before one was compiled."""
    placement: str = ""
    """The placement that was applied last, as `compiler.artifact.codec` writes it; empty where nothing is applied."""
    runs: tuple[RunRecord, ...] = field(default=())
    jobs: tuple[JobRecord, ...] = field(default=())


def index_text(index: Index) -> bytes:
    document = {"format_version": FORMAT + VERSION, **asdict(index)}
    return (json.dumps(document, indent=1, sort_keys=True, default=_plain) + "\n").encode()


def read_index(data: bytes) -> Index:
    """Raises NewerFormat, and ValueError for what is no index."""
    document = json.loads(data)
    if not isinstance(document, dict) or not str(document.get("format_version", "")).startswith(FORMAT):
        raise ValueError("it is no index of skyc's")
    version = str(document["format_version"]).removeprefix(FORMAT)
    if version.partition(".")[0] != VERSION:
        raise NewerFormat(version)
    try:
        return Index(
            **{
                **_known(Index, document),
                "state": DeploymentState(document["state"]),
                "created": datetime.fromisoformat(document["created"]),
                "edition": int(document["edition"]),
                "sites": tuple(_site(row) for row in document["sites"]),
                "intents": tuple(Intent(**{**_known(Intent, row), **_times(row, "started")}) for row in document["intents"]),
                "mark": _mark(document.get("mark", "")),
                "placement": str(document.get("placement", "")),
                "ssh": tuple((_file_name(name), str(digest)) for name, digest in document["ssh"]),
                "runs": tuple(_run(row) for row in document["runs"]),
                "jobs": tuple(_job(row) for row in document["jobs"]),
            }
        )
    except (KeyError, TypeError, AttributeError, ArithmeticError) as failure:
        raise ValueError(f"it lacks what every index has ({type(failure).__name__})") from failure


def _site(row: Mapping[str, Any]) -> SiteEntry:
    name = _file_name(row["site"])
    memory = row["memory"]
    known = None if memory is None else StateMemory(**_known(StateMemory, memory))
    return SiteEntry(**{**_known(SiteEntry, row), "site": SiteId(name), "memory": known})


def _mark(mark: object) -> str:
    if not isinstance(mark, str) or not re.fullmatch(r"[0-9a-f]*", mark):
        raise ValueError("its mark cannot be one")
    return mark


def _file_name(name: object) -> str:
    """It becomes the name of a file or a folder here."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise ValueError("a name in it cannot be one")
    return name


def _run(row: Mapping[str, Any]) -> RunRecord:
    made = {**_known(RunRecord, row), **_times(row, "created", "finished")}
    return RunRecord(**{**made, "task": TaskId(row["task"]), "state": RunState(row["state"])})


def _job(row: Mapping[str, Any]) -> JobRecord:
    made = {**_known(JobRecord, row), **_times(row, "submitted", "started", "ended")}
    hourly = None if row["hourly"] is None else Decimal(row["hourly"])
    kinds = {"id": JobId(row["id"]), "kind": JobKind(row["kind"]), "state": JobState(row["state"]), "hourly": hourly}
    return JobRecord(**{**made, **kinds})


def _known(kind: type[Any], row: Mapping[str, Any]) -> dict[str, Any]:
    names = {entry.name for entry in fields(kind)}
    return {name: value for name, value in row.items() if name in names}


def _times(row: Mapping[str, Any], *names: str) -> dict[str, datetime | None]:
    return {name: None if row[name] is None else datetime.fromisoformat(row[name]) for name in names}


def _plain(value: object) -> str:
    match value:
        case enum.Enum():
            return str(value.value)
        case datetime():
            return value.isoformat()
        case Decimal():
            return decimal_text(value)
    raise TypeError(f"{type(value).__name__} is not written")
