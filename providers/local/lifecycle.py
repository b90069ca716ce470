"""Create, look at and delete one local node.

Contract
- `create` is idempotent in its name: whatever an earlier life under that name left, finished or not, is removed first. It
  either returns a running node or leaves nothing behind; killed in between, it leaves a record from which `delete` clears it all.
- `delete` returns only when no process, directory or temporary directory of that life is left.
- One process at a time works on a node (`record.node_lock`).
- Nothing is ended and nothing removed for a record or a path that is not a node's (`record`, `trees`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..tokens import token_of
from . import catalog, cluster, processes
from .bootstrap import BootstrapError, environments_of, make_environments, node_environment
from .record import (
    NodeRecord,
    Ports,
    RecordError,
    load,
    new_life,
    node_lock,
    owner,
    owners,
    running,
    save,
    write_atomically,
    write_owner,
)
from .trees import NotRemovable, check_node_tree, nodes_folder, remove_node_tree

PORT_ATTEMPTS = 4
_FOLDERS = ("home", "workdir", "jobs", "bundles", "logs")


class NodeError(Exception):
    """A node could not be made or removed. `detail` says why and what to do."""

    def __init__(self, summary: str, detail: str) -> None:
        super().__init__(f"{summary}: {detail}")
        self.summary = summary
        self.detail = detail


def create(
    wanted: NodeRecord,
    *,
    environ: Mapping[str, str],
    choose_ports: Callable[[NodeRecord], Ports] = cluster.choose_ports,
) -> NodeRecord:
    """Make the node, in a life of its own, and wait until its Ray answers. Returns the record of that life.

    Raises NodeError, leaving nothing behind.
    """
    with _locked(wanted.directory):
        _remove_earlier(wanted)
        record = new_life(wanted)
        try:
            _make_directory(record)
            with _devices(record) as (record, all_devices):
                save(record)
            return _bring_up(record, environ, all_devices, choose_ports)
        except (cluster.StartError, cluster.PortTaken, BootstrapError, OSError) as failure:
            # Before the logs go.
            detail = _explain(failure)
            _clear(record)
            raise NodeError(f"the local node {record.name} could not be created", detail) from failure
        except BaseException:
            _clear(record)
            raise


def delete(record: NodeRecord) -> None:
    """Remove this life of the node, whatever state it is in. Removing what is gone is fine. Raises NodeError."""
    with _locked(record.directory):
        _clear(record)


def find_records(home: Path, deployment: str) -> tuple[NodeRecord, ...]:
    """Every life of the deployment's nodes in the world, sorted by name and id: from the records, and from temporary
    directories whose record is gone. Raises NodeError for a record that cannot be understood."""
    found: dict[str, NodeRecord] = {}
    for directory in _directories(home, deployment):
        record = _load(directory)
        if record is not None:
            found[record.id] = record
    for record in owners():
        if record.home == str(home) and record.deployment == deployment:
            found.setdefault(record.id, record)
    return tuple(sorted(found.values(), key=lambda record: (record.name, record.id)))


def bare_directories(home: Path, deployment: str) -> tuple[Path, ...]:
    """Node directories without a record: made by a create that was killed in its first instant. Nothing runs there."""
    return tuple(directory for directory in _directories(home, deployment) if not (directory / "node.json").exists())


def _directories(home: Path, deployment: str) -> list[Path]:
    folder = nodes_folder(home, deployment)
    return sorted(entry for entry in folder.iterdir() if _is_node(entry)) if folder.is_dir() else []


def _is_node(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.is_dir() and not entry.is_symlink()


def remove_bare(directory: Path, home: Path) -> None:
    """Remove a directory of `bare_directories`. Raises NodeError."""
    with _locked(directory):
        if not (directory / "node.json").exists():
            _remove_tree(directory, home)


def current(record_id: str, directory: Path) -> NodeRecord | None:
    """The record of that life if it is the one in the directory now."""
    record = _load(directory)
    return record if record is not None and record.id == record_id else None


def set_rank(record: NodeRecord, rank: int) -> NodeRecord:
    """Change the only thing about a node that is not part of how it was started."""
    with _locked(record.directory):
        return save(replace(record, rank=rank))


def _load(directory: Path) -> NodeRecord | None:
    try:
        return load(directory)
    except RecordError as failure:
        raise NodeError(
            "the record of a local node cannot be read",
            f"{failure}. Remove that file, and apply or destroy again: what belongs to the node is then found without it.",
        ) from failure


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        with node_lock(directory):
            yield
    except RecordError as failure:
        raise NodeError("a local node is busy", f"{failure}. Wait for it, or end it, and try again.") from failure


def _remove_earlier(wanted: NodeRecord) -> None:
    for record in find_records(Path(wanted.home), wanted.deployment):
        if record.name == wanted.name:
            _clear(record)
    _remove_tree(wanted.directory, Path(wanted.home))


def _make_directory(record: NodeRecord) -> None:
    record.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.directory.mkdir(mode=0o700)


@contextlib.contextmanager
def _devices(record: NodeRecord) -> Iterator[tuple[NodeRecord, tuple[int, ...]]]:
    """The record with GPUs no other node of this home uses, and the indices of all GPUs. The choice is safe from other
    creates until the context ends, by when the record must be saved."""
    devices = dict(catalog.machine().devices)
    everything = tuple(sorted(index for indices in devices.values() for index in indices))
    if not record.accelerators:
        yield record, everything
        return
    handle = os.open(Path(record.home) / ".devices.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        used = _used_devices(Path(record.home), record.id)
        chosen: list[int] = []
        for name, count in record.accelerators.items():
            free = [index for index in devices.get(name, ()) if index not in used]
            if len(free) < count:
                raise cluster.StartError(f"{count} × {name} asked for, {len(free)} not in use by other nodes")
            chosen += free[:count]
        yield replace(record, devices=tuple(sorted(chosen))), everything
    finally:
        os.close(handle)


def _used_devices(home: Path, own: str) -> set[int]:
    used: set[int] = set()
    for file in home.glob("deployments/*/nodes/*/node.json"):
        with contextlib.suppress(RecordError):
            other = load(file.parent)
            if other is not None and other.id != own:
                used.update(other.devices)
    return used


def _bring_up(
    record: NodeRecord, environ: Mapping[str, str], all_devices: tuple[int, ...], choose_ports: Callable[[NodeRecord], Ports]
) -> NodeRecord:
    Path(record.temp_dir).mkdir(mode=0o700)
    write_owner(record)
    for name in _FOLDERS:
        (record.directory / name).mkdir(mode=0o700)
    token = token_of(Path(record.home), record.deployment)
    write_atomically(record.directory / "token", token.encode())
    environment = node_environment(record, environ, all_devices)
    environments = environments_of(record)
    make_environments(record, environments, environment)
    record = save(replace(record, python_path=str(environments.runtime / "bin" / "python")))
    for attempt in range(1, PORT_ATTEMPTS + 1):
        ports = choose_ports(record)
        try:
            supervisor_pid = cluster.start(record, ports, environment, token)
        except cluster.PortTaken:
            if attempt == PORT_ATTEMPTS:
                raise
            _end(record)
            _remove_tree(Path(record.temp_dir), Path(record.home), keep=frozenset({"owner.json"}))
        else:
            return save(running(record, ports, supervisor_pid))
    raise AssertionError("unreachable")


def _explain(failure: Exception) -> str:
    log = getattr(failure, "log", None)
    end = cluster.tail(log) if log is not None else ""
    return f"{failure}. The end of {log.name} says:\n{end}" if log is not None and end else f"{failure}"


def _clear(record: NodeRecord) -> None:
    """Processes first, then files: as long as the record exists, the processes can be found."""
    home, temp_dir = Path(record.home), Path(record.temp_dir)
    for path in (temp_dir, record.directory):
        _check(path, home)
    _end(record)
    named = owner(temp_dir)
    if named is None or named.id == record.id:
        _remove_tree(temp_dir, home)
    here = _load(record.directory)
    if here is None or here.id == record.id:
        _remove_tree(record.directory, home)


def _check(path: Path, home: Path) -> None:
    try:
        check_node_tree(path, home)
    except NotRemovable as failure:
        raise NodeError("a local node cannot be removed", f"{failure}. Nothing was ended or removed.") from failure


def _remove_tree(path: Path, home: Path, *, keep: frozenset[str] = frozenset()) -> None:
    try:
        remove_node_tree(path, home, keep=keep)
    except NotRemovable as failure:
        raise NodeError("the files of a local node cannot be removed", f"{failure}. They are all still there.") from failure
    except OSError as failure:
        raise NodeError(
            "the files of a local node cannot be removed",
            f"{failure}. Some of them are still there; remove the cause and try again.",
        ) from failure


def _end(record: NodeRecord) -> None:
    if processes.runs_inside(record):
        raise NodeError(
            f"the local node {record.name} cannot be removed from within",
            "This command runs on that node and would end itself half-way. Run it outside. Nothing was ended or removed.",
        )
    survivors = processes.end(record)
    if survivors:
        pids = ", ".join(str(process.pid) for process in sorted(survivors, key=lambda process: process.pid))
        raise NodeError(
            f"processes of the local node {record.name} do not end",
            f"These stayed after SIGKILL, likely waiting for a device or a network file system: {pids}. "
            "Nothing was removed; try again when they are gone.",
        )
