"""`skyc eject`: a deployment as plain Terraform."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..encode import eject_document
from ..inputs import add_waiting, waiting

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc eject digits -o digits-terraform             hand it over to plain Terraform
  skyc eject digits -o look --dry-run               write the code and keep the deployment
  skyc eject digits --undo                          take it back
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-o", "--output", metavar="DIR", type=Path, help="an empty directory, or one that does not exist yet")
    what.add_argument("--undo", action="store_true", help="take an ejected deployment's states back")
    parser.add_argument("--dry-run", action="store_true", help="write the directory; the deployment stays skyc's")
    parser.add_argument("--json", action="store_true", help="print JSON (skyc.eject/v1)")
    add_waiting(parser)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    made = api.eject(
        arguments.deployment,
        arguments.output,
        undo=arguments.undo,
        dry_run=arguments.dry_run,
        on_progress=screen.progress,
        home=arguments.home,
        wait=waiting(arguments),
    )
    if arguments.json:
        screen.document(eject_document(made, undone=arguments.undo))
        return 0
    if arguments.undo:
        screen.document(f"{made.deployment} is skyc's again; {made.directory} is of no use any more\n")
        return 0
    lines = [f"{made.deployment} is written to {made.directory}; {made.engine} would change nothing"]
    for site in made.sites:
        what = "1 resource" if site.resources == 1 else f"{site.resources} resources"
        lines.append(f"  {site.site} · {what} · state: {site.state}")
    lines.append("README.md there says how to go on." if made.recorded else "A dry run: the deployment is skyc's as before.")
    screen.document("\n".join(lines) + "\n")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing goes on; a deployment is handed over at the very end or not at all.", ()
