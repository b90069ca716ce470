"""What is saved comes back equal, and nothing is sent twice."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skyc.runtime.checkpoint as checkpoints
from skyc.compiler.diagnostics import SkycError
from skyc.runtime.checkpoint import CheckpointFacts, checkpoint, restore, snapshot
from skyc.runtime.storage import snapshot as snapshots
from skyc.runtime.storage.base import StoreError, StoreFault
from skyc.runtime.storage.file import FileStore
from skyc.runtime.storage.manifest import CHUNK_BYTES
from skyc.runtime.storage.snapshot import SnapshotSkipped
from skyc.runtime.storage.tree import remove_tree

from .conftest import PREFIX, Tapped, Tree, tree_of

NAMES = st.sampled_from(["a", "b", "c", "é", "with space", "-rf", "\udcff"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENT = st.one_of(
    st.binary(max_size=40),
    st.tuples(st.binary(min_size=1, max_size=3), st.sampled_from([CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])).map(
        lambda pair: (pair[0] * (pair[1] // len(pair[0]) + 1))[: pair[1]]
    ),
)
MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, CONTENT),
        st.tuples(st.just("append"), PATHS, st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("folder"), PATHS, st.sampled_from([0o700, 0o755, 0o500])),
        st.tuples(st.just("link"), PATHS, PATHS),
        st.tuples(st.just("mode"), PATHS, st.sampled_from([0o600, 0o644, 0o755, 0o400])),
        st.tuples(st.just("remove"), PATHS, st.none()),
        st.tuples(st.just("move"), PATHS, PATHS),
    ),
    max_size=6,
)


def mutate(root: Path, how: str, name: str, argument: object) -> None:
    path = root / name
    if how == "write" and isinstance(argument, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(argument)
    elif how == "append" and isinstance(argument, bytes) and path.is_file():
        path.write_bytes(path.read_bytes() + argument)
    elif how == "folder" and isinstance(argument, int):
        path.mkdir(mode=argument, parents=True)
    elif how == "link":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(root / str(argument))
    elif how == "mode" and isinstance(argument, int) and path.is_file() and not path.is_symlink():
        path.chmod(argument)
    elif how == "remove" and os.path.lexists(path):
        remove_tree(path)
    elif how == "move":
        path.rename(root / str(argument))


def links_made_relative(tree: Tree, root: Path) -> Tree:
    """Absolute links inside come back relative; where they lead is the same."""
    made: Tree = {}
    for name, (mode, modified, content) in tree.items():
        if isinstance(content, str) and content.startswith("/"):
            inside = os.path.relpath(os.path.realpath(content), root)
            content = os.path.relpath(inside, name.rpartition("/")[0] or ".")
        made[name] = (mode, modified, content)
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rounds=st.lists(MUTATIONS, min_size=1, max_size=3))
def test_random_trees_come_back(rounds: list[list[tuple[str, str, object]]], tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("tree")
    store, directory, elsewhere = FileStore(base / "store"), base / "ckpt", base / "other/ckpt"
    directory.mkdir()
    saved: dict[int, Tree] = {}
    for mutations in rounds:
        for how, name, argument in mutations:
            with contextlib.suppress(OSError):  # most random mutations make no sense; those that do are enough
                mutate(directory, how, name, argument)
        try:
            number = snapshot(store, PREFIX, directory, rank=0, counted=True).number
        except StoreError as failure:
            assert failure.kind is StoreFault.INVALID  # after a move a random link may leave, or lead in a circle
            continue
        saved[number] = links_made_relative(tree_of(directory), directory)
    for number, tree in saved.items():
        restored = restore(store, PREFIX, elsewhere, rank=0, world=1, at_most=number)
        assert restored is not None and restored.generation == number and restored.verified
        assert tree_of(elsewhere) == tree
    remove_tree(base)


def test_unchanged_content_is_neither_read_nor_sent_again(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "big").write_bytes(os.urandom(2 * CHUNK_BYTES + 7))
    (directory / "log").write_bytes(b"1")
    first = snapshot(store, PREFIX, directory, rank=0, counted=True, step=10, label="x")
    assert (first.number, first.step, first.sent_chunks, first.files) == (1, 10, 4, 2)
    (directory / "log").write_bytes(b"12")
    read: list[str] = []
    real = snapshots._opened

    def spy(path: Path) -> contextlib.AbstractContextManager[int]:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(snapshots, "_opened", spy)
    second = snapshot(store, PREFIX, directory, rank=0, counted=True)
    assert (second.number, second.sent_chunks, second.sent_bytes) == (2, 1, 2)
    assert read == ["log"]
    state = json.loads((directory.parent / ".ckpt.skyc/rank-0.json").read_text())
    assert state["next_generation"] == 3


def test_content_that_vanished_from_the_store_is_sent_again(store: FileStore, directory: Path) -> None:
    (directory / "f").write_bytes(b"precious")
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    for key in list(store.list("checkpoints/d1/train/chunks/")):
        store.delete(key)
    again = snapshot(store, PREFIX, directory, rank=0, counted=True)
    assert again.sent_chunks == 1
    (directory / "f").unlink()
    assert restore(store, PREFIX, directory, rank=0, world=1) is not None
    assert (directory / "f").read_bytes() == b"precious"


def test_a_file_written_through_a_mapping_is_never_taken_for_unchanged(store: FileStore, directory: Path) -> None:
    path = directory / "memmap"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as view:
        view[0] = 1
        time.sleep(0.03)  # so that the file is old enough to be remembered
        snapshot(store, PREFIX, directory, rank=0, counted=True)
        view[1] = 2  # the page is dirty already, so the file's times stay as they were
        snapshot(store, PREFIX, directory, rank=0, counted=True)
    path.unlink()
    assert restore(store, PREFIX, directory, rank=0, world=1) is not None
    assert path.read_bytes()[:2] == b"\1\2"


def test_a_directory_that_never_rests_does_not_count(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_TRIES_COUNTED", 4)
    monkeypatch.setattr(snapshots, "_TRIES_UNVERIFIED", 2)
    (directory / "f").write_bytes(b"0")
    writes = 0

    def meddle(operation: str, key: str) -> None:
        nonlocal writes
        if operation == "size" and "chunks" in key and writes < limit:
            writes += 1
            (directory / "f").write_bytes(b"x" * writes)

    restless = Tapped(store, meddle)
    limit = 1000
    with pytest.raises(SkycError) as caught:
        snapshot(restless, PREFIX, directory, rank=0, counted=True)
    assert caught.value.diagnostics[0].slug == "checkpoint-changing"
    assert "`f` changed" in caught.value.diagnostics[0].detail
    with pytest.raises(SnapshotSkipped):
        snapshot(restless, PREFIX, directory, rank=0, counted=False)
    assert list(store.list(f"{PREFIX}/")) == []
    writes, limit = 0, 2
    assert snapshot(restless, PREFIX, directory, rank=0, counted=True).number == 1
    remove_tree(directory)
    assert restore(store, PREFIX, directory, rank=0, world=1) is not None
    assert (directory / "f").read_bytes() == b"xx"


def test_unverified_snapshots_do_not_repeat_themselves_and_never_replace_a_counted_one(
    store: FileStore, directory: Path
) -> None:
    (directory / "f").write_bytes(b"good")
    first = snapshot(store, PREFIX, directory, rank=0, counted=False)
    assert snapshot(store, PREFIX, directory, rank=0, counted=False).key == first.key
    assert len(list(store.list(f"{PREFIX}/"))) == 1
    restored = restore(store, PREFIX, directory, rank=0, world=1)
    assert restored is not None and not restored.verified and "half-written" in restored.notes[0]
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    (directory / "f").write_bytes(b"half")
    assert snapshot(store, PREFIX, directory, rank=0, counted=False).number == 2
    restored = restore(store, PREFIX, directory, rank=0, world=1)
    assert restored is not None and restored.verified
    assert (directory / "f").read_bytes() == b"good"


def test_restore_replaces_what_was_there_and_sweeps_leftovers(store: FileStore, directory: Path) -> None:
    (directory / "keep").mkdir()
    (directory / "keep/f").write_bytes(b"1")
    (directory / "keep").chmod(0o555)
    directory.chmod(0o750)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    tree = tree_of(directory)
    (directory / "later").write_bytes(b"gone after restore")
    leftover = directory.parent / ".ckpt.skyc/restore-dead"
    (leftover / "x").mkdir(parents=True)
    assert restore(store, PREFIX, directory, rank=0, world=1) is not None
    assert tree_of(directory) == tree
    assert not leftover.exists() and not list(leftover.parent.glob("restore-*"))


def test_nothing_saved_is_none(store: FileStore, directory: Path) -> None:
    assert restore(store, PREFIX, directory, rank=0, world=1) is None


@pytest.mark.parametrize("path", ["", ".", "ckpt", "/"])
def test_a_directory_without_an_absolute_path_is_never_saved_or_replaced(
    store: FileStore, directory: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "f").write_bytes(b"saved")
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    monkeypatch.chdir(directory.parent)
    before = sorted(directory.parent.rglob("*"))
    for work in (
        lambda: restore(store, PREFIX, Path(path), rank=0, world=1),
        lambda: snapshot(store, PREFIX, Path(path), rank=0, counted=True),
    ):
        with pytest.raises(StoreError) as caught:
            work()
        assert caught.value.kind is StoreFault.INVALID
    assert sorted(directory.parent.rglob("*")) == before


PROGRAM = """
import pathlib, skyc.runtime.checkpoint as c
for step in (10, 20):
    pathlib.Path("ckpt/model").write_text(f"step {step}")
    print(c.checkpoint(step))
"""


def test_the_users_program(store: FileStore, directory: Path) -> None:
    facts = CheckpointFacts(store=store.uri, prefix=PREFIX, path=str(directory), every_seconds=60, keep=3)
    assert CheckpointFacts.from_json(facts.to_json()) == facts
    environment = {
        **os.environ,
        "SKYC_CHECKPOINT": facts.to_json(),
        "SKYC_CHECKPOINT_DIR": str(directory),
        "SKYC_NODE_RANK": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=directory.parent, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n2\n", "", 0)
    (directory / "model").unlink()
    restored = restore(store, PREFIX, directory, rank=1, world=2)
    assert restored is not None and (restored.generation, restored.step, restored.from_rank) == (2, 20, 1)
    assert (directory / "model").read_text() == "step 20"


def test_outside_a_job_it_only_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SKYC_CHECKPOINT", raising=False)
    monkeypatch.setattr(checkpoints, "_warned", False)
    assert checkpoint() == 0 and checkpoint(5) == 0
    assert capsys.readouterr().err.count("saves nothing here") == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"format_version": 1, "store": 1}', '{"format_version": 2}'])
def test_damaged_settings_are_an_error_a_person_can_read(text: str) -> None:
    with pytest.raises(SkycError) as caught:
        CheckpointFacts.from_json(text)
    assert caught.value.diagnostics[0].slug == "bad-checkpoint-facts"
