"""Saves a directory as one generation of a rank's chain.

What holds when `snapshot` returns: every chunk is in the store with its full length, the manifest is there and read back equal,
and the directory did not change between the first look at it and the last. What holds when it is killed or fails anywhere: no
manifest, so nobody sees anything of it; chunks without a manifest are removed by a later `collect`.

The same-tree check: the directory is listed with all times, read, and listed again; unless both lists are equal it is read anew
(files already read are kept, so this converges even when the upload is slow). File times have a granularity, so a list counts
only if its youngest change is older than that. A file is not read again when its size, times and inode are those under which it
was read before, it was not written just then, and nobody maps it writable.

Generations that count are numbered alike on all ranks: the n-th counted snapshot after a start is the same one everywhere, if
all ranks take them at the same steps. `restore` rests on that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from .base import AlreadyExists, NotFound, Store, StoreError, StoreFault, store_error
from .beside import Beside, KnownFile
from .lease import Pin
from .manifest import (
    CHUNK_BYTES,
    GenerationName,
    Manifest,
    SavedEntry,
    chunk_key,
    chunk_sizes,
    encode_manifest,
    entries_digest,
    list_generations,
    manifest_key,
    parse_name,
    read_manifest,
)
from .tree import EntryKind, TreeEntry, walk
from .writers import mapped_inodes

WORKERS = 4
_TRIES_COUNTED, _TRIES_UNVERIFIED = 8, 4
_TICK_NS = 20_000_000
"""Two changes within one timer tick of the kernel (10 ms at most) can carry the same time."""
_COARSE_TICK_NS = 2_000_000_000
"""For file systems whose times are whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A saved snapshot. `number` counts from 1 in the rank's counted or unverified sequence. `sent_*`: what was not yet there."""

    number: int
    counted: bool
    rank: int
    step: int | None
    label: str
    key: str
    files: int
    bytes: int
    sent_chunks: int
    sent_bytes: int


class SnapshotSkipped(SkycError):
    """An unverified snapshot, or one on a rename, was not worth finishing. Nothing is lost; the next one may succeed."""

    def __init__(self, why: str) -> None:
        super().__init__(error("checkpoint-skipped", "A snapshot was skipped", why))


class _Changed(Exception):
    """The tree is not the one that was listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """How others take part in a snapshot. `stop`: asked now and then; true gives up.

    The other two are given for a counted snapshot that is triggered from outside the job's own process. `at_rest`: asked right
    after the directory was listed; false lists it again. `settled`: asked right before the manifest is written; false gives up.
    With them, what appears after the listing is not part of the snapshot and does not disturb it.
    """

    stop: Callable[[], bool] = lambda: False
    at_rest: Callable[[], bool] | None = None
    settled: Callable[[], bool] | None = None


_NOBODY = Watcher()


def snapshot(
    store: Store,
    prefix: str,
    directory: Path,
    *,
    rank: int,
    counted: bool,
    step: int | None = None,
    label: str = "",
    watcher: Watcher = _NOBODY,
) -> Generation:
    """Save `directory` below `prefix` (`…/<task>/run-<n>`). An unverified snapshot of an unchanged directory is not saved twice.

    Raises SkycError: `checkpoint-changing` when a counted snapshot never saw the directory at rest; SnapshotSkipped in its place
    for an unverified one, and when a counted one wants to go first; `checkpoint-superseded` when another node has taken over
    this rank; StoreError for what the store or the directory's file system refuse.
    """
    beside = Beside(directory)
    beside.prepare()

    def take() -> Generation:
        return _Snapshot(store, prefix.rstrip("/"), beside, rank, counted, step, label, watcher).take()

    try:
        if counted and watcher.settled is None:
            with beside.exclusive():
                return take()
        lock = beside.lock
        if not lock.acquire(wait=False):
            raise SnapshotSkipped("Another snapshot of this directory is under way.")
        try:
            return take()
        finally:
            lock.release()
    except OSError as failure:
        raise store_error(failure, os.fsdecode(failure.filename or directory)) from failure


class _Snapshot:
    """One call of `snapshot`. Made under the directory's lock, since it begins with what the one before left."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        beside: Beside,
        rank: int,
        counted: bool,
        step: int | None,
        label: str,
        watcher: Watcher,
    ) -> None:
        self._store, self._prefix, self._beside = store, prefix, beside
        self._rank, self._counted, self._step, self._label = rank, counted, step, label
        self._watcher = watcher
        self._yields = not counted or watcher.settled is not None
        self._state = beside.read(prefix, rank)
        self._known: dict[str, KnownFile] = dict(self._state.files)
        self._guard = threading.Lock()
        self._present: set[str] = set()
        self._sent: dict[str, int] = {}

    def take(self) -> Generation:
        pin_name = f"{self._prefix.rpartition('/')[2]}-rank-{self._rank}-{self._state.writer}"
        with Pin(self._store, self._prefix, pin_name) as pin:
            entries = self._settled_entries(pin)
            digest = entries_digest(entries)
            last = self._unchanged(digest)
            if last is not None:
                self._remember(last.key, digest, None)
                return last
            manifest = self._write_manifest(entries, pin)
            self._confirm(manifest, pin)
        key = manifest_key(self._prefix, self._rank, counted=self._counted, number=manifest.generation)
        self._remember(key, digest, manifest.generation if self._counted else None)
        return self._generation(manifest, key)

    # --- reading the tree

    def _settled_entries(self, pin: Pin) -> tuple[SavedEntry, ...]:
        tries = _TRIES_UNVERIFIED if self._yields else _TRIES_COUNTED
        why = ""
        for attempt in range(tries):
            self._check_stop()
            if attempt:
                time.sleep(min(0.02 * 2**attempt, 1.0))
            try:
                before = self._walk_at_rest()
                entries = self._save_content(before, pin)
                why = self._difference(before, walk(self._beside.directory))
                if not why:
                    return entries
            except _Changed as change:
                why = str(change)
            except StoreError as failure:
                if failure.kind is not StoreFault.CHANGING:
                    raise
                why = failure.message
        if self._yields:
            raise SnapshotSkipped(f"The checkpoint directory kept changing: {why}")
        raise SkycError(
            error(
                "checkpoint-changing",
                "The checkpoint directory changes while it is saved",
                f"{self._beside.directory} was read {tries} times and was never at rest, so this checkpoint does not count."
                f" {why} Call skyc.checkpoint() when nothing writes there, and keep logs out of that directory.",
            )
        )

    def _walk_at_rest(self) -> tuple[TreeEntry, ...]:
        for _ in range(3):
            entries = walk(self._beside.directory)
            if self._watcher.at_rest is not None and not self._watcher.at_rest():
                raise _Changed("Something began to write there.")
            young = _age_of_youngest(entries)
            if not 0 <= young < _TICK_NS:
                return entries
            time.sleep((_TICK_NS - young) / 1e9)
        raise _Changed("Something there changes all the time.")

    def _difference(self, before: tuple[TreeEntry, ...], after: tuple[TreeEntry, ...]) -> str:
        now = {entry.path: entry for entry in after}
        for entry in before:
            found = now.pop(entry.path, None)
            if self._watcher.settled is not None and found is not None and entry.kind is EntryKind.DIRECTORY is found.kind:
                continue
            if found != entry:
                return f"`{entry.path}` {'disappeared' if found is None else 'changed'} meanwhile."
        if now and self._watcher.settled is None:
            return f"`{next(iter(now))}` appeared meanwhile."
        return ""

    # --- content

    def _save_content(self, entries: tuple[TreeEntry, ...], pin: Pin) -> tuple[SavedEntry, ...]:
        mapped = mapped_inodes()
        saved: list[SavedEntry] = []
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="skyc-snapshot")
        try:
            uploads = _Uploads(pool, self._send)
            for entry in entries:
                chunks: tuple[str, ...] = ()
                if entry.kind is EntryKind.FILE:
                    known = self._known.get(entry.path)
                    if mapped is not None and entry.inode not in mapped and known is not None and _matches(known, entry):
                        chunks = known.chunks
                    else:
                        chunks = self._read_file(entry, uploads, pin)
                saved.append(_saved(entry, chunks))
            uploads.wait()
            self._resend_missing([entry for entry in saved if entry.kind is EntryKind.FILE], pool, uploads, pin)
        finally:
            pool.shutdown(cancel_futures=True)
        return tuple(saved)

    def _read_file(self, entry: TreeEntry, uploads: _Uploads, pin: Pin) -> tuple[str, ...]:
        read_at = time.time_ns()
        digests: list[str] = []
        left = entry.size
        with _opened(self._beside.directory / entry.path) as file:
            while left:
                self._check_stop()
                pin.renew()
                data = _read_fully(file, min(CHUNK_BYTES, left))
                if len(data) != min(CHUNK_BYTES, left):
                    raise _Changed(f"`{entry.path}` became shorter while it was read.")
                left -= len(data)
                digest = hashlib.sha256(data).hexdigest()
                digests.append(digest)
                uploads.add(data, digest)
        chunks = tuple(digests)
        if read_at - entry.changed_ns >= (_TICK_NS if entry.changed_ns % 1_000_000_000 else _COARSE_TICK_NS):
            self._known[entry.path] = KnownFile(
                size=entry.size, modified_ns=entry.modified_ns, changed_ns=entry.changed_ns, inode=entry.inode, chunks=chunks
            )
        else:
            self._known.pop(entry.path, None)
        return chunks

    def _send(self, data: bytes, digest: str) -> None:
        with self._guard:
            if digest in self._present:
                return
        key = chunk_key(self._prefix, digest)
        # A chunk that a restore found damaged has its right length; only writing it again heals it.
        if digest in self._state.suspects or self._store.size(key) != len(data):
            self._store.put(key, data)
            if self._store.size(key) != len(data):
                raise StoreError(StoreFault.DAMAGED, f"{key} does not have its full length after it was written.")
            with self._guard:
                self._sent[digest] = len(data)
        with self._guard:
            self._present.add(digest)

    def _resend_missing(self, files: list[SavedEntry], pool: ThreadPoolExecutor, uploads: _Uploads, pin: Pin) -> None:
        """Content that was read by an earlier snapshot need not be in the store any more."""
        unsure: dict[str, tuple[str, int, int]] = {}
        for entry in files:
            for digest, offset, length in chunk_sizes(entry):
                if digest not in self._present:
                    unsure[digest] = (entry.path, offset, length)

        def is_missing(item: tuple[str, tuple[str, int, int]]) -> bool:
            digest, (_, _, length) = item
            return digest in self._state.suspects or self._store.size(chunk_key(self._prefix, digest)) != length

        items = list(unsure.items())
        for start in range(0, len(items), 256):
            self._check_stop()
            pin.renew()
            batch = items[start : start + 256]
            for (digest, (path, offset, length)), missing in zip(batch, pool.map(is_missing, batch), strict=True):
                if not missing:
                    with self._guard:
                        self._present.add(digest)
                    continue
                with _opened(self._beside.directory / path) as file:
                    os.lseek(file, offset, os.SEEK_SET)
                    data = _read_fully(file, length)
                if hashlib.sha256(data).hexdigest() != digest:
                    self._known.pop(path, None)
                    raise _Changed(f"`{path}` is not what it was.")
                uploads.add(data, digest)
        uploads.wait()

    # --- the manifest

    def _unchanged(self, digest: str) -> Generation | None:
        """The newest snapshot, when an unverified one would only repeat it."""
        name = parse_name(self._state.last_key)
        if self._counted or self._state.last_digest != digest or name is None:
            return None
        try:
            return self._generation(read_manifest(self._store, name), name.key)
        except StoreError:
            return None

    def _write_manifest(self, entries: tuple[SavedEntry, ...], pin: Pin) -> Manifest:
        number = self._first_number()
        while True:
            self._check_stop()
            pin.renew()
            if self._watcher.settled is not None and not self._watcher.settled():
                raise SnapshotSkipped("Something was renamed in the checkpoint directory before it was saved.")
            manifest = Manifest(
                generation=number,
                counted=self._counted,
                rank=self._rank,
                step=self._step,
                label=self._label,
                writer=self._state.writer,
                created=int(time.time()),
                entries=entries,
            )
            content = encode_manifest(manifest)
            key = manifest_key(self._prefix, self._rank, counted=self._counted, number=number)
            try:
                self._store.put(key, content, if_absent=True)
            except AlreadyExists:
                self._check_owner(GenerationName(rank=self._rank, counted=self._counted, number=number, key=key))
                number += 1
                continue
            if self._store.get(key) != content:
                self._store.delete(key)
                raise StoreError(StoreFault.DAMAGED, f"{key} reads back differently from what was written.")
            return manifest

    def _first_number(self) -> int:
        if self._counted and self._state.next_generation is not None:
            return self._state.next_generation
        own = [
            n.number for n in list_generations(self._store, self._prefix) if (n.rank, n.counted) == (self._rank, self._counted)
        ]
        return max(own, default=0) + 1

    def _check_owner(self, name: GenerationName) -> None:
        """A number may be taken by ourselves, when we were killed right after writing. By anybody else: we are the old node."""
        if not self._counted:
            return
        try:
            writer = read_manifest(self._store, name).writer
        except NotFound:
            return
        if writer != self._state.writer:
            raise SkycError(
                error(
                    "checkpoint-superseded",
                    "Another node saves checkpoints for this rank",
                    f"{name.key} was written by a later attempt of this job, so this process belongs to an attempt that was"
                    " given up. Nothing was saved. Stop this process.",
                )
            )

    def _confirm(self, manifest: Manifest, pin: Pin) -> None:
        """If the pin may have been taken for dead, chunks may be gone; from here on the manifest itself protects the rest."""
        pin.renew()
        if pin.intact:
            return
        key = manifest_key(self._prefix, self._rank, counted=self._counted, number=manifest.generation)
        for entry in manifest.entries:
            for digest, _, length in chunk_sizes(entry):
                if self._store.size(chunk_key(self._prefix, digest)) != length:
                    self._store.delete(key)
                    raise StoreError(
                        StoreFault.UNREACHABLE, f"The snapshot was paused for so long that {digest} was removed meanwhile."
                    )

    def _remember(self, key: str, digest: str, counted: int | None) -> None:
        suspects = self._state.suspects - self._sent.keys()
        state = replace(self._state, last_key=key, last_digest=digest, files=self._known, suspects=suspects)
        if counted is not None:
            state = replace(state, next_generation=counted + 1)
        self._beside.write(self._rank, state)

    def _generation(self, manifest: Manifest, key: str) -> Generation:
        return Generation(
            number=manifest.generation,
            counted=manifest.counted,
            rank=manifest.rank,
            step=manifest.step,
            label=manifest.label,
            key=key,
            files=manifest.files,
            bytes=manifest.bytes,
            sent_chunks=len(self._sent),
            sent_bytes=sum(self._sent.values()),
        )

    def _check_stop(self) -> None:
        if self._watcher.stop():
            raise SnapshotSkipped("It was told to stop.")
        if self._yields and self._beside.is_wanted():
            raise SnapshotSkipped("The job takes a checkpoint of its own.")


class _Uploads:
    """Chunks on their way, at most a few in memory. The first failure surfaces at the next `add` or at `wait`."""

    def __init__(self, pool: ThreadPoolExecutor, send: Callable[[bytes, str], None]) -> None:
        self._pool, self._send = pool, send
        self._waiting: list[Future[None]] = []

    def add(self, data: bytes, digest: str) -> None:
        while len(self._waiting) >= 2 * WORKERS:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._send, data, digest))

    def wait(self) -> None:
        while self._waiting:
            self._waiting.pop(0).result()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor for reading. A file that is not there any more means that the tree changed."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _Changed(f"{path} disappeared while it was read.") from None
    try:
        yield file
    finally:
        os.close(file)


def _read_fully(file: int, length: int) -> bytes:
    return b"".join(_blocks(file, length))


def _blocks(file: int, length: int) -> Iterator[bytes]:
    while length and (block := os.read(file, length)):
        length -= len(block)
        yield block


def _age_of_youngest(entries: tuple[TreeEntry, ...]) -> int:
    """Nanoseconds. A change in the future means that another clock sets the times; such a list cannot be judged by age."""
    return time.time_ns() - max(entry.changed_ns for entry in entries)


def _matches(known: KnownFile, entry: TreeEntry) -> bool:
    return (known.size, known.modified_ns, known.changed_ns, known.inode) == (
        entry.size,
        entry.modified_ns,
        entry.changed_ns,
        entry.inode,
    )


def _saved(entry: TreeEntry, chunks: tuple[str, ...]) -> SavedEntry:
    return SavedEntry(
        path=entry.path,
        kind=entry.kind,
        mode=entry.mode,
        size=entry.size,
        modified_ns=0 if entry.kind is EntryKind.LINK else entry.modified_ns,
        target=entry.target,
        chunks=chunks,
    )
