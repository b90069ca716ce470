"""Which run an apply belongs to: a new one, an unfinished one, or none because the work is done. Pure.

A run is one logical execution of a task. It may take several attempts, which share its checkpoints. It ends when an attempt
succeeds; after that, the same task is done and a changed task is new work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..compiler.ir import JobAction, JobPlan, Task, digest
from .job import JobState
from .workdir import source_tree, workdir_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """What is remembered of a task's newest run. `state`: of its newest attempt, None if none was submitted."""

    number: int
    task_digest: str
    state: JobState | None
    reason: str = ""


ENDED = {
    JobState.FAILED: "the last attempt failed",
    JobState.LOST: "the last attempt was lost",
    JobState.CANCELLED: "the last attempt was cancelled",
}


def plan_job(task: Task, task_digest: str, last: LastRun | None, *, rerun: bool, generation: int | None) -> JobPlan:
    """Decide what `apply` does about the job.

    generation: the newest counted checkpoint of the unfinished run, 0 for none, None if only its nodes may look. A changed task
    resumes an unfinished run: a person who mends a crash in their code wants to go on from where it crashed. `--rerun` starts over.
    """

    def decided(action: JobAction, number: int, detail: str) -> JobPlan:
        return JobPlan(task=task.id, action=action, run=number, detail=detail)

    if last is None:
        return decided(JobAction.RUN, 1, "first run")
    if last.state is not None and not last.state.final:
        if last.task_digest == task_digest and not rerun:
            return decided(JobAction.FOLLOW, last.number, "already started; its output is shown")
        why = "asked for by --rerun" if rerun else "the task has changed"
        return decided(JobAction.FOLLOW, last.number, f"still running although {why}; cancel it to start another")
    if rerun:
        return decided(JobAction.RUN, last.number + 1, "asked for by --rerun; starts from the beginning")
    if last.state is JobState.SUCCEEDED:
        if last.task_digest == task_digest:
            return decided(JobAction.NOTHING, last.number, "nothing to run; --rerun runs it again")
        return decided(JobAction.RUN, last.number + 1, f"the task has changed since run {last.number} succeeded")
    ended = "it was never submitted" if last.state is None else ENDED[last.state]
    if generation:
        return decided(JobAction.RESUME, last.number, f"{ended}; goes on from checkpoint {generation}")
    if generation is None:
        return decided(JobAction.RESUME, last.number, f"{ended}; goes on from its newest checkpoint, which its nodes look for")
    if task.checkpoint is not None:
        return decided(JobAction.RESUME, last.number, f"{ended}; no checkpoint counted yet, so it starts from the beginning")
    return decided(JobAction.RUN, last.number + 1, f"{ended}; the task has no checkpoint, so it starts from the beginning")


def task_digest(task: Task, avoid: Sequence[Path] = ()) -> str:
    """What the task would do: its resolved form and the content of its workdir and local file mounts. SHA-256, hexadecimal.

    `avoid`: skyc's own directories, which change with every command. Raises SkycError `source-unreadable`, `special-file`.
    """
    seen = hashlib.sha256(digest(task).encode())
    if task.workdir:
        seen.update(workdir_tree(Path(task.workdir), avoid).digest.encode())
    for mount in task.file_mounts:
        if mount.source and "://" not in mount.source:
            seen.update(source_tree(Path(mount.source)).digest.encode())
    return seen.hexdigest()
