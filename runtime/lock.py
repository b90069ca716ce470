"""One command at a time per deployment: a lock that lives as long as skyc or a Terraform run it started.

Contract
- The lock is an flock on `<home>/deployments/<id>/lock`. A child that inherits `Lock.fd` (`pass_fds`) keeps it when skyc is
  killed, so nobody touches a state that a surviving Terraform is still writing. Nobody ever has to unlock by hand: the kernel
  does it when the last holder is gone.
- Who holds it stands beside it, in `lock.holder`. That file is for people: it may be stale or missing and decides nothing.
- The lock file may be removed (a purge does) while others wait for it: they notice and wait for the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import DeploymentId
from .state import deployment_directory, prepare_home, utc_now
from .state_failures import cannot_use_home

POLL_SECONDS = 0.1
SETTLE_SECONDS = 0.3
"""How long a busy lock may look as if nobody held it: its new holder is about to write down who it is."""
_PURGES = 10
"""In a row, of one deployment, each in the moment between two calls of ours: more are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who took the lock. `pid_started`: the process's start, so that another one with its number is not taken for it.
    `released`: the command is over, but a program it started still holds the lock."""

    pid: int
    pid_started: float
    host: str
    command: str
    since: datetime
    released: bool = False

    @property
    def alive(self) -> bool | None:
        """Whether that process still runs; None for one of another host."""
        if self.host != socket.gethostname():
            return None
        return abs(_started(self.pid) - self.pid_started) < 1.0

    @property
    def left_behind(self) -> bool:
        """The command that took the lock is over or was killed; what it started is not."""
        return self.released or self.alive is False

    def __str__(self) -> str:
        """A sentence for people."""
        since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC")
        who = f"`{self.command}` (process {self.pid} on {self.host}, since {since})"
        if self.left_behind:
            return f"{who} is over, but a Terraform run it started is still working."
        return f"{who} is working on it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A held lock. `fd`: give it to every Terraform run in `pass_fds`."""

    deployment: DeploymentId
    fd: int
    holder: Holder


@contextmanager
def deployment_lock(
    home: Path,
    deployment: DeploymentId,
    *,
    command: str,
    wait: float | None = None,
    on_wait: Callable[[Holder | None], None] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Iterator[Lock]:
    """Hold the deployment's lock for the length of the context.

    command: shown to whoever has to wait; must hold no secret.
    wait: seconds to wait for another holder; None for as long as it takes; 0 not at all.
    on_wait: called when waiting begins and whenever the holder changes; None when nobody knows who it is.
    Raises SkycError `deployment-busy` when the wait is over.
    """
    directory = deployment_directory(home, deployment)
    prepare_home(home)
    fd = _take(directory, deployment, wait, on_wait)
    try:
        pid = os.getpid()
        holder = Holder(pid=pid, pid_started=_started(pid), host=socket.gethostname(), command=command, since=now())
        _write_holder(directory, holder)
        yield Lock(deployment=deployment, fd=fd, holder=holder)
    finally:
        _write_released(directory, fd)
        # No LOCK_UN: it would take the lock from a child that shares it. Closing gives up our part alone.
        os.close(fd)


def lock_holder(home: Path, deployment: DeploymentId) -> Holder | None:
    """Who works on the deployment right now, None if nobody does. Changes nothing; a lock whose holder is not known yet
    counts as free."""
    directory = deployment_directory(home, deployment)
    try:
        fd = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock: two readers never make each other, or a command that waits, believe that somebody works.
        return None if _try(fd, fcntl.LOCK_SH) else _read_holder(directory)
    finally:
        os.close(fd)


def _take(
    directory: Path, deployment: DeploymentId, wait: float | None, on_wait: Callable[[Holder | None], None] | None
) -> int:
    began = time.monotonic()
    told: tuple[Holder | None, bool] | None = None
    while True:
        fd = _open(directory)
        try:
            if _try(fd, fcntl.LOCK_EX):
                if _still_there(fd, directory):
                    return fd
                os.close(fd)
                continue
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        holder = _read_holder(directory)
        waited = time.monotonic() - began
        left_behind = holder is None or holder.left_behind
        if not (left_behind and waited < SETTLE_SECONDS):
            if wait is not None and waited >= wait:
                raise SkycError(_busy(deployment, holder))
            if on_wait is not None and told != (holder, left_behind):
                told = (holder, left_behind)
                on_wait(holder)
        time.sleep(POLL_SECONDS if wait is None else max(0.01, min(POLL_SECONDS, wait - waited)))


def _open(directory: Path) -> int:
    for attempts_left in reversed(range(_PURGES)):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as failure:
            # Purged between the two lines above; or a file system where nothing can be made, which would say so for ever.
            if not attempts_left:
                raise SkycError(cannot_use_home(directory, failure)) from failure
        except OSError as failure:
            raise SkycError(cannot_use_home(directory, failure)) from failure
    raise AssertionError("the last attempt returns or raises")


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(fd: int, directory: Path) -> bool:
    """The file we locked is the one the name stands for; a purge may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), (directory / "lock").stat())
    except FileNotFoundError:
        return False


def _write_holder(directory: Path, holder: Holder) -> None:
    content = json.dumps({**asdict(holder), "since": holder.since.astimezone(UTC).isoformat()})
    temporary = directory / f"lock.holder.{secrets.token_hex(4)}"
    try:
        temporary.write_text(content)
        temporary.replace(directory / "lock.holder")
    except OSError:
        # A full disk must not keep a destroy from freeing it; waiters then read an older name or none.
        with suppress(OSError):
            temporary.unlink()


def _write_released(directory: Path, fd: int) -> None:
    if not _still_there(fd, directory):
        return
    holder = _read_holder(directory)
    if holder is not None and holder.pid == os.getpid():
        _write_holder(directory, Holder(**{**asdict(holder), "released": True}))


def _read_holder(directory: Path) -> Holder | None:
    try:
        found = json.loads((directory / "lock.holder").read_text())
        return Holder(
            pid=int(found["pid"]),
            pid_started=float(found["pid_started"]),
            host=str(found["host"]),
            command=str(found["command"]),
            since=datetime.fromisoformat(found["since"]),
            released=bool(found["released"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _started(pid: int) -> float:
    """When a process began, in seconds since the epoch; 0 for one that is gone (a zombie is)."""
    import psutil  # only who takes or waits for a lock pays for it

    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return 0.0


def _busy(deployment: DeploymentId, holder: Holder | None) -> Diagnostic:
    who = "Another process holds its lock." if holder is None else str(holder)
    return error(
        "deployment-busy",
        "Another command is working on this deployment.",
        f"{deployment}: {who} Two at once would destroy each other's work. Wait until it is done (without --no-wait skyc waits "
        "for you), or stop it with Ctrl-C where it runs.",
        commands=("skyc status " + deployment,),
    )
