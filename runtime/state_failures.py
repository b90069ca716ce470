"""What can be wrong with skyc's home and its memory of states, in words: what, why, what to do."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, error

FULL_BELOW = 256 * 1024
"""Bytes. A write that failed with less than this free failed for want of room, whatever SQLite calls it."""

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def cannot_use_home(home: Path, failure: OSError) -> Diagnostic:
    """For an OSError while making or opening the home directory."""
    if failure.errno in _FULL:
        return _full(home)
    if failure.errno in _READ_ONLY:
        return _read_only(home, failure.strerror or "")
    return error(
        "home-unusable",
        "skyc's home directory cannot be used.",
        f"{home}: {failure.strerror or failure}. skyc keeps its state there and cannot work without it. "
        "Give another directory with --home or SKYC_HOME, or mend this one.",
    )


def not_private(home: Path) -> Diagnostic:
    return error(
        "home-not-private",
        "Other users can write in skyc's home directory.",
        f"Whoever writes in {home} decides what the next apply does. Close it, or choose another directory with SKYC_HOME.",
        commands=(f"chmod 700 {shlex.quote(str(home))}",),
    )


def newer_file(path: Path, found: int, known: int) -> Diagnostic:
    return error(
        "state-newer",
        "The state was written by a newer skyc.",
        f"{path} has format {found}; this skyc knows formats up to {known} and would lose what it cannot read. "
        "Use the newer skyc, or another directory with SKYC_HOME.",
    )


def sqlite_failure(path: Path, failure: sqlite3.DatabaseError) -> Diagnostic | None:
    """The user's part of an SQLite failure, or None when it is a bug of ours."""
    # A failure raised by Python's own wrapper carries no code.
    code = getattr(failure, "sqlite_errorcode", None)
    if code is None:
        return None
    kind = code & 0xFF
    if kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and _free(path.parent) < FULL_BELOW):
        return _full(path.parent)
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _read_only(path.parent, str(failure))
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, failure)
    if kind == sqlite3.SQLITE_BUSY:
        return error(
            "state-busy",
            "Another process keeps the state locked.",
            f"{path} stayed locked for a minute. A write takes milliseconds, so a skyc process is stopped or hangs: find it "
            "and end it. Nothing was changed.",
            commands=(f"fuser -v {shlex.quote(str(path))}",),
        )
    if kind == sqlite3.SQLITE_IOERR:
        return error(
            "state-unreadable",
            "The state could not be read or written.",
            f"{path}: {failure}. The disk or file system reported a fault. Look at the system's log before going on.",
        )
    return None


def _full(home: Path) -> Diagnostic:
    return error(
        "disk-full",
        "The disk of skyc's home directory is full.",
        f"There is no room left below {home}, so skyc cannot write down what it does and stops before doing it. "
        "Free some space, then run the same command again: it goes on from what is recorded.",
        commands=(f"df -h {shlex.quote(str(home))}",),
    )


def _read_only(home: Path, reason: str) -> Diagnostic:
    return error(
        "home-read-only",
        "skyc's home directory cannot be written.",
        f"{home}: {reason}. skyc writes down what it is about to do before it does it, so it needs a directory of its own. "
        "Give another one with --home or SKYC_HOME, or make this one writable.",
    )


def _damaged(path: Path, failure: sqlite3.DatabaseError) -> Diagnostic:
    return error(
        "state-damaged",
        "The state file is damaged.",
        f"{path}: {failure}. Restore it from a backup if you have one. Otherwise move it aside: what it remembered of jobs and "
        f"prices is lost, but the Terraform states below {path.parent / 'deployments'} are separate files, and `skyc apply` or "
        "`skyc destroy` with the same deployment name finds them again.",
        commands=(f"mv {shlex.quote(str(path))} {shlex.quote(str(path) + '.damaged')}",),
    )


def _free(directory: Path) -> int:
    try:
        found = os.statvfs(directory)
    except OSError:
        return FULL_BELOW
    return found.f_bavail * found.f_frsize
