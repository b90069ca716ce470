"""`skyc mirror`: skyc's own Terraform provider, for Terraform that is run without skyc."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  eval "$(skyc mirror ./mirror)"                write it, and tell this shell about it
  skyc plan task.yaml --emit synth | grep -v '^# ' > cdk.tf.json
  terraform init                                from here on, without skyc
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write it; written again, nothing changes")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    configuration = api.mirror(arguments.directory)
    screen.document(
        f"export TF_CLI_CONFIG_FILE={shlex.quote(str(configuration))}\nexport SKYC_PYTHON={shlex.quote(sys.executable)}\n"
    )
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "the same command again writes what is missing.", ()
