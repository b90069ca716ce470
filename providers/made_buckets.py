"""What makers of buckets for states (`providers/<cloud>/bucket.py`) have in common: what they promise, and their words.

A maker changes nothing that it did not make. What it made carries `TAG`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..compiler.diagnostics import Diagnostic, SkycError, error
from .base import BucketProperty
from .retry import NoCredentials, Refused, SourceFailure, Unheard

TAG = "skyc-backend"
KEPT_DAYS = 90
KEPT_VERSIONS = 20
"""Earlier versions of an object stay: the newest so many, and all for so many days."""


def said(name: str, holds: bool, yes: str, no: str) -> BucketProperty:
    return BucketProperty(name=name, holds=holds, detail=yes if holds else no)


def fit(bucket: str, found: Iterable[BucketProperty], needed: Sequence[str]) -> None:
    """Raises SkycError for one that lacks something it must have, or does not say."""
    lacking = [row for row in found if not row.holds and row.name in needed]
    if not lacking:
        return
    what = ", ".join(f"{row.name}: {row.detail}" for row in lacking)
    raise SkycError(
        error(
            "backend-bucket-unfit",
            "The bucket is not fit to hold states",
            f"`{bucket}` is yours and skyc did not make it ({what}). skyc does not change buckets it has not made.",
            hint="set these yourself, or give the name of a bucket that does not exist yet",
        )
    )


def taken(bucket: str) -> Diagnostic:
    return error(
        "backend-bucket-taken",
        "The bucket is somebody else's",
        f"`{bucket}` exists, and it is not of this account, or this account may not see it. States are not put into a bucket of others:"
        " names of buckets are the same for all of the world.",
        hint="choose another name, with your organization's in it; if it is yours, log in as somebody who may look at it",
    )


def failed(bucket: str, failure: SourceFailure, rights: str) -> Diagnostic:
    """`rights`: a clause that says what a login needs to make such a bucket and to look at it, and with which command one logs in."""
    if isinstance(failure, Unheard):
        return error(
            "backend-unreachable",
            "The service that keeps the bucket cannot be reached from here",
            f"`{bucket}`: {failure}. Whether there is such a bucket is not known, and nothing was changed by that.",
            hint="check the address (`--endpoint`) and this machine's network, proxy and name servers, then run the same command again",
        )
    if isinstance(failure, NoCredentials):
        return error(
            "backend-no-credentials",
            "The bucket cannot be asked from here",
            f"`{bucket}`: {failure}. Nothing was changed.",
            hint=f"{rights}, then run the same command again",
        )
    if isinstance(failure, Refused):
        return error(
            "backend-bucket-refused",
            "The service does not let this login make the bucket or look at it",
            f"`{bucket}`: {failure}. The credentials are not valid, or lack a permission. What was done so far stays.",
            hint=f"{rights}, then run the same command again: it goes on from there",
        )
    return error(
        "backend-bucket-failed",
        "The bucket could not be made or looked at",
        f"`{bucket}`: {failure}. What was done so far stays.",
        hint="run the same command again: it goes on from there",
    )
