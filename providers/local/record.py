"""What is written down about a local node, before and while it exists.

Layout below a node's directory, `<home>/deployments/<deployment>/nodes/<name>`:

    node.json        this record; the first file written, replaced atomically      token    0600
    supervisor.json  written by the supervisor                                    env/     the job's environment
    processes        pid and start of every process ever started                  logs/    bootstrap and start-up output
    home/ workdir/ jobs/ bundles/                                                 start.json

Invariants
- A life (one create) has an id of its own. The record is on disk before anything else of that life exists, so whatever a
  killed create leaves behind is found from it.
- Ray's temporary directory is outside (socket paths are limited to 107 bytes). It holds `owner.json`, which names the record,
  so a node is still found after someone removed its directory by hand.
- One process at a time works on a node: `node_lock`.
- A `NodeRecord` whose places are not exactly those of a node cannot be made: its paths are deleted in the end (`trees`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from ...compiler.ir import FrozenMap, JsonObject
from .trees import TEMP_ROOT, is_temp_dir, new_temp_dir, node_directory

FORMAT = 1
_LIFE = re.compile(r"[0-9a-f]{16}")

LOCK_SECONDS = 240.0
"""Longer than a create may take, so that a create left running by a killed Terraform is waited for."""


class RecordError(Exception):
    """A record that cannot be read or a lock that cannot be had, with the reason in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every port a node listens on, all on 127.0.0.1. `gcs` is the head's; `dashboard` only a head has."""

    gcs: int
    dashboard: int | None
    agent: int
    agent_grpc: int
    runtime_env: int
    metrics: int
    node_manager: int
    object_manager: int

    def own(self, *, head: bool) -> tuple[int, ...]:
        """Those this node itself must be able to bind."""
        ports = (self.agent, self.agent_grpc, self.runtime_env, self.metrics, self.node_manager, self.object_manager)
        heads = (self.gcs, self.dashboard) if head else ()
        return (*ports, *(port for port in heads if port is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One life of a node. `status`: `creating` until Ray has answered, then `running`. `boot`: the kernel's boot id, without
    which recorded pids mean nothing. `devices`: indices of the GPUs this node may use.

    Raises ValueError for an id, a home, a name or a temporary directory of another form than skyc makes.
    """

    id: str
    home: str
    deployment: str
    name: str
    group: str
    rank: int
    role: str
    cpus: Decimal
    memory_mb: int
    accelerators: FrozenMap[int]
    labels: FrozenMap[str]
    python: str
    ray: str
    head_address: str | None
    head_life: str | None
    temp_dir: str
    boot: str
    devices: tuple[int, ...] = ()
    status: str = "creating"
    python_path: str = ""
    ports: Ports | None = None
    supervisor_pid: int | None = None

    def __post_init__(self) -> None:
        if not _LIFE.fullmatch(self.id):
            raise ValueError(f"the life {self.id!r} is not of the form {_LIFE.pattern}")
        if not is_temp_dir(self.temp_dir):
            raise ValueError(f"the temporary directory {self.temp_dir!r} is not one that skyc makes")
        node_directory(Path(self.home), self.deployment, self.name)

    @property
    def directory(self) -> Path:
        return node_directory(Path(self.home), self.deployment, self.name)

    @property
    def ray_temp_dir(self) -> str:
        """What Ray is given. Not `temp_dir` itself: Ray opens its directory to everyone (0777), so it lies in a private one."""
        return f"{self.temp_dir}/r"

    @property
    def is_head(self) -> bool:
        return self.role == "head"


def new_life_id() -> str:
    """An id no other life of any node has."""
    return secrets.token_hex(8)


def new_life(record: NodeRecord) -> NodeRecord:
    """The same node in another life: a fresh id, a temporary directory never used."""
    return replace(record, id=new_life_id(), temp_dir=new_temp_dir())


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` in one step, on disk before it shows under its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save(record: NodeRecord) -> NodeRecord:
    """Write the record into the node's directory. Returns it."""
    write_atomically(record.directory / "node.json", json.dumps(_to_json(record), indent=1).encode())
    return record


def load(directory: Path) -> NodeRecord | None:
    """The record in a node's directory, None when there is none.

    Raises RecordError for one that cannot be understood, and for one that names another directory: in a copied or moved home
    it would lead to somebody else's node.
    """
    try:
        text = (directory / "node.json").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = _from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, ArithmeticError) as failure:
        raise RecordError(f"{directory / 'node.json'} cannot be understood: {failure}") from failure
    with contextlib.suppress(OSError):
        if record.directory.samefile(directory):
            return record
    raise RecordError(f"{directory / 'node.json'} describes a node in another place, {record.directory}")


def write_owner(record: NodeRecord) -> None:
    """Name the record from within its temporary directory."""
    write_atomically(Path(record.temp_dir) / "owner.json", json.dumps(_to_json(record)).encode())


def owners() -> Iterator[NodeRecord]:
    """The records that this user's temporary directories name as their own. Everybody may write to the directory they lie in,
    so one that is a link, belongs to somebody else or names another temporary directory counts for nothing."""
    for directory in sorted(TEMP_ROOT.glob("skyc-*")):
        record = owner(directory)
        if record is not None and record.temp_dir == str(directory):
            yield record


def owner(directory: Path) -> NodeRecord | None:
    """The record in a temporary directory, None when there is none that this user wrote and skyc understands."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, ArithmeticError):
        file = directory / "owner.json"
        if all(place.lstat().st_uid == os.getuid() and not place.is_symlink() for place in (directory, file)):
            return _from_json(json.loads(file.read_text(encoding="utf-8")))
    return None


def _to_json(record: NodeRecord) -> JsonObject:
    ports = record.ports
    return {
        "format": FORMAT,
        "id": record.id,
        "home": record.home,
        "deployment": record.deployment,
        "name": record.name,
        "group": record.group,
        "rank": record.rank,
        "role": record.role,
        "cpus": str(record.cpus),
        "memory_mb": record.memory_mb,
        "accelerators": dict(record.accelerators),
        "labels": dict(record.labels),
        "python": record.python,
        "ray": record.ray,
        "head_address": record.head_address,
        "head_life": record.head_life,
        "temp_dir": record.temp_dir,
        "boot": record.boot,
        "devices": list(record.devices),
        "status": record.status,
        "python_path": record.python_path,
        "supervisor_pid": record.supervisor_pid,
        "ports": None
        if ports is None
        else {
            "gcs": ports.gcs,
            "dashboard": ports.dashboard,
            "agent": ports.agent,
            "agent_grpc": ports.agent_grpc,
            "runtime_env": ports.runtime_env,
            "metrics": ports.metrics,
            "node_manager": ports.node_manager,
            "object_manager": ports.object_manager,
        },
    }


def _from_json(data: JsonObject) -> NodeRecord:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']} is not {FORMAT}: another version of skyc wrote it")
    given = {name: value for name, value in data.items() if name != "format"}
    ports = given.pop("ports")
    return NodeRecord(
        **{
            **given,
            "cpus": Decimal(given["cpus"]),
            "accelerators": FrozenMap(given["accelerators"]),
            "labels": FrozenMap(given["labels"]),
            "devices": tuple(given["devices"]),
        },
        # Older records have another one.
        ports=None if ports is None else Ports(**{name: port for name, port in ports.items() if name != "client"}),
    )


def running(record: NodeRecord, ports: Ports, supervisor_pid: int) -> NodeRecord:
    return replace(record, status="running", ports=ports, supervisor_pid=supervisor_pid)


@contextlib.contextmanager
def node_lock(directory: Path, *, wait: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a node for the length of the context, across processes. Ends with the process, even by SIGKILL.

    Raises RecordError when another process holds it for longer than `wait` seconds.
    """
    path = directory.with_name(f".{directory.name}.lock")
    deadline = time.monotonic() + wait
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _locked(handle, path):
                try:
                    yield
                finally:
                    # Unlinked while held: whoever waits on this inode sees that the name is gone and opens a new one.
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)
        if time.monotonic() > deadline:
            raise RecordError(f"another process has been working on the node {directory.name} for {wait:.0f} s")
        time.sleep(0.05)


def _locked(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here, named = os.fstat(handle), path.stat()
    except (BlockingIOError, FileNotFoundError):
        return False
    return (here.st_dev, here.st_ino) == (named.st_dev, named.st_ino)
