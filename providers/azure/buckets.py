"""Storage accounts that skyc makes: one of its own for each Storage, with one container, in a resource group of its own.

Contract: pure. Closed to everybody without a role: no public containers, no account keys (so no signatures made with them), no local
users, TLS 1.2 and newer only. Its endpoint is public, because the machines' addresses are not known before they are made. Not versioned
and without soft delete: what skyc writes is named by its content or written once. Azure drops blocks that nobody committed after a week.
Encrypted once, with Azure's own keys: the second layer (`infrastructure_encryption`) is for who must have it, and can never be changed.

Azure removes an account, a container or a group together with its data, and Terraform asks it to. What keeps data is `prevent_destroy`
on all three of a persistent Storage, and that skyc removes no account that still has a container (`inventory`).

Terraform never reaches into an account (`data_plane_available`): who applies needs no role for data.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import DeploymentId, ResourceAddress, ResourceGraph, ResourceNode, Storage, Value, storage_label
from ..base import LowerContext
from ..rented.lowering import storages_graph
from ..rented.names import KEEP_TAG, STORAGE_TAG
from .facts import PROVIDER
from .resources import Site, ref, requirement

SCHEME = "az://"
ACCOUNT, CONTAINER, GROUP = "azurerm_storage_account", "azurerm_storage_container", "azurerm_resource_group"
INSIDE = "data"
"""The container of an account."""
MARK = 10
"""Characters of a mark."""
_LONGEST = 24
"""Characters of an account's name: lower-case letters and digits, unique in the world."""
_BEGIN = "skyc"


def account_name(name: str, deployment: DeploymentId, mark: str) -> str:
    """Of the account for a Storage: `skyc`, a hash of deployment and Storage, the mark."""
    digest = hashlib.sha256(f"{deployment}/{storage_label(name)}".encode()).hexdigest()
    return f"{_BEGIN}{digest[: _LONGEST - len(_BEGIN) - len(mark)]}{mark}"


def bucket_uri(name: str, *, deployment: DeploymentId, mark: str) -> str:
    """`az://<account>/data`, known before anything is made."""
    return f"{SCHEME}{account_name(name, deployment, mark)}/{INSIDE}"


def is_ours(storage: Storage, deployment: DeploymentId) -> bool:
    """Whether a Storage lies in an account that skyc makes for it: then its resource group has the account's name."""
    account = _account(storage)
    return storage.uri == bucket_uri(storage.name, deployment=deployment, mark=account[-MARK:])


def _account(storage: Storage) -> str:
    return (storage.uri or "").removeprefix(SCHEME).partition("/")[0]


def lower_storages(
    storages: tuple[Storage, ...], region: str, context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    sites = [Site(context=context, region=region, origin=storage.origin) for storage in storages]
    made = [(storage, _made(site, storage)) for site, storage in zip(sites, storages, strict=True)]
    return storages_graph(context, PROVIDER, requirement(sites[0], for_storage=True), made), ()


def _made(site: Site, storage: Storage) -> tuple[ResourceNode, ResourceNode, ResourceNode]:
    """The container first: without it there is no place for data."""
    label, name = storage_label(storage.name), _account(storage)
    lasting = {STORAGE_TAG: storage.name, KEEP_TAG: "yes" if storage.persistent else "no"}

    def tagged(type_: str, arguments: dict[str, Value]) -> ResourceNode:
        made = site.tagged(ResourceAddress(type_, label), arguments, lasting, storage.origin, ())
        return replace(made, prevent_destroy=storage.persistent)

    # ForceNew: name, location.
    group = tagged(GROUP, {"name": name, "location": site.region})
    account = tagged(
        ACCOUNT,
        {
            "name": name,
            "resource_group_name": ref(group, "name"),
            "location": site.region,
            "account_kind": "StorageV2",
            "account_tier": "Standard",
            # What the catalog prices.
            "account_replication_type": "LRS",
            "access_tier": "Hot",
            "allow_nested_items_to_be_public": False,
            "shared_access_key_enabled": False,
            "default_to_oauth_authentication": True,
            "local_user_enabled": False,
            "cross_tenant_replication_enabled": False,
            "https_traffic_only_enabled": True,
            "min_tls_version": "TLS1_2",
        },
    )
    inside: dict[str, Value] = {"name": INSIDE, "storage_account_id": ref(account), "container_access_type": "private"}
    container = replace(site.untagged(CONTAINER, label, inside, origin=storage.origin), prevent_destroy=storage.persistent)
    return container, account, group
