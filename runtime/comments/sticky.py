"""Which comment to write: read, decide, do, as often as it takes.

`decide` is pure. `settle` runs it against a service: an attempt lists, decides and writes; one that fails half way is followed by one that
looks again, so a comment whose creation was answered with an error is edited and not doubled.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...providers.retry import Schedule, patiently


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment of ours. `id`: the service's; smaller is older."""

    id: int
    body: str
    url: str = ""


class Written(enum.Enum):
    CREATED = "created"
    EDITED = "edited"
    UNCHANGED = "unchanged"
    """It says so already."""
    NOTHING = "nothing"
    """Nothing differs and there is no comment that says otherwise."""
    SKIPPED = "skipped"
    """Nobody may comment from here; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentResult:
    """`summary`: the job's summary holds the report too. removed: doubles of the comment that were taken away."""

    written: Written
    url: str = ""
    reason: str = ""
    summary: bool = False
    removed: int = 0

    @property
    def sentence(self) -> str:
        match self.written:
            case Written.CREATED:
                return "the comment was written"
            case Written.EDITED:
                return "the comment was brought up to date"
            case Written.UNCHANGED:
                return "the comment says this already"
            case Written.NOTHING:
                return "nothing differs, and no comment says otherwise: none was written"
            case Written.SKIPPED:
                return f"no comment was written: {self.reason}"


class TooLong(Exception):
    """The service takes no comment of this length."""


class Forbidden(Exception):
    """The token may not do this. `detail` and `hint` are for people and name the permission."""

    def __init__(self, status: int, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint


class Service(Protocol):
    """A request's comments at one service. Every method is one attempt and raises Again, SourceFailure, Forbidden or TooLong. Removing what
    is gone is fine; editing what is gone raises Again."""

    def ours(self, first_line: str) -> Sequence[Comment]:
        """Comments of the token's owner that begin with this line, oldest first."""

    def create(self, body: str) -> Comment: ...

    def edit(self, comment: Comment, body: str) -> None: ...

    def remove(self, comment: Comment) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do: the comment that stays, whether it is edited, and the doubles that go. No `keep`: one is created if `create` says so."""

    keep: Comment | None = None
    edit: bool = False
    create: bool = False
    doubles: tuple[Comment, ...] = ()


def decide(found: Sequence[Comment], body: str, *, needed: bool) -> Decision:
    """The oldest comment stays where it is, so that links to it hold."""
    if not found:
        return Decision(create=needed)
    keep, *doubles = sorted(found, key=lambda comment: comment.id)
    return Decision(keep=keep, edit=_plain(keep.body) != _plain(body), doubles=tuple(doubles))


def settle(service: Service, schedule: Schedule, first_line: str, body: str, *, needed: bool) -> CommentResult:
    """Make it so. `needed`: a comment is written where there is none. Raises SourceFailure, Forbidden or TooLong."""
    touched: list[Written] = []

    def attempt() -> CommentResult:
        decision = decide(service.ours(first_line), body, needed=needed)
        if decision.keep is None:
            if not decision.create:
                return CommentResult(written=Written.NOTHING)
            touched.append(Written.CREATED)
            return CommentResult(written=Written.CREATED, url=service.create(body).url)
        if decision.edit:
            touched.append(Written.EDITED)
            service.edit(decision.keep, body)
        for double in decision.doubles:
            service.remove(double)
        # An attempt before this one may have done it, and lost the answer.
        written = touched[0] if touched else Written.UNCHANGED
        return CommentResult(written=written, url=decision.keep.url, removed=len(decision.doubles))

    return patiently(schedule, attempt)


def _plain(body: str) -> str:
    """A body as services give it back: they change line ends and the space at the end."""
    return body.replace("\r\n", "\n").rstrip()
