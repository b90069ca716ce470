"""`skyc logs`: what a job has printed, byte for byte as far as it is text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..encode import log_line

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc logs digits               the newest job, so far
  skyc logs -f digits            and what it prints from now on
  skyc logs digits digits-1-1    a certain job
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument("job", metavar="JOB", nargs="?", help="its id (default: the newest)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line (skyc.log/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    for line in api.logs(arguments.deployment, arguments.job, follow=arguments.follow, home=arguments.home):
        screen.output(log_line(arguments.deployment, line) if arguments.json else line)
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "a job that was running goes on.", (f"skyc cancel {arguments.deployment}",)
