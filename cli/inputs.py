"""Arguments several commands share: the task file, its variables and secrets, the deployment, waiting and approval.

Invariant: the value of a secret is never on the command line, where every user of the machine can read it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import FrozenMap, Secret

if TYPE_CHECKING:
    from ..runtime.results import Plan
    from .screen import Screen

LARGEST_SECRET = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInputs:
    """The task file and what the command line adds to it."""

    path: Path
    deployment: str | None
    env: FrozenMap[str]
    secrets: FrozenMap[Secret]
    objective: str


def add_task_inputs(parser: argparse.ArgumentParser, *, given: bool = False) -> None:
    """`given`: the command has a positional of its own for the task file."""
    if not given:
        parser.add_argument("path", metavar="TASK", help="the task file (YAML)")
    parser.add_argument("-d", "--deployment", metavar="NAME", help="name of the deployment (default: the task's name)")
    parser.add_argument(
        "--env", metavar="NAME[=VALUE]", action="append", default=[], help="set a variable; without value, take it from here"
    )
    parser.add_argument(
        "--secret",
        metavar="NAME",
        action="append",
        default=[],
        help="pass on a secret from this environment; never its value here",
    )
    parser.add_argument(
        "--secret-file", metavar="NAME=FILE", action="append", default=[], help="pass on a secret that stands in a file"
    )
    parser.add_argument(
        "--objective",
        choices=("cost", "time"),
        default="cost",
        help="cost: the cheapest placement (default); time: the one that ends first, and of those the cheapest",
    )


def add_policies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        metavar="FILE",
        action="append",
        default=[],
        help="hold the rules of this file too (beside those of the home, SKYC_POLICY and the task file)",
    )


def add_approvals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--approve", metavar="RULE", action="append", default=[], help="approve what this rule of a policy asks an approval for"
    )


def policies(arguments: argparse.Namespace) -> tuple[Path, ...]:
    return tuple(Path(text).expanduser() for text in arguments.policy)


def task_inputs(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> TaskInputs:
    """Raises SkycError with everything that is wrong, not only the first."""
    wrong: list[Diagnostic] = []
    env = dict(_variables(arguments.env, environ, wrong))
    secrets = dict(_secrets(arguments.secret, environ, wrong))
    secrets |= dict(_secret_files(arguments.secret_file, wrong))
    if wrong:
        raise SkycError(*wrong)
    return TaskInputs(
        path=Path(arguments.path),
        deployment=arguments.deployment,
        env=FrozenMap(env),
        secrets=FrozenMap(secrets),
        objective=arguments.objective,
    )


def variables(given: Iterable[str], environ: Mapping[str, str] = os.environ) -> FrozenMap[str]:
    """What `--env` says. Raises SkycError with everything that is wrong."""
    wrong: list[Diagnostic] = []
    found = dict(_variables(given, environ, wrong))
    if wrong:
        raise SkycError(*wrong)
    return FrozenMap(found)


def add_waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-wait", action="store_true", help="if another command works on the deployment, stop instead of waiting for it"
    )


def waiting(arguments: argparse.Namespace) -> float | None:
    """The `wait` of the calls: None for as long as it takes."""
    return 0.0 if arguments.no_wait else None


def approval(screen: Screen, *, yes: bool, question: str) -> Callable[[Plan], bool]:
    """Shows the plan, then asks. The report is part of the question, so it goes where the question goes.

    The callable raises SkycError `needs-approval` when there is nobody to ask.
    """

    def confirm(plan: Plan) -> bool:
        screen.diagnostics(plan.diagnostics)
        screen.report(plan.report("text"), to_error=True)
        return asked(screen, yes=yes, question=question)

    return confirm


def asked(screen: Screen, *, yes: bool, question: str) -> bool:
    """Whether to do what was shown. Raises SkycError `needs-approval` when there is nobody to ask."""
    import sys

    if yes:
        return True
    if not sys.stdin.isatty():
        raise SkycError(
            error(
                "needs-approval",
                "Nobody can be asked whether to go on.",
                "Standard input is not a terminal, and the plan above needs a yes. Review it, then run the same command "
                "with -y. Nothing was done.",
            )
        )
    return screen.ask(question)


def _variables(given: Iterable[str], environ: Mapping[str, str], wrong: list[Diagnostic]) -> Iterable[tuple[str, str]]:
    for text in given:
        name, equals, value = text.partition("=")
        if not name:
            wrong.append(error("bad-env", "A variable has no name.", "Write --env NAME=VALUE, or --env NAME."))
        elif equals:
            yield name, value
        elif name in environ:
            yield name, environ[name]
        else:
            wrong.append(_unset("env-not-set", "A variable has no value.", name, f"--env {name}=VALUE"))


def _secrets(given: Iterable[str], environ: Mapping[str, str], wrong: list[Diagnostic]) -> Iterable[tuple[str, Secret]]:
    for text in given:
        name, equals, _ = text.partition("=")
        if equals:
            wrong.append(
                error(
                    "secret-on-command-line",
                    "A secret's value stands on the command line.",
                    "Every user of this machine can read it there, and the shell keeps it in its history: treat the value of "
                    f"{name} as known and change it. Put the new one into the environment and write --secret {name}, or into a "
                    f"file and write --secret-file {name}=FILE.",
                )
            )
        elif name in environ:
            yield name, Secret(environ[name])
        else:
            wrong.append(_unset("secret-not-set", "A secret has no value.", name, f"--secret-file {name}=FILE"))


def _secret_files(given: Iterable[str], wrong: list[Diagnostic]) -> Iterable[tuple[str, Secret]]:
    for text in given:
        name, _, place = text.partition("=")
        try:
            if not name or not place:
                raise ValueError("write --secret-file NAME=FILE")
            with Path(place).expanduser().open(encoding="utf-8") as file:
                value = file.read(LARGEST_SECRET + 1)
            if len(value) > LARGEST_SECRET:
                raise ValueError(f"it is larger than {LARGEST_SECRET} characters")
        except (OSError, ValueError) as failure:
            # A decoding error would repeat the bytes it met.
            reason = failure.strerror if isinstance(failure, OSError) else str(failure)
            reason = "it is not UTF-8 text" if isinstance(failure, UnicodeDecodeError) else reason
            wrong.append(
                error(
                    "secret-file", "The file of a secret cannot be used.", f"Secret {name or '(no name)'}, {place}: {reason}."
                )
            )
            continue
        # Editors and `echo` end a file with a line end that is not part of the secret.
        yield name, Secret(value.removesuffix("\n").removesuffix("\r"))


def _unset(slug: str, summary: str, name: str, instead: str) -> Diagnostic:
    return error(slug, summary, f"{name} is not set in this environment. Set it, or write {instead}.")
