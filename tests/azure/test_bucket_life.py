"""Storage accounts at Azure from the first apply to a purge, with the provider simulated and Azure Resource Manager faked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from skyc.providers.azure import client
from skyc.providers.azure.buckets import account_name, is_ours
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.azure.resources import NOBODY
from skyc.providers.simulator import World
from skyc.runtime.session import Session
from tests.azure import fake_arm
from tests.azure.conftest import of_type, said_of
from tests.azure.fake_arm import TOKEN, FakeArm
from tests.bucket_life import DEMO, attributes, make, session_with, whole_life
from tests.refresh.fakes.server import Asked, Reply, serving

INFRA = "infra: azure/westeurope, instance_type: Standard_D4s_v5"
TASK = f"name: demo\nresources: {{{INFRA}}}\nstorage: {{out: {{}}}}\nrun: echo hi\n"


@dataclass
class OfTheWorld(FakeArm):
    """Has the groups and accounts that the simulator has made, and their containers until they are deleted."""

    world: World | None = None

    def __post_init__(self) -> None:
        self.data: dict[str, dict[str, bytes]] = {}
        self.emptied: set[str] = set()

    def answer(self, asked: Asked) -> Reply:
        assert self.world is not None
        self.looks = 0
        self.things, self.listed = {}, {}
        for row in self.world.resources():
            path = row.id.removeprefix(f"/subscriptions/{NOBODY}/")
            if row.type in ("azurerm_resource_group", "azurerm_storage_account"):
                self.put(path, DEMO)
                self.things[row.id.lower()]["tags"] = row.attributes["tags"]
            elif row.id.lower() not in self.emptied:
                self.put(path, None)
                del self.listed[row.id.lower()]
        return super().answer(asked)

    def _gone(self, path: str) -> None:
        assert "/containers/" in path, "nothing but a container is deleted behind Terraform's back"
        super()._gone(path)
        self.emptied.add(path)
        self.data[path.partition("/storageaccounts/")[2].partition("/")[0] + "/data"] = {}


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfTheWorld]:
    for name in [name for name in os.environ if name.startswith(("ARM_", "AZURE_"))]:
        monkeypatch.delenv(name)
    with serving() as server:
        arm = OfTheWorld(server, world=World(tmp_path / "home"))
        server.otherwise = arm.answer
        monkeypatch.setenv("ARM_SUBSCRIPTION_ID", NOBODY)
        # Where the simulator makes what it is not told a subscription for.
        monkeypatch.setattr(fake_arm, "ROOT", f"/subscriptions/{NOBODY}")
        monkeypatch.setenv("ARM_CLIENT_ID", "somebody")
        monkeypatch.setenv("ARM_CLIENT_SECRET", "shared")
        monkeypatch.setenv("AZURE_ACCESS_TOKEN", TOKEN)
        monkeypatch.setenv("SKYC_AZURE_MANAGEMENT_URL", server.url)
        monkeypatch.setattr(client, "PAUSE", 0.0)
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "config.yaml").write_text("access: {ssh_from: [203.0.113.7]}\n")
        yield arm


@pytest.fixture
def session(tmp_path: Path, arm: OfTheWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with session_with(AzureProvider(), "azurerm", tmp_path / "home", monkeypatch) as session:
        yield session


@pytest.mark.terraform
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_accounts_are_made_kept_found_again_and_purged(session: Session, arm: OfTheWorld) -> None:
    whole_life(session, "azure", INFRA, "az://", arm.data, "azurerm_storage_account")


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_what_is_made_is_closed(session: Session) -> None:
    make(session, TASK)
    (account,) = attributes(session, "azurerm_storage_account")
    assert {name: account[name] for name in CLOSED} == CLOSED
    (container,) = attributes(session, "azurerm_storage_container")
    assert container["container_access_type"] == "private" and container["storage_account_id"] == account["id"]


CLOSED: dict[str, Any] = {
    "allow_nested_items_to_be_public": False,
    "cross_tenant_replication_enabled": False,
    "default_to_oauth_authentication": True,
    "https_traffic_only_enabled": True,
    "local_user_enabled": False,
    "min_tls_version": "TLS1_2",
    "shared_access_key_enabled": False,
}


@pytest.mark.parametrize("name", ["out", "Scratch_1", "n" * 300])
def test_names_are_such_as_azure_takes(name: str) -> None:
    made = account_name(name, DEMO, "0123456789")
    assert len(made) == 24 and made.isalnum() and made == made.lower() and made.startswith("skyc")


def test_the_role_is_in_the_subscription_of_the_site_and_on_the_container_alone(tmp_path: Path) -> None:
    (buckets, machines), _ = said_of(TASK, tmp_path)
    (account,) = of_type(buckets, "azurerm_storage_account").values()
    (group,) = of_type(buckets, "azurerm_resource_group").values()
    (role,) = of_type(machines, "azurerm_role_assignment").values()
    name = account["name"]
    assert group["name"] == name and role["role_definition_name"] == "Storage Blob Data Contributor"
    assert str(role["scope"]) == (
        '/subscriptions/${split("/", azurerm_resource_group.site.id)[2]}'
        f"/resourceGroups/{name}/providers/Microsoft.Storage/storageAccounts/{name}/blobServices/default/containers/data"
    )


def test_an_account_of_the_users_is_never_taken_for_one_of_ours(tmp_path: Path) -> None:
    """Its group is not of its name, and so a role would lie nowhere."""
    from skyc.compiler.ir import SpecPath, Storage

    ours = Storage(name="out", origin=SpecPath(), uri=f"az://{account_name('out', DEMO, '0123456789')}/data", persistent=True)
    assert is_ours(ours, DEMO)
    assert not is_ours(replace(ours, name="other"), DEMO) and not is_ours(replace(ours, uri=f"{ours.uri}/more"), DEMO)
    assert not is_ours(replace(ours, uri="az://teamdata/data"), DEMO) and not is_ours(replace(ours, uri=None), DEMO)
    _, said = said_of(TASK.replace("out: {}", "out: {uri: 'az://skyc12345678900123456789/data'}"), tmp_path)
    assert "storage-account-unknown" in [found.slug for found in said]


@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_terraform_puts_the_scope_together(tmp_path: Path) -> None:
    from tests.simulator.conftest import opened

    graphs, _ = said_of(TASK, tmp_path, offline=True)
    with opened(("azurerm",), tmp_path, tmp_path / "cache") as site:
        site.write(graphs[1])
        assert site.apply().ok and site.changes() == {}
        (role,) = site.world.resources("azurerm_role_assignment")
        (group,) = site.world.resources("azurerm_resource_group")
    assert str(role.attributes["scope"]).startswith(f"{group.id.partition('/resourceGroups/')[0]}/resourceGroups/skyc")
