"""The process that owns one rank's processes: it starts them and leaves none behind, whatever happens to Ray.

Runs as `python -I -S keeper.py STATUS_FD` with the user's environment, standard library only. Contract:

- stdin carries commands, one JSON list per line: `["run", "/path/script"]` starts `bash script`; `["end", seconds]` stops
  everything with that much grace. End of file means the runner is dead and is the same as `["end", 5]`.
- STATUS_FD carries answers, one per line: `exit CODE` when the script ended (128+n for signal n), `gone` when none
  of its processes is left.
- stdout and stderr are the script's own.

The program returns at once; the keeper is its orphan. It is a child subreaper, so a grandchild that left the session and lost
its parent is still its descendant: walking the descendants finds every one. What the script leaves running lives until the end
of the job, so that a server started by `setup` can serve `run`.
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

_PR_SET_CHILD_SUBREAPER = 36
_ORPHAN_GRACE = 5.0


def descendants(root: int) -> set[int]:
    """Process ids below `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (pathlib costs import time here)
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:  # noqa: PTH123
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def send(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


class Keeper:
    def __init__(self, status: int) -> None:
        self.status = status
        self.script: int | None = None
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.wake, waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        # Ray blocks SIGINT in its workers; the user's processes start with a clean mask. Handlers (not SIG_IGN, which a
        # child would inherit) keep the keeper alive while its own tree is being signalled.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self.status, line.encode() + b"\n")

    def start(self, script: str) -> None:
        try:
            child = subprocess.Popen(["bash", script], stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            os.write(2, f"skyc: bash could not be started: {error}\n".encode())
            self.say("exit 127")
            return
        self.script = child.pid
        child.returncode = 0  # `reap` collects it; this keeps Popen from waiting for it, too

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.script:
                    self.script = None
                    code = os.waitstatus_to_exitcode(status)
                    self.say(f"exit {code if code >= 0 else 128 - code}")

    def rest(self, seconds: float) -> None:
        """Sleep, but wake when a child ends."""
        select.select([self.wake], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)
        self.reap()

    def end(self, grace: float) -> None:
        """Stop every descendant. New ones that appear meanwhile are stopped as well."""
        deadline = time.monotonic() + grace
        told: set[int] = set()
        while left := descendants(os.getpid()):
            if time.monotonic() < deadline:
                send(left - told, signal.SIGTERM)
                send(left - told, signal.SIGCONT)
                told |= left
                self.rest(0.05)
            else:
                send(left, signal.SIGKILL)
                self.rest(0.02)
                if time.monotonic() > deadline + 20:  # unkillable (stuck in the kernel): say so rather than hang
                    os.write(2, f"skyc: processes {sorted(left)} cannot be killed\n".encode())
                    break
        self.reap()
        self.say("gone")

    def serve(self) -> None:
        pending = b""
        while True:
            ready, _, _ = select.select([0, self.wake], [], [])
            if self.wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
                self.reap()
            if 0 not in ready:
                continue
            data = os.read(0, 65536)
            if not data:
                return self.end(_ORPHAN_GRACE)
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                command, argument = json.loads(line)
                if command == "end":
                    return self.end(float(argument))
                self.start(str(argument))


if __name__ == "__main__":
    # A dying Ray worker kills its direct children with SIGKILL. The keeper must outlive it to clean up, hence no child of it.
    if os.fork():
        os._exit(0)
    status_fd = int(sys.argv[1])
    os.set_inheritable(status_fd, False)
    Keeper(status_fd).serve()
