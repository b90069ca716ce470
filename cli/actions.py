"""A command whose first word after it says what to do, as `skyc catalog show`: each action is a module `cli/<command>_<action>.py`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from .api import Api
    from .screen import Screen


class Action(Protocol):
    """What a module of an action has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, api: Api, screen: Screen) -> int: ...

    def still_going_on(self, arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]: ...


class Actions:
    """What a command of several actions does, which is what the chosen one does."""

    def __init__(self, command: str, purposes: Mapping[str, str]) -> None:
        """purposes: action → its line in the help."""
        self._command, self._purposes = command, purposes

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        from .main import _add_shared

        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        for name, purpose in self._purposes.items():
            own = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".", allow_abbrev=False)
            self._action(name).add_arguments(own)
            # Options of every command may stand behind the action too.
            _add_shared(own, suppress=True)

    def run(self, arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
        return self._action(arguments.action).run(arguments, api, screen)

    def still_going_on(self, arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
        return self._action(arguments.action).still_going_on(arguments)

    def _action(self, name: str) -> Action:
        return cast("Action", import_module(f".{self._command}_{name}", __package__))
