"""`skyc backend create` where nothing comes of it: what is said names the host, the reason and what to do, and
never that a place is there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import Diagnostic, SkycError, unreached
from skyc.compiler.ir import DeploymentId
from skyc.providers.made_buckets import failed
from skyc.providers.retry import Again, NoCredentials, Refused, Schedule, SourceFailure, Unheard, patiently
from skyc.runtime.backend import faults
from skyc.runtime.lock import deployment_lock
from skyc.runtime.storage import remote
from skyc.runtime.storage.base import ConditionalStore, StoreError, StoreFault, open_store
from tests.storage.serving import Reply, serving


def refused(uri: str, **options: str) -> Diagnostic:
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(uri, **options)
    (said,) = caught.value.diagnostics
    assert said.hint
    return said


def test_a_file_system_without_directories_is_no_mistake_of_ours() -> None:
    said = refused("file:///proc/nope/x")
    assert said.slug == "backend-not-usable" and "No directory can be made in /proc" in said.detail
    assert "is there" not in said.summary


def test_a_lock_that_cannot_be_made_is_given_up(tmp_path: Path) -> None:
    """A name that leads nowhere is answered as one that was purged this moment, and would be for ever."""
    folder = tmp_path / "deployments" / "train"
    folder.mkdir(parents=True)
    (folder / "lock").symlink_to(tmp_path / "nowhere" / "lock")
    with pytest.raises(SkycError) as caught, deployment_lock(tmp_path, DeploymentId("train"), command="test"):
        pass
    assert caught.value.diagnostics[0].slug == "home-unusable"


def test_a_server_nobody_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", ())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{nobody.getsockname()[1]}"
        said = refused(f"https://{where}/terraform/state/skyc")
    assert said.slug == "backend-unreachable"
    assert f"{where} cannot be reached: nothing takes connections there" in said.detail


def test_a_name_nobody_has() -> None:
    try:
        try:
            raise socket.gaierror(-2, "Name or service not known: user:hidden-word@host")
        except OSError as below:
            raise RuntimeError("hidden-word") from below
    except RuntimeError as failure:
        said = unreached("nowhere.invalid", failure)
    assert said == "nowhere.invalid cannot be reached: no address is known for that name"
    assert unreached("host", ValueError()) == "host cannot be reached"


def test_only_who_was_never_heard_counts_as_not_reached() -> None:
    def attempt() -> None:
        raise Again("host cannot be reached", unheard=True)

    with pytest.raises(Unheard, match=r"cannot be reached \(1 attempts\)"):
        patiently(Schedule(pauses=()), attempt)


@pytest.mark.parametrize(
    ("failure", "slug"),
    [
        (Unheard("host cannot be reached"), "backend-unreachable"),
        (Refused("GET host answered 403", 403), "backend-bucket-refused"),
        (NoCredentials("there are no credentials"), "backend-no-credentials"),
        (SourceFailure("host answered 500"), "backend-bucket-failed"),
    ],
)
def test_why_a_bucket_was_not_made(failure: SourceFailure, slug: str) -> None:
    said = failed("bucket", failure, "log in as somebody")
    assert said.slug == slug and str(failure) in said.detail and said.hint


def test_a_key_nobody_knows_is_not_taken_for_a_bucket_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-word")
    body = b"<Error><Code>%s</Code><Message>no</Message></Error>"
    code = b"InvalidAccessKeyId"
    with serving(lambda asked: Reply(status=403, body=b"" if asked.method == "HEAD" else body % code)) as served:
        assert refused("s3://theirs/x", region="us-east-1", endpoint=served.url).slug == "backend-bucket-refused"
        code = b"AccessDenied"
        assert refused("s3://theirs/x", region="us-east-1", endpoint=served.url).slug == "backend-bucket-taken"


@pytest.mark.parametrize(
    ("uri", "kind", "seen", "slug", "words"),
    [
        ("gs://b/p", StoreFault.UNREACHABLE, True, "backend-unreachable", "cannot be reached"),
        ("gs://b/p", StoreFault.DENIED, True, "backend-not-usable", "is there"),
        ("https://host/state", StoreFault.DENIED, False, "backend-not-usable", "for this login"),
        ("file:///x", StoreFault.FULL, False, "backend-not-usable", "cannot hold states"),
    ],
)
def test_what_is_said_to_be_there(uri: str, kind: StoreFault, seen: bool, slug: str, words: str) -> None:
    store = open_store(uri)
    assert isinstance(store, ConditionalStore)
    said = faults.not_proven(store, StoreError(kind, "It was so."), seen=seen)
    assert said.slug == slug and words in said.summary and "It was so." in said.detail
