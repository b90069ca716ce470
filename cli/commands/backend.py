"""`skyc backend ACTION`: the place where several machines share states. Each action is a module `cli/backend_<action>.py`."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen
    from .catalog import Action

ACTIONS: dict[str, str] = {
    "create": "make a bucket that is private, encrypted and versioned, and can be locked",
    "show": "print how the backend of this home is, and what is in it",
}
"""Action → its line in the help."""

EXAMPLES = """\
  skyc backend create s3://acme-skyc-states/team    make it, and print the lines for config.yaml
  skyc backend create gs://acme-skyc-states/team --region europe-west4
  skyc backend show                                 is it reachable, what is in it, who works on it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..main import _add_shared

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, purpose in ACTIONS.items():
        own = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".", allow_abbrev=False)
        _action(name).add_arguments(own)
        # Options of every command may stand behind the action too.
        _add_shared(own, suppress=True)


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    return _action(arguments.action).run(arguments, api, screen)


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return _action(arguments.action).still_going_on(arguments)


def _action(name: str) -> Action:
    return cast("Action", import_module(f"..backend_{name}", __package__))
