"""Notices renames into a checkpoint directory, and whether anything below it is half-written (Linux, inotify).

`poll` the descriptor, then `drain`. A file is half-written from its first write until it is closed. A file that was open before
the watch began, or in a directory younger than its watch, may be missed here; `writers.py` sees those.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x8, 0x40, 0x80
_CREATE, _DELETE, _OVERFLOW, _IGNORED, _ISDIR = 0x100, 0x200, 0x4000, 0x8000, 0x40000000
_ONLYDIR, _DONT_FOLLOW = 0x01000000, 0x02000000
_WANTED = _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLYDIR | _DONT_FOLLOW
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What happened since the last `drain`. `renamed`: the last name that was renamed into the directory itself, or empty.
    `while_writing`: a file that was half-written at the moment of that rename, or empty. `any`: anything at all.
    `lost`: events were dropped, so `renamed` may be incomplete."""

    renamed: str = ""
    while_writing: str = ""
    any: bool = False
    lost: bool = False


class TreeWatch:
    """Raises OSError when the system has no inotify, or no watch to spare."""

    def __init__(self, directory: Path) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._library, "inotify_init1"):
            raise OSError("this system cannot watch directories")
        self._root = directory
        self._paths: dict[int, str] = {}
        self._dirty: set[str] = set()
        self.descriptor = self._checked(self._library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            self._add("")
        except BaseException:
            os.close(self.descriptor)
            raise

    @property
    def half_written(self) -> frozenset[str]:
        """Paths below the directory, as of the last `drain`."""
        return frozenset(self._dirty)

    def close(self) -> None:
        os.close(self.descriptor)

    def drain(self) -> Activity:
        renamed, while_writing, anything, lost = "", "", False, False
        moved_from: dict[int, str] = {}
        for watch, mask, cookie, name in self._events():
            anything = True
            if mask & _OVERFLOW:
                lost = True
                continue
            if mask & _IGNORED:
                self._paths.pop(watch, None)
                continue
            base = self._paths.get(watch)
            if base is None or not name:
                continue
            path = f"{base}/{name}" if base else name
            if mask & _MOVED_TO:
                self._moved(moved_from.pop(cookie, ""), path, directory=bool(mask & _ISDIR))
                if not base:
                    renamed, while_writing = name, min(self._dirty, default="")
            elif mask & _MOVED_FROM:
                moved_from[cookie] = path
            else:
                self._changed(mask, path)
        for path in moved_from.values():
            self._forget(path)
        if lost:
            # Which files were closed is not known any more; `writers.py` still knows which are open.
            self._dirty.clear()
            self._add("")
        return Activity(renamed=renamed, while_writing=while_writing, any=anything, lost=lost)

    def _changed(self, mask: int, path: str) -> None:
        if mask & _MODIFY:
            self._dirty.add(path)
        elif mask & (_CLOSE_WRITE | _DELETE):
            self._dirty.discard(path)
        elif mask & _CREATE and mask & _ISDIR:
            self._add(path)

    def _moved(self, old: str, new: str, *, directory: bool) -> None:
        if old:
            self._dirty = {_renamed(path, old, new) for path in self._dirty if path != new}
            self._paths = {watch: _renamed(path, old, new) for watch, path in self._paths.items()}
        elif directory:
            self._add(new)
        else:
            self._dirty.discard(new)

    def _forget(self, gone: str) -> None:
        """Something was moved out. Its watches go with it: what happens there is no longer below the directory."""
        self._dirty = {path for path in self._dirty if not _is_at_or_below(path, gone)}
        for watch, path in list(self._paths.items()):
            if _is_at_or_below(path, gone):
                del self._paths[watch]
                self._library.inotify_rm_watch(self.descriptor, watch)

    def _add(self, base: str) -> None:
        place = self._root / base if base else self._root
        try:
            watch = self._checked(self._library.inotify_add_watch(self.descriptor, os.fsencode(place), _WANTED))
            self._paths[watch] = base
            with os.scandir(place) as entries:
                inner = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in inner:
            self._add(f"{base}/{name}" if base else name)

    def _events(self) -> Iterator[tuple[int, int, int, str]]:
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            while data:
                watch, mask, cookie, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                data = data[_EVENT.size + length :]
                yield watch, mask, cookie, os.fsdecode(name)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self._root))
        return result


def _is_at_or_below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _renamed(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if _is_at_or_below(path, old) else path
