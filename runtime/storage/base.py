"""What a store is: named byte objects that are there whole or not at all.

Contract of every store, checked by `conformance.py`:

- `put` returns only when the object is durable in the store and every reader sees it whole; a reader never sees part of one;
- with `if_absent`, of any number of concurrent writers of one key exactly one returns and the others get `AlreadyExists`;
- `list` and `get` see every `put` and `delete` that returned before they were called, from any process;
- every failure is a `StoreError` whose `kind` says what a caller can do about it.

A `ConditionalStore` also replaces an object only if it is still the one that was read, so that of several writers none undoes what
it has not seen.

A key is one or more `/`-separated names, UTF-8, without empty, `.` or `..` parts. `open_store` turns a URI into a store.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable
from urllib.parse import unquote, urlsplit

from ...compiler.diagnostics import SkycError, error

MAX_KEY_BYTES = 1024
"""The smallest limit of the object stores skyc speaks to (S3's)."""


class StoreFault(enum.Enum):
    """Why an operation on a store or a copied tree failed."""

    NOT_FOUND = "not-found"
    ALREADY_EXISTS = "already-exists"
    DENIED = "denied"
    FULL = "full"
    UNREACHABLE = "unreachable"
    READ_ONLY = "read-only"
    DAMAGED = "damaged"
    CHANGING = "changing"
    CHANGED = "changed"
    INVALID = "invalid"


_SUMMARY = {
    StoreFault.NOT_FOUND: "A stored object does not exist",
    StoreFault.ALREADY_EXISTS: "A stored object exists already",
    StoreFault.DENIED: "Access to a storage place was denied",
    StoreFault.FULL: "A storage place is full",
    StoreFault.UNREACHABLE: "A storage place does not answer",
    StoreFault.READ_ONLY: "A storage place is read-only",
    StoreFault.DAMAGED: "Stored data is damaged",
    StoreFault.CHANGING: "Data kept changing while it was read",
    StoreFault.CHANGED: "A stored object was changed by somebody else",
    StoreFault.INVALID: "A storage request cannot be met",
}

_REMEDY = {
    StoreFault.DENIED: "Check who owns the place and its permissions.",
    StoreFault.FULL: "Free some space or choose a larger place, then try again.",
    StoreFault.UNREACHABLE: "Check that the place is mounted and reachable, then try again.",
    StoreFault.READ_ONLY: "Remount it writable or choose another place.",
    StoreFault.CHANGED: "Run the command again: it reads the object anew.",
    StoreFault.CHANGING: "Stop the process that writes there, then try again.",
}


class StoreError(SkycError):
    """A failed operation on a store. `missing_bytes`: with FULL, how much more room the operation needs, if known."""

    def __init__(self, kind: StoreFault, message: str, *, missing_bytes: int | None = None) -> None:
        remedy = _REMEDY.get(kind)
        detail = f"{message} {remedy}" if remedy else message
        super().__init__(error(f"storage-{kind.value}", _SUMMARY[kind], detail))
        self.kind = kind
        self.message = message
        self.missing_bytes = missing_bytes

    def __str__(self) -> str:
        return self.diagnostics[0].detail


class NotFound(StoreError):
    def __init__(self, message: str) -> None:
        super().__init__(StoreFault.NOT_FOUND, message)


class AlreadyExists(StoreError):
    def __init__(self, message: str) -> None:
        super().__init__(StoreFault.ALREADY_EXISTS, message)


class Changed(StoreError):
    """The object is not the one that was read; whoever wants to replace it must read it again."""

    def __init__(self, message: str) -> None:
        super().__init__(StoreFault.CHANGED, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A rented machine that opens a store as itself: it gets tokens from its cloud's metadata service, whatever credentials the
    environment holds. `identity`: which of its identities, where it can have several; empty: the only one."""

    identity: str = ""


@runtime_checkable
class Store(Protocol):
    """See the module for what every method promises. All methods may be called from several threads at once."""

    @property
    def uri(self) -> str:
        """Opens the same store again."""
        ...

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Store `data`, replacing what is there. With `if_absent`, raises AlreadyExists instead of replacing."""
        ...

    def get(self, key: str) -> bytes:
        """Raises NotFound."""
        ...

    def size(self, key: str) -> int | None:
        """In bytes; None when there is no such object."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that begins with `prefix` (a text prefix, as in object stores), sorted by its UTF-8 bytes."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object. One that is not there is no error."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """`put` from a local file, without holding it in memory."""
        ...

    def get_file(self, key: str, path: Path) -> None:
        """`get` into a local file, which appears whole, durable and with mode 0600 or not at all. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An object as it was read. `tag`: another one for other content. `age`: seconds since it was written, by the store's own
    clock, so that no reader's clock has a say."""

    data: bytes = field(repr=False)
    tag: str
    age: float


@runtime_checkable
class ConditionalStore(Store, Protocol):
    """A store for what several machines write. All writers of a key must use `swap`."""

    def read(self, key: str) -> Version:
        """Raises NotFound."""
        ...

    def swap(self, key: str, data: bytes, tag: str | None) -> str:
        """Replace the object if its tag is `tag`; None: make it if there is none. The new tag. Of any number of concurrent calls
        with one tag exactly one returns; the others raise Changed. A lost answer is found out: what was written was written."""
        ...


def check_key(key: str) -> str:
    """The key itself. Raises StoreError (INVALID) for one no store could hold."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in key or "\\" in key:
        raise StoreError(StoreFault.INVALID, f"{key!r} is not a storage key: its parts must be plain names.")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise StoreError(StoreFault.INVALID, f"{key!r} is not a storage key: it is not valid Unicode.") from None
    if len(encoded) > MAX_KEY_BYTES or any(len(part.encode()) > 255 for part in parts):
        raise StoreError(StoreFault.INVALID, f"A storage key of {len(encoded)} bytes is too long: {key[:60]!r}…")
    return key


_KINDS = {
    errno.ENOSPC: StoreFault.FULL,
    errno.EDQUOT: StoreFault.FULL,
    errno.EFBIG: StoreFault.FULL,
    errno.EROFS: StoreFault.READ_ONLY,
    errno.EACCES: StoreFault.DENIED,
    errno.EPERM: StoreFault.DENIED,
    errno.EIO: StoreFault.DAMAGED,
    errno.EUCLEAN: StoreFault.DAMAGED,
    errno.ENAMETOOLONG: StoreFault.INVALID,
    errno.EISDIR: StoreFault.INVALID,
    errno.ENOTDIR: StoreFault.INVALID,
    errno.ENOTEMPTY: StoreFault.INVALID,
    errno.EXDEV: StoreFault.INVALID,
    errno.ELOOP: StoreFault.INVALID,
    errno.ENOENT: StoreFault.NOT_FOUND,
}


def store_error(failure: OSError, place: str) -> StoreError:
    """The typed form of an operating system error met at `place`. Unlisted ones count as UNREACHABLE: worth another try."""
    kind = _KINDS.get(failure.errno or 0, StoreFault.UNREACHABLE)
    message = f"{place}: {failure.strerror or failure}."
    return NotFound(message) if kind is StoreFault.NOT_FOUND else StoreError(kind, message)


BUCKETS = frozenset({"az", "cos", "gs", "s3"})
"""Schemes of the clouds' own stores, which a machine there opens as itself."""
_SCHEMES = {
    "az": ("az", "AzStore"),
    "cos": ("cos", "CosStore"),
    "file": ("file", "FileStore"),
    "gs": ("gs", "GsStore"),
    "http": ("tfhttp", "HttpStore"),
    "https": ("tfhttp", "HttpStore"),
    "s3": ("s3", "S3Store"),
}
"""URI scheme → module of this package and its class, whose `from_uri` opens a store. A new store adds one line."""


class _StoreClass(Protocol):
    def from_uri(self, uri: str) -> Store: ...


class _BucketClass(Protocol):
    def from_uri(self, uri: str, machine: Machine | None) -> Store: ...


def open_store(uri: str, *, machine: Machine | None = None) -> Store:
    """The store a URI names, opened as who runs the program, or as the `machine` it runs on. Nothing is created or contacted yet. Raises
    SkycError for a URI no store understands."""
    scheme = urlsplit(uri).scheme
    if scheme not in _SCHEMES:
        known = ", ".join(f"`{name}://`" for name in sorted(_SCHEMES))
        raise SkycError(
            error(
                "unknown-storage-scheme",
                "This kind of storage is not supported",
                f"`{uri}` names the scheme `{scheme}`, which this skyc cannot open. It can open {known}.",
                hint="for a local directory write file:///absolute/path" if not scheme else None,
            )
        )
    module, name = _SCHEMES[scheme]
    # Imported by name so that a store's client library is loaded only when such a store is used.
    found = getattr(import_module(f".{module}", __package__), name)
    if scheme in BUCKETS:
        return cast(_BucketClass, found).from_uri(uri, machine)
    return cast(_StoreClass, found).from_uri(uri)


def file_uri_path(uri: str) -> Path:
    """The absolute path of a `file://` URI. Raises SkycError for one that names another host or no absolute path."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise SkycError(
            error(
                "bad-storage-uri",
                "This storage URI cannot be used",
                f"`{uri}` must have the form `file:///absolute/path`.",
            )
        )
    return Path(os.path.normpath(path))
