"""`skyc ssh`: a shell on a node, or one command there."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc ssh train                     a shell on the head, in the job's workdir
  skyc ssh train 2 -- nvidia-smi     one command, on the node of rank 2; its name will do too
  skyc ssh train --print             the `ssh` command line, for other programs (scp, rsync, editors)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [options] DEPLOYMENT [NODE] [-- COMMAND …]"
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument("node", metavar="NODE", nargs="?", help="name or rank; the head without one")
    parser.add_argument("--print", action="store_true", help="print the command line, and run nothing")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    """Exits as the shell or the command does."""
    words: list[str] = getattr(arguments, "tail", [])
    # As with `exec`: one argument is shell text, several are a program and its arguments.
    command = None if not words else words[0] if len(words) == 1 else shlex.join(words)
    argv = api.shell(arguments.deployment, arguments.node, command, home=arguments.home)
    if arguments.print:
        screen.output(shlex.join(argv))
        return 0
    # The terminal is the shell's alone; what it exits with is ours.
    return subprocess.run(argv, check=False).returncode


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "what was running on the node may go on.", (f"skyc ssh {arguments.deployment}",)
