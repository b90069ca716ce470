"""What a deployment has is found by its tag and removed without a state, in whatever order it is listed. Against a fake."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.providers.azure import client
from skyc.providers.azure.credentials import missing, token, token_of_cli
from skyc.providers.azure.inventory import written
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import OwnedResource
from skyc.providers.http import Http
from skyc.providers.retry import Refused, Schedule, SourceFailure
from tests.azure.conftest import ACCOUNTS, SUBSCRIPTION
from tests.azure.fake_arm import ROOT, TOKEN, FakeArm
from tests.refresh.fakes.server import FakeServer, Reply, serving

DEPLOYMENT = DeploymentId("left")
VARIABLES = ("AZURE_ACCESS_TOKEN", "SUBSCRIPTION_ID", "TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "USE_OIDC", "USE_MSI")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def arm(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeArm:
    arm = FakeArm(server)
    server.otherwise = arm.answer
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"ARM_{name}", raising=False)
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", SUBSCRIPTION)
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("SKYC_AZURE_MANAGEMENT_URL", server.url)
    monkeypatch.setattr(client, "PAUSE", 0.0)
    return arm


def place(home: Path, deployment: str = DEPLOYMENT, state: str = "") -> None:
    folder = home / "deployments" / deployment / "sites" / "train.azure-eastus"
    folder.mkdir(parents=True)
    if state:
        (folder / "terraform.tfstate").write_text(state)


def leave(arm: FakeArm, deployment: str) -> str:
    """What a Terraform run that was killed could leave; the resource group's id."""
    group = f"resourceGroups/skyc-{deployment}"
    network, compute = f"{group}/providers/Microsoft.Network", f"{group}/providers/Microsoft.Compute"
    machine = {"id": f"{ROOT}/{compute}/virtualMachines/train-main-0"}
    interface = f"{ROOT}/{network}/networkInterfaces/train-main-0-nic"
    inner = {"id": f"{interface}/ipConfigurations/node"}
    subnet = f"{network}/virtualNetworks/network/subnets/nodes"
    disk = f"{compute}/disks/train-main-0_OsDisk_1_abc"
    made = arm.put(group, deployment)
    firewall = arm.put(f"{network}/networkSecurityGroups/nodes", deployment, subnets=[{"id": f"{ROOT}/{subnet}"}])
    arm.put(
        f"{network}/virtualNetworks/network",
        deployment,
        subnets=[{"id": f"{ROOT}/{subnet}", "properties": {"ipConfigurations": [inner]}}],
    )
    gateway = arm.put(f"{network}/natGateways/out", deployment, subnets=[{"id": f"{ROOT}/{subnet}"}])
    arm.put(f"{network}/publicIPAddresses/out", deployment, natGateway={"id": gateway})
    arm.put(subnet, None, networkSecurityGroup={"id": firewall}, natGateway={"id": gateway}, addressPrefix="10.64.0.0/20")
    # A subnet is a part of its network, which lists do not name.
    del arm.listed[f"{ROOT}/{subnet}".lower()]
    arm.put(f"{network}/publicIPAddresses/train-main-0-ip", deployment, ipConfiguration=inner)
    arm.put(f"{network}/networkInterfaces/train-main-0-nic", deployment, virtualMachine=machine)
    arm.put(f"{compute}/proximityPlacementGroups/main", deployment, virtualMachines=[machine])
    arm.put(f"{compute}/availabilitySets/fast", deployment, virtualMachines=[machine])
    arm.put(
        f"{compute}/virtualMachines/train-main-0",
        deployment,
        storageProfile={"osDisk": {"managedDisk": {"id": f"{ROOT}/{disk}"}}},
    )
    arm.put(disk, None)
    arm.things[f"{ROOT}/{disk}".lower()]["managedBy"] = machine["id"]
    principal = f"principal-of-{deployment}"
    arm.put(f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes", deployment, principalId=principal)
    arm.role(f"{ACCOUNTS['teamdata']}/blobServices/default/containers/imagenet", principal)
    return made


def join(arm: FakeArm, deployment: str) -> tuple[str, str]:
    """What a deployment has in a network of the user's, and that network and its subnet's own firewall."""
    theirs, group = "resourceGroups/company/providers/Microsoft.Network", f"resourceGroups/skyc-{deployment}"
    network = f"{group}/providers/Microsoft.Network"
    machine = {"id": f"{ROOT}/{group}/providers/Microsoft.Compute/virtualMachines/train-main-0"}
    interface = f"{ROOT}/{network}/networkInterfaces/train-main-0-nic"
    inner = {"id": f"{interface}/ipConfigurations/node"}
    subnet = {"id": f"{ROOT}/{theirs}/virtualNetworks/hub/subnets/training", "properties": {"ipConfigurations": [inner]}}
    hub = arm.put(f"{theirs}/virtualNetworks/hub", None, subnets=[subnet])
    closed = arm.put(f"{theirs}/networkSecurityGroups/closed", None, subnets=[subnet])
    arm.put(group, deployment)
    firewall = arm.put(f"{network}/networkSecurityGroups/nodes", deployment, networkInterfaces=[{"id": interface}])
    members = arm.put(f"{network}/applicationSecurityGroups/members", deployment)
    arm.put(
        f"{network}/networkInterfaces/train-main-0-nic",
        deployment,
        virtualMachine=machine,
        networkSecurityGroup={"id": firewall},
        ipConfigurations=[{**inner, "properties": {"applicationSecurityGroups": [{"id": members}]}}],
    )
    arm.put(f"{group}/providers/Microsoft.Compute/virtualMachines/train-main-0", deployment, storageProfile={})
    return hub, closed


@pytest.mark.parametrize("backwards", [False, True], ids=["as-listed", "backwards"])
def test_what_is_ours_in_a_network_of_the_users_goes_and_the_network_stays(
    tmp_path: Path, arm: FakeArm, backwards: bool
) -> None:
    stay = join(arm, DEPLOYMENT)
    place(tmp_path)
    provider = AzureProvider()
    found = [item for item in provider.observe(DEPLOYMENT, home=tmp_path) if item.type != "azurerm_resource_group"]
    assert sorted(item.type for item in found) == [
        "azurerm_application_security_group",
        "azurerm_linux_virtual_machine",
        "azurerm_network_interface",
        "azurerm_network_security_group",
    ]
    for item in found[::-1] if backwards else found:
        provider.remove(item, home=tmp_path)
    left = {row["id"] for row in arm.things.values()}
    assert left == {*stay, f"{ROOT}/resourceGroups/skyc-{DEPLOYMENT}"}


@pytest.mark.parametrize("order", ["as-listed", "backwards", "group-first"])
def test_what_is_left_is_found_and_removed(tmp_path: Path, arm: FakeArm, order: str) -> None:
    leave(arm, DEPLOYMENT)
    leave(arm, "other")
    place(tmp_path)
    place(tmp_path, "other")
    provider = AzureProvider()
    found = provider.observe(DEPLOYMENT, home=tmp_path)
    assert sorted(item.type for item in found) == [
        "azurerm_availability_set",
        "azurerm_linux_virtual_machine",
        "azurerm_nat_gateway",
        "azurerm_network_interface",
        "azurerm_network_security_group",
        "azurerm_proximity_placement_group",
        "azurerm_public_ip",
        "azurerm_public_ip",
        "azurerm_resource_group",
        "azurerm_user_assigned_identity",
        "azurerm_virtual_network",
    ]
    others = provider.observe(DeploymentId("other"), home=tmp_path)
    group_first = [item for item in found if item.type == "azurerm_resource_group"]
    rest = [item for item in found if item not in group_first]
    # The group takes all along, so the order of the rest shows where it goes last.
    orders = {
        "as-listed": [*rest, *group_first],
        "backwards": [*rest[::-1], *group_first],
        "group-first": [*group_first, *rest],
    }
    for item in orders[order]:
        provider.remove(item, home=tmp_path)
        provider.remove(item, home=tmp_path)
    assert provider.observe(DEPLOYMENT, home=tmp_path) == ()
    assert provider.observe(DeploymentId("other"), home=tmp_path) == others
    assert not [id_ for id_ in arm.things if "skyc-left" in id_], "something is left that no list names"
    assert [row["properties"]["principalId"] for row in arm.roles.values()] == ["principal-of-other"]


def test_a_machine_takes_its_disk_along(tmp_path: Path, arm: FakeArm) -> None:
    leave(arm, DEPLOYMENT)
    place(tmp_path)
    provider = AzureProvider()
    (machine,) = [item for item in provider.observe(DEPLOYMENT, home=tmp_path) if item.type == "azurerm_linux_virtual_machine"]
    provider.remove(machine, home=tmp_path)
    assert arm.deleted == ["train-main-0", "train-main-0_osdisk_1_abc"]
    assert not [id_ for id_ in arm.things if "/disks/" in id_], "a disk is paid for and no state knows it"


def test_ids_are_those_of_a_state_whatever_case_azure_answers_in(tmp_path: Path, arm: FakeArm) -> None:
    leave(arm, DEPLOYMENT)
    place(tmp_path)
    group = f"{ROOT}/resourceGroups/skyc-left"
    ids = {item.id for item in AzureProvider().observe(DEPLOYMENT, home=tmp_path)}
    assert {group, f"{group}/providers/Microsoft.Compute/virtualMachines/train-main-0"} <= ids
    assert all("SKYC" not in id_ for id_ in ids)
    odd = f"/SUBSCRIPTIONS/{SUBSCRIPTION.upper()}/resourcegroups/SKYC-A/providers/microsoft.network/networkinterfaces/N-NIC"
    assert written(odd) == f"{ROOT}/resourceGroups/skyc-a/providers/Microsoft.Network/networkInterfaces/n-nic"


@pytest.mark.parametrize("inside", [True, False], ids=["in-the-group", "using-the-interface"])
def test_what_is_somebody_elses_is_not_removed(tmp_path: Path, arm: FakeArm, inside: bool) -> None:
    group = leave(arm, DEPLOYMENT)
    place(tmp_path)
    provider = AzureProvider()
    found = {item.type: item for item in provider.observe(DEPLOYMENT, home=tmp_path)}
    if inside:
        theirs = arm.put("resourceGroups/skyc-left/providers/Microsoft.Compute/disks/precious", None)
        target = found["azurerm_resource_group"]
    else:
        theirs = arm.put("resourceGroups/theirs/providers/Microsoft.Compute/virtualMachines/precious", None)
        arm.things[found["azurerm_network_interface"].id.lower()]["properties"]["virtualMachine"] = {"id": theirs}
        target = found["azurerm_network_interface"]
    with pytest.raises(SkycError, match="cannot-observe") as caught:
        provider.remove(target, home=tmp_path)
    assert "precious" in caught.value.diagnostics[0].detail
    assert arm.deleted == [] and theirs.lower() in arm.things and group.lower() in arm.things


def test_a_delete_that_fails_is_said(tmp_path: Path, arm: FakeArm) -> None:
    leave(arm, DEPLOYMENT)
    place(tmp_path)
    provider = AzureProvider()
    (group,) = [item for item in provider.observe(DEPLOYMENT, home=tmp_path) if item.type == "azurerm_resource_group"]
    arm.things[group.id.lower()]["properties"]["provisioningState"] = "Failed"
    with pytest.raises(SkycError) as caught:
        provider.remove(group, home=tmp_path)
    assert "did not delete skyc-left" in caught.value.diagnostics[0].detail


def test_where_nothing_was_made_nobody_is_asked(tmp_path: Path, arm: FakeArm) -> None:
    assert AzureProvider().observe(DEPLOYMENT, home=tmp_path) == () and arm.server.asked == []


def test_a_state_tells_where_to_look_when_the_variable_names_another_place(
    tmp_path: Path, arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = leave(arm, DEPLOYMENT)
    place(tmp_path, state=f'{{"resources": [{{"id": "{group}"}}]}}')
    monkeypatch.delenv("ARM_SUBSCRIPTION_ID")
    assert len(AzureProvider().observe(DEPLOYMENT, home=tmp_path)) == 11


@pytest.mark.parametrize("lacking", ["ARM_SUBSCRIPTION_ID", "AZURE_ACCESS_TOKEN"])
def test_without_an_account_nobody_says_that_nothing_is_there(
    tmp_path: Path, arm: FakeArm, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    monkeypatch.delenv(lacking)
    monkeypatch.setenv("PATH", str(tmp_path))
    place(tmp_path)
    with pytest.raises(SkycError) as observed:
        AzureProvider().observe(DEPLOYMENT, home=tmp_path)
    assert observed.value.diagnostics[0].slug == "cannot-observe"


def test_a_refusal_is_said_without_the_token(tmp_path: Path, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "another-token")
    resource = OwnedResource(id=f"{ROOT}/resourceGroups/x", type="azurerm_resource_group", name="x", deployment=DEPLOYMENT)
    with pytest.raises(SkycError) as removed:
        AzureProvider().remove(resource, home=tmp_path)
    (said,) = removed.value.diagnostics
    assert said.slug == "cannot-observe" and "401" in said.detail and "another-token" not in str(said)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(schedule=Schedule(pauses=())) as http:
        yield http


def principal(server: FakeServer, **more: str) -> dict[str, str]:
    return {"ARM_TENANT_ID": "tenant", "ARM_CLIENT_ID": "client", "SKYC_AZURE_LOGIN_URL": server.url, **more}


def test_a_service_principal_proves_itself_by_secret_or_by_a_federated_token(
    http: Http, server: FakeServer, tmp_path: Path
) -> None:
    asked: list[str] = []

    def login(request: Any) -> dict[str, str]:
        asked.append(request.text)
        return {"access_token": "given"}

    server.post("/tenant/oauth2/v2.0/token", login)
    (tmp_path / "assertion").write_text("federated\n")
    ways = (
        {"ARM_CLIENT_SECRET": "shared"},
        {"ARM_OIDC_TOKEN": "federated"},
        {"AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "assertion")},
    )
    for way in ways:
        found = token(http, principal(server, **way))
        assert found is not None and found.reveal() == "given"
    assert "client_secret=shared" in asked[0] and "client_assertion" not in asked[0]
    assert all("client_assertion=federated" in body and "jwt-bearer" in body for body in asked[1:])
    assert token(http, principal(server)) is None
    with pytest.raises(SourceFailure, match="cannot be read"):
        token(http, principal(server, AZURE_FEDERATED_TOKEN_FILE=str(tmp_path / "absent")))


def program(folder: Path, text: str) -> dict[str, str]:
    """An environment whose `az` is this script."""
    (folder / "az").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "az").chmod(stat.S_IRWXU)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_the_command_line_tools_login_is_used_and_never_repeated(tmp_path: Path) -> None:
    found = token_of_cli(program(tmp_path, """test "$3" = --resource && echo '{"accessToken": "of-az"}'"""))
    assert found is not None and found.reveal() == "of-az"
    with pytest.raises(Refused) as refused:
        token_of_cli(program(tmp_path, "echo 'bad secret s3cr3t' >&2; exit 1"))
    assert "s3cr3t" not in str(refused.value)
    with pytest.raises(SourceFailure, match="not JSON"):
        token_of_cli(program(tmp_path, "echo WARNING"))
    assert token_of_cli({"PATH": str(tmp_path / "nothing")}) is None


def test_what_is_missing_for_a_plan_is_said(tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    subscription = {**bare, "ARM_SUBSCRIPTION_ID": SUBSCRIPTION}
    assert "ARM_SUBSCRIPTION_ID" in str(missing(bare))
    assert "neither" in str(missing(subscription))
    assert missing({**subscription, "ARM_CLIENT_ID": "c", "ARM_CLIENT_SECRET": "s"}) is None
    assert missing({**subscription, "ARM_USE_OIDC": "true"}) is None
    installed = {**subscription, **program(tmp_path, "exit 0")}
    assert "nobody is logged in" in str(missing(installed))
    (tmp_path / ".azure").mkdir()
    (tmp_path / ".azure" / "azureProfile.json").write_text("{}")
    assert missing(installed) is None


def test_the_provider_says_it_with_what_to_do(tmp_path: Path, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARM_SUBSCRIPTION_ID")
    (said,) = AzureProvider().ready(home=tmp_path)
    assert said.slug == "not-logged-in" and any("ARM_SUBSCRIPTION_ID" in command for command in said.commands)


def test_a_next_page_elsewhere_is_not_asked(tmp_path: Path, arm: FakeArm) -> None:
    place(tmp_path)
    arm.server.get(f"{ROOT}/resourcegroups", lambda _: {"value": [], "nextLink": "https://example.org/resourcegroups"})
    with pytest.raises(SkycError) as caught:
        AzureProvider().observe(DEPLOYMENT, home=tmp_path)
    assert "not one of its own" in caught.value.diagnostics[0].detail


def test_a_busy_service_is_asked_again(tmp_path: Path, arm: FakeArm) -> None:
    leave(arm, DEPLOYMENT)
    place(tmp_path)
    arm.server.faults.append(("/resourcegroups", Reply(status=429, headers={"Retry-After": "0"})))
    assert len(AzureProvider().observe(DEPLOYMENT, home=tmp_path)) == 11


def test_an_account_is_never_removed_with_data_in_it(tmp_path: Path, arm: FakeArm) -> None:
    mark = "0123456789"
    mine = arm.account(f"skyc1234567890{mark}", DEPLOYMENT, ("data", "more"), storage="Out_1")
    others = arm.account("skyc12345678909999999999", DEPLOYMENT, ("data",), storage="Out_1")
    place(tmp_path)
    provider = AzureProvider()
    assert provider.observe(DEPLOYMENT, home=tmp_path) == (), "without a mark no account was ever made here"
    (tmp_path / "deployments" / DEPLOYMENT / "mark").write_text(mark)
    # Not another home's, whose mark is another.
    group, account = provider.observe(DEPLOYMENT, home=tmp_path)
    assert [item.type for item in (group, account)] == ["azurerm_resource_group", "azurerm_storage_account"]
    assert account.id == mine and {(item.storage, item.keep) for item in (group, account)} == {("Out_1", True)}
    for item in (group, account):
        with pytest.raises(SkycError) as refused:
            provider.remove(item, home=tmp_path)
        assert refused.value.diagnostics[0].slug == "storage-not-empty"
    assert not arm.deleted and len(arm.containers()) == 3
    for _ in range(2):
        provider.empty(group, home=tmp_path)
    assert [row["id"] for row in arm.containers().values()] == [f"{others}/blobServices/default/containers/data"]
    for item in (account, group, account, group):
        provider.remove(item, home=tmp_path)
    for item in (account, group):
        provider.empty(item, home=tmp_path)
    assert provider.observe(DEPLOYMENT, home=tmp_path) == () and len(arm.containers()) == 1


def test_a_group_of_storage_goes_with_its_account(tmp_path: Path, arm: FakeArm) -> None:
    """The account of a run that was killed has no container yet."""
    arm.account("skyc12345678900123456789", DEPLOYMENT, (), storage="out", keep="no")
    place(tmp_path)
    (tmp_path / "deployments" / DEPLOYMENT / "mark").write_text("0123456789")
    group, _ = AzureProvider().observe(DEPLOYMENT, home=tmp_path)
    assert group.keep is False
    AzureProvider().remove(group, home=tmp_path)
    assert not arm.things
