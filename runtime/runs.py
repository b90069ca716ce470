"""Which run an apply belongs to: a new one, an unfinished one, or none because the work is done. Pure.

A run is one logical execution of a task. It may take several attempts, which share its checkpoints. It ends when an attempt
succeeds; after that, the same task is done and a changed task is new work.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import JobAction, JobPlan, Task, TaskId, digest
from .job import JobState


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


def plan_job(task: Task, task_digest: str, last: LastRun | None, *, rerun: bool, generation: int) -> JobPlan:
    """Decide what `apply` does about the job.

    generation: the newest counted checkpoint of the unfinished run, 0 for none. A changed task resumes an unfinished run:
    a person who mends a crash in their code wants to go on from where it crashed. `--rerun` starts over.
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
    if task.checkpoint is not None:
        return decided(JobAction.RESUME, last.number, f"{ended}; no checkpoint counted yet, so it starts from the beginning")
    return decided(JobAction.RUN, last.number + 1, f"{ended}; the task has no checkpoint, so it starts from the beginning")


def task_digest(task: Task) -> str:
    """What the task would do: its resolved form and the content of its workdir and local file mounts. SHA-256, hexadecimal."""
    seen = hashlib.sha256(digest(task).encode())
    places = [task.workdir] if task.workdir else []
    places += [mount.source for mount in task.file_mounts if mount.source and "://" not in mount.source]
    for place in places:
        try:
            seen.update(tree_digest(Path(place)).encode())
        except OSError as failure:
            detail = f"{failure.filename or place}: {failure.strerror or failure}. The workdir and local file mounts are sent to the nodes."
            raise SkycError(error("source-unreadable", "A file of the task cannot be read", detail)) from failure
    return seen.hexdigest()


def tree_digest(root: Path) -> str:
    """SHA-256 over the sorted relative paths, modes and contents below `root` (a file counts as itself).

    Symbolic links count by where they point and are not followed. Raises OSError for what cannot be read.
    """
    seen = hashlib.sha256()
    if not root.is_dir():
        seen.update(_file_digest(root))
        return seen.hexdigest()
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*files, *(f for f in folders if Path(folder, f).is_symlink())]):
            path = Path(folder, name)
            seen.update(str(path.relative_to(root)).encode("utf-8", "surrogateescape") + b"\0")
            if path.is_symlink():
                seen.update(b"L" + os.fsencode(path.readlink()) + b"\0")
            elif path.is_file():
                executable = b"x" if path.stat().st_mode & 0o100 else b"-"
                seen.update(executable + _file_digest(path))
    return seen.hexdigest()


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def run_prefix(task: TaskId, number: int) -> str:
    """Where a run keeps its checkpoints below the deployment's checkpoint prefix."""
    return f"{task}/run-{number}"
