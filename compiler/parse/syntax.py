"""What is said when a file is no YAML, or no text, at all.

Contract: each function turns one kind of damage into one diagnostic with a place; none raises. PyYAML's own wording is
replaced, since it speaks of tokens and flow nodes to people who forgot a quote.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ..diagnostics import Diagnostic, SourceFile, Span, error

SIZE_LIMIT = 512 * 1024
"""Bytes. A task file holds a few scripts; anything larger belongs into the workdir."""

_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# (pattern over PyYAML's "context | problem", slug, summary, detail, hint), first match wins.
_KNOWN: tuple[tuple[str, str, str, str, str | None], ...] = (
    (
        r"scanning a quoted scalar",
        "unclosed-quote",
        "A quoted text does not end",
        "The quote that opens here is never closed, or holds something a quoted text cannot hold.",
        "close the quote, or use `|` for text over several lines",
    ),
    (
        r"escape|expected escape sequence",
        "bad-escape",
        "An escape sequence is not known",
        "Inside double quotes a backslash begins an escape sequence, and this is none.",
        "use single quotes, or write the backslash twice",
    ),
    (
        r"flow sequence|flow node.*stream end|flow mapping",
        "unclosed-bracket",
        "A bracket is not closed",
        "The `[` or `{` that opens here is not closed where YAML expects `,`, `]` or `}`.",
        "close the bracket, or quote the text that follows it",
    ),
    (
        r"'%' that cannot start|'@' that cannot start|'`' that cannot start",
        "reserved-character",
        "A text begins with a reserved character",
        "YAML reserves `%`, `@` and the backquote at the beginning of a text.",
        "put the text in quotes",
    ),
    (
        r"mapping values are not allowed",
        "stray-colon",
        "A colon stands where no field can begin",
        "YAML takes `: ` for the end of a field name. Either the text holds a colon, or the line is indented too far.",
        "put text that holds `: ` in quotes",
    ),
    (
        r"could not find expected ':'",
        "missing-colon",
        "A field has no colon",
        "This line was taken for a field name, but no `:` with a space behind it follows.",
        "write `name: value`, with a space after the colon",
    ),
    (
        r"parsing a block mapping|parsing a block collection|expected <block end>",
        "bad-indent",
        "The indentation does not fit",
        "This line belongs neither to the value above it nor to the mapping around it.",
        "align it with its siblings, using spaces",
    ),
    (
        r"sequence entries are not allowed|mapping keys are not allowed",
        "stray-dash",
        "A list entry stands where none can begin",
        "`- ` begins a list entry, but a value already stands on this line or a field is still open.",
        "start the list on its own line, or put the text in quotes",
    ),
    (
        r"found duplicate anchor",
        "duplicate-anchor",
        "An anchor is written twice",
        "Two anchors of one document have the same name.",
        "rename one of them",
    ),
    (
        r"expected the document start|document start",
        "stray-content",
        "Something follows the end of the document",
        "The document is complete, but this text follows it without a `---` line.",
        "begin a new document with `---`, or remove the text",
    ),
)


def syntax_error(failure: yaml.YAMLError, source: SourceFile) -> Diagnostic:
    """The diagnostic for what PyYAML could not scan or parse."""
    if not isinstance(failure, yaml.MarkedYAMLError):
        return error("yaml-syntax", "The file is not YAML", "The text cannot be read as YAML.", span=_at(source, 1, 1))
    problem = f"{failure.context or ''} | {failure.problem or ''}"
    mark = failure.problem_mark or failure.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    text = source.line(line)
    if "\t" in text[: len(text) - len(text.lstrip())] or "'\\t' that cannot start" in problem:
        column = text.index("\t") + 1 if "\t" in text else column
        detail = "YAML does not allow tabs for indentation, because nobody can see how wide they are."
        hint = "replace the tab by spaces"
        return error("tab-indent", "A tab is used for indentation", detail, span=_at(source, line, column), hint=hint)
    for pattern, slug, summary, detail, hint_text in _KNOWN:
        if re.search(pattern, problem):
            # The place where an open quote, bracket or name began helps; where YAML noticed, often the end of the file, does not.
            opened = failure.context_mark
            if slug in ("unclosed-quote", "unclosed-bracket", "missing-colon") and opened is not None:
                line, column = opened.line + 1, opened.column + 1
            return error(slug, summary, detail, span=_at(source, line, column), hint=hint_text)
    said = failure.problem or "the text cannot be read"
    return error("yaml-syntax", "The file is not YAML", f"YAML says: {said}.", span=_at(source, line, column))


def control_character_error(source: SourceFile) -> Diagnostic | None:
    """YAML allows no control characters. Reported before parsing, because PyYAML knows no line for them."""
    found = _PRINTABLE.search(source.text)
    if found is None:
        return None
    before = source.text[: found.start()]
    line = before.count("\n") + 1
    column = found.start() - (before.rfind("\n") + 1) + 1
    code = ord(found.group())
    slug, summary = (
        ("nul-character", "The file holds a NUL character")
        if code == 0
        else ("bad-character", "The file holds an invalid character")
    )
    detail = f"The character U+{code:04X} is not allowed in YAML. Often it comes from copied terminal output."
    return error(slug, summary, detail, span=_at(source, line, column), hint="remove it")


def read_source(path: Path, *, shown: str | None = None) -> tuple[SourceFile | None, tuple[Diagnostic, ...]]:
    """Read a task file. `shown`: the path as the user gave it. A file that cannot be read, is too large or is not UTF-8
    gives a diagnostic and no source."""
    name = shown if shown is not None else str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        detail = f"`{name}` does not exist."
        return None, (error("no-such-file", "The task file does not exist", detail, hint="check the path"),)
    except IsADirectoryError:
        detail = f"`{name}` is a directory."
        return None, (error("not-a-file", "The task file is a directory", detail, hint="name the YAML file in it"),)
    except (OSError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) and failure.strerror else str(failure)
        return None, (error("unreadable-file", "The task file cannot be read", f"`{name}`: {reason}."),)
    return decode(content, name)


def decode(content: bytes, name: str) -> tuple[SourceFile | None, tuple[Diagnostic, ...]]:
    """Bytes of a task file to text: UTF-8, with or without a byte order mark."""
    if len(content) > SIZE_LIMIT:
        detail = f"`{name}` is larger than {SIZE_LIMIT // 1024} KiB. Put long scripts into files in the workdir and call them."
        return None, (error("file-too-large", "The task file is too large", detail),)
    try:
        return SourceFile(path=name, text=content.decode("utf-8-sig")), ()
    except UnicodeDecodeError as failure:
        before = content[: failure.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        span = Span(file=name, line=line, column=column, end_line=line, end_column=column + 1)
        encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "in another encoding"
        detail = f"Byte 0x{content[failure.start]:02x} on line {line} of `{name}` is not UTF-8; it seems to be {encoding}."
        return None, (error("not-utf8", "The task file is not UTF-8", detail, span=span, hint="save it as UTF-8"),)


def _at(source: SourceFile, line: int, column: int) -> Span:
    return Span(file=source.path, line=line, column=column, end_line=line, end_column=column + 1)
