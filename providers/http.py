"""HTTP to the clouds, through httpx: a time limit for everything, retries, and no secret in any message.

Contract
- A request ends: a connection that is silent for `silence` seconds, and an answer that is not complete after `limit`, count as
  failed attempts. 408, 429 and 5xx, a broken connection and a body that is cut off are tried again; other answers are not.
- Redirects are not followed: a request can carry a key, and a price list has no reason to move for one request.
- Messages name method, host and path. Never the query, a header or a body: any of them could hold a key. Keys travel in headers
  or bodies only, since libraries log URLs.
- Numbers in JSON arrive as Decimal: a price never passes through a float.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

from ..compiler.diagnostics import SkycError, error, unreached
from ..compiler.ir import Secret
from .retry import Again, BadAnswer, Refused, Schedule, SourceFailure, patiently

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

LARGEST_JSON = 256 << 20
"""Bytes of one JSON answer. The largest page known is a few MiB."""
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
ANY = frozenset(range(100, 600))
LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
LONG_LIST = 1800.0
"""Seconds for an answer of hundreds of megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. secret_headers, secret_form: revealed only to the socket."""

    url: str
    method: str = "GET"
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, tuple[str, Secret]] = field(default_factory=dict)
    """Header → (what stands before the secret, the secret): `("Bearer ", key)`."""
    body: Any = None
    """Sent as JSON."""
    secret_form: Mapping[str, str | Secret] | None = None
    accepts: frozenset[int] = frozenset()
    """Statuses that are an answer besides the good ones, as 404 is to a question whether something exists."""

    @property
    def label(self) -> str:
        parts = urlsplit(self.url)
        return f"{self.method} {parts.hostname}{parts.path}"


class Answered(SourceFailure):
    """It refused this request, for a reason that asking again or other credentials do not change: not found, in use, …"""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body`: its JSON; None where it has none. headers: names in lower case; only of what `once` gives back."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An answer as it came. `date`: the server's clock; None where it does not say."""

    status: int
    body: bytes = field(repr=False)
    date: datetime | None


class Http:
    """A client for threads to share. A context manager."""

    def __init__(
        self,
        *,
        schedule: Schedule | None = None,
        silence: float = 30.0,
        limit: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        import httpx

        # Its own log lines carry whole URLs, and httpcore's the headers of answers.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.schedule = schedule or Schedule()
        self._limit = limit
        self._clock = clock
        self._now = now
        self._client = httpx.Client(timeout=httpx.Timeout(silence), follow_redirects=False, headers={"User-Agent": "skyc"})

    def __enter__(self) -> Http:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._client.close()

    def json(self, request: Request) -> Any:
        """The answer as JSON. Raises SourceFailure."""

        return patiently(self.schedule, lambda: self._read(request, bare=False).body)

    def ask(self, request: Request) -> Answer:
        """Status and body, for services that also answer without one. Raises SourceFailure."""
        return patiently(self.schedule, lambda: self._read(request, bare=True))

    def once(self, request: Request) -> Answer:
        """One attempt, and whatever status it is answered with: for who repeats more than the request, as what is written is looked for
        before it is written again. A body that is no JSON is None. Raises Again where nothing was answered, and SourceFailure."""
        with self._answer(replace(request, accepts=ANY)) as answer:
            body = self._body(request, answer)
            headers = {name.lower(): value for name, value in answer.headers.items()}
        try:
            return Answer(status=answer.status_code, body=json.loads(body, parse_float=Decimal), headers=headers)
        except (ValueError, RecursionError):
            return Answer(status=answer.status_code, headers=headers)

    def xml(self, request: Request) -> Element:
        """The answer as XML, for the APIs of object stores that speak nothing else. Raises SourceFailure."""

        def attempt() -> Element:
            _, body = self._whole(request)
            if b"<!DOCTYPE" in body:
                # No object store sends one, and what it declares could grow without end.
                raise BadAnswer(f"{request.label} answered with a document that declares its own form")
            try:
                return fromstring(body)  # noqa: S314 - it declares nothing
            except ParseError:
                raise Again(f"{request.label} answered with something that is not XML") from None

        return patiently(self.schedule, attempt)

    def whole(self, request: Request) -> Whole:
        """The answer without a look at what it holds, for a protocol whose bodies are somebody's files. Raises SourceFailure."""

        def attempt() -> Whole:
            with self._answer(request) as answer:
                body = self._body(request, answer)
            return Whole(status=answer.status_code, body=body, date=_date(answer.headers.get("Date")))

        return patiently(self.schedule, attempt)

    def _whole(self, request: Request) -> tuple[int, bytes]:
        with self._answer(request) as answer:
            body = self._body(request, answer)
        return answer.status_code, body

    def _body(self, request: Request, answer: httpx.Response) -> bytes:
        body = bytearray()
        for chunk in self._chunks(request, answer.iter_bytes(), self._limit):
            body += chunk
            if len(body) > LARGEST_JSON:
                raise BadAnswer(f"{request.label} answered with more than {LARGEST_JSON >> 20} MiB")
        return bytes(body)

    def _read(self, request: Request, *, bare: bool) -> Answer:
        """`bare`: an empty body is an answer too."""
        status, body = self._whole(request)
        if bare and not body.strip():
            return Answer(status=status)
        try:
            return Answer(status=status, body=json.loads(body, parse_float=Decimal))
        except (ValueError, RecursionError):
            # A proxy's error page and a body that was cut off look alike here; another attempt tells them apart.
            raise Again(f"{request.label} answered with something that is not JSON") from None

    def send(self, request: Request) -> None:
        """Only whether it succeeds counts: what a deletion answers is mostly nothing. Raises SourceFailure."""
        self.status(request)

    def status(self, request: Request) -> int:
        """As `send`, for who accepts several answers and tells them apart. Raises SourceFailure."""

        def attempt() -> int:
            with self._answer(request) as answer:
                return answer.status_code

        return patiently(self.schedule, attempt)

    def lines(self, request: Request, read: Callable[[Iterator[str]], T]) -> T:
        """What `read` makes of the answer's lines, which are handed over as they arrive. An attempt that breaks off is thrown
        away and `read` called anew. Raises SourceFailure."""

        def attempt() -> T:
            with self._answer(request) as answer:
                return read(self._complete_lines(request, answer))

        return patiently(self.schedule, attempt)

    def _complete_lines(self, request: Request, answer: httpx.Response) -> Iterator[str]:
        rest = ""
        for chunk in self._chunks(request, answer.iter_text(), LONG_LIST):
            *lines, rest = (rest + chunk).split("\n")
            yield from (line + "\n" for line in lines)
        if rest:
            # Every line of these lists ends with a line end; without one the answer was cut off where no length was announced.
            raise Again(f"{request.label} was cut off in the middle of a line")

    @contextmanager
    def _answer(self, request: Request) -> Iterator[httpx.Response]:
        """An answer with a good status whose body is still to come. Raises Again or SourceFailure, also for what httpx raises
        while the body is read."""
        import httpx

        try:
            with self._client.stream(
                request.method,
                request.url,
                params=list(request.params) or None,
                headers={**request.headers, **_revealed(request.secret_headers)},
                **_content(request),
            ) as answer:
                self._judge(request, answer)
                yield answer
        except httpx.TimeoutException:
            raise Again(f"{request.label} was silent for too long") from None
        except httpx.ConnectError as failure:
            # Mostly this machine is offline, and then every region's turn would take the whole schedule.
            raise Again(unreached(urlsplit(request.url).netloc.rpartition("@")[2], failure), most=3, unheard=True) from None
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError):
            raise Again(f"{request.label}: the connection broke in the middle of the answer") from None
        except (httpx.InvalidURL, UnicodeError):
            raise SourceFailure(f"{request.label} is no address that can be asked") from None

    def _judge(self, request: Request, answer: httpx.Response) -> None:
        status = answer.status_code
        if 200 <= status < 300 or status in request.accepts:
            return
        said = f"{request.label} answered {status}"
        if status in TRY_AGAIN:
            raise Again(said, after=self._wait_asked(answer.headers.get("Retry-After")))
        if status in (401, 403):
            raise Refused(said, status)
        raise Answered(said + (", a redirect" if 300 <= status < 400 else ""), status)

    def _wait_asked(self, header: str | None) -> float | None:
        """Seconds, from either form of Retry-After (RFC 9110, 10.2.3); None for neither."""
        if header is None:
            return None
        if header.strip().isdecimal():
            return float(header)
        try:
            return max(0.0, (parsedate_to_datetime(header) - self._now()).total_seconds())
        except (ValueError, TypeError):
            return None

    def _chunks(self, request: Request, chunks: Iterable[Any], limit: float) -> Iterator[Any]:
        """The time limit for a whole answer; httpx knows one for each read only, which a slow drip never meets."""
        began = self._clock()
        for chunk in chunks:
            if self.schedule.stopped():
                raise SourceFailure("it was stopped")
            if self._clock() - began > limit:
                raise Again(f"{request.label} was not complete after {limit:.0f} s")
            yield chunk


def _date(header: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(header) if header else None
    except (ValueError, TypeError):
        return None
    # Without a zone it is what HTTP demands.
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _revealed(headers: Mapping[str, tuple[str, Secret]]) -> dict[str, str]:
    return {name: before + secret.reveal() for name, (before, secret) in headers.items()}


def _content(request: Request) -> dict[str, Any]:
    if request.secret_form is not None:
        form = request.secret_form.items()
        return {"data": {name: value.reveal() if isinstance(value, Secret) else value for name, value in form}}
    return {} if request.body is None else {"json": request.body}


def endpoint(environ: Mapping[str, str], variable: str, default: str) -> str:
    """Where an API is: the environment's word, else the documented place, without a slash at the end.

    Raises SkycError for one that would carry keys in the clear: only this machine may be asked without TLS.
    """
    place = environ.get(variable) or default
    parts = urlsplit(place)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        return place.rstrip("/")
    raise SkycError(
        error(
            "bad-endpoint",
            "An endpoint's address cannot be used.",
            f"{variable} must begin with https://. Only an address of this machine (127.0.0.1, localhost) may begin with http://, "
            "because keys are sent to it. Correct the variable, or unset it to use the cloud's own address.",
        )
    )


def same_origin(url: str, base: str) -> bool:
    """Whether `url`, which an answer named as its next page, is of the server that was asked: no other gets our key."""

    def origin(text: str) -> tuple[str, str | None, int | None]:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)

    try:
        return origin(url) == origin(base)
    except ValueError:  # a port that is no number
        return False
