"""`skyc policy check`: the rules of a policy file, and what they say of task files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.diagnostics import diagnostic_object

if TYPE_CHECKING:
    from ..compiler.ir import JsonObject, PolicyResult
    from ..runtime.policy.check import CheckedTask, PolicyCheck
    from .api import Api
    from .screen import Screen

ERROR, DENIED = 1, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="the policy file (YAML)")
    parser.add_argument("tasks", metavar="TASK", nargs="*", help="task files to hold it against")
    parser.add_argument("--json", action="store_true", default=False, help="print JSON (skyc.policy-check/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    """Exits with 3 when a rule forbids one of the task files, with 1 when one cannot be compiled."""
    with screen.working("Holding the rules"):
        found = api.policy_check(
            Path(arguments.path).expanduser(), [Path(text).expanduser() for text in arguments.tasks], home=arguments.home
        )
    if arguments.json:
        screen.document(json.dumps(_document(found), indent=2, ensure_ascii=False))
    else:
        _show(found, screen)
    if any(task.failed for task in found.tasks):
        return ERROR
    return DENIED if any(task.denied for task in found.tasks) else 0


def _show(found: PolicyCheck, screen: Screen) -> None:
    screen.diagnostics(found.diagnostics)
    count = f"{len(found.rules)} rule{'s' if len(found.rules) != 1 else ''}"
    screen.document(f"{count} · digest {found.digest[:12]}\n")
    rows = [(rule.name, rule.effect, rule.asks, rule.source, rule.reason) for rule in found.rules]
    screen.table(("RULE", "EFFECT", "ASKS", "WHERE", "REASON"), rows, indent=2)
    for task in found.tasks:
        screen.document(f"\n{task.path}: {_verdict(task)}\n")
        if task.results:
            screen.table(("RULE", "RESULT", "DETAIL"), [_row(row) for row in task.results], indent=2)
    for task in found.tasks:
        screen.diagnostics(task.diagnostics)


def _verdict(task: CheckedTask) -> str:
    if task.failed:
        return "cannot be compiled"
    if task.denied:
        return "denied"
    return "needs an approval" if any(row.blocks for row in task.results) else "allowed"


def _row(row: PolicyResult) -> tuple[str, str, str]:
    return row.rule, "met" if row.met else row.effect.value, row.message


def _document(found: PolicyCheck) -> JsonObject:
    from ..compiler.report.wire import policy_object

    return {
        "schema": "skyc.policy-check/v1",
        "digest": found.digest,
        "rules": [
            {"name": rule.name, "effect": rule.effect, "asks": rule.asks, "reason": rule.reason, "source": rule.source}
            for rule in found.rules
        ],
        "tasks": [
            {
                "path": task.path,
                "denied": task.denied,
                "failed": task.failed,
                "results": [policy_object(row) for row in task.results],
                "diagnostics": [diagnostic_object(diagnostic) for diagnostic in task.diagnostics],
            }
            for task in found.tasks
        ],
    }


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
