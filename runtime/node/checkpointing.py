"""A rank's checkpoint directory: restored before `run`, snapshotted during it, saved at the end.

Only this module of the job path imports `runtime/checkpoint.py`, and only for a job that has a checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import SkycError
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
            identity=node.identity,
        )
        self._snapshotter: Snapshotter | None = None

    @property
    def facts_json(self) -> str:
        """For SKYC_CHECKPOINT: what `skyc.checkpoint()` reads in the user's process."""
        return self._facts.to_json()

    def restore(self, at_most: int | None) -> tuple[int, str]:
        """Bring the newest checkpoint back, not newer than generation `at_most`.

        Returns the generation, 0 when it does not count or there is none, and a sentence about it. Raises SkycError when there
        are checkpoints but none can be restored: a job never starts over in silence.
        """
        from ..checkpoint import restore
        from .opening import opened, wait_for_rights

        directory = Path(self.directory)
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        store, prefix = opened(self._facts.store, self._node.identity), self._facts.prefix
        # Also of a run that starts anew: that nothing can be saved is said before hours of work are lost with it.
        wait_for_rights(store, f"{prefix}/rank-", self._say)
        found = None
        if self._wanted:
            found = restore(store, prefix, directory, rank=self._node.rank, world=len(self._job.nodes), at_most=at_most)
        if found is None:
            said = _set_aside(directory)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return 0, said
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        kind = "checkpoint" if found.verified else "unverified snapshot"
        step = "" if found.step is None else f" (step {found.step})"
        sentence = " ".join((f"resumed from {kind} {found.generation}{step}.", *found.notes))
        return (found.generation if found.verified else 0), sentence

    def start(self) -> None:
        from ..checkpoint import Snapshotter

        self._snapshotter = Snapshotter(
            self._facts,
            Path(self.directory),
            self._node.rank,
            on_error=lambda sentence: self._say(f"skyc: checkpoint: {sentence}"),
            world=len(self._job.nodes),
        )
        self._snapshotter.start()

    def final(self, success: bool) -> str:
        """The last snapshot; `success` makes it count. Returns why it is not saved, or nothing when it is."""
        if self._snapshotter is None:
            return ""
        try:
            self._snapshotter.final(success)
        except Exception as error:  # any reason means the same: the work is not saved, and the job must not count as done
            return explained(error)
        return ""


def _set_aside(directory: Path) -> str:
    """A run that has no checkpoint starts with an empty directory: what an earlier run left there must not look like progress.

    It is moved beside the directory, where the next such move replaces it, and goes with the node.
    """
    from ..storage.beside import Beside

    if not directory.is_dir() or not any(directory.iterdir()):
        return ""
    beside = Beside(directory)
    beside.prepare()
    with beside.exclusive():
        aside = beside.place / "set-aside"
        shutil.rmtree(aside, ignore_errors=True)
        beside.directory.rename(aside)
    return f"this run starts anew; what was in the checkpoint directory is in {aside}."


def explained(error: Exception) -> str:
    """What a person should read about an error: a diagnostic's detail, or the error's own text."""
    if isinstance(error, SkycError) and error.diagnostics:
        return " ".join(each.detail or each.summary for each in error.diagnostics)
    return f"{type(error).__name__}: {error}"
