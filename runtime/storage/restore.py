"""Brings a checkpoint back.

Which one: all ranks of a job must go on from the same step. Each rank has its own chain of counted generations, numbered alike
(see `snapshot.py`). A generation can be gone back to when every rank that keeps a chain has it, or had none yet at that time; the
newest such one is restored. A rank without one of its own at that time gets the lowest rank's, which is what a job needs whose
first rank saves for all. A rank whose only counted generation is the one taken at its exit keeps no chain in this sense, unless
no rank does.

Numbers go on after the highest number any rank has used, so a generation that only some ranks reached before a crash is never
mixed with those after it. For both reasons no rank may run before every rank's restore has ended.

Damage: each chunk is checked against its hash before anything is put in place. When a chunk or a manifest of this rank is
damaged, the generation before is taken and the result says so. The other ranks do not know that: whoever starts the job compares
`Restored.generation` over the ranks, and while they differ restores again with `at_most` the smallest.

The directory is replaced as a whole: what was in it is gone afterwards, what is restored was complete before it got its name.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from .base import Store, StoreError, StoreFault, store_error
from .beside import Beside
from .manifest import (
    GenerationName,
    Manifest,
    SavedEntry,
    chunk_key,
    chunk_sizes,
    list_generations,
    read_manifest,
)
from .tree import EntryKind, remove_tree

EXIT_LABEL = "exit"
WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`generation`: the number gone back to, the same on all ranks unless damage came between; 0 for an unverified snapshot.
    `from_rank`: whose content it is. `verified` False: no generation counted, this is the newest unverified snapshot.
    `notes`: sentences for the user."""

    generation: int
    from_rank: int
    verified: bool
    step: int | None
    files: int
    bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePoints:
    """What can be gone back to. `generations`: newest first. `lead`: whose content a rank without its own gets.
    `own`: the ranks that have each generation. `highest`: the highest counted number any rank has used; 0 for none."""

    generations: tuple[int, ...]
    lead: int
    own: dict[int, frozenset[int]]
    highest: int


def restore_points(store: Store, names: tuple[GenerationName, ...], world: int) -> RestorePoints:
    """See the module for the rule. `names`: all of the run's; `world`: how many ranks the job has now."""
    counted = [name for name in names if name.counted]
    highest = max((name.number for name in counted), default=0)
    chains: dict[int, list[GenerationName]] = {}
    for name in counted:
        if name.rank < world:
            chains.setdefault(name.rank, []).append(name)
    if not chains:
        return RestorePoints(generations=(), lead=0, own={}, highest=highest)
    keeping = [rank for rank, chain in chains.items() if _keeps_chain(store, chain)] or list(chains)
    numbers = {rank: frozenset(name.number for name in chains[rank]) for rank in keeping}
    lead = min(keeping)
    usable = [
        number
        for number in sorted(numbers[lead], reverse=True)
        if all(number in have or min(have) > number for have in numbers.values())
    ]
    own = {number: frozenset(rank for rank in keeping if number in numbers[rank]) for number in usable}
    return RestorePoints(generations=tuple(usable), lead=lead, own=own, highest=highest)


def newest_generation(store: Store, prefix: str, world: int) -> int:
    """The counted generation a restore would go back to if nothing is damaged; 0 for none."""
    return max(restore_points(store, list_generations(store, prefix), world).generations, default=0)


def _keeps_chain(store: Store, chain: list[GenerationName]) -> bool:
    for name in reversed(chain):
        try:
            if read_manifest(store, name).label != EXIT_LABEL:
                return True
        except StoreError as failure:
            if failure.kind not in (StoreFault.DAMAGED, StoreFault.NOT_FOUND):
                raise
            return True  # nobody can tell; to count it is what keeps ranks in step
    return False


def restore(
    store: Store, prefix: str, directory: Path, *, rank: int, world: int, at_most: int | None = None
) -> Restored | None:
    """Replace `directory` by the newest generation all ranks can go back to (not above `at_most`). None: nothing was ever saved.

    Raises SkycError: `checkpoint-damaged` when there are checkpoints but none is whole, so that a job never silently starts over;
    StoreError for what the store or the directory's file system refuse (the directory is then as it was).
    """
    beside = Beside(directory)
    beside.prepare()
    try:
        with beside.exclusive():
            return _Restore(store, prefix.rstrip("/"), beside, rank, world).run(at_most)
    except OSError as failure:
        raise store_error(failure, os.fsdecode(failure.filename or directory)) from failure


class _Restore:
    """One call of `restore`, under the directory's lock."""

    def __init__(self, store: Store, prefix: str, beside: Beside, rank: int, world: int) -> None:
        self._store, self._prefix, self._beside = store, prefix, beside
        self._rank, self._world = rank, world
        self._notes: list[str] = []
        self._suspects: set[str] = set()
        self._keeping = 0

    def run(self, at_most: int | None) -> Restored | None:
        for leftover in self._beside.place.glob("restore-*"):
            remove_tree(leftover)
        names = list_generations(self._store, self._prefix)
        points = restore_points(self._store, names, self._world)
        self._keeping = len(frozenset[int]().union(*points.own.values()))
        restored = None
        for name in self._candidates(names, points, at_most):
            restored = self._try(name)
            if restored is not None:
                break
        suspects = self._beside.read(self._prefix, self._rank).suspects | self._suspects
        self._beside.write(self._rank, Beside.fresh(self._prefix, points.highest + 1, suspects))
        if restored is None and self._notes:
            raise SkycError(
                error(
                    "checkpoint-damaged",
                    "No checkpoint of this job is whole",
                    " ".join(self._notes) + f" Nothing was restored. To start from the beginning, remove {self._prefix} from"
                    f" {self._store.uri}.",
                )
            )
        return restored

    def _candidates(
        self, names: tuple[GenerationName, ...], points: RestorePoints, at_most: int | None
    ) -> list[GenerationName]:
        by_place = {(name.rank, name.counted, name.number): name for name in names}
        found = []
        for number in points.generations:
            if at_most is None or number <= at_most:
                source = self._rank if self._rank in points.own[number] else points.lead
                found.append(by_place[source, True, number])
        if at_most is not None and found:
            return found
        for source in dict.fromkeys((self._rank, 0)):
            unverified = [name for name in names if name.rank == source and not name.counted]
            if unverified:
                return found + unverified[::-1]
        return found

    def _try(self, name: GenerationName) -> Restored | None:
        what = f"{'Generation' if name.counted else 'Unverified snapshot'} {name.number} of rank {name.rank}"
        try:
            manifest = read_manifest(self._store, name)
            self._replace(manifest)
        except StoreError as failure:
            if failure.kind not in (StoreFault.DAMAGED, StoreFault.NOT_FOUND):
                raise
            self._notes.append(f"{what} is damaged and was passed over: {failure.message}")
            return None
        if not name.counted:
            self._notes.append(f"{what} was restored because no generation that counts is there; it may be half-written.")
        if name.counted and manifest.label == "rename" and self._keeping > 1:
            self._notes.append(
                f"{what} was saved on a rename, as several ranks do on their own; only skyc.checkpoint() keeps ranks in step."
            )
        return Restored(
            generation=name.number if name.counted else 0,
            from_rank=name.rank,
            verified=name.counted,
            step=manifest.step,
            files=manifest.files,
            bytes=manifest.bytes,
            notes=tuple(self._notes),
        )

    def _replace(self, manifest: Manifest) -> None:
        target = self._beside.directory
        new = self._beside.place / f"restore-{secrets.token_hex(6)}"
        try:
            self._build(manifest, new)
            # A directory must be writable to be moved; it gets its own mode under its own name.
            new.chmod(0o700)
            _swap(new, target)
            target.chmod(manifest.entries[0].mode)
            os.utime(target, ns=(manifest.entries[0].modified_ns,) * 2)
        finally:
            if os.path.lexists(new):
                remove_tree(new)

    def _build(self, manifest: Manifest, root: Path) -> None:
        root.mkdir(mode=0o700)
        files: list[SavedEntry] = []
        for entry in manifest.entries[1:]:
            if entry.kind is EntryKind.DIRECTORY:
                (root / entry.path).mkdir(mode=0o700)
            elif entry.kind is EntryKind.LINK:
                (root / entry.path).symlink_to(entry.target)
            else:
                files.append(entry)
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="skyc-restore")
        try:
            for done in [pool.submit(self._write_file, root, entry) for entry in files]:
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)
        for entry in reversed(manifest.entries[1:]):
            if entry.kind is EntryKind.DIRECTORY:
                (root / entry.path).chmod(entry.mode)
                os.utime(root / entry.path, ns=(entry.modified_ns, entry.modified_ns))

    def _write_file(self, root: Path, entry: SavedEntry) -> None:
        file = os.open(root / entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "wb", buffering=0) as target:
            for digest, _, length in chunk_sizes(entry):
                view = memoryview(self._chunk(digest, length))
                while view:
                    view = view[target.write(view) :]
            os.fchmod(file, entry.mode)
            os.utime(file, ns=(entry.modified_ns, entry.modified_ns))

    def _chunk(self, digest: str, length: int) -> bytes:
        try:
            return read_chunk(self._store, self._prefix, digest, length)
        except StoreError as failure:
            if failure.kind in (StoreFault.DAMAGED, StoreFault.NOT_FOUND):
                self._suspects.add(digest)
            raise


def read_chunk(store: Store, prefix: str, digest: str, length: int) -> bytes:
    """A chunk's content, checked. Raises NotFound, or StoreError (DAMAGED)."""
    key = chunk_key(prefix, digest)
    for _ in range(2):  # once more: the damage may have happened on the way
        data = store.get(key)
        if len(data) == length and hashlib.sha256(data).hexdigest() == digest:
            return data
    raise StoreError(StoreFault.DAMAGED, f"The content of {key} does not match its name.")


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _swap(new: Path, target: Path) -> None:
    """Put `new` at `target`; what was there ends up at `new`. One atomic step where Linux can exchange two names."""
    if not os.path.lexists(target):
        new.rename(target)
        return
    if _exchange(new, target):
        return
    old = new.with_name(f"{new.name}-old")  # also `restore-*`: swept if we are killed between the two
    target.rename(old)
    new.rename(target)
    remove_tree(old)


def _exchange(first: Path, second: Path) -> bool:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    code = call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return bool(code == 0)
