"""`skyc lock`: what a task is compiled with, written down beside it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..encode import lock_document
from ..inputs import add_task_inputs, task_inputs

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc lock task.yaml                               write skyc.lock beside it, to be committed
  skyc lock train.yaml serve.yaml                   one file for all tasks of a directory
  skyc plan task.yaml --locked                      compile with that, or not at all
"""
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="TASK", nargs="+", help="task files (YAML) of one directory")
    add_task_inputs(parser, given=True)
    parser.add_argument(
        "--no-hashes", action="store_true", help="do not fetch Terraform providers for the hashes of their packages"
    )
    parser.add_argument("--json", action="store_true", help="print JSON (skyc.lock-result/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    arguments.path = arguments.paths[0]
    inputs = task_inputs(arguments)
    made = api.lock(
        *map(Path, arguments.paths),
        env=inputs.env,
        secrets=inputs.secrets,
        objective=inputs.objective,
        hashes=not arguments.no_hashes,
        on_progress=screen.progress,
        home=arguments.home,
    )
    screen.diagnostics(made.diagnostics)
    if arguments.json:
        screen.document(lock_document(made))
        return 0
    lines = [f"{made.path} is {'written' if made.written else 'as it was'}"]
    lines += [f"  {row.name}: {row.locked} → {row.here}" for row in made.changed[:SHOWN]]
    if len(made.changed) > SHOWN:
        lines.append(f"  and {len(made.changed) - SHOWN} more")
    screen.document("\n".join(lines) + "\n")
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing goes on; the file is written at once, at the very end.", ()
