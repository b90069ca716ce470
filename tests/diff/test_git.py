"""Snapshots: the working tree's is the one git itself would commit, whatever state it is in, and reading changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.diff.repository import AUTHOR, Repo

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.revisions.git import SUBMODULE, Entry, Repository, Snapshot, open_repository

NAMES = ("a", "b.yaml", "dir/c", "dir/d e", "ü.txt", "new\nline", '"quoted"')
FILE = st.one_of(
    st.tuples(st.just("file"), st.sampled_from(["", "x\n", "y\n", "two\r\nlines\r\n"]), st.booleans()),
    st.tuples(st.just("link"), st.sampled_from(["a", "../out", "nowhere"]), st.just(False)),
    st.just(None),
)
TREE = st.dictionaries(st.sampled_from(NAMES), FILE, min_size=1)


def opened(repo: Repo) -> Repository:
    return open_repository(repo.root, {**os.environ, **AUTHOR})


def lay(root: Path, tree: dict[str, tuple[str, str, bool] | None]) -> None:
    for name, made in tree.items():
        place = root / name
        if place.is_symlink() or place.exists():
            place.unlink()
        if made is None:
            continue
        kind, text, executable = made
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            place.symlink_to(text)
        else:
            place.write_bytes(text.encode())
            place.chmod(0o755 if executable else 0o644)


def committed(repo: Repo) -> Snapshot:
    """What git commits of the working tree, found out in a copy."""
    copy = repo.root.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(repo.root, copy, symlinks=True)
    twin = Repo(copy)
    return opened(twin).snapshot(twin.commit(), label="x")


@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=TREE, staged=TREE, then=TREE, attributes=st.booleans())
def test_the_working_tree_is_what_git_would_commit(
    tmp_path: Path,
    first: dict[str, tuple[str, str, bool] | None],
    staged: dict[str, tuple[str, str, bool] | None],
    then: dict[str, tuple[str, str, bool] | None],
    attributes: bool,
) -> None:
    shutil.rmtree(tmp_path / "repo", ignore_errors=True)
    repo = Repo(tmp_path / "repo")
    if attributes:
        repo.put({".gitattributes": "*.yaml text eol=lf\na text\n"})
    repo.put({".gitignore": "ignored\n", "ignored": "1"})
    lay(repo.root, first)
    repo.commit()
    lay(repo.root, staged)
    repo.git("add", "--all")
    lay(repo.root, then)
    index = (repo.root / ".git" / "index").read_bytes()
    found = opened(repo).working_tree()
    assert (repo.root / ".git" / "index").read_bytes() == index
    expected = committed(repo)
    assert dict(found.entries) == dict(expected.entries)
    assert "ignored" not in found.entries
    # Contents too, but for what filters change on the way in, which a diff of ids has taken care of.
    if not attributes:
        mine, theirs = opened(repo), opened(Repo(tmp_path / "copy"))
        assert mine.read(found, found.entries) == theirs.read(expected, expected.entries)


def test_names_that_git_quotes(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    repo.commit({"a": "1\n"})
    repo.put({'"quoted"': "1\n", "new\nline": "2\n", "-dash": "3\n", "b\\c": "4\n", "ü": "5\n"})
    found = opened(repo).working_tree()
    assert dict(found.entries) == dict(committed(repo).entries)
    assert opened(repo).read(found, ['"quoted"', "-dash"]) == {'"quoted"': b"1\n", "-dash": b"3\n"}


def test_a_file_that_becomes_a_folder_and_a_merge_that_is_not_finished(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    repo.commit({"a": "1\n", "b": "1\n"})
    repo.git("checkout", "-q", "-b", "other")
    repo.commit({"a": "2\n"})
    repo.git("checkout", "-q", "main")
    repo.commit({"a": "3\n"})
    with pytest.raises(subprocess.CalledProcessError):
        repo.git("merge", "other")
    repo.put({"b": None, "b/c": "1\n"})
    found = opened(repo).working_tree()
    assert dict(found.entries) == dict(committed(repo).entries)
    assert b"<<<<<<<" in opened(repo).read(found, ["a"])["a"]


def test_a_submodule_is_no_file(tmp_path: Path) -> None:
    inner = Repo(tmp_path / "inner")
    inner.commit({"x.yaml": "run: echo\n"})
    repo = Repo(tmp_path / "repo")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.root), "sub")
    base = repo.commit()
    (repo.root / "sub" / "x.yaml").write_text("changed\n")
    mine = opened(repo)
    assert mine.working_tree().entries["sub"] == Entry(mode=SUBMODULE, id="")
    assert mine.read(mine.snapshot(base, label="x"), ["sub"]) == {}


def test_what_is_not_in_this_clone_is_not_fetched(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    base = repo.commit({"a.yaml": "run: echo 1\n"})
    blob = repo.git("rev-parse", "HEAD:a.yaml").strip()
    (repo.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    mine = opened(repo)
    with pytest.raises(SkycError) as failure:
        mine.read(mine.snapshot(base, label="x"), ["a.yaml"])
    assert failure.value.diagnostics[0].slug == "git-failed"


def test_a_worktree_and_a_folder_in_it(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    repo.commit({"deep/down/a": "1\n"})
    repo.git("worktree", "add", "-q", str(tmp_path / "other"), "-b", "other")
    found = open_repository(tmp_path / "other" / "deep" / "down", dict(os.environ))
    assert (found.root, found.prefix) == (tmp_path / "other", "deep/down/")
    # Variables of a hook that git itself started name the repository, and a wrong index is none of a diff's business.
    found = open_repository(repo.root, {**os.environ, "GIT_INDEX_FILE": str(tmp_path / "nonsense")})
    assert list(found.working_tree().entries) == ["deep/down/a"]


def test_without_git(tmp_path: Path) -> None:
    with pytest.raises(SkycError) as failure:
        open_repository(tmp_path, {"PATH": str(tmp_path)})
    assert failure.value.diagnostics[0].slug == "git-missing"
