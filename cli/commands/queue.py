"""`skyc queue`: the jobs of a deployment."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..encode import queue_document
from ..tables import JOB_HEADINGS, job_rows

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc queue digits           every job, oldest first
  skyc queue digits --json    with exit codes and prices
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument("--json", action="store_true", help="print JSON (skyc.queue/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    with screen.working("Asking the head node"):
        jobs = api.queue(arguments.deployment, home=arguments.home)
    if arguments.json:
        screen.document(queue_document(arguments.deployment, jobs))
    elif jobs:
        screen.table(JOB_HEADINGS, job_rows(jobs))
    else:
        screen.note(f"{arguments.deployment} has no jobs.")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
