"""`skyc check`: which targets work from here, and why not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..encode import check_document

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc check           every target
  skyc check --json    for programs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON (skyc.check/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    """Exits with 1 when no target can be used."""
    with screen.working("Looking at each target"):
        reports = api.check(home=arguments.home)
    if arguments.json:
        screen.document(check_document(reports))
    else:
        rows = [
            (
                report.provider,
                "usable" if report.usable else "not usable",
                ", ".join(f"{name} {value}" for name, value in report.facts.items()),
            )
            for report in reports
        ]
        screen.table(("TARGET", "STATE", "FACTS"), rows)
        for report in reports:
            screen.diagnostics(report.diagnostics)
    return 0 if any(report.usable for report in reports) else 1


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
