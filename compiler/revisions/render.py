"""A diff of revisions as a document, which the report's renderers turn into text, markdown and HTML; and as JSON.

Contract
- Same diff, same bytes: no clock and no commit id in what people read, money rounded once. So a comment that would say the same is not
  edited.
- Markdown keeps a budget in UTF-8 bytes. What is left out goes in this order (`_LEVELS`): arguments of what is made, scripts, changed
  resources, made resources, whatever only counts. Errors, policies and cautions (what is destroyed, replaced, opened) stay to the last;
  then whole deployments are cut off, and counted.
- Text of the user's is harmless: `compiler.report.document` makes it so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from ..diagnostics import Diagnostic, Severity, diagnostic_object
from ..ir import Action, GroupPlacement, JsonObject, Market, PlacementPlan, decimal_text
from ..report import COMMENT_BYTES, Document, money, render_html
from ..report import render_markdown as markdown_of
from ..report import render_text as text_of
from ..report.changes import REPLACED, DiffRow, change_rows, diff_rows
from ..report.document import (
    Alert,
    Block,
    Diff,
    Fold,
    Footer,
    Line,
    Paragraph,
    Table,
    code,
    marked,
    marks_of,
    paragraph,
    plain,
    plural,
    strong,
)
from ..report.harmless import clipped
from ..report.model import Caution, Tone
from ..report.money import Sum, difference
from ..report.placement import per_hour
from ..report.wire import policy_object
from .model import DeploymentDiff, Kind, RevisionDiff

BUDGET = COMMENT_BYTES
NOT_COMPARED = "compiled, not compared with what exists"
LONGEST_LINE = 160
"""Characters of a line of a script."""
SIGNS = {Kind.FAILED: "✗", Kind.CHANGED: "~", Kind.ADDED: "+", Kind.REMOVED: "−"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Detail:
    """How much of a deployment is shown."""

    create_arguments: bool = True
    scripts: bool = True
    updates: bool = True
    creates: bool = True
    counts: bool = True


_LEVELS = (
    _Detail(),
    _Detail(create_arguments=False),
    _Detail(create_arguments=False, scripts=False),
    _Detail(create_arguments=False, scripts=False, updates=False),
    _Detail(create_arguments=False, scripts=False, updates=False, creates=False),
    _Detail(create_arguments=False, scripts=False, updates=False, creates=False, counts=False),
)
"""The dropping order, richest first."""


def render_text(diff: RevisionDiff) -> str:
    """For a terminal; no escape codes."""
    return text_of(_document(diff, "default", _LEVELS[0], len(diff.deployments)))


def render_page(diff: RevisionDiff) -> str:
    """One HTML page that needs nothing else."""
    return render_html(_document(diff, "default", _LEVELS[0], len(diff.deployments)))


def render_markdown(diff: RevisionDiff, *, name: str = "default", budget: int = BUDGET) -> str:
    """A comment for a pull request, in at most `budget` bytes. `name`: which of several comments of one request it is."""

    def rendered(detail: _Detail, most: int) -> str:
        return markdown_of(_document(diff, name, detail, most))

    for detail in _LEVELS:
        text = rendered(detail, len(diff.deployments))
        if len(text.encode()) <= budget:
            return text
    low, high = 0, len(diff.deployments)
    while low < high:
        middle = (low + high + 1) // 2
        if len(rendered(_LEVELS[-1], middle).encode()) <= budget:
            low = middle
        else:
            high = middle - 1
    return rendered(_LEVELS[-1], low)


def marker(name: str) -> str:
    """The hidden first line by which a comment is found again."""
    return markdown_of(_shell(Tone.QUIET, name, plain(""), ())).splitlines()[0]


def _shell(tone: Tone, name: str, title: Line, blocks: Iterable[Block]) -> Document:
    return Document(kind="diff", marks=marks_of([("name", name)]), tone=tone, title=title, blocks=tuple(blocks))


def _document(diff: RevisionDiff, name: str, detail: _Detail, most: int) -> Document:
    title = (*plain("skyc diff · "), *code(str(diff.base)), *plain(" → "), *code(diff.head.label))
    return _shell(_tone(diff), name, title, _body(diff, detail, most))


def _tone(diff: RevisionDiff) -> Tone:
    if diff.failed or diff.denied:
        return Tone.FAILED
    grave = any(row.cautions or row.kind is Kind.REMOVED for row in diff.deployments)
    unmet = any(not result.met for row in diff.deployments for result in row.policies)
    return Tone.CAUTION if grave or unmet else Tone.CALM if diff.has_differences else Tone.QUIET


def _body(diff: RevisionDiff, detail: _Detail, most: int) -> Iterator[Block]:
    lines = [strong(_headline(diff))]
    if diff.has_differences:
        lines += [*_total(diff), plain(NOT_COMPARED)]
    yield Paragraph(lines=tuple(lines))
    for said in diff.diagnostics:
        yield Paragraph(lines=tuple(_diagnostic(said)))
    shown = diff.deployments[:most]
    yield from _table([row for row in shown if row.kind is not Kind.FAILED])
    for row in shown:
        yield from _part(row, detail)
    hidden = len(diff.deployments) - most
    if hidden:
        yield Paragraph(lines=(marked(f"… and {plural(hidden, 'more deployment')}: `skyc diff` shows them all."),))
    elif detail is not _LEVELS[0]:
        yield Paragraph(lines=(marked("Shortened: `skyc diff` shows all."),))
    if diff.catalog_digest:
        yield Footer(lines=(plain(f"catalog {diff.catalog_digest[:12]}"),))


def _headline(diff: RevisionDiff) -> str:
    if not diff.has_differences:
        return f"no differences · {plural(diff.unchanged, 'deployment')}"
    failed = diff.count(Kind.FAILED)
    parts = [f"{failed} with errors"] if failed else []
    parts += [f"{diff.count(kind)} {kind.value}" for kind in (Kind.ADDED, Kind.CHANGED, Kind.REMOVED)]
    return " · ".join([*parts, f"{diff.unchanged} unchanged"])


def _total(diff: RevisionDiff) -> list[Line]:
    if sum(1 for row in diff.deployments if row.kind is not Kind.FAILED and (row.before or row.after)) < 2:
        return []
    before, after = diff.totals
    return [plain(f"{_money_change(before, after)} per run of what differs")]


def _money_change(before: Decimal | None, after: Decimal | None) -> str:
    if before == after:
        return money(after)
    change = "" if before is None or after is None else f" ({difference(Sum(known=before), Sum(known=after))})"
    return f"{money(before)} → {money(after)}{change}"


def _table(rows: list[DeploymentDiff]) -> Iterator[Block]:
    if len(rows) > 1:
        cells = tuple(
            (plain(SIGNS[row.kind]), code(row.deployment), plain(_price(row) or "–"), plain(_where(row))) for row in rows
        )
        yield Table(head=("", "deployment", "per run", "where"), right=(False, False, True, False), rows=cells)


def _part(row: DeploymentDiff, detail: _Detail) -> Iterator[Block]:
    """One deployment: what must not be missed in the open, the rest folded."""
    errors = [line for said in row.diagnostics if said.severity is Severity.ERROR for line in _diagnostic(said)]
    cautions = [_caution(caution) for caution in row.cautions]
    policies = [
        (
            *code(result.rule),
            *marked(f", {result.effect.value}: {result.message}" + (f" ({result.source})" if result.source else "")),
        )
        for result in row.policies
        if not result.met
    ]
    if not detail.counts and not (errors or cautions or policies):
        return
    yield Paragraph(lines=(_title(row),))
    if errors:
        yield Alert(tone=Tone.FAILED, lines=tuple(errors))
    if policies:
        yield Alert(tone=Tone.FAILED if row.denied else Tone.CAUTION, lines=tuple(policies))
    if cautions:
        yield Alert(tone=Tone.CAUTION, lines=tuple(cautions))
    if not detail.counts:
        return
    yield from paragraph([*_facts(row), *_job(row)])
    yield from _scripts(row, detail)
    yield from _resources(row, detail)


def _caution(caution: Caution) -> Line:
    before, _, after = caution.text.partition("{}")
    detail = f" ({caution.detail})" if caution.detail else ""
    return (*plain(before), *code(", ".join(caution.subjects)), *plain(after + detail))


def _title(row: DeploymentDiff) -> Line:
    was = (*plain(" (was "), *code(row.previous_path), *plain(")")) if row.previous_path else ()
    # A file that cannot be read tells no name but its own.
    name = (*code(row.deployment), *plain(" · ")) if row.deployment != row.path else ()
    return (*strong(f"{SIGNS[row.kind]} {row.kind.value} "), *name, *code(row.path), *was)


def _diagnostic(said: Diagnostic) -> Iterator[Line]:
    where = code(f"{said.span.file}:{said.span.line}:{said.span.column}") if said.span is not None else ()
    yield (*strong(f"{said.severity.name.lower()}[{said.slug}]: {said.summary}"), *(plain(" at ") if where else ()), *where)
    yield from (marked(line) for line in said.detail.splitlines() if line.strip())
    if said.hint:
        yield marked(f"hint: {said.hint}")
    yield from (code(command) for command in said.commands)


def _price(row: DeploymentDiff) -> str:
    """Empty where nothing was compiled."""
    if row.before is None or row.after is None:
        side = row.after or row.before
        return "" if side is None else money(side.total)
    return _money_change(row.before.total, row.after.total)


def _facts(row: DeploymentDiff) -> Iterator[Line]:
    if row.before or row.after:
        yield plain(f"{_price(row)} per run" + (" until now" if row.kind is Kind.REMOVED else ""))
        yield from (plain(text) for text in _places(row))
    made, changed = row.count(Action.CREATE), row.count(Action.UPDATE)
    replaced, gone = row.count(*REPLACED), row.count(Action.DELETE)
    if row.kind is Kind.CHANGED and (made or changed or replaced or gone):
        yield plain(f"resources: {made} added · {changed} changed · {replaced} replaced · {gone} removed")
    elif made or gone:
        yield plain(plural(made + gone, "resource"))
    if row.kind is Kind.REMOVED:
        yield marked(f"what is up stays up until somebody destroys it: `skyc destroy {row.deployment}`")
    yield from (plain(note) for note in row.notes)
    warned = sum(1 for said in row.diagnostics if said.severity is Severity.WARNING)
    if warned:
        yield marked(f"{plural(warned, 'new warning')}: `skyc plan {row.path} --offline`")


def _places(row: DeploymentDiff) -> Iterator[str]:
    """A line per group: `main: aws/us-east-1 · 1× m5.large → gcp/… · 2× …`."""
    old, new = _groups(row.before), _groups(row.after)
    several = len({*old, *new}) > 1
    for key in dict.fromkeys((*new, *old)):
        label = f"{key[0]}/{key[1]}: " if several else ""
        texts = [_placed(side) for side in (old.get(key), new.get(key)) if side is not None]
        yield label + " → ".join(dict.fromkeys(texts))


def _groups(plan: PlacementPlan | None) -> dict[tuple[str, str], GroupPlacement]:
    return {(placed.task, placed.group): placed for placed in plan.placements} if plan else {}


def _placed(placed: GroupPlacement) -> str:
    spot = " spot" if placed.market is Market.SPOT else ""
    return f"{_place(placed)} · {placed.num_nodes}× {placed.instance_type}{spot} · {per_hour(placed).rate}/h"


def _place(placed: GroupPlacement) -> str:
    return "/".join(dict.fromkeys(part for part in (placed.provider, placed.region, placed.zone) if part))


def _where(row: DeploymentDiff) -> str:
    plans = [plan for plan in (row.before, row.after) if plan is not None]
    sides = [", ".join(dict.fromkeys(_place(placed) for placed in plan.placements)) for plan in plans]
    return " → ".join(dict.fromkeys(sides)) or "–"


def _job(row: DeploymentDiff) -> Iterator[Line]:
    tasks = list(dict.fromkeys(change.task for change in row.jobs))
    for task in tasks:
        fields = ", ".join(change.field for change in row.jobs if change.task == task)
        yield plain(f"job{f' {task}' if len(tasks) > 1 or task != row.deployment else ''}: {fields}")
    if row.code:
        more = f" and {len(row.code) - 3} more" if len(row.code) > 3 else ""
        listed = [span for path in row.code[:3] for span in (*plain(", "), *code(path))]
        yield (*plain("the job's code changes: "), *listed[1:], *plain(more))


def _scripts(row: DeploymentDiff, detail: _Detail) -> Iterator[Block]:
    for change in row.jobs if detail.scripts else ():
        if change.lines:
            title = change.field if change.task == row.deployment else f"{change.task}: {change.field}"
            rows = tuple(
                DiffRow(symbol=line[:1], text=clipped(line[1:].replace("\t", "    "), LONGEST_LINE)) for line in change.lines
            )
            yield Paragraph(lines=(code(title),))
            yield Diff(rows=rows)


def _resources(row: DeploymentDiff, detail: _Detail) -> Iterator[Block]:
    """What is done to resources. Of a deployment that comes or goes whole, addresses say enough."""
    rows = change_rows(row.changes)
    whole = row.kind is not Kind.CHANGED
    shown: list[DiffRow] = []
    hidden = 0
    for change in rows:
        wanted = {Action.UPDATE: detail.updates, Action.CREATE: detail.creates}.get(change.change.action, True)
        if not wanted or (whole and not detail.creates):
            hidden += 1
            continue
        lines = list(diff_rows(change))
        brief = whole or (change.change.action is Action.CREATE and not detail.create_arguments)
        shown += lines[:1] if brief else lines
    if rows:
        more = [Paragraph(lines=(plain(f"… and {plural(hidden, 'more resource')}"),))] if hidden else []
        yield Fold(
            summary=f"Resources · {len(rows)}", blocks=(*([Diff(rows=tuple(shown))] if shown else []), *more), opened=not whole
        )


def render_json(diff: RevisionDiff) -> str:
    """`schema: skyc.diff/v1`. Within a version fields are only added. Money is text in US dollars, null when not known."""
    before, after = diff.totals
    document = {
        "schema": "skyc.diff/v1",
        "base": {"label": diff.base.label, "commit": diff.base.commit, "merge_base": diff.base.merge_base},
        "head": {"label": diff.head.label, "commit": diff.head.commit},
        "compared": False,
        "counts": {
            **{kind.value: diff.count(kind) for kind in (Kind.ADDED, Kind.CHANGED, Kind.REMOVED, Kind.FAILED)},
            "unchanged": diff.unchanged,
        },
        "per_run": {"before": _amount(before), "after": _amount(after)},
        "deployments": [_row_json(row) for row in diff.deployments],
        "diagnostics": [diagnostic_object(said) for said in diff.diagnostics],
        "catalog_digest": diff.catalog_digest,
    }
    return json.dumps(document, indent=2) + "\n"


def _row_json(row: DeploymentDiff) -> JsonObject:
    return {
        "deployment": row.deployment,
        "kind": row.kind.value,
        "path": row.path,
        "previous_path": row.previous_path,
        "before": _plan_json(row.before),
        "after": _plan_json(row.after),
        "changes": [
            {
                "site": site.site,
                "address": change.address,
                "action": change.action.value,
                "origin": None if change.origin is None else str(change.origin),
                "attributes": [
                    {
                        "path": a.path,
                        "kind": a.kind.value,
                        "before": a.before,
                        "after": a.after,
                        "forces_replacement": a.forces_replacement,
                    }
                    for a in change.attributes
                ],
            }
            for site in row.changes
            for change in site.changes
        ],
        "job": [{"task": change.task, "field": change.field, "lines": list(change.lines)} for change in row.jobs],
        "code": list(row.code),
        "cautions": [caution.sentence for caution in row.cautions],
        "policies": [policy_object(result) for result in row.policies],
        "diagnostics": [diagnostic_object(said) for said in row.diagnostics],
        "notes": list(row.notes),
    }


def _plan_json(plan: PlacementPlan | None) -> JsonObject | None:
    if plan is None:
        return None
    return {
        "per_run": _amount(plan.total),
        "worst_case": _amount(plan.worst_case),
        "placements": [
            {
                "task": placed.task,
                "group": placed.group,
                "where": _place(placed),
                "instance_type": placed.instance_type,
                "nodes": placed.num_nodes,
                "market": "spot" if placed.market is Market.SPOT else "on-demand",
                "hourly": _amount(placed.hourly),
            }
            for placed in plan.placements
        ],
    }


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(amount)
