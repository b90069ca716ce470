"""What a deployment has at Azure, found by its tag and removed without a state.

Contract: `observe` lists what a Terraform state would hold and has tags, under the ids it would have there; what has none (a subnet,
a rule, a role) goes with what has. `remove` first removes what uses the thing, since it cannot go before. It removes nothing that
does not carry the deployment's tag: whoever put something of theirs into the deployment's resource group is told so.

Azure removes a storage account with everything in it, so here an account that has a container is never removed, nor its group: `empty`
deletes the containers, and is a call of its own. What holds data is told by its tag, and by the mark in its name: another home may use the
same deployment's name in the same subscription, and data is not like a machine.

Permissions: `*/read` on the subscription's resources and the deletes of each; `Microsoft.Authorization/roleAssignments/read` and
`/delete` for a deployment with an identity. Nobody needs a role for data: containers are deleted through Azure Resource Manager.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...compiler.ir import DeploymentId
from ..base import OwnedResource
from ..rented.names import DEPLOYMENT_TAG, KEEP_TAG, STORAGE_TAG
from ..retry import SourceFailure
from .client import AUTHORIZATION, RESOURCES, VERSIONS, Arm, Row, kind_of

_TYPES = {
    "microsoft.network/applicationsecuritygroups": (
        "azurerm_application_security_group",
        "Microsoft.Network/applicationSecurityGroups",
    ),
    "microsoft.compute/availabilitysets": ("azurerm_availability_set", "Microsoft.Compute/availabilitySets"),
    "microsoft.compute/disks": ("azurerm_managed_disk", "Microsoft.Compute/disks"),
    "microsoft.compute/proximityplacementgroups": (
        "azurerm_proximity_placement_group",
        "Microsoft.Compute/proximityPlacementGroups",
    ),
    "microsoft.compute/virtualmachines": ("azurerm_linux_virtual_machine", "Microsoft.Compute/virtualMachines"),
    "microsoft.managedidentity/userassignedidentities": (
        "azurerm_user_assigned_identity",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
    ),
    "microsoft.network/natgateways": ("azurerm_nat_gateway", "Microsoft.Network/natGateways"),
    "microsoft.network/networkinterfaces": ("azurerm_network_interface", "Microsoft.Network/networkInterfaces"),
    "microsoft.network/networksecuritygroups": ("azurerm_network_security_group", "Microsoft.Network/networkSecurityGroups"),
    "microsoft.network/publicipaddresses": ("azurerm_public_ip", "Microsoft.Network/publicIPAddresses"),
    "microsoft.network/virtualnetworks": ("azurerm_virtual_network", "Microsoft.Network/virtualNetworks"),
    "microsoft.storage/storageaccounts": ("azurerm_storage_account", "Microsoft.Storage/storageAccounts"),
}
"""Kind in lower-case letters → Terraform's type, and the kind as Terraform writes it in an id."""
GROUP = "azurerm_resource_group"
_ACCOUNT = "microsoft.storage/storageaccounts"
_CONTAINERS = "/blobServices/default/containers"
FORCED = (("forceDeletionTypes", "Microsoft.Compute/virtualMachines"),)
_ID = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)(?:/providers/([^/]+/[^/]+)/([^/]+))?", re.IGNORECASE)
_ROOT_DISK = re.compile(r".+_(?:osdisk|disk1)_.+", re.IGNORECASE)
"""As Azure names the disk of a machine; not every one inherits its machine's tags."""


class HoldsData(SourceFailure):
    """It is not removed, because there is a container in it."""


@dataclass(frozen=True, slots=True)
class Inventory:
    arm: Arm

    def observe(
        self, deployment: DeploymentId, subscriptions: tuple[str, ...], mark: str | None = None
    ) -> tuple[OwnedResource, ...]:
        """Everything tagged with the deployment, sorted by id. Lists lag behind, so each thing is asked for itself. mark: ends the names
        of its storage accounts; None: it has none."""
        found = [item for subscription in subscriptions for item in self._in(deployment, subscription)]
        # Another home's, of a deployment of the same name.
        found = [item for item in found if not item.storage or (mark is not None and item.name.endswith(mark))]
        return tuple(sorted(found, key=lambda item: (item.id, item.type)))

    def _in(self, deployment: DeploymentId, subscription: str) -> Iterator[OwnedResource]:
        chosen = f"tagName eq '{DEPLOYMENT_TAG}' and tagValue eq '{deployment}'"
        here = f"/subscriptions/{subscription}"
        for row in self.arm.rows(f"{here}/resourcegroups", RESOURCES, chosen):
            id_ = written(str(row.get("id")))
            group = self.arm.get(id_, RESOURCES)
            if group is not None:
                yield OwnedResource(id=id_, type=GROUP, name=id_.rpartition("/")[2], deployment=deployment, **_held(group))
        for row in self.arm.rows(f"{here}/resources", RESOURCES, chosen):
            id_ = written(str(row.get("id")))
            known = _TYPES.get(kind_of(id_))
            if known is None:
                continue
            thing = self.arm.get(id_)
            # A disk in use goes with its machine.
            if thing is not None and not thing.get("managedBy"):
                # A machine's id in Azure's own counting, which tells one that was made anew from the one before.
                life = str((thing.get("properties") or {}).get("vmId") or "")
                name = id_.rpartition("/")[2]
                yield OwnedResource(id=id_, type=known[0], name=name, deployment=deployment, node=life, **_held(thing))

    def remove(self, resource: OwnedResource) -> None:
        """Remove one resource and what uses it. What is gone already is fine. Raises HoldsData."""
        if resource.type == GROUP or kind_of(resource.id) == _ACCOUNT:
            self._refuse_data(resource)
        if resource.type == GROUP:
            self._remove_group(resource)
        else:
            self._remove(resource.id, resource.deployment)

    def empty(self, resource: OwnedResource) -> None:
        """Delete the containers of a storage account, or of those in a group. The account stays. One that is gone is empty."""
        for account in self._accounts(resource):
            for row in self._containers(account):
                # Which answers when it is gone, and is quiet about one that is.
                self.arm.delete(f"{account}{_CONTAINERS}/{row['name']}")

    def _accounts(self, resource: OwnedResource) -> list[str]:
        if self.arm.get(resource.id, RESOURCES if resource.type == GROUP else "") is None:
            return []
        if resource.type != GROUP:
            return [resource.id]
        inside = [written(str(row.get("id"))) for row in self.arm.rows(f"{resource.id}/resources", RESOURCES)]
        return [id_ for id_ in inside if kind_of(id_) == _ACCOUNT and self.arm.get(id_) is not None]

    def _containers(self, account: str) -> list[Row]:
        return self.arm.rows(f"{account}{_CONTAINERS}", VERSIONS[_ACCOUNT])

    def _refuse_data(self, resource: OwnedResource) -> None:
        for account in self._accounts(resource):
            if self._containers(account):
                raise HoldsData(f"{account.rpartition('/')[2]} has a container")

    def _remove(self, id_: str, deployment: DeploymentId) -> None:
        thing = self.arm.get(id_)
        if thing is None:
            return
        if not _carries(thing, deployment):
            raise SourceFailure(f"{id_} uses what is the deployment's and does not carry its tag, so it is not removed")
        properties = _properties(thing)
        match kind_of(id_):
            case "microsoft.compute/virtualmachines":
                self._end(id_, properties)
                return
            case "microsoft.network/networkinterfaces":
                users = [properties.get("virtualMachine")]
            case "microsoft.network/publicipaddresses":
                users = [_above(properties.get("ipConfiguration"), "/ipConfigurations/"), properties.get("natGateway")]
            case "microsoft.network/natgateways":
                users = []
                for subnet in _rows(properties, "subnets"):
                    self._take_from(str(subnet.get("id")), "natGateway")
            case "microsoft.network/virtualnetworks":
                users = [
                    _above(used, "/ipConfigurations/")
                    for subnet in _rows(properties, "subnets")
                    for used in _rows(_properties(subnet), "ipConfigurations")
                ]
            case "microsoft.compute/availabilitysets" | "microsoft.compute/proximityplacementgroups":
                users = list(_rows(properties, "virtualMachines"))
            case "microsoft.network/applicationsecuritygroups":
                # It does not say whose interfaces are in it. All that can be are the site's, and lie beside it.
                users = self._beside(id_, "microsoft.network/networkinterfaces")
            case "microsoft.network/networksecuritygroups":
                # On interfaces it is where the network is the user's. A subnet that has it is ours.
                users = list(_rows(properties, "networkInterfaces"))
                for subnet in _rows(properties, "subnets"):
                    # Addresses of the Standard kind let nothing in without one.
                    self._take_from(str(subnet.get("id")), "networkSecurityGroup")
            case "microsoft.managedidentity/userassignedidentities":
                users = []
                self._take_roles(id_, properties)
            case _:
                users = []
        for user in users:
            if isinstance(user, dict) and user.get("id"):
                self._remove(written(str(user["id"])), deployment)
        self.arm.delete(id_)

    def _beside(self, id_: str, kind: str) -> list[Any]:
        """What of a kind is in the same resource group."""
        group = id_.partition("/providers/")[0]
        rows = self.arm.rows(f"{group}/resources", RESOURCES)
        return [row for row in rows if kind_of(written(str(row.get("id")))) == kind]

    def _end(self, id_: str, properties: Row) -> None:
        """A machine, and the disk it leaves behind."""
        disk = _inner(properties, "storageProfile", "osDisk", "managedDisk").get("id")
        self.arm.delete(id_, options=(("forceDeletion", "true"),))
        if isinstance(disk, str):
            self.arm.delete(written(disk))

    def _take_from(self, id_: str, what: str) -> None:
        """Take its security group, or its NAT gateway, away from a subnet."""
        subnet = self.arm.get(id_)
        if subnet is not None:
            properties = {name: value for name, value in _properties(subnet).items() if name != what}
            self.arm.put(id_, {**subnet, "properties": properties})

    def _take_roles(self, id_: str, properties: Row) -> None:
        """Roles lie at what they are about, which is the user's own, and outlive an identity as nameless rows."""
        principal = properties.get("principalId")
        match = _ID.match(id_)
        if match is None or not isinstance(principal, str):
            return
        path = f"/subscriptions/{match[1]}/providers/Microsoft.Authorization/roleAssignments"
        for row in self.arm.rows(path, AUTHORIZATION, f"principalId eq '{principal}'"):
            # The filter also names what the principal has through groups.
            if _properties(row).get("principalId") == principal:
                self.arm.delete(str(row["id"]), AUTHORIZATION)

    def _remove_group(self, resource: OwnedResource) -> None:
        group = self.arm.get(resource.id, RESOURCES)
        if group is None:
            return
        inside = self.arm.rows(f"{resource.id}/resources", RESOURCES)
        strange = [row for row in inside if not _carries(row, resource.deployment) and not _is_root_disk(row)]
        if strange or not _carries(group, resource.deployment):
            names = ", ".join(sorted(str(row.get("name")) for row in strange)) or resource.name
            raise SourceFailure(
                f"the resource group {resource.name} holds what does not carry the deployment's tag ({names}), so it is not removed"
            )
        for row in inside:
            id_ = written(str(row.get("id")))
            if kind_of(id_) == "microsoft.managedidentity/userassignedidentities":
                self._take_roles(id_, _properties(self.arm.get(id_) or {}))
        self.arm.delete(resource.id, RESOURCES, options=FORCED)


def written(id_: str) -> str:
    """An id as Terraform's state has it. Azure changes the case of its words from call to call, and an id that differs from the state's
    would be taken for an orphan's. Names that skyc gives are lower-case; a disk's is Azure's own."""
    match = _ID.fullmatch(id_)
    if match is None:
        return id_
    group = f"/subscriptions/{match[1].lower()}/resourceGroups/{match[2].lower()}"
    if match[3] is None:
        return group
    known = _TYPES.get(match[3].lower())
    name = match[4] if match[3].lower() == "microsoft.compute/disks" else match[4].lower()
    return f"{group}/providers/{known[1] if known else match[3]}/{name}"


def _carries(row: Row, deployment: DeploymentId) -> bool:
    tags = row.get("tags")
    named = {str(name).lower(): value for name, value in tags.items()} if isinstance(tags, dict) else {}
    return named.get(DEPLOYMENT_TAG) == deployment


def _held(row: Row) -> dict[str, Any]:
    """Of what holds data: whose, and whether it stays. Without a word about that, it does."""
    tags = row.get("tags")
    named = {str(name).lower(): str(value) for name, value in tags.items()} if isinstance(tags, dict) else {}
    return {"storage": named[STORAGE_TAG], "keep": named.get(KEEP_TAG) != "no"} if STORAGE_TAG in named else {}


def _is_root_disk(row: Row) -> bool:
    return str(row.get("type")).lower() == "microsoft.compute/disks" and bool(_ROOT_DISK.fullmatch(str(row.get("name"))))


def _properties(row: Row) -> Row:
    return _inner(row, "properties")


def _inner(row: Row, *names: str) -> Row:
    for name in names:
        found = row.get(name)
        row = found if isinstance(found, dict) else {}
    return row


def _rows(row: Row, name: str) -> Iterator[Row]:
    found = row.get(name)
    yield from (item for item in (found if isinstance(found, list) else ()) if isinstance(item, dict))


def _above(row: object, mark: str) -> Row | None:
    """The resource that a part of it names: `…/networkInterfaces/a/ipConfigurations/b` → the interface."""
    id_ = row.get("id") if isinstance(row, dict) else None
    return {"id": id_.partition(mark)[0]} if isinstance(id_, str) and mark in id_ else None
