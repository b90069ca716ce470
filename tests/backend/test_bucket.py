"""`skyc backend create` and `show` against a pretended S3 (moto)."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.providers.aws import bucket as bucket_module
from skyc.providers.aws.client import Account, Answered
from skyc.runtime.backend import commands
from skyc.runtime.backend.settings import configured
from skyc.runtime.storage.s3 import S3Store

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"made-{next(_numbers)}"


@pytest.fixture
def client(uri: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As at AWS: the address of the service is known without being said."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return boto3.client("s3")


def test_a_bucket_is_made_closed(client: Any, name: str, tmp_path: Path) -> None:
    made = skyc.backend_create(f"s3://{name}/team")
    assert made.made
    assert [(found.name, found.holds) for found in made.properties] == [
        ("versions", True),
        ("encryption", True),
        ("public access", True),
        ("TLS only", True),
        ("earlier versions", True),
    ]
    assert client.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert set(client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    (statement,) = json.loads(client.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 90
    assert "Contents" not in client.list_objects_v2(Bucket=name)

    # What it says to write is what a home reads.
    (tmp_path / "config.yaml").write_text(made.setting)
    store = configured(tmp_path)
    assert isinstance(store, S3Store)
    assert (store.bucket, store.prefix, store.region) == (name, "team/", "eu-west-1")

    # Once more, nothing is made and nothing changes.
    again = skyc.backend_create(f"s3://{name}/team")
    assert not again.made and again.properties == made.properties


def test_a_call_that_was_cut_off_is_finished(client: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Account.call
    for stop in ("put_public_access_block", "put_bucket_encryption", "put_bucket_versioning", "put_bucket_policy"):

        def call(self: Account, service: str, region: str, operation: str, _stop: str = stop, **arguments: Any) -> Any:
            if operation == _stop:
                raise KeyboardInterrupt
            return real(self, service, region, operation, **arguments)

        monkeypatch.setattr(Account, "call", call)
        with pytest.raises(KeyboardInterrupt):
            skyc.backend_create(f"s3://{name}")
    monkeypatch.setattr(Account, "call", real)
    assert all(found.holds for found in skyc.backend_create(f"s3://{name}").properties)


def test_a_bucket_of_ones_own_is_not_changed(client: Any, name: str) -> None:
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"s3://{name}")
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-bucket-unfit"
    assert "versions: not kept" in said.detail and "public access: not blocked" in said.detail
    assert "Status" not in client.get_bucket_versioning(Bucket=name)
    # Once its owner has made it fit, it is taken as it is.
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=bucket_module._CLOSED)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    made = skyc.backend_create(f"s3://{name}")
    assert not made.made
    assert {found.name: found.holds for found in made.properties}["TLS only"] is False


@pytest.mark.parametrize(("operation", "code"), [("head_bucket", "403"), ("create_bucket", "BucketAlreadyExists")])
def test_a_bucket_of_somebody_else(client: Any, name: str, monkeypatch: pytest.MonkeyPatch, operation: str, code: str) -> None:
    """moto has one account, so the answer of the other's bucket is put in its mouth."""
    real = Account.call

    def call(self: Account, service: str, region: str, asked: str, **arguments: Any) -> Any:
        if asked == operation:
            raise Answered(f"S3 {asked} answered {code}", code)
        return real(self, service, region, asked, **arguments)

    monkeypatch.setattr(Account, "call", call)
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"s3://{name}")
    assert caught.value.diagnostics[0].slug == "backend-bucket-taken"


def test_another_server_over_plain_http_gets_no_rule_that_locks_everybody_out(uri: str, s3: str, name: str) -> None:
    made = skyc.backend_create(f"s3://{name}/team", region="us-east-1", endpoint=s3)
    assert {found.name: found.holds for found in made.properties}["TLS only"] is False
    assert made.setting == f"state:\n  uri: s3://{name}/team\n  region: us-east-1\n  endpoint: {s3}\n"


def test_a_server_that_ignores_conditions_is_refused(client: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(self: S3Store, key: str, data: bytes, tag: str | None) -> str:
        self.put(key, data)
        return self.read(key).tag

    monkeypatch.setattr(S3Store, "swap", swap)
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"s3://{name}")
    assert caught.value.diagnostics[0].slug == "backend-unlocked"


def test_a_directory_does_too(tmp_path: Path) -> None:
    made = skyc.backend_create((tmp_path / "shared").as_uri())
    assert [(found.name, found.holds) for found in made.properties] == [("versions", False)]
    assert made.setting == f"state: {(tmp_path / 'shared').as_uri()}\n"


@pytest.mark.parametrize("uri", ["oss://bucket/x", "s3://", "bucket", "s3://b/p?region=x&secret=y"])
def test_refuses_what_is_no_place(uri: str) -> None:
    with pytest.raises(SkycError):
        skyc.backend_create(uri)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("state: oss://bucket/x", "bad-state-setting"),
        ("state: 'cos://bucket/x?region=eu-de'", "bad-state-setting"),
        ("state: [s3://b]", "bad-state-setting"),
        ("state: {uri: 's3://b', password: x}", "bad-state-setting"),
        ("state: {region: x}", "bad-state-setting"),
        ("state: s3://user:word@b/p", "bad-state-setting"),
        ("state: {", "bad-config"),
    ],
)
def test_a_setting_that_cannot_be_used(tmp_path: Path, text: str, slug: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(SkycError) as caught:
        configured(tmp_path)
    assert caught.value.diagnostics[0].slug == slug
    assert "word@" not in caught.value.diagnostics[0].detail


@pytest.mark.parametrize("text", ["", "state: local", "access: {}"])
def test_without_a_setting_states_stay_at_home(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert configured(tmp_path) is None
    assert commands.backend_show(home=tmp_path) is None
