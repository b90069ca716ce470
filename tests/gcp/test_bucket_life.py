"""Buckets at Google Cloud from the first apply to a purge, with the provider simulated and its APIs faked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skyc.compiler.ir import DeploymentId
from skyc.providers.gcp import client
from skyc.providers.gcp.buckets import bucket_uri
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.simulator import World
from skyc.runtime.session import Session
from tests.bucket_life import attributes, make, session_with, whole_life
from tests.gcp.conftest import graphs, of_type
from tests.gcp.fake import FakeGoogle, Row
from tests.refresh.fakes.server import serving

INFRA = "infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-4"


@dataclass
class OfTheWorld(FakeGoogle):
    """Has the buckets that the simulator has made."""

    world: World | None = None

    def buckets(self) -> dict[str, Row]:
        assert self.world is not None
        rows = self.world.resources("google_storage_bucket")
        return {row.id: {"name": row.id, "project": "mine", "labels": row.attributes["labels"]} for row in rows}


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfTheWorld]:
    for name in (*client.PROJECT_VARIABLES, *client.KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        fake = OfTheWorld(world=World(tmp_path / "home"))
        server.otherwise = fake.answer
        for name in ("COMPUTE", "IAM", "STORAGE"):
            monkeypatch.setenv(f"SKYC_GCP_{name}_URL", server.url)
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "a-token")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
        yield fake


@pytest.fixture
def session(tmp_path: Path, google: OfTheWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with session_with(GcpProvider(), "google", tmp_path / "home", monkeypatch) as session:
        yield session


@pytest.mark.terraform
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_buckets_are_made_kept_found_again_and_purged(session: Session, google: OfTheWorld) -> None:
    whole_life(session, "gcp", INFRA, "gs://", google.data, "google_storage_bucket")


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_what_is_made_is_closed(session: Session) -> None:
    make(session, f"name: demo\nresources: {{{INFRA}}}\nstorage: {{out: {{}}}}\nrun: echo hi\n")
    (bucket,) = attributes(session, "google_storage_bucket")
    assert bucket["uniform_bucket_level_access"] is True and bucket["public_access_prevention"] == "enforced"
    assert bucket["force_destroy"] is False and bucket["location"] == "US-CENTRAL1"
    assert bucket["soft_delete_policy"][0]["retention_duration_seconds"] == 0
    (rule,) = bucket["lifecycle_rule"]
    assert rule["action"][0]["type"] == "AbortIncompleteMultipartUpload" and rule["condition"][0]["age"] == 7


@pytest.mark.parametrize("deployment", ["train", "google-demo", "g00gle", "d" * 39])
@pytest.mark.parametrize("name", ["out", "Google_Data", "n" * 300, "a.b"])
def test_names_are_such_as_google_takes(deployment: str, name: str) -> None:
    made = bucket_uri(name, deployment=DeploymentId(deployment), mark="0123456789").removeprefix("gs://")
    assert 3 <= len(made) <= 63 and made == made.lower() and made.endswith("-0123456789")
    assert "google" not in made and "g00gle" not in made and not made.startswith("goog")


def test_machines_reach_the_bucket_and_nothing_else(tmp_path: Path) -> None:
    text = f"name: train\nresources: {{{INFRA}}}\nstorage: {{out: {{}}}}\nrun: echo hi\n"
    buckets, machines = graphs(text, tmp_path)
    (right,) = of_type(machines, "google_storage_bucket_iam_member").values()
    (bucket,) = of_type(buckets, "google_storage_bucket").values()
    assert (right["bucket"], right["role"]) == (bucket["name"], "roles/storage.objectUser")
