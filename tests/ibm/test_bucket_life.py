"""Buckets at IBM from the first apply to a purge, with the provider simulated and its APIs faked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.providers.ibm.provider import IbmProvider
from skyc.providers.simulator import World
from skyc.runtime.session import Session
from tests.bucket_life import attributes, make, session_with, whole_life
from tests.ibm.conftest import IMAGE, compilation, of_type
from tests.ibm.fake_cloud import KEY, FakeCloud, Row, serving
from tests.lengths import takes_minutes

INFRA = "infra: ibm/us-south/us-south-1, instance_type: bx2-8x32"
TASK = f"name: demo\nresources: {{{INFRA}}}\nstorage: {{out: {{}}}}\nrun: echo hi\n"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """Has the instances and buckets that the simulator has made."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text(f"access: {{ssh_from: [203.0.113.7]}}\nimages: {{ibm: {{us-south: {IMAGE}}}}}\n")
    world = World(home)

    def storage(self: FakeCloud) -> tuple[dict[str, Row], dict[str, str]]:
        made = world.resources("ibm_resource_instance")
        self.tags |= {row.id: list(row.attributes["tags"]) for row in made}
        instances: dict[str, Row] = {
            row.id: {"id": row.id, "crn": row.id, "name": row.attributes["name"], "state": "active"} for row in made
        }
        buckets = world.resources("ibm_cos_bucket")
        return instances, {row.attributes["bucket_name"]: row.attributes["resource_instance_id"] for row in buckets}

    monkeypatch.setattr(FakeCloud, "storage", storage)
    with serving() as cloud:
        for name in ("IAM", "VPC", "TAGS", "RESOURCES", "COS"):
            monkeypatch.setenv(f"SKYC_IBM_{name}_URL", cloud.url)
        monkeypatch.setenv("IC_API_KEY", KEY)
        yield cloud


@pytest.fixture
def session(tmp_path: Path, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with session_with(IbmProvider(), "ibm", tmp_path / "home", monkeypatch) as session:
        yield session


@takes_minutes
@pytest.mark.terraform
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_buckets_are_made_kept_found_again_and_purged(session: Session, cloud: FakeCloud) -> None:
    whole_life(session, "ibm", INFRA, "cos://", cloud.data, "ibm_cos_bucket")


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_what_is_made_is_closed(session: Session) -> None:
    make(session, TASK)
    (bucket,) = attributes(session, "ibm_cos_bucket")
    assert bucket["force_delete"] is False and bucket["region_location"] == "us-south"
    (rule,) = bucket["abort_incomplete_multipart_upload_days"]
    assert rule["enable"] is True and rule["days_after_initiation"] == 7
    (instance,) = attributes(session, "ibm_resource_instance")
    assert bucket["resource_instance_id"] == instance["id"]
    assert {"skyc-deployment:demo", "skyc-storage:out", "skyc-keep:yes"} <= set(instance["tags"])


def test_machines_reach_the_bucket_and_nothing_else(tmp_path: Path) -> None:
    made = compilation(TASK, tmp_path)
    assert made.graphs is not None
    buckets, machines = made.graphs
    (bucket,) = of_type(buckets, "ibm_cos_bucket").values()
    (policy,) = of_type(machines, "ibm_iam_trusted_profile_policy").values()
    named = {row["name"]: row["value"] for row in policy["resource_attributes"]}
    assert named["resource"] == bucket["bucket_name"] and "Writer" not in policy["roles"]


def test_a_storage_whose_name_no_tag_can_hold_is_refused(tmp_path: Path) -> None:
    made = compilation(TASK.replace("out:", f"{'n' * 101}:"), tmp_path)
    assert "unsupported-here" in [found.slug for found in made.diagnostics]
