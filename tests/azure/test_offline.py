"""What a person sees who plans at Azure: without an account, and where one is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import Severity
from tests.simulator.real_provider import MIRROR

TASK = """\
name: train
resources: {infra: azure/eastus, instance_type: Standard_D4s_v5}
file_mounts: {data: az://teamdata/imagenet}
run: echo hi
"""


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("ARM_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    return path


@pytest.mark.terraform
def test_the_simulator_plans_even_where_the_released_provider_is_mirrored(
    task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one fetches a token while it is configured."""
    (tmp_path / "mirror/registry.terraform.io/hashicorp/azurerm/4.50.0").mkdir(parents=True)
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    plan = skyc.plan(task, home=tmp_path / "home", offline=True)
    assert plan.offline and not plan.failed
    said = {found.slug: found for found in plan.diagnostics}
    assert "schema-valid by skyc's simulator of hashicorp/azurerm" in said["planned-offline"].detail
    assert said["storage-account-unknown"].severity is Severity.WARNING


def test_a_plan_that_needs_an_account_says_so_and_shows_the_price(task: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    account = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/d/providers/Microsoft.Storage/storageAccounts/teamdata"
    (tmp_path / "home" / "config.yaml").write_text(f"access: {{storage_accounts: {{teamdata: {account}}}}}\n")
    plan = skyc.plan(task, home=tmp_path / "home")
    assert plan.failed and plan.placement is not None
    (said,) = [found for found in plan.diagnostics if found.slug == "not-logged-in"]
    assert "ARM_SUBSCRIPTION_ID is not set" in said.detail
    assert said.hint is not None and "--offline" in said.hint
