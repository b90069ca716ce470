"""Buckets that skyc makes: private, reached by IAM alone, and never removed together with data.

Contract: pure. A bucket lies in an instance of the service, which has the tags (a bucket has none) and nothing else in it: one for each
Storage, so that it goes with its bucket. Not versioned: what skyc writes is named by its content or written once. Never `force_delete`,
which IBM's provider does by itself: a bucket with data in it cannot be removed by Terraform, whoever runs it. Nobody but who has a
policy of IAM reaches a bucket, IBM encrypts all of them, and its endpoints speak TLS only; none of that is a setting.
"""

from __future__ import annotations

from dataclasses import replace

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import DeploymentId, FrozenMap, ResourceAddress, ResourceGraph, ResourceNode, Storage, Value, storage_label
from ..base import LowerContext
from ..rented.buckets import name_too_long
from ..rented.lowering import storages_graph
from ..rented.names import KEEP_TAG, STORAGE_TAG, short
from .facts import PROVIDER
from .resources import Site, ref, requirement
from .storage import SCHEME

INSTANCE, BUCKET = "ibm_resource_instance", "ibm_cos_bucket"
LONGEST = 63
"""Characters of a bucket's name."""
UNFINISHED_DAYS = 7
"""A multipart upload that nobody finished is paid for until it is aborted. A running one is never this old."""
_LABEL = 100
"""Characters of a Storage's label in a tag, which has 128."""


def bucket_uri(name: str, *, region: str, deployment: DeploymentId, mark: str) -> str:
    """`cos://skyc-<deployment>-<storage>-<mark>?region=<region>`. Bucket names are unique in the world, and known before anything is made;
    each region has an endpoint of its own that knows its own buckets alone."""
    return f"{SCHEME}{short(f'skyc-{deployment}-{storage_label(name)}', LONGEST - len(mark) - 1)}-{mark}?region={region}"


def lower_storages(
    storages: tuple[Storage, ...], region: str, context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    long = [storage for storage in storages if len(storage_label(storage.name)) > _LABEL]
    if long:
        return None, tuple(name_too_long(storage, PROVIDER, "a tag", _LABEL) for storage in long)
    sites = [Site(context=context, region=region, origin=storage.origin) for storage in storages]
    made = [(storage, _bucket(site, storage)) for site, storage in zip(sites, storages, strict=True)]
    return storages_graph(context, PROVIDER, requirement(sites[0]), made), ()


def _bucket(site: Site, storage: Storage) -> tuple[ResourceNode, ResourceNode]:
    """The bucket, and its instance."""
    assert storage.uri is not None, "the compiler gives every bucket its name"
    label, name = storage_label(storage.name), storage.uri.removeprefix(SCHEME).partition("?")[0]
    keep = "yes" if storage.persistent else "no"
    # ForceNew: service, location.
    instance = site.tagged(
        INSTANCE,
        label,
        {"name": name, "service": "cloud-object-storage", "plan": "standard", "location": "global"},
        labels=(f"{STORAGE_TAG}:{label}", f"{KEEP_TAG}:{keep}"),
        origin=storage.origin,
    )
    # ForceNew: bucket_name, resource_instance_id, region_location, storage_class.
    arguments: dict[str, Value] = {
        "bucket_name": name,
        "resource_instance_id": ref(instance),
        "region_location": site.region,
        "storage_class": "standard",
        "endpoint_type": "public",
        "force_delete": False,
        "abort_incomplete_multipart_upload_days": (
            FrozenMap[Value]({"enable": True, "days_after_initiation": UNFINISHED_DAYS}),
        ),
    }
    bucket = ResourceNode(address=ResourceAddress(BUCKET, label), origin=storage.origin, arguments=FrozenMap(arguments))
    stays = storage.persistent
    return replace(bucket, prevent_destroy=stays), replace(instance, prevent_destroy=stays)
