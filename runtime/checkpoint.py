"""Checkpoints: save a job's directory so that it survives its machine, and bring it back.

This module is what the rest of skyc and the user's program call; the parts are in `runtime/storage`: `manifest.py` (what lies in
the store), `snapshot.py`, `restore.py`, `collect.py`, `snapshotter.py` (the thread beside a running job).

"Saved" means: the manifest and every chunk are in the store and were verified there. Runs on nodes with the standard library only.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from .storage.base import StoreError, StoreFault, open_store
from .storage.collect import Collected, Verified, collect, verify
from .storage.facts import CheckpointFacts
from .storage.manifest import GenerationName, list_generations
from .storage.restore import Restored, newest_generation, restore
from .storage.snapshot import Generation, SnapshotSkipped, snapshot
from .storage.snapshotter import Snapshotter

__all__ = [
    "CheckpointFacts",
    "Collected",
    "Generation",
    "GenerationName",
    "Restored",
    "SnapshotSkipped",
    "Snapshotter",
    "Verified",
    "checkpoint",
    "collect",
    "list_generations",
    "newest_generation",
    "restore",
    "snapshot",
    "verify",
]

FACTS_VARIABLE = "SKYC_CHECKPOINT"
DIRECTORY_VARIABLE = "SKYC_CHECKPOINT_DIR"
RANK_VARIABLE = "SKYC_NODE_RANK"
_PAUSES = (0.5, 1.0, 2.0, 4.0)

_warned = False


def checkpoint(step: int | None = None) -> int:
    """Save the checkpoint directory now, as a generation a resumed job goes back to. Returns its number, counting from 1.

    Call it on every rank at the same steps, when the directory is complete: it returns when everything is saved and verified in
    the store, and nothing may write to the directory meanwhile. `step`: your own count, shown to people. Outside a skyc job, or
    in a task without `checkpoint:`, it does nothing but say so once, and returns 0.

    Raises SkycError when the checkpoint could not be saved; checkpoints saved before are not affected.
    """
    text = os.environ.get(FACTS_VARIABLE)
    if not text:
        _warn_once()
        return 0
    facts = CheckpointFacts.from_json(text)
    directory = Path(os.environ.get(DIRECTORY_VARIABLE) or facts.path)
    rank = int(os.environ.get(RANK_VARIABLE) or 0)
    store = open_store(facts.store, machine=facts.machine)
    for pause in (*_PAUSES, None):
        try:
            return snapshot(store, facts.prefix, directory, rank=rank, counted=True, step=step, label="checkpoint").number
        except StoreError as failure:
            if failure.kind is not StoreFault.UNREACHABLE or pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        print(
            "skyc: skyc.checkpoint() saves nothing here: this process is not part of a skyc job with `checkpoint:`",
            file=sys.stderr,
        )
