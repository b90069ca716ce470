"""`skyc apply`: plan, ask, make what is missing, run the job and show its output; or do what a plan file says."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..inputs import add_approvals, add_policies, add_task_inputs, add_waiting, approval, policies, task_inputs, waiting
from ..outcome import say_outcome

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc apply task.yaml                          show the plan, ask, run
  skyc apply task.yaml -y --detach              leave the job running; `skyc logs -f` shows it
  skyc apply plan.skyc                          do exactly what a reviewed plan file says
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_task_inputs(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--plan",
        metavar="FINGERPRINT",
        help="the plan that was reviewed (12 digits of its name or more): stop if it is another one",
    )
    parser.add_argument("--rerun", action="store_true", help="run the task from its beginning even if it succeeded before")
    parser.add_argument("--detach", action="store_true", help="return when the job is running")
    add_policies(parser)
    add_approvals(parser)
    parser.add_argument(
        "--locked", action="store_true", help="with what skyc.lock beside the task says, or not at all (exit 4)"
    )
    add_waiting(parser)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    inputs = task_inputs(arguments)
    result = api.apply(
        inputs.path,
        deployment=inputs.deployment,
        env=inputs.env,
        secrets=inputs.secrets,
        rerun=arguments.rerun,
        objective=inputs.objective,
        detach=arguments.detach,
        confirm=approval(screen, yes=arguments.yes, question="Apply this plan?"),
        on_progress=screen.progress,
        home=arguments.home,
        wait=waiting(arguments),
        policies=policies(arguments),
        approve=tuple(arguments.approve),
        fingerprint=arguments.plan,
        locked=arguments.locked,
    )
    return say_outcome(result, screen)


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return (
        "what was made stays, and a job that was running goes on. The same apply again takes it up from here.",
        ("skyc status", f"skyc apply {arguments.path}"),
    )
