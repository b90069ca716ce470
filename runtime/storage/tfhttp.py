"""A server of Terraform's HTTP protocol as a store, GitLab's foremost: `https://host/…/terraform/state/NAME`.

The protocol has one object per address, a lock on each, and nothing else: no conditions, no list, no time of writing. So

- an object lies at an address of its own, `NAME-<key>`, as a small JSON document (`_Held`) with the key's bytes, a serial that every write
  counts up, and the server's time of it. Its serial and digest are its tag. GitLab wants that serial, and a growing one.
- a conditional write is: LOCK, GET, compare, POST with the lock's id, UNLOCK. The server refuses a POST whose id is not the lock's, and
  that, not the lock, is what the guarantee rests on: a writer that was paused until its lock was taken away is refused.
- a lock is held for one write. One of skyc's that is older than `STALE` seconds by the server's clock is a dead writer's; it is taken away
  with its own id. A lock of somebody else's is waited for and never touched.
- what is deleted is overwritten with "nothing", because GitLab deletes later and refuses the name until then.
- which keys there are is one more object, at `NAME` itself, written after a key's object and before the write returns.

A server that keeps no locks, or takes a POST or an UNLOCK with another id, is refused before anything is written (`_prove`).
Credentials: TF_HTTP_USERNAME and TF_HTTP_PASSWORD, as Terraform's own backend has them. Never over plain HTTP but to this machine.
`?lock=` is what follows an address in that of its lock, `&lock_method=` and `&unlock_method=` how it is asked; without them, GitLab's.
"""

from __future__ import annotations

import atexit
import base64
import binascii
import contextlib
import getpass
import hashlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlencode, urlsplit

from ...compiler.diagnostics import SkycError, error
from ...compiler.ir import Secret
from ...providers.http import LOCAL_HOSTS, Answered, Http, Request, Whole
from ...providers.retry import BadAnswer, Refused, Schedule, SourceFailure
from .base import Changed, NotFound, StoreError, StoreFault, store_error
from .remote import IS_THERE, Again, Condition, RemoteStore

STALE = 45.0
"""Seconds by the server's clock. A write takes one or two; a later one is refused by the server, so this is no question of safety."""
WAIT = 90.0
"""Seconds to wait for a lock."""
FORMAT = "skyc.object/1"
MINE = "skyc-"
"""What the ids of skyc's locks begin with."""
_DEFAULTS = {"lock": "/lock", "lock_method": "POST", "unlock_method": "DELETE"}
_METHODS = frozenset({"LOCK", "UNLOCK", "POST", "PUT", "DELETE"})
_LOCKED = frozenset({409, 423})
_POLLS = (0.1, 2.0)
"""Seconds between looks at a lock: the first, and the longest that it grows to. Servers count requests."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What lies at an address. `data` None: nothing any more. `age`: seconds, by the server's clock."""

    data: bytes | None
    serial: int
    age: float

    @property
    def tag(self) -> str:
        return _tag(self.serial, self.data or b"")


class HttpStore(RemoteStore):
    """See the module. May be shared by threads."""

    def __init__(self, address: str, **options: str) -> None:
        super().__init__(address)
        self.address = address
        self.options = {**_DEFAULTS, **options}
        self._entered: set[str] = set()
        """Keys this store has written, and knows to be in the list of keys."""
        self._given_up: set[str] = set()
        """Ids of locks of this store that may still be there, and guard nothing."""
        self._skew = timedelta()
        """How far the server's clock is before this machine's, by its last answer."""
        self._proven = False
        self._proving = threading.Lock()

    @classmethod
    def from_uri(cls, uri: str) -> HttpStore:
        parts = urlsplit(uri)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        why = _unfit(uri, options)
        if why:
            shown = "https://…" if "@" in uri else uri.partition("?")[0]
            raise SkycError(error("bad-storage-uri", "This storage URI cannot be used", f"`{shown}` {why}"))
        return cls(uri.partition("?")[0].rstrip("/"), **options)

    @property
    def uri(self) -> str:
        given = {name: value for name, value in sorted(self.options.items()) if value != _DEFAULTS[name]}
        return self.address + (f"?{urlencode(given, safe='/')}" if given else "")

    # Keys

    def _write(self, key: str, data: bytes, condition: Condition) -> str:
        self._key(key)
        self._prove_once()
        tag = super()._write(key, data, condition)
        if key not in self._entered:
            self._note(lambda keys: keys | {key})
            self._entered.add(key)
        return tag

    def put_file(self, key: str, path: Path) -> None:
        self._key(key)
        try:
            data = path.read_bytes()
        except OSError as failure:
            raise store_error(failure, str(path)) from failure
        self.put(key, data)

    def delete(self, key: str) -> None:
        self._key(key)
        self._prove_once()
        self._patiently(lambda: self._erase(key))

        def without(keys: frozenset[str]) -> frozenset[str]:
            # Made anew meanwhile? Who makes one writes the list afterwards, and then this is refused and asked again.
            with contextlib.suppress(NotFound):
                if self._held(self._address(key)).data is not None:
                    return keys
            return keys - {key}

        self._entered.discard(key)
        if key in self._keys()[0]:
            self._note(without)

    def _note(self, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        """Change the list of keys. Written even if it is the same, so that whoever read it before finds out."""
        while True:
            keys, tag = self._keys()
            text = json.dumps(sorted(change(keys)), ensure_ascii=False).encode()
            with contextlib.suppress(Changed):
                # One whose answer was lost is refused at the second attempt, and done once more.
                self._patiently(lambda: self._exchange(self.address, text, tag))  # noqa: B023 - called at once
                return

    def _keys(self) -> tuple[frozenset[str], str | None]:
        try:
            found = self._patiently(lambda: self._held(self.address))
            return frozenset(json.loads(found.data or b"[]")), found.tag
        except NotFound:
            return frozenset(), None

    # What the protocol has

    def _send(self, name: str, content: BinaryIO, size: int, condition: Condition) -> str:
        return self._exchange(self._address(name), content.read(), condition, made=lambda: self._entered.discard(name))

    def _fetch(self, name: str, into: BinaryIO) -> tuple[str, float]:
        found = self._held(self._address(name))
        if found.data is None:
            raise NotFound(f"{self._address(name)} does not exist.")
        into.write(found.data)
        return found.tag, found.age

    def _measure(self, name: str) -> int:
        found = self._held(self._address(name))
        if found.data is None:
            raise NotFound(f"{self._address(name)} does not exist.")
        return len(found.data)

    def _page(self, start: str, token: str) -> tuple[list[str], str]:
        keys = json.loads(self._held_or(self.address, b"[]"))
        return sorted((key for key in keys if key.startswith(start)), key=str.encode), ""

    def _erase(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            if self._held(self._address(name)).data is not None:
                self._exchange(self._address(name), None, IS_THERE)

    def _held_or(self, address: str, otherwise: bytes) -> bytes:
        try:
            return self._held(address).data or otherwise
        except NotFound:
            return otherwise

    def _address(self, name: str) -> str:
        plain = re.sub(rb"[^A-Za-z0-9-]", lambda found: b"_-" if found[0] == b"/" else b"_%02x" % found[0][0], name.encode())
        if len(plain) > _LONGEST_NAME:
            raise StoreError(StoreFault.INVALID, f"{name[:60]!r}… is too long a name for a state at {self.address}.")
        return f"{self.address}-{plain.decode()}"

    def _held(self, address: str) -> _Held:
        answer = self._ask("GET", address, fine=frozenset({404}))
        if answer.status == 404 or not answer.body.strip():
            raise NotFound(f"{address} does not exist.")
        try:
            row = json.loads(answer.body)
            if row["format"] != FORMAT:
                raise ValueError(row["format"])
            data = None if row["data"] is None else base64.b64decode(row["data"], validate=True)
            written = datetime.fromisoformat(row["written"])
            if row["sha256"] != _digest(data or b""):
                raise ValueError("digest")
            return _Held(data=data, serial=int(row["serial"]), age=(_now(answer) - written).total_seconds())
        except (ValueError, KeyError, TypeError, binascii.Error):
            said = f"{address} holds something that skyc has not written, or a part of it."
            raise StoreError(StoreFault.DAMAGED, said) from None

    def _exchange(
        self, address: str, data: bytes | None, condition: Condition, *, made: Callable[[], object] = lambda: None
    ) -> str:
        """One conditional write. `made`: called before it where there was nothing. Raises Changed."""

        def compare() -> int:
            try:
                there = self._held(address)
            except NotFound:
                there = _Held(data=None, serial=0, age=0.0)
            if condition is not IS_THERE and condition != (None if there.data is None else there.tag):
                raise Changed(f"{address} is not what was read before.")
            if there.data is None:
                made()
            return there.serial

        with self._locked(address, compare) as (id_, now):
            serial = compare() + 1
            row = {"format": FORMAT, "serial": serial, "written": now.isoformat(), "sha256": _digest(data or b"")}
            document = {**row, "data": None if data is None else base64.b64encode(data).decode()}
            self._ask("POST", address, document, id_=id_, fine=_LOCKED, refused=f"the lock on {address} was taken away")
        return _tag(serial, data or b"")

    # Locks

    @contextlib.contextmanager
    def _locked(self, address: str, compare: Callable[[], object]) -> Iterator[tuple[str, datetime]]:
        """The lock's id and the server's time. `compare`: says while waiting whether waiting is of use."""
        id_ = MINE + secrets.token_hex(16)
        try:
            now = self._lock(address, id_, compare)
        except Again:
            # It may have been given all the same.
            self._unlock(address, id_)
            raise
        try:
            yield id_, now
        finally:
            self._unlock(address, id_)

    def _lock(self, address: str, id_: str, compare: Callable[[], object]) -> datetime:
        began, pause = time.monotonic(), _POLLS[0]
        while True:
            answer = self._ask_lock(address, id_)
            if answer.status not in _LOCKED:
                return _now(answer)
            compare()
            holder = _holder(answer.body)
            theirs = str(holder.get("ID") or "")
            age = _age(holder.get("Created"), _now(answer))
            if theirs in self._given_up or (theirs.startswith(MINE) and age is not None and age > STALE):
                self._unlock(address, theirs)
            elif time.monotonic() - began > WAIT:
                who = f"{holder.get('Who') or 'somebody'} since {holder.get('Created') or 'an unknown time'}"
                said = f"{address} is locked by {who} (lock {theirs or 'without an id'}), and {WAIT:.0f} s were not enough."
                raise StoreError(StoreFault.UNREACHABLE, said)
            time.sleep(pause)
            pause = min(pause * 1.5, _POLLS[1])

    def _ask_lock(self, address: str, id_: str, *, fine: frozenset[int] = _LOCKED) -> Whole:
        return self._ask(self.options["lock_method"], address + self.options["lock"], self._lock_document(id_), fine=fine)

    def _unlock(self, address: str, id_: str) -> None:
        """One that stays counts as given up here, and runs out elsewhere."""
        self._given_up.add(id_)
        method, target = self.options["unlock_method"], address + self.options["lock"]
        with contextlib.suppress(StoreError, Again):
            self._ask(method, target, self._lock_document(id_), fine=_LOCKED | {404})

    def _prove_once(self) -> None:
        with self._proving:
            if not self._proven:
                if self._keys()[1] is None:
                    self._patiently(self._prove)
                self._proven = True

    def _prove(self) -> None:
        """That the server keeps locks, and heeds their ids, at an address where nothing is yet. Raises SkycError `backend-unlocked`."""
        every = (frozenset(range(400, 500)) | {501}) - {401, 403, 408, 425, 429}
        address, other = self.address, MINE + "another"
        serial = iter(range(1, 9))
        document = {"format": FORMAT, "sha256": _digest(b"[]"), "data": base64.b64encode(b"[]").decode()}

        def post(id_: str | None, now: datetime) -> Whole:
            row = {**document, "serial": next(serial), "written": now.isoformat()}
            return self._ask("POST", address, row, id_=id_, fine=every)

        def nothing_yet() -> None:
            if self._keys()[1] is not None:
                raise Changed("Somebody else was quicker.")

        def must(refuse: Whole, what: str) -> None:
            if refuse.status < 400:
                raise _unlocked(address, what)

        first = self._ask_lock(address, other, fine=every).status
        if first == 404:
            # GitLab says the same of a project that a login may not see.
            said = f"The server knows no place {address}, or this login may not see it. {_LOG_IN}"
            raise StoreError(StoreFault.DENIED, said)
        if first not in (200, 201, 204, *_LOCKED):
            raise _unlocked(address, "it gives no locks")
        self._unlock(address, other)
        try:
            with self._locked(address, nothing_yet) as (id_, now):
                nothing_yet()
                must(self._ask_lock(address, other, fine=every), "it gives one lock to two")
                must(post(other, now), "it takes a state from somebody who does not hold the lock")
                must(post(None, now), "it takes a state without the lock's id")
                self._ask(self.options["unlock_method"], address + self.options["lock"], self._lock_document(other), fine=every)
                must(self._ask_lock(address, other, fine=every), "it lets anybody take a lock away")
                if post(id_, now).status >= 400:
                    raise _unlocked(address, "it refuses a state from whoever holds the lock")
            must(post(id_, now), "it takes a state from somebody whose lock is over")
        except Changed:
            return

    # Requests

    def _ask(
        self,
        method: str,
        url: str,
        document: Any = None,
        *,
        id_: str | None = None,
        fine: frozenset[int] = frozenset(),
        refused: str = "",
    ) -> Whole:
        """One request. Raises StoreError, or `Again`. `refused`: what a locked address means, where that is `Again`."""
        params = (("ID", id_),) if id_ is not None else ()
        request = Request(url=url, method=method, params=params, body=document, secret_headers=_login(), accepts=fine)
        try:
            answer = _http().whole(request)
        except Refused as failure:
            raise StoreError(StoreFault.DENIED, f"{url}: {failure}. {_LOG_IN}") from None
        except (Answered, BadAnswer) as failure:
            raise StoreError(StoreFault.INVALID, f"{url}: {failure}.") from None
        except SourceFailure as failure:
            raise Again(str(failure).replace(" (1 attempts)", "")) from None
        if answer.date is not None:
            self._skew = answer.date - datetime.now(UTC)
        if refused and answer.status in _LOCKED:
            raise Again(refused)
        return answer

    def _lock_document(self, id_: str) -> dict[str, str]:
        """What Terraform sends. GitLab answers with its own time and user; others with these, so the time is the server's."""
        try:
            who = f"{getpass.getuser()}@{socket.gethostname()}"
        except (KeyError, OSError):
            who = socket.gethostname()
        created = (datetime.now(UTC) + self._skew).isoformat().replace("+00:00", "Z")
        return {"ID": id_, "Operation": "skyc", "Info": "", "Who": who, "Version": "skyc", "Created": created, "Path": ""}


_LOG_IN = (
    "Set TF_HTTP_USERNAME and TF_HTTP_PASSWORD; at GitLab a token with the scope `api`, of somebody with the role Maintainer to write"
    " states, Developer to read them."
)


def _unfit(uri: str, options: dict[str, str]) -> str:
    """Why an address cannot be used, as the rest of a sentence; empty if it can."""
    parts = urlsplit(uri)
    methods = {options.get("lock_method", "POST"), options.get("unlock_method", "DELETE")}
    if not parts.hostname or not parts.path.strip("/") or parts.fragment or "@" in parts.netloc:
        return "must have the form `https://host/path/name`; a login comes from TF_HTTP_USERNAME and TF_HTTP_PASSWORD."
    if set(options) - set(_DEFAULTS) or methods - _METHODS:
        return "may be followed by `?lock=`, `&lock_method=` and `&unlock_method=`, and by nothing else."
    if parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
        return "is plain HTTP: states and keys would travel in the clear. Use https."
    return ""


def _unlocked(address: str, what: str) -> SkycError:
    return SkycError(
        error(
            "backend-unlocked",
            "The server does not keep locks",
            f"{address}: {what}. Two machines could overwrite each other's state, so states are not kept there.",
            hint="use a server that locks (GitLab does), or a bucket; `lock`, `lock_method` and `unlock_method` say how to ask",
        )
    )


@lru_cache(maxsize=1)
def _http() -> Http:
    # Attempts are counted by the store, which must know of every answer that was lost.
    made = Http(schedule=Schedule(pauses=()), silence=15.0, limit=60.0)
    atexit.register(made.__exit__, None, None, None)
    return made


def _login() -> dict[str, tuple[str, Secret]]:
    name, word = os.environ.get("TF_HTTP_USERNAME", ""), os.environ.get("TF_HTTP_PASSWORD", "")
    if not name and not word:
        return {}
    return {"Authorization": ("Basic ", Secret(base64.b64encode(f"{name}:{word}".encode()).decode()))}


def _holder(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _age(created: object, now: datetime) -> float | None:
    try:
        then = datetime.fromisoformat(str(created).replace(" UTC", "+00:00"))
    except ValueError:
        return None
    return (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()


def _now(answer: Whole) -> datetime:
    if answer.date is None:
        raise StoreError(
            StoreFault.INVALID, "The server does not say what time it is (no Date), so nobody could tell a dead lock."
        )
    return answer.date


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tag(serial: int, data: bytes) -> str:
    return f"{serial}-{_digest(data)[:32]}"
