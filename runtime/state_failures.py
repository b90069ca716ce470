"""What can be wrong with skyc's home and its memory of states, in words: what, why, what to do."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, error
from ..compiler.ir import SiteId
from .records import StateMemory

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


def state_refusal(site: SiteId, remembered: StateMemory | None, found: StateMemory | None) -> Diagnostic | None:
    """Why a site's Terraform state must not be used, or None when it may.

    Terraform accepts an empty or older state and then creates everything a second time. A newer serial of the same lineage
    is fine: an apply that was cut off, or a person running Terraform, wrote it.
    """
    if remembered is None or (found is None and remembered.resources == 0):
        return None
    known = f"skyc last saw serial {remembered.serial} with {remembered.resources} resources (lineage {remembered.lineage})"
    todo = "Put the right state file back (Terraform keeps the one before as terraform.tfstate.backup), then run this again."
    if found is None:
        return error("state-missing", "The Terraform state of a site is gone.", f"Site {site}: {known}. {todo}")
    if found.lineage != remembered.lineage:
        detail = f"Site {site}: {known}, but the file belongs to lineage {found.lineage}. {todo}"
        return error("state-foreign", "The Terraform state of a site belongs to something else.", detail)
    if found.serial < remembered.serial:
        detail = f"Site {site}: {known}, but the file has serial {found.serial} with {found.resources} resources. {todo}"
        return error("state-older", "The Terraform state of a site is older than what skyc has seen.", detail)
    if found.serial == remembered.serial and found.sha256 != remembered.sha256:
        detail = f"Site {site}: {known}; the file has the same serial and other contents. It was edited, or restored. {todo}"
        return error("state-forked", "The Terraform state of a site was changed outside Terraform.", detail)
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
