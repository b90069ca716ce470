"""`skyc cancel`: stop jobs and keep the nodes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..tables import JOB_HEADINGS, job_rows

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc cancel digits               every job that has not ended
  skyc cancel digits digits-1-1    a certain job
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument("job", metavar="JOB", nargs="?", help="its id (default: all that have not ended)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    with screen.working("Stopping"):
        jobs = api.cancel(arguments.deployment, arguments.job, home=arguments.home)
    if jobs:
        screen.table(JOB_HEADINGS, job_rows(jobs))
    else:
        screen.note(f"No job of {arguments.deployment} is running.")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "a job that was asked to stop still stops.", (f"skyc queue {arguments.deployment}",)
