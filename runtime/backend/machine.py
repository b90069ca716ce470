"""Which machine this is, and whether a command on it, or its Terraform, can still be at work.

A lock file says more than a process id: whoever works on a deployment holds it, and so does the Terraform it started (`runtime/lock.py`).
So a lock that can be had proves that nothing of its last holder is left.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command works: a lock file of a home on a machine. `boot`: of this run of the machine."""

    host: str
    machine: str
    boot: str
    lock: str
    device: int
    inode: int


def here(lock: Path) -> Place:
    """This machine and the lock, which is held."""
    found = lock.stat()
    machine, boot = _identity()
    return Place(host=socket.gethostname(), machine=machine, boot=boot, lock=str(lock), device=found.st_dev, inode=found.st_ino)


def home_label(home: Path) -> str:
    """A home for people and for comparison: `host:/home/me/.skyc`."""
    return f"{socket.gethostname()}:{home}"


def is_over(then: Place, mine: Place) -> bool:
    """Whether everything that worked there is proven to have ended. False where that cannot be known. `mine` is held."""
    if then.boot != mine.boot:
        # The same home on the same machine, started anew since.
        return (then.host, then.machine, then.lock, then.inode) == (mine.host, mine.machine, mine.lock, mine.inode)
    if (then.lock, then.device, then.inode) == (mine.lock, mine.device, mine.inode):
        return True
    return _is_free(then)


def _is_free(place: Place) -> bool:
    """The lock of another home of this machine. A file of that name in another container is another file."""
    try:
        file = os.open(place.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        found = os.fstat(file)
        if (found.st_dev, found.st_ino) != (place.device, place.inode):
            return False
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


@lru_cache(maxsize=1)
def _identity() -> tuple[str, str]:
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        boot = str(int(psutil.boot_time()))
    return machine, boot
