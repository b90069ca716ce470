"""What of a workdir is sent, and what is taken back from a node when it is deleted at home."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.node import prune
from skyc.runtime.workdir import source_tree, workdir_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    for name in (
        "train.py",
        "data/big.bin",
        "data/small.csv",
        "data/keep/a.bin",
        "logs/1.log",
        "src/__pycache__/x.pyc",
        "src/x.py",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    return place


def files(root: Path) -> set[str]:
    return {entry for entry in workdir_tree(root).entries if not entry.endswith("/")}


def test_everything_is_sent_without_a_file_that_says_otherwise(root: Path) -> None:
    assert len(files(root)) == 7
    assert {"src/", "src/__pycache__/"} < set(workdir_tree(root).entries)


def test_gitignores_hold_below_their_directory_and_the_nearest_one_wins(root: Path) -> None:
    (root / ".gitignore").write_text("__pycache__/\n*.bin\n/logs\n!\n")
    (root / "data" / ".gitignore").write_text("!keep/*.bin\n")
    (root / ".git" / "info").mkdir(parents=True)
    (root / ".git" / "info" / "exclude").write_text("*.csv\n")
    expected = {"train.py", "data/keep/a.bin", "src/x.py", ".gitignore", "data/.gitignore", ".git/info/exclude"}
    assert files(root) == expected


def test_a_skyignore_takes_the_place_of_all_gitignores(root: Path) -> None:
    (root / ".gitignore").write_text("*\n")
    (root / "data" / ".gitignore").write_text("*\n")
    (root / ".skyignore").write_text("# large\ndata/*\n!data/small.csv\n")
    assert "train.py" in files(root)
    assert {name for name in files(root) if name.startswith("data/")} == {"data/small.csv"}


def test_what_is_left_out_does_not_make_a_task_new(root: Path) -> None:
    (root / ".skyignore").write_text("logs/\n")
    before = workdir_tree(root).digest
    (root / "logs" / "2.log").write_text("more")
    assert workdir_tree(root).digest == before
    (root / ".git").mkdir()
    (root / ".git" / "index").write_text("as `git status` leaves it")
    assert ".git/index" in files(root)
    assert workdir_tree(root).digest == before
    (root / "train.py").chmod(0o755)
    changed = workdir_tree(root).digest
    assert changed != before
    (root / "train.py").write_text("TRAIN.PY"[: len("train.py")])
    assert workdir_tree(root).digest not in (before, changed), "the same size is not the same content"


def test_skycs_own_directories_are_no_part_of_a_workdir(root: Path) -> None:
    home = root / ".skyc"
    (home / "deployments" / "d" / "nodes").mkdir(parents=True)
    assert not [entry for entry in workdir_tree(root, (home,)).entries if entry.startswith(".skyc")]
    assert workdir_tree(home, (root,)).entries, "a directory around the workdir is not part of it"


@pytest.mark.parametrize("kind", ["named pipe", "socket"])
def test_a_special_file_is_said_before_anything_is_made(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("odd")
    else:
        os.mkfifo("odd")
    for listing in (workdir_tree, source_tree):
        with pytest.raises(SkycError) as caught:
            listing(root)
        (said,) = caught.value.diagnostics
        assert said.slug == "special-file"
        assert said.detail.startswith(f"{root}/odd is a {kind}.")
    with pytest.raises(SkycError):
        source_tree(root / "odd")
    (root / ".skyignore").write_text("odd\n")
    assert "odd" not in files(root)


class Synced:
    """A node directory, and a workdir that is synced to it as `jobs.prepare` does."""

    def __init__(self, root: Path, node: Path) -> None:
        self.root, self.node, self.workdir = root, node, node / "workdir"
        self.workdir.mkdir(parents=True)

    def sync(self) -> None:
        tree = workdir_tree(self.root)
        sent = self.node / "next.json"
        sent.write_text(json.dumps(dict(tree.contents)))
        prune.main(self.node, sent)
        for entry in tree.entries:
            if entry.endswith("/"):
                (self.workdir / entry).mkdir(exist_ok=True)
            else:
                (self.workdir / entry).unlink(missing_ok=True)
                shutil.copy2(self.root / entry, self.workdir / entry, follow_symlinks=False)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
def synced(root: Path, tmp_path: Path) -> Synced:
    (root / "link").symlink_to("train.py")
    made = Synced(root, tmp_path / "node")
    made.sync()
    return made


def test_what_is_deleted_at_home_goes_from_the_node(synced: Synced) -> None:
    for name in ("train.py", "link", "logs/1.log"):
        (synced.root / name).unlink()
    (synced.root / "logs").rmdir()
    shutil.rmtree(synced.root / "src")
    synced.sync()
    assert not {"train.py", "link", "logs", "src"} & names(synced.workdir)
    assert (synced.workdir / "data" / "big.bin").exists()


def test_what_a_job_made_or_changed_stays(synced: Synced) -> None:
    (synced.workdir / "logs" / "2.log").write_text("of the job")
    (synced.workdir / "train.py").write_text("changed by the job")
    shutil.rmtree(synced.root / "logs")
    (synced.root / "train.py").unlink()
    synced.sync()
    assert names(synced.workdir / "logs") == {"2.log"}
    assert (synced.workdir / "train.py").read_text() == "changed by the job"


def test_nothing_is_taken_through_a_link_or_from_outside(synced: Synced, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(synced.root / "data", outside)
    shutil.rmtree(synced.workdir / "data")
    (synced.workdir / "data").symlink_to(outside)  # a job may do that
    kept = synced.node / prune.KEPT
    contents = json.loads(kept.read_text())
    kept.write_text(json.dumps({**contents, "../next.json": "d", "/etc/passwd": "-", "data/../../x": "-", "odd": 3}))
    shutil.rmtree(synced.root / "data")
    synced.sync()
    assert len([path for path in outside.rglob("*") if path.is_file()]) == 3
    assert (synced.workdir / "data").is_symlink()


def test_a_file_may_become_a_directory_and_back(synced: Synced) -> None:
    (synced.root / "train.py").unlink()
    (synced.root / "train.py").mkdir()
    (synced.root / "train.py" / "main.py").write_text("")
    synced.sync()
    assert (synced.workdir / "train.py" / "main.py").exists()
    shutil.rmtree(synced.root / "train.py")
    (synced.root / "train.py").write_text("again")
    synced.sync()
    assert (synced.workdir / "train.py").read_text() == "again"


@pytest.mark.parametrize("text", ["", "[]", "\xff"])
def test_a_damaged_record_removes_nothing(synced: Synced, text: str) -> None:
    (synced.node / prune.KEPT).write_bytes(text.encode("latin-1"))
    (synced.root / "train.py").unlink()
    synced.sync()
    assert (synced.workdir / "train.py").exists()
