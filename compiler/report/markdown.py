"""A document as GitHub-flavoured markdown, for a comment on a pull request or a job's summary.

Contract: nothing of others' text becomes markup. Words are escaped; a word that could be a link, a mention, a reference or a formula
stands in a code span, because GitHub looks for those after escapes are gone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from .document import Alert, Block, Command, Diff, Document, Fold, Footer, Line, Numbered, Paragraph, Span, Style, Table
from .model import Tone

DOTS = {Tone.CALM: "🟢", Tone.QUIET: "⚪", Tone.CAUTION: "🟠", Tone.FAILED: "🔴"}
_ALERTS = {Tone.CAUTION: "CAUTION", Tone.FAILED: "CAUTION", Tone.CALM: "NOTE", Tone.QUIET: "NOTE"}
_MARKS = {"~": "!", "-/+": "!", "+/-": "!", "x": "-", "=": "#", "<=": "#", "+": "+", "-": "-"}
"""Symbol → the first character by which GitHub colours a line of a diff."""

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]<>#|!~&^=+-])")
_RISKY = re.compile(
    r"@|#\d|GH-\d|://|www\.|(?:mailto|xmpp):|:[\w+-]+:|\$(?![\d,.]+(?:/|\b|$))|(?<![\w.])[0-9a-f]{7,40}(?![\w.])|[\w.-]+/[\w.-]+#",
    re.IGNORECASE,
)
"""What GitHub links, mentions, closes, sets as a formula or draws as a picture, in words of others."""
_CORE = re.compile(r"(\(?)(.+?)([,;.)]*)", re.DOTALL)
"""A word in its sentence's punctuation."""
_NUMBER = re.compile(r"^(\d+)([.)])")


def render_markdown(document: Document) -> str:
    """A whole comment. The hidden first line is what a bot finds its own comment by."""
    marks = "".join(f" {name}={value}" for name, value in document.marks)
    lines = [f"<!-- skyc:{document.kind}/v1{marks} -->", f"### {DOTS[document.tone]} {_line(document.title)}"]
    for block in document.blocks:
        lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(lines=lines):
            yield from _broken(lines)
        case Alert(tone=tone, lines=lines):
            yield f"> [!{_ALERTS[tone]}]"
            yield from (f"> {line}" for line in _broken(lines))
        case Table():
            yield from _table(block)
        case Diff():
            yield from _diff(block)
        case Numbered(lines=lines):
            yield from (f"{number}. {_line(line)}" for number, line in enumerate(lines, 1))
        case Fold(summary=summary, blocks=blocks):
            yield f"<details><summary>{html.escape(summary)}</summary>"
            for inner in blocks:
                yield ""
                yield from _block(inner)
            yield from ("", "</details>")
        case Command(text=text):
            yield _code(text)
        case Footer(lines=lines):
            yield "<sub>" + "<br>".join(_line(line) for line in lines) + "</sub>"


def _broken(lines: tuple[Line, ...]) -> Iterator[str]:
    """Lines of one paragraph. A line break is two spaces; without them they would run together."""
    for number, line in enumerate(lines, 1):
        yield _line(line) + ("  " if number < len(lines) else "")


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(table.head) + " |"
    yield "|" + "|".join("--:" if right else "---" for right in table.right) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_line(cell, cell=True) for cell in row) + " |"


def _diff(block: Diff) -> Iterator[str]:
    lines = [f"{_MARKS[row.symbol]} {'    ' if row.inner else _long(row.symbol)}{row.text}" for row in block.rows]
    fence = "`" * max(3, *(len(run) + 1 for line in lines for run in re.findall(r"`+", line) or [""]))
    yield f"{fence}diff"
    yield from lines
    yield fence


def _long(symbol: str) -> str:
    """Symbols that the first character alone does not tell apart."""
    return "" if symbol in "+-~" else f"({symbol}) "


def _line(line: Line, *, cell: bool = False) -> str:
    text = "".join(_span(span, cell=cell) for span in line).strip()
    # What only means something at the start of a line, and needs its escape only there.
    return _NUMBER.sub(r"\1\\\2", text)


def _span(span: Span, *, cell: bool) -> str:
    if not span.text.strip():
        return span.text
    if span.style is Style.CODE:
        return _code(span.text, cell=cell)
    words = "".join(_word(part, cell=cell) for part in re.split(r"(\s+)", span.text))
    if span.style is Style.STRONG:
        inner = words.strip()
        return words.replace(inner, f"**{inner}**", 1)
    return words


def _word(word: str, *, cell: bool) -> str:
    if not word.strip():
        return " " if word else ""
    if not _RISKY.search(word):
        return _PUNCTUATION.sub(_escaped, word)
    found = _CORE.fullmatch(word)
    before, core, after = found.groups() if found else ("", word, "")
    return f"{before}{_code(core, cell=cell)}{after}"


def _escaped(found: re.Match[str]) -> str:
    char = found[1]
    if char not in "_-+=#":
        return f"\\{char}"
    # Harmless between letters, and there most of them are; escaping all would cost a tenth of the comment.
    text, at = found.string, found.start()
    inside = 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()
    return char if inside else f"\\{char}"


def _code(text: str, *, cell: bool = False) -> str:
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    inner = text.replace("|", "\\|") if cell else text
    return f"{fence}{pad}{inner}{pad}{fence}"
