"""The report as terminal text, markdown and JSON. One model, so the formats never disagree.

User text (names, values) is made harmless here: control characters become `�`, so that a name cannot move the cursor,
reverse the reading direction or close a code block.
"""

from __future__ import annotations

import json
import unicodedata

from ..ir import Action, AttributeChange, JobAction, ResourceChange, ValueKind
from .model import SYMBOLS, Report

LINE_LIMIT = 100
"""Longest attribute line; a value past it is cut with `…`."""

INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories of what steers a terminal or a line instead of being seen."""

NOT_COMPARED = "not compared: there is no state here"

JOB_WORDS = {
    JobAction.RUN: "runs",
    JobAction.RESUME: "resumes",
    JobAction.FOLLOW: "is running",
    JobAction.NOTHING: "has succeeded",
}


def render_text(report: Report) -> str:
    """Plain text for a terminal; no escape codes (the command line adds colour by the first character of a line)."""
    lines = [_title(report), ""]
    if not report.destroying:
        lines.append(f"  {_price_line(report)}")
        lines += [f"  {row}" for row in _placement_lines(report)]
    lines.append(f"  {report.counts if report.compared else NOT_COMPARED}")
    if report.cautions:
        lines += ["", *(f"! {safe(caution)}" for caution in report.cautions)]
    if report.kept:
        lines += ["", *(f"  stays: {safe(text)}" for text in report.kept)]
    if report.jobs:
        lines += ["", *(f"  {_job_line(report, index)}" for index in range(len(report.jobs)))]
    if report.changes:
        lines.append("")
        for change in report.changes:
            lines += _change_lines(change)
    if report.drift:
        lines += ["", "  Changed outside skyc:"]
        for change in report.drift:
            lines += _change_lines(change)
    if report.alternatives:
        lines += ["", "  Next best:", *(f"    {safe(text)}" for text in report.alternatives)]
    if report.fallbacks:
        lines += ["", "  If there is no capacity, in this order:", *(f"    {row}" for row in _fallback_lines(report))]
    return "\n".join(lines) + "\n"


def render_markdown(report: Report) -> str:
    """A comment for a pull request: what it costs and destroys first, details folded."""
    lines = [f"<!-- skyc:plan/v1 deployment={safe(report.deployment)} -->", f"### {_title(report)}", ""]
    if not report.destroying:
        lines += [f"**{_price_line(report)}**  ", *(f"{_escape(row)}  " for row in _placement_lines(report))]
    lines.append(str(report.counts) if report.compared else NOT_COMPARED)
    if report.cautions:
        lines += ["", "> [!CAUTION]", *(f"> {_escape(safe(caution))}  " for caution in report.cautions)]
    if report.kept:
        lines += ["", *(f"stays: {_escape(safe(text))}  " for text in report.kept)]
    if report.jobs:
        lines += ["", *(_escape(_job_line(report, index)) + "  " for index in range(len(report.jobs)))]
    if report.changes:
        body = [line for change in report.changes for line in _change_lines(change, marker=True)]
        lines += ["", f"<details><summary>Resource diff · {len(report.changes)}</summary>", "", "```diff", *body, "```"]
        lines.append("</details>")
    if report.fallbacks:
        lines += ["", f"<details><summary>If there is no capacity · {len(report.fallbacks)}</summary>", ""]
        lines += [f"{number}. {_escape(row)}" for number, row in enumerate(_fallback_lines(report), 1)]
        lines.append("</details>")
    if report.costs:
        lines += ["", "<details><summary>Cost lines</summary>", "", "| | qty | unit | per run | source |"]
        lines.append("|---|--:|--:|--:|---|")
        for row in report.costs:
            cells = (row.label, row.quantity, row.unit_price, row.amount, row.source)
            lines.append("| " + " | ".join(_escape(safe(cell)) for cell in cells) + " |")
        lines.append("</details>")
    lines += ["", f"<sub>{_escape(report.engine)} · catalog `{report.catalog_digest}`</sub>"]
    return "\n".join(lines) + "\n"


def render_json(report: Report) -> str:
    """The same facts for programs: `schema: skyc.plan/v1`. Minor versions only add fields."""
    document = {
        "schema": "skyc.plan/v1",
        "deployment": report.deployment,
        "destroying": report.destroying,
        "compared": report.compared,
        "cost": {
            "per_run": report.total,
            "hourly": report.hourly,
            "hours": report.hours,
            "lines": [
                {
                    "label": row.label,
                    "quantity": row.quantity,
                    "unit_price": row.unit_price,
                    "amount": row.amount,
                    "source": row.source,
                }
                for row in report.costs
            ],
        },
        "placement": [
            {
                "task": row.task,
                "group": row.group,
                "where": row.where,
                "machine": row.machine,
                "nodes": row.nodes,
                "market": row.market,
                "hourly": row.hourly,
                "fallbacks": row.fallbacks,
            }
            for row in report.placements
        ],
        "proof": report.proof,
        "moves": list(report.moves),
        "kept": list(report.kept),
        "notes": list(report.notes),
        "alternatives": list(report.alternatives),
        "envelope": [
            {
                "task": row.task,
                "group": row.group,
                "where": row.where,
                "machine": row.machine,
                "market": row.market,
                "hourly": row.hourly,
                "worst_hourly": row.worst or row.hourly,
            }
            for row in report.fallbacks
        ],
        "counts": {"add": report.counts.add, "change": report.counts.change, "destroy": report.counts.destroy},
        "cautions": list(report.cautions),
        "jobs": [{"task": job.task, "action": job.action.value, "run": job.run, "detail": job.detail} for job in report.jobs],
        "changes": [_change_json(change) for change in report.changes],
        "drift": [_change_json(change) for change in report.drift],
        "engine": report.engine,
        "catalog_digest": report.catalog_digest,
    }
    return _escape_invisible(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"


def _escape_invisible(text: str) -> str:
    """JSON with `\\u…` for what JSON itself lets through and a terminal obeys: DEL, right-to-left marks, line separators."""
    return "".join(json.dumps(char)[1:-1] if char != "\n" and _invisible(char) else char for char in text)


def _invisible(char: str) -> bool:
    return unicodedata.category(char) in INVISIBLE


def safe(text: str) -> str:
    """Text without control, format, surrogate or line-separating characters (right-to-left marks included)."""
    return "".join("\ufffd" if _invisible(char) else char for char in text)


def _escape(text: str) -> str:
    """Markdown that cannot turn into markup, a mention or a link."""
    for char in "\\`*_{}[]<>#|!@":
        text = text.replace(char, f"\\{char}")
    return text


def _title(report: Report) -> str:
    verb = "destroy" if report.destroying else "plan"
    return f"skyc {verb} · {safe(report.deployment)}"


def _price_line(report: Report) -> str:
    least = "at least " if report.total == "?" else ""
    return f"{least}{report.total} per run · {report.hourly}/h · {report.hours}"


def _placement_lines(report: Report) -> list[str]:
    lines = []
    several = len({row.task for row in report.placements}) > 1
    for row in report.placements:
        nodes = f"{row.nodes} node{'s' if row.nodes != 1 else ''}"
        label = f"{row.task}: " if several else ""
        group = f" · group {row.group}" if row.group != "main" else ""
        fallbacks = f" · {row.fallbacks} fallbacks" if row.fallbacks else ""
        lines.append(safe(f"{label}{row.where} · {row.machine} · {nodes} · {row.market}{group}{fallbacks}"))
    if report.proof:
        lines.append(report.proof)
    return [*lines, *map(safe, report.moves), *(safe(f"note: {note}") for note in report.notes)]


def _fallback_lines(report: Report) -> list[str]:
    several = len({(row.task, row.group) for row in report.placements}) > 1
    lines = []
    for row in report.fallbacks:
        label = f"{row.task}/{row.group}: " if several else ""
        worst = f", at most {row.worst}/h" if row.worst else ""
        lines.append(safe(f"{label}{row.where} · {row.machine} · {row.market} · {row.hourly}/h{worst}"))
    return lines


def _job_line(report: Report, index: int) -> str:
    job = report.jobs[index]
    return safe(f"job {job.task} {JOB_WORDS[job.action]} · run {job.run} · {job.detail}")


def _change_lines(change: ResourceChange, *, marker: bool = False) -> list[str]:
    symbol = SYMBOLS[change.action]
    moved = f" (was {safe(change.previous_address)})" if change.previous_address else ""
    if marker:
        # Diff colouring looks at the first character alone.
        first = {"-/+": "!", "+/-": "!", "~": "!", "x": "-"}.get(symbol, symbol)
        lines = [f"{first} {safe(change.address)}{moved}"]
    else:
        lines = [f"{symbol:>3} {safe(change.address)}{moved}"]
        first = " "
    unknown = sum(1 for a in change.attributes if a.kind is ValueKind.UNKNOWN)
    # What is destroyed is gone whole: its address says it, its attributes would bury the next destroy.
    shown = () if change.action is Action.DELETE else change.attributes
    for attribute in shown:
        if attribute.kind is not ValueKind.UNKNOWN or attribute.forces_replacement:
            text = f"{first}     {_attribute(change, attribute)}"
            lines.append(text if len(text) <= LINE_LIMIT else text[: LINE_LIMIT - 1] + "…")
    if unknown and shown:
        lines.append(f"{first}     (+{unknown} known after apply)")
    return lines


def _attribute(change: ResourceChange, attribute: AttributeChange) -> str:
    path = safe(attribute.path)
    forced = "  # forces replacement" if attribute.forces_replacement else ""
    if attribute.kind is ValueKind.SECRET:
        return f"{path} ‹secret, changed›{forced}"
    before = safe(attribute.before or "–")
    after = "(known after apply)" if attribute.kind is ValueKind.UNKNOWN else safe(attribute.after or "–")
    if change.action is Action.CREATE:
        return f"{path} {after}"
    return f"{path} {before} → {after}{forced}"


def _change_json(change: ResourceChange) -> dict[str, object]:
    return {
        "address": change.address,
        "action": change.action.value,
        "reason": change.reason,
        "origin": None if change.origin is None else str(change.origin),
        "previous_address": change.previous_address,
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
