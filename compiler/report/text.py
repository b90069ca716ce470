"""A document as plain text for a terminal. No escape codes: the command line adds colour by the first word of a line."""

from __future__ import annotations

from collections.abc import Iterator

from .document import Alert, Block, Command, Diff, Document, Fold, Footer, Line, Numbered, Paragraph, Table

NARROW = 60
"""Characters of a cell before the last one; a table with wider ones could not be read."""


def render_text(document: Document) -> str:
    """Two spaces before everything but the title, and `! ` before what must not be overlooked."""
    parts = [_words(document.title)]
    for block in document.blocks:
        lines = list(_block(block, "  "))
        if lines:
            parts += ["", *lines]
    return "\n".join(parts) + "\n"


def _words(line: Line) -> str:
    return "".join(span.text for span in line)


def _block(block: Block, indent: str) -> Iterator[str]:
    match block:
        case Paragraph(lines=lines):
            yield from (indent + _words(line) for line in lines)
        case Alert(lines=lines):
            yield from ("! " + _words(line) for line in lines)
        case Table():
            yield from _table(block, indent)
        case Diff(rows=rows):
            yield from (f"      {row.text}" if row.inner else f"{row.symbol:>3} {row.text}" for row in rows)
        case Numbered(lines=lines):
            yield from (f"{indent}{number}. {_words(line)}" for number, line in enumerate(lines, 1))
        case Fold(summary=summary, blocks=blocks):
            yield f"{indent}{summary}:"
            for inner in blocks:
                yield from _block(inner, indent + "  ")
        case Command(text=text):
            yield f"{indent}  {text}"
        case Footer():
            # Versions and digests are of no use to who is about to answer a question; other formats have them.
            return


def _table(table: Table, indent: str) -> Iterator[str]:
    cells = [[_words(cell) for cell in row] for row in table.rows]
    if any(table.head):
        cells.insert(0, list(table.head))
    last = len(table.head) - 1
    widths = [min(NARROW, max(len(row[column]) for row in cells)) for column in range(len(table.head))]
    for row in cells:
        padded = [
            cell.rjust(width) if right else cell if column == last else cell.ljust(width)
            for column, (cell, width, right) in enumerate(zip(row, widths, table.right, strict=True))
        ]
        yield indent + "  ".join(padded).rstrip()
