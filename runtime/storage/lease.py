"""Keeps two things from happening at once: a snapshot that relies on chunks already in the store, and their removal.

A snapshot writes a pin, then waits until nobody sweeps. A sweep writes `sweeping.json`, then stops if there is a pin. Whatever
the order, one of the two sees the other, because a store's `list` and `get` see every earlier `put` (see `base.py`). So while a
snapshot holds its pin, and has seen no sweep, no chunk is removed.

Either may die. A pin that was not renewed for an hour, and a sweep that was not renewed while somebody watched it for
`SWEEP_SILENCE` seconds, count as dead. Either may also be only paused, so each watches its own clock: a sweep stops before the
next removal when its last renewal is too long ago, and a snapshot that could not renew in time checks every chunk again after
its manifest is written, and takes the manifest back when one is missing.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from types import TracebackType

from .base import AlreadyExists, NotFound, Store, StoreError, StoreFault
from .manifest import task_prefix

PIN_LIFE = 3600.0
PIN_RENEWAL = 60.0
SWEEP_SILENCE = 30.0
_SWEEP_OWN_LIMIT = 10.0
_POLL = 0.1


class Pin:
    """Held by a snapshot for as long as it relies on chunks. `name`: one per rank and attempt, so that its next snapshot
    replaces what a killed one left."""

    def __init__(self, store: Store, prefix: str, name: str) -> None:
        self._store = store
        self._key = f"{task_prefix(prefix)}pins/{name}.json"
        self._sweep = f"{task_prefix(prefix)}sweeping.json"
        self._renewed = 0.0
        self.intact = True
        """False once the pin may have been taken for dead."""

    def __enter__(self) -> Pin:
        self._write()
        try:
            self._wait_for_sweep()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self._remove()

    def renew(self) -> None:
        """To be called now and then by whoever holds the pin. Cheap when it is not yet time."""
        silent = time.monotonic() - self._renewed
        if silent >= PIN_LIFE / 2:
            self.intact = False
        if silent >= PIN_RENEWAL:
            self._write()

    def _write(self) -> None:
        self._store.put(self._key, json.dumps({"renewed": time.time()}).encode())
        self._renewed = time.monotonic()

    def _remove(self) -> None:
        # A pin that stays only keeps chunks longer, so this is no reason to call a saved snapshot failed.
        with contextlib.suppress(StoreError):
            self._store.delete(self._key)

    def _wait_for_sweep(self) -> None:
        seen, since = b"", time.monotonic()
        while True:
            try:
                now = self._store.get(self._sweep)
            except NotFound:
                return
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > SWEEP_SILENCE:
                self._store.delete(self._sweep)
                return
            time.sleep(_POLL)


class Sweep:
    """Held by whoever removes chunks. `begin` is False when a snapshot or another sweep is under way."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._key = f"{task_prefix(prefix)}sweeping.json"
        self._pins = f"{task_prefix(prefix)}pins/"
        self._token = secrets.token_hex(8)
        self._count = 0
        self._renewed = 0.0
        self._held = False

    def begin(self) -> bool:
        try:
            self._store.put(self._key, self._content(), if_absent=True)
        except AlreadyExists:
            self._remove_dead_sweep()
            return False
        self._held, self._renewed = True, time.monotonic()
        if self._is_pinned():
            self.end()
            return False
        return True

    def may_go_on(self) -> bool:
        """Asked before each batch of removals; False when somebody pinned, or may have taken this sweep for dead."""
        if not self.fresh or self._is_pinned():
            return False
        try:
            if json.loads(self._store.get(self._key)).get("token") != self._token:
                return False
        except (NotFound, ValueError):
            return False
        self._store.put(self._key, self._content())
        self._renewed = time.monotonic()
        return True

    @property
    def fresh(self) -> bool:
        """Asked before each removal."""
        return time.monotonic() - self._renewed <= _SWEEP_OWN_LIMIT

    def end(self) -> None:
        if not self._held:
            return
        self._held = False
        try:
            mine = json.loads(self._store.get(self._key)).get("token") == self._token
        except (NotFound, ValueError):
            return
        if mine:
            self._store.delete(self._key)

    def _content(self) -> bytes:
        self._count += 1
        return json.dumps({"token": self._token, "count": self._count, "renewed": time.time()}).encode()

    def _is_pinned(self) -> bool:
        pinned = False
        for key in self._store.list(self._pins):
            if self._age(key) > PIN_LIFE:
                self._store.delete(key)
            else:
                pinned = True
        return pinned

    def _remove_dead_sweep(self) -> None:
        """Leaves the removal of chunks to the next sweep. Judged by wall-clock time, hence an hour's allowance for clocks."""
        if self._age(self._key) > PIN_LIFE:
            self._store.delete(self._key)

    def _age(self, key: str) -> float:
        try:
            return time.time() - float(json.loads(self._store.get(key))["renewed"])
        except NotFound:
            return 0.0
        except (ValueError, KeyError, TypeError):
            return PIN_LIFE + 1  # damaged: nobody can renew it, since renewing replaces it whole
        except StoreError as failure:
            if failure.kind is StoreFault.DAMAGED:
                return PIN_LIFE + 1
            raise
