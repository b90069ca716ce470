"""`skyc backend create` and `show` for Google Cloud Storage, against a fake of its API (no emulator has these properties)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.runtime.backend.settings import configured
from skyc.runtime.storage.gs import GsStore
from tests.storage.fake_gcs import FakeGcs
from tests.storage.serving import Fault, Served, as_json, serving


@pytest.fixture
def fake() -> FakeGcs:
    return FakeGcs()


@pytest.fixture
def server(fake: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_PROJECT", "mine")
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "hidden-gs-token")
    with serving(fake.answer) as served:
        yield served


def test_a_bucket_is_made_closed(fake: FakeGcs, server: Served, tmp_path: Path) -> None:
    made = skyc.backend_create("gs://made/team", region="europe-west4", endpoint=server.url)
    assert made.made and all(found.holds for found in made.properties), made.properties
    row = fake.buckets["made"]
    assert row["location"] == "europe-west4"
    assert row["iamConfiguration"] == {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
    assert row["versioning"] == {"enabled": True} and row["softDeletePolicy"]["retentionDurationSeconds"] == "604800"
    # All of it in the request that makes it: there is no moment in which it is open.
    assert [asked.method for asked in server.asked if asked.path == "/storage/v1/b"] == ["POST"]

    (tmp_path / "config.yaml").write_text(made.setting)
    objects = configured(tmp_path)
    assert isinstance(objects, GsStore) and (objects.bucket, objects.prefix) == ("made", "team/")
    assert list(objects.list("")) == []
    # Made again, nothing changes.
    before = dict(row)
    again = skyc.backend_create("gs://made/team", endpoint=server.url)
    assert not again.made and again.properties == made.properties
    assert fake.buckets["made"] == before
    shown = skyc.backend_show(home=tmp_path)
    assert shown is not None and shown.properties == made.properties
    # What somebody has opened is seen, and closed by who made it.
    row["iamConfiguration"]["publicAccessPrevention"] = "inherited"
    row["versioning"] = {"enabled": False}
    shown = skyc.backend_show(home=tmp_path)
    assert shown is not None
    assert {found.name for found in shown.properties if not found.holds} == {"versions", "public access"}
    skyc.backend_create("gs://made/team", endpoint=server.url)
    assert fake.buckets["made"] == before


def test_a_key_of_ones_own(fake: FakeGcs, server: Served) -> None:
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    made = skyc.backend_create("gs://made/team", region="europe-west4", endpoint=server.url, key=key)
    assert {found.name: found.detail for found in made.properties}["encryption"] == key


def test_a_bucket_of_others_is_refused(fake: FakeGcs, server: Served) -> None:
    fake.others.add("theirs")
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("gs://theirs/team", region="europe-west4", endpoint=server.url)
    assert caught.value.diagnostics[0].slug == "backend-bucket-taken"
    # Taken between the look and the request.
    server.faults.append(Fault(method="GET", text="theirs", reply=as_json({"error": {"code": 404, "message": "gone"}}, 404)))
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("gs://theirs/team", region="europe-west4", endpoint=server.url)
    assert caught.value.diagnostics[0].slug == "backend-bucket-taken"


def test_a_bucket_that_skyc_did_not_make_is_not_changed(fake: FakeGcs, server: Served) -> None:
    fake.buckets["own"] = {"name": "own", "labels": {"team": "a"}}
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("gs://own/team", endpoint=server.url)
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-bucket-unfit" and "versions: not kept" in said.detail
    assert fake.buckets["own"] == {"name": "own", "labels": {"team": "a"}}
    access = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
    fake.buckets["own"] |= {"versioning": {"enabled": True}, "iamConfiguration": access}
    assert not skyc.backend_create("gs://own/team", endpoint=server.url).made


def test_a_lost_answer_makes_it_once(fake: FakeGcs, server: Served) -> None:
    server.faults.append(Fault(method="POST", text="/storage/v1/b?", lost=True))
    made = skyc.backend_create("gs://made/team", region="europe-west4", endpoint=server.url)
    assert all(found.holds for found in made.properties)


@pytest.mark.parametrize(("name", "words"), [("GOOGLE_PROJECT", "GOOGLE_PROJECT"), ("region", "--region")])
def test_what_is_missing_is_said(server: Served, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.delenv(name, raising=False)
    for other in (
        "GOOGLE_CLOUD_PROJECT",
        "GCLOUD_PROJECT",
        "CLOUDSDK_CORE_PROJECT",
        "CLOUDSDK_COMPUTE_REGION",
        "GCLOUD_REGION",
    ):
        monkeypatch.delenv(other, raising=False)
    region = None if name == "region" else "europe-west4"
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("gs://made/team", region=region, endpoint=server.url)
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-no-credentials" and words in f"{said.detail} {said.hint}"
    assert fake.buckets == {}


def test_made_and_not_to_be_used_from_here(fake: FakeGcs, server: Served) -> None:
    fake.denied.add("storage.objects.create")
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("gs://made/team", region="europe-west4", endpoint=server.url)
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-not-usable" and "storage.objects.create" in said.detail
    assert "hidden" not in str(said)
    fake.denied.clear()
    assert not skyc.backend_create("gs://made/team", endpoint=server.url).made


def test_without_credentials(server: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_OAUTH_ACCESS_TOKEN")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("gs://made/team", region="europe-west4", endpoint=server.url)
    assert caught.value.diagnostics[0].slug == "backend-no-credentials"
