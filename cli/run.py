"""One command, from parsed arguments to an exit code: everything that can go wrong on the way ends here.

Three failures, three kinds: what a person can mend is shown as diagnostics; an interrupt says what still goes on; anything
else is a bug of skyc's, kept as a report in a file.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import platform
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .. import __version__
from ..compiler.diagnostics import Diagnostic, SkycError, error
from .screen import Screen

if TYPE_CHECKING:
    from .api import Api
    from .main import Command

ERROR = 1
INTERRUPTED = 130


def run_command(name: str, command: Command, arguments: argparse.Namespace, api: Api | None) -> int:
    """Run a command; `api` None means skyc itself."""
    screen = Screen(color=not arguments.no_color)
    if arguments.verbose:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s: %(message)s")
    if arguments.home is not None:
        arguments.home = Path(os.path.abspath(Path(arguments.home).expanduser()))  # noqa: PTH100 - links stay as they are
    try:
        with screen:
            return command.run(arguments, api or _skyc(), screen)
    except SkycError as failure:
        screen.diagnostics(failure.diagnostics)
        return failure.exit_code
    except KeyboardInterrupt as stop:
        detail, commands = _still_going_on(stop, command, arguments)
        screen.interrupted(detail, commands)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as failure:
        if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
            screen.diagnostics([_no_room(failure)])
        else:
            _say_bug(name, arguments, failure, screen)
        return ERROR


def _skyc() -> Api:
    import skyc

    return cast("Api", skyc)


def _still_going_on(stop: KeyboardInterrupt, command: Command, arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    from ..runtime.results import Interrupted

    if isinstance(stop, Interrupted):
        return stop.detail, stop.commands
    return command.still_going_on(arguments)


def _no_room(failure: OSError) -> Diagnostic:
    where = f"{failure.filename}: " if failure.filename else ""
    return error(
        "disk-full",
        "A disk is full.",
        f"{where}{failure.strerror}. Free some space, then run the same command again: it goes on from what is recorded.",
        commands=("df -h",),
    )


def _say_bug(name: str, arguments: argparse.Namespace, failure: Exception, screen: Screen) -> None:
    report = _bug_report(name, arguments, failure)
    place = _keep_report(report, arguments.home)
    if place is None or arguments.verbose:
        screen.note(report)
    screen.diagnostics(
        [
            error(
                "internal-error",
                "skyc stopped because of a mistake in skyc.",
                f"This is our bug, not yours: {type(failure).__name__} in `skyc {name}`. What was done so far is recorded; "
                "running the same command again goes on from there. "
                + (f"Please report it with {place} (read it first: it may hold names of yours)." if place else ""),
            )
        ]
    )


def _bug_report(name: str, arguments: argparse.Namespace, failure: Exception) -> str:
    # Names of options only: a value may be private.
    given = ", ".join(sorted(option for option, value in vars(arguments).items() if value not in (None, False, [], ())))
    head = [
        f"skyc {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {name}; given: {given or 'nothing'}",
        "",
    ]
    return "\n".join(head) + "".join(traceback.format_exception(failure))


def _keep_report(report: str, home: Path | None) -> Path | None:
    from ..runtime.state import home_directory

    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    for directory in (home_directory(home) / "crash", Path(tempfile.gettempdir())):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = directory / (name if directory.name == "crash" else f"skyc-crash-{name}")
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", errors="replace") as file:
                file.write(report)
            return place
        except OSError:
            continue
    return None
