"""`skyc exec`: a command on the nodes of a deployment, as a job of its own."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from ...compiler.diagnostics import SkycError, error
from ..outcome import say_outcome

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc exec digits -- nvidia-smi                on every node
  skyc exec digits --nodes 1 -- ls -l ckpt      on the head alone
  skyc exec digits -- 'du -sh * | sort -h'      one argument is shell text
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [options] DEPLOYMENT -- COMMAND …"
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument("--nodes", metavar="N", type=_positive, help="on the first N nodes (default: all)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    words: list[str] = getattr(arguments, "tail", [])
    if not words:
        raise SkycError(
            error(
                "no-command",
                "There is no command to run.",
                "What is to run stands after two hyphens.",
                commands=(f"skyc exec {arguments.deployment} -- nvidia-smi",),
            )
        )
    # As with ssh: one argument is shell text, several are a program and its arguments.
    command = words[0] if len(words) == 1 else shlex.join(words)
    result = api.exec(arguments.deployment, command, nodes=arguments.nodes, home=arguments.home, on_progress=screen.progress)
    return say_outcome(result, screen)


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "the command goes on if it had begun.", (f"skyc queue {arguments.deployment}", f"skyc cancel {arguments.deployment}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("it must be a whole number from 1")
    return int(text)
