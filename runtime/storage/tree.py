"""What is below a directory, as values, and the rules for what may be copied or saved.

Kept: regular files, directories, and symbolic links that stay inside. A link stays inside when its target, followed name by
name and followed for real, never leaves the directory; an absolute target inside is made relative, since the copy lives
elsewhere. A link that leaves, a socket, a pipe or a device is refused with an error that names it, because leaving it out
silently would give back less than was saved.
"""

from __future__ import annotations

import enum
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .base import StoreError, StoreFault, store_error


class EntryKind(enum.Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One thing below the root. `path`: relative, `/`-separated, `.` for the root itself. `mode`: permission bits.
    `target`: of a link, relative. `changed_ns` and `inode` tell whether it is still the same thing with the same content."""

    path: str
    kind: EntryKind
    mode: int
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0
    inode: int = 0
    target: str = ""


def walk(root: Path) -> tuple[TreeEntry, ...]:
    """Everything below `root` and the root itself, parents before children, sorted by path within a directory.

    Raises StoreError: DENIED for what cannot be read, INVALID for what is refused, CHANGING when something disappears
    meanwhile, NOT_FOUND when `root` does not exist.
    """
    try:
        real = Path(os.path.realpath(root, strict=True))
        return (_entry(real, ".", real.stat()), *_below(real, ""))
    except OSError as failure:
        raise _walk_error(failure, root) from failure


def _walk_error(failure: OSError, root: Path) -> StoreError:
    place = os.fsdecode(failure.filename or root)
    if isinstance(failure, FileNotFoundError) and os.path.lexists(root):
        return StoreError(StoreFault.CHANGING, f"{place} disappeared while {root} was read.")
    return store_error(failure, place)


def _below(root: Path, base: str) -> Iterator[TreeEntry]:
    with os.scandir(root / base) as found:
        names = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for item in names:
        path = f"{base}{item.name}"
        entry = _entry(root, path, item.stat(follow_symlinks=False))
        yield entry
        if entry.kind is EntryKind.DIRECTORY:
            yield from _below(root, f"{path}/")


def _entry(root: Path, path: str, facts: os.stat_result) -> TreeEntry:
    target, size = "", 0
    if stat.S_ISREG(facts.st_mode):
        kind, size = EntryKind.FILE, facts.st_size
    elif stat.S_ISDIR(facts.st_mode):
        kind = EntryKind.DIRECTORY
    elif stat.S_ISLNK(facts.st_mode):
        kind, target = EntryKind.LINK, _inside_target(root, path)
    else:
        raise StoreError(StoreFault.INVALID, f"{root / path} is a socket, pipe or device, which cannot be copied.")
    return TreeEntry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(facts.st_mode),
        size=size,
        modified_ns=facts.st_mtime_ns,
        changed_ns=facts.st_ctime_ns,
        inode=facts.st_ino,
        target=target,
    )


def _inside_target(root: Path, path: str) -> str:
    full = root / path
    target = os.fsdecode(full.readlink())
    above = path.rpartition("/")[0]
    refused = StoreError(
        StoreFault.INVALID, f"The symbolic link {full} points outside {root} (to {target}), so it cannot be kept."
    )
    if target.startswith("/"):
        inside = os.path.relpath(os.path.realpath(target), root)
        if not stays_inside(inside):
            raise refused
        return os.path.relpath(inside, above or ".")
    if not stays_inside(above, target) or not Path(os.path.realpath(full)).is_relative_to(root):
        raise refused
    return target


def stays_inside(*parts: str) -> bool:
    """Whether the joined relative path, read name by name, never goes above where it starts."""
    depth = 0
    for part in "/".join(parts).split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return False
    return not any(part.startswith("/") for part in parts)


def remove_tree(directory: Path) -> None:
    """Remove a directory and all below, also what its owner may not write to. What is not there is no error.

    Raises ValueError for a path that is not absolute, or is `/`: an empty path would mean wherever the process happens to run.
    """
    if not directory.is_absolute() or not directory.name:
        raise ValueError(f"refusing to remove {str(directory)!r}: not an absolute path of something below /")

    def unlock(
        function: Callable[..., object], name: str, failure: tuple[type[BaseException], BaseException, TracebackType]
    ) -> None:
        if isinstance(failure[1], FileNotFoundError):
            return
        if not isinstance(failure[1], PermissionError):
            raise failure[1]
        path = Path(name)
        if path == directory:
            raise failure[1]  # it is the directory above that forbids it, which is not ours to change
        path.parent.chmod(0o700)
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
            shutil.rmtree(path)
        else:
            path.unlink()

    if directory.is_symlink() or directory.is_file():
        directory.unlink()
    else:
        shutil.rmtree(directory, onerror=unlock)
