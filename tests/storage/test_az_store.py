"""Azure Blob Storage as a store: the shared suite against Azurite, and what only a network can do wrong."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.storage import az, remote
from skyc.runtime.storage.az import AzStore
from skyc.runtime.storage.base import AlreadyExists, Changed, Store, StoreError, StoreFault, open_store
from skyc.runtime.storage.conformance import ConditionalConformance, StoreConformance
from tests.storage.azurite import ACCOUNT, KEY, azurite, forward, needs_azurite
from tests.storage.serving import Fault, Reply, Served, serving

pytestmark = needs_azurite
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        if name.startswith(("ARM_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)


@pytest.fixture(scope="module")
def emulator() -> str:
    return azurite()


@pytest.fixture(scope="module")
def faulty(emulator: str) -> Iterator[Served]:
    """The same with faults before it."""
    with serving(lambda asked: forward(emulator, asked)) as served:
        yield served


@pytest.fixture
def store(emulator: str, environment: None) -> Store:
    store = AzStore(ACCOUNT, f"container-{os.getpid()}-{next(_numbers)}", "a/prefix", endpoint=emulator)
    client(store).create_container()
    return store


def client(store: AzStore) -> Any:
    return az._client(store.account, store.endpoint, az._environment()).get_container_client(store.container)


@pytest.fixture
def shaky(store: AzStore, faulty: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzStore]:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    yield AzStore(ACCOUNT, store.container, "a/prefix", endpoint=f"{faulty.url}/{ACCOUNT}")
    faulty.faults.clear()


class TestAzStore(StoreConformance, ConditionalConformance):
    pass


def test_a_uri_opens_the_same_store(store: Store) -> None:
    again = open_store(store.uri)
    assert again.uri == store.uri
    assert "a/prefix" in store.uri
    store.put("k", b"x")
    assert again.get("k") == b"x"


@pytest.mark.parametrize(
    "uri", ["az://", "az://account", "az:///c/key", "az://a/c/p?secret=x", "az://user:word@a/c/p", "az://a/c/p/../q"]
)
def test_refuses_uris_that_name_no_place(uri: str) -> None:
    with pytest.raises(SkycError) as caught:
        open_store(uri)
    assert "secret" not in str(caught.value) and "word" not in str(caught.value)


@pytest.mark.parametrize("key", ["a.", "a./b", "a/b."])
def test_names_that_azure_would_change_are_refused(key: str) -> None:
    with pytest.raises(StoreError) as caught:
        AzStore("account", "container").put(key, b"x")
    assert caught.value.kind is StoreFault.INVALID


def test_a_container_that_is_gone_is_not_an_empty_one(emulator: str) -> None:
    store = AzStore(ACCOUNT, "no-such-container", endpoint=emulator)
    for read in (lambda: store.get("k"), lambda: list(store.list("")), lambda: store.swap("k", b"x", None)):
        with pytest.raises(StoreError) as caught:
            read()
        assert caught.value.kind is StoreFault.UNREACHABLE
        assert "`no-such-container` of" in str(caught.value)


def test_a_list_comes_in_pages(store: AzStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(az, "_PAGE", 2)
    keys = [f"k/{number}" for number in range(5)]
    for key in keys:
        store.put(key, b"x")
    assert list(store.list("k/")) == keys


def test_what_was_written_was_written_even_if_the_answer_was_lost(shaky: AzStore, store: AzStore, faulty: Served) -> None:
    faulty.faults.append(Fault(method="PUT", lost=True))
    first = shaky.swap("k", b"mine", None)
    faulty.faults.append(Fault(method="PUT", lost=True))
    second = shaky.swap("k", b"mine too", first)
    assert store.read("k").tag == second
    store.put("k", b"another's")
    faulty.faults.append(Fault(method="PUT", lost=True))
    with pytest.raises(Changed):
        shaky.swap("k", b"mine again", second)
    faulty.faults.append(Fault(method="PUT", lost=True))
    shaky.put("new", b"x", if_absent=True)
    with pytest.raises(AlreadyExists):
        shaky.put("new", b"y", if_absent=True)


def test_an_answer_that_is_cut_off_or_damaged_is_asked_for_again(shaky: AzStore, faulty: Served, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    shaky.put("k", data)
    faulty.faults.append(Fault(method="GET", cut=True))
    assert shaky.get("k") == data
    blob = client(shaky).get_blob_client("a/prefix/k")
    # As if bytes had changed on their way.
    settings = blob.get_blob_properties().content_settings
    settings.content_md5 = bytearray(16)
    blob.set_http_headers(settings)
    with pytest.raises(StoreError) as caught:
        shaky.get_file("k", tmp_path / "out")
    assert caught.value.kind is StoreFault.UNREACHABLE and "checksum" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(shaky: AzStore, faulty: Served, status: int) -> None:
    faulty.faults.append(Fault(method="PUT", reply=Reply(status=status), times=2))
    tag = shaky.swap("k", b"x", None)
    assert shaky.read("k").tag == tag


def refusal(status: int, code: str, text: str = "No.") -> Reply:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
    return Reply(status=status, body=body.encode(), headers={"x-ms-error-code": code, "Content-Type": "application/xml"})


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal(403, "AuthorizationPermissionMismatch"), "Storage Blob Data Contributor"),
        (refusal(403, "AuthorizationFailure"), "firewall"),
        (refusal(403, "AuthenticationFailed", "Request date header too old: 'Mon'"), "clock is wrong"),
        (refusal(401, "InvalidAuthenticationInfo"), "az login"),
    ],
)
def test_what_is_denied_says_what_to_do(shaky: AzStore, faulty: Served, reply: Reply, words: str) -> None:
    """In the words of the reference of its error codes: an emulator gives none of these."""
    faulty.faults.append(Fault(method="PUT", reply=reply))
    with pytest.raises(StoreError) as caught:
        shaky.put("k", b"x")
    assert caught.value.kind is StoreFault.DENIED
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_wrong_key_is_denied_and_not_repeated(store: AzStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "aGlkZGVuLWF6LXNlY3JldA==")
    with pytest.raises(StoreError) as caught:
        store.get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "aGlkZGVu" not in str(caught.value)


def test_a_connection_string_counts_for_its_account_alone(
    store: AzStore, emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={emulator};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    store.put("k", b"x")
    assert AzStore(ACCOUNT, store.container, "a/prefix").get("k") == b"x"
    with pytest.raises(StoreError):
        AzStore("another", store.container, endpoint=emulator).get("k")


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    with pytest.raises(StoreError) as caught:
        AzStore("account", "container", endpoint="http://127.0.0.1:1/account").get("k")
    assert caught.value.kind is StoreFault.UNREACHABLE


def test_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError) as caught:
        AzStore("account", "container").get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "az login" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"ARM_CLIENT_SECRET": "s"}, "ClientSecretCredential"),
        ({"ARM_OIDC_TOKEN": "t"}, "ClientAssertionCredential"),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/f"}, "ClientAssertionCredential"),
        ({"ARM_USE_MSI": "true"}, "ManagedIdentityCredential"),
        ({"ARM_SAS_TOKEN": "sv=1"}, "AzureSasCredential"),
        ({}, "AzureCliCredential"),
    ],
)
def test_credentials_are_terraforms(given: dict[str, str], kind: str) -> None:
    principal = {"ARM_TENANT_ID": "11111111-1111-1111-1111-111111111111", "ARM_CLIENT_ID": "c"}
    assert type(az._credential("account", {**principal, **given})).__name__ == kind


def test_a_login_does_not_travel_in_the_clear(faulty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    class Login:
        def get_token(self, *_: str, **__: Any) -> Any:
            from azure.core.credentials import AccessToken

            return AccessToken("hidden-az-token", 2**40)

    monkeypatch.setattr(az, "_credential", lambda *_: Login())
    monkeypatch.setenv("AZURE_ANOTHER", "so that no client is kept for it")
    faulty.asked.clear()
    with pytest.raises(StoreError) as caught:
        AzStore(ACCOUNT, "container", endpoint=f"{faulty.url}/{ACCOUNT}").get("k")
    assert caught.value.kind is StoreFault.INVALID
    assert not faulty.asked and "hidden" not in str(caught.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.storage.blob", None)
    monkeypatch.setenv("AZURE_ANOTHER", "so that no client is kept for this")
    with pytest.raises(StoreError) as caught:
        AzStore("account", "container").get("k")
    assert "skyc[azure]" in str(caught.value)


def test_a_large_file_goes_in_parts(emulator: str, store: AzStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "AT_ONCE", 1 << 20)
    monkeypatch.setenv("AZURE_ANOTHER", "so that a client is made with this limit")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 40_000)
    store.put_file("big", source)
    assert len(client(store).get_blob_client("a/prefix/big").get_block_list()[0]) == 2
    store.get_file("big", target)
    assert target.read_bytes() == source.read_bytes()
