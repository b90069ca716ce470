"""Removes checkpoints nobody will go back to, and looks for damage in those that stay.

Why a chunk named by a live manifest is never removed:

- Manifests are removed first, oldest first, and chunks afterwards, so a kill in between leaves chunks too many, never too few.
- Chunks are listed before manifests are read, and only listed chunks are removed. A manifest that is written after that and
  names one of them belongs to a snapshot, which holds a pin from before it looked for the chunk (`lease.py`); so either this
  sweep sees the pin and stops, or the snapshot sees the sweep and waits, then finds the chunk gone and sends it again.
- Manifests of all runs and ranks are read. While one of them cannot be read, no chunk is removed: it may be only the way to it
  that is broken.

Why a restore always finds what it needs: only generations older than the `keep`-th newest restore point are removed, where a
restore point counts towards `keep` only when the manifests of all its ranks are whole and all their chunks exist. Of the
unverified snapshots each rank keeps its newest.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import Store, StoreError, StoreFault
from .lease import Sweep
from .manifest import (
    GenerationName,
    Manifest,
    chunk_sizes,
    list_generations,
    parse_name,
    read_manifest,
    task_prefix,
)
from .restore import read_chunk, restore_points

_BATCH = 64
_ANY_WORLD = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """`swept` False: chunks were left for the next time, because a snapshot was under way or a manifest could not be read."""

    manifests: int
    chunks: int
    swept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """`damages`: one sentence per damaged or missing object; empty when all is well."""

    manifests: int
    chunks: int
    bytes: int
    damages: tuple[str, ...]


def collect(store: Store, prefix: str, keep: int, *, world: int | None = None) -> Collected:
    """Keep the newest `keep` restore points of this run (at least one), then remove chunks no manifest of the task names.

    `world`: how many ranks the job has, None for as many as saved something; what ranks beyond it saved holds nothing back.
    """
    prefix = prefix.rstrip("/")
    listed = _Listing(store, prefix)
    doomed = _doomed(store, prefix, listed, max(1, keep), world or _ANY_WORLD)
    for name in doomed:
        store.delete(name.key)
    removed, swept = _sweep(store, prefix)
    return Collected(manifests=len(doomed), chunks=removed, swept=swept)


class _Listing:
    """Everything of a task, in the order that makes it safe to act on: chunks were listed before any manifest was read."""

    def __init__(self, store: Store, prefix: str) -> None:
        home = task_prefix(prefix)
        self.chunks: dict[str, str] = {}
        for key in store.list(f"{home}chunks/"):
            self.chunks[key.rpartition("/")[2]] = key
        self.names: list[GenerationName] = []
        for key in store.list(home):
            name = parse_name(key)
            if name is not None:
                self.names.append(name)


def _doomed(store: Store, prefix: str, listed: _Listing, keep: int, world: int) -> list[GenerationName]:
    names = tuple(sorted(name for name in listed.names if name.key.startswith(f"{prefix}/")))
    points = restore_points(store, names, world)
    by_place = {(name.rank, name.number): name for name in names if name.counted}
    whole = 0
    cutoff = 0
    for number in points.generations:
        if all(_is_whole(store, by_place[rank, number], listed.chunks) for rank in points.own[number]):
            whole += 1
        if whole == keep:
            cutoff = number
            break
    doomed = [name for name in names if name.counted and name.number < cutoff]
    newest = {name.rank: name.number for name in names if not name.counted}
    doomed += [name for name in names if not name.counted and name.number < newest[name.rank]]
    return sorted(doomed, key=lambda name: (name.number, name.rank, name.counted))


def _is_whole(store: Store, name: GenerationName, chunks: dict[str, str]) -> bool:
    try:
        return read_manifest(store, name).chunks <= chunks.keys()
    except StoreError as failure:
        if failure.kind in (StoreFault.DAMAGED, StoreFault.NOT_FOUND):
            return False
        raise


def _sweep(store: Store, prefix: str) -> tuple[int, bool]:
    sweep = Sweep(store, prefix)
    if not sweep.begin():
        return 0, False
    removed = 0
    try:
        listed = _Listing(store, prefix)
        live: set[str] = set()
        for name in listed.names:
            try:
                live |= read_manifest(store, name).chunks
            except StoreError as failure:
                if failure.kind is StoreFault.NOT_FOUND:
                    continue  # somebody else collects too
                if failure.kind is StoreFault.DAMAGED:
                    return 0, False
                raise
        dead = sorted(listed.chunks.keys() - live)
        for start in range(0, len(dead), _BATCH):
            if not sweep.may_go_on():
                return removed, False
            for digest in dead[start : start + _BATCH]:
                if not sweep.fresh:
                    return removed, False
                store.delete(listed.chunks[digest])
                removed += 1
    finally:
        sweep.end()
    return removed, True


def verify(store: Store, prefix: str, *, subset: tuple[int, int] = (1, 1)) -> Verified:
    """Read every manifest of the run, and the chunks of share n of t (`subset`), which together cover all. Changes nothing.

    Raises StoreError when the store itself fails, ValueError for a share that does not exist.
    """
    share, shares = subset
    if not 1 <= share <= shares:
        raise ValueError(f"there is no share {share} of {shares}")
    damages: list[str] = []
    wanted: dict[str, int] = {}
    manifests = 0
    for name in list_generations(store, prefix):
        manifest = _checked(store, name, damages)
        if manifest is None:
            continue
        manifests += 1
        for entry in manifest.entries:
            for digest, _, length in chunk_sizes(entry):
                if int(digest[:15], 16) % shares == share - 1:
                    wanted[digest] = length
    for digest, length in sorted(wanted.items()):
        try:
            read_chunk(store, prefix, digest, length)
        except StoreError as failure:
            if failure.kind not in (StoreFault.DAMAGED, StoreFault.NOT_FOUND):
                raise
            damages.append(failure.message)
    return Verified(manifests=manifests, chunks=len(wanted), bytes=sum(wanted.values()), damages=tuple(damages))


def _checked(store: Store, name: GenerationName, damages: list[str]) -> Manifest | None:
    try:
        return read_manifest(store, name)
    except StoreError as failure:
        if failure.kind is StoreFault.DAMAGED:
            damages.append(failure.message)
        elif failure.kind is not StoreFault.NOT_FOUND:
            raise
        return None
