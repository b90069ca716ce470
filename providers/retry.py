"""Asking again: which pauses to make between attempts, and when to stop.

Contract: the schedule is a value, so tests make no pauses and two runs behave alike; there is no jitter, because one person's
refresh is no herd. A source that says how long to wait (`Retry-After`) is obeyed up to `LONGEST_WAIT`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds. A source that asks for more is given up for this time."""


class SourceFailure(Exception):
    """A source gave no usable answer. Its text is a clause for people ("… answered 503") and never holds a secret."""


class BadAnswer(SourceFailure):
    """It answered, with something else than what its documentation describes."""


class Refused(SourceFailure):
    """It does not accept these credentials, or they lack a permission. `status`: of HTTP, where that says which: 401 or 403."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class NoCredentials(Refused):
    """There are none to send, so nothing was asked."""


class Unheard(SourceFailure):
    """No connection to it came about, so nobody has read what was asked, and nothing was done."""


class Again(Exception):
    """This attempt failed in a way that another may not. `after`: seconds the source asks to wait. `most`: attempts that are
    worth while, where the schedule has more. `unheard`: no connection came about."""

    def __init__(self, reason: str, *, after: float | None = None, most: int | None = None, unheard: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.most = most
        self.unheard = unheard


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Pauses in seconds before the second, third, … attempt."""

    pauses: tuple[float, ...] = (1.0, 3.0, 9.0, 27.0)
    sleep: Callable[[float], object] = time.sleep
    stopped: Callable[[], bool] = lambda: False
    """Whether the user has stopped the command: then nothing more is asked."""


def patiently(schedule: Schedule, attempt: Callable[[], T]) -> T:
    """The first attempt's result that does not raise `Again`. Raises SourceFailure when the schedule is used up."""
    tries = len(schedule.pauses) + 1
    for number in range(1, tries + 1):
        if schedule.stopped():
            raise SourceFailure("it was stopped")
        try:
            return attempt()
        except Again as again:
            if number == min(tries, again.most or tries):
                kind = Unheard if again.unheard else SourceFailure
                raise kind(f"{again.reason} ({number} attempts)") from None
            if again.after is not None and again.after > LONGEST_WAIT:
                raise SourceFailure(f"{again.reason} and asks to wait {again.after:.0f} s") from None
            schedule.sleep(max(schedule.pauses[number - 1], again.after or 0.0))
    raise AssertionError("the last attempt returns or raises")
