"""The S3 store: the shared suite against a pretended S3 (moto), and what only a network can do wrong."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.storage import remote, s3
from skyc.runtime.storage.base import Changed, Machine, Store, StoreError, StoreFault, open_store
from skyc.runtime.storage.conformance import ConditionalConformance, StoreConformance
from skyc.runtime.storage.s3 import S3Store
from tests.storage.moto_s3 import moto_s3, shares_moto

pytestmark = shares_moto
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> str:
    return moto_s3()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-s3-secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def store(server: str, credentials: None) -> Store:
    store = S3Store(f"bucket-{next(_numbers)}", "a/prefix", region="us-east-1", endpoint=server)
    client(server).create_bucket(Bucket=store.bucket)
    return store


def client(server: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=server, region_name="us-east-1")


class TestS3Store(StoreConformance, ConditionalConformance):
    pass


def test_a_uri_opens_the_same_store(store: Store) -> None:
    again = open_store(store.uri)
    assert again.uri == store.uri
    assert "a/prefix" in store.uri
    store.put("k", b"x")
    assert again.get("k") == b"x"


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://b/p?secret=x", "s3://user:word@b/p", "s3://b/a/../c"])
def test_refuses_uris_that_name_no_place(uri: str) -> None:
    with pytest.raises(SkycError) as caught:
        open_store(uri)
    assert "secret" not in str(caught.value) and "word" not in str(caught.value)


def test_a_bucket_that_is_gone_is_not_an_empty_one(server: str) -> None:
    store = S3Store("no-such-bucket", region="us-east-1", endpoint=server)
    for read in (lambda: store.get("k"), lambda: list(store.list("")), lambda: store.swap("k", b"x", None)):
        with pytest.raises(StoreError) as caught:
            read()
        assert caught.value.kind is StoreFault.UNREACHABLE


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    with pytest.raises(StoreError) as caught:
        S3Store("bucket", region="us-east-1", endpoint="http://127.0.0.1:1").get("k")
    assert caught.value.kind is StoreFault.UNREACHABLE
    assert "hidden-s3-secret" not in str(caught.value)


def test_without_credentials(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError) as caught:
        S3Store("bucket", region="us-east-1", endpoint=server).get("k")
    assert caught.value.kind is StoreFault.DENIED
    assert "aws configure" in str(caught.value)


class Losing:
    """A client whose answers to PUT are lost after they took effect, so many times."""

    def __init__(self, real: Any, lost: int) -> None:
        self._real = real
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def put_object(self, **arguments: Any) -> Any:
        from botocore.exceptions import ReadTimeoutError

        answer = self._real.put_object(**arguments)
        if self._lost:
            self._lost -= 1
            raise ReadTimeoutError(endpoint_url="x")
        return answer


def test_what_was_written_was_written_even_if_the_answer_was_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(store, S3Store)
    real = s3.client(store.region, store.endpoint, s3._environment())
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    losing = Losing(real, 1)
    monkeypatch.setattr(S3Store, "_connected", lambda _: losing)
    first = store.swap("k", b"mine", None)
    losing._lost = 1
    second = store.swap("k", b"mine too", first)
    assert store.read("k").tag == second
    # What somebody else wrote meanwhile is still told from our own.
    real.put_object(Bucket=store.bucket, Key="a/prefix/k", Body=b"another's")
    losing._lost = 1
    with pytest.raises(Changed):
        store.swap("k", b"mine again", second)


def test_a_large_file_goes_in_parts(store: Store, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "AT_ONCE", 1 << 20)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 40_000)
    store.put_file("big", source)
    store.get_file("big", target)
    assert target.read_bytes() == source.read_bytes()


def test_a_key_that_may_not_be_used_is_told_from_a_bucket_that_may_not() -> None:
    message = "User: arn:aws:sts::1:assumed-role/r/i is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:…"
    for text, said in ((message, "KMS key"), ("Access Denied", "refused (AccessDenied)")):
        answer = {"Error": {"Code": "AccessDenied", "Message": text}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        failure = S3Store("sealed", machine=Machine())._refusal(answer, "k")
        assert isinstance(failure, StoreError) and failure.kind is StoreFault.DENIED
        assert said in failure.message and "arn:aws" not in failure.message
