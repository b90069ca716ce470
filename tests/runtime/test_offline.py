"""Plans that ask nobody, and what is said where an account is needed and missing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
from tests.simulator.real_provider import MIRROR, mirror

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.runtime.mirror import mirrored, with_mirror

TASK = """\
name: train
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}
run: echo hi
"""


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    return path


@pytest.mark.terraform
def test_without_an_account_the_simulator_plans(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR, raising=False)
    plan = skyc.plan(task, home=tmp_path / "home", offline=True)
    assert plan.offline and not plan.failed and plan.changes == () and plan.placement is not None
    (said,) = [found for found in plan.diagnostics if found.slug == "planned-offline"]
    assert "schema-valid by skyc's simulator of hashicorp/aws" in said.detail
    assert "Not compared with `aws`" in said.detail
    assert "not compared" in plan.report("text")
    assert said.slug in plan.report("markdown") and said.slug in plan.report("html")
    jsonschema.validate(json.loads(plan.report("json")), skyc.schema("report"))
    # Nothing stays that could be applied, and nothing of the deployment is on record.
    assert list((tmp_path / "home").rglob("plan")) == []
    assert list((tmp_path / "home" / "deployments").rglob("*.tf.json")) == []
    assert skyc.status(home=tmp_path / "home") == ()


@pytest.mark.terraform
def test_the_released_provider_plans_where_it_is_mirrored(task: Path, tmp_path: Path) -> None:
    mirror()
    plan = skyc.plan(task, home=tmp_path / "home", offline=True)
    (said,) = [found for found in plan.diagnostics if found.slug == "planned-offline"]
    version = mirrored(os.environ)["registry.terraform.io/hashicorp/aws"]
    assert f"schema-valid by hashicorp/aws {version}" in said.detail


def test_a_plan_that_needs_an_account_says_so_and_shows_the_price(task: Path, tmp_path: Path) -> None:
    plan = skyc.plan(task, home=tmp_path / "home")
    assert plan.failed and plan.placement is not None
    (said,) = [found for found in plan.diagnostics if found.slug == "not-logged-in"]
    assert "There are no AWS credentials" in said.detail
    assert said.hint is not None and "--offline" in said.hint


def test_nothing_is_rented_that_no_job_can_start_on(task: Path, tmp_path: Path) -> None:
    with pytest.raises(SkycError) as caught:
        skyc.apply(task, home=tmp_path / "home")
    (said,) = caught.value.diagnostics
    assert said.slug == "ssh-closed" and "ssh_from" in (said.hint or "")


def test_a_mirror_gives_its_newest_version_and_the_rest_comes_from_elsewhere(tmp_path: Path) -> None:
    for version in ("5.9.0", "5.100.0"):
        (tmp_path / "m/registry.terraform.io/hashicorp/aws" / version).mkdir(parents=True)
    environ = {MIRROR: str(tmp_path / "m"), "PATH": "/bin"}
    assert dict(mirrored(environ)) == {"registry.terraform.io/hashicorp/aws": "5.100.0"}
    assert not mirrored({}) and with_mirror({"PATH": "/bin"}, tmp_path) == {"PATH": "/bin"}
    text = Path(with_mirror(environ, tmp_path)["TF_CLI_CONFIG_FILE"]).read_text()
    assert 'exclude = ["registry.terraform.io/hashicorp/aws"]' in text
    assert "direct" not in Path(with_mirror(environ, tmp_path, only=True)["TF_CLI_CONFIG_FILE"]).read_text()
