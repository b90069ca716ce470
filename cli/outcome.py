"""How an apply or a command on the nodes ended: one line for a person, and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from ..runtime.job import JobKind
from ..runtime.records import AttemptOutcome
from ..runtime.results import ApplyResult, Outcome
from .tables import duration

if TYPE_CHECKING:
    from .screen import Screen


def say_outcome(result: ApplyResult, screen: Screen) -> int:
    """A failed job is an error (1) like any other: its own exit code is said, and is in `queue --json`, but codes up to 4
    mean other things here."""
    screen.diagnostics(result.diagnostics)
    job, name = result.job, result.deployment
    if result.attempts and result.attempts[-1].outcome is AttemptOutcome.UP:
        refused = [attempt for attempt in result.attempts if attempt.outcome is not AttemptOutcome.UP]
        screen.note(
            f"{name} is at {result.attempts[-1].placement}; {len(refused)} before it could not be had (skyc status {name})"
        )
    which = f"job {job.id}" if job else "the job"
    took = f" after {duration(job.seconds)}" if job and job.seconds else ""
    match result.outcome:
        case Outcome.SUCCEEDED:
            screen.note(f"{which} succeeded{took}" if job else f"{name} is as planned")
            return 0
        case Outcome.ALREADY_SUCCEEDED:
            screen.note(f"{which} has succeeded before; nothing was run (--rerun runs it again)")
            return 0
        case Outcome.DETACHED:
            screen.note(_detached(result))
            return 0
        case Outcome.DECLINED:
            screen.note("not approved; nothing was done")
        case Outcome.FAILED:
            screen.note(f"{which} failed{_why(result)}{took}")
        case Outcome.CANCELLED:
            screen.note(f"{which} was cancelled{took}")
        case Outcome.LOST:
            screen.note(f"{which} was lost{_why(result)}\n\n{_what_now(result)}")
        case never:
            assert_never(never)
    if result.not_started:
        screen.note(f"not started: {', '.join(f'`{task}`' for task in result.not_started)}")
    return 1


def _detached(result: ApplyResult) -> str:
    jobs, name = result.jobs, result.deployment
    if len(jobs) < 2:
        which = f"job {result.job.id}" if result.job else "the job"
        return f"{which} goes on by itself\n\n    skyc logs -f {name}"
    commands = "\n".join(f"    skyc logs -f {name} {job.id}" for job in jobs)
    return f"jobs {' and '.join(job.id for job in jobs)} go on by themselves\n\n{commands}"


def _what_now(result: ApplyResult) -> str:
    if result.job is not None and result.job.kind is JobKind.EXEC:
        return f"A command is not run again by itself. What became of its nodes:\n\n    skyc status {result.deployment}"
    return "The next apply takes it up again: from its newest checkpoint, if it has one."


def _why(result: ApplyResult) -> str:
    job = result.job
    if job is None:
        return ""
    rank = f" on rank {job.failed_rank}" if job.failed_rank is not None else ""
    code = f" with exit code {job.exit_code}{rank}" if job.exit_code is not None else ""
    return code + (f": {job.reason}" if job.reason else "")
