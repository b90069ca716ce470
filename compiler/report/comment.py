"""One comment for all a pull request changes: several deployments under one budget. `skyc plan` has one, `skyc diff` any number."""

from __future__ import annotations

from collections.abc import Sequence

from .changes import GRAVE
from .compose import Limits, body, compose
from .document import Block, Document, Fold, Line, Paragraph, Table, code, marks_of, plain, plural, strong
from .markdown import render_markdown
from .model import Report, Tone
from .money import difference
from .sized import COMMENT_BYTES, fitting

TONES = (Tone.FAILED, Tone.CAUTION, Tone.CALM, Tone.QUIET)
"""The gravest first."""


def comment(report: Report, *, budget: int = COMMENT_BYTES) -> str:
    """Markdown of one plan, cut to the budget."""
    return fitting((report,), lambda limits: render_markdown(compose(report, limits)), budget)


def render_comment(
    reports: Sequence[Report],
    *,
    removed: Sequence[str] = (),
    heading: str = "skyc diff",
    marks: Sequence[tuple[str, str]] = (),
    budget: int = COMMENT_BYTES,
) -> str:
    """Markdown of several plans in one comment, by deployment, each in a part of its own; those that change something stand first.

    removed: deployments whose task file is gone: their machines stay until somebody destroys them. heading: how the comment is
    called. marks: names and values of the hidden first line, by which a program finds its own comment again.
    """
    ordered = tuple(sorted(reports, key=lambda report: (TONES.index(report.tone), report.deployment, report.environment)))
    gone = tuple(sorted(set(removed)))
    return fitting(
        ordered, lambda limits: render_markdown(overview(ordered, gone, limits, heading=heading, marks=tuple(marks))), budget
    )


def overview(
    reports: tuple[Report, ...],
    removed: tuple[str, ...],
    limits: Limits,
    *,
    heading: str,
    marks: tuple[tuple[str, str], ...] = (),
) -> Document:
    """Several reports as one document: a table of all, then each of them."""
    tone = min((report.tone for report in reports), key=TONES.index, default=Tone.CAUTION if removed else Tone.QUIET)
    if removed and TONES.index(tone) > TONES.index(Tone.CAUTION):
        tone = Tone.CAUTION
    blocks: list[Block] = []
    if reports:
        head = ("", "per run", "add", "change", "destroy")
        rows = tuple(_row(report) for report in reports)
        blocks.append(Table(head=head, right=(False, True, True, True, True), rows=rows))
    else:
        blocks.append(Paragraph(lines=(plain("No deployment changes."),)))
    if removed:
        lines: list[Line] = [
            strong(f"{plural(len(removed), 'task file')} removed. What was made of them stays until it is destroyed:")
        ]
        lines += [code(f"skyc destroy {name}") for name in removed]
        blocks.append(Paragraph(lines=tuple(lines)))
    for report in reports:
        blocks += _part(report, limits)
    return Document(kind="diff", marks=marks_of(marks), tone=tone, title=plain(heading), blocks=tuple(blocks))


def _row(report: Report) -> tuple[Line, ...]:
    costs = report.costs
    price = str(costs.total) if report.objective else "–"
    if report.objective and costs.before is not None and costs.before != costs.total:
        change = difference(costs.before, costs.total)
        price = f"{costs.before} → {price}" + (f" ({change})" if change else "")
    counts = report.counts
    words = [price, *map(str, (counts.add, counts.change, counts.destroy))] if report.compared else [price, "", "", ""]
    name = report.deployment + (f" · {report.environment}" if report.environment else "")
    return (code(name), *(plain(word) for word in words))


def _part(report: Report, limits: Limits) -> list[Block]:
    """A report below its own heading. Folded where it needs nobody: never where something dies, opens, fails or is denied."""
    blocks = tuple(body(report, limits))
    grave = report.tone in (Tone.CAUTION, Tone.FAILED) or any(row.change.action in GRAVE for row in report.changes)
    if grave:
        return [Paragraph(lines=((*strong("Deployment "), *code(report.deployment)),)), *blocks]
    return [Paragraph(lines=((*strong("Deployment "), *code(report.deployment)),)), Fold(summary="Plan", blocks=blocks)]
