"""A task at Google Cloud through skyc's front door: planned without an account, and what is said where one is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from tests.simulator.real_provider import MIRROR

TASK = """\
name: train
resources: {infra: gcp/us-central1/us-central1-a, instance_type: g2-standard-8, disk_tier: low}
file_mounts: {data: gs://team-data/imagenet}
run: echo hi
"""


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GCLOUD_", "CLOUDSDK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    return path


@pytest.mark.terraform
def test_without_an_account_it_is_planned(task: Path, tmp_path: Path) -> None:
    plan = skyc.plan(task, home=tmp_path / "home", offline=True)
    assert plan.offline and not plan.failed and plan.placement is not None
    said = {found.slug: found.detail for found in plan.diagnostics}
    assert set(said) == {"planned-offline", "ssh-closed", "disk-of-another-kind"}
    assert (
        "`train.gcp-us-central1`: 6 resources, schema-valid by skyc's simulator of hashicorp/google 8.7.0"
        in said["planned-offline"]
    )
    assert "pd-standard" in said["disk-of-another-kind"]


def test_a_plan_that_needs_an_account_says_so_and_shows_the_price(task: Path, tmp_path: Path) -> None:
    plan = skyc.plan(task, home=tmp_path / "home")
    assert plan.failed and plan.placement is not None
    assert {"not-logged-in", "no-project"} <= {found.slug for found in plan.diagnostics}


def test_nothing_is_rented_that_no_job_can_start_on(task: Path, tmp_path: Path) -> None:
    with pytest.raises(SkycError) as caught:
        skyc.apply(task, home=tmp_path / "home")
    assert [found.slug for found in caught.value.diagnostics] == ["ssh-closed"]
    # Addresses this target cannot use are as good as none.
    (tmp_path / "home" / "config.yaml").write_text("access: {ssh_from: ['2001:db8::/32']}\n")
    with pytest.raises(SkycError) as caught:
        skyc.apply(task, home=tmp_path / "home")
    assert [found.slug for found in caught.value.diagnostics] == ["ssh-closed"]
    # What is missing of an account is said before anything is looked for, and all at once.
    (tmp_path / "home" / "config.yaml").write_text("access: {ssh_from: [203.0.113.7]}\n")
    with pytest.raises(SkycError) as caught:
        skyc.apply(task, home=tmp_path / "home")
    assert {found.slug for found in caught.value.diagnostics} == {"not-logged-in", "no-project"}
    assert all("apply again" in (found.hint or "") and found.commands for found in caught.value.diagnostics)
    assert not list((tmp_path / "home").glob("deployments/*/sites/*"))


def test_check_says_what_works(tmp_path: Path) -> None:
    (report,) = [report for report in skyc.check(home=tmp_path) if report.provider == "gcp"]
    assert not report.usable and report.facts["state"] == "no credentials" and report.facts["offers"]
