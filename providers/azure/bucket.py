"""Storage accounts with a container that hold Terraform states: private, encrypted, versioned, TLS 1.2, and reached with a role alone.

`account/container`. The account lies in a resource group of its own name, both with skyc's tag; skyc changes no account without it. There
are no account keys, so nobody can be given one; who is to read and write states needs the role Storage Blob Data Contributor.
Azure Resource Manager makes an account step by step, so a call that is cut off leaves one that the next call finishes.

Permissions to make one: those of the role Contributor on the subscription.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ...compiler.diagnostics import SkycError, error
from ..base import BucketProperty
from ..http import Answered, Http
from ..made_buckets import KEPT_DAYS, TAG, failed, fit, said, taken
from ..retry import BadAnswer, Schedule, SourceFailure
from .client import RESOURCES, VERSIONS, Arm, Row
from .credentials import subscription

_RIGHTS = "log in (`az login`) as somebody with the role Contributor on the subscription"
PARTS = 2
NEEDED = ("versions", "public access", "TLS only")
READY_SECONDS = 300.0
PAUSE = 2.0
KEPT_DELETED = 30
"""Days in which what was deleted can be had back."""
_STORAGE = "Microsoft.Storage/storageAccounts"
_VERSION = VERSIONS["microsoft.storage/storageaccounts"]


def create(bucket: str, *, region: str | None, endpoint: str | None, key: str | None) -> tuple[str, bool]:
    """See `providers.base.Buckets`."""
    account, container = _named(bucket)
    if key is not None:
        raise SkycError(
            _unusable(bucket, "a key of one's own is not set up by skyc at Azure (the account needs an identity first)")
        )
    with Http(schedule=Schedule(pauses=(1.0, 3.0))) as http:
        try:
            here = Arm(http, os.environ)
            found = _find(here, account)
            made = found is None
            if found is None:
                found = _make(here, account, region)
            elif TAG not in found.get("tags", {}):
                fit(bucket, _properties(here, found, container), (*NEEDED, "container"))
                return "", False
            _close(here, _made(here, str(found["id"])), container)
        except SourceFailure as failure:
            raise SkycError(failed(bucket, failure, _RIGHTS)) from None
    return "", made


def properties(bucket: str, *, region: str | None, endpoint: str | None) -> tuple[BucketProperty, ...]:
    """See `providers.base.Buckets`."""
    account, container = _named(bucket)
    with Http(schedule=Schedule(pauses=(1.0, 3.0))) as http:
        try:
            here = Arm(http, os.environ)
            found = _find(here, account)
            if found is None:
                raise SourceFailure("there is no such account in this subscription")
            return _properties(here, found, container)
        except SourceFailure as failure:
            raise SkycError(failed(bucket, failure, _RIGHTS)) from None


def _named(bucket: str) -> tuple[str, str]:
    account, _, container = bucket.partition("/")
    if (
        not (3 <= len(account) <= 24 and account.isascii() and account.isalnum() and account == account.lower())
        or not container
    ):
        raise SkycError(
            _unusable(bucket, "an account's name is 3 to 24 lower-case letters and digits, and a container follows it")
        )
    if subscription(os.environ) is None:
        raise SkycError(
            error(
                "backend-no-credentials",
                "The account cannot be asked from here",
                "ARM_SUBSCRIPTION_ID is not set, so nobody knows in which subscription to look for the account.",
                hint="set ARM_SUBSCRIPTION_ID to what this prints",
                commands=("az account show --query id --output tsv",),
            )
        )
    return account, container


def _unusable(bucket: str, why: str) -> Any:
    return error("backend-bucket-unfit", "The account cannot hold states", f"`{bucket}`: {why}.")


def _find(here: Arm, account: str) -> Row | None:
    """The account, in whatever group of the subscription it is."""
    path = f"/subscriptions/{subscription(os.environ)}/providers/{_STORAGE}"
    return next((row for row in here.rows(path, _VERSION) if row.get("name") == account), None)


def _make(here: Arm, account: str, region: str | None) -> Row:
    if region is None:
        raise SkycError(
            error(
                "backend-no-credentials",
                "The account cannot be made from here",
                f"`{account}`: nobody said in which region.",
                hint="give `--region`, as in `--region westeurope`",
            )
        )
    group = f"/subscriptions/{subscription(os.environ)}/resourceGroups/{account}"
    tagged = {"location": region, "tags": {TAG: "states"}}
    here.put(group, tagged, RESOURCES)
    id_ = f"{group}/providers/{_STORAGE}/{account}"
    try:
        here.put(id_, {**tagged, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": _CLOSED})
    except Answered as answer:
        if answer.status == 409:
            raise SkycError(taken(account)) from None
        raise
    return {"id": id_}


_CLOSED = {
    "accessTier": "Hot",
    "allowBlobPublicAccess": False,
    "allowSharedKeyAccess": False,
    "defaultToOAuthAuthentication": True,
    "allowCrossTenantReplication": False,
    "isLocalUserEnabled": False,
    "minimumTlsVersion": "TLS1_2",
    "supportsHttpsTrafficOnly": True,
}


def _made(here: Arm, id_: str) -> str:
    """Waits until the account is there."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        state = ((here.get(id_) or {}).get("properties") or {}).get("provisioningState")
        if state == "Succeeded":
            return id_
        if state == "Failed":
            break
        time.sleep(PAUSE)
    raise BadAnswer("the account was not ready in time")


def _close(here: Arm, id_: str, container: str) -> None:
    kept = {"enabled": True, "days": KEPT_DELETED}
    service = {"isVersioningEnabled": True, "deleteRetentionPolicy": kept, "containerDeleteRetentionPolicy": kept}
    here.put(id_, {**_tags_of(here, id_), "properties": _CLOSED}, method="PATCH")
    here.put(f"{id_}/blobServices/default", {"properties": service})
    here.put(f"{id_}/managementPolicies/default", {"properties": {"policy": {"rules": [_RULE]}}})
    here.put(f"{id_}/blobServices/default/containers/{container}", {"properties": {"publicAccess": "None"}})


def _tags_of(here: Arm, id_: str) -> Row:
    return {"tags": {**((here.get(id_) or {}).get("tags") or {}), TAG: "states"}}


_RULE = {
    "name": "earlier-versions",
    "enabled": True,
    "type": "Lifecycle",
    "definition": {
        "filters": {"blobTypes": ["blockBlob"]},
        "actions": {"version": {"delete": {"daysAfterCreationGreaterThan": KEPT_DAYS}}},
    },
}


def _properties(here: Arm, found: Row, container: str) -> tuple[BucketProperty, ...]:
    id_ = str(found["id"])

    def asked(path: str) -> Row:
        return (here.get(f"{id_}/{path}") or {}).get("properties") or {}

    account: Row = found.get("properties") or {}
    service = asked("blobServices/default")
    policy = asked("managementPolicies/default")
    inside = here.get(f"{id_}/blobServices/default/containers/{container}")
    keys = str((account.get("encryption") or {}).get("keySource") or "Microsoft.Storage")
    public = account.get("allowBlobPublicAccess") is False
    tls = account.get("minimumTlsVersion") in ("TLS1_2", "TLS1_3") and account.get("supportsHttpsTrafficOnly") is True
    rules = (policy.get("policy") or {}).get("rules") or ()
    deleted = bool((service.get("deleteRetentionPolicy") or {}).get("enabled"))
    return (
        said("versions", bool(service.get("isVersioningEnabled")), "kept", "not kept"),
        BucketProperty(
            name="encryption", holds=True, detail="Azure's own keys" if keys == "Microsoft.Storage" else "keys of a vault"
        ),
        said("public access", public, "off", "not off"),
        said("account keys", account.get("allowSharedKeyAccess") is False, "off", "whoever has one may do everything"),
        said("TLS only", tls, "1.2 or newer", "not demanded"),
        said("soft delete", deleted, "on", "off"),
        said("earlier versions", bool(rules), "expire by a rule", "stay forever"),
        said("container", inside is not None, "is there", "is not there"),
    )
