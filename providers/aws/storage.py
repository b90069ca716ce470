"""S3: which buckets a task's machines may use, as an identity that can do nothing else.

A machine gets an identity only when the task names an `s3://` place. It may read what the task copies in, and read, write and
delete below the prefixes of its storages; other prefixes, other buckets and every other service are denied. There is no wildcard
but below such a prefix.

Objects under a KMS key of the user's want a right on the key too, of whoever reads or writes them (S3 user guide, "Using server-side
encryption with AWS KMS keys"): kms:Decrypt to read, and to write in parts; kms:GenerateDataKey to write. `access.bucket_keys` of
config.yaml names the keys by bucket, since nothing is looked up. The right holds for requests that S3 makes (`kms:ViaService`), in the
key's region, which is the bucket's: S3 takes no key of another.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping

from ...compiler.diagnostics import Diagnostic, error
from ...compiler.ir import ResourceNode, Task, Value
from ..rented.buckets import Place, bucket_places, named_at, without_place
from ..rented.names import short
from .facts import PROVIDER
from .resources import Site, ref

SCHEME = "s3://"
_READ = ("s3:GetObject",)
_WRITE = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")
_KEY = re.compile(r"arn:aws(?:-us-gov)?:kms:(?P<region>[a-z0-9-]+):\d{12}:key/(?:mrk-)?[0-9a-f-]+")
"""A key's ARN (KMS developer guide, "Key identifiers"). China's is left out: what S3 is called there in `kms:ViaService`, no page
that was found says."""
_ALIAS = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]*:\d*:alias/.*|alias/.*")


def bad_keys(task: Task, given: Mapping[str, tuple[str, ...]]) -> Iterator[Diagnostic]:
    """Keys of the task's buckets that no policy can name."""
    for bucket, origin in sorted(named_at(task, SCHEME).items()):
        for key in given.get(bucket, ()):
            if _KEY.fullmatch(key):
                continue
            why = "It is no ARN of a KMS key."
            if _ALIAS.fullmatch(key):
                # KMS developer guide, "Specifying KMS keys in IAM policy statements".
                why = "It is an alias, and a policy that names an alias gives no right on the key behind it."
            yield error(
                "bad-bucket-key",
                "A bucket's key cannot be named in the machines' rights",
                f"`access.bucket_keys.{bucket}` in config.yaml says `{key}`. {why}",
                hint="write the key's own ARN, as arn:aws:kms:us-east-1:111122223333:key/…; this prints it",
                subject=origin,
                commands=(f"aws kms describe-key --key-id {shlex.quote(key)} --query KeyMetadata.Arn --output text",),
            )


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
        {
            "name": "buckets",
            "role": ref(role),
            "policy": _document(
                [*_statements(wanted, site.region), *_on_keys(wanted, site.context.access.bucket_keys)],
            ),
        },
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


def _on_keys(wanted: tuple[Place, ...], given: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, object]]:
    for bucket in sorted({place.bucket for place in wanted} & set(given)):
        keys = sorted(set(given[bucket]))
        regions = sorted({found["region"] for key in keys if (found := _KEY.fullmatch(key)) is not None})
        writes = any(place.writes for place in wanted if place.bucket == bucket)
        yield {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"] if writes else ["kms:Decrypt"],
            "Resource": keys,
            "Condition": {"StringEquals": {"kms:ViaService": [f"s3.{region}.amazonaws.com" for region in regions]}},
        }


def _document(statements: list[dict[str, object]]) -> Value:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)
