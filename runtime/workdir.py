"""Which files of a local tree go to the nodes, and what is in them.

Contract: a `Tree` lists regular files, links and directories below its root, and nothing else can be in it: a pipe, a socket or a
device is a mistake of the user's and is said before anything is made. Symbolic links are sent as links and never followed. The workdir
leaves out what `.skyignore` in its root names or, without that file, every `.gitignore` in it and `.git/info/exclude`, as SkyPilot does;
and plan files, which are about the task and no part of it, and are as secret as states.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.artifact import BEGINNING
from ..compiler.diagnostics import SkycError, error

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """`entries`: relative paths, sorted; a directory's ends in `/`. `contents`: of each entry, in one word that is equal only when
    mode and bytes are. A root that is a file has the one entry `""`."""

    root: Path
    entries: tuple[str, ...]
    contents: Mapping[str, str] = field(compare=False)

    @property
    def digest(self) -> str:
        seen = hashlib.sha256()
        for entry in self.entries:
            # Git's own files change with every `git status`, and directories alone change nothing a job is likely to see: neither
            # makes a task that has succeeded new.
            if not entry.endswith("/") and entry.split("/")[0] != ".git":
                seen.update(os.fsencode(entry) + b"\0" + os.fsencode(self.contents[entry]) + b"\0")
        return seen.hexdigest()


def workdir_tree(root: Path, avoid: Sequence[Path] = ()) -> Tree:
    """What of a workdir is sent. `avoid`: skyc's own directories, which a workdir may hold. Raises SkycError."""
    return _tree(root, _Ignored(root), [path.resolve() for path in avoid])


def source_tree(root: Path) -> Tree:
    """A local file or directory that is mounted: all of it. Raises SkycError."""
    return _tree(root, None, [])


def _tree(root: Path, ignored: _Ignored | None, avoid: Sequence[Path]) -> Tree:
    try:
        if not root.is_dir():
            return Tree(root=root, entries=("",), contents={"": _content(root, root.stat())})
        here = root.resolve()
        inside = {path.relative_to(here).as_posix() for path in avoid if path.is_relative_to(here)}
        contents = dict(_walk(root, "", ignored, inside))
    except OSError as failure:
        detail = f"{failure.filename or root}: {failure.strerror or failure}. The workdir and local file mounts are sent to the nodes."
        raise SkycError(error("source-unreadable", "A file of the task cannot be read", detail)) from failure
    return Tree(root=root, entries=tuple(sorted(contents)), contents=contents)


def _walk(root: Path, below: str, ignored: _Ignored | None, avoid: set[str]) -> Iterator[tuple[str, str]]:
    if ignored is not None:
        ignored.enter(below)
    with os.scandir(root / below) as listing:
        found = sorted(listing, key=lambda entry: entry.name)
    for entry in found:
        name = f"{below}{entry.name}"
        directory = entry.is_dir(follow_symlinks=False)
        shown = f"{name}/" if directory else name
        if name in avoid or (ignored is not None and ignored.covers(shown)):
            continue
        if directory:
            yield shown, "d"
            yield from _walk(root, shown, ignored, avoid)
        elif ignored is None or not _is_plan_file(entry):
            yield name, _content(Path(entry.path), entry.stat(follow_symlinks=False))


def _is_plan_file(entry: os.DirEntry[str]) -> bool:
    if not entry.is_file(follow_symlinks=False) or entry.stat(follow_symlinks=False).st_size < len(BEGINNING):
        return False
    with Path(entry.path).open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def _content(path: Path, facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return f"l {path.readlink()}"
    if not stat.S_ISREG(facts.st_mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
        raise SkycError(
            error(
                "special-file",
                "A pipe, socket or device cannot be sent to a node",
                f"{path} is {kinds.get(stat.S_IFMT(facts.st_mode), 'no ordinary file')}. Nodes get files, directories and links.",
                hint="remove it or, in a workdir, name it in `.skyignore`",
            )
        )
    executable = "x" if facts.st_mode & 0o100 else "-"
    return f"{executable} {_sha256(path, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)}"


@lru_cache(maxsize=1 << 16)
def _sha256(path: Path, *facts: int) -> str:
    """An apply looks at a workdir three times: to plan, to key its setup, to send it. A file as it was is read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Ignored:
    """The patterns that hold below one workdir. Directories are entered before what is in them is asked about."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_directory: dict[str, GitIgnoreSpec] = {}
        """Relative path of a directory (`""`, or ending in `/`) → its patterns."""
        own = _patterns(root / ".skyignore")
        self._git = own is None
        if own is not None:
            self._by_directory[""] = own

    def enter(self, directory: str) -> None:
        if not self._git:
            return
        excluded = _patterns(self._root / ".git" / "info" / "exclude") if directory == "" else None
        found = _patterns(self._root / directory / ".gitignore")
        if excluded is not None:
            # The later pattern wins, and a `.gitignore` counts for more.
            found = excluded if found is None else excluded + found
        if found is not None:
            self._by_directory[directory] = found

    def covers(self, path: str) -> bool:
        """Whether the last pattern of the nearest directory that says anything about it leaves it out."""
        parts = path.rstrip("/").split("/")
        for depth in range(len(parts) - 1, -1, -1):
            directory = "".join(f"{part}/" for part in parts[:depth])
            spec = self._by_directory.get(directory)
            said = spec.check_file(path.removeprefix(directory)).include if spec is not None else None
            if said is not None:
                return said
        return False


def _patterns(file: Path) -> GitIgnoreSpec | None:
    if not file.is_file():
        return None
    from pathspec import GitIgnoreSpec

    lines = file.read_text(errors="surrogateescape").splitlines()
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:
        # As git does: a line that is no pattern says nothing.
        return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
