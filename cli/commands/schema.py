"""`skyc schema`: the JSON Schema of a task file, or of a plan file."""

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
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan-file", action="store_true", help="of the files that `skyc plan -o` writes")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    screen.document(json.dumps(api.schema(plan_file=arguments.plan_file), indent=2, ensure_ascii=False))
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
