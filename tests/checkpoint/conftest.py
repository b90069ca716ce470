"""Directories as comparable values, and stores that fail or end the process at a chosen operation."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skyc.runtime.storage.base import Store
from skyc.runtime.storage.file import FileStore

PREFIX = "checkpoints/d1/train/run-1"

Tree = dict[str, tuple[int, int, bytes | str | None]]
"""Relative path → (mode, modification time in ns, content; a link's target; None for a directory)."""


def tree_of(root: Path) -> Tree:
    found: Tree = {}
    for path in [root, *sorted(root.rglob("*"))]:
        facts = path.lstat()
        name = os.fsdecode(path.relative_to(root))
        if path.is_symlink():
            found[name] = (0, 0, os.fsdecode(path.readlink()))
        elif path.is_file():
            found[name] = (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns, path.read_bytes())
        else:
            found[name] = (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns, None)
    return found


class Tapped:
    """A store that calls `tap(operation, key)` before each operation and `after` after it."""

    def __init__(
        self, inner: Store, tap: Callable[[str, str], None], *, after: Callable[[str, str], None] | None = None
    ) -> None:
        self.inner, self._tap, self._after = inner, tap, after or (lambda operation, key: None)

    @property
    def uri(self) -> str:
        return self.inner.uri

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._tap("put", key)
        self.inner.put(key, data, if_absent=if_absent)
        self._after("put", key)

    def get(self, key: str) -> bytes:
        self._tap("get", key)
        data = self.inner.get(key)
        self._after("get", key)
        return data

    def size(self, key: str) -> int | None:
        self._tap("size", key)
        size = self.inner.size(key)
        self._after("size", key)
        return size

    def list(self, prefix: str) -> Iterator[str]:
        self._tap("list", prefix)
        yield from self.inner.list(prefix)
        self._after("list", prefix)

    def delete(self, key: str) -> None:
        self._tap("delete", key)
        self.inner.delete(key)
        self._after("delete", key)

    def put_file(self, key: str, path: Path) -> None:
        self._tap("put_file", key)
        self.inner.put_file(key, path)

    def get_file(self, key: str, path: Path) -> None:
        self._tap("get_file", key)
        self.inner.get_file(key, path)


class Countdown:
    """Calls `act` at the n-th call (counting from 1), from whichever thread makes it."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self._left, self._act = number, act
        self._guard = threading.Lock()

    def __call__(self, operation: str, key: str) -> None:
        with self._guard:
            self._left -= 1
            if self._left == 0:
                self._act()


def killed_at(number: int, store: Store, work: Callable[[Store], object]) -> bool:
    """Run `work` in a child process that ends at once, without any cleanup, at the n-th moment between two store operations.

    False when `work` ended before that many moments. Fails when `work` failed.
    """
    child = os.fork()
    if child == 0:
        code = 3
        try:
            moment = Countdown(number, lambda: os._exit(9))
            work(Tapped(store, moment, after=moment))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), f"the child failed with {code}"
    return code == 9


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "node/ckpt"
    path.mkdir(parents=True)
    return path
