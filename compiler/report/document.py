"""A report laid out, before any format: the blocks that text, markdown and HTML all show, so that they cannot disagree.

Contract: every piece of text in a document is harmless already (`harmless.safe`) and of bounded length; a renderer escapes only what
its own format takes for markup. Values, so equal reports give equal documents.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .changes import DiffRow
from .harmless import LONGEST, clipped
from .model import Tone

_MARK = re.compile(r"[^A-Za-z0-9._:-]")


class Style(enum.Enum):
    PLAIN = "plain"
    STRONG = "strong"
    CODE = "code"
    """A name or value of others, exactly as it is."""


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


def plain(text: str, limit: int = LONGEST) -> Line:
    """A line of words."""
    return (Span(clipped(text, limit)),)


def strong(text: str) -> Line:
    return (Span(clipped(text), Style.STRONG),)


def code(text: str) -> Line:
    """A name or value of others."""
    return (Span(clipped(text), Style.CODE),)


def marked(text: str, limit: int = 1000) -> Line:
    """A sentence of skyc's, where what stands between backticks is a name or value."""
    parts = clipped(text, limit).split("`")
    if len(parts) % 2 == 0:
        return plain(text, limit)
    spans = (Span(part, Style.CODE if number % 2 else Style.PLAIN) for number, part in enumerate(parts))
    return tuple(span for span in spans if span.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Lines that stand below each other."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What must not be overlooked, on top and never folded."""

    tone: Tone
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns with headings, some of them empty. right: which columns hold amounts."""

    head: tuple[str, ...]
    right: tuple[bool, ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    rows: tuple[DiffRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A part to open. summary: words of skyc's own, no text of others. opened: shown open where that can be said."""

    summary: str
    blocks: tuple[Block, ...]
    opened: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to copy, alone on its line."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    lines: tuple[Line, ...]


Block = Paragraph | Alert | Table | Diff | Numbered | Fold | Command | Footer


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """kind: `plan`, …, for the hidden first line; marks: what else stands there, name and value (`marks_of`)."""

    kind: str
    marks: tuple[tuple[str, str], ...]
    tone: Tone
    title: Line
    blocks: tuple[Block, ...]


def marks_of(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Marks that are set, of characters that end no comment and no attribute."""
    return tuple((_MARK.sub("_", name), _MARK.sub("_", value)) for name, value in pairs if value)


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def paragraph(lines: Sequence[Line]) -> list[Block]:
    """A paragraph, where there is anything to say."""
    return [Paragraph(lines=tuple(lines))] if lines else []
