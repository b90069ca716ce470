"""A directory as a store (`file:///absolute/path`): one file per object.

Invariants:

- An object appears by `link` or `rename` of a file that is complete and synced, and the directory entry is synced before `put`
  returns; so a kill or a power cut leaves the old object, the new one or none, and what `put` acknowledged stays.
- Writers work in `<root>/.skyc-incoming`, which is no key. Each holds a lock on its file there, so the leftovers of killed
  writers are known and are removed by the next writer.
- Directories are made with mode 0700 and objects with 0600. Symbolic links inside the root are not objects.

All of the root must be one file system with hard links. Conditional writes rest on `link`, which is atomic on NFS too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .base import AlreadyExists, Changed, NotFound, StoreError, StoreFault, Version, check_key, file_uri_path, store_error

INCOMING = ".skyc-incoming"
_SWAPPING = "swapping"
"""The file in `INCOMING` that `swap` locks. It stays: two processes must never lock two files of this name."""
_BLOCK = 1 << 20
_LEFTOVER_AGE = 60.0
"""Seconds. A writer locks its file right after creating it; younger files may be between the two."""


class FileStore:
    """See the module. `root` need not exist; the first `put` makes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False
        self._sweeping = threading.Lock()

    @classmethod
    def from_uri(cls, uri: str) -> FileStore:
        return cls(file_uri_path(uri))

    @property
    def uri(self) -> str:
        return self.root.as_uri()

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._put(key, lambda file: _write_all(file, data), if_absent)

    def put_file(self, key: str, path: Path) -> None:
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as failure:
            raise store_error(failure, str(path)) from failure
        try:
            self._put(key, lambda file: _pour(source, file), if_absent=False)
        finally:
            os.close(source)

    def get(self, key: str) -> bytes:
        file = self._open(key)
        try:
            with open(file, "rb") as content:  # noqa: PTH123 - a descriptor
                return content.read()
        except OSError as failure:
            raise store_error(failure, str(self._path(key))) from failure

    def get_file(self, key: str, path: Path) -> None:
        source = self._open(key)
        temporary = path.with_name(f".{path.name[:200]}.skyc-{secrets.token_hex(6)}")
        try:
            with _as_store_error(path):
                target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    _pour(source, target)
                    os.fsync(target)
                finally:
                    os.close(target)
                temporary.rename(path)
                sync_directory(path.parent)
        finally:
            os.close(source)
            temporary.unlink(missing_ok=True)

    def size(self, key: str) -> int | None:
        try:
            file = self._open(key)
        except NotFound:
            return None
        try:
            return os.fstat(file).st_size
        finally:
            os.close(file)

    def list(self, prefix: str) -> Iterator[str]:
        start = prefix.rpartition("/")[0]
        if prefix:
            check_key(prefix.rstrip("/") or "/")
        yield from self._walk(self.root / start if start else self.root, f"{start}/" if start else "", prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _as_store_error(path):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            sync_directory(path.parent)

    def read(self, key: str) -> Version:
        file = self._open(key)
        try:
            written = os.fstat(file).st_mtime
            with open(file, "rb") as content:  # noqa: PTH123 - a descriptor
                data = content.read()
        except OSError as failure:
            raise store_error(failure, str(self._path(key))) from failure
        return Version(data=data, tag=_tag(data), age=max(0.0, self._clock() - written))

    def swap(self, key: str, data: bytes, tag: str | None) -> str:
        path = self._path(key)
        with self._swapping():
            try:
                now = _tag(self.get(key))
            except NotFound:
                now = None
            if now != tag:
                raise Changed(f"{path} is not what was read before.")
            self.put(key, data, if_absent=tag is None)
        return _tag(data)

    @contextlib.contextmanager
    def _swapping(self) -> Iterator[None]:
        """Alone among all that swap in this store. The kernel ends it with the process."""
        place = self.root / INCOMING / _SWAPPING
        with _as_store_error(place):
            make_directories(place.parent)
            file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            finally:
                os.close(file)

    def _clock(self) -> float:
        """Now, as the file system dates files: on a network file system not this machine's clock."""
        try:
            file = os.open(self.root / INCOMING / _SWAPPING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return time.time()  # a store that may only be read
        try:
            os.utime(file)
            return os.fstat(file).st_mtime
        finally:
            os.close(file)

    def _path(self, key: str) -> Path:
        if check_key(key).split("/", 1)[0] == INCOMING:
            raise StoreError(StoreFault.INVALID, f"{key!r} is reserved for unfinished writes.")
        return self.root / key

    def _open(self, key: str) -> int:
        path = self._path(key)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path} does not exist.") from None
        except OSError as failure:
            raise store_error(failure, str(path)) from failure
        import stat

        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise NotFound(f"{path} is not a file.")
        return file

    def _put(self, key: str, write: Callable[[int], None], if_absent: bool) -> None:
        path = self._path(key)
        with _as_store_error(path):
            incoming = self.root / INCOMING
            make_directories(incoming)
            self._sweep(incoming)
            make_directories(path.parent)
            temporary = incoming / secrets.token_hex(12)
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                write(file)
                os.fsync(file)
                if if_absent:
                    try:
                        os.link(temporary, path)
                    except FileExistsError:
                        raise AlreadyExists(f"{path} exists already.") from None
                else:
                    temporary.rename(path)
                sync_directory(path.parent)
            finally:
                os.close(file)
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()

    def _sweep(self, incoming: Path) -> None:
        with self._sweeping:
            if self._swept:
                return
            self._swept = True
            oldest = time.time() - _LEFTOVER_AGE
            for entry in os.scandir(incoming):
                if entry.name == _SWAPPING:
                    continue
                with contextlib.suppress(OSError):  # somebody else's sweep, or a writer that has just ended
                    if entry.stat(follow_symlinks=False).st_mtime > oldest:
                        continue
                    file = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        Path(entry.path).unlink()
                    finally:
                        os.close(file)

    def _walk(self, directory: Path, base: str, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(directory))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as failure:
            raise store_error(failure, str(directory)) from failure
        found: list[tuple[bytes, str, bool]] = []
        for entry in entries:
            key = base + entry.name
            folder = entry.is_dir(follow_symlinks=False)
            if key == INCOMING or not (folder or entry.is_file(follow_symlinks=False)):
                continue
            # A directory sorts as its keys do: with the slash that follows its name.
            name = f"{key}/" if folder else key
            if name.startswith(prefix) or (folder and prefix.startswith(name)):
                found.append((os.fsencode(name), key, folder))
        for _, key, folder in sorted(found):
            if folder:
                yield from self._walk(self.root / key, f"{key}/", prefix)
            else:
                yield key


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def _as_store_error(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise store_error(failure, str(place)) from failure


def make_directories(directory: Path) -> None:
    """Make a directory and its parents (mode 0700), each entry synced. Raises OSError."""
    try:
        _make_directory(directory)
    except FileNotFoundError:
        make_directories(directory.parent)
        try:
            _make_directory(directory)
        except FileNotFoundError:
            # The parent is there: /proc and its like have no other word for "no directory is made here", which is EPERM (mkdir(2)).
            why = f"No directory can be made in {directory.parent}"
            raise PermissionError(errno.EPERM, why, str(directory)) from None


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{directory} is a file", str(directory)) from None
        return
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write_all(file: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _pour(source: int, target: int) -> None:
    while block := os.read(source, _BLOCK):
        _write_all(target, block)
