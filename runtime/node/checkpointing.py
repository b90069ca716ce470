"""A rank's checkpoint directory: restored before `run`, snapshotted during it, saved at the end.

Only this module of the job path imports `runtime/checkpoint.py`, and only for a job that has a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..job import JobCheckpoint, JobFile, JobNode
from .places import check_way, place

if TYPE_CHECKING:
    from ..checkpoint import Snapshotter


class Checkpointing:
    """`say` carries sentences to the job's output."""

    def __init__(self, facts: JobCheckpoint, job: JobFile, node: JobNode, say: Callable[[str], None]) -> None:
        from ..checkpoint import CheckpointFacts

        self._say = say
        self._job = job
        self._node = node
        self._wanted = facts.restore
        self.directory = place(facts.path, node.directory, whole_machine=node.whole_machine)
        check_way(self.directory, node.directory)
        self._facts = CheckpointFacts(
            store=facts.store,
            prefix=facts.prefix,
            path=self.directory,
            every_seconds=facts.every_seconds,
            keep=facts.keep,
        )
        self._snapshotter: Snapshotter | None = None

    @property
    def facts_json(self) -> str:
        """For SKYC_CHECKPOINT: what `skyc.checkpoint()` reads in the user's process."""
        return self._facts.to_json()

    def restore(self) -> str:
        """Bring the newest checkpoint back. Returns a sentence about it, or nothing when there is none."""
        from ..checkpoint import restore
        from ..storage import open_store

        directory = Path(self.directory)
        if not self._wanted:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return ""
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = open_store(self._facts.store)
        found = restore(store, self._facts.prefix, directory, rank=self._node.rank, world=len(self._job.nodes))
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if found is None:
            return ""
        kind = "checkpoint" if found.verified else "unverified snapshot"
        step = "" if found.step is None else f" (step {found.step})"
        return " ".join((f"resumed from {kind} {found.generation}{step}.", *found.notes))

    def start(self) -> None:
        from ..checkpoint import Snapshotter

        self._snapshotter = Snapshotter(
            self._facts, Path(self.directory), self._node.rank, on_error=lambda text: self._say(f"skyc: checkpoint: {text}")
        )
        self._snapshotter.start()

    def final(self, success: bool) -> str:
        """The last snapshot; `success` makes it count. Returns why it is not saved, or nothing when it is."""
        if self._snapshotter is None:
            return ""
        try:
            self._snapshotter.final(success)
        except Exception as error:  # any reason means the same: the work is not saved, and the job must not count as done
            return str(error) or type(error).__name__
        return ""
