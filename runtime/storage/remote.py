"""What stores behind a network have in common: a prefix, patience, and what a lost answer means.

A store is the few requests its protocol has (`Requests`); everything else of `ConditionalStore` follows here, once:

- An attempt that may do better next time (`Again`) is made again after `PAUSES`, then the store counts as unreachable. The client
  libraries' own retries are off: they are random, and they would hide that an answer was lost.
- A conditional write whose answer was lost is looked up before it is called a failure, because the second attempt would be refused by
  what the first one wrote.
- A file that is fetched takes its name when it is whole and synced.
- Where rights end at a prefix, what is not there is refused and not answered: nobody may learn that it is not. A list of what may be
  listed tells which of both it was.
"""

from __future__ import annotations

import abc
import enum
import io
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from .base import AlreadyExists, Changed, Machine, NotFound, StoreError, StoreFault, Version, check_key, store_error
from .file import sync_directory

PAUSES: tuple[float, ...] = (0.2, 1.0, 3.0)
"""Seconds before the second, third, … attempt."""
AT_ONCE = 64 << 20
"""Bytes. A larger file is sent in parts."""
BLOCK = 1 << 20

T = TypeVar("T")


class Again(Exception):
    """This attempt failed in a way that another may not; whether it had an effect is not known. Its text says what happened."""


class Whatever(enum.Enum):
    """The condition of a write that has none."""

    IS_THERE = 0


IS_THERE: Final = Whatever.IS_THERE
Condition = str | None | Whatever
"""A tag: of what is to be replaced. None: there is nothing."""


class RemoteStore(abc.ABC):
    """See the module. May be shared by threads. Names are keys with the prefix; every request raises `Again` or StoreError."""

    rights_take: float = 300.0
    """Seconds until a right that was just given counts, at most: how long a machine that was just made is refused what it may have."""

    def __init__(self, place: str, prefix: str = "", machine: Machine | None = None) -> None:
        """`place`: the bucket as a URI, for messages and for `uri`. `machine`: who opens it, where that is no person."""
        self.place = place
        self.machine = machine
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    # What a protocol has.

    @property
    @abc.abstractmethod
    def uri(self) -> str:
        """Opens the same store again."""

    @abc.abstractmethod
    def _send(self, name: str, content: BinaryIO, size: int, condition: Condition) -> str:
        """Write an object of so many bytes, whole. Its tag. Raises Changed, or NotFound, where the condition does not hold."""

    @abc.abstractmethod
    def _fetch(self, name: str, into: BinaryIO) -> tuple[str, float]:
        """Write the object's bytes there; its tag and its age by the store's clock. Raises NotFound; an answer that was cut off is
        `Again`, never a short object."""

    @abc.abstractmethod
    def _measure(self, name: str) -> int:
        """Its size. Raises NotFound."""

    @abc.abstractmethod
    def _page(self, start: str, token: str) -> tuple[list[str], str]:
        """Names that begin with `start`, sorted by their UTF-8 bytes, and the token of the next page; empty at the end."""

    @abc.abstractmethod
    def _erase(self, name: str) -> None:
        """Raises NotFound, or nothing, for one that is not there."""

    # What follows from it.

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if not if_absent:
            self._write(key, data, IS_THERE)
            return
        try:
            self._write(key, data, None)
        except Changed:
            raise AlreadyExists(f"{self._shown(key)} exists already.") from None

    def put_file(self, key: str, path: Path) -> None:
        name = self._key(key)

        def attempt(file: BinaryIO) -> None:
            file.seek(0)
            self._send(name, file, os.fstat(file.fileno()).st_size, IS_THERE)

        try:
            with path.open("rb") as file:
                self._patiently(lambda: attempt(file))
        except OSError as failure:
            raise store_error(failure, str(path)) from failure

    def get(self, key: str) -> bytes:
        return self.read(key).data

    def get_file(self, key: str, path: Path) -> None:
        name = self._key(key)
        temporary = path.with_name(f".{path.name[:200]}.skyc-{secrets.token_hex(6)}")

        def attempt() -> None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                self._told(name, lambda: self._fetch(name, file))
                file.flush()
                os.fsync(file.fileno())

        try:
            self._patiently(attempt)
            temporary.rename(path)
            sync_directory(path.parent)
        except OSError as failure:
            raise store_error(failure, str(path)) from failure
        finally:
            temporary.unlink(missing_ok=True)

    def size(self, key: str) -> int | None:
        name = self._key(key)
        try:
            return self._patiently(lambda: self._told(name, lambda: self._measure(name)))
        except NotFound:
            return None

    def list(self, prefix: str) -> Iterator[str]:
        token = ""
        while True:
            names, token = self._patiently(lambda: self._page(self.prefix + prefix, token))  # noqa: B023 - called at once
            for name in names:
                yield name.removeprefix(self.prefix)
            if not token:
                return

    def delete(self, key: str) -> None:
        name = self._key(key)
        try:
            self._patiently(lambda: self._told(name, lambda: self._erase(name)))
        except NotFound:
            return

    def read(self, key: str) -> Version:
        name = self._key(key)

        def attempt() -> Version:
            whole = io.BytesIO()
            tag, age = self._told(name, lambda: self._fetch(name, whole))
            return Version(data=whole.getvalue(), tag=tag, age=max(0.0, age))

        return self._patiently(attempt)

    def swap(self, key: str, data: bytes, tag: str | None) -> str:
        return self._write(key, data, tag)

    def _write(self, key: str, data: bytes, condition: Condition) -> str:
        name = self._key(key)
        lost = False

        def attempt() -> str:
            nonlocal lost
            try:
                return self._send(name, io.BytesIO(data), len(data), condition)
            except Again:
                lost = True
                raise
            except (Changed, NotFound):
                if condition is IS_THERE:
                    raise
                # What stands in the way may be what the attempt before has written.
                if lost and (there := self._found(key)) is not None and there.data == data:
                    return there.tag
                raise Changed(f"{self._shown(key)} is not what was read before.") from None

        return self._patiently(attempt)

    def _told(self, name: str, ask: Callable[[], T]) -> T:
        """See the module. Raises what `ask` raises, or NotFound."""
        try:
            return ask()
        except StoreError as refusal:
            if refusal.kind is not StoreFault.DENIED:
                raise
            try:
                names, _ = self._page(name, "")
            except StoreError:
                raise refusal from None
            if name in names:
                raise
            raise NotFound(f"{self.place}/{name} does not exist.") from None

    def _found(self, key: str) -> Version | None:
        try:
            return self.read(key)
        except NotFound:
            return None

    def _key(self, key: str) -> str:
        return check_key(self.prefix + check_key(key))

    def _shown(self, key: str) -> str:
        return f"{self.place}/{self.prefix}{key}"

    def _patiently(self, attempt: Callable[[], T]) -> T:
        for pause in (*PAUSES, None):
            try:
                return attempt()
            except Again as failure:
                if pause is None:
                    said = f"{self.place}: {failure} ({len(PAUSES) + 1} attempts)."
                    raise StoreError(StoreFault.UNREACHABLE, said) from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


__all__ = ["AT_ONCE", "BLOCK", "IS_THERE", "PAUSES", "Again", "Condition", "RemoteStore", "Whatever"]
