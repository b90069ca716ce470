"""The one parent of everything a node runs: starts Ray, records every process below it, ends when Ray ends.

Contract: `python -m skyc.runtime.node.supervisor DIRECTORY START_FILE` daemonizes and returns at once. START_FILE is JSON:
`{"command": […]}`; the command is Ray's, in the foreground. Standard library only, so that it runs on any node.

Invariants
- It is a child subreaper: whatever a job leaves behind, double-forked or in a session of its own, becomes its child and so
  stays below it for as long as it lives.
- `processes` in DIRECTORY is append-only: one line `pid start` per process ever seen below it, `start` in ticks since boot.
  Written at least twice a second, so that a SIGKILL of the supervisor loses nothing older than that.
- `supervisor.json` is replaced atomically: `{"pid", "start", "state": "running" | "ended", "reason", "watched": {name: [pid,
  start]}}`. `watched` are the processes without which the node is dead.
- When Ray ends, on SIGTERM, and when DIRECTORY is gone, it ends all its descendants and then itself. It signals descendants
  only, each through a handle whose process was checked after the handle was taken.
- A full disk does not end it: what could not be written is written at the next turn.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
REFRESH_SECONDS = 0.5
GRACE_SECONDS = 2.0
WATCHED = ("raylet", "gcs_server")


@dataclass(frozen=True, slots=True)
class Process:
    """One life of a pid: `start` is the kernel's start time in clock ticks since boot."""

    pid: int
    start: int


def process_tree(root: int) -> dict[Process, str]:
    """All living descendants of `root` with their command names. Zombies are left out: they hold nothing."""
    names: dict[Process, str] = {}
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_bytes()
        except OSError:
            continue
        # The name is in parentheses and may itself hold spaces and parentheses: split at the last one.
        head, _, tail = text.rpartition(b")")
        fields = tail.split()
        process = Process(int(entry.name), int(fields[19]))
        children.setdefault(int(fields[1]), []).append(process)
        if fields[0] != b"Z":
            names[process] = head.partition(b"(")[2].decode(errors="replace")
    below: dict[Process, str] = {}
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), ()):
            queue.append(child.pid)
            if child in names:
                below[child] = names[child]
    return below


@dataclass(slots=True)
class Supervisor:
    """State of the running supervisor. The only mutable thing of this module."""

    directory: Path
    command: list[str]
    recorded: set[Process] = field(default_factory=set)
    watched: dict[str, Process] = field(default_factory=dict)
    reported: bool = False
    stopping: bool = False

    def run(self) -> None:
        """Start Ray and stay until it has ended."""
        me = own_process()
        self._record({me})
        wake = self._wake_on_signals()
        with (self.directory / "logs" / "ray-start.log").open("ab") as log:
            ray = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        status: int | None = None
        try:
            self._report(me, "running", "")
            while status is None and not self.stopping and self.directory.is_dir():
                select.select([wake], [], [], REFRESH_SECONDS)
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 512)
                status = self._reap(ray.pid)
                self._refresh(me)
        finally:
            self._end_descendants()
        reason = "it was told to stop" if status is None else f"`ray start` ended with status {status}"
        self._report(me, "ended", reason)

    def _wake_on_signals(self) -> int:
        """A file descriptor that becomes readable at SIGCHLD and SIGTERM, so the loop sleeps until there is something to do."""
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return read_end

    def _stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def _reap(self, ray: int) -> int | None:
        """Collect ended children, adopted ones too. Returns Ray's exit status once it is among them."""
        ended = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return -1 if ended is None else ended
            if pid == 0:
                return ended
            if pid == ray:
                ended = os.waitstatus_to_exitcode(status)

    def _refresh(self, me: Process) -> None:
        below = process_tree(me.pid)
        self._record(set(below) - self.recorded)
        for process, name in below.items():
            if name in WATCHED and name not in self.watched:
                self.watched[name] = process
                self.reported = False
        if not self.reported:
            self._report(me, "running", "")

    def _record(self, processes: set[Process]) -> None:
        if not processes:
            return
        text = "".join(f"{process.pid} {process.start}\n" for process in sorted(processes, key=lambda p: p.pid))
        with contextlib.suppress(OSError):
            # One write call: a reader never sees a torn line of an earlier record.
            handle = os.open(self.directory / "processes", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, text.encode())
            finally:
                os.close(handle)
            self.recorded |= processes

    def _report(self, me: Process, state: str, reason: str) -> None:
        facts = {
            "pid": me.pid,
            "start": me.start,
            "state": state,
            "reason": reason,
            "watched": {name: [process.pid, process.start] for name, process in self.watched.items()},
        }
        target = self.directory / "supervisor.json"
        temporary = target.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(facts))
            temporary.replace(target)
            self.reported = True

    def _end_descendants(self) -> None:
        """SIGTERM, a short grace, then SIGKILL until none is left. New ones keep arriving here while their parents end."""
        below = process_tree(os.getpid())
        self._record(set(below) - self.recorded)
        for process in below:
            send(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while below:
            self._reap(0)
            below = process_tree(os.getpid())
            self._record(set(below) - self.recorded)
            if time.monotonic() > deadline:
                for process in below:
                    send(process, signal.SIGKILL)
            if below:
                time.sleep(0.02)


def own_process() -> Process:
    """This process's own record."""
    return Process(os.getpid(), _start_of(os.getpid()))


def _start_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def send(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process; one that has ended meanwhile is left alone, and so is whoever has its pid now."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(process.pid)
        try:
            if _start_of(process.pid) == process.start:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def main(arguments: list[str]) -> int:
    """Daemonize, then supervise. The first process returns 0 as soon as the second has a session of its own."""
    directory, start = Path(arguments[0]), json.loads(Path(arguments[1]).read_text())
    if os.fork():
        return 0
    os.setsid()
    os.umask(0o077)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    Supervisor(directory=directory, command=list(start["command"])).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
