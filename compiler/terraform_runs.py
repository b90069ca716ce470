"""How long a Terraform command may take, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .diagnostics import Diagnostic, Severity, SkycError, error
from .terraform_process import RunFacts
from .terraform_stream import PLAN_ENGINE_CHANGED, PLAN_STALE, first_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds. `change` and `read`: how long a command may take (None: as long as it needs). `grace`: how long an apply that
    was asked to stop may take to finish what it has begun before it is killed; `read_grace`: the same for other commands."""

    change: float | None = None
    read: float | None = 1800.0
    grace: float = 600.0
    read_grace: float = 60.0
    lock: float = 10.0
    """How long Terraform itself waits for a lock on the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """What came of a command. `interrupted`: it was asked to stop (it may be `ok` all the same). `killed`: it did not stop in
    time, so its state may lack resources that exist."""

    returncode: int
    diagnostics: tuple[Diagnostic, ...]
    interrupted: bool
    killed: bool
    timed_out: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.returncode == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRun(CommandRun):
    """`plan_file` is there whenever Terraform wrote one; a plan that is not `ok` must not be applied."""

    plan_file: Path | None
    has_changes: bool

    @property
    def ok(self) -> bool:
        return self.returncode in (0, 2) and self.plan_file is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRun(CommandRun):
    """`finished`: Terraform said it was through, with everything done."""

    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """The end of a run whose skyc had died. Its exit code is lost with it: plan again to learn what is left to do."""

    run: RunFacts
    ended: bool
    finished: bool
    diagnostics: tuple[Diagnostic, ...]


Run = TypeVar("Run", bound=CommandRun)


def checked(run: Run) -> Run:
    """The run itself when it is ok, else SkycError with its diagnostics. Exit code 4: the plan is no longer valid; 130: stopped."""
    if run.ok:
        return run
    errors = tuple(d for d in run.diagnostics if d.severity is Severity.ERROR)
    if run.interrupted and not run.killed:
        raise SkycError(stopped(), *errors, exit_code=130)
    invalid = first_error(errors, PLAN_STALE) or first_error(errors, PLAN_ENGINE_CHANGED)
    raise SkycError(*run.diagnostics, exit_code=4 if invalid else 1)


def stopped() -> Diagnostic:
    """Says that nothing is started any more."""
    return error("interrupted", "Stopped on request", "Nothing more was started.")
