"""`skyc start`: machines that were stopped, until their Ray answers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..inputs import add_waiting, waiting

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc start train     start the machines of a deployment that was stopped, and wait for them
  skyc apply task.yaml does that too, and then runs the job
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    add_waiting(parser)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    result = api.start(arguments.deployment, on_progress=screen.progress, home=arguments.home, wait=waiting(arguments))
    count = len(result.nodes)
    was = f"{count} machine{'' if count == 1 else 's'} started" if count else "all machines were running"
    screen.note(f"{result.deployment}: {was}; its Ray answers")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return (
        "some machines may be running, and cost money. The same start again starts the rest.",
        (f"skyc start {arguments.deployment}", f"skyc stop {arguments.deployment}"),
    )
