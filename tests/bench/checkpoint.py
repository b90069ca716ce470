"""How fast a checkpoint is saved, saved again unchanged, and brought back, through the `file://` store.

The data is random, so that nothing is gained by repetition, and directory and store lie on the same disk. Every chunk is synced
and read back before a snapshot counts; the figures include that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from skyc.runtime.checkpoint import restore, snapshot
from skyc.runtime.storage.base import open_store

from .child import Scratch
from .figures import Figure, NotMeasured

FILES = 8
MEGABYTE = 1_000_000


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Raises NotMeasured when what comes back is not what was saved."""
    megabytes, turns = (64, 1) if quick else (256, 3)
    first: list[float] = []
    unchanged: list[float] = []
    restored: list[float] = []
    for turn in range(turns):
        place = scratch.root / f"checkpoint{turn}"
        data, copy = place / "data", place / "copy"
        _fill(data, megabytes)
        store = open_store((place / "store").as_uri())
        for into in (first, unchanged):
            began = time.perf_counter()
            snapshot(store, "bench", data, rank=0, counted=True)
            into.append(megabytes / (time.perf_counter() - began))
        began = time.perf_counter()
        found = restore(store, "bench", copy, rank=0, world=1)
        restored.append(megabytes / (time.perf_counter() - began))
        if found is None or not _same(data, copy):
            raise NotMeasured("the restored checkpoint differs from the saved directory")
    size = f"{megabytes} MB in {FILES} files"
    yield Figure(what=f"checkpoint of {size}, first", unit="MB/s", samples=tuple(first))
    yield Figure(what=f"checkpoint of {size}, unchanged", unit="MB/s", samples=tuple(unchanged))
    yield Figure(what=f"restore of {size}", unit="MB/s", samples=tuple(restored))


def _fill(directory: Path, megabytes: int) -> None:
    directory.mkdir(parents=True)
    for number in range(FILES):
        (directory / f"part{number}").write_bytes(os.urandom(megabytes * MEGABYTE // FILES))
    os.sync()


def _same(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )
