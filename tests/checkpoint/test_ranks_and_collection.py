"""Which generation all ranks go back to, and that collecting never takes away what one of them needs."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.checkpoint import Restored, collect, list_generations, newest_generation, restore, snapshot, verify
from skyc.runtime.storage import lease
from skyc.runtime.storage.file import FileStore

from .conftest import PREFIX, Tapped


class Ranks:
    """Some ranks, each with its directory, in one job."""

    def __init__(self, store: FileStore, base: Path, world: int) -> None:
        self.store, self.base, self.world, self.attempt = store, base, world, 0
        self._renew()

    def _renew(self) -> None:
        self.attempt += 1
        self.directories = [self.base / f"attempt-{self.attempt}/node-{rank}/ckpt" for rank in range(self.world)]
        for directory in self.directories:
            directory.mkdir(parents=True)

    def save(self, rank: int, text: str, *, label: str = "checkpoint", counted: bool = True) -> int:
        (self.directories[rank] / "state").write_text(text)
        return snapshot(self.store, PREFIX, self.directories[rank], rank=rank, counted=counted, label=label).number

    def restart(self) -> list[Restored | None]:
        self._renew()
        return [
            restore(self.store, PREFIX, directory, rank=rank, world=self.world)
            for rank, directory in enumerate(self.directories)
        ]

    @property
    def states(self) -> list[str]:
        return [(directory / "state").read_text() for directory in self.directories]


def test_all_ranks_go_back_to_the_newest_generation_all_of_them_have(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 3)
    assert ranks.restart() == [None, None, None]
    for rank, last in enumerate((5, 4, 5)):
        for number in range(1, last + 1):
            assert ranks.save(rank, f"{rank}@{number}") == number
    found = ranks.restart()
    assert [r and r.generation for r in found] == [4, 4, 4]
    assert ranks.states == ["0@4", "1@4", "2@4"]
    # The 5 that only some reached is never mixed with what comes after the restart.
    assert [ranks.save(rank, f"{rank}@new") for rank in (0, 1)] == [6, 6]
    ranks.restart()
    assert ranks.states == ["0@4", "1@4", "2@4"]
    assert [ranks.save(rank, f"{rank}@newer") for rank in (0, 1, 2)] == [7, 7, 7]
    assert newest_generation(store, PREFIX, 3) == 7
    ranks.restart()
    assert ranks.states == ["0@newer", "1@newer", "2@newer"]


def test_a_rank_without_a_chain_gets_the_first_ranks_state(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    ranks.restart()
    ranks.save(0, "0@1")
    ranks.save(0, "0@2")
    found = ranks.restart()
    assert ranks.states == ["0@2", "0@2"]
    assert found[1] is not None and found[1].from_rank == 0
    # It begins a chain later, and is killed before the first rank reaches that generation.
    assert ranks.save(1, "1@3") == 3
    ranks.restart()
    assert ranks.states == ["0@2", "0@2"]


def test_a_snapshot_at_exit_alone_holds_nobody_back(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    ranks.restart()
    assert ranks.save(1, "logs", label="exit") == 1
    for number in range(1, 4):
        ranks.save(0, f"0@{number}")
    ranks.restart()
    assert ranks.states == ["0@3", "0@3"]


def test_exits_count_when_nothing_else_does(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    ranks.restart()
    ranks.save(0, "0 done", label="exit")
    ranks.save(1, "1 done", label="exit")
    ranks.restart()
    assert ranks.states == ["0 done", "1 done"]


def test_renames_of_several_ranks_are_flagged(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    ranks.save(0, "0", label="rename")
    ranks.save(1, "1", label="rename")
    found = ranks.restart()
    assert found[0] is not None and "skyc.checkpoint()" in found[0].notes[0]


def test_a_job_that_shrinks_is_not_held_back_by_ranks_that_are_gone(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    ranks.restart()
    ranks.save(0, "0@1")
    ranks.save(1, "1@1")
    ranks.world = 1
    ranks.restart()
    for number in range(2, 6):
        assert ranks.save(0, f"0@{number}") == number
    ranks.restart()
    assert ranks.states == ["0@5"]
    collect(store, PREFIX, 2, world=1)
    assert [(n.rank, n.number) for n in list_generations(store, PREFIX)] == [(0, 4), (0, 5)]


def test_a_node_that_was_given_up_cannot_write_into_the_chain(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 1)
    ranks.restart()
    ranks.save(0, "old@1")
    old = ranks.directories
    ranks.restart()
    assert ranks.save(0, "new@2") == 2
    ranks.directories = old
    with pytest.raises(SkycError) as caught:
        ranks.save(0, "old@2")
    assert caught.value.diagnostics[0].slug == "checkpoint-superseded"
    ranks.restart()
    assert ranks.states == ["new@2"]


def test_damage_on_one_rank_is_agreed_upon_with_at_most(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    for number in (1, 2):
        for rank in (0, 1):
            ranks.save(rank, f"{rank}@{number}")
    (newest,) = [n for n in list_generations(store, PREFIX) if (n.rank, n.number) == (1, 2)]
    store.put(newest.key, b"{}")
    found = [r.generation for r in ranks.restart() if r]
    assert found == [2, 1]
    for rank, directory in enumerate(ranks.directories):
        restore(store, PREFIX, directory, rank=rank, world=2, at_most=min(found))
    assert ranks.states == ["0@1", "1@1"]
    assert [ranks.save(rank, f"{rank}@next") for rank in (0, 1)] == [3, 3]


# --- collecting


def test_keeps_the_newest_and_every_chunk_they_name(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    other = "checkpoints/d1/train/run-2"
    (tmp_path / "x/ckpt").mkdir(parents=True)
    (tmp_path / "x/ckpt/state").write_text("0@1")  # shared with a generation that goes
    snapshot(store, other, tmp_path / "x/ckpt", rank=0, counted=True)
    for number in range(1, 6):
        for rank in (0, 1):
            ranks.save(rank, f"{rank}@{number}")
            ranks.save(rank, f"{rank}@{number} half", counted=False)
    done = collect(store, PREFIX, 2)
    assert done.swept and done.manifests == 2 * 3 + 2 * 4
    assert [(n.rank, n.number) for n in list_generations(store, PREFIX) if n.counted] == [(0, 4), (0, 5), (1, 4), (1, 5)]
    assert [(n.rank, n.number) for n in list_generations(store, PREFIX) if not n.counted] == [(0, 5), (1, 5)]
    assert len(list(store.list("checkpoints/d1/train/chunks/"))) == 4 + 2 + 1
    assert verify(store, PREFIX).damages == () and verify(store, other).damages == ()
    assert collect(store, PREFIX, 2).manifests == 0


def test_a_rank_that_lags_holds_back_what_it_needs(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 2)
    for number in range(1, 10):
        ranks.save(0, f"0@{number}")
        if number <= 3:
            ranks.save(1, f"1@{number}")
    collect(store, PREFIX, 1)
    ranks.restart()
    assert ranks.states == ["0@3", "1@3"]


def test_damaged_generations_do_not_count_towards_keep(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 1)
    for number in range(1, 5):
        ranks.save(0, f"0@{number}")
    for name in list_generations(store, PREFIX)[-2:]:
        store.put(name.key, b"damaged")
    done = collect(store, PREFIX, 1)
    assert not done.swept  # what the damaged ones named is not known
    ranks.restart()
    assert ranks.states == ["0@2"]


def test_the_window_between_finding_a_chunk_and_naming_it(store: FileStore, tmp_path: Path) -> None:
    """A snapshot found a chunk in the store that no manifest names any more, and has not written its own manifest yet."""
    ranks = Ranks(store, tmp_path, 1)
    ranks.save(0, "comes back")
    ranks.save(0, "newer")
    swept: list[bool] = []

    def before_manifest(operation: str, key: str) -> None:
        if operation == "put" and "manifest-" in key and not swept:
            swept.append(collect(store, PREFIX, 1).swept)

    (ranks.directories[0] / "state").write_text("comes back")
    snapshot(Tapped(store, before_manifest), PREFIX, ranks.directories[0], rank=0, counted=True)
    assert swept == [False]
    assert verify(store, PREFIX).damages == ()
    ranks.restart()
    assert ranks.states == ["comes back"]


def test_a_snapshot_waits_for_a_sweep_and_outlives_a_dead_one(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SWEEP_SILENCE", 0.3)
    ranks = Ranks(store, tmp_path, 1)
    sweep = lease.Sweep(store, PREFIX)
    assert sweep.begin()
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(ranks.save, 0, "waits")
        assert list(store.list(f"{PREFIX}/")) == []
        sweep.end()
        assert saving.result(30) == 1
    dead = lease.Sweep(store, PREFIX)
    assert dead.begin()
    assert ranks.save(0, "after the dead sweep") == 2
    assert not dead.may_go_on()  # it was only paused, after all
    assert store.size("checkpoints/d1/train/sweeping.json") is None


def test_a_pin_nobody_renews_does_not_block_for_ever(store: FileStore, tmp_path: Path) -> None:
    ranks = Ranks(store, tmp_path, 1)
    ranks.save(0, "a")
    store.put("checkpoints/d1/train/pins/dead.json", b'{"renewed": 1000}')
    collect(store, PREFIX, 1)
    assert list(store.list("checkpoints/d1/train/pins/")) == []
    with lease.Pin(store, PREFIX, "alive"):
        assert not collect(store, PREFIX, 1).swept
    assert collect(store, PREFIX, 1).swept


def test_a_snapshot_that_was_paused_for_hours_checks_again(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(store, tmp_path, 1)
    ranks.save(0, "saved")
    monkeypatch.setattr(lease, "PIN_LIFE", 0.0)  # every pin counts as dead at once

    def sweep_all(operation: str, key: str) -> None:
        if operation == "put" and "manifest-" in key:
            for chunk in list(store.list("checkpoints/d1/train/chunks/")):
                store.delete(chunk)

    (ranks.directories[0] / "state").write_text("paused")
    with pytest.raises(SkycError):
        snapshot(Tapped(store, sweep_all), PREFIX, ranks.directories[0], rank=0, counted=True)
    assert [n.number for n in list_generations(store, PREFIX)] == [1]


def test_snapshots_and_collections_at_the_same_time(store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents come and go, so that snapshots keep meeting chunks that a sweep is about to remove."""
    monkeypatch.setattr(lease, "_POLL", 0.001)
    ranks = Ranks(store, tmp_path, 2)
    over = threading.Event()
    swept: list[int] = []

    def save(rank: int) -> None:
        generator = random.Random(rank)
        try:
            for number in range(1000):
                for name in ("a", "b", "c"):
                    (ranks.directories[rank] / name).write_text(str(generator.randrange(6)))
                snapshot(store, PREFIX, ranks.directories[rank], rank=rank, counted=True)
                # Which thread gets its turn is the machine's choice: they go on until the two have met.
                if number >= 24 and sum(swept) > 0:
                    break
                if number % 5 == 0:
                    time.sleep(0.01)
        finally:
            over.set()

    def sweep() -> None:
        while not over.is_set():
            swept.append(collect(store, PREFIX, 1).chunks)

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(save, 0), pool.submit(save, 1), pool.submit(sweep), pool.submit(sweep)]
        for done in work:
            done.result(120)
    assert verify(store, PREFIX).damages == ()
    assert sum(swept) > 0
    assert ranks.restart()[0] is not None
