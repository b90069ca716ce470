"""`skyc status`: deployments, their nodes and their jobs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..encode import status_document
from ..tables import ATTEMPT_HEADINGS, JOB_HEADINGS, NODE_HEADINGS, attempt_rows, job_rows, node_rows

if TYPE_CHECKING:
    from ...runtime.results import DeploymentStatus
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc status                     every deployment
  skyc status digits              one of them
  skyc status --json --no-refresh what is on record, without asking the nodes
"""

JOBS_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT", nargs="?", help="only this one")
    parser.add_argument("--no-refresh", action="store_true", help="do not ask the nodes; print what is on record")
    parser.add_argument("--json", action="store_true", help="print JSON (skyc.status/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    with screen.working("Asking the nodes"):
        found = api.status(arguments.deployment, refresh=not arguments.no_refresh, home=arguments.home)
    if arguments.json:
        screen.document(status_document(found))
        return 0
    for status in found:
        screen.diagnostics(status.diagnostics)
    if not found:
        screen.note("There is no deployment yet.\n\n    skyc apply task.yaml")
        return 0
    for index, status in enumerate(found):
        if index:
            screen.document("\n")
        _show(status, screen)
    return 0


def _show(status: DeploymentStatus, screen: Screen) -> None:
    from ...compiler.report import money
    from ..screen import harmless

    where = ", ".join(dict.fromkeys(site.provider for site in status.sites))
    facts = [status.state.value, *([where] if where else []), f"{money(status.hourly)}/h"]
    if not status.refreshed:
        facts.append("as last recorded")
    screen.document(f"{status.deployment} · {' · '.join(facts)} · {harmless(status.spec_path)}\n")
    if status.working:
        screen.document(f"  {harmless(status.working)}\n")
    if status.attempts:
        screen.table(ATTEMPT_HEADINGS, attempt_rows(status.attempts), indent=2)
    if status.nodes:
        screen.table(NODE_HEADINGS, node_rows(status.nodes), indent=2)
    for storage in status.storages:
        screen.document(f"  storage {harmless(storage.sentence)}\n")
    if status.jobs:
        screen.table(JOB_HEADINGS, job_rows(status.jobs[-JOBS_SHOWN:]), indent=2)
        if len(status.jobs) > JOBS_SHOWN:
            screen.document(f"  … and {len(status.jobs) - JOBS_SHOWN} earlier: skyc queue {status.deployment}\n")


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
