"""`skyc drift`: what is not as it was applied, and doing something about it. Made for a person, and for cron."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, assert_never

from ..inputs import add_waiting, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...compiler.diagnostics import SkycError
    from ...compiler.ir import DriftClass
    from ...runtime.results import Drift, MendResult, Plan
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc drift                             look at every deployment; exit code 2 when something drifts
  skyc drift train --repair              put back what was reviewed, after asking
  skyc drift train --adopt --only cost   take what is there into the state instead
"""
CHANGES = 2
CLASSES = ("security", "broken", "cost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT", nargs="?", help="(default: all that were applied)")
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--repair", action="store_true", help="put the world back to what was applied last, after asking")
    todo.add_argument("--adopt", action="store_true", help="take what is there into the state, after asking; the world stays")
    todo.add_argument("--adopt-security", action="store_true", help="adopt also what is about security")
    parser.add_argument(
        "--only",
        metavar="WHAT",
        action="append",
        default=[],
        help="repair or adopt this address, or this class of drift, alone (repeatable)",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--fail-on",
        metavar="CLASSES",
        help=f"of {', '.join(CLASSES)}, separated by commas: what makes exit code 2 (default: all)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON (`skyc.drift/v1`)")
    form.add_argument("--format", choices=("text", "markdown"), default="text", help="form of the report (default: text)")
    add_waiting(parser)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    mending = arguments.repair or arguments.adopt or arguments.adopt_security
    _refuse_odd(arguments, mending)
    wanted = _classes(arguments.fail_on)
    if mending:
        return _mend(arguments, api, screen)
    found = api.drift(arguments.deployment, on_progress=screen.progress, home=arguments.home, wait=waiting(arguments))
    for drift in found:
        screen.diagnostics(drift.diagnostics)
    if arguments.json:
        from ..encode import drift_document

        screen.document(drift_document(found))
    elif not found:
        screen.note("nothing was applied here")
    else:
        # Of one that could not be looked at nothing is said that reads like "no drift".
        said = [drift.report(arguments.format) for drift in found if drift.rows or not drift.failed]
        screen.report("\n".join(said))
    if any(drift.failed for drift in found):
        return 1
    return CHANGES if any(drift.matters(wanted) for drift in found) else 0


def _refuse_odd(arguments: argparse.Namespace, mending: bool) -> None:
    """Raises SkycError."""
    if mending and arguments.deployment is None:
        raise _bad_usage("One deployment is repaired or adopted at a time.", "name it: `skyc drift DEPLOYMENT --repair`")
    if mending and arguments.json:
        raise _bad_usage("--json shows drift, and does nothing about it.")
    if arguments.only and not mending:
        raise _bad_usage("--only goes with --repair or --adopt.", "`--fail-on` chooses what makes the exit code")


def _classes(text: str | None) -> frozenset[DriftClass] | None:
    from ...compiler.ir import DriftClass

    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or any(word not in CLASSES for word in words):
        raise _bad_usage(f"--fail-on takes {', '.join(CLASSES)}, separated by commas.")
    return frozenset(map(DriftClass, words))


def _bad_usage(summary: str, hint: str | None = None) -> SkycError:
    from ...compiler.diagnostics import SkycError, error

    return SkycError(error("bad-usage", summary, "Nothing was done.", hint=hint, commands=("skyc drift --help",)))


def _mend(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    if arguments.repair:
        result = api.repair_drift(
            arguments.deployment,
            only=arguments.only,
            confirm=_approval(screen, yes=arguments.yes, question="Put this back?"),
            on_progress=screen.progress,
            home=arguments.home,
            wait=waiting(arguments),
        )
    else:
        result = api.adopt_drift(
            arguments.deployment,
            only=arguments.only,
            security=arguments.adopt_security,
            confirm=_approval(screen, yes=arguments.yes, question="Take this into the state?"),
            on_progress=screen.progress,
            home=arguments.home,
            wait=waiting(arguments),
        )
    return _told(result, arguments, screen)


def _told(result: MendResult, arguments: argparse.Namespace, screen: Screen) -> int:
    from ...runtime.results import Drift, MendOutcome

    name, done = result.deployment, "put back" if arguments.repair else "taken over"
    screen.diagnostics(result.diagnostics)
    if result.fields:
        screen.note("the next apply undoes this unless the task file says:")
        screen.document("\n".join(f"    {line}" for line in result.fields))
    match result.outcome:
        case MendOutcome.NOTHING:
            screen.note(f"nothing of {name} is to be {done}")
        case MendOutcome.DECLINED:
            screen.note("not approved; nothing was done")
            return 1
        case MendOutcome.DONE:
            screen.note(f"{name}: {done}; nothing drifts now")
        case MendOutcome.LEFT:
            screen.note(f"{name}: {done}; this is left")
        case never:
            assert_never(never)
    if result.left:
        left = Drift(deployment=name, rows=result.left)
        screen.report(left.report("text"))
        return CHANGES if left.matters() else 0
    return 0


def _approval(screen: Screen, *, yes: bool, question: str) -> Callable[[Drift, Plan | None], bool]:
    """Shows what drifts, then what would be done, then asks."""
    from ..inputs import asked

    def confirm(drift: Drift, plan: Plan | None) -> bool:
        screen.report(drift.report("text"), to_error=True)
        if plan is not None and plan.has_changes:
            screen.report("\n" + plan.report("text"), to_error=True)
        return asked(screen, yes=yes, question=question)

    return confirm


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    if arguments.repair or arguments.adopt or arguments.adopt_security:
        return "some of it may be done. The same command again does the rest.", (f"skyc drift {arguments.deployment}",)
    return "nothing was changed.", ()
