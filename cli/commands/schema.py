"""`skyc schema`: the JSON Schema of the task file, or of a plan's JSON."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc schema > skyc.schema.json
  # then, on top of a task file:  # yaml-language-server: $schema=./skyc.schema.json
  skyc schema --report > plan.schema.json    what `skyc plan --format json` prints
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", action="store_true", help="of the plan that `skyc plan --format json` prints, instead")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    screen.document(json.dumps(api.schema(report=arguments.report), indent=2, ensure_ascii=False))
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
