"""S3: which buckets a task's machines may use, as an identity that can do nothing else.

A machine gets an identity only when the task names an `s3://` place. It may read what the task copies in, and read, write and
delete below the prefixes of its storages; other prefixes, other buckets and every other service are denied. There is no wildcard
but below such a prefix.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import ResourceNode, Task, Value
from ..rented.buckets import Place, bucket_places, without_place
from ..rented.names import short
from .facts import PROVIDER
from .resources import Site, ref

SCHEME = "s3://"
_READ = ("s3:GetObject",)
_WRITE = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")


def without_bucket(task: Task) -> tuple[Diagnostic, ...]:
    """Storages for which there is no bucket: they are bound to a target that has none, or to no place at all."""
    return tuple(no_place(storage.name) for storage in task.storages if storage.uri is None)


def no_place(name: str) -> Diagnostic:
    return without_place(name, PROVIDER, "s3://bucket/path")


def identity(site: Site, task: Task) -> tuple[ResourceNode, ...]:
    """Role, policy and instance profile; the profile last. Nothing when the task uses no bucket."""
    wanted = bucket_places(task, SCHEME)
    if not wanted:
        return ()
    # Identities belong to the account and not to a region; the site's name holds the region. At most 64 characters.
    name = short(site.name, 64)
    # ForceNew: name, path.
    path = f"/skyc/{site.context.deployment}/"
    role = site.tagged(
        "aws_iam_role",
        "nodes",
        {
            "name": name,
            "path": path,
            "description": "Nodes of a skyc cluster",
            "assume_role_policy": _document([_trust(site.region)]),
        },
    )
    policy = site.untagged(
        "aws_iam_role_policy",
        "buckets",
        {"name": "buckets", "role": ref(role), "policy": _document(list(_statements(wanted, site.region)))},
    )
    profile = site.tagged("aws_iam_instance_profile", "nodes", {"name": name, "path": path, "role": ref(role, "name")})
    return role, policy, profile


def partition(region: str) -> str:
    """The first part of an ARN: AWS in China and for governments are apart."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _trust(region: str) -> dict[str, object]:
    service = "ec2.amazonaws.com.cn" if region.startswith("cn-") else "ec2.amazonaws.com"
    return {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}


def _statements(wanted: tuple[Place, ...], region: str) -> Iterator[dict[str, object]]:
    for place in wanted:
        bucket = f"arn:{partition(region)}:s3:::{place.bucket}"
        below = f"{place.prefix}/*" if place.prefix else "*"
        yield {"Effect": "Allow", "Action": list(_WRITE if place.writes else _READ), "Resource": f"{bucket}/{below}"}
        listing: dict[str, object] = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket}
        if place.prefix:
            listing["Condition"] = {"StringLike": {"s3:prefix": [place.prefix, below]}}
            if not place.writes:
                # What is copied in may be one object, which lies at the prefix itself.
                yield {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{bucket}/{place.prefix}"}
        yield listing


def _document(statements: list[dict[str, object]]) -> Value:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)
