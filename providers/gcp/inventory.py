"""What a deployment has at Google Cloud, found by its labels and descriptions and removed without a state.

Contract: `observe` lists what a Terraform state would hold, under the ids it would have there. Machines and disks are found by label;
networks, firewall rules, subnetworks, routers, placement policies and service accounts have none and say in their description whose they
are. Cloud NAT is a part of its router and goes with it.
A disk in use goes with its machine and is not listed. `remove` also removes what of the deployment is inside a network, a subnetwork or
a policy, since those cannot go before; what is somebody else's there stays, and the removal then fails.

A right on a bucket goes when Terraform destroys it. After a sweep it stays in the bucket's policy, for an account that is gone
(`deleted:serviceAccount:…`), where it is good for nothing.

A bucket is removed only when it is empty, which Google itself sees to; `empty` is a call of its own. Buckets are told by their label, and
by the mark in their name: another home may use the same deployment's name in the same project, and data is not like a machine.

A network of the user's is never listed: it says nothing of us. What of ours is in it does: the firewall rules, which lie in the project of
a shared network, and there only rules of sites known here count, since many share it; the head's address, which has labels.

Permissions: `list` and `delete` of `compute.instances`, `disks`, `addresses`, `networks`, `subnetworks`, `firewalls`, `routers` and
`resourcePolicies`, and of `iam.serviceAccounts`; for buckets `storage.buckets.list` and `delete`, `storage.objects.list` and `delete`,
and of `storage.multipartUploads` `list` and `abort`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ...compiler.ir import DeploymentId
from ..base import OwnedResource
from ..rented.names import DEPLOYMENT_TAG, KEEP_TAG, STORAGE_TAG, describes, site_in
from .client import Cloud

INSTANCE, DISK, ADDRESS = "google_compute_instance", "google_compute_disk", "google_compute_address"
NETWORK, SUBNETWORK = "google_compute_network", "google_compute_subnetwork"
FIREWALL, POLICY, ACCOUNT = "google_compute_firewall", "google_compute_resource_policy", "google_service_account"
ROUTER, BUCKET = "google_compute_router", "google_storage_bucket"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inventory:
    cloud: Cloud

    def observe(
        self,
        deployment: DeploymentId,
        projects: Iterable[str],
        regions: Iterable[str],
        mark: str | None = None,
        *,
        shared: Iterable[str] = (),
        sites: Iterable[str] = (),
    ) -> tuple[OwnedResource, ...]:
        """Everything of the deployment in these projects and regions, sorted by id. `detail` is the project. mark: ends the names of its
        buckets; None: it has none. shared: projects of networks that others use too, where only what is of these sites counts."""
        found = [
            OwnedResource(id=_id(row["selfLink"]), type=FIREWALL, name=str(row["name"]), deployment=deployment, detail=project)
            for project in sorted(set(shared) - set(projects))
            for row in self.cloud.rows(f"projects/{project}/global/firewalls")
            if describes(row.get("description"), deployment) and site_in(row.get("description")) in set(sites)
        ]
        for project in sorted(set(projects)):
            for type_, row in self._listed(deployment, project, sorted(set(regions))):
                id_ = f"projects/{project}/serviceAccounts/{row['email']}" if type_ == ACCOUNT else _id(row["selfLink"])
                name = str(row.get("displayName") if type_ == ACCOUNT else row["name"])
                node = str(row.get("id") or "") if type_ == INSTANCE else ""
                found.append(OwnedResource(id=id_, type=type_, name=name, deployment=deployment, detail=project, node=node))
            found += self._buckets(deployment, project, mark) if mark else ()
        return tuple(sorted(found, key=lambda item: (item.id, item.type)))

    def _listed(self, deployment: DeploymentId, project: str, regions: list[str]) -> Iterator[tuple[str, Row]]:
        yield from ((INSTANCE, row) for row in self._labelled(deployment, project, "instances"))
        yield from ((DISK, row) for row in self._labelled(deployment, project, "disks") if not row.get("users"))
        yield from ((ADDRESS, row) for row in self._labelled(deployment, project, "addresses"))
        described = [(NETWORK, "global/networks"), (FIREWALL, "global/firewalls")]
        for region in regions:
            here = f"regions/{region}"
            described += [
                (SUBNETWORK, f"{here}/subnetworks"),
                (POLICY, f"{here}/resourcePolicies"),
                (ROUTER, f"{here}/routers"),
            ]
        for type_, path in described:
            for row in self.cloud.rows(f"projects/{project}/{path}"):
                if describes(row.get("description"), deployment):
                    yield type_, row
        for row in self.cloud.accounts(project):
            if describes(row.get("description"), deployment):
                yield ACCOUNT, row

    def _buckets(self, deployment: DeploymentId, project: str, mark: str) -> Iterator[OwnedResource]:
        for row in self.cloud.buckets(project, "skyc-"):
            name, labels = str(row["name"]), row.get("labels", {})
            if name.endswith(f"-{mark}") and labels.get(DEPLOYMENT_TAG) == deployment:
                # Without a word about it, data stays.
                storage, keep = labels.get(STORAGE_TAG, name), labels.get(KEEP_TAG) != "no"
                yield OwnedResource(
                    id=name, type=BUCKET, name=name, deployment=deployment, detail=project, storage=storage, keep=keep
                )

    def _labelled(self, deployment: DeploymentId, project: str, kind: str) -> Iterator[Row]:
        for row in self.cloud.everywhere(project, kind, filter=f"labels.{DEPLOYMENT_TAG}={deployment}"):
            # The filter's syntax could change its meaning; whose a machine is does not.
            if row.get("labels", {}).get(DEPLOYMENT_TAG) == deployment:
                yield row

    def remove(self, resource: OwnedResource) -> None:
        """Remove one resource and what of its deployment is inside it. What is gone already is fine."""
        if resource.type == ACCOUNT:
            self.cloud.delete_account(resource.id)
            return
        if resource.type == BUCKET:
            self.cloud.delete_bucket(resource.id)
            return
        if resource.type in (NETWORK, SUBNETWORK, POLICY, ADDRESS):
            self._clear(resource)
        self.cloud.delete(resource.id)

    def empty(self, resource: OwnedResource) -> None:
        """Delete all data a bucket holds. The bucket stays."""
        self.cloud.empty(resource.id)

    def _clear(self, resource: OwnedResource) -> None:
        project, deployment = resource.detail, resource.deployment
        users = (
            {_id(link) for link in (self.cloud.row(resource.id) or {}).get("users", ())} if resource.type == ADDRESS else set()
        )
        for row in list(self._labelled(deployment, project, "instances")):
            if resource.id in _used(row) or _id(row["selfLink"]) in users:
                self.cloud.delete(_id(row["selfLink"]))
        if resource.type in (NETWORK, SUBNETWORK):
            for row in list(self.cloud.everywhere(project, "routers")):
                if resource.id in _joined(row) and describes(row.get("description"), deployment):
                    self.cloud.delete(_id(row["selfLink"]))
        if resource.type != NETWORK:
            return
        rows = [*self.cloud.rows(f"projects/{project}/global/firewalls"), *self.cloud.everywhere(project, "subnetworks")]
        for row in rows:
            if _id(row["network"]) == resource.id and describes(row.get("description"), deployment):
                self.cloud.delete(_id(row["selfLink"]))


def _id(link: object) -> str:
    """The path Terraform uses as the id, of a link of the API's (`https://www.googleapis.com/compute/v1/projects/…`)."""
    return "projects/" + str(link).partition("/projects/")[2]


def _used(machine: Row) -> set[str]:
    """Ids of the networks, subnetworks and policies a machine uses."""
    links = [interface.get(key) for interface in machine.get("networkInterfaces", ()) for key in ("network", "subnetwork")]
    return {_id(link) for link in (*links, *machine.get("resourcePolicies", ())) if link}


def _joined(router: Row) -> set[str]:
    """Ids of the network a router is in, and of the subnetworks its NAT serves."""
    served = [subnetwork.get("name") for nat in router.get("nats", ()) for subnetwork in nat.get("subnetworks", ())]
    return {_id(link) for link in (router.get("network"), *served) if link}
