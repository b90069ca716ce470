"""Copies a directory: in parallel, resumable, verified, and whole file by whole file.

Invariants:

- A file appears under its final name only when its bytes are complete, synced and read back equal to what was read.
- A copy that was interrupted leaves `<destination>/.skyc-copy`; the next one continues and removes it at the end. So a
  destination without that directory is complete, and one with it is refused as a source.
- A file that is there already counts as finished when its content is the source's: its size and SHA-256, or, for files that an
  interrupted copy finished, the recorded digest together with unchanged size, times and inode on both sides.
- Nothing is written outside the destination: its directories are opened one by one without following links.

Modes are kept, times of files too; owners, extended attributes and hard links are not. Files at the destination that the source
does not have are left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .base import StoreError, StoreFault, store_error
from .tree import EntryKind, TreeEntry, remove_tree, walk

UNFINISHED = ".skyc-copy"
_BLOCK = 1 << 20
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What `copy_tree` did. `files` and `bytes` were copied; `skipped` files were there already."""

    files: int
    bytes: int
    skipped: int


def copy_tree(source: Path, destination: Path, *, workers: int = 4) -> CopyReport:
    """Make `destination` hold everything below `source`. See the module for what holds when it is interrupted.

    Raises StoreError: INVALID for a link that leaves the source, a special file, or a link in the way at the destination;
    CHANGING when a source file keeps changing; FULL with `missing_bytes`; and whatever else reading and writing meet.
    """
    if not destination.is_absolute():
        raise StoreError(StoreFault.INVALID, f"The destination of a copy must have an absolute path; this is `{destination}`.")
    entries = walk(source)
    if any(entry.path == UNFINISHED for entry in entries):
        raise StoreError(
            StoreFault.INVALID, f"{source} is itself an unfinished copy (it holds {UNFINISHED}). Finish that copy first."
        )
    _refuse_nested(source, destination)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(destination):
            work = destination / UNFINISHED
            with contextlib.suppress(FileExistsError):
                work.mkdir(mode=0o700)
            with _Copy(source, destination, entries) as copy:
                report = copy.run(workers)
            remove_tree(work)
    except OSError as failure:
        raise store_error(failure, os.fsdecode(failure.filename or destination)) from failure
    return report


@contextlib.contextmanager
def _one_at_a_time(destination: Path) -> Iterator[None]:
    """Copies into one directory wait for each other. A file system that cannot lock a directory (NFS) goes without."""
    directory = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _refuse_nested(source: Path, destination: Path) -> None:
    inner, outer = Path(os.path.realpath(destination)), Path(os.path.realpath(source))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise StoreError(
            StoreFault.INVALID, f"{source} and {destination} lie inside each other, so one cannot be copied to the other."
        )


class _Copy:
    """One run of `copy_tree`, which holds the lock."""

    def __init__(self, source: Path, destination: Path, entries: tuple[TreeEntry, ...]) -> None:
        self._source, self._destination, self._entries = source, destination, entries
        self._work = destination / UNFINISHED
        self._lock = threading.Lock()
        self._files = self._bytes = self._skipped = 0
        self._done: set[str] = set()
        self._recorded = _read_journal(self._work / "finished.jsonl")

    def __enter__(self) -> _Copy:
        for leftover in self._work.glob("part-*"):
            leftover.unlink()
        self._root = os.open(self._destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parts = os.open(self._work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._journal = os.open(
            "finished.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=self._parts
        )
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._root, self._parts, self._journal):
            os.close(file)

    def run(self, workers: int) -> CopyReport:
        directories = [entry for entry in self._entries if entry.kind is EntryKind.DIRECTORY and entry.path != "."]
        for entry in directories:
            self._make_directory(entry.path)
        files = [entry for entry in self._entries if entry.kind is EntryKind.FILE]
        pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="skyc-copy")
        try:
            for done in [pool.submit(self._file, entry) for entry in files]:
                done.result()
        except OSError as failure:
            raise self._explained(failure) from failure
        finally:
            pool.shutdown(cancel_futures=True)
        for entry in self._entries:
            if entry.kind is EntryKind.LINK:
                self._link(entry)
        for entry in reversed(directories):  # children first: a parent may be read-only
            with self._opened(entry.path) as directory:
                os.fchmod(directory, entry.mode)
                os.fsync(directory)
        os.fchmod(self._root, self._entries[0].mode | stat.S_IRWXU)  # its owner must be able to continue a copy into it
        os.fsync(self._root)
        return CopyReport(files=self._files, bytes=self._bytes, skipped=self._skipped)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        """The destination's directory `path`, reached without following a link."""
        current = os.dup(self._root)
        try:
            for name in path.split("/") if path not in ("", ".") else ():
                try:
                    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=current)
                except OSError as failure:
                    if os.path.lexists(self._destination / path) and not isinstance(failure, PermissionError):
                        raise StoreError(
                            StoreFault.INVALID,
                            f"{self._destination / path} is a link or a file where the source has a directory.",
                        ) from failure
                    raise
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def _make_directory(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        with self._opened(parent) as above, contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
        with self._opened(path) as directory:
            mode = os.fstat(directory).st_mode
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                os.fchmod(directory, stat.S_IMODE(mode) | stat.S_IRWXU)

    def _link(self, entry: TreeEntry) -> None:
        parent, _, name = entry.path.rpartition("/")
        part = f"part-{secrets.token_hex(8)}"
        with self._opened(parent) as above:
            os.symlink(entry.target, part, dir_fd=self._parts)
            self._rename(part, name, above, entry.path)

    def _rename(self, part: str, name: str, above: int, path: str) -> None:
        try:
            os.rename(part, name, src_dir_fd=self._parts, dst_dir_fd=above)
        except IsADirectoryError as failure:
            raise StoreError(
                StoreFault.INVALID, f"{self._destination / path} is a directory where the source has something else."
            ) from failure

    def _file(self, entry: TreeEntry) -> None:
        parent, _, name = entry.path.rpartition("/")
        with self._opened(parent) as above:
            if self._is_finished(entry, above, name):
                with self._lock:
                    self._skipped += 1
                    self._done.add(entry.path)
                return
            part = f"part-{secrets.token_hex(8)}"
            try:
                digest, size = self._transfer(entry, part)
                self._rename(part, name, above, entry.path)
                os.fsync(above)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=self._parts)
                raise
            here = os.stat(name, dir_fd=above, follow_symlinks=False)
        self._record(entry, here, digest)
        with self._lock:
            self._files += 1
            self._bytes += size
            self._done.add(entry.path)

    def _transfer(self, entry: TreeEntry, part: str) -> tuple[str, int]:
        """Copy one file into `part`: (SHA-256, size). The source must be the same before and after it was read."""
        for _ in range(_TRIES):
            reader = os.open(self._source / entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                before = os.fstat(reader)
                writer = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._parts)
                try:
                    digest = _pour(reader, writer)
                    after = os.fstat(reader)
                    if _same(before, after):
                        os.fchmod(writer, stat.S_IMODE(before.st_mode))
                        os.utime(writer, ns=(before.st_mtime_ns, before.st_mtime_ns))
                        os.fsync(writer)
                        self._verify(writer, digest, entry)
                        return digest, before.st_size
                finally:
                    os.close(writer)
            finally:
                os.close(reader)
        raise StoreError(StoreFault.CHANGING, f"{self._source / entry.path} changed each of the {_TRIES} times it was copied.")

    def _verify(self, writer: int, digest: str, entry: TreeEntry) -> None:
        os.posix_fadvise(writer, 0, 0, os.POSIX_FADV_DONTNEED)  # read what the disk holds, not what memory remembers
        if _digest(writer) != digest:
            raise StoreError(
                StoreFault.DAMAGED, f"{self._destination / entry.path} read back differently from what was written."
            )

    def _is_finished(self, entry: TreeEntry, above: int, name: str) -> bool:
        try:
            here = os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(here.st_mode) or here.st_size != entry.size:
            return False
        recorded = self._recorded.get(entry.path)
        if recorded is not None and recorded == _fingerprint(entry, here, str(recorded[-1])):
            return True
        theirs, ours = -1, -1
        try:
            theirs = os.open(self._source / entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            ours = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
            if _digest(theirs) != _digest(ours):
                return False
            if stat.S_IMODE(here.st_mode) != entry.mode:
                os.fchmod(ours, entry.mode)
            return True
        except PermissionError:
            return False  # an unreadable file at the destination is replaced; an unreadable source fails when copied
        finally:
            for file in (theirs, ours):
                if file >= 0:
                    os.close(file)

    def _record(self, entry: TreeEntry, here: os.stat_result, digest: str) -> None:
        line = json.dumps([entry.path, *_fingerprint(entry, here, digest)]).encode() + b"\n"
        os.write(self._journal, line)  # one append per file: lines of several threads never mix

    def _explained(self, failure: OSError) -> StoreError:
        known = store_error(failure, os.fsdecode(failure.filename or self._destination))
        if known.kind is not StoreFault.FULL:
            return known
        left = sum(e.size for e in self._entries if e.kind is EntryKind.FILE and e.path not in self._done)
        space = os.statvfs(self._destination)
        missing = max(1, left - space.f_bavail * space.f_frsize)
        return StoreError(
            StoreFault.FULL,
            f"{self._destination} has no room for the {left} bytes that are left to copy: {missing} bytes are missing."
            f" The {len(self._done)} files that are finished stay.",
            missing_bytes=missing,
        )


def _fingerprint(entry: TreeEntry, here: os.stat_result, digest: str) -> tuple[int | str, ...]:
    theirs = (entry.size, entry.modified_ns, entry.changed_ns, entry.inode)
    return (*theirs, here.st_size, here.st_mtime_ns, here.st_ino, stat.S_IMODE(here.st_mode), digest)


def _read_journal(path: Path) -> dict[str, tuple[int | str, ...]]:
    recorded: dict[str, tuple[int | str, ...]] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    for line in lines:
        with contextlib.suppress(ValueError):  # the last line of a killed copy may be cut
            name, *facts = json.loads(line)
            recorded[name] = tuple(facts)
    return recorded


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (after.st_size, after.st_mtime_ns, after.st_ctime_ns)


def _pour(reader: int, writer: int) -> str:
    seen = hashlib.sha256()
    while block := os.read(reader, _BLOCK):
        seen.update(block)
        view = memoryview(block)
        while view:
            view = view[os.write(writer, view) :]
    return seen.hexdigest()


def _digest(file: int) -> str:
    seen = hashlib.sha256()
    os.lseek(file, 0, os.SEEK_SET)
    while block := os.read(file, _BLOCK):
        seen.update(block)
    return seen.hexdigest()
