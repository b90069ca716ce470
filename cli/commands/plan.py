"""`skyc plan`: what an apply would do, as a report or as the output of one compiler stage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..inputs import add_task_inputs, task_inputs

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc plan task.yaml                                what it would do and cost
  skyc plan task.yaml --format markdown > plan.md    for a pull request
  skyc plan task.yaml --offline                      without an account: is it schema-valid?
"""

STAGES = ("parse", "resolve", "candidates", "optimize", "lower", "synth", "plan")
"""The same as `compiler.pipeline.STAGES`, which takes too long to import for a list of words; a test compares them."""

CHANGES = 2
ERROR = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_task_inputs(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--destroy", action="store_true", help="plan the removal of the deployment")
    how.add_argument("--offline", action="store_true", help="ask no target: no credentials, no network, nothing compared")
    parser.add_argument(
        "--locked", action="store_true", help="with what skyc.lock beside the task says, or not at all (exit 4)"
    )
    parser.add_argument("--emit", choices=STAGES, help="print what this stage makes instead of the report")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="form of the report")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when an apply would change something")
    parser.add_argument("--timings", action="store_true", help="say how long each stage took")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    inputs = task_inputs(arguments)
    with screen.working("Planning"):
        plan = api.plan(
            inputs.path,
            deployment=inputs.deployment,
            env=inputs.env,
            secrets=inputs.secrets,
            home=arguments.home,
            emit=arguments.emit,
            destroy=arguments.destroy,
            objective=inputs.objective,
            offline=arguments.offline,
            locked=arguments.locked,
        )
    if not plan.failed:
        screen.diagnostics(plan.diagnostics)
    if plan.emitted is not None:
        screen.document(plan.emitted)
    elif arguments.format == "text":
        screen.report(plan.report("text"))
    else:
        screen.document(plan.report(arguments.format))
    if arguments.timings:
        for stage, seconds in plan.timings:
            screen.note(f"{stage:<12}{seconds * 1000:>10.1f} ms")
    if plan.failed:
        # Below the report, which says what the placement would cost.
        screen.diagnostics(plan.diagnostics)
        return ERROR
    return CHANGES if arguments.detailed_exitcode and plan.has_changes else 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing goes on; a plan changes nothing.", ()
