"""A diff of revisions as terminal text, markdown and JSON.

Contract
- Same diff, same bytes: no clock, no commit id in text or markdown, money rounded once. So a comment that would say the same is not edited.
- Markdown keeps a budget in UTF-8 bytes. What is left out goes in this order: created resources' arguments, scripts, updates, created
  resources, what only counts. Errors, policies, destroyed and replaced resources stay to the last; then rows are cut off, and counted.
- Text of the user's is made harmless: nothing in it becomes markup, a mention, a link or a colour.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from ..diagnostics import Diagnostic, Severity, render
from ..ir import (
    Action,
    AttributeChange,
    GroupPlacement,
    JsonObject,
    Market,
    PlacementPlan,
    ResourceChange,
    ValueKind,
    decimal_text,
)
from ..report import money, safe
from .model import DeploymentDiff, Kind, RevisionDiff

BUDGET = 60_000
"""UTF-8 bytes of a markdown report: below every limit of a comment, whether counted in characters or bytes."""
NOT_COMPARED = "compiled, not compared with what exists"
LINE_LIMIT = 110
LONG = 80
"""Characters of a value that is shown by its length."""
SIGNS = {Kind.FAILED: "!", Kind.CHANGED: "~", Kind.ADDED: "+", Kind.REMOVED: "-"}
REPLACED = (Action.REPLACE, Action.CREATE_BEFORE_DESTROY)
_ORDER = (Action.DELETE, *REPLACED, Action.FORGET, Action.UPDATE, Action.CREATE, Action.READ)
_RESOURCE_SIGNS = {Action.DELETE: "-", Action.FORGET: "-", Action.UPDATE: "!", Action.CREATE: "+", Action.READ: "+"}


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
    """For a terminal; no escape codes (the command line adds colour by the first character of a line)."""
    lines = [f"skyc diff · {safe(str(diff.base))} → {safe(diff.head.label)}", ""]
    lines.append(f"  {_headline(diff)}")
    if not diff.has_differences:
        return "\n".join(lines) + "\n"
    lines += [f"  {price}" for price in _total_line(diff)]
    lines.append(f"  {NOT_COMPARED}")
    for row in diff.deployments:
        lines += ["", f"{SIGNS[row.kind]} {_title(row)}"]
        lines += [f"    {line}" for line in _facts(row)]
        lines += [f"! {line}" for line in _cautions(row)]
        lines += [f"    {line}" for line in _job_lines(row)]
        for change in _script_blocks(row):
            lines += [f"      {change[0]}", *(f"    {line}" for line in change[1])]
        resources = list(_resource_lines(row, _LEVELS[0]))
        lines += [f"  {line}" for line in resources]
        for said in _errors(row):
            lines += [f"    {line}" for line in safe_lines(render(said))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def render_markdown(diff: RevisionDiff, *, name: str = "default", budget: int = BUDGET) -> str:
    """A comment for a pull request, in at most `budget` bytes. `name`: which of several comments of one request it is."""
    for detail in _LEVELS:
        text = _markdown(diff, name, detail, len(diff.deployments))
        if len(text.encode()) <= budget:
            return text
    low, high = 0, len(diff.deployments)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_markdown(diff, name, _LEVELS[-1], middle).encode()) <= budget:
            low = middle
        else:
            high = middle - 1
    return _markdown(diff, name, _LEVELS[-1], low)


def marker(name: str) -> str:
    """The hidden first line by which a comment is found again."""
    return f"<!-- skyc:diff/v1 name={name} -->"


def _markdown(diff: RevisionDiff, name: str, detail: _Detail, most: int) -> str:
    lines = [marker(name), f"### skyc diff · {escape(str(diff.base))} → {escape(diff.head.label)}", ""]
    lines.append(f"**{_headline(diff)}**  ")
    if not diff.has_differences:
        return "\n".join(line.rstrip() for line in lines) + "\n"
    lines += [f"{escape(price)}  " for price in _total_line(diff)]
    lines.append(NOT_COMPARED)
    rows = diff.deployments[:most]
    table = [row for row in rows if row.kind is not Kind.FAILED]
    if table:
        lines += ["", "| | deployment | per run | where |", "|---|---|--:|---|"]
        lines += [
            f"| {SIGNS[row.kind]} | {escape(row.deployment)} | {_cell(row)} | {escape(_where_line(row))} |" for row in table
        ]
    for row in rows:
        lines += ["", *_section(row, detail)]
    if most < len(diff.deployments):
        lines += ["", f"… and {len(diff.deployments) - most} more deployments: `skyc diff` shows them all."]
    elif detail is not _LEVELS[0]:
        lines += ["", "Shortened: `skyc diff` shows all."]
    if diff.catalog_digest:
        lines += ["", f"<sub>catalog `{diff.catalog_digest[:12]}`</sub>"]
    return "\n".join(lines) + "\n"


def _section(row: DeploymentDiff, detail: _Detail) -> Iterator[str]:
    """One deployment: what must not be missed in the open, the rest folded."""
    open_lines = [*_cautions(row), *_policy_lines(row)]
    errors = _errors(row)
    if errors or open_lines:
        yield f"**{SIGNS[row.kind]} {escape(_title(row))}**"
        yield ""
    if open_lines:
        yield "> [!CAUTION]"
        yield from (f"> {escape(line)}  " for line in open_lines)
        yield ""
    for said in errors:
        yield from _fenced("", safe_lines(render(said)))
    if not detail.counts or row.kind is Kind.FAILED:
        return
    body = list(_resource_lines(row, detail))
    yield f"<details><summary>{SIGNS[row.kind]} {_html(_title(row))}</summary>"
    yield ""
    yield from (f"{escape(line)}  " for line in (*_facts(row), *_job_lines(row)))
    if detail.scripts:
        for title, lines in _script_blocks(row):
            yield ""
            yield f"{escape(title)}"
            yield ""
            yield from _fenced("diff", list(lines))
    if body:
        yield ""
        yield from _fenced("diff", body)
    yield "</details>"


def _fenced(language: str, lines: list[str]) -> Iterator[str]:
    """A code block whose fence is longer than any in it."""
    longest = max((len(run) for line in lines for run in _runs_of(line, "`")), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield from lines
    yield fence


def _runs_of(line: str, char: str) -> Iterator[str]:
    run = ""
    for found in line:
        run = run + found if found == char else ""
        if run:
            yield run


def _headline(diff: RevisionDiff) -> str:
    if not diff.has_differences:
        return f"no differences · {_deployments(diff.unchanged)}"
    failed = diff.count(Kind.FAILED)
    parts = [f"{failed} with errors"] if failed else []
    parts += [f"{diff.count(kind)} {kind.value}" for kind in (Kind.ADDED, Kind.CHANGED, Kind.REMOVED)]
    return " · ".join([*parts, f"{diff.unchanged} unchanged"])


def _deployments(count: int) -> str:
    return f"{count} deployment{'s' if count != 1 else ''}"


def _total_line(diff: RevisionDiff) -> list[str]:
    if not any(row.kind is not Kind.FAILED and (row.before or row.after) for row in diff.deployments):
        return []
    before, after = diff.totals
    return [f"{_money_change(before, after)} per run of what differs"]


def _money_change(before: Decimal | None, after: Decimal | None) -> str:
    if before == after:
        return money(after)
    text = f"{money(before)} → {money(after)}"
    if before is None or after is None:
        return text
    less = after < before
    share = ""
    if before:
        percent = abs((after - before) / before * 100).quantize(Decimal(1), ROUND_HALF_EVEN)
        share = f", {'−' if less else '+'}{percent} %" if percent else ""
    return f"{text} ({'−' if less else '+'}{money(abs(after - before))}{share})"


def _title(row: DeploymentDiff) -> str:
    was = f" (was {row.previous_path})" if row.previous_path else ""
    # A file that cannot be read tells no name but its own.
    name = f"{row.deployment} · " if row.deployment != row.path else ""
    return safe(f"{name}{row.path}{was}")


def _cell(row: DeploymentDiff) -> str:
    if row.before is None and row.after is None:
        return "–"
    if row.before is None or row.after is None:
        side = row.after or row.before
        assert side is not None
        return money(side.total)
    return _money_change(row.before.total, row.after.total)


def _facts(row: DeploymentDiff) -> Iterator[str]:
    if row.before or row.after:
        yield f"{_cell(row)} per run"
        yield from _places(row)
    creates, changes = row.count(Action.CREATE), row.count(Action.UPDATE)
    replaces, destroys = row.count(*REPLACED), row.count(Action.DELETE)
    if creates or changes or replaces or destroys:
        if row.kind is Kind.CHANGED:
            yield f"resources: {creates} added · {changes} changed · {replaces} replaced · {destroys} removed"
        else:
            yield f"{creates + destroys} resources"
    if row.kind is Kind.REMOVED:
        yield f"what is up stays up until somebody destroys it: skyc destroy {safe(row.deployment)}"
    yield from (safe(note) for note in row.notes)
    warned = sum(1 for said in row.diagnostics if said.severity is Severity.WARNING)
    if warned:
        yield f"{warned} warning{'s' if warned != 1 else ''}: skyc plan {safe(row.path)} --offline"


def _places(row: DeploymentDiff) -> Iterator[str]:
    """A line per group: `main: aws/us-east-1 · 1× m5.large → gcp/… · 2× …`."""
    old, new = _groups(row.before), _groups(row.after)
    several = len({*old, *new}) > 1
    for key in dict.fromkeys((*new, *old)):
        label = f"{key[0]}/{key[1]}: " if several else ""
        was, becomes = old.get(key), new.get(key)
        texts = [_placed(side) for side in (was, becomes) if side is not None]
        yield safe(label + " → ".join(dict.fromkeys(texts)))


def _groups(plan: PlacementPlan | None) -> dict[tuple[str, str], GroupPlacement]:
    return {(placed.task, placed.group): placed for placed in plan.placements} if plan else {}


def _placed(placed: GroupPlacement) -> str:
    spot = " spot" if placed.market is Market.SPOT else ""
    hourly = None if placed.hourly is None else placed.hourly * placed.num_nodes
    return f"{_place(placed)} · {placed.num_nodes}× {placed.instance_type}{spot} · {money(hourly)}/h"


def _place(placed: GroupPlacement) -> str:
    return "/".join(dict.fromkeys(part for part in (placed.provider, placed.region, placed.zone) if part))


def _where_line(row: DeploymentDiff) -> str:
    sides = [
        ", ".join(dict.fromkeys(_place(placed) for placed in plan.placements))
        for plan in (row.before, row.after)
        if plan is not None
    ]
    return safe(" → ".join(dict.fromkeys(sides)))


def _cautions(row: DeploymentDiff) -> Iterator[str]:
    """What a reader must not miss: what of a deployment that stays is destroyed or replaced."""
    if row.kind is not Kind.CHANGED:
        return
    for change in _sorted(row):
        if change.action is Action.DELETE:
            yield safe(f"destroys {change.address}")
        elif change.action in REPLACED:
            why = ", ".join(a.path for a in change.attributes if a.forces_replacement)
            yield safe(f"replaces {change.address}" + (f" ({why})" if why else ""))


def _policy_lines(row: DeploymentDiff) -> Iterator[str]:
    for result in row.policies:
        if not result.met:
            where = f" ({result.source})" if result.source else ""
            yield safe(f"policy {result.rule}, {result.effect.value}: {result.message}{where}")


def _errors(row: DeploymentDiff) -> list[Diagnostic]:
    return [said for said in row.diagnostics if said.severity is Severity.ERROR]


def _job_lines(row: DeploymentDiff) -> Iterator[str]:
    tasks = {change.task for change in row.jobs}
    for task in sorted(tasks):
        fields = ", ".join(change.field for change in row.jobs if change.task == task)
        yield safe(f"job{f' {task}' if len(tasks) > 1 or task != row.deployment else ''}: {fields}")
    if row.code:
        shown = ", ".join(row.code[:3]) + (f" and {len(row.code) - 3} more" if len(row.code) > 3 else "")
        yield safe(f"the job's code changes: {shown}")


def _script_blocks(row: DeploymentDiff) -> Iterator[tuple[str, tuple[str, ...]]]:
    for change in row.jobs:
        if change.lines:
            title = change.field if change.task == row.deployment else f"{change.task}: {change.field}"
            yield safe(title), tuple(_cut(safe(line.replace("\t", "    "))) for line in change.lines)


def _sorted(row: DeploymentDiff) -> list[ResourceChange]:
    found = [change for site in row.changes for change in site.changes if change.action in _ORDER]
    return sorted(found, key=lambda change: (_ORDER.index(change.action), change.address))


def _resource_lines(row: DeploymentDiff, detail: _Detail) -> Iterator[str]:
    """What is done to resources; of what is made or goes whole, in a deployment that does, the address says enough."""
    whole = row.kind is not Kind.CHANGED
    hidden = 0
    for change in _sorted(row):
        wanted = {Action.UPDATE: detail.updates, Action.CREATE: detail.creates}.get(change.action, True)
        if not wanted or (whole and not detail.creates):
            hidden += 1
            continue
        sign = _RESOURCE_SIGNS.get(change.action, "!")
        yield _cut(f"{sign} {safe(change.address)}")
        if change.action is Action.DELETE or whole or (change.action is Action.CREATE and not detail.create_arguments):
            continue
        for attribute in change.attributes:
            if change.action is not Action.CREATE or attribute.kind is ValueKind.KNOWN:
                yield _cut(f"{sign}     {_attribute(change, attribute)}")
    if hidden:
        yield f"  … and {hidden} more"


def _attribute(change: ResourceChange, attribute: AttributeChange) -> str:
    path = safe(attribute.path)
    forced = "  # forces replacement" if attribute.forces_replacement and change.action in REPLACED else ""
    if attribute.kind is ValueKind.SECRET:
        return f"{path} ‹secret, changed›{forced}"
    if attribute.kind is ValueKind.UNKNOWN:
        return f"{path} (known after apply){forced}"
    sizes = [len(text) for text in (attribute.before, attribute.after) if text is not None]
    if len(sizes) == 2 and max(sizes) > LONG:
        return f"{path} changed ({sizes[0]:,} → {sizes[1]:,} characters){forced}"
    before, after = _short(attribute.before), _short(attribute.after)
    return f"{path} {after}" if change.action is Action.CREATE else f"{path} {before} → {after}{forced}"


def _short(text: str | None) -> str:
    """A long value (a boot script) by its beginning."""
    if text is None:
        return "–"
    return safe(text if len(text) <= LONG else f"{text[:40]}… ({len(text):,} characters)")


def _cut(line: str) -> str:
    return line if len(line) <= LINE_LIMIT else line[: LINE_LIMIT - 1] + "…"


def safe_lines(text: str) -> list[str]:
    return [safe(line) for line in text.splitlines()]


def escape(text: str) -> str:
    """Markdown that cannot turn into markup, a mention or a link."""
    text = safe(text)
    for char in "\\`*_{}[]<>#|!@~":
        text = text.replace(char, f"\\{char}")
    # A bare address would become a link, `&#64;` a mention, and `GH-1` or a `www.` one too.
    return text.replace("&", "&amp;").replace("://", ":\u200b//").replace("www.", "www\u200b.")


def _html(text: str) -> str:
    """Text inside a tag's content, where markdown is not read but mentions and links are."""
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "&#64;\u200b"), ("://", ":\u200b//")):
        text = text.replace(char, entity)
    return text


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
        "diagnostics": _diagnostics_json(diff.diagnostics),
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
        "policies": [
            {
                "rule": result.rule,
                "effect": result.effect.value,
                "met": result.met,
                "message": result.message,
                "source": result.source,
                "approved": result.approved,
            }
            for result in row.policies
        ],
        "diagnostics": _diagnostics_json(row.diagnostics),
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


def _diagnostics_json(found: Iterable[Diagnostic]) -> list[JsonObject]:
    return [
        {
            "severity": said.severity.name.lower(),
            "slug": said.slug,
            "summary": said.summary,
            "detail": said.detail,
            "file": said.span.file if said.span else None,
            "line": said.span.line if said.span else None,
            "hint": said.hint,
        }
        for said in found
    ]


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(amount)
