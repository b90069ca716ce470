"""Damage is found and passed over; a kill between any two store operations leaves the old or the new generation, whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.checkpoint import collect, list_generations, restore, snapshot, verify
from skyc.runtime.storage import lease
from skyc.runtime.storage.base import Store, StoreError, StoreFault
from skyc.runtime.storage.file import FileStore
from skyc.runtime.storage.manifest import decode_manifest
from skyc.runtime.storage.tree import remove_tree

from .conftest import PREFIX, Countdown, Tapped, Tree, killed_at, tree_of


def write_generation(directory: Path, number: int) -> Tree:
    (directory / "sub").mkdir(exist_ok=True)
    (directory / "sub/model").write_bytes(b"model %d" % number * 50)
    (directory / f"only-{number}").write_bytes(b"only %d" % number)
    (directory / f"only-{number - 1}").unlink(missing_ok=True)
    return tree_of(directory)


def same_content(found: Tree, wanted: Tree) -> bool:
    return {k: v[2] for k, v in found.items()} == {k: v[2] for k, v in wanted.items()}


# --- damage


def test_any_changed_bit_of_a_manifest_is_noticed(store: FileStore, directory: Path) -> None:
    (directory / "é").write_bytes(b"\xc3 becomes an escape, whose case JSON does not care about")
    snapshot(store, PREFIX, directory, rank=0, counted=True, step=7, label="x")
    (name,) = list_generations(store, PREFIX)
    content = store.get(name.key)
    assert decode_manifest(content, name).step == 7
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            with pytest.raises(StoreError) as caught:
                decode_manifest(bytes(damaged), name)
            assert caught.value.kind is StoreFault.DAMAGED
    for cut in (0, 1, len(content) // 2, len(content) - 1):
        with pytest.raises(StoreError):
            decode_manifest(content[:cut], name)


def test_damage_to_any_object_of_the_newest_generation_falls_back_to_the_one_before(store: FileStore, directory: Path) -> None:
    old = write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    before = set(store.list("checkpoints"))
    new = write_generation(directory, 2)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    fresh = sorted(set(store.list("checkpoints")) - before)
    assert len(fresh) == 3
    generator = random.Random(2)
    for key in fresh:
        whole = store.get(key)
        flips = [bytes([*whole[:p], whole[p] ^ (1 << generator.randrange(8)), *whole[p + 1 :]]) for p in (0, len(whole) // 2)]
        for damaged in [*flips, whole[:-1], b"", None, whole + b"x"]:
            if damaged is None:
                store.delete(key)
            else:
                store.put(key, damaged)
            restored = restore(store, PREFIX, directory, rank=0, world=1)
            assert restored is not None and restored.verified and restored.generation == 1
            assert same_content(tree_of(directory), old)
            if damaged is not None or "chunks" in key:  # a manifest that is not there was never written
                assert "damaged" in restored.notes[0]
                assert verify(store, PREFIX).damages
        store.put(key, whole)
        assert verify(store, PREFIX).damages == ()
        restored = restore(store, PREFIX, directory, rank=0, world=1)
        assert restored is not None and restored.generation == 2
        assert same_content(tree_of(directory), new)


def test_shares_of_verify_cover_everything(store: FileStore, directory: Path) -> None:
    for number in range(40):
        (directory / f"f{number}").write_bytes(b"%d" % number)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    shares = [verify(store, PREFIX, subset=(share, 3)) for share in (1, 2, 3)]
    assert sum(share.chunks for share in shares) == 40 and all(share.chunks for share in shares)
    victim = next(iter(store.list("checkpoints/d1/train/chunks/")))
    store.put(victim, b"!")
    assert sum(len(verify(store, PREFIX, subset=(share, 3)).damages) for share in (1, 2, 3)) == 1


def test_when_nothing_is_whole_the_job_does_not_silently_start_over(store: FileStore, directory: Path) -> None:
    tree = write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    for key in list(store.list("checkpoints/d1/train/chunks/")):
        store.delete(key)
    with pytest.raises(SkycError) as caught:
        restore(store, PREFIX, directory, rank=0, world=1)
    assert caught.value.diagnostics[0].slug == "checkpoint-damaged"
    assert tree_of(directory) == tree


def test_a_damaged_chunk_is_healed_by_the_next_snapshot_that_holds_it(store: FileStore, directory: Path) -> None:
    (directory / "same").write_bytes(b"in every generation")
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    (key,) = store.list("checkpoints/d1/train/chunks/")
    good = store.get(key)
    store.put(key, b"X" + good[1:])
    with pytest.raises(SkycError):
        restore(store, PREFIX, directory, rank=0, world=1)
    (directory / "same").write_bytes(b"something else")
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    assert store.get(key) != good
    (directory / "same").write_bytes(b"in every generation")
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    assert store.get(key) == good
    assert verify(store, PREFIX).damages == ()


@pytest.mark.parametrize("kind", [StoreFault.UNREACHABLE, StoreFault.FULL, StoreFault.DENIED])
def test_a_store_that_fails_is_not_taken_for_damage(store: FileStore, directory: Path, kind: StoreFault) -> None:
    write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    tree = write_generation(directory, 2)

    def fail(operation: str, key: str) -> None:
        if operation == "get" and "chunks" in key:
            raise StoreError(kind, "injected.")

    with pytest.raises(StoreError) as caught:
        restore(Tapped(store, fail), PREFIX, directory, rank=0, world=1)
    assert caught.value.kind is kind
    assert tree_of(directory) == tree


def test_every_failing_operation_of_a_snapshot_leaves_the_old_generation(store: FileStore, directory: Path) -> None:
    old = write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    new = write_generation(directory, 2)
    check_place = directory.parent / "check/ckpt"

    def fail() -> None:
        raise StoreError(StoreFault.FULL, "injected.")

    failures = 0
    for number in range(1, 200):
        try:
            snapshot(Tapped(store, Countdown(number, fail)), PREFIX, directory, rank=0, counted=True)
        except StoreError as failure:
            assert failure.kind is StoreFault.FULL
            failures += 1
        restored = restore(store, PREFIX, check_place, rank=0, world=1)
        assert restored is not None and restored.verified
        assert same_content(tree_of(check_place), old if restored.generation == 1 else new)
        if restored.generation > 1:
            break
    assert failures > 5


# --- kills


def every_kill(work: Callable[[Store], object], store: Store, check: Callable[[], None]) -> int:
    """Kill `work` at each moment in turn, with a check after each. Returns how many moments there were."""
    number = 1
    while killed_at(number, store, work):
        check()
        number += 1
        assert number < 400
    return number - 1


@pytest.mark.fault
def test_killed_anywhere_in_a_snapshot(store: FileStore, directory: Path) -> None:
    old = write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    new = write_generation(directory, 2)
    check_place = directory.parent / "check/ckpt"
    seen: set[bool] = set()

    def check() -> None:
        restored = restore(store, PREFIX, check_place, rank=0, world=1)
        assert restored is not None and restored.verified and restored.notes == ()
        seen.add(restored.generation > 1)
        assert same_content(tree_of(check_place), new if restored.generation > 1 else old)
        assert verify(store, PREFIX).damages == ()
        # The next kill meets a store without the new content, so that every operation of the snapshot really happens.
        for name in list_generations(store, PREFIX):
            if name.number > 1:
                store.delete(name.key)
        for key in list(store.list("checkpoints/d1/train/pins/")):
            store.delete(key)
        assert collect(store, PREFIX, 1).swept

    assert every_kill(lambda s: snapshot(s, PREFIX, directory, rank=0, counted=True), store, check) > 15
    assert seen == {False, True}


@pytest.mark.fault
def test_killed_anywhere_in_a_restore(store: FileStore, directory: Path) -> None:
    new = write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    place = directory.parent / "node2/ckpt"
    place.mkdir(parents=True)
    (place / "old").write_bytes(b"old")
    old = tree_of(place)

    def check() -> None:
        found = tree_of(place)
        assert same_content(found, new) or same_content(found, old)

    assert every_kill(lambda s: restore(s, PREFIX, place, rank=0, world=1), store, check) > 5
    assert same_content(tree_of(place), new)
    assert not list((place.parent / ".ckpt.skyc").glob("restore-*"))


STRACED = """
import sys, pathlib
from skyc.runtime.checkpoint import restore
from skyc.runtime.storage import open_store
restore(open_store(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), rank=0, world=1)
"""


@pytest.mark.fault
def test_killed_at_system_calls_of_a_restore(store: FileStore, directory: Path) -> None:
    """The directory's own steps, which no store operation separates: the exchange of old and new, and what follows."""
    import shutil

    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    new = write_generation(directory, 1)
    snapshot(store, PREFIX, directory, rank=0, counted=True)
    place = directory.parent / "node2/ckpt"
    killed = 0
    for call in ("renameat2", "fchmodat", "chmod", "unlinkat", "rename"):
        for when in (1, 2):
            remove_tree(place)
            place.mkdir(parents=True)
            (place / "old").write_bytes(b"old")
            old = tree_of(place)
            command = [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:signal=KILL:when={when}",
            ]
            program = [sys.executable, "-c", STRACED, store.uri, PREFIX, str(place)]
            done = subprocess.run([*command, *program], capture_output=True, text=True, timeout=60)
            assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
            killed += done.returncode != 0
            found = tree_of(place)
            assert same_content(found, new) or same_content(found, old)
            assert restore(store, PREFIX, place, rank=0, world=1) is not None
            assert same_content(tree_of(place), new)
            assert not list((place.parent / ".ckpt.skyc").glob("restore-*"))
    assert killed >= 3


@pytest.mark.fault
def test_killed_anywhere_in_a_collection(store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SWEEP_SILENCE", 0.02)  # for so long a killed sweep blocks the next snapshot
    monkeypatch.setattr(lease, "_POLL", 0.01)
    place = directory.parent / "check/ckpt"
    number = 0

    def grow() -> Tree:
        nonlocal number
        number += 1
        newest = write_generation(directory, number)
        snapshot(store, PREFIX, directory, rank=0, counted=True)
        return newest

    for _ in range(4):
        newest = grow()
    point = 1
    while True:
        killed = killed_at(point, store, lambda s: collect(s, PREFIX, 2))
        assert verify(store, PREFIX).damages == ()
        kept = [name.number for name in list_generations(store, PREFIX)]
        assert {number, number - 1} <= set(kept)
        restored = restore(store, PREFIX, place, rank=0, world=1)
        assert restored is not None and restored.generation == number and restored.notes == ()
        assert same_content(tree_of(place), newest)
        if not killed:
            break
        point += 1
        newest = grow()
    assert point > 20
    assert kept == [number - 1, number]
    assert len(list(store.list("checkpoints/d1/train/chunks/"))) == 4


SAVER = """
import sys, pathlib
from skyc.runtime.checkpoint import snapshot
from skyc.runtime.storage import open_store
store, prefix, directory = open_store(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
number = int(sys.argv[4])
print("go", flush=True)
while True:
    number += 1
    for name in ("a", "b"):
        (directory / name).write_bytes(b"%d" % number * 100_000)
    print(snapshot(store, prefix, directory, rank=0, counted=True, step=number).step, flush=True)
"""


@pytest.mark.fault
def test_killed_at_any_time_what_was_acknowledged_is_there(store: FileStore, directory: Path) -> None:
    generator = random.Random(3)
    step = 0
    for round_ in range(8):
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, store.uri, PREFIX, str(directory), str(step)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert saver.stdout is not None and saver.stdout.readline() == "go\n"
            killer = threading.Timer(generator.uniform(0.1, 0.4 + 0.1 * round_), saver.send_signal, [signal.SIGKILL])
            killer.start()
            acknowledged = [int(line) for line in saver.stdout.read().split()]
            killer.join()
        finally:
            saver.kill()
            saver.communicate()
        remove_tree(directory)
        restored = restore(store, PREFIX, directory, rank=0, world=1)
        if restored is None:
            assert acknowledged == [] and step == 0
            directory.mkdir()
            continue
        assert restored.step is not None and restored.step >= max(acknowledged, default=step) and restored.notes == ()
        step = restored.step
        found = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert found == dict.fromkeys(("a", "b"), b"%d" % step * 100000)
    assert step > 0


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_or_read_only_disk_is_named_and_older_checkpoints_stay(tmp_path: Path, directory: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(mount)], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        store = FileStore(mount / "store")
        tree = write_generation(directory, 1)
        snapshot(store, PREFIX, directory, rank=0, counted=True)
        (directory / "big").write_bytes(os.urandom(8 << 20))
        with pytest.raises(StoreError) as caught:
            snapshot(store, PREFIX, directory, rank=0, counted=True)
        assert caught.value.kind is StoreFault.FULL
        restored = restore(store, PREFIX, directory, rank=0, world=1)
        assert restored is not None and restored.generation == 1
        assert tree_of(directory) == tree
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        with pytest.raises(StoreError) as caught:
            snapshot(store, PREFIX, directory, rank=0, counted=True)
        assert caught.value.kind is StoreFault.READ_ONLY
        assert restore(store, PREFIX, directory, rank=0, world=1) is not None
        # A node whose own disk is full keeps what it had.
        subprocess.run(["mount", "-o", "remount,rw,size=4m", str(mount)], check=True)
        small = mount / "node/ckpt"
        small.mkdir(parents=True)
        (small / "mine").write_bytes(b"mine")
        elsewhere = FileStore(tmp_path / "elsewhere")
        (directory / "big").write_bytes(os.urandom(8 << 20))
        snapshot(elsewhere, PREFIX, directory, rank=0, counted=True)
        with pytest.raises(StoreError) as caught:
            restore(elsewhere, PREFIX, small, rank=0, world=1)
        assert caught.value.kind is StoreFault.FULL
        assert [path.name for path in small.iterdir()] == ["mine"]
        assert not list((mount / "node/.ckpt.skyc").glob("restore-*"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)
