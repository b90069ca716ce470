"""`skyc`: reads the arguments, runs one command, prints, and turns what happened into an exit code.

Contract
- Exit codes: 0 ok, 1 error (a wrong command line and a failed job too), 2 changes (`plan` and `diff` with `--detailed-exitcode` alone),
  3 denied by policy or budget, 4 reviewed plan no longer valid, 130 interrupted, 141 nobody reads the output any more.
- Standard output carries what was asked for: reports, tables, JSON, the job's own output. Everything else goes to standard
  error.
- A command's module is imported when that command runs; `--help` imports nothing beyond `argparse`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn, Protocol, TextIO, cast

if TYPE_CHECKING:
    from .api import Api
    from .screen import Screen

COMMANDS: dict[str, str] = {
    "plan": "Show what an apply would do and what it costs; change nothing.",
    "diff": "Say what a branch changes about the deployments its task files describe.",
    "lock": "Write down what a task is compiled with, for `plan --locked`.",
    "apply": "Make what the task needs, run it, and show its output.",
    "status": "Show deployments, their nodes and their jobs.",
    "logs": "Print what a job has printed.",
    "queue": "List the jobs of a deployment.",
    "exec": "Run a command on the nodes of a deployment.",
    "ssh": "Open a shell on a node, or run one command there.",
    "cancel": "Stop the jobs of a deployment; keep its nodes.",
    "stop": "Stop a deployment's rented machines; keep their disks.",
    "start": "Start machines that were stopped, and wait for them.",
    "drift": "Show what was changed outside skyc; put it back, or take it over.",
    "destroy": "Remove everything a deployment has made, except persistent storage.",
    "eject": "Write a deployment as plain Terraform, to go on without skyc.",
    "check": "Say which targets work from here, and why not.",
    "explain": "Say why a task is placed where it is, and what changing a field would do.",
    "offers": "List what machines cost, cheapest first.",
    "policy": "Check the rules of a policy file, and what they say of task files.",
    "catalog": "Show what is known about prices, or ask the clouds for today's.",
    "backend": "Make a place where several machines share states, or show what is in it.",
    "mirror": "Write what Terraform needs to run compiled code without skyc.",
    "schema": "Print the JSON Schema of the task file, or of a policy, for editors.",
}

EXAMPLES = """\
examples:
  skyc plan task.yaml            what it would do and cost
  skyc apply task.yaml           do it, after asking
  skyc logs -f digits            follow the newest job
  skyc destroy digits            remove it all

`skyc COMMAND --help` says more about a command.
"""

TAKES_COMMAND = frozenset({"exec", "ssh", "diff"})
"""Commands whose line ends with `-- PROGRAM ARGUMENT…`, or with `-- PATH…`, handed on as `arguments.tail`."""

ERROR = 1
INTERRUPTED = 130
NOBODY_READS = 141


class Command(Protocol):
    """What a module in `cli/commands` has."""

    EXAMPLES: str
    """Two or three command lines, each with what it does."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
        """Returns the exit code. Raises SkycError for what a person can mend."""

    def still_going_on(self, arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
        """After Ctrl-C, where the call itself did not say: what goes on, and commands to copy."""


class UsageError(Exception):
    """The command line cannot be read. `usage`: how it is written."""

    def __init__(self, message: str, usage: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.usage = usage
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """argparse, with mistakes as exceptions: its own exit code for them, 2, means "changes" here."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(_without_values(message), self.format_usage())


def main(argv: Sequence[str] | None = None, *, api: Api | None = None) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    _open_all()
    _write_anything()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(words, api)
        sys.stdout.flush()
    except BrokenPipeError:
        _stop_writing(sys.stdout)
        return NOBODY_READS
    except KeyboardInterrupt:  # before the command began, or while it was being put away
        return INTERRUPTED
    except SystemExit as done:  # argparse, after --help and --version
        return _flushed(done.code if isinstance(done.code, int) else ERROR)
    finally:
        _let_errors_go()
    return code


def _main(words: list[str], api: Api | None) -> int:
    options, name, rest = _split(words)
    if name == "help":
        name, rest = (rest[0] if rest else None), ["--help"]
        options = options if name else ["--help"]
    try:
        shared = _top_parser().parse_args(options)
        if name is None:
            raise UsageError("No command is given.", _top_parser().format_help())
        if name not in COMMANDS:
            raise UsageError(f"There is no command {name!r}.", _top_parser().format_usage(), _nearest(name, COMMANDS))
        command = cast(Command, import_module(f".commands.{name}", __package__))
        arguments = _command_arguments(name, command, rest, shared)
    except UsageError as mistake:
        return _say_usage(mistake)
    from .run import run_command

    return run_command(name, command, arguments, api)


def _split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Options before the command, the command, and what follows it."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] == "--home" else 1
    if position >= len(words):
        return words, None, []
    return words[:position], words[position], words[position + 1 :]


def _top_parser() -> Parser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items())
    parser = Parser(
        prog="skyc",
        usage="skyc [options] COMMAND …",
        description="Turns a task file into reviewed infrastructure and a running job.",
        epilog=f"commands:\n{listing}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    _add_shared(parser, suppress=False)
    return parser


def _command_arguments(name: str, command: Command, words: list[str], shared: argparse.Namespace) -> argparse.Namespace:
    parser = Parser(
        prog=f"skyc {name}",
        description=COMMANDS[name],
        epilog=f"examples:\n{command.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    _add_shared(parser, suppress=True)
    given = argparse.Namespace(**vars(shared))
    if name in TAKES_COMMAND and "--" in words:
        # Cut here, because argparse treats `--` in three ways depending on its version.
        cut = words.index("--")
        words, given.tail = words[:cut], words[cut + 1 :]
    arguments, unknown = parser.parse_known_args(words, given)
    if unknown:
        option = next((word.partition("=")[0] for word in unknown if word.startswith("-")), None)
        if option is None:
            # Not repeated: behind `--secret NAME` it could be the secret.
            raise UsageError("There is an argument too many.", parser.format_usage())
        known = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        raise UsageError(f"There is no option {option!r}.", parser.format_usage(), _nearest(option, known))
    return arguments


def _add_shared(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    """Options of every command. They may stand before it or after it; the later one wins."""
    group = parser.add_argument_group("options of every command")

    def default(value: object) -> object:
        return argparse.SUPPRESS if suppress else value

    group.add_argument(
        "--home", metavar="DIR", default=default(None), help="where skyc keeps its state (SKYC_HOME, else ~/.skyc)"
    )
    group.add_argument(
        "--no-color", action="store_true", default=default(False), help="plain text; also when NO_COLOR is set or no terminal"
    )
    group.add_argument("-v", "--verbose", action="store_true", default=default(False), help="say more on standard error")


def _version() -> str:
    from .. import __version__

    return f"skyc {__version__}"


def _nearest(word: str, known: Sequence[str] | dict[str, str]) -> str | None:
    from ..compiler.parse.nearest import nearest

    found = nearest(word, known)
    return f"did you mean {found!r}?" if found else None


def _without_values(message: str) -> str:
    """What argparse repeats of the command line, without what follows a `=`: it could be a password on the wrong option."""
    head, equals, _ = message.partition("=")
    return f"{head}=…" if equals else message


def _say_usage(mistake: UsageError) -> int:
    lines = [f"error[bad-usage]: {mistake.message}"]
    if mistake.hint:
        lines.append(f"  hint: {mistake.hint}")
    sys.stderr.write("\n".join([*lines, "", mistake.usage.rstrip()]) + "\n")
    return ERROR


def _open_all() -> None:
    """Streams that were closed by who started us (`>&-`) go nowhere. Otherwise the next file that is opened would take their number, and
    what a child prints would be written into it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - for as long as we run


def _write_anything() -> None:
    """A character the terminal's encoding lacks becomes `?` instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with suppress(OSError, ValueError):  # a stream that is closed already
                reconfigure(errors="replace")


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _stop_writing(sys.stdout)
        return NOBODY_READS
    return code


def _stop_writing(stream: TextIO) -> None:
    """Keep Python from complaining at exit, with an exit code of its own, that the pipe is closed."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _let_errors_go() -> None:
    """What could not be written to a closed standard error is still in its buffer, and must not decide the exit code."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _stop_writing(sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
