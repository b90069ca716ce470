"""Drift as text and markdown. The same rows give the same bytes: no clock, no width of a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from ..ir import DriftClass, DriftKind, DriftRow, ValueKind
from .rows import GRAVITY

HOURS_OF_MONTH = 730
LONGEST = 160
"""Characters of a value; a rule's whole list says no more to a reader, and JSON has it."""
SYMBOLS = {DriftKind.CHANGED: "~", DriftKind.GONE: "-", DriftKind.EXTRA: "+", DriftKind.NODE: "!", DriftKind.UNDONE: "~"}


def render_text(deployment: str, rows: Sequence[DriftRow]) -> str:
    """For a terminal; the first character of a line says what it is about."""
    lines = [f"skyc drift · {_safe(deployment)} · {headline(rows)}"]
    for drift in GRAVITY:
        here = [row for row in rows if row.drift is drift]
        if here:
            lines += ["", f"  {_title(drift)}"]
        for row in here:
            lines.append(f"{SYMBOLS[row.kind]}   {_what(row)}{_from(row)}")
            lines.append(f"      {_safe(row.why)}{_money(row.hourly)}")
            if row.matters:
                lines += [f"      --repair: {_safe(row.repair)}", f"      --adopt: {_safe(row.adopt)}"]
    return "\n".join(lines) + "\n"


def render_markdown(deployment: str, rows: Sequence[DriftRow]) -> str:
    """For a pull request or an issue. What does not matter is folded."""
    lines = [f"### skyc drift · {_escape(_safe(deployment))}", "", f"**{_escape(headline(rows))}**"]
    for drift in GRAVITY:
        here = [row for row in rows if row.drift is drift]
        if not here:
            continue
        folded = drift is DriftClass.BENIGN
        lines += ["", "<details><summary>benign</summary>" if folded else f"**{_title(drift)}**", ""]
        lines += ["| what | why | repair | adopt |", "|---|---|---|---|"]
        for row in here:
            cells = (_what(row) + _from(row), row.why + _money(row.hourly), row.repair, row.adopt)
            lines.append("| " + " | ".join(_escape(_safe(cell)) for cell in cells) + " |")
        lines += ["", "</details>"] if folded else []
    return "\n".join(lines) + "\n"


def headline(rows: Iterable[DriftRow]) -> str:
    """`2 security · 1 cost · +$0.10/h`; `no drift`."""
    rows = tuple(rows)
    counts = [(drift, sum(row.drift is drift for row in rows)) for drift in GRAVITY]
    parts = [f"{count} {drift.value}" for drift, count in counts if count and drift is not DriftClass.BENIGN]
    benign = sum(not row.matters for row in rows)
    hourly = sum((row.hourly for row in rows if row.hourly is not None), Decimal(0))
    parts = parts or ["no drift"]
    parts += [f"{benign} benign"] if benign else []
    return " · ".join(parts) + _money(hourly if hourly else None)


def _title(drift: DriftClass) -> str:
    return "unclassified, treated as security" if drift is DriftClass.UNCLASSIFIED else drift.value


def _what(row: DriftRow) -> str:
    path = f" {row.path}" if row.path else ""
    place = f"  ({row.place})" if row.place else ""
    return _safe(f"{row.address}{path}{place}")


def _from(row: DriftRow) -> str:
    match row.kind:
        case DriftKind.GONE:
            return ": is gone"
        case DriftKind.UNDONE if not row.path:
            return ": is not as it was approved"
        case DriftKind.EXTRA:
            return f": {_short(row.after)} is in no state"
    if row.value is ValueKind.SECRET:
        return ": ‹secret, changed›"
    return f": {_short(row.before)} → {_short(row.after)}"


def _short(text: str | None) -> str:
    said = _safe(text or "–")
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"


def _money(hourly: Decimal | None) -> str:
    if hourly is None:
        return ""
    sign = "-" if hourly < 0 else "+"
    return f" · {sign}{_dollars(hourly)}/h, {sign}{_dollars(hourly * HOURS_OF_MONTH)} a month"


def _dollars(amount: Decimal) -> str:
    amount = abs(amount)
    step = Decimal("0.01") if amount == 0 or amount >= Decimal("0.01") else Decimal(10) ** (amount.adjusted() - 1)
    return f"${amount.quantize(step, ROUND_HALF_EVEN):,f}"


def _safe(text: str) -> str:
    """Without what moves a terminal's cursor or turns the reading direction: names and tags are anybody's text."""
    return "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)


def _escape(text: str) -> str:
    """Markdown that cannot turn into markup, a mention or a link."""
    for char in "\\`*_{}[]<>#|!@":
        text = text.replace(char, f"\\{char}")
    return text
