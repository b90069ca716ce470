"""`skyc plan`: what an apply would do, as a report or as the output of one compiler stage."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import SkycError, error
from ..inputs import add_policies, add_task_inputs, policies, task_inputs

if TYPE_CHECKING:
    from ...runtime.results import Plan
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc plan task.yaml --format markdown > plan.md    for a pull request
  skyc plan task.yaml -o plan.skyc                   for `skyc apply plan.skyc`, which does exactly that
  skyc plan task.yaml --emit synth -o roots          for Terraform without skyc: a directory per site
  skyc plan task.yaml --offline                      without an account: is it schema-valid?
"""

STAGES = ("parse", "resolve", "candidates", "optimize", "lower", "synth", "plan")
"""The same as `compiler.pipeline.STAGES`, which takes too long to import for a list of words; a test compares them."""

SYNTH = "synth"
"""The stage whose output Terraform takes."""
CHANGES = 2
ERROR = 1
DENIED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_task_inputs(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--destroy", action="store_true", help="plan the removal of the deployment")
    how.add_argument("--offline", action="store_true", help="ask no target: no credentials, no network, nothing compared")
    add_policies(parser)
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        help="write the plan into a file, to be reviewed and applied as it is; with --emit synth, the root modules into a directory",
    )
    parser.add_argument(
        "--locked", action="store_true", help="with what skyc.lock beside the task says, or not at all (exit 4)"
    )
    parser.add_argument("--emit", choices=STAGES, help="print what this stage makes instead of the report")
    parser.add_argument("--format", choices=("text", "markdown", "json", "html"), default="text", help="form of the report")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when an apply would change something")
    parser.add_argument("--timings", action="store_true", help="say how long each stage took")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    inputs = task_inputs(arguments)
    roots = arguments.out is not None and arguments.emit == SYNTH and not arguments.destroy
    if arguments.out is not None and not roots and (arguments.destroy or arguments.emit not in (None, "plan")):
        raise SkycError(
            error(
                "no-plan-file",
                "There is no plan to write into a file.",
                "`-o` goes with a plan of what a task file makes, and with `--emit synth`, whose root modules it writes into a directory;"
                " not with `--destroy` or another stage.",
                hint="leave `-o` out: the stage is printed",
            )
        )
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
            policies=policies(arguments),
            out=None if arguments.out is None else Path(arguments.out),
            locked=arguments.locked,
        )
    if not plan.failed:
        screen.diagnostics(plan.diagnostics)
    if roots:
        screen.note(_roots(arguments.out, plan))
    elif plan.emitted is not None:
        screen.document(plan.emitted)
    elif arguments.format == "text":
        screen.report(plan.report("text"))
    else:
        screen.document(plan.report(arguments.format))
    if arguments.out is not None and not roots and not plan.failed:
        screen.note(_next_step(arguments.out, plan))
    if arguments.timings:
        for stage, seconds in plan.timings:
            screen.note(f"{stage:<12}{seconds * 1000:>10.1f} ms")
    if plan.failed:
        # Below the report, which says what the placement would cost.
        screen.diagnostics(plan.diagnostics)
        return DENIED if plan.denied else ERROR
    return CHANGES if arguments.detailed_exitcode and plan.has_changes else 0


def _roots(directory: str, plan: Plan) -> str:
    rows = [f"    terraform -chdir={shlex.quote(f'{directory}/{graph.site}')} init\n" for graph in plan.graphs]
    modules = "one root module is" if len(rows) == 1 else f"{len(rows)} root modules are"
    return f"{modules} in {directory}, for Terraform without skyc\n\n{''.join(rows)}"


def _next_step(file: str, plan: Plan) -> str:
    if not plan.offline:
        return f"the plan is in {file}; hand it only to who may read states and keys\n\n    skyc apply {file}"
    return f"{file} is for review alone: it was compared with nothing, and cannot be applied"


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing goes on; a plan changes nothing.", ()
