"""What the comment services' answers mean, as far as they agree: wait, give up, too long, not allowed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...providers.http import TRY_AGAIN, Answer, Http, Request, same_origin
from ...providers.retry import Again, BadAnswer
from .sticky import Forbidden, TooLong

SECONDARY = 60.0
"""Seconds to wait after a secondary rate limit that does not say how long (GitHub's documentation: at least a minute)."""
MOST_PAGES = 100
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')


def asked(http: Http, request: Request, *, permission: str, now: Callable[[], float] = time.time) -> Answer:
    """One attempt. Raises Again, BadAnswer, Forbidden or TooLong for what is no good answer."""
    answer = http.once(request)
    status, said = answer.status, _message(answer.body)
    if 200 <= status < 300 or status in request.accepts:
        return answer
    limited = status == 403 and ("retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0")
    limited = limited or (status == 403 and "rate limit" in said.lower())
    if status in TRY_AGAIN or limited:
        raise Again(f"{request.label} answered {status}", after=_wait(answer, now) if limited or status == 429 else None)
    if status in (400, 413, 422) and ("too long" in said.lower() or status == 413):
        raise TooLong(f"{request.label} answered {status}: the comment is too long")
    if status in (401, 403, 404):
        told = f" ({said})" if said else ""
        raise Forbidden(status, f"{request.label} answered {status}{told}.", f"the job's token needs {permission}")
    raise BadAnswer(f"{request.label} answered {status}" + (f" ({said})" if said else ""))


def pages(http: Http, request: Request, *, permission: str) -> Iterator[Any]:
    """Every object of a list that comes in pages (RFC 8288, `rel="next"`)."""
    following: Request | None = request
    for _ in range(MOST_PAGES):
        if following is None:
            return
        answer = asked(http, following, permission=permission)
        if not isinstance(answer.body, list):
            raise BadAnswer(f"{request.label} answered with something that is no list")
        yield from answer.body
        found = _NEXT.search(answer.headers.get("link", ""))
        if found is None:
            return
        if not same_origin(found[1], request.url):
            raise BadAnswer(f"{request.label} names a next page at another server")
        following = Request(url=found[1], headers=request.headers, secret_headers=request.secret_headers)


def _wait(answer: Answer, now: Callable[[], float]) -> float | None:
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    if after.strip().isdecimal():
        return float(after)
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.strip().isdecimal():
        return max(0.0, float(reset) - now())
    return SECONDARY


def _message(body: Any) -> str:
    """The service's own words, on one line and bounded; they hold nothing of ours but the comment's limits."""
    if not isinstance(body, dict):
        return ""
    words = [str(body.get("message") or body.get("error") or "")]
    words += [str(row.get("message", "")) for row in body.get("errors") or () if isinstance(row, dict)]
    return " ".join(" ".join(words).split())[:200]
