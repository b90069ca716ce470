"""Blob storage: which containers a task's machines may use, as an identity that can do nothing else.

A machine gets an identity only when the task names a place in Blob storage: `az://account/container/path`, or the container's https
address. It may read the containers the task copies from, and read, write and delete in those of its storages: the least that a
built-in role's scope can say. A role is never given on an account, a resource group or a subscription.

A role's scope is a resource's id, which holds the subscription and the resource group of the account; an address does not tell them and
nothing is looked up. So `access.storage_accounts` of config.yaml says where an account of the user's is. One that skyc makes (`buckets`)
is in a group of its own name, and in the subscription of the site, which Terraform takes from the id of the site's own group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...compiler.diagnostics import Diagnostic, Severity, error
from ...compiler.ir import Joined, MountMode, Ref, ResourceNode, SpecPath, Task, Value
from ..base import LowerContext
from ..rented.buckets import without_place
from .buckets import SCHEME, is_ours
from .facts import PROVIDER
from .resources import GROUP, NOBODY, Site, ref

_HTTPS = re.compile(r"https://([a-z0-9]{3,24})\.blob\.core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)(?:/|$)")
_ACCOUNT = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w.\-()]{1,90}/providers/Microsoft\.Storage/storageAccounts/([a-z0-9]{3,24})",
    re.IGNORECASE,
)
_ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*|\$(?:logs|root|web)")
READER = "Storage Blob Data Reader"
WRITER = "Storage Blob Data Contributor"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A container of an account, and whether it is written."""

    account: str
    container: str
    writes: bool


def refused(task: Task, context: LowerContext) -> Iterator[Diagnostic]:
    """Storages for which there is no container, addresses that name no container, and accounts nobody has placed."""
    for storage in task.storages:
        if storage.uri is None:
            yield no_place(storage.name)
    known = context.access.storage_accounts
    ours = _ours(task, context)
    for place, origin in _found(task):
        if not _ACCOUNT_NAME.fullmatch(place.account) or not _CONTAINER.fullmatch(place.container):
            # What is wrong is not repeated: an address can hold a signature that gives access.
            yield error(
                "unsupported-here",
                "The target cannot do this",
                f"`{origin}` on `azure`: {_broken(place)}",
                hint="write az://account/container/path, with the container's own name",
                subject=origin,
            )
        elif place.account not in ours and _scope(place.account, known) is None:
            yield _not_placed(place.account, origin, offline=context.offline)


def _broken(place: Place) -> str:
    """Which rule an address breaks, without a word of it (azure-resource-manager, resource-name-rules: Microsoft.Storage)."""
    if not place.account or not place.container:
        return "the address does not name an account and a container in it."
    if not _ACCOUNT_NAME.fullmatch(place.account):
        return "it has no account's name before the first `/`. Such a name has 3 to 24 lower-case letters and digits."
    return (
        "no container can be called so. Its name, after the account's, has 3 to 63 lower-case letters, digits and hyphens, begins and ends"
        " with a letter or digit, and has no two hyphens in a row."
    )


def no_place(name: str) -> Diagnostic:
    return without_place(name, PROVIDER, "az://account/container/path")


def _not_placed(account: str, origin: SpecPath, *, offline: bool) -> Diagnostic:
    """An error for a plan that can be applied; who plans offline mostly lacks the configuration."""
    return Diagnostic(
        severity=Severity.WARNING if offline else Severity.ERROR,
        slug="storage-account-unknown",
        summary="Where a storage account is, is not known",
        detail=f"The machines get a role on containers of `{account}`, and on nothing else. For that skyc must know the account's resource"
        " id: its address does not tell the subscription and the resource group.",
        hint=f"write it into config.yaml below skyc's home, as `access: {{storage_accounts: {{{account}: /subscriptions/…}}}}`",
        commands=(f"az storage account show --name {account} --query id --output tsv",),
        subject=origin,
    )


def places(task: Task) -> tuple[Place, ...]:
    """What the task's machines must reach, sorted; one that is written is not listed for reading too."""
    found = {place for place, _ in _found(task)}
    return tuple(sorted(place for place in found if place.writes or Place(place.account, place.container, True) not in found))


def _found(task: Task) -> Iterator[tuple[Place, SpecPath]]:
    for storage in task.storages:
        yield from _place(storage.uri, storage.origin, writes=True)
    for mount in task.file_mounts:
        yield from _place(mount.source, mount.origin, writes=mount.mode is not MountMode.COPY)
    for flow in task.inputs:
        yield from _place(flow.key, flow.origin, writes=False)
    for flow in task.outputs:
        yield from _place(flow.key, flow.origin, writes=True)


def _place(uri: str | None, origin: SpecPath, *, writes: bool) -> Iterator[tuple[Place, SpecPath]]:
    if uri is None:
        return
    match = _HTTPS.match(uri)
    if match is not None:
        account, rest = match[1], uri[match.end() :]
    elif uri.startswith(SCHEME):
        account, _, rest = uri.removeprefix(SCHEME).partition("/")
    else:
        return
    yield Place(account, rest.partition("/")[0], writes), origin


def _scope(account: str, known: Mapping[str, str]) -> str | None:
    """The account's resource id, as it is configured; None for none, and for what is not this account's."""
    text = known.get(account, "")
    match = _ACCOUNT.fullmatch(text)
    return text if match is not None and match[1].lower() == account else None


def _ours(task: Task, context: LowerContext) -> frozenset[str]:
    """Names of accounts that skyc makes for the task's Storages."""
    mine = (storage.uri for storage in task.storages if is_ours(storage, context.deployment))
    return frozenset(str(uri).removeprefix(SCHEME).partition("/")[0] for uri in mine)


def identity(site: Site, task: Task) -> tuple[ResourceNode, ...]:
    """The identity, and then what it may do. Nothing when the task uses no container."""
    wanted = places(task)
    if not wanted:
        return ()
    # ForceNew: name. It is unique in its resource group.
    own = site.placed("azurerm_user_assigned_identity", "nodes", {"name": "nodes"})
    ours = _ours(task, site.context)
    return own, *(_role(site, own, place, ours=place.account in ours) for place in wanted)


def _role(site: Site, own: ResourceNode, place: Place, *, ours: bool) -> ResourceNode:
    word = "write" if place.writes else "read"
    name = place.container.replace("$", "-")
    container = f"blobServices/default/containers/{place.container}"
    arguments: dict[str, Value] = {
        "scope": _scope_of_ours(place, container) if ours else f"{_account_of(site, place)}/{container}",
        "role_definition_name": WRITER if place.writes else READER,
        "principal_id": ref(own, "principal_id"),
        "principal_type": "ServicePrincipal",
        # The directory learns of an identity later than the rest of Azure.
        "skip_service_principal_aad_check": True,
    }
    return site.untagged("azurerm_role_assignment", f"{word}-{place.account}-{name}", arguments)


def _scope_of_ours(place: Place, container: str) -> Joined:
    subscription = Ref(GROUP, "id", step=2)
    rest = f"/resourceGroups/{place.account}/providers/Microsoft.Storage/storageAccounts/{place.account}/{container}"
    return Joined(("/subscriptions/", subscription, rest))


def _account_of(site: Site, place: Place) -> str:
    known = _scope(place.account, site.context.access.storage_accounts)
    # Offline only: elsewhere it is an error.
    unknown = f"/subscriptions/{NOBODY}/resourceGroups/not-configured/providers/Microsoft.Storage/storageAccounts"
    return known or f"{unknown}/{place.account}"
