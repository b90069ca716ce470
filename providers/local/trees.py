"""Where a node's two directory trees lie, and their removal. The only module of this provider that deletes directories.

Contract: two kinds of path may ever be removed, and only through `remove_node_tree`:

    <home>/deployments/<deployment>/nodes/<name>        everything a node has
    /tmp/skyc-<10 hex digits>                           Ray's temporary directory (socket paths are limited to 107 bytes)

Invariants of a removal
- The path is absolute and of one of these forms, as text and after every symbolic link on the way to it was followed.
- It is a directory of this user, is no symbolic link, and does not hold the caller's working directory.
- Nothing is mounted in it: what is mounted is somebody else's, and a removal would go through.
- Links inside it are removed, never followed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from pathlib import Path

# Not tempfile.gettempdir(): a long TMPDIR would push Ray's socket paths over the kernel's 107 bytes.
TEMP_ROOT = Path("/tmp")  # noqa: S108

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")
_TEMP_NAME = re.compile(r"skyc-[0-9a-f]{10}")
_LAST = ("node.json", "owner.json")
_MOUNTS = Path("/proc/self/mountinfo")


class NotRemovable(Exception):
    """A path that is not a node's, or not safe to remove now. Nothing was removed."""


def is_plain_name(text: str) -> bool:
    """Whether a deployment or a node may be called this: one component of a path, in lower case."""
    return _NAME.fullmatch(text) is not None


def nodes_folder(home: Path, deployment: str) -> Path:
    """Where the nodes of a deployment lie. Raises ValueError for a home or a name that could lead anywhere else."""
    if not home.is_absolute() or ".." in home.parts or len(home.parts) < 2:
        raise ValueError(f"the home {str(home)!r} is not an absolute path below `/` without `..`")
    if not is_plain_name(deployment):
        raise ValueError(f"{deployment!r} is not of the form {_NAME.pattern}")
    return home / "deployments" / deployment / "nodes"


def node_directory(home: Path, deployment: str, name: str) -> Path:
    """A node's directory. Raises ValueError for a home or a name that could lead anywhere else."""
    folder = nodes_folder(home, deployment)
    if not is_plain_name(name):
        raise ValueError(f"{name!r} is not of the form {_NAME.pattern}")
    return folder / name


def new_temp_dir() -> str:
    """A path for one node's temporary directory that was never used."""
    return str(TEMP_ROOT / f"skyc-{secrets.token_hex(5)}")


def is_temp_dir(text: str) -> bool:
    """Whether this is, letter by letter, a path that `new_temp_dir` makes."""
    name = text.rpartition("/")[2]
    return _TEMP_NAME.fullmatch(name) is not None and text == f"{TEMP_ROOT}/{name}"


def check_node_tree(path: Path, home: Path) -> None:
    """Whether the path is one of a node of this home and may be removed, except for mounts. Changes nothing.

    Raises NotRemovable with the reason. A path that does not exist passes when its form does.
    """
    try:
        objection = _objection(path, home)
    except OSError as failure:
        objection = f"cannot be looked at: {failure}"
    if objection:
        raise NotRemovable(f"{str(path)!r} {objection}")


def _objection(path: Path, home: Path) -> str:
    if not path.is_absolute() or ".." in path.parts:
        return "is not an absolute path without `..`"
    if is_temp_dir(str(path)):
        real = TEMP_ROOT.resolve() / path.name
    elif _is_node_directory(path, home):
        real = home.resolve() / path.relative_to(home)
    else:
        return f"is neither the directory of a node below {home} nor a temporary directory that skyc makes"
    try:
        facts = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISLNK(facts.st_mode):
        return "is a symbolic link"
    if not stat.S_ISDIR(facts.st_mode):
        return "is not a directory"
    if facts.st_uid != os.getuid():
        return "belongs to another user"
    if path.resolve() != real:
        return f"leads to {path.resolve()} through a symbolic link"
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return ""
    return "holds the current directory; leave it first" if here.is_relative_to(real) else ""


def _is_node_directory(path: Path, home: Path) -> bool:
    if len(path.parts) < 5:
        return False
    try:
        return path == node_directory(home, path.parts[-3], path.parts[-1])
    except ValueError:
        return False


def remove_node_tree(path: Path, home: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Remove one of a node's trees; the record goes last, so that a removal cut short is found and finished later.

    `keep`: names directly in it that stay; the directory then stays too. What is gone already is fine.
    Raises NotRemovable, having removed nothing, and OSError for what the system refuses on the way.
    """
    check_node_tree(path, home)
    if not path.is_dir():
        return
    mounted = _mounts_in(path)
    if mounted:
        raise NotRemovable(f"{mounted[0]!r} is mounted; unmount it first")
    _make_writable(path)
    for entry in sorted(path.iterdir(), key=lambda entry: (entry.name in _LAST, entry.name)):
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not keep:
        path.rmdir()


def _mounts_in(path: Path) -> list[str]:
    """Mount points that are the path or lie below it."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return []
    real = os.fsencode(path.resolve())
    found = []
    for line in lines:
        # The kernel writes space, tab, newline and backslash as octal numbers.
        point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), line.split(b" ")[4])
        if point == real or point.startswith(real + b"/"):
            found.append(os.fsdecode(point))
    return sorted(found)


def _make_writable(path: Path) -> None:
    """A job may leave directories without write permission (Go's module cache does); open them, so they can be emptied."""
    for folder, names, _ in os.walk(path):
        for name in names:
            below = Path(folder, name)
            if not below.is_symlink() and below.stat().st_mode & 0o700 != 0o700:
                below.chmod(0o700)
