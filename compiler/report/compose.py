"""From a report to a document: what stands where. Pure.

The order is that of a reviewer's questions: can it be applied, what does it cost, what dies or opens, what is it instead of, by which
rules; then, folded, why there, what exactly changes, and what the price is made of.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..diagnostics import Diagnostic, Severity
from ..ir import Action, JobAction, PolicyEffect, PolicyResult
from .changes import GRAVE, DiffRow, diff_rows
from .document import (
    Alert,
    Block,
    Command,
    Diff,
    Document,
    Fold,
    Footer,
    Line,
    Numbered,
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
from .harmless import clipped
from .model import Caution, ChangeRow, CostRow, FallbackRow, GroupRow, Report, Side, Tone
from .money import Sum, difference

NOT_COMPARED = "not compared: there is no state here"
JOB_WORDS = {
    JobAction.RUN: "runs",
    JobAction.RESUME: "resumes",
    JobAction.FOLLOW: "is running",
    JobAction.NOTHING: "has succeeded",
}
ASIDE = ("prices: ", "transfers: ")
"""Notes about how all amounts and times are counted: they stand with the cost lines, since none is about this plan."""
SHOWN_DIGITS = 16
"""Of a fingerprint: 64 bits name a plan among all that anybody reviews, and fit on a phone. JSON has all of it."""
MOST_LINES = 6
"""Places, Storages and moves, and jobs, that stand above the folds: more push what matters off the first screen."""
CUT = "in the plan itself (--format json)"
"""Where the rest is, of what was left out for its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many rows of each kind are shown; None: all. What is left out is counted. Nothing here is a destroy, a policy or an error."""

    costs: int | None = None
    creates: int | None = None
    updates: int | None = None
    alternatives: int | None = None
    listed: int | None = None
    """Places, data that moves and jobs, of which the first few stand above in any case."""
    repeated: int | None = None
    """Destroys and replacements in the resource diff, each of which stands in the caution as well."""


ALL = Limits()


def compose(report: Report, limits: Limits = ALL) -> Document:
    """The whole report, or as much of it as `limits` lets in."""
    return Document(
        kind="plan",
        marks=_marks(report),
        tone=report.tone,
        title=title(report),
        blocks=tuple(body(report, limits)),
    )


def _marks(report: Report) -> tuple[tuple[str, str], ...]:
    marks = [("deployment", report.deployment), ("env", report.environment)]
    if report.fingerprints is not None:
        marks.append(("fp", report.fingerprint[:SHOWN_DIGITS]))
    return marks_of(marks)


def title(report: Report) -> Line:
    verb = "destroy" if report.destroying else "plan"
    environment = f" · {report.environment}" if report.environment else ""
    return plain(f"skyc {verb} · {report.deployment}{environment}")


def body(report: Report, limits: Limits) -> Iterator[Block]:
    """Everything below the title."""
    yield from _failures(report)
    yield Paragraph(lines=tuple(_headline(report)))
    yield from _cautions(report.cautions)
    yield from _now_and_after(report)
    yield from paragraph([*_standing(report)])
    yield from _policies(report.policies)
    yield from paragraph([plain(f"stays: {text}") for text in report.kept])
    yield from paragraph(_first(_jobs(report), "job"))
    yield from _said(report.diagnostics, Severity.WARNING, "Warnings")
    yield from _resources(report.changes, limits)
    yield from _everything(report, limits)
    yield from _drift(report.drift)
    yield from _why_here(report, limits)
    yield from _fallbacks(report, limits)
    yield from _costs(report, limits)
    yield from _said(report.diagnostics, Severity.NOTE, "Notes")
    yield from _last(report)


def _failures(report: Report) -> Iterator[Block]:
    """What makes a plan worth nothing stands before all it says."""
    lines: list[Line] = []
    if report.unfinished:
        lines.append(strong("Terraform could not finish this plan. What it lists is a part, and it cannot be applied."))
        lines.append((*plain("unfinished: "), *_listed(report.unfinished)))
    if report.incomplete:
        lines.append(strong("This plan is incomplete: after it is applied, another one is needed."))
        lines.append((*plain("incomplete: "), *_listed(report.incomplete)))
    for said in report.diagnostics:
        if said.severity is Severity.ERROR:
            lines += _diagnostic(said)
    errors = [said.detail for said in report.diagnostics if said.severity is Severity.ERROR]
    for rule in report.policies:
        # A denial that came as an error has been said, with its lines.
        if rule.blocks and not any(detail.startswith(f"Rule `{rule.rule}`:") for detail in errors):
            lines.append((*strong(_BLOCKS[rule.effect]), *plain(" "), *_rule(rule)))
    if lines:
        failed = report.tone is Tone.FAILED
        yield Alert(tone=Tone.FAILED if failed else Tone.CAUTION, lines=tuple(lines))


def _listed(names: Iterable[str]) -> Line:
    spans = [span for name in names for span in (*plain(", "), *code(name))]
    return tuple(spans[1:])


def _diagnostic(said: Diagnostic) -> list[Line]:
    where = f" at {said.span.file}:{said.span.line}" if said.span is not None else ""
    lines = [(*strong(f"{said.severity.name.lower()}[{said.slug}]: {said.summary}"), *plain(where))]
    lines += [marked(line) for line in said.detail.splitlines() if line.strip()]
    if said.hint:
        lines.append(marked(f"hint: {said.hint}"))
    lines += [code(command) for command in said.commands]
    return lines


def _headline(report: Report) -> Iterator[Line]:
    costs = report.costs
    if report.objective:
        price, change = f"{costs.total} per run", ""
        if costs.before is not None:
            change = difference(costs.before, costs.total)
            change = f" ({change})" if change else ""
            price = price if change == " (unchanged)" else f"{costs.before} → {price}"
        yield (*strong(price), *plain(f"{change} · {costs.hourly.rate}/h{_hours(report)}"))
        yield from _first(_places(report), "place")
    outside = f" · {plural(len(report.drift), 'resource')} changed outside skyc" if report.drift else ""
    yield plain(f"{report.counts}{outside}" if report.compared else NOT_COMPARED)
    if report.objective:
        if report.proof:
            yield plain(report.proof)
        yield from _first([plain(text) for text in report.moves], "line")
        yield from (marked(f"note: {text}") for text in report.notes if not text.startswith(ASIDE))


def _hours(report: Report) -> str:
    """How long the run takes that is paid for. Tasks one after the other have a line of their own, which says when all of it ends."""
    several = len({row.task for row in report.groups if row.after is not None}) > 1
    said = "" if several else f" · {report.costs.hours}"
    if not report.costs.assumed:
        return said
    return f"{said} assumed" if said else " · hours assumed"


def _first(lines: list[Line], noun: str) -> list[Line]:
    """The first few. All of them stand in a fold below then."""
    hidden = len(lines) - MOST_LINES
    return lines if hidden <= 0 else [*lines[:MOST_LINES], plain(f"and {plural(hidden, f'more {noun}')}, below")]


def _everything(report: Report, limits: Limits) -> Iterator[Block]:
    """Where there are more than fit on a screen: all places, what data moves, and all jobs."""
    lists = (_places(report), [plain(text) for text in report.moves], _jobs(report))
    long = [lines for lines in lists if len(lines) > MOST_LINES]
    if long:
        shown = [lines if limits.listed is None else lines[: limits.listed] for lines in long]
        hidden = sum(map(len, long)) - sum(map(len, shown))
        blocks = [block for lines in shown for block in paragraph(lines)]
        blocks += _left_out([f"{hidden:,} more"] if hidden else [])
        yield Fold(summary=f"All places, data and jobs · {sum(map(len, long)):,}", blocks=tuple(blocks))


def _jobs(report: Report) -> list[Line]:
    return [plain(f"job {job.task} {JOB_WORDS[job.action]} · run {job.run} · {job.detail}") for job in report.jobs]


def _places(report: Report) -> list[Line]:
    """What moves before what stays."""
    several = len(report.groups) > 1
    return [_place_line(row, several=several) for row in sorted(report.groups, key=lambda row: not row.changed)]


def _place_line(row: GroupRow, *, several: bool) -> Line:
    label = f"{_group(row.task, row.group)}: " if several else ""
    side = row.after
    if side is None:
        return plain(f"{label}goes")
    before = row.before
    if before is None or before == side:
        each = " each" if side.nodes > 1 else ""
        text = f"{side.where} · {side.machine} ({side.shape}{each}) · {plural(side.nodes, 'node')} · {side.market}"
    else:
        # The table below has it in full.
        where = (_region(before), _region(side)) if _region(before) != _region(side) else (before.where, side.where)
        nodes = plural(side.nodes, "node")
        counts = nodes if before.nodes == side.nodes else f"{before.nodes:,} → {nodes}"
        text = f"{_turned(*where)} · {counts} · {_turned(before.market, side.market)}"
    group = f" · group {row.group}" if row.group != "main" and not several else ""
    fallbacks = f" · {plural(row.fallbacks, 'fallback')}" if row.fallbacks else ""
    return plain(label + text + group + fallbacks)


def _region(side: Side) -> str:
    return "/".join(side.where.split("/")[:2])


def _turned(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _group(task: str, group: str) -> str:
    return task if group == "main" else f"{task}/{group}"


def _cautions(cautions: tuple[Caution, ...]) -> Iterator[Block]:
    if cautions:
        yield Alert(tone=Tone.CAUTION, lines=tuple(_caution(caution) for caution in cautions))


def _caution(caution: Caution) -> Line:
    before, _, after = caution.text.partition("{}")
    detail = f" ({caution.detail})" if caution.detail else ""
    said = before.rstrip()
    return (*strong(said), *plain(before[len(said) :]), *_listed(caution.subjects), *plain(after + detail, 1000))


def _now_and_after(report: Report) -> Iterator[Block]:
    """What is now beside what will be, where both are known and differ."""
    changed = [row for row in report.groups if row.changed]
    before, costs = report.costs.before, report.costs
    if before is None or not (changed or before != costs.total):
        return
    rows: list[tuple[Line, ...]] = []
    if len(report.groups) == 1 and changed:
        rows += [_cells(*words) for words in _compared(changed[0], (before, costs.total))]
    else:
        for row in changed[:MOST_LINES]:
            rows.append(_cells(_group(row.task, row.group), _in_short(row.before), _in_short(row.after)))
        if len(changed) > MOST_LINES:
            rows.append(_cells(f"{len(changed) - MOST_LINES:,} more", "", "below"))
    rows.append((strong("Total per run"), strong(str(before)), strong(str(costs.total))))
    yield Table(head=("", "now", "after"), right=(False, True, True), rows=tuple(rows))


def _cells(*texts: str) -> tuple[Line, ...]:
    return tuple(plain(text) for text in texts)


def _compared(row: GroupRow, totals: tuple[Sum, Sum]) -> Iterator[tuple[str, str, str]]:
    now, after = row.before, row.after
    assert now is not None
    if after is None:
        return
    words = [
        ("Nodes", f"{now.nodes}× {now.machine}", f"{after.nodes}× {after.machine}"),
        ("Each", now.shape, after.shape),
        ("Where", now.where, after.where),
        ("Market", now.market, after.market),
        ("Rate", f"{now.hourly.rate}/h", f"{after.hourly.rate}/h"),
        ("Run, expected", now.hours, after.hours),
        ("Machines, per run", str(now.amount), str(after.amount)),
    ]
    if (now.amount, after.amount) == totals:
        # The last line says it.
        words.pop()
    # A row that says the same twice costs a line and says nothing, but for how many nodes there are.
    yield from (word for index, word in enumerate(words) if index == 0 or word[1] != word[2])


def _in_short(side: Side | None) -> str:
    if side is None:
        return "–"
    return f"{side.nodes}× {side.machine} {side.market} at {side.where}, {side.hourly.rate}/h"


def _standing(report: Report) -> Iterator[Line]:
    """What it comes to when things go otherwise, and what goes on costing money."""
    costs = report.costs
    if costs.worst != costs.total:
        yield (*plain("worst case, without spot: "), *strong(str(costs.worst)))
    if costs.hourly.known or not costs.hourly.whole:
        yield plain(f"up after the run, until it is destroyed: {costs.hourly.rate}/h ({costs.hourly.monthly} a month)")
    if costs.ends is not None and (costs.ends.known or not costs.ends.whole):
        yield plain(f"this ends {costs.ends.rate}/h ({costs.ends.monthly} a month), paid while all of it runs")
    if costs.keeps:
        yield plain(f"kept after a destroy: {costs.kept} a month")


_EFFECTS = {PolicyEffect.DENY: "denied", PolicyEffect.APPROVE: "to approve", PolicyEffect.WARN: "warn"}


_BLOCKS = {PolicyEffect.DENY: "denied by", PolicyEffect.APPROVE: "needs an approval for", PolicyEffect.WARN: "warned by"}


def _policies(policies: tuple[PolicyResult, ...]) -> Iterator[Block]:
    """One line, and what every rule found that is not met. Those that stand in the way stand on top already. Never folded."""
    if not policies:
        return
    met = sum(rule.met for rule in policies)
    words: list[Line] = [plain(f"Policies: {met} pass")]
    for effect, word in _EFFECTS.items():
        names = [rule.rule for rule in policies if not rule.met and rule.effect is effect]
        if names:
            words.append((*plain(f" · {len(names)} {word} ("), *_listed(names), *plain(")")))
    lines: list[Line] = [tuple(span for word in words for span in word)]
    lines += [_rule(rule) for rule in policies if not rule.met and not rule.blocks]
    yield Paragraph(lines=tuple(lines))


def _rule(rule: PolicyResult) -> Line:
    where = f" · {rule.source}" if rule.source else ""
    origin = f" · hits {rule.origin}" if rule.origin is not None else ""
    approved = f" · approved by {rule.approved}" if rule.approved else ""
    return (*code(rule.rule), *marked(f": {rule.message}{where}{origin}{approved}"))


def _said(diagnostics: tuple[Diagnostic, ...], severity: Severity, word: str) -> Iterator[Block]:
    found = [said for said in diagnostics if said.severity is severity]
    if found:
        blocks = tuple(Paragraph(lines=tuple(_diagnostic(said))) for said in found)
        yield Fold(summary=f"{word} · {len(found)}", blocks=blocks)


def _resources(rows: tuple[ChangeRow, ...], limits: Limits) -> Iterator[Block]:
    if not rows:
        return
    shown: list[DiffRow] = []
    left: list[str] = []
    for name, kinds, limit in (
        ("destroyed or replaced, all named above", GRAVE, limits.repeated),
        ("made", (Action.CREATE,), limits.creates),
        ("changed", (Action.UPDATE, Action.READ, Action.NO_OP), limits.updates),
    ):
        of_kind = [row for row in rows if row.change.action in kinds]
        kept = of_kind if limit is None else of_kind[:limit]
        shown += [line for row in kept for line in diff_rows(row)]
        if len(kept) < len(of_kind):
            left.append(f"{len(of_kind) - len(kept):,} more {name}")
    blocks: list[Block] = [Diff(rows=tuple(shown))] if shown else []
    yield Fold(summary=f"Resource diff · {len(rows)}", blocks=(*blocks, *_left_out(left)), opened=True)


def _left_out(left: list[str]) -> list[Block]:
    return paragraph([plain(f"{', '.join(left)}: {CUT}")] if left else [])


def _drift(rows: tuple[ChangeRow, ...]) -> Iterator[Block]:
    if rows:
        lines = tuple(line for row in rows for line in diff_rows(row))
        yield Fold(summary=f"Changed outside skyc · {len(rows)}", blocks=(Diff(rows=lines),))


def _why_here(report: Report, limits: Limits) -> Iterator[Block]:
    """The choice, what lost against it with the reason, and what could not even be compared."""
    if not (report.alternatives or report.rejections):
        return
    several = len(report.groups) > 1

    def offer(task: str, group: str, *words: str) -> str:
        return (f"{_group(task, group)}: " if several else "") + " · ".join(words)

    chosen = [
        (strong(offer(row.task, row.group, row.after.where, row.after.machine, row.after.market)), *_cells("", "chosen"))
        for row in report.groups
        if row.after is not None
    ]
    if len(chosen) == 1:
        chosen = [(chosen[0][0], strong(str(report.costs.total)), chosen[0][2])]
    shown = report.alternatives if limits.alternatives is None else report.alternatives[: limits.alternatives]
    losers = [
        _cells(offer(a.task, a.group, a.where, a.machine, a.market), a.total, f"{a.extra}, {a.reason}" if a.extra else a.reason)
        for a in shown
    ]
    blocks: list[Block] = []
    if report.alternatives:
        table = Table(head=("", "per run", "why not"), right=(False, True, False), rows=(*chosen, *losers))
        blocks.append(table)
    hidden = len(report.alternatives) - len(shown)
    blocks += _left_out([f"{hidden} more"] if hidden else [])
    left = report.rejections if limits.alternatives is None else ()
    # Tasks that ask for the same have the same reasons: once is enough.
    words = dict.fromkeys(f"{plural(row.count, 'offer')} left out: {_lower(row.detail)}" for row in left)
    blocks += paragraph([plain(text) for text in words])
    yield Fold(summary=f"Why here · the least {report.objective}", blocks=tuple(blocks))


def _lower(sentence: str) -> str:
    """A sentence as a part of another one."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[1:2] == " " else sentence


def _fallbacks(report: Report, limits: Limits) -> Iterator[Block]:
    if not report.fallbacks:
        return
    shown = report.fallbacks if limits.alternatives is None else report.fallbacks[: limits.alternatives]
    hidden = len(report.fallbacks) - len(shown)
    several = len(report.groups) > 1
    lines = tuple(plain(_fallback(row, several=several)) for row in shown)
    blocks: list[Block] = [Numbered(lines=lines)] if lines else []
    blocks += _left_out([f"{hidden} more"] if hidden else [])
    yield Fold(summary=f"If there is no capacity, in this order · {len(report.fallbacks)}", blocks=tuple(blocks))


def _fallback(row: FallbackRow, *, several: bool) -> str:
    label = f"{_group(row.task, row.group)}: " if several else ""
    worst = f", at most {row.worst}/h" if row.worst else ""
    return f"{label}{row.where} · {row.machine} · {row.market} · {row.hourly}/h{worst}"


def _costs(report: Report, limits: Limits) -> Iterator[Block]:
    rows = report.costs.rows
    if not rows:
        return
    shown = rows if limits.costs is None else rows[: limits.costs]
    # Sources are longer than a phone is wide, and many lines have the same one.
    sources = list(dict.fromkeys(map(_source, shown)))
    cells = tuple(_cost_cells(row, sources.index(_source(row)) + 1) for row in shown)
    blocks: list[Block] = []
    if cells:
        head = ("", "quantity", "unit price", "per run", "source")
        blocks.append(Table(head=head, right=(False, True, True, True, True), rows=cells))
        blocks.append(Numbered(lines=tuple(plain(text) for text in sources)))
    hidden = len(rows) - len(shown)
    blocks += _left_out([f"{hidden} more"] if hidden else [])
    blocks += paragraph(
        [plain(" ".join(_conventions(report))), *(marked(text) for text in report.notes if text.startswith(ASIDE))]
    )
    dated = f" · prices of {report.costs.prices_of}" if report.costs.prices_of else ""
    yield Fold(summary=f"Cost lines · {len(rows)}{dated}", blocks=tuple(blocks))


def _source(row: CostRow) -> str:
    return f"{row.source}, {row.as_of}" if row.as_of else row.source


def _cost_cells(row: CostRow, source: int) -> tuple[Line, ...]:
    about = "≈ " if row.estimated else ""
    return _cells(
        f"{row.of.removesuffix('/main')}: {row.label}" if row.of else row.label,
        f"{row.quantity} {row.unit}",
        about + row.unit_price,
        about + row.amount,
        str(source),
    )


def _conventions(report: Report) -> Iterator[str]:
    yield "List prices in US dollars, without tax and discounts; a month has 730 hours."
    if any(row.estimated for row in report.costs.rows):
        yield "≈: an estimate (derived, of another region, or old)."
    if not report.costs.total.whole:
        yield "?: nobody has said that price, so totals are at least (≥) what they show."


def _cannot_be_applied(report: Report) -> bool:
    """Whatever anybody says. One that only waits for an approval can."""
    broken = report.unfinished or any(said.severity is Severity.ERROR for said in report.diagnostics)
    return bool(broken) or any(rule.blocks and rule.effect is PolicyEffect.DENY for rule in report.policies)


def _last(report: Report) -> Iterator[Block]:
    """The command that does this plan and no other, and what made it. A plan that was compared with nothing cannot be applied, and that of
    a plan file names no task file: who reads it is about to apply the file."""
    applied = report.fingerprint and report.task_file and report.compared and not report.destroying
    if applied and not _cannot_be_applied(report):
        command = f"skyc apply {shlex.quote(report.task_file)} --plan {report.fingerprint[:SHOWN_DIGITS]}"
        yield Command(text=clipped(command))
    facts = [report.engine] if report.engine else []
    facts += [f"catalog {report.catalog_digest}"] if report.catalog_digest else []
    if facts:
        yield Footer(lines=(plain(" · ".join(facts)),))
