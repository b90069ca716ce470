"""What skyc says when something is wrong: values, collected and returned, sorted only when shown.

A diagnostic has a severity, a slug (`unknown-field`), a summary without user text, a detail in full sentences (what, why,
what to do), a place in the user's file, and at most one hint. Exceptions are for bugs and broken I/O; a stage that cannot go
on returns its diagnostics. `SkycError` carries diagnostics across a call that cannot return them.
"""

from __future__ import annotations

import enum
import re
import socket
import ssl
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from .ir import JsonObject, SpecPath
from .ir.written import written


class Severity(enum.IntEnum):
    ERROR = 0
    WARNING = 1
    NOTE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of one source file. Lines and columns count from 1; `end_column` is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """The user's file: the path as given on the command line, and its text."""

    path: str
    text: str

    def line(self, number: int) -> str:
        """One line as it may be shown: values under `secrets` are stars, whether or not the file can be read as YAML."""
        lines = self.text.splitlines()
        return _without_secrets(lines[:number])[-1] if 0 < number <= len(lines) else ""

    @property
    def shown(self) -> str:
        """All of it as it may be kept: lines and columns are where they were, every character of a secret is a cross."""
        lines = self.text.splitlines()
        # A star would begin an alias in YAML.
        kept = (
            shown if shown == line else shown.replace("*", "x")
            for line, shown in zip(lines, _without_secrets(lines), strict=True)
        )
        return "".join(f"{line}\n" for line in kept)


_SECRETS = re.compile(r"""(?:^|[\s{,])["']?secrets["']?\s*:""")
_NAME = re.compile(r"""\s*(?:["']?[A-Za-z_]\w*["']?\s*:(?=\s|$))?""")


def _without_secrets(lines: list[str]) -> list[str]:
    """Works on text, because a file that is no YAML is shown too. Keeps columns, so that carets still fit."""
    shown: list[str] = []
    outer: int | None = None
    inner = depth = 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if outer is not None and line.strip() and indent <= outer and depth <= 0:
            outer = None
        kept = 0
        if outer is None:
            start = _SECRETS.search(line)
            if start is None or line.lstrip().startswith("#"):
                shown.append(line)
                continue
            outer, inner, depth, kept = indent, 0, 0, start.end()
        elif line.strip():
            inner = inner or indent
            name = _NAME.match(line) if indent == inner else None
            kept = name.end() if name is not None else 0
        depth += line.count("{") - line.count("}")
        shown.append(line[:kept] + re.sub(r"\S", "*", line[kept:]))
    return shown


@dataclass(frozen=True, slots=True)
class SourceMap:
    """From spec path to span. A field that nobody wrote is shown at what brought it; any other path without a span of its own at its
    nearest parent."""

    source: SourceFile
    spans: dict[SpecPath, Span] = field(default_factory=dict)

    def find(self, path: SpecPath) -> Span | None:
        path = written(path, self.spans) or path
        while True:
            span = self.spans.get(path)
            if span is not None or not path.steps:
                return span
            path = path.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    severity: Severity
    slug: str
    summary: str
    """Recognisable: never holds text of the user's."""
    detail: str = ""
    span: Span | None = None
    hint: str | None = None
    commands: tuple[str, ...] = ()
    """Commands to copy. Each stands alone on its own line, indented."""
    subject: SpecPath | None = None
    """What it is about, said by who has no source map. `located` turns it into a span before anybody reads it."""
    resource: str | None = None
    """The Terraform address it is about, where Terraform said it."""


class SkycError(Exception):
    """Stops an operation with diagnostics a person can act on. `exit_code`: 1 error, 3 denied, 4 plan no longer valid."""

    def __init__(self, *diagnostics: Diagnostic, exit_code: int = 1) -> None:
        super().__init__("; ".join(f"{d.slug}: {d.summary}" for d in diagnostics))
        self.diagnostics = diagnostics
        self.exit_code = exit_code

    @classmethod
    def of(cls, failures: Collection[SkycError]) -> SkycError:
        """Several as one: everything they say, once, with the gravest exit code. There is at least one."""
        said = dict.fromkeys(found for failure in failures for found in failure.diagnostics)
        return cls(*said, exit_code=max(failure.exit_code for failure in failures))


def error(
    slug: str,
    summary: str,
    detail: str = "",
    *,
    span: Span | None = None,
    hint: str | None = None,
    commands: Iterable[str] = (),
    subject: SpecPath | None = None,
) -> Diagnostic:
    return Diagnostic(
        severity=Severity.ERROR,
        slug=slug,
        summary=summary,
        detail=detail,
        span=span,
        hint=hint,
        commands=tuple(commands),
        subject=subject,
    )


def warning(
    slug: str,
    summary: str,
    detail: str = "",
    *,
    span: Span | None = None,
    hint: str | None = None,
    commands: Iterable[str] = (),
    subject: SpecPath | None = None,
) -> Diagnostic:
    return Diagnostic(
        severity=Severity.WARNING,
        slug=slug,
        summary=summary,
        detail=detail,
        span=span,
        hint=hint,
        commands=tuple(commands),
        subject=subject,
    )


def located(diagnostic: Diagnostic, sources: SourceMap) -> Diagnostic:
    """The diagnostic at its subject's place in the file, and naming the field that stands there."""
    subject = diagnostic.subject
    if subject is None:
        return diagnostic
    # Whoever said it sees no file, and names fields of the request: `market` where the file says `use_spot`.
    named = written(subject, sources.spans) or subject
    detail = diagnostic.detail.replace(f"`{subject}`", f"`{named}`")
    return replace(diagnostic, detail=detail, span=diagnostic.span or sources.find(subject), subject=None)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(d.severity is Severity.ERROR for d in diagnostics)


def in_reading_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By file, line and column; those without a place last; equal ones once."""
    seen: dict[Diagnostic, None] = dict.fromkeys(diagnostics)
    return tuple(
        sorted(
            seen,
            key=lambda d: (
                d.span is None,
                (d.span.file, d.span.line, d.span.column) if d.span else ("", 0, 0),
                d.severity,
                d.slug,
                d.detail,
            ),
        )
    )


def render(diagnostic: Diagnostic, source: SourceFile | None = None) -> str:
    """Plain text of one diagnostic: header, place, the source line with a caret, detail, hint, commands."""
    word = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}[diagnostic.severity]
    lines = [f"{word}[{diagnostic.slug}]: {diagnostic.summary}"]
    span = diagnostic.span
    if span is not None:
        margin = " " * len(str(span.line))
        lines.append(f"{margin}--> {span.file}:{span.line}:{span.column}")
        if source is not None and source.path == span.file:
            text = source.line(span.line)
            width = max(1, span.end_column - span.column) if span.end_line == span.line else max(1, len(text) - span.column + 1)
            pad = "".join("\t" if char == "\t" else " " for char in text[: span.column - 1])
            lines += [f"{margin} |", f"{span.line} | {text}", f"{margin} | {pad}{'^' * width}"]
    if diagnostic.detail:
        lines += [f"  {line}" if line else "" for line in diagnostic.detail.splitlines()]
    if diagnostic.hint:
        lines.append(f"  hint: {diagnostic.hint}")
    for command in diagnostic.commands:
        lines += ["", f"    {command}"]
    return "\n".join(lines)


def diagnostic_object(diagnostic: Diagnostic) -> JsonObject:
    """A diagnostic as every JSON document has it: `$defs/diagnostic` of `report/plan.schema.json`. Fields are only added."""
    span = diagnostic.span
    return {
        "severity": diagnostic.severity.name.lower(),
        "slug": diagnostic.slug,
        "summary": diagnostic.summary,
        "detail": diagnostic.detail,
        "hint": diagnostic.hint,
        "commands": list(diagnostic.commands),
        "place": None if span is None else f"{span.file}:{span.line}:{span.column}",
        "file": None if span is None else span.file,
        "line": None if span is None else span.line,
        "column": None if span is None else span.column,
        "resource": diagnostic.resource,
    }


_UNREACHED: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "no address is known for that name"),
    (ConnectionRefusedError, "nothing takes connections there"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted here"),
    (ssl.SSLError, "it does not speak TLS there"),
    (TimeoutError, "it is silent"),
)


def unreached(host: str, failure: BaseException) -> str:
    """A clause about a connection that did not come about: to which host, and why, as far as what lies below the failure tells. Nothing
    is repeated of any library's own text, which can hold what was sent, nor who asks: an address may hold a password."""
    below = tuple(_below(failure))
    why = next((words for kind, words in _UNREACHED if any(isinstance(one, kind) for one in below)), "")
    return f"{host.rpartition('@')[2]} cannot be reached" + (f": {why}" if why else "")


def _below(failure: BaseException) -> Iterator[BaseException]:
    """A failure and all that it was made of: libraries keep that as a cause, as a context, among their arguments or by a name."""
    waiting, seen = [failure], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        named_so = (getattr(one, name, None) for name in ("reason", "inner_exception"))
        kept = (one.__cause__, one.__context__, *named_so, *one.args)
        named = getattr(one, "kwargs", None)
        more = (*kept, *(named.values() if isinstance(named, dict) else ()))
        waiting += [found for found in more if isinstance(found, BaseException)]
