"""`skyc destroy`: remove what a deployment has made, after asking."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, assert_never

from ..inputs import add_approvals, add_policies, add_waiting, approval, policies, waiting

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc destroy digits             show what goes, ask, remove it
  skyc destroy digits -y          without asking
  skyc destroy digits --purge     with its storage, checkpoints and history
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--purge", action="store_true", help="remove persistent storage, checkpoints and history too")
    add_policies(parser)
    add_approvals(parser)
    add_waiting(parser)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    from ...runtime.results import DestroyOutcome

    question = "Destroy all of this, its storage and its history?" if arguments.purge else "Destroy this?"
    result = api.destroy(
        arguments.deployment,
        confirm=approval(screen, yes=arguments.yes, question=question),
        on_progress=screen.progress,
        purge=arguments.purge,
        home=arguments.home,
        wait=waiting(arguments),
        policies=policies(arguments),
        approve=tuple(arguments.approve),
    )
    screen.diagnostics(result.diagnostics)
    match result.outcome:
        case DestroyOutcome.DECLINED:
            screen.note("not approved; nothing was done")
            return 1
        case DestroyOutcome.NOTHING:
            screen.note(f"nothing of {result.deployment} is left")
        case DestroyOutcome.DESTROYED:
            count = len(result.removed)
            screen.note(f"{result.deployment} is destroyed: {count} resource{'' if count == 1 else 's'} removed")
        case never:
            assert_never(never)
    for storage in result.kept:
        screen.note(f"kept: {storage.sentence}")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return (
        "some of it may be left. The same destroy again removes the rest.",
        (f"skyc destroy {arguments.deployment}",),
    )
