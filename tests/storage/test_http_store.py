"""Terraform's HTTP protocol as a store: the shared suite against a stand-in for GitLab, and what such a server can do wrong."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.storage import remote, tfhttp
from skyc.runtime.storage.base import Changed, NotFound, StoreError, StoreFault, open_store
from skyc.runtime.storage.conformance import ConditionalConformance, StoreConformance
from skyc.runtime.storage.tfhttp import HttpStore
from tests.storage.fake_gitlab import BASE, FakeGitLab, State
from tests.storage.serving import Fault, Reply, Served, serving

WORD = "hidden-http-secret"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_HTTP_USERNAME", "maintainer")
    monkeypatch.setenv("TF_HTTP_PASSWORD", WORD)


@pytest.fixture(scope="module")
def gitlab() -> FakeGitLab:
    return FakeGitLab(users={"maintainer": WORD, "developer": WORD}, readers={"developer"})


@pytest.fixture(scope="module")
def server(gitlab: FakeGitLab) -> Iterator[Served]:
    with serving(gitlab.answer) as served:
        yield served


@pytest.fixture
def store(server: Served) -> Iterator[HttpStore]:
    yield HttpStore(f"{server.url}{BASE}team-{next(_numbers)}")
    server.faults.clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))


class TestHttpStore(StoreConformance, ConditionalConformance):
    pass


def state_of(gitlab: FakeGitLab, store: HttpStore, key: str) -> State:
    return gitlab.states[store._address(key).rpartition("/")[2]]


def test_names_are_such_as_gitlab_has(store: HttpStore, gitlab: FakeGitLab) -> None:
    store.put("train/deployment.json", b"x")
    store.put("a_-b", b"1")
    store.put("a/b", b"2")
    assert store.get("a_-b") == b"1" and store.get("a/b") == b"2"
    name = store.address.rpartition("/")[2]
    assert gitlab.states[f"{name}-train_-deployment_2ejson"].versions


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://", "must have the form"),
        ("https://host", "must have the form"),
        ("https://user:hidden@host/state/x", "TF_HTTP_USERNAME"),
        ("http://gitlab.example.com/state/x", "plain HTTP"),
        ("https://host/state/x?token=hidden", "by nothing else"),
        ("https://host/state/x?lock_method=STEAL", "by nothing else"),
    ],
)
def test_addresses_that_cannot_be_used(uri: str, words: str) -> None:
    with pytest.raises(SkycError) as caught:
        open_store(uri)
    said = caught.value.diagnostics[0].detail
    assert words in said and "hidden" not in said


@pytest.mark.parametrize(
    ("careless", "words"),
    [
        ("none", "gives no locks"),
        ("locks", "one lock to two"),
        ("post", "does not hold the lock"),
        ("unlock", "take a lock away"),
    ],
)
def test_a_server_without_real_locks_is_refused_before_anything_is_written(careless: str, words: str) -> None:
    careful = FakeGitLab(careless={careless})
    with serving(careful.answer) as served:
        store = HttpStore(f"{served.url}{BASE}team")
        with pytest.raises(SkycError) as caught:
            store.put("train/ssh/login", b"key")
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-unlocked" and words in said.detail
    assert list(careful.states) == ["team"]


def test_a_place_that_is_not_there_or_not_to_be_seen(server: Served) -> None:
    store = HttpStore(f"{server.url}/api/v4/projects/43/terraform/state/team")
    with pytest.raises(StoreError) as caught:
        store.put("k", b"x")
    assert caught.value.kind is StoreFault.DENIED and "may not see it" in str(caught.value)


def test_other_methods_and_places_of_locks(server: Served) -> None:
    other = FakeGitLab(methods=("LOCK", "UNLOCK"))
    with serving(other.answer) as served:
        store = open_store(f"{served.url}{BASE}team?lock=/lock&lock_method=LOCK&unlock_method=UNLOCK")
        store.put("k", b"x")
        assert open_store(store.uri).get("k") == b"x"
        # Every address but the server's own would be asked with GitLab's.
        with pytest.raises(SkycError) as caught:
            open_store(f"{served.url}{BASE}fresh").put("k", b"x")
    assert caught.value.diagnostics[0].slug == "backend-unlocked"


def test_every_write_gives_back_its_lock(store: HttpStore, gitlab: FakeGitLab) -> None:
    tag = store.swap("k", b"x", None)
    with pytest.raises(Changed):
        store.swap("k", b"y", None)
    store.swap("k", b"z", tag)
    store.delete("k")
    assert [state.lock for state in gitlab.states.values()] == [None] * len(gitlab.states)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method, text", [("POST", "?ID="), ("POST", "/lock"), ("DELETE", "/lock")])
def test_whose_answer_was_lost(
    store: HttpStore, server: Served, gitlab: FakeGitLab, method: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("other", b"x")
    server.faults.append(Fault(method=method, text=text, lost=True))
    first = store.swap("k", b"mine", None)
    server.faults.append(Fault(method=method, text=text, lost=True))
    second = store.swap("k", b"mine too", first)
    assert store.read("k").tag == second and store.get("k") == b"mine too"
    assert sorted(store.list("")) == ["k", "other"]
    # Nobody else is kept waiting by what was lost, for longer than it takes to call it lost.
    monkeypatch.setattr(tfhttp, "STALE", -10.0)
    another = HttpStore(store.address)
    another.put("k", b"another's")
    with pytest.raises(Changed):
        store.swap("k", b"late", second)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_busy_is_asked_again(store: HttpStore, server: Served, status: int) -> None:
    for method in ("GET", "POST"):
        server.faults.append(Fault(method=method, reply=Reply(status=status)))
    tag = store.swap("k", b"x", None)
    assert store.read("k").tag == tag


def test_who_was_paused_until_the_lock_was_taken_away_writes_nothing(
    store: HttpStore, gitlab: FakeGitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", ())
    store.put("k", b"before")
    before = store.read("k").tag
    monkeypatch.setattr(tfhttp, "STALE", -10.0)
    asked = store._ask

    def paused(method: str, url: str, document: object = None, **more: object) -> object:
        if method == "POST" and more.get("id_"):
            # While it was paused, somebody takes its lock for a dead one's, writes, and is done.
            monkeypatch.setattr(store, "_ask", asked)
            HttpStore(store.address).put("k", b"another's")
        return asked(method, url, document, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_ask", paused)
    with pytest.raises((Changed, StoreError)):
        store.swap("k", b"late", before)
    assert HttpStore(store.address).get("k") == b"another's"


WRITER = """
import sys, os, time
from skyc.runtime.storage.tfhttp import HttpStore
store = HttpStore(sys.argv[1])
ask = store._ask
def stop(method, url, document=None, **more):
    if method == "POST" and more.get("id_"):
        print("locked", flush=True)
        time.sleep(300)
    return ask(method, url, document, **more)
store.get("k")
store._ask = stop
store.put("k", b"never")
"""


@pytest.mark.fault
def test_a_killed_writer_holds_nobody_up_for_long(
    store: HttpStore, gitlab: FakeGitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k", b"before")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, store.address], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "locked\n"
    finally:
        writer.kill()
        writer.communicate()
    state = state_of(gitlab, store, "k")
    assert state.lock is not None
    monkeypatch.setattr(tfhttp, "WAIT", 0.3)
    with pytest.raises(StoreError) as caught:
        store.put("k", b"x")
    assert "is locked by maintainer since" in str(caught.value)
    # Reading needs no lock.
    assert store.get("k") == b"before"
    state.since -= timedelta(seconds=tfhttp.STALE + 5)
    store.put("k", b"after")
    assert store.get("k") == b"after" and state.lock is None


def test_a_lock_of_terraforms_is_never_touched(store: HttpStore, gitlab: FakeGitLab, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("k", b"x")
    state = state_of(gitlab, store, "k")
    state.lock, state.who = "a-lock-of-terraforms", "somebody"
    monkeypatch.setattr(tfhttp, "WAIT", 0.3)
    with pytest.raises(StoreError) as caught:
        store.put("k", b"y")
    assert "locked by somebody" in str(caught.value) and "a-lock-of-terraforms" in str(caught.value)
    assert state.lock == "a-lock-of-terraforms"
    # Who has read something older is told so without waiting.
    with pytest.raises(Changed):
        store.swap("k", b"y", "1-another")


def test_what_is_not_skycs_is_not_read_and_not_written_over(store: HttpStore, gitlab: FakeGitLab) -> None:
    store.put("other", b"x")
    gitlab.states[store._address("k").rpartition("/")[2]] = State(versions={3: b'{"version": 4, "serial": 3, "lineage": "l"}'})
    for act in (lambda: store.get("k"), lambda: store.put("k", b"x")):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.kind is StoreFault.DAMAGED
    assert list(state_of(gitlab, store, "k").versions) == [3]


def test_a_damaged_document_is_found(store: HttpStore, gitlab: FakeGitLab) -> None:
    store.put("k", b"content")
    versions = state_of(gitlab, store, "k").versions
    row = json.loads(versions[max(versions)])
    versions[max(versions)] = json.dumps({**row, "data": "Y29udGVudA==".replace("Y", "Z")}).encode()
    with pytest.raises(StoreError) as caught:
        store.get("k")
    assert caught.value.kind is StoreFault.DAMAGED


def test_a_reader_reads_and_is_told_what_it_lacks(store: HttpStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("k", b"x")
    monkeypatch.setenv("TF_HTTP_USERNAME", "developer")
    reader = HttpStore(store.address)
    assert reader.get("k") == b"x" and list(reader.list("")) == ["k"]
    with pytest.raises(StoreError) as caught:
        reader.put("k", b"y")
    assert caught.value.kind is StoreFault.DENIED and "Maintainer" in str(caught.value)


@pytest.mark.parametrize("name", ["TF_HTTP_PASSWORD", "TF_HTTP_USERNAME"])
def test_a_login_that_is_refused_is_not_repeated(store: HttpStore, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "wrong-hidden-word")
    with pytest.raises(StoreError) as caught:
        store.get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "TF_HTTP_PASSWORD" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_made_again_while_it_is_removed_it_is_listed(store: HttpStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("k", b"x")
    erase = store._erase

    def slow(name: str) -> None:
        erase(name)
        HttpStore(store.address).put("k", b"made again")

    monkeypatch.setattr(store, "_erase", slow)
    store.delete("k")
    assert list(store.list("")) == ["k"]
    assert store.get("k") == b"made again"


def test_a_writer_that_died_before_the_list_was_written_is_made_good(store: HttpStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    store.put("other", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(store, "_note", die)
        with pytest.raises(KeyboardInterrupt):
            store.put("k", b"x")
    assert list(store.list("")) == ["other"]
    HttpStore(store.address).put("k", b"y")
    assert list(store.list("")) == ["k", "other"]


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    with pytest.raises(StoreError) as caught:
        HttpStore("http://127.0.0.1:1/state/x").get("k")
    assert caught.value.kind is StoreFault.UNREACHABLE
    assert WORD not in str(caught.value)


def test_what_was_never_there(store: HttpStore) -> None:
    with pytest.raises(NotFound):
        store.read("k")
    assert list(store.list("")) == []
