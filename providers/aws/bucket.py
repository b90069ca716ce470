"""Buckets that hold Terraform states: private, encrypted, versioned, and reached over TLS alone.

A state holds what machines are and where; beside it lie the deployment's SSH keys. So a bucket is made closed, and one that exists is
used only if it is closed. skyc changes no bucket that it did not make: a tag tells which those are.

Permissions to make one: `s3:CreateBucket`, `s3:PutBucketTagging`, `s3:PutBucketPublicAccessBlock`, `s3:PutEncryptionConfiguration`,
`s3:PutBucketVersioning`, `s3:PutBucketPolicy`, `s3:PutLifecycleConfiguration`, and the reads of the same.
"""

from __future__ import annotations

import json
from typing import Any

from ...compiler.diagnostics import SkycError, error
from ..base import BucketProperty
from ..made_buckets import KEPT_DAYS, KEPT_VERSIONS, TAG, failed, fit, taken
from ..retry import Schedule, SourceFailure
from .client import Account, Answered, LoginRefused, session_here

_RIGHTS = (
    "log in (`aws configure`, `aws sso login`) as somebody with s3:CreateBucket, s3:ListBucket and the rights to read and set a bucket's"
    " tags, public access block, encryption, versioning, policy and lifecycle"
)
PARTS = 1
UNSET = frozenset(
    {
        "404",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "NoSuchTagSetError",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "AccessDenied", "403"})
"""What a server answers that has no such property, or tells nobody."""
UNKNOWN_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
NEEDED = ("versions", "encryption", "public access")
"""Without these a bucket is refused. The others are good to have."""
_CLOSED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


def create(bucket: str, *, region: str | None, endpoint: str | None, key: str | None) -> tuple[str, bool]:
    """See `providers.base.Buckets`."""
    here = _account(endpoint)
    where = region or here.region
    try:
        owner = None if endpoint else str(here.call("sts", where, "get_caller_identity")["Account"])
        made = not _exists(here, bucket, where, owner)
        if made:
            _make(here, bucket, where)
        elif not _is_ours(here, bucket, where):
            fit(bucket, _look(here, bucket, where, endpoint), NEEDED)
            return where, False
        _close(here, bucket, where, key, secure=not (endpoint or "").startswith("http:"))
    except SourceFailure as failure:
        raise SkycError(failed(bucket, failure, _RIGHTS)) from None
    return where, made


def properties(bucket: str, *, region: str | None, endpoint: str | None) -> tuple[BucketProperty, ...]:
    """See `providers.base.Buckets`."""
    here = _account(endpoint)
    try:
        return _look(here, bucket, region or here.region, endpoint)
    except SourceFailure as failure:
        raise SkycError(failed(bucket, failure, _RIGHTS)) from None


def _account(endpoint: str | None) -> Account:
    session = session_here()
    if isinstance(session, str):
        raise SkycError(error("backend-no-credentials", "The bucket cannot be asked from here", session))
    return Account(session, Schedule(pauses=(1.0, 3.0)), endpoint=endpoint)


def _exists(here: Account, bucket: str, region: str, owner: str | None) -> bool:
    """Raises SkycError for a bucket of another account, or in another region."""
    expected = {} if owner is None else {"ExpectedBucketOwner": owner}
    try:
        answer = here.call("s3", region, "head_bucket", Bucket=bucket, **expected)
    except Answered as answered:
        if answered.code in ("404", "NoSuchBucket"):
            return False
        if answered.code in ("403", "AccessDenied"):
            _refuse_login(here, region)
            raise SkycError(taken(bucket)) from None
        raise
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = headers.get("x-amz-bucket-region", region)
    if found != region:
        raise SkycError(
            error(
                "backend-bucket-region",
                "The bucket is in another region",
                f"`{bucket}` is in {found}, and {region} was meant.",
                hint=f"give `--region {found}`",
            )
        )
    return True


def _refuse_login(here: Account, region: str) -> None:
    """The answer to HEAD has no body, so a bucket of others and a key that nobody knows look alike. Raises LoginRefused for such a key."""
    try:
        here.call("s3", region, "list_buckets")
    except LoginRefused as refused:
        if refused.code in UNKNOWN_KEYS:
            raise
    except SourceFailure:
        return


def _make(here: Account, bucket: str, region: str) -> None:
    options: dict[str, Any] = {"ObjectOwnership": "BucketOwnerEnforced"}
    if region != "us-east-1":
        # The oldest region is the one that may not be named.
        options["CreateBucketConfiguration"] = {"LocationConstraint": region}
    try:
        here.call("s3", region, "create_bucket", Bucket=bucket, **options)
    except Answered as answered:
        if answered.code == "BucketAlreadyExists":
            raise SkycError(taken(bucket)) from None
        if answered.code != "BucketAlreadyOwnedByYou":
            raise
    # First, so that a call that is cut off here can be finished by the next one.
    here.call("s3", region, "put_bucket_tagging", Bucket=bucket, Tagging={"TagSet": [{"Key": TAG, "Value": "states"}]})


def _close(here: Account, bucket: str, region: str, key: str | None, *, secure: bool) -> None:
    def put(operation: str, **arguments: Any) -> None:
        here.call("s3", region, operation, Bucket=bucket, **arguments)

    put("put_public_access_block", PublicAccessBlockConfiguration=_CLOSED)
    kind = {"SSEAlgorithm": "AES256"} if key is None else {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rule = {"ApplyServerSideEncryptionByDefault": kind, "BucketKeyEnabled": key is not None}
    put("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})
    put("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    if secure:
        put("put_bucket_policy", Policy=json.dumps(_policy(bucket)))
    put("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [_LIFECYCLE]})


def _policy(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


_LIFECYCLE = {
    "ID": "earlier-versions",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": KEPT_DAYS, "NewerNoncurrentVersions": KEPT_VERSIONS},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def _is_ours(here: Account, bucket: str, region: str) -> bool:
    rows = _asked(here, bucket, region, "get_bucket_tagging")
    return any(row.get("Key") == TAG for row in (rows or {}).get("TagSet", ()))


def _asked(here: Account, bucket: str, region: str, operation: str) -> dict[str, Any] | None:
    """What is set, `{}` for nothing, None when that is not told."""
    try:
        return here.call("s3", region, operation, Bucket=bucket)
    except Answered as answered:
        if answered.code in UNSET:
            return {}
        if answered.code in UNKNOWN:
            return None
        raise
    except SourceFailure:
        # A permission that is missing for this one property.
        return None


def _look(here: Account, bucket: str, region: str, endpoint: str | None) -> tuple[BucketProperty, ...]:
    versions = _asked(here, bucket, region, "get_bucket_versioning")
    encryption = _asked(here, bucket, region, "get_bucket_encryption")
    closed = _asked(here, bucket, region, "get_public_access_block")
    policy = _asked(here, bucket, region, "get_bucket_policy")
    lifecycle = _asked(here, bucket, region, "get_bucket_lifecycle_configuration")

    def said(name: str, answer: dict[str, Any] | None, holds: bool, yes: str, no: str) -> BucketProperty:
        if answer is None:
            return BucketProperty(name=name, holds=None, detail="not told")
        return BucketProperty(name=name, holds=holds, detail=yes if holds else no)

    rules = (encryption or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    kinds = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
    blocked = (closed or {}).get("PublicAccessBlockConfiguration", {})
    return (
        said("versions", versions, (versions or {}).get("Status") == "Enabled", "kept", "not kept"),
        said("encryption", encryption, bool(kinds), ", ".join(kinds), "none by default"),
        said("public access", closed, all(blocked.get(name) for name in _CLOSED), "blocked", "not blocked"),
        said("TLS only", policy, _refuses_plain((policy or {}).get("Policy", "")), "yes", "plain HTTP is not refused"),
        said("earlier versions", lifecycle, bool((lifecycle or {}).get("Rules")), "expire by a rule", "stay forever"),
    )


def _refuses_plain(policy: str) -> bool:
    try:
        statements = json.loads(policy)["Statement"]
        return any(
            row.get("Effect") == "Deny" and row.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
            for row in statements
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
