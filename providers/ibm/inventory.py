"""What a deployment has at IBM, found by its tag and removed without a state.

Contract: `observe` lists what a Terraform state would hold, under the ids it would have there. IBM attaches tags after it has made a
resource, so a run that is killed in between leaves something without one. Therefore a network is asked for its tag, and what lies in
a network of the deployment is the deployment's, tagged or not: all that costs money but loose addresses and disks. Those, and login
keys, lie in no network and are asked one by one; only what has a name as skyc gives them, to ask the less. Trusted profiles take no
tags and say in their description whose they are. What goes with another thing (an attached disk, rules, a network's own group and
ACL) is not listed.

A bucket has no tags; the instance of the service that it lies in has them, and nothing else in it. Both are told by the mark in the
instance's name too: another home may use the same deployment's name in the same account, and data is not like a machine. Neither is removed
while there is something in it; `empty` is a call of its own.

In a VPC of the user's nothing tells what is ours but our security group, which carries the tag: interfaces in it are the deployment's, with
their machines and addresses, tagged or not. A group that a killed run left without its tag is not found; it costs nothing, and the next
apply says that its name is taken.

`remove` also removes what is inside a network, a subnet, a group or an ACL, since those cannot go before; it waits until it is gone.

Roles: Editor on VPC Infrastructure Services; Viewer on tagging; Operator on the IAM Identity Service for trusted profiles; for
buckets Administrator (platform) and Manager (service) on Cloud Object Storage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ...compiler.ir import DeploymentId
from ..base import OwnedResource
from ..http import Answered
from ..rented.names import DEPLOYMENT_TAG, KEEP_TAG, SITE_TAG, STORAGE_TAG
from ..retry import SourceFailure
from .buckets import BUCKET, INSTANCE
from .client import NOT_FOUND, Account, Row
from .storage import mark

GONE_SECONDS = 600.0
"""A machine with much memory takes minutes to end."""
LOOK_SECONDS = 3.0
OURS = "skyc-"
"""How every name that is given here begins."""
PROFILE = "ibm_iam_trusted_profile"
_COLLECTIONS = {
    "ibm_is_floating_ip": "floating_ips",
    "ibm_is_instance": "instances",
    "ibm_is_network_acl": "network_acls",
    "ibm_is_public_gateway": "public_gateways",
    "ibm_is_security_group": "security_groups",
    "ibm_is_subnet": "subnets",
    "ibm_is_virtual_network_interface": "virtual_network_interfaces",
    "ibm_is_volume": "volumes",
    "ibm_is_vpc": "vpcs",
}
_INSIDE = (
    "ibm_is_instance",
    "ibm_is_virtual_network_interface",
    "ibm_is_subnet",
    "ibm_is_public_gateway",
    "ibm_is_security_group",
    "ibm_is_network_acl",
)
"""In the order in which they can be removed."""


_ADDRESSED = ("ibm_is_virtual_network_interface", "ibm_is_public_gateway")
"""What has a floating IP."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """One account. A context manager. `pause`: between looks at something that is ending."""

    account: Account
    pause: Callable[[float], object] = time.sleep

    def __enter__(self) -> Inventory:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.account.__exit__(kind, value, traceback)

    def observe(self, deployment: DeploymentId, regions: tuple[str, ...], mark: str | None = None) -> tuple[OwnedResource, ...]:
        """Everything of the deployment in these regions, sorted by id. `detail` is the region. mark: ends the names of its buckets;
        None: it has none."""
        found = [item for region in regions for item in self._in_region(deployment, region)]
        # Profiles belong to no region.
        found += self._profiles(deployment, regions[0]) if regions else ()
        found += self._buckets(deployment, regions, mark) if regions and mark else ()
        return tuple(sorted(found, key=lambda item: (item.id, item.type)))

    def _in_region(self, deployment: DeploymentId, region: str) -> Iterator[OwnedResource]:
        def owned(type_: str, row: Row) -> OwnedResource:
            return OwnedResource(id=row["id"], type=type_, name=row["name"], deployment=deployment, detail=region)

        networks = {row["id"]: row for row in self.account.rows(region, "vpcs") if self._carries(row, deployment)}
        for row in networks.values():
            yield owned("ibm_is_vpc", row)
        holding: set[str] = set()
        for type_ in _INSIDE if networks else ():
            for row in self._within(region, type_, set(networks)):
                if row["id"] not in _own_parts(networks[row["vpc"]["id"]]):
                    holding |= {row["id"]} if type_ in _ADDRESSED else set()
                    yield owned(type_, row)
        for type_, row in self._in_groups(region, deployment, set(networks)):
            holding |= {row["id"]} if type_ == "ibm_is_virtual_network_interface" else set()
            yield owned(type_, row)
        for row in self.account.rows(region, "floating_ips"):
            bound = (row.get("target") or {}).get("id")
            if bound in holding or self._named_and_carries(row, deployment):
                yield owned("ibm_is_floating_ip", row)
        for row in self.account.rows(region, "volumes"):
            if not row.get("volume_attachments") and self._named_and_carries(row, deployment):
                yield owned("ibm_is_volume", row)

    def _in_groups(self, region: str, deployment: DeploymentId, networks: set[str]) -> Iterator[tuple[str, Row]]:
        """The deployment's security groups in other networks than its own, and what is in them. `networks`: its own."""
        groups = {
            row["id"]: row
            for row in self.account.rows(region, "security_groups")
            if _id_of(row.get("vpc")) not in networks and self._named_and_carries(row, deployment)
        }
        if not groups:
            return
        yield from (("ibm_is_security_group", row) for row in groups.values())
        ours = {
            row["id"]: row
            for row in self.account.rows(region, "virtual_network_interfaces")
            if _groups_of(row) & set(groups) and str(row["name"]).startswith(OURS)
        }
        yield from (("ibm_is_virtual_network_interface", row) for row in ours.values())
        machines = self.account.rows(region, "instances")
        yield from (("ibm_is_instance", row) for row in machines if _interfaces_of(row) & set(ours))

    def _within(self, region: str, type_: str, networks: set[str]) -> list[Row]:
        return [row for row in self.account.rows(region, _COLLECTIONS[type_]) if _id_of(row.get("vpc")) in networks]

    def _named_and_carries(self, row: Row, deployment: DeploymentId) -> bool:
        return str(row["name"]).startswith(OURS) and self._carries(row, deployment)

    def _carries(self, row: Row, deployment: DeploymentId) -> bool:
        return f"{DEPLOYMENT_TAG}:{deployment}" in self.account.tags(row["crn"])

    def _profiles(self, deployment: DeploymentId, region: str) -> list[OwnedResource]:
        return [
            OwnedResource(id=row["id"], type=PROFILE, name=row["name"], deployment=deployment, detail=region)
            for row in self.account.profiles()
            if mark(str(deployment)) in str(row.get("description") or "").split()
        ]

    def _buckets(self, deployment: DeploymentId, regions: tuple[str, ...], mark: str) -> Iterator[OwnedResource]:
        for row in self.account.storage.instances():
            name, crn = str(row["name"]), str(row["crn"])
            if not name.startswith(OURS) or not name.endswith(f"-{mark}"):
                continue
            tags = dict(tag.split(":", 1) for tag in self.account.tags(crn) if ":" in tag)
            if tags.get(DEPLOYMENT_TAG) != deployment:
                continue
            # In which region it was made, its site says. Without a word about it, data stays.
            region = str(tags.get(SITE_TAG, "")).partition(".ibm-")[2] or regions[0]
            held: dict[str, Any] = {
                "storage": tags.get(STORAGE_TAG, name),
                "keep": tags.get(KEEP_TAG) != "no",
                "detail": region,
            }
            yield OwnedResource(id=crn, type=INSTANCE, name=name, deployment=deployment, **held)
            for bucket in self.account.storage.buckets(region, crn):
                id_ = f"{crn.removesuffix('::')}:bucket:{bucket}:meta:rl:{region}:public"
                yield OwnedResource(id=id_, type=BUCKET, name=bucket, deployment=deployment, **held)

    def empty(self, resource: OwnedResource) -> None:
        """Delete all data in a bucket, or in those of an instance. They stay. What is gone is empty."""
        storage, region = self.account.storage, resource.detail
        names = [resource.name]
        if resource.type == INSTANCE:
            there = any(row["crn"] == resource.id for row in storage.instances())
            names = storage.buckets(region, resource.id) if there else []
        for name in names:
            try:
                storage.empty(region, name)
            except Answered as answer:
                if answer.status != NOT_FOUND:
                    raise

    def remove(self, resource: OwnedResource) -> None:
        """Remove one resource and what is inside it, but no data: NotEmpty then. What is gone already is fine."""
        region, id_ = resource.detail, resource.id
        match resource.type:
            case "ibm_cos_bucket":
                self.account.storage.delete_bucket(region, resource.name)
            case "ibm_resource_instance":
                self.account.storage.delete_instance(region, id_)
            case "ibm_iam_trusted_profile":
                for row in self.account.profiles():
                    if row["id"] == id_:
                        self.account.delete_profile(id_, row["iam_id"])
            case "ibm_is_vpc":
                for type_ in _INSIDE:
                    network = self.account.row(region, f"vpcs/{id_}")
                    kept = _own_parts(network) if network is not None else ()
                    self._end(region, type_, [row["id"] for row in self._within(region, type_, {id_}) if row["id"] not in kept])
                self._end(region, resource.type, [id_])
            case _:
                self._empty(region, resource.type, id_)
                self._end(region, resource.type, [id_])

    def _empty(self, region: str, type_: str, id_: str) -> None:
        """Remove what keeps one resource of a network from going."""
        match type_:
            case "ibm_is_virtual_network_interface":
                machines = self.account.rows(region, "instances")
                self._end(region, "ibm_is_instance", [row["id"] for row in machines if id_ in _interfaces_of(row)])
            case "ibm_is_subnet" | "ibm_is_security_group":
                for row in list(self.account.rows(region, "virtual_network_interfaces")):
                    if id_ == _id_of(row.get("subnet")) or id_ in _groups_of(row):
                        if not str(row["name"]).startswith(OURS):
                            raise SourceFailure(
                                f"{row['name']} uses what is the deployment's and is not skyc's, so neither is removed"
                            )
                        self._empty(region, "ibm_is_virtual_network_interface", row["id"])
                        self._end(region, "ibm_is_virtual_network_interface", [row["id"]])
            case "ibm_is_floating_ip":
                # A public gateway never lets go of its address.
                bound = _id_of((self.account.row(region, f"floating_ips/{id_}") or {}).get("target"))
                if bound is not None and self.account.row(region, f"public_gateways/{bound}") is not None:
                    self._empty(region, "ibm_is_public_gateway", bound)
                    self._end(region, "ibm_is_public_gateway", [bound])
            case "ibm_is_public_gateway":
                # It goes when no subnet goes out through it.
                for row in list(self.account.rows(region, "subnets")):
                    if _id_of(row.get("public_gateway")) == id_:
                        self.account.delete(region, f"subnets/{row['id']}/public_gateway")
            case "ibm_is_network_acl":
                for row in list(self.account.rows(region, "subnets")):
                    if _id_of(row.get("network_acl")) == id_:
                        self._empty(region, "ibm_is_subnet", row["id"])
                        self._end(region, "ibm_is_subnet", [row["id"]])

    def _end(self, region: str, type_: str, ids: list[str]) -> None:
        """Ask for their removal and wait until they are gone: IBM says yes long before, and what they lie in cannot go until then."""
        paths = [f"{_COLLECTIONS[type_]}/{id_}" for id_ in ids]
        for path in paths:
            self.account.delete(region, path)
        waited = 0.0
        while True:
            paths = [path for path in paths if self.account.row(region, path) is not None]
            if not paths:
                return
            if waited >= GONE_SECONDS:
                raise SourceFailure(f"{paths[0]} in {region} was still there after {GONE_SECONDS:.0f} s")
            self.pause(LOOK_SECONDS)
            waited += LOOK_SECONDS


def _own_parts(network: Row) -> tuple[str | None, ...]:
    """What a network has from the beginning and takes with it."""
    return _id_of(network.get("default_security_group")), _id_of(network.get("default_network_acl"))


def _interfaces_of(machine: Row) -> set[str | None]:
    return {_id_of(row.get("virtual_network_interface")) for row in machine.get("network_attachments") or ()}


def _groups_of(interface: Row) -> set[str | None]:
    return {_id_of(row) for row in interface.get("security_groups") or ()}


def _id_of(reference: Row | None) -> str | None:
    return reference.get("id") if reference else None
