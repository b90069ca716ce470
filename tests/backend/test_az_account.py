"""`skyc backend create` and `show` for Azure: the account against a fake of Azure Resource Manager, its data at Azurite."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.providers.azure import bucket as bucket_module
from skyc.runtime.backend.settings import configured
from skyc.runtime.storage import az
from skyc.runtime.storage.az import AzStore
from tests.storage.azurite import ACCOUNT, KEY, azurite, needs_azurite
from tests.storage.serving import Asked, Fault, Reply, Served, as_json, serving

pytestmark = needs_azurite
ROOT = "/subscriptions/s"
ID = f"{ROOT}/resourceGroups/{ACCOUNT}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"


@dataclass
class FakeAccounts:
    """What Resource Manager says of storage accounts. A new one is not ready at the first look. `others`: names that are taken."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    looks: int = 0

    def answer(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != "Bearer hidden-arm-token" or "api-version" not in asked.query:
            return Reply(status=401)
        path = asked.path
        if path.endswith("/storageAccounts"):
            return as_json(
                {"value": [row for id_, row in self.rows.items() if id_.rpartition("/")[0].endswith("storageAccounts")]}
            )
        if asked.method == "GET":
            if path not in self.rows:
                return Reply(status=404)
            row = self.rows[path]
            if path == ID and self.looks:
                self.looks -= 1
                row = {**row, "properties": {**row["properties"], "provisioningState": "Creating"}}
            return as_json(row)
        body = json.loads(asked.body)
        if asked.method == "PUT" and path.rpartition("/")[2] in self.others and "/providers/" in path:
            return as_json({"error": {"code": "StorageAccountAlreadyTaken"}}, 409)
        above = path.partition("/blobServices")[0]
        if above != path and above not in self.rows:
            return Reply(status=404)
        before = self.rows.get(path, {"id": path, "name": path.rpartition("/")[2], "properties": {}})
        merged = {**before.get("properties", {}), **body.get("properties", {}), "provisioningState": "Succeeded"}
        self.rows[path] = {**before, **body, "properties": merged}
        return as_json(self.rows[path])


@pytest.fixture
def data() -> str:
    return azurite()


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> FakeAccounts:
    for name in tuple(os.environ):
        if name.startswith(("ARM_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", "s")
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "hidden-arm-token")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    monkeypatch.setattr(bucket_module, "PAUSE", 0.0)
    return FakeAccounts(looks=1)


@pytest.fixture
def server(arm: FakeAccounts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(arm.answer) as served:
        monkeypatch.setenv("SKYC_AZURE_MANAGEMENT_URL", served.url)
        yield served


def container(data: str, name: str) -> None:
    """What the fake's answer stands for, where the data is."""
    az._client(ACCOUNT, data, az._environment()).get_container_client(name).create_container()


def test_an_account_is_made_closed(arm: FakeAccounts, server: Served, data: str, tmp_path: Path) -> None:
    container(data, "made")
    uri = f"az://{ACCOUNT}/made/team"
    made = skyc.backend_create(uri, region="westeurope", endpoint=data)
    assert made.made and all(found.holds for found in made.properties), made.properties
    properties = arm.rows[ID]["properties"]
    assert properties["allowBlobPublicAccess"] is False and properties["minimumTlsVersion"] == "TLS1_2"
    assert properties["allowSharedKeyAccess"] is False
    assert arm.rows[f"{ROOT}/resourceGroups/{ACCOUNT}"]["location"] == "westeurope"
    assert arm.rows[f"{ID}/blobServices/default"]["properties"]["isVersioningEnabled"] is True
    assert f"{ID}/blobServices/default/containers/made" in arm.rows

    (tmp_path / "config.yaml").write_text(made.setting)
    objects = configured(tmp_path)
    assert isinstance(objects, AzStore)
    assert (objects.account, objects.container, objects.prefix) == (ACCOUNT, "made", "team/")
    assert list(objects.list("")) == []
    before = json.dumps(arm.rows, sort_keys=True)
    assert not skyc.backend_create(uri, endpoint=data).made
    assert json.dumps(arm.rows, sort_keys=True) == before
    arm.rows[f"{ID}/blobServices/default"]["properties"]["isVersioningEnabled"] = False
    arm.rows[ID]["properties"]["minimumTlsVersion"] = "TLS1_0"
    shown = skyc.backend_show(home=tmp_path)
    assert shown is not None and {row.name for row in shown.properties if not row.holds} == {"versions", "TLS only"}


def test_cut_off_at_every_step_it_is_finished_by_the_next_call(
    arm: FakeAccounts, server: Served, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container(data, "steps")
    uri = f"az://{ACCOUNT}/steps/team"
    steps = 0
    while True:
        arm.rows.clear()
        # Every request that changes something ends the call in turn, after it took effect.
        changes = 0

        def counted(asked: Asked) -> Reply:
            nonlocal changes
            changes += asked.method in ("PUT", "PATCH")
            done = FakeAccounts.answer(arm, asked)
            return Reply(status=400) if changes == steps + 1 and asked.method in ("PUT", "PATCH") else done  # noqa: B023

        with serving(counted) as cut:
            monkeypatch.setenv("SKYC_AZURE_MANAGEMENT_URL", cut.url)
            try:
                skyc.backend_create(uri, region="westeurope", endpoint=data)
                break
            except SkycError as failure:
                assert failure.diagnostics[0].slug == "backend-bucket-failed"
        monkeypatch.setenv("SKYC_AZURE_MANAGEMENT_URL", server.url)
        made = skyc.backend_create(uri, region="westeurope", endpoint=data)
        assert all(found.holds for found in made.properties), (steps, made.properties)
        steps += 1
    assert steps == 6


def test_a_name_that_is_taken(arm: FakeAccounts, server: Served, data: str) -> None:
    arm.others.add("theirs")
    with pytest.raises(SkycError) as caught:
        skyc.backend_create("az://theirs/states/team", region="westeurope", endpoint=data)
    assert caught.value.diagnostics[0].slug == "backend-bucket-taken"


def test_an_account_that_skyc_did_not_make_is_not_changed(arm: FakeAccounts, server: Served, data: str) -> None:
    elsewhere = ID.replace(f"resourceGroups/{ACCOUNT}", "resourceGroups/shared")
    arm.rows[elsewhere] = {"id": elsewhere, "name": ACCOUNT, "tags": {}, "properties": {"allowBlobPublicAccess": True}}
    before = json.dumps(arm.rows)
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"az://{ACCOUNT}/states/team", region="westeurope", endpoint=data)
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-bucket-unfit"
    assert "public access: not off" in said.detail and "container: is not there" in said.detail
    assert json.dumps(arm.rows) == before


@pytest.mark.parametrize(
    ("uri", "given", "slug", "words"),
    [
        ("az://Bad-Name/states", {"region": "r"}, "backend-bucket-unfit", "lower-case letters"),
        ("az://fresh0/states", {}, "backend-no-credentials", "region"),
        ("az://fresh0/states", {"region": "r", "key": "k"}, "backend-bucket-unfit", "key of one's own"),
        ("az://fresh0", {"region": "r"}, "bad-storage-uri", "account/container"),
    ],
)
def test_what_cannot_be_is_said_first(
    arm: FakeAccounts, server: Served, uri: str, given: dict[str, str], slug: str, words: str
) -> None:
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(uri, **given)
    (said,) = caught.value.diagnostics
    assert said.slug == slug and words in said.detail
    assert not [asked for asked in server.asked if asked.method != "GET"]


def test_a_role_that_is_missing_is_said_with_the_command(
    arm: FakeAccounts, server: Served, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"<?xml version='1.0'?><Error><Code>AuthorizationPermissionMismatch</Code><Message>No.</Message></Error>"
    reply = Reply(status=403, body=body, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"})
    with serving(lambda asked: reply) as denied, pytest.raises(SkycError) as caught:
        skyc.backend_create(f"az://{ACCOUNT}/states/team", region="westeurope", endpoint=f"{denied.url}/{ACCOUNT}")
    (said,) = caught.value.diagnostics
    assert said.slug == "backend-not-usable"
    assert said.commands[0].startswith('az role assignment create --role "Storage Blob Data Contributor"')
    assert f"{ID}/blobServices/default/containers/states" in arm.rows
    assert "hidden" not in str(said)


def test_a_server_that_is_not_ready(arm: FakeAccounts, server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    arm.looks = 10**9
    monkeypatch.setattr(bucket_module, "READY_SECONDS", 0.2)
    server.faults.append(Fault(method="GET", text="nothing"))
    with pytest.raises(SkycError) as caught:
        skyc.backend_create(f"az://{ACCOUNT}/states/team", region="westeurope")
    assert caught.value.diagnostics[0].slug == "backend-bucket-failed"
    assert "not ready" in caught.value.diagnostics[0].detail
