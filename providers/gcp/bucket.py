"""Buckets of Google Cloud Storage that hold Terraform states: private, encrypted, versioned, with access by roles alone.

skyc changes no bucket that it did not make: a label tells which those are. All that a bucket must be is said in the request that makes it,
so one is never half closed. Google encrypts everything; with `--kms-key`, with a key of the user's. Google's API is TLS.

Permissions to make one: `storage.buckets.create`, `.get` and `.update` in the project (the role Storage Admin has them).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ...compiler.diagnostics import SkycError, error
from ..base import BucketProperty
from ..http import Answered, Http
from ..made_buckets import KEPT_DAYS, KEPT_VERSIONS, TAG, failed, fit, said, taken
from ..refresh import MissingCredentials
from ..retry import Refused, Schedule, SourceFailure
from .client import Cloud, connect, project_of

_RIGHTS = "log in (`gcloud auth application-default login`) as somebody with the role Storage Admin in the project"
PARTS = 1
REGIONS = ("GOOGLE_REGION", "GCLOUD_REGION", "CLOUDSDK_COMPUTE_REGION")
SOFT_DELETE_SECONDS = 7 * 86_400
NEEDED = ("versions", "public access", "access by roles")


def create(bucket: str, *, region: str | None, endpoint: str | None, key: str | None) -> tuple[str, bool]:
    """See `providers.base.Buckets`."""
    with Http(schedule=Schedule(pauses=(1.0, 3.0))) as http:
        try:
            here = _cloud(http, endpoint)
            found = _look(here, bucket)
            made = found is None
            if found is None:
                _make(here, bucket, region, key)
            elif TAG in found.get("labels", {}):
                here.change_bucket(bucket, _facts(key))
            else:
                fit(bucket, _properties(found), NEEDED)
            return "", made
        except SourceFailure as failure:
            raise SkycError(failed(bucket, failure, _RIGHTS)) from None


def properties(bucket: str, *, region: str | None, endpoint: str | None) -> tuple[BucketProperty, ...]:
    """See `providers.base.Buckets`."""
    with Http(schedule=Schedule(pauses=(1.0, 3.0))) as http:
        try:
            found = _cloud(http, endpoint).bucket(bucket)
        except SourceFailure as failure:
            raise SkycError(failed(bucket, failure, _RIGHTS)) from None
    if found is None:
        raise SkycError(failed(bucket, SourceFailure("it does not exist"), _RIGHTS))
    return _properties(found)


def _cloud(http: Http, endpoint: str | None) -> Cloud:
    try:
        cloud = connect(os.environ, http)
    except MissingCredentials:
        raise SkycError(
            error(
                "backend-no-credentials",
                "The bucket cannot be asked from here",
                "There are no Google credentials that skyc can make or look at a bucket with.",
                hint="run `gcloud auth application-default login`, or set GOOGLE_OAUTH_ACCESS_TOKEN",
            )
        ) from None
    return replace(cloud, storage=endpoint.rstrip("/")) if endpoint else cloud


def _look(here: Cloud, bucket: str) -> dict[str, Any] | None:
    """Raises SkycError for a bucket that is somebody else's."""
    try:
        return here.bucket(bucket)
    except Refused as failure:
        if failure.status == 401:
            raise
        # Google says "forbidden" of buckets of others, and of one's own where storage.buckets.get is missing.
        raise SkycError(taken(bucket)) from None


def _make(here: Cloud, bucket: str, region: str | None, key: str | None) -> None:
    project = project_of(os.environ)
    where = region or next((os.environ[name] for name in REGIONS if os.environ.get(name)), None)
    if project is None or where is None:
        lacking = "GOOGLE_PROJECT is not set" if project is None else "nobody said in which region"
        raise SkycError(
            error(
                "backend-no-credentials",
                "The bucket cannot be made from here",
                f"`{bucket}`: {lacking}.",
                hint="set GOOGLE_PROJECT" if project is None else "give `--region`, as in `--region europe-west4`",
            )
        )
    try:
        here.make_bucket(project, {"name": bucket, "location": where, **_facts(key)})
        return
    except Answered as answer:
        if answer.status != 409:
            raise
    # Somebody has it: this account, by a call whose answer was lost, or another.
    found = _look(here, bucket)
    if found is None or TAG not in found.get("labels", {}):
        raise SkycError(taken(bucket))


def _facts(key: str | None) -> dict[str, Any]:
    aged = {"daysSinceNoncurrentTime": KEPT_DAYS, "numNewerVersions": KEPT_VERSIONS}
    rules = [
        {"action": {"type": "Delete"}, "condition": aged},
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
    ]
    return {
        "labels": {TAG: "states"},
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
        "versioning": {"enabled": True},
        "softDeletePolicy": {"retentionDurationSeconds": str(SOFT_DELETE_SECONDS)},
        "lifecycle": {"rule": rules},
        **({"encryption": {"defaultKmsKeyName": key}} if key else {}),
    }


def _properties(found: dict[str, Any]) -> tuple[BucketProperty, ...]:
    access = found.get("iamConfiguration", {})
    kept = int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
    key = str(found.get("encryption", {}).get("defaultKmsKeyName", ""))
    expire = any(rule.get("action", {}).get("type") == "Delete" for rule in found.get("lifecycle", {}).get("rule", ()))
    uniform = bool(access.get("uniformBucketLevelAccess", {}).get("enabled"))
    return (
        said("versions", bool(found.get("versioning", {}).get("enabled")), "kept", "not kept"),
        BucketProperty(name="encryption", holds=True, detail=key or "Google's own keys"),
        said("public access", access.get("publicAccessPrevention") == "enforced", "prevented", "not prevented"),
        said("access by roles", uniform, "alone", "objects may have lists of their own"),
        said("soft delete", kept > 0, f"{kept // 86_400} days", "off"),
        said("earlier versions", expire, "expire by a rule", "stay forever"),
    )
