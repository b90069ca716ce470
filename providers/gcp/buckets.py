"""Buckets that skyc makes: private, reached by IAM alone, and never removed together with data.

Contract: pure. Not versioned and without soft delete, which Google turns on for seven days by itself: what skyc writes is named by its
content or written once, and what a collected checkpoint leaves would cost money as if it were there. Never `force_destroy`: a bucket
with data in it cannot be removed by Terraform, whoever runs it; skyc empties it first, when the user said so. Google encrypts with keys
of its own. That nobody asks without TLS is no setting of a bucket's: only an organization can say so (`storage.secureHttpTransport`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import DeploymentId, FrozenMap, ResourceGraph, ResourceNode, Storage, Value, storage_label
from ..base import LowerContext
from ..rented.buckets import name_too_long
from ..rented.lowering import storages_graph
from ..rented.names import KEEP_TAG, STORAGE_TAG, short
from .facts import PROVIDER
from .resources import MOST_NAME, Site, requirement
from .storage import SCHEME

BUCKET = "google_storage_bucket"
UNFINISHED_DAYS = 7
"""A multipart upload that nobody finished is paid for until it is aborted. A running one is never this old."""
_NEVER = ("google", "g00gle")
"""Google takes no bucket whose name holds its own (cloud.google.com/storage/docs/buckets#naming)."""
_HASH = 16


def bucket_uri(name: str, *, deployment: DeploymentId, mark: str) -> str:
    """`gs://skyc-<deployment>-<storage>-<mark>`. Bucket names are unique in the world, and known before anything is made."""
    wanted = f"skyc-{deployment}-{storage_label(name)}"
    if any(word in wanted for word in _NEVER):
        wanted = f"skyc-{hashlib.sha256(wanted.encode()).hexdigest()[:_HASH]}"
    return f"{SCHEME}{short(wanted, MOST_NAME - len(mark) - 1)}-{mark}"


def lower_storages(
    storages: tuple[Storage, ...], region: str, context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    long = [storage for storage in storages if len(storage_label(storage.name)) > MOST_NAME]
    if long:
        return None, tuple(name_too_long(storage, PROVIDER, "a label", MOST_NAME) for storage in long)
    sites = [Site(context=context, region=region, origin=storage.origin) for storage in storages]
    made = [(storage, _bucket(site, storage)) for site, storage in zip(sites, storages, strict=True)]
    return storages_graph(context, PROVIDER, requirement(sites[0]), made), ()


def _bucket(site: Site, storage: Storage) -> tuple[ResourceNode, ...]:
    assert storage.uri is not None, "the compiler gives every bucket its name"
    label = storage_label(storage.name)
    # The name itself may be no label of Google's; this form of it is one, and stands for no other name.
    labels = {STORAGE_TAG: label, KEEP_TAG: "yes" if storage.persistent else "no"}
    # ForceNew: name, location. Google answers with the location in capitals.
    arguments: dict[str, Value] = {
        "name": storage.uri.removeprefix(SCHEME),
        "location": site.region.upper(),
        "storage_class": "STANDARD",
        "force_destroy": False,
        "uniform_bucket_level_access": True,
        "public_access_prevention": "enforced",
        "soft_delete_policy": FrozenMap[Value]({"retention_duration_seconds": 0}),
        "lifecycle_rule": (_UNFINISHED,),
    }
    bucket = site.labelled(BUCKET, label, arguments, labels=labels, origin=storage.origin)
    return (replace(bucket, prevent_destroy=storage.persistent),)


_UNFINISHED = FrozenMap[Value](
    {
        "action": FrozenMap[Value]({"type": "AbortIncompleteMultipartUpload"}),
        "condition": FrozenMap[Value]({"age": UNFINISHED_DAYS}),
    }
)
