"""What an apply will do about the job itself, decided at plan time from what earlier runs left."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .addresses import TaskId


class JobAction(enum.Enum):
    RUN = "run"
    """Start a new run from the beginning."""
    RESUME = "resume"
    """Go on with an unfinished run, from its newest checkpoint if it has one."""
    FOLLOW = "running"
    """The run is going on: show it."""
    NOTHING = "already-succeeded"
    """The same task succeeded: do not run it again unless asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """`detail` says why, in one sentence. `run` counts from 1 per task of a deployment."""

    task: TaskId
    action: JobAction
    run: int
    detail: str
