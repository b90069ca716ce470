"""`skyc schema`: the JSON Schema of the task file, of a policy, or of a plan's JSON."""

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


SCHEMAS = {
    "policy": "a policy file",
    "report": "what `skyc plan --format json` prints",
    "plan-file": "the files that `skyc plan -o` writes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_mutually_exclusive_group()
    for name, what in SCHEMAS.items():
        kinds.add_argument(f"--{name}", action="store_const", const=name, dest="of", default="task", help=f"of {what}, instead")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    screen.document(json.dumps(api.schema(arguments.of), indent=2, ensure_ascii=False))
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
