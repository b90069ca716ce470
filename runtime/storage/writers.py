"""Who is writing below a directory right now, as far as /proc tells: open descriptors and shared writable mappings.

Both matter to a snapshot. A file that is open for writing may be half-written. And writes through a mapping do not move the
file's times after the first one, so a mapped file can never be trusted to be unchanged.

Processes of other users cannot be looked into; `watch.py` sees their writes. Without /proc both functions say None: not known.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PROC = Path("/proc")


def mapped_inodes() -> frozenset[int] | None:
    """Inodes some process maps shared and writable. By inode alone, since layered file systems show other device numbers."""
    if not (_PROC / "self/maps").exists():
        return None
    found: set[int] = set()
    for process in _processes():
        with contextlib.suppress(OSError), (process / "maps").open("rb") as lines:
            for line in lines:
                fields = line.split(None, 5)
                if len(fields) == 6 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                    found.add(int(fields[4]))
    return frozenset(found)


def open_for_writing(directory: Path) -> frozenset[str] | None:
    """Paths below `directory` (which has no links in it) that some process has open for writing or maps writable."""
    if not (_PROC / "self/fdinfo").exists():
        return None
    start = f"{directory}/"
    found: set[str] = set()
    for process in _processes():
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(process / "fd"):
                with contextlib.suppress(OSError, ValueError, StopIteration):
                    target = os.fsdecode(Path(descriptor.path).readlink())
                    if target.startswith(start) and _is_writable(process / "fdinfo" / descriptor.name):
                        found.add(target)
            for line in (process / "maps").read_bytes().splitlines():
                fields = line.split(None, 5)
                if len(fields) == 6 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                    target = os.fsdecode(fields[5])
                    if target.startswith(start):
                        found.add(target)
    return frozenset(found)


def _processes() -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(_PROC) if entry.name.isdigit()]


def _is_writable(info: Path) -> bool:
    line = next(line for line in info.read_text().splitlines() if line.startswith("flags:"))
    return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
