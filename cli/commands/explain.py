"""`skyc explain`: why a plan is as it is, why it is not something else, and what changing a field would do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import SkycError, error
from ..encode import explanation_document, fields_document
from ..inputs import add_task_inputs, task_inputs

if TYPE_CHECKING:
    from ...compiler.ir import Alternative, GroupPlacement
    from ...compiler.optimize.explain import WhyNot
    from ...runtime.explain import Explanation
    from ...runtime.field_effects import FieldEffect
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc explain task.yaml --why-not aws                    every cost line, and what AWS would cost more or lacks
  skyc explain resources.disk_size                        what changing a field does, at every target
  skyc explain task.yaml --field resources.disk_size=500  what it would do to this task
"""
SHOWN_CAUSES = 6
TASK_NAMES = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="TASK|FIELD", nargs="?", help="the task file (YAML), or a field such as resources.ports"
    )
    parser.add_argument("task", metavar="TASK", nargs="?", help="after a FIELD: the task file to change it in")
    add_task_inputs(parser, given=True)
    parser.add_argument("--field", metavar="FIELD[=VALUE]", help="what changing this field of the task does")
    parser.add_argument("--fields", action="store_true", help="what changing any field does, at every target")
    parser.add_argument(
        "--why-not",
        metavar="NAME",
        action="append",
        default=[],
        help="a target, a place (aws/us-east-1), a machine type or an accelerator; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON (skyc.explanation/v1, skyc.fields/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    if arguments.fields:
        return _show_fields(api.explain_fields(), arguments, screen, table=True)
    if arguments.path is None:
        raise SkycError(
            error(
                "nothing-to-explain",
                "There is nothing to explain.",
                "Name a task file, a field such as `resources.disk_size`, or write --fields.",
                commands=("skyc explain --help",),
            )
        )
    field, task = _field_and_task(arguments)
    if field is not None:
        return _explain_field(field, task, arguments, api, screen)
    inputs = task_inputs(arguments)
    with screen.working("Placing"):
        made = api.explain(
            inputs.path,
            why_not=arguments.why_not,
            env=inputs.env,
            secrets=inputs.secrets,
            objective=inputs.objective,
            home=arguments.home,
        )
    if arguments.json:
        screen.document(explanation_document(made))
        return 0
    screen.diagnostics(made.diagnostics)
    screen.document("\n".join(_lines(made)) + "\n")
    return 0


def _field_and_task(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """What stands where a task or a field may: a file is a task, and so is what is called like one."""
    first: str = arguments.path
    if arguments.field is not None:
        return arguments.field, first
    if arguments.task is not None:
        return first, arguments.task
    if first.endswith(TASK_NAMES) or "/" in first or Path(first).exists():
        return None, first
    return first, None


def _explain_field(field: str, task: str | None, arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    name, equals, value = field.partition("=")
    arguments.path = task
    inputs = task_inputs(arguments) if task is not None else None
    with screen.working("Comparing"):
        found = api.explain_field(
            name,
            None if task is None else Path(task),
            value=value if equals else None,
            env=inputs.env if inputs else None,
            secrets=inputs.secrets if inputs else None,
            objective=arguments.objective,
            home=arguments.home,
        )
    return _show_fields(found, arguments, screen, table=False)


def _show_fields(found: Sequence[FieldEffect], arguments: argparse.Namespace, screen: Screen, *, table: bool) -> int:
    if arguments.json:
        screen.document(fields_document(found))
    else:
        screen.document("\n".join(_table(found) if table else _answers(found)) + "\n")
    return 0


def _table(found: Sequence[FieldEffect]) -> list[str]:
    """Fields down, targets across."""
    fields, targets = (list(dict.fromkeys(names)) for names in ((row.field for row in found), (row.where for row in found)))
    cells = {(row.field, row.where): row.effect for row in found}
    rows = [["FIELD", *(name.upper() for name in targets)]]
    rows += [[field, *(cells.get((field, name), "") for name in targets)] for field in fields]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _answers(found: Sequence[FieldEffect]) -> list[str]:
    lines = [f"skyc explain · {found[0].field}", ""]
    width = max(len(row.where) for row in found)
    for row in found:
        change = f" · {row.before} → {row.after}" if row.before != row.after else ""
        lines.append(f"  {row.where:<{width}}  {row.effect}{', and the task counts as changed' if row.job else ''}{change}")
        indent = " " * (width + 4)
        lines += [f"{indent}{cause}" for cause in row.causes[:SHOWN_CAUSES]]
        if len(row.causes) > SHOWN_CAUSES:
            lines.append(f"{indent}and {len(row.causes) - SHOWN_CAUSES} more: --json lists all")
        if row.lost:
            lines.append(f"{indent}goes: {', '.join(row.lost)}")
        if row.stays:
            lines.append(f"{indent}stays: {', '.join(row.stays)}")
        if row.detail:
            lines.append(f"{indent}{row.detail}")
    return lines


def _lines(made: Explanation) -> list[str]:
    from ...compiler.report import money

    plan = made.placement
    several = len(plan.placements) > 1
    lines = [f"skyc explain · {plan.name}", "", f"  {money(plan.total)} per run, {made.proof}"]
    alternatives: dict[tuple[str, str], list[Alternative]] = {}
    for alternative in plan.alternatives:
        alternatives.setdefault((alternative.placement.task, alternative.placement.group), []).append(alternative)
    for placement in plan.placements:
        lines += ["", f"  {_group(placement, several)}{_where(placement)}"]
        for line in placement.lines:
            lines.append(f"    {money(line.amount):>10}  {line.label} · {_source(line.source, line.as_of, line.estimated)}")
        for alternative in alternatives.get((placement.task, placement.group), ()):
            lines.append(f"    {_extra(alternative.extra):>10}  {_where(alternative.placement)} · {alternative.reason}")
    for move in plan.transfers:
        text = f"{move.source} → {move.destination} · {move.gb} GB · {_source(move.line.source, move.line.as_of, move.line.estimated)}"
        lines += ["", f"    {money(move.line.amount):>10}  {text}"]
    for storage in plan.storages:
        for line in storage.lines:
            lines += ["", f"    {money(line.amount):>10}  {line.label} at {storage.location}"]
    lines += [f"  note: {name}: {text}" for name, text in plan.notes.items()]
    for answer in made.why_not:
        lines += ["", *_answer(answer, several)]
    return lines


def _answer(answer: WhyNot, several: bool) -> list[str]:
    from ...compiler.report import money

    head = f"  {_group(answer.chosen, several)}why not {answer.subject}?"
    if answer.fitting == 0:
        none = f"None of its {answer.offers:,} offers meets" if answer.offers != 1 else "Its one offer does not meet"
        lines = [head, f"    {none} the requirements:"]
        for row in answer.hindrances:
            lines.append(f"    {row.offers:>9,}  {row.reason}: {row.detail}")
        helpful = max(answer.hindrances, key=lambda row: row.alone, default=None)
        if helpful is not None and helpful.alone:
            price = "" if helpful.cheapest is None else f", from {money(helpful.cheapest)}/h"
            lines.append(f"    Changing `{helpful.field}` alone would admit {helpful.alone:,} of them{price}.")
        return lines
    if answer.best is None:
        return [head, f"    {answer.fitting:,} of its offers meet the requirements, but no plan with one keeps all limits."]
    if answer.best == answer.chosen:
        return [head, f"    That is where it is: {_where(answer.chosen)}."]
    changes = ", ".join(f"{kind} {_extra(amount)}" for kind, amount in answer.changes)
    later = f", ends {abs(answer.hours).normalize():f} h {'later' if answer.hours > 0 else 'sooner'}" if answer.hours else ""
    if answer.extra is None:
        verdict, changes = "a price of it is unknown", ""
    elif answer.extra == 0:
        verdict = "it costs the same; the written order decides"
    else:
        verdict = f"{money(abs(answer.extra))} {'more' if answer.extra > 0 else 'less'} per run"
    return [
        head,
        f"    {answer.fitting:,} of its {answer.offers:,} offers meet the requirements. The best: {_where(answer.best)}",
        f"    {verdict}{f' ({changes})' if changes else ''}{later}",
    ]


def _group(placement: GroupPlacement, several: bool) -> str:
    if not several:
        return ""
    return f"{placement.task}: " if placement.group == "main" else f"{placement.task}/{placement.group}: "


def _where(placement: GroupPlacement) -> str:
    nodes = f"{placement.num_nodes} × " if placement.num_nodes > 1 else ""
    return f"{placement.location} · {nodes}{placement.instance_type} · {placement.market.value}"


def _source(source: str, as_of: str, estimated: bool) -> str:
    return ", ".join(part for part in (source, as_of, "estimate" if estimated else "") if part)


def _extra(amount: Decimal | None) -> str:
    from ...compiler.report import money

    if amount is None:
        return "?"
    return f"{'-' if amount < 0 else '+'}{money(abs(amount))}"


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
