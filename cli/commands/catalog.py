"""`skyc catalog ACTION`: the machines and prices skyc knows. Each action is a module `cli/catalog_<action>.py`."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

ACTIONS: dict[str, str] = {
    "show": "print what the catalog knows, and how old it is",
    "refresh": "ask the clouds for today's offers",
}
"""Action → its line in the help."""

EXAMPLES = """\
  skyc catalog show                             each target's part: how much it knows, how old it is
  skyc catalog refresh                          every cloud that can be asked from here
  skyc catalog refresh --cloud aws --cloud gcp  these two
"""


class Action(Protocol):
    """What a module of an action has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, api: Api, screen: Screen) -> int: ...

    def still_going_on(self, arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]: ...


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
    return cast(Action, import_module(f"..catalog_{name}", __package__))
