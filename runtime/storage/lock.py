"""A lock on a path, held by one thread of one process on this machine; the kernel frees it when its holder dies.

Record locks (`lockf`) are used and not `flock`, because a child that a training process forks would inherit an `flock` and hold
it for its whole life. Record locks do not exclude threads of one process from each other, hence the second, in-process lock.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType

_guard = threading.Lock()
_held: dict[str, threading.Lock] = {}


class FileLock:
    """`with FileLock(path): …` waits for the lock. The file is created (mode 0600) and left there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        key = os.path.realpath(path)
        with _guard:
            self._threads = _held.setdefault(key, threading.Lock())
        self._file = -1

    def acquire(self, *, wait: bool = True) -> bool:
        """False only when it is taken and `wait` is false. Raises OSError when the file cannot be opened."""
        if not self._threads.acquire(blocking=wait):
            return False
        try:
            # The descriptor is opened under the in-process lock: closing any other one would drop this process's record lock.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BaseException:
                os.close(file)
                raise
        except BlockingIOError:
            self._threads.release()
            return False
        except BaseException:
            self._threads.release()
            raise
        self._file = file
        return True

    def release(self) -> None:
        os.close(self._file)
        self._file = -1
        self._threads.release()

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
