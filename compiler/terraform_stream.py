"""What Terraform says while it runs: its `-json` lines, read into events and diagnostics.

Contract: nothing here fails on a line that is not JSON or whose type is unknown; such lines are counted. No text leaves this
module before it went through the Scrubber. The order of the stream is random, so a report is never made from it.
"""

from __future__ import annotations

import enum
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .diagnostics import Diagnostic, Severity, Span
from .ir import JsonObject
from .scrub import Scrubber

OriginOf = Callable[[str], Span | None]
"""From a Terraform resource address to the user's line it was compiled from."""


class Phase(enum.Enum):
    STARTED = "started"
    PROGRESS = "progress"
    COMPLETE = "complete"
    ERRORED = "errored"
    NOTE = "note"
    """Said by skyc about the run itself: it was asked to stop, it is being waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of one resource. `action` is create, update, delete, read, …, refresh or provision; `elapsed` in seconds."""

    phase: Phase
    message: str
    address: str | None = None
    action: str | None = None
    elapsed: float | None = None


_PHASES = {
    "start": Phase.STARTED,
    "progress": Phase.PROGRESS,
    "complete": Phase.COMPLETE,
    "errored": Phase.ERRORED,
}


class Reading:
    """The lines of one run, in the order they came. Feed lines; read the facts at any time."""

    def __init__(self, scrubber: Scrubber, origin_of: OriginOf | None = None) -> None:
        self._scrubber = scrubber
        self._origin_of = origin_of
        self._diagnostics: list[Diagnostic] = []
        self.unread = 0
        """Lines that were not a JSON object with a type."""
        self.finished: str | None = None
        """The operation of the final `change_summary` (`plan`, `apply`, `destroy`). A failed apply has none."""

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(dict.fromkeys(self._diagnostics))

    def line(self, line: bytes) -> Event | None:
        """Take in one line. The event it stands for, if it is about a resource."""
        message = _object(line)
        kind = message.get("type") if message is not None else None
        if message is None or not isinstance(kind, str):
            self.unread += bool(line.strip())
            return None
        if kind == "diagnostic":
            found = message.get("diagnostic")
            if isinstance(found, dict):
                self._diagnostics.append(diagnostic_of(found, scrubber=self._scrubber, origin_of=self._origin_of))
        elif kind == "change_summary":
            changes = message.get("changes")
            if isinstance(changes, dict) and isinstance(changes.get("operation"), str):
                self.finished = changes["operation"]
        return self._event(kind, message)

    def _event(self, kind: str, message: JsonObject) -> Event | None:
        subject, _, step = kind.rpartition("_")
        hook = message.get("hook")
        if (
            step not in _PHASES
            or subject not in ("apply", "refresh", "provision", "ephemeral_op")
            or not isinstance(hook, dict)
        ):
            return None
        resource = hook.get("resource")
        address = resource.get("addr") if isinstance(resource, dict) else None
        elapsed = hook.get("elapsed_seconds")
        action = hook.get("action") if subject == "apply" else subject
        return Event(
            phase=_PHASES[step],
            message=self._scrubber.scrub(str(message.get("@message", ""))),
            address=self._scrubber.scrub(address) if isinstance(address, str) else None,
            action=action if isinstance(action, str) else subject,
            elapsed=float(elapsed) if isinstance(elapsed, (int, float)) else None,
        )


class Tail:
    """Whole lines of a growing file. A line is handed out once, also when its reader is interrupted between two."""

    def __init__(self, file: Path) -> None:
        self._handle = file.open("rb", buffering=0)
        self._whole: deque[bytes] = deque()
        self._rest = b""

    def lines(self, *, end: bool = False) -> Iterator[bytes]:
        """Lines completed since the last call; with `end`, also what stands after the last newline."""
        while True:
            while self._whole:
                yield self._whole.popleft()
            chunk = self._handle.read(1 << 20)
            if not chunk:
                break
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            self._whole.extend(whole)
        if end and self._rest:
            rest, self._rest = self._rest, b""
            yield rest

    def close(self) -> None:
        self._handle.close()


def _object(line: bytes) -> JsonObject | None:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def diagnostic_of(found: JsonObject, *, scrubber: Scrubber, origin_of: OriginOf | None = None) -> Diagnostic:
    """A Terraform diagnostic (from a stream or from `validate -json`) as one of ours, at the user's own line where it has one."""
    severity = Severity.WARNING if found.get("severity") == "warning" else Severity.ERROR
    summary, detail = (str(found.get(key) or "").strip() for key in ("summary", "detail"))
    address = _address(found)
    span = origin_of(address) if origin_of is not None and address is not None else None
    return _worded(severity, scrubber.scrub(summary), scrubber.scrub(detail), address and scrubber.scrub(address), span)


_QUOTED = re.compile(r'^resource "([\w-]+)" "([\w-]+)"')
_DOTTED = re.compile(r"^resource\.([\w-]+)\.([\w-]+)")


def _address(found: JsonObject) -> str | None:
    """The address a diagnostic names itself, else the resource block it points into. `values` in a snippet are never read."""
    if isinstance(found.get("address"), str):
        return str(found["address"])
    snippet = found.get("snippet")
    context = snippet.get("context") if isinstance(snippet, dict) else None
    match = (_QUOTED.match(context) or _DOTTED.match(context)) if isinstance(context, str) else None
    return f"{match[1]}.{match[2]}" if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A failure of Terraform that a person can act on: recognised by its words, told in ours."""

    pattern: re.Pattern[str]
    slug: str
    summary: str
    detail: str
    hint: str | None = None


PLAN_ENGINE_CHANGED = "plan-engine-changed"
PLAN_STALE = "plan-stale"
STATE_LOCKED = "state-locked"
DISK_FULL = "disk-full"

_KNOWN = (
    _Known(
        pattern=re.compile(
            r"Error acquiring the state lock|state (is )?(already )?locked|resource temporarily unavailable", re.I
        ),
        slug=STATE_LOCKED,
        summary="The state is locked by another Terraform run",
        detail="Two runs must not write one state. The other one has to end first; nothing was changed.",
        hint="wait for it, or look at `skyc status`; a lock of a run that is dead is released by itself on this machine",
    ),
    _Known(
        pattern=re.compile(r"Saved plan is stale", re.I),
        slug=PLAN_STALE,
        summary="The plan is out of date",
        detail="The state has changed since the plan was made, so what was reviewed is no longer what would happen. "
        "Nothing was changed.",
        hint="make and review a new plan",
    ),
    _Known(
        pattern=re.compile(
            r"plan files? cannot be transferred between|plan file was created by|incompatible .{0,20}plan file"
            r"|created by .{0,40}version of (Terraform|OpenTofu)",
            re.I | re.S,
        ),
        slug=PLAN_ENGINE_CHANGED,
        summary="The plan was made by another Terraform",
        detail="A saved plan can be applied only by the very version that made it. Nothing was changed.",
        hint="apply with the engine the plan names, or make and review a new plan",
    ),
    _Known(
        pattern=re.compile(r"no space left on device|disk quota exceeded", re.I),
        slug=DISK_FULL,
        summary="The disk is full",
        detail="Terraform could not write its state, so what it made in this run may not be recorded there.",
        hint="free some space, then run the command again: skyc looks for what the state lacks",
    ),
    _Known(
        pattern=re.compile(r"Plugin did not respond|plugin (process )?(crashed|exited)|Failed to instantiate provider", re.I),
        slug="provider-lost",
        summary="A Terraform provider stopped in the middle of the run",
        detail="What it was making at that moment may exist without being in the state.",
        hint="run the command again: skyc looks for what the state lacks",
    ),
)


def _worded(severity: Severity, summary: str, detail: str, address: str | None, span: Span | None) -> Diagnostic:
    said = "\n".join(part for part in (f"Resource: {address}" if address else "", detail) if part)
    for known in _KNOWN if severity is Severity.ERROR else ():
        if known.pattern.search(f"{summary}\n{detail}"):
            text = "\n".join(part for part in (known.detail, f"Terraform: {summary}", said) if part)
            return Diagnostic(
                severity=severity,
                slug=known.slug,
                summary=known.summary,
                detail=text,
                span=span,
                hint=known.hint,
                resource=address,
            )
    slug = "terraform-error" if severity is Severity.ERROR else "terraform-warning"
    return Diagnostic(
        severity=severity,
        slug=slug,
        summary=summary or "Terraform failed without a word",
        detail=said,
        span=span,
        resource=address,
    )


def text_diagnostic(text: str, *, scrubber: Scrubber, summary: str) -> Diagnostic:
    """From plain text (a command without `-json`, or a crash): the known failure it names, else `summary` with its last lines."""
    clean = scrubber.scrub(re.sub(r"\x1b\[[0-9;]*m|^[╷│╵ ]+", "", text, flags=re.M)).strip()
    tail = "\n".join(clean.splitlines()[-20:])[-2000:]
    for known in _KNOWN:
        if known.pattern.search(clean):
            return _worded(Severity.ERROR, summary, tail, None, None)
    return Diagnostic(severity=Severity.ERROR, slug="terraform-error", summary=summary, detail=tail)


def spoken(seconds: float) -> str:
    """`90` → `1 min 30 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(part for part in (f"{minutes} min" if minutes else "", f"{rest} s" if rest or not minutes else "") if part)


def first_error(diagnostics: Iterable[Diagnostic], slug: str) -> Diagnostic | None:
    """The first error with this slug."""
    return next((d for d in diagnostics if d.slug == slug and d.severity is Severity.ERROR), None)
