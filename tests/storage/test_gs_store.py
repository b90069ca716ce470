"""Google Cloud Storage as a store: the shared suite against a fake that heeds conditions, what only a network can do wrong, and the
unconditional half against an emulator of somebody else's (`make long`), so that the fake is not the only judge."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.storage import gs, remote
from skyc.runtime.storage.base import AlreadyExists, Changed, Store, StoreError, StoreFault, open_store
from skyc.runtime.storage.conformance import ConditionalConformance, StoreConformance
from skyc.runtime.storage.gs import GsStore
from tests.lengths import takes_minutes
from tests.storage.fake_gcs import FakeGcs
from tests.storage.serving import Fault, Reply, Served, as_json, serving

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN", *gs.KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="module")
def fake() -> FakeGcs:
    return FakeGcs()


@pytest.fixture(scope="module")
def server(fake: FakeGcs) -> Iterator[Served]:
    with serving(fake.answer) as served:
        yield served


@pytest.fixture
def store(server: Served, fake: FakeGcs) -> Iterator[GsStore]:
    store = GsStore(f"bucket-{next(_numbers)}", "a/prefix", endpoint=server.url)
    fake.buckets[store.bucket] = {"name": store.bucket}
    yield store
    server.faults.clear()
    fake.denied.clear()


class TestGsStore(StoreConformance, ConditionalConformance):
    pass


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    server.stop()


@takes_minutes
class TestAtAnEmulator(StoreConformance):
    """gcp-storage-emulator ignores conditions, so the tests of conditions are left out. Its server is shared by all."""

    test_if_absent = None  # type: ignore[assignment]
    test_of_many_conditional_writers_exactly_one_wins = None  # type: ignore[assignment]

    @pytest.fixture
    def store(self, emulator: str) -> Store:
        store = GsStore(f"bucket-{next(_numbers)}", "a/prefix", endpoint=emulator)
        gs._client(emulator, gs._environment()).create_bucket(store.bucket, project="p")
        return store


def test_a_uri_opens_the_same_store(store: GsStore) -> None:
    again = open_store(store.uri)
    assert again.uri == store.uri
    assert "a/prefix" in store.uri
    store.put("k", b"x")
    assert again.get("k") == b"x"


@pytest.mark.parametrize("uri", ["gs://", "gs:///key", "gs://b/p?secret=x", "gs://user:word@b/p", "gs://b/a/../c"])
def test_refuses_uris_that_name_no_place(uri: str) -> None:
    with pytest.raises(SkycError) as caught:
        open_store(uri)
    assert "secret" not in str(caught.value) and "word" not in str(caught.value)


def test_a_bucket_that_is_gone_is_not_an_empty_one(server: Served) -> None:
    store = GsStore("no-such-bucket", endpoint=server.url)
    for read in (lambda: store.get("k"), lambda: list(store.list("")), lambda: store.swap("k", b"x", None)):
        with pytest.raises(StoreError) as caught:
            read()
        assert caught.value.kind is StoreFault.UNREACHABLE
        assert "`no-such-bucket` does not exist" in str(caught.value)


def test_what_was_written_was_written_even_if_the_answer_was_lost(
    store: GsStore, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    server.faults.append(Fault(method="POST", lost=True))
    first = store.swap("k", b"mine", None)
    server.faults.append(Fault(method="POST", lost=True))
    second = store.swap("k", b"mine too", first)
    assert store.read("k").tag == second
    store.put("k", b"another's")
    server.faults.append(Fault(method="POST", lost=True))
    with pytest.raises(Changed):
        store.swap("k", b"mine again", second)
    server.faults.append(Fault(method="POST", lost=True))
    store.put("new", b"x", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("new", b"y", if_absent=True)


def test_an_answer_that_is_cut_off_or_damaged_is_asked_for_again(
    store: GsStore, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    data = bytes(range(256)) * 4000
    store.put("k", data)
    server.faults.append(Fault(method="GET", text="alt=media", cut=True))
    assert store.get("k") == data
    damaged = Reply(body=b"other bytes", headers={"X-Goog-Generation": "7", "X-Goog-Hash": "crc32c=AAAAAA=="})
    server.faults.append(Fault(method="GET", text="alt=media", reply=damaged))
    store.get_file("k", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    server.faults.append(Fault(method="GET", text="alt=media", reply=damaged, times=9))
    with pytest.raises(StoreError) as caught:
        store.get("k")
    assert caught.value.kind is StoreFault.UNREACHABLE and "checksum" in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(
    store: GsStore, server: Served, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    server.faults.append(Fault(method="POST", reply=Reply(status=status), times=2))
    tag = store.swap("k", b"x", None)
    assert store.read("k").tag == tag


def test_a_permission_that_is_missing_is_named(store: GsStore, fake: FakeGcs) -> None:
    store.put("k", b"x")
    for verb, act in (
        ("create", lambda: store.put("k", b"y")),
        ("get", lambda: store.get("k")),
        ("list", lambda: list(store.list(""))),
        ("delete", lambda: store.delete("k")),
    ):
        fake.denied = {f"storage.objects.{verb}"}
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.kind is StoreFault.DENIED
        assert f"storage.objects.{verb}" in str(caught.value) and "roles/storage.objectUser" in str(caught.value)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    with pytest.raises(StoreError) as caught:
        GsStore("bucket", endpoint="http://127.0.0.1:1").get("k")
    assert caught.value.kind is StoreFault.UNREACHABLE


def test_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(StoreError) as caught:
        GsStore("bucket").get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "gcloud auth application-default login" in str(caught.value)


def test_a_login_that_has_ended_and_a_clock_that_is_wrong() -> None:
    assert "has ended" in gs._no_login("('invalid_grant: Bad Request', {'error': 'invalid_grant'})")
    assert "clock" in gs._no_login(
        "invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable"
    )


def test_credentials_are_terraforms(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    row = {
        "type": "service_account",
        "client_email": "a@b",
        "private_key": key.decode(),
        "token_uri": "https://t",
        "project_id": "p",
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(row))
    for given in (str(file), file.read_text()):
        assert gs._credentials({"GOOGLE_CREDENTIALS": given}).service_account_email == "a@b"
    token = gs._credentials({"GOOGLE_CREDENTIALS": str(file), "GOOGLE_OAUTH_ACCESS_TOKEN": "t"})
    assert token.token == "t"


def test_a_token_that_is_refused_is_not_repeated(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "hidden-gs-secret")
    # A token does not travel in the clear.
    server.asked.clear()
    server.faults.append(Fault(method="GET", reply=as_json({"error": {"code": 401, "message": "Invalid Credentials"}}, 401)))
    with pytest.raises(StoreError) as caught:
        GsStore("bucket", endpoint=server.url).get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "hidden-gs-secret" not in str(caught.value) + repr(server.asked)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    monkeypatch.setenv("GOOGLE_ANOTHER", "so that no client is kept for it")
    with pytest.raises(StoreError) as caught:
        GsStore("bucket").get("k")
    assert "skyc[gcp]" in str(caught.value)


def test_a_large_file_goes_in_parts(store: GsStore, server: Served, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 40_000)
    server.asked.clear()
    store.put_file("big", source)
    assert [row.query.get("uploadType") for row in server.asked] == ["resumable", "resumable"]
    store.get_file("big", target)
    assert target.read_bytes() == source.read_bytes()


def test_the_host_that_is_not_reached_is_the_one_asked_and_no_password_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://user:secretpw@127.0.0.1:1"
    for endpoint, emulator in ((address, ""), (None, address.removeprefix("http://"))):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        with pytest.raises(remote.Again) as caught:
            GsStore("b", "p", endpoint=endpoint)._ask(lambda bucket: bucket.exists(timeout=2, retry=None), "x")
        assert str(caught.value).startswith("127.0.0.1:1 cannot be reached")
