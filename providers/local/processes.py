"""Find and end every process of one node's life, and no other.

A process belongs to a life when one of these holds:
1. the supervisor recorded it (pid and start time, so a reused pid is never mistaken for it);
2. its environment carries `SKYC_NODE_LIFE=<id>`;
3. it is this user's, its environment is gone (setproctitle overwrites it, `env -i` empties it) and its working directory or
   command line names the node's directory or Ray's temporary directory. With an environment of its own it is somebody's shell
   or editor: left alone;
4. it descends from one of these.

The node's directory counts for 1 and 3 only while the record in it is this life's: a later life under the same name may be
running there. The caller and its ancestors are never among those found; `runs_inside` tells whether they would be.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .record import NodeRecord, RecordError, boot_id, load

GRACE_SECONDS = 2.0
LIMIT_SECONDS = 30.0
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One life of a pid: `start` is the kernel's start time in clock ticks since boot."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class _Row:
    process: Process
    parent: int


def alive(process: Process) -> bool:
    """Whether exactly this process still runs. A zombie does not: it holds nothing and only waits to be collected."""
    row = _row(process.pid)
    return row is not None and row.process == process


def _row(pid: int) -> _Row | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return _Row(Process(pid, int(fields[19])), int(fields[1]))


def _table() -> dict[int, _Row]:
    rows = (_row(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return {row.process.pid: row for row in rows if row is not None}


def find(record: NodeRecord, known: frozenset[Process] = frozenset()) -> frozenset[Process]:
    """All living processes of the record's life; `known` are taken as belonging to it."""
    table = _table()
    members = _members(record, known, table)
    own = _ancestors(table)
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row.parent, []).append(pid)
    members -= own
    queue = list(members)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in members and child not in own:
                members.add(child)
                queue.append(child)
    return frozenset(table[pid].process for pid in members)


def runs_inside(record: NodeRecord) -> bool:
    """Whether the caller itself runs on the node: then it cannot end the node's processes, since it is one of them."""
    table = _table()
    return not _members(record, frozenset(), table).isdisjoint(_ancestors(table))


def _members(record: NodeRecord, known: frozenset[Process], table: dict[int, _Row]) -> set[int]:
    """Pids that belong to the life by themselves, whatever their parents are."""
    here = _is_here(record)
    recorded = (_recorded(record) if here and record.boot == boot_id() else frozenset()) | known
    marker = f"SKYC_NODE_LIFE={record.id}".encode()
    places = [_path_pattern(record.temp_dir), *([_path_pattern(str(record.directory))] if here else [])]
    return {pid for pid, row in table.items() if row.process in recorded or _marked(pid, marker, places)}


def _is_here(record: NodeRecord) -> bool:
    """Whether the node's directory is this life's, or nobody's."""
    try:
        current = load(record.directory)
    except (RecordError, OSError):
        return False
    return current is None or current.id == record.id


def _ancestors(table: dict[int, _Row]) -> set[int]:
    own, pid = set[int](), os.getpid()
    while pid and pid not in own:
        own.add(pid)
        pid = table[pid].parent if pid in table else 0
    return own


def _recorded(record: NodeRecord) -> frozenset[Process]:
    try:
        lines = (record.directory / "processes").read_bytes().splitlines()
    except OSError:
        return frozenset()
    pairs = (line.split() for line in lines)
    return frozenset(Process(int(pair[0]), int(pair[1])) for pair in pairs if len(pair) == 2 and all(map(bytes.isdigit, pair)))


def _marked(pid: int, marker: bytes, places: list[re.Pattern[bytes]]) -> bool:
    folder = _PROC / str(pid)
    try:
        variables = (folder / "environ").read_bytes().split(b"\0")
        if marker in variables:
            return True
        if any(b"=" in variable for variable in variables) or folder.stat().st_uid != os.getuid():
            return False
        where = [os.fsencode(folder.joinpath("cwd").readlink()), *(folder / "cmdline").read_bytes().split(b"\0")]
    except OSError:
        return False
    return any(place.search(text) for text in where for place in places)


def _path_pattern(path: str) -> re.Pattern[bytes]:
    """Finds the path, or one below it, in a command line: whole components, so neither a longer name nor a longer way to it."""
    return re.compile(rb"(?:^|[\s='\":,;(\[{])" + re.escape(os.fsencode(path)) + rb"(?:$|[/\s'\":,;)\]}])")


def end(record: NodeRecord, *, limit: float = LIMIT_SECONDS) -> frozenset[Process]:
    """End every process of the life: SIGTERM, a short grace, SIGKILL, repeated until none is found. Returns the survivors.

    The supervisor goes last: as long as it lives, whatever loses its parent becomes its child and stays in sight.
    """
    began = time.monotonic()
    known: frozenset[Process] = frozenset()
    asked: set[Process] = set()
    quiet = 0
    while True:
        found = find(record, known)
        known |= found
        if not found:
            # Twice in a row: a process may have been forked while the table was read.
            quiet += 1
            if quiet == 2:
                return frozenset()
            continue
        quiet = 0
        elapsed = time.monotonic() - began
        if elapsed > limit:
            return found
        others = frozenset(process for process in found if not _is_supervisor(process))
        for process in others or found:
            if elapsed > GRACE_SECONDS:
                _signal(process, signal.SIGKILL)
            elif process not in asked:
                asked.add(process)
                _signal(process, signal.SIGTERM)
        time.sleep(0.05)


def _is_supervisor(process: Process) -> bool:
    with contextlib.suppress(OSError):
        return b"skyc.runtime.node.supervisor" in (_PROC / str(process.pid) / "cmdline").read_bytes().split(b"\0")
    return False


def _signal(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process: the handle is taken first, then the identity checked, so a reused pid is never hit."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError:
        if alive(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        return
    try:
        if alive(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)
