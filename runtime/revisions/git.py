"""Revisions of a git repository, read through git's plumbing.

Contract
- Nothing is changed: no checkout, no index refreshed, no object written, nothing fetched. What is read is where git keeps it.
- A revision is a `Snapshot`: path → mode and blob id. Equal ids are equal contents, so most of a comparison reads no file at all.
- The working tree is a snapshot too: the index, and instead of what differs from it the files as they are, untracked ones included,
  ignored ones not. Their ids are what git would give them (`hash-object` without `-w`), so that they compare with committed ones.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...compiler.diagnostics import SkycError, error

LINK, SUBMODULE = "120000", "160000"
_NOT_OURS = frozenset({"GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_TRACE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS"})
"""Variables that would make git answer something else than what is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a snapshot. `id`: of its blob; empty for what git could not name (a submodule with changes of its own)."""

    mode: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`label`: what the user calls it. commit: its full id; None for the working tree. `disk`: paths whose contents are in the
    working tree and in no object."""

    label: str
    commit: str | None
    entries: Mapping[str, Entry] = field(repr=False)
    disk: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """`root`: the top of the working tree. `prefix`: the directory that was asked from, relative to it: `""`, or ending in `/`."""

    root: Path
    prefix: str
    environ: Mapping[str, str] = field(repr=False)

    def commit(self, revision: str) -> str:
        """The full id of a commit. Raises SkycError (`unknown-revision`)."""
        if revision and not revision.startswith("-"):
            done = self._run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", may_fail=True)
            if done.returncode == 0:
                return done.stdout.decode().strip()
        raise _unknown(self, revision)

    def merge_base(self, one: str, other: str, *, shown: str) -> str:
        """The commit two others have grown from. Raises SkycError (`no-merge-base`)."""
        done = self._run("merge-base", one, other, may_fail=True)
        if done.returncode == 0:
            return done.stdout.decode().split()[0]
        shallow = self.is_shallow
        why = " This clone is shallow: the commit they have in common was not fetched." if shallow else ""
        raise SkycError(
            error(
                "no-merge-base",
                "The two revisions have no commit in common",
                f"`{shown}` and what it is compared with have no common ancestor here.{why}",
                hint="fetch the whole history (`fetch-depth: 0` for actions/checkout, `GIT_DEPTH: 0` at GitLab), or compare with the "
                "revision itself: --exact"
                if shallow
                else "compare with the revision itself: --exact",
                commands=("git fetch --unshallow",) if shallow else (),
            )
        )

    @property
    def is_shallow(self) -> bool:
        return self._run("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"

    def has(self, revision: str) -> bool:
        return self._run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", may_fail=True).returncode == 0

    def snapshot(self, commit: str, *, label: str) -> Snapshot:
        """A commit's files."""
        entries = {}
        for row in _rows(self._run("ls-tree", "-r", "-z", "--full-tree", commit).stdout):
            facts, _, path = row.partition("\t")
            mode, _, id_ = facts.split(" ")
            entries[path] = Entry(mode=mode, id=id_)
        return Snapshot(label=label, commit=commit, entries=entries)

    def working_tree(self) -> Snapshot:
        """The files as they are now."""
        entries: dict[str, Entry] = {}
        for row in _rows(self._run("ls-files", "-s", "-z").stdout):
            facts, _, path = row.partition("\t")
            mode, id_, _ = facts.split(" ")
            entries[path] = Entry(mode=mode, id=id_)
        changed = set(_rows(self._run("diff-files", "-z", "--name-only").stdout))
        changed |= set(_rows(self._run("ls-files", "-o", "-z", "--exclude-standard").stdout))
        disk, links = [], []
        for path in sorted(changed):
            place = self.root / path
            known = entries.pop(path, None)
            if place.is_symlink():
                links.append(path)
            elif place.is_file():
                disk.append(path)
            elif place.is_dir() and known is not None and known.mode == SUBMODULE:
                entries[path] = Entry(mode=SUBMODULE, id="")
        for path, id_ in zip(disk, self._hashes(disk), strict=True):
            executable = (self.root / path).stat().st_mode & 0o100
            entries[path] = Entry(mode="100755" if executable else "100644", id=id_)
        for path in links:
            target = os.fsencode((self.root / path).readlink())
            id_ = self._run("hash-object", "-t", "blob", "--stdin", feed=target).stdout.decode().strip()
            entries[path] = Entry(mode=LINK, id=id_)
        return Snapshot(label="working tree", commit=None, entries=entries, disk=frozenset((*disk, *links)))

    def read(self, snapshot: Snapshot, paths: Iterable[str]) -> dict[str, bytes]:
        """Contents of files of a snapshot, all at once. A link's content is where it leads."""
        wanted = sorted(set(paths))
        found: dict[str, bytes] = {}
        for path in wanted:
            if path in snapshot.disk:
                place = self.root / path
                found[path] = os.fsencode(place.readlink()) if place.is_symlink() else _content(place)
        rest = [path for path in wanted if path not in found and snapshot.entries[path].mode != SUBMODULE]
        contents = self._blobs([snapshot.entries[path].id for path in rest])
        return found | dict(zip(rest, contents, strict=True))

    def _hashes(self, paths: Sequence[str]) -> list[str]:
        """The blob ids of files of the working tree, through git's own filters."""
        # A line that begins with a quote is taken for a quoted path.
        plain = [path for path in paths if "\n" not in path and not path.startswith('"')]
        feed = "".join(f"{path}\n" for path in plain).encode("utf-8", "surrogateescape")
        lines = self._run("hash-object", "--stdin-paths", feed=feed).stdout.decode().split() if plain else []
        known = dict(zip(plain, lines, strict=True))
        for path in set(paths) - set(plain):
            known[path] = self._run("hash-object", "--", path).stdout.decode().strip()
        return [known[path] for path in paths]

    def _blobs(self, ids: Sequence[str]) -> Iterator[bytes]:
        if not ids:
            return
        answer = self._run("cat-file", "--batch", feed="".join(f"{id_}\n" for id_ in ids).encode()).stdout
        place = 0
        for id_ in ids:
            end = answer.index(b"\n", place)
            head = answer[place:end].split()
            if head[-1] == b"missing":
                raise SkycError(
                    error(
                        "git-failed",
                        "git could not be read",
                        f"The object {id_} is not in this clone, and a diff fetches nothing.",
                        hint="clone without `--filter`, or fetch what is missing first",
                    )
                )
            size = int(head[2])
            yield answer[end + 1 : end + 1 + size]
            place = end + 1 + size + 1

    def _run(self, *words: str, feed: bytes | None = None, may_fail: bool = False) -> subprocess.CompletedProcess[bytes]:
        done = _git(self.root, words, self.environ, feed)
        if done.returncode != 0 and not may_fail:
            raise _failed(words[0], done.stderr)
        return done


def open_repository(directory: Path, environ: Mapping[str, str]) -> Repository:
    """The repository around a directory. Raises SkycError: no git, no repository, or one that git refuses to read."""
    kept = {name: value for name, value in environ.items() if name not in _NOT_OURS}
    # Locks are for git's own bookkeeping, which is left alone; nobody can be asked for a password; messages are read by us.
    quiet = {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    done = _git(directory, ("rev-parse", "--show-toplevel", "--show-prefix"), quiet)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        if "not a git repository" not in said and "work tree" not in said:
            raise _failed("rev-parse", done.stderr)
        raise SkycError(
            error(
                "not-a-repository",
                "There is no git repository here",
                f"{directory} is in no working tree of git's, and a diff compares two revisions of one.",
                hint="run it in the repository that holds the task files",
            )
        )
    top, _, prefix = os.fsdecode(done.stdout).removesuffix("\n").partition("\n")
    return Repository(root=Path(top), prefix=prefix, environ=quiet)


def _git(
    directory: Path, words: Sequence[str], environ: Mapping[str, str], feed: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        # No pager, no hook, no file system monitor of the repository's: none of its programs is started.
        options = ("--no-pager", "-c", "core.fsmonitor=false", "-c", "core.quotepath=false")
        return subprocess.run(["git", *options, *words], cwd=directory, env=environ, input=feed or b"", capture_output=True)
    except FileNotFoundError as failure:
        if failure.filename != "git":
            raise
        raise SkycError(
            error("git-missing", "git is not installed", "A diff reads revisions with git.", hint="install git")
        ) from None


def _rows(output: bytes) -> Iterator[str]:
    """Records of a `-z` answer."""
    return (os.fsdecode(row) for row in output.split(b"\0") if row)


def _content(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as failure:
        detail = f"{failure.filename}: {failure.strerror}."
        raise SkycError(error("unreadable-file", "A file of the working tree cannot be read", detail)) from None


def _failed(command: str, said: bytes) -> SkycError:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    detail = f"`git {command}` said: {' '.join(line.strip() for line in lines[:4]) or 'nothing'}"
    owner = "dubious ownership" in detail
    hint = "tell git that the directory is yours: `git config --global --add safe.directory DIR`" if owner else None
    return SkycError(error("git-failed", "git could not be read", detail, hint=hint))


def _unknown(repository: Repository, revision: str) -> SkycError:
    detail = f"git knows no commit `{revision}` here."
    hint = "name a branch, a tag or a commit"
    commands: tuple[str, ...] = ()
    if "..." in revision or ".." in revision:
        hint = "write the two revisions as two words: skyc diff BASE HEAD"
    elif revision and not revision.startswith("-") and repository.has(f"origin/{revision}"):
        detail += f" The branch is there as `origin/{revision}`."
        hint = f"write `origin/{revision}`"
    elif repository.is_shallow:
        detail += " This clone is shallow: older commits and other branches were not fetched."
        hint = "fetch the whole history: `fetch-depth: 0` for actions/checkout, `GIT_DEPTH: 0` at GitLab"
        commands = ("git fetch --unshallow",)
    return SkycError(error("unknown-revision", "A revision is not known", detail, hint=hint, commands=commands))
