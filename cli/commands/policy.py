"""`skyc policy ACTION`: rules that plans must meet. Each action is a module `cli/policy_<action>.py`."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen
    from .catalog import Action

ACTIONS: dict[str, str] = {
    "check": "print a policy's rules, and what they say of task files",
}
"""Action → its line in the help."""

EXAMPLES = """\
  skyc policy check policy.yaml                     does it parse, and what does it ask for?
  skyc policy check policy.yaml tasks/*.yaml        which of these would it forbid? Exit code 3 if any
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
    return cast("Action", import_module(f"..policy_{name}", __package__))
