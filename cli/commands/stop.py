"""`skyc stop`: machines that cost what stays beside them, such as their disks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..inputs import add_waiting, waiting

if TYPE_CHECKING:
    from ...runtime.results import StillPaid
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc stop train                       stop its machines; their disks stay, and go on costing money
  skyc stop train --lose-local-disks    also machines with disks that are empty afterwards
  skyc start train                      go on
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", metavar="DEPLOYMENT")
    parser.add_argument(
        "--lose-local-disks", action="store_true", help="stop machines although disks inside the host lose their data"
    )
    add_waiting(parser)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    result = api.stop(
        arguments.deployment,
        lose_local=arguments.lose_local_disks,
        on_progress=screen.progress,
        home=arguments.home,
        wait=waiting(arguments),
    )
    count = len(result.nodes)
    if count:
        screen.note(
            f"{result.deployment}: {count} machine{'' if count == 1 else 's'} stopped; {_said(result.paid)}"
            f"\n\n    skyc start {result.deployment}"
        )
    else:
        screen.note(f"all machines of {result.deployment} were stopped already; {_said(result.paid)}")
    return 0


_KINDS = {"disk": "disks", "address": "public addresses", "gateway": "NAT gateway"}


def _said(paid: Sequence[StillPaid]) -> str:
    """What goes on costing money."""
    from ..prices import hourly

    if not paid:
        return "the disks stay, and go on costing money"
    return "still paid: " + ", ".join(f"{_KINDS[one.kind]} {hourly(one.hourly)}/h" for one in paid)


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "some machines may be stopping. The same stop again stops the rest.", (f"skyc stop {arguments.deployment}",)
