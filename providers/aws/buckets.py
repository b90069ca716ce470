"""Buckets that skyc makes: private, encrypted, reached over TLS only, and never removed together with data.

Contract: pure. Not versioned: what skyc writes is named by its content or written once, and old versions of a checkpoint that was
collected would cost money for ever. Never `force_destroy`: a bucket with data in it cannot be removed by Terraform, whoever runs it;
skyc empties it first, when the user said so.
"""

from __future__ import annotations

import json
from dataclasses import replace

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import (
    DeploymentId,
    FrozenMap,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    Storage,
    Value,
    storage_label,
)
from ..base import LowerContext
from ..rented.lowering import storages_graph
from ..rented.names import KEEP_TAG, STORAGE_TAG, short
from .facts import PROVIDER
from .resources import Site, ref, requirement
from .storage import SCHEME, partition

LONGEST = 63
"""Characters of a bucket's name."""
UNFINISHED_DAYS = 7
"""A multipart upload that nobody finished is paid for until it is aborted. A running one is never this old."""


def bucket_uri(name: str, *, deployment: DeploymentId, mark: str) -> str:
    """`s3://skyc-<deployment>-<storage>-<mark>`. Bucket names are unique in the world, and known before anything is made."""
    return f"{SCHEME}{short(f'skyc-{deployment}-{storage_label(name)}', LONGEST - len(mark) - 1)}-{mark}"


def lower_storages(
    storages: tuple[Storage, ...], region: str, context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    sites = [Site(context=context, region=region, origin=storage.origin) for storage in storages]
    made = [(storage, _bucket(site, storage)) for site, storage in zip(sites, storages, strict=True)]
    return storages_graph(context, PROVIDER, requirement(sites[0]), made), ()


def _bucket(site: Site, storage: Storage) -> tuple[ResourceNode, ...]:
    """The bucket first. S3 takes one change of a bucket at a time, so the policy waits for what could collide with it."""
    assert storage.uri is not None, "the compiler gives every bucket its name"
    label, name = storage_label(storage.name), storage.uri.removeprefix(SCHEME)
    lasting = {STORAGE_TAG: storage.name, KEEP_TAG: "yes" if storage.persistent else "no"}
    # ForceNew: bucket.
    bucket = site.tagged("aws_s3_bucket", label, {"bucket": name}, label=name, labels=lasting)
    bucket = replace(bucket, prevent_destroy=storage.persistent)
    here: dict[str, Value] = {"bucket": ref(bucket)}

    def part(type_: str, arguments: dict[str, Value], *after: ResourceNode) -> ResourceNode:
        made = site.untagged(type_, label, {**here, **arguments})
        return replace(made, depends_on=_addresses(after))

    owner = part("aws_s3_bucket_ownership_controls", {"rule": FrozenMap[Value]({"object_ownership": "BucketOwnerEnforced"})})
    closed = part(
        "aws_s3_bucket_public_access_block",
        {
            "block_public_acls": True,
            "block_public_policy": True,
            "ignore_public_acls": True,
            "restrict_public_buckets": True,
        },
        owner,
    )
    encrypted = part("aws_s3_bucket_server_side_encryption_configuration", {"rule": (_ENCRYPTED,)})
    swept = part("aws_s3_bucket_lifecycle_configuration", {"rule": (_UNFINISHED,)})
    policy = part("aws_s3_bucket_policy", {"policy": _over_tls_only(f"arn:{partition(site.region)}:s3:::{name}")}, closed)
    return bucket, owner, closed, encrypted, swept, policy


def _addresses(nodes: tuple[ResourceNode, ...]) -> tuple[ResourceAddress, ...]:
    return tuple(node.address for node in nodes)


_ENCRYPTED = FrozenMap[Value](
    # With S3's own keys: a key in KMS would cost per request and need rights of its own.
    {"apply_server_side_encryption_by_default": FrozenMap[Value]({"sse_algorithm": "AES256"})}
)
_UNFINISHED = FrozenMap[Value](
    {
        "id": "unfinished-uploads",
        "status": "Enabled",
        "filter": FrozenMap[Value]({"prefix": ""}),
        "abort_incomplete_multipart_upload": FrozenMap[Value]({"days_after_initiation": UNFINISHED_DAYS}),
    }
)


def _over_tls_only(arn: str) -> Value:
    statement = {
        "Sid": "OverTlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)
