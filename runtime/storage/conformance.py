"""The one suite for every store: subclass `StoreConformance` in a test module and give it a `store` fixture.

`another` opens the same store a second time, as a second process would. Objects are left behind; the fixture owns cleanup.
`ConditionalConformance` is for stores that can `swap`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .base import AlreadyExists, Changed, ConditionalStore, NotFound, Store, StoreError, StoreFault, open_store


def again(store: Store) -> Store:
    """The same store, opened once more by who opened it."""
    return open_store(store.uri, machine=getattr(store, "machine", None))


class StoreConformance:
    @pytest.fixture
    def another(self, store: Store) -> Store:
        return again(store)

    def test_gives_back_every_byte(self, store: Store, another: Store) -> None:
        data = bytes(range(256)) * 9000
        store.put("a/b/c.bin", data)
        assert another.get("a/b/c.bin") == data
        assert another.size("a/b/c.bin") == len(data)
        store.put("empty", b"")
        assert another.get("empty") == b""
        assert another.size("empty") == 0

    def test_put_replaces(self, store: Store, another: Store) -> None:
        store.put("k", b"a long first value")
        store.put("k", b"short")
        assert another.get("k") == b"short"

    def test_missing_objects(self, store: Store, tmp_path: Path) -> None:
        store.put("there/is", b"x")
        for key in ("no", "there", "there/is/not", "there/no"):
            with pytest.raises(NotFound):
                store.get(key)
            with pytest.raises(NotFound):
                store.get_file(key, tmp_path / "out")
            assert store.size(key) is None
            store.delete(key)
        assert not list(tmp_path.glob("*out*"))
        assert store.get("there/is") == b"x"

    def test_if_absent(self, store: Store, another: Store) -> None:
        store.put("one", b"first", if_absent=True)
        with pytest.raises(AlreadyExists):
            another.put("one", b"second", if_absent=True)
        assert store.get("one") == b"first"
        store.delete("one")
        another.put("one", b"third", if_absent=True)
        assert store.get("one") == b"third"

    def test_of_many_conditional_writers_exactly_one_wins(self, store: Store) -> None:
        writers, rounds = 12, 8
        stores = [again(store) for _ in range(writers)]
        start = threading.Barrier(writers)

        def write(number: int) -> list[bool]:
            won = []
            for round_ in range(rounds):
                start.wait(60)
                try:
                    stores[number].put(f"race/{round_}", f"{number}".encode() * 1000, if_absent=True)
                    won.append(True)
                except AlreadyExists:
                    won.append(False)
            return won

        with ThreadPoolExecutor(writers) as pool:
            results = list(pool.map(write, range(writers)))
        for round_ in range(rounds):
            winners = [number for number in range(writers) if results[number][round_]]
            assert len(winners) == 1
            assert store.get(f"race/{round_}") == f"{winners[0]}".encode() * 1000

    def test_a_reader_never_sees_a_part(self, store: Store, another: Store) -> None:
        values = [bytes([number]) * (200_000 + number) for number in range(4)]
        store.put("hot", values[0])
        over = threading.Event()
        seen: list[bool] = []

        def read() -> None:
            while not over.is_set():
                seen.append(another.get("hot") in values)

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            try:
                for number in range(40):
                    store.put("hot", values[number % 4])
            finally:
                over.set()
            reading.result(30)
        assert seen and all(seen)

    def test_lists_by_text_prefix_in_byte_order(self, store: Store, another: Store) -> None:
        keys = ["p/a-", "p/a.b", "p/a/x", "p/a/y/z", "p/ab", "p/é", "p/Z", "pq", "q/a"]
        for key in keys:
            store.put(key, key.encode())

        def expected(prefix: str) -> list[str]:
            return sorted((k for k in stored if k.startswith(prefix)), key=str.encode)

        stored = keys
        for prefix in ("", "p", "p/", "p/a", "p/a/", "p/a/y", "nothing", "nothing/at/all", "q/a"):
            assert list(another.list(prefix)) == expected(prefix), prefix
        store.delete("p/ab")
        assert "p/ab" not in list(another.list("p/"))

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "../a",
            "a/./b",
            "a\0b",
            "a\\b",
            "x" * 300,
            "a/" * 600 + "a",
            "\udc80",
        ],
    )
    def test_refuses_keys_that_are_no_names(self, store: Store, key: str) -> None:
        operations: list[Callable[[], object]] = [
            lambda: store.put(key, b"x"),
            lambda: store.get(key),
            lambda: store.size(key),
            lambda: store.delete(key),
        ]
        for operation in operations:
            with pytest.raises(StoreError) as caught:
                operation()
            assert caught.value.kind is StoreFault.INVALID
        assert list(store.list("")) == []

    def test_files_go_in_and_out(self, store: Store, another: Store, tmp_path: Path) -> None:
        data = b"0123456789abcdef" * 300_000
        local = tmp_path / "local"
        local.mkdir()
        source, target = local / "source", local / "target"
        source.write_bytes(data)
        store.put_file("big/file", source)
        target.write_bytes(b"old")
        another.get_file("big/file", target)
        assert target.read_bytes() == data
        assert sorted(path.name for path in local.iterdir()) == ["source", "target"]
        with pytest.raises(NotFound):
            store.put_file("big/none", local / "missing")
        assert store.size("big/none") is None


def conditional(store: Store) -> ConditionalStore:
    found = again(store)
    assert isinstance(found, ConditionalStore)
    return found


class ConditionalConformance:
    def test_replaces_only_what_was_read(self, store: Store) -> None:
        one, two = conditional(store), conditional(store)
        with pytest.raises(NotFound):
            one.read("k")
        first = one.swap("k", b"first", None)
        with pytest.raises(Changed):
            two.swap("k", b"mine", None)
        found = two.read("k")
        assert (found.data, found.tag) == (b"first", first)
        assert 0 <= found.age < 60
        second = two.swap("k", b"second", first)
        assert second != first
        with pytest.raises(Changed):
            one.swap("k", b"late", first)
        assert one.get("k") == b"second"
        one.delete("k")
        with pytest.raises(Changed):
            two.swap("k", b"third", second)
        with pytest.raises(NotFound):
            one.read("k")

    def test_of_many_swappers_exactly_one_wins(self, store: Store) -> None:
        writers, rounds = 16, 6
        stores = [conditional(store) for _ in range(writers)]
        start = threading.Barrier(writers)
        tags: list[str | None] = [None]

        def write(number: int) -> list[bool]:
            won = []
            for round_ in range(rounds):
                start.wait(60)
                tag = tags[-1]
                start.wait(60)
                try:
                    tags.append(stores[number].swap("race", f"{round_} {number}".encode() * 100, tag))
                    won.append(True)
                except Changed:
                    won.append(False)
            return won

        with ThreadPoolExecutor(writers) as pool:
            results = list(pool.map(write, range(writers)))
        for round_ in range(rounds):
            assert [results[number][round_] for number in range(writers)].count(True) == 1
        last = next(number for number in range(writers) if results[number][rounds - 1])
        assert store.get("race") == f"{rounds - 1} {last}".encode() * 100
