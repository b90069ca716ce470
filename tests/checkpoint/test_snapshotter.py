"""The thread beside a running job: what it saves, what counts, and how it ends."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.checkpoint import CheckpointFacts, Snapshotter, list_generations, restore, snapshot
from skyc.runtime.storage import snapshotter as module
from skyc.runtime.storage.base import Store, StoreError, StoreFault
from skyc.runtime.storage.file import FileStore
from skyc.runtime.storage.watch import TreeWatch

from .conftest import PREFIX, Tapped


class Saved:
    """A store that tells when a manifest was written, so that no test has to sleep."""

    def __init__(self, inner: FileStore) -> None:
        self.inner = inner
        self._changed = threading.Condition()
        self.keys: list[str] = []
        self.store: Store = Tapped(inner, lambda operation, key: None, after=self._after)

    def _after(self, operation: str, key: str) -> None:
        if operation == "put" and key.startswith(f"{PREFIX}/"):
            with self._changed:
                self.keys.append(key)
                self._changed.notify_all()

    def wait(self, what: str, count: int = 1) -> None:
        def there() -> bool:
            return sum(what in key for key in self.keys) >= count

        with self._changed:
            assert self._changed.wait_for(there, 20), f"no {what} among {self.keys}"


@contextmanager
def running(
    saved: Saved, directory: Path, every: int = 3600, on_error: Callable[[str], None] = lambda text: None
) -> Iterator[Snapshotter]:
    facts = CheckpointFacts(store=saved.inner.uri, prefix=PREFIX, path=str(directory), every_seconds=every, keep=2)
    job = Snapshotter(facts, directory, 0, on_error=on_error, store=saved.store)
    job.start()
    try:
        yield job
    finally:
        job._stop(20)


@pytest.fixture
def saved(store: FileStore) -> Saved:
    return Saved(store)


def restored_text(store: FileStore, base: Path, name: str = "model") -> str:
    assert restore(store, PREFIX, base / "check/ckpt", rank=0, world=1) is not None
    return (base / "check/ckpt" / name).read_text()


def test_timers_save_unverified_and_renames_count(saved: Saved, directory: Path, tmp_path: Path) -> None:
    with running(saved, directory, every=1) as job:
        (directory / "model").write_text("written in place")
        saved.wait("unverified-")
        assert not any("manifest-" in key for key in saved.keys)
        (directory / "model.tmp").write_text("renamed")
        (directory / "model.tmp").rename(directory / "model")
        saved.wait("manifest-0000000001")
        assert restored_text(saved.inner, tmp_path) == "renamed"
        # A whole directory that was written elsewhere and moved in.
        (tmp_path / "outside/deep").mkdir(parents=True)
        (tmp_path / "outside/deep/w").write_text("moved in")
        (tmp_path / "outside").rename(directory / "step-2")
        saved.wait("manifest-0000000002")
        assert restored_text(saved.inner, tmp_path, "step-2/deep/w") == "moved in"
        last = job.final(True)
        assert last is not None and last.counted and last.label == "exit" and last.number == 3


def test_a_rename_does_not_count_while_something_is_half_written(saved: Saved, directory: Path) -> None:
    said: list[str] = []
    heard = threading.Event()

    def hear(text: str) -> None:
        said.append(text)
        heard.set()

    with running(saved, directory, on_error=hear) as job:
        with (directory / "log").open("wb", buffering=0) as log:
            log.write(b"half a rec")
            (directory / "m.tmp").write_text("1")
            (directory / "m.tmp").rename(directory / "m")
            log.write(b"ord")
        # The log is whole by now; the rename came too early all the same.
        assert heard.wait(20)
        assert "log" in said[0] and "do not count" in said[0]
        (directory / "m.tmp").write_text("2")
        (directory / "m.tmp").rename(directory / "m")
        saved.wait("manifest-")
        assert sum("manifest-" in key for key in saved.keys) == 1
        assert job.final(False) is not None


def test_an_open_file_that_was_not_written_since_the_start_is_seen_too(saved: Saved, directory: Path) -> None:
    """inotify cannot know about it; the open descriptor is what gives it away."""
    said: list[str] = []
    heard = threading.Event()
    with (directory / "early").open("wb", buffering=0) as early:
        early.write(b"half")

        def hear(text: str) -> None:
            said.append(text)
            heard.set()

        with running(saved, directory, on_error=hear):
            (directory / "m.tmp").write_text("1")
            (directory / "m.tmp").rename(directory / "m")
            assert heard.wait(20)
            assert "early" in said[0]
            assert not any("manifest-" in key for key in saved.keys)


def test_writing_the_next_one_does_not_keep_the_renamed_one_from_counting(
    saved: Saved, directory: Path, tmp_path: Path
) -> None:
    began = threading.Event()

    def begin_next(operation: str, key: str) -> None:
        if operation == "put" and "/chunks/" in key and not began.is_set():
            (directory / "next.tmp").write_bytes(b"half of the next")
            began.set()

    slow = Saved(saved.inner)
    slow.store = Tapped(slow.store, begin_next)
    with running(slow, directory):
        (directory / "m.tmp").write_text("whole")
        (directory / "m.tmp").rename(directory / "model")
        slow.wait("manifest-")
    assert began.is_set()
    assert restored_text(saved.inner, tmp_path) == "whole"
    assert sorted(path.name for path in (tmp_path / "check/ckpt").iterdir()) == ["model"]


WRITER = """
import os, sys
sys.stdout.write("go"); sys.stdout.flush()
number = 0
while True:
    number += 1
    with open(sys.argv[1], "r+b", buffering=0) as file:
        for part in range(64):
            file.write(b"%09d\\n" % number * 400)
"""


def test_unverified_snapshots_of_an_in_place_writer_never_replace_a_counted_one(
    saved: Saved, directory: Path, tmp_path: Path
) -> None:
    good = b"000000000\n" * 400 * 64
    (directory / "model").write_bytes(good)
    snapshot(saved.inner, PREFIX, directory, rank=0, counted=True)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(directory / "model")], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None and writer.stdout.read(2) == b"go"
        with running(saved, directory, every=1) as job:
            over = time.monotonic() + 2.5
            while time.monotonic() < over:
                job.request("notice")
                time.sleep(0.1)
        assert {key.rpartition("/")[2][:10] for key in saved.keys} <= {"unverified"}
        restored = restore(saved.inner, PREFIX, tmp_path / "check/ckpt", rank=0, world=1)
        assert restored is not None and restored.verified
        assert (tmp_path / "check/ckpt/model").read_bytes() == good
    finally:
        writer.kill()
        writer.communicate()


def test_a_checkpoint_of_the_job_goes_before_a_snapshot_under_way(saved: Saved, directory: Path) -> None:
    """The snapshot beside the job holds the lock and is slow; the job's own call must not wait for all of it."""
    for number in range(6):
        (directory / f"f{number}").write_bytes(os.urandom(5 << 20))
    inside, go_on = threading.Event(), threading.Event()

    def hold(operation: str, key: str) -> None:
        if operation == "put" and "/chunks/" in key:
            inside.set()
            assert go_on.wait(30)

    slow = Saved(saved.inner)
    slow.store = Tapped(slow.store, hold)
    code = (
        "import sys, pathlib; from skyc.runtime.checkpoint import *; from skyc.runtime.storage import open_store;"
        "snapshot(open_store(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), rank=0, counted=True)"
    )
    with running(slow, directory) as job:
        job.request("test")
        assert inside.wait(20)
        caller = subprocess.Popen([sys.executable, "-c", code, saved.inner.uri, PREFIX, str(directory)])
        try:
            place = job._real.parent / ".ckpt.skyc/wanted"
            over = time.monotonic() + 20
            while not _is_locked_by_another(place):
                assert time.monotonic() < over
                time.sleep(0.01)
            go_on.set()
            assert caller.wait(30) == 0
        finally:
            caller.kill()
            caller.wait()
    assert [(n.counted, n.number) for n in list_generations(saved.inner, PREFIX)] == [(True, 1)]


def _is_locked_by_another(path: Path) -> bool:
    """By another process: a record lock never conflicts with those of this one, whose thread looks at it now and then."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def test_a_store_that_is_away_is_tried_again_and_reported(
    saved: Saved, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
    said: list[str] = []
    failures = 3

    def fail(operation: str, key: str) -> None:
        nonlocal failures
        if operation == "put" and "/chunks/" in key and failures:
            failures -= 1
            raise StoreError(StoreFault.UNREACHABLE, "the wire is cut.")

    away = Saved(saved.inner)
    away.store = Tapped(away.store, fail)
    with running(away, directory, every=1, on_error=said.append) as job:
        (directory / "m").write_text("x")
        away.wait("unverified-")
        failures = 1
        (directory / "m").write_text("y")
        last = job.final(True)
    assert last is not None and last.counted
    assert len(said) == 4 and all("the wire is cut" in text for text in said)


def test_a_job_that_cannot_be_saved_has_not_succeeded(saved: Saved, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
    (directory / "m").write_text("x")

    def fail(operation: str, key: str) -> None:
        if operation == "put" and "manifest-" in key:
            raise StoreError(StoreFault.UNREACHABLE, "the wire is cut.")

    away = Saved(saved.inner)
    away.store = Tapped(away.store, fail)
    with running(away, directory) as job:
        with pytest.raises(SkycError) as caught:
            job.final(True, timeout=3)
        assert "the wire is cut" in caught.value.diagnostics[0].detail
    said: list[str] = []
    with running(Saved(saved.inner), directory, on_error=said.append) as job:
        job._store = Tapped(saved.inner, lambda operation, key: (_ for _ in ()).throw(StoreError(StoreFault.DENIED, "no.")))
        assert job.final(False) is None
    assert said and "no." in said[0]


def test_an_empty_directory_of_a_rank_that_saves_nothing_adds_no_chain(saved: Saved, directory: Path) -> None:
    with running(saved, directory) as job:
        assert job.final(True) is None
    assert list(saved.inner.list(f"{PREFIX}/")) == []


def test_old_generations_are_removed_as_new_ones_come(saved: Saved, directory: Path) -> None:
    with running(saved, directory) as job:
        for number in range(1, 5):
            (directory / "m.tmp").write_text(str(number))
            (directory / "m.tmp").rename(directory / "m")
            saved.wait("manifest-", number)
        job.final(True)
    assert [n.number for n in list_generations(saved.inner, PREFIX) if n.counted] == [4, 5]


def test_half_written_files_are_followed_through_renames(directory: Path) -> None:
    (directory / "sub").mkdir()
    watch = TreeWatch(directory)
    try:
        with (directory / "sub/a").open("wb", buffering=0) as file:
            file.write(b"1")
            watch.drain()
            assert watch.half_written == {"sub/a"}
            (directory / "sub").rename(directory / "moved")
            activity = watch.drain()
            assert activity.renamed == "moved"
            assert watch.half_written == {"moved/a"}
            (directory / "moved/a").rename(directory / "b")
            watch.drain()
            assert watch.half_written == {"b"}
        watch.drain()
        assert watch.half_written == frozenset()
        # What matters is the moment of the rename, not that of looking at it.
        with (directory / "log").open("wb", buffering=0) as file:
            file.write(b"1")
            (directory / "b").rename(directory / "renamed")
        activity = watch.drain()
        assert (activity.renamed, activity.while_writing) == ("renamed", "log")
        (directory / "renamed").rename(directory / "again")
        activity = watch.drain()
        assert (activity.renamed, activity.while_writing) == ("again", "")
        with (directory / "moved/c").open("wb", buffering=0) as file:
            file.write(b"1")
            (directory / "moved").rename(directory.parent / "away")
            assert watch.drain().renamed == ""
            assert watch.half_written == frozenset()
    finally:
        watch.close()
