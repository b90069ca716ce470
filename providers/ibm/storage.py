"""Cloud Object Storage: which buckets a task's machines may use, as an identity that can do nothing else.

A machine gets an identity only when the task names a `cos://` place: a trusted profile, whose token it takes from its metadata
service, so that there is no key to keep. The profile may read what the task copies in, and read, write and delete below the prefixes
of its storages. Prefixes are held by IAM's conditions on `path` (objects) and `prefix` (listings). Names of buckets are unique among
all of IBM's customers, so a bucket needs no instance of the service beside it. Source: the documentation of
`ibm_iam_trusted_profile_policy`; cloud.ibm.com/docs/cloud-object-storage, "Assigning access to objects within a bucket".
"""

from __future__ import annotations

import re

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import FrozenMap, ResourceNode, Task, Value
from ..rented.buckets import Place, bucket_places, without_place
from ..rented.names import DEPLOYMENT_TAG, SITE_TAG, short
from .facts import PROVIDER
from .resources import Site, ref

SCHEME = "cos://"
READS = ("Object Lister", "Object Reader")
WRITES = ("Object Deleter", *READS, "Object Writer")
"""Roles of the service that are about objects alone, and the only ones that take conditions: `Writer` also removes buckets."""
PATTERN = "attribute-based-condition:resource:literal-and-wildcard"
_PROFILE_NAME_LIMIT = 63
_PLAIN = re.compile(r"[a-z0-9-]*")


def without_bucket(task: Task) -> tuple[Diagnostic, ...]:
    """Storages for which there is no bucket."""
    return tuple(no_place(storage.name) for storage in task.storages if storage.uri is None)


def no_place(name: str) -> Diagnostic:
    return without_place(name, PROVIDER, "cos://bucket/path")


def mark(deployment: str) -> str:
    """How a profile says whose it is. It takes no tags, so its description holds what the others have as a tag."""
    return f"{DEPLOYMENT_TAG}:{deployment}"


def identity(site: Site, task: Task) -> tuple[ResourceNode, ...]:
    """The profile, and after it a policy for each place. Nothing when the task uses no bucket."""
    wanted = bucket_places(task, SCHEME)
    if not wanted:
        return ()
    context = site.context
    # Profiles belong to the account and not to a region; the site's name holds the region.
    said = f"{mark(str(context.deployment))} {SITE_TAG}:{context.site}"
    profile = site.untagged(
        "ibm_iam_trusted_profile", "nodes", {"name": short(site.name, _PROFILE_NAME_LIMIT), "description": said}
    )
    return profile, *(_policy(site, profile, place) for place in wanted)


def _policy(site: Site, profile: ResourceNode, place: Place) -> ResourceNode:
    bucket = {"serviceName": "cloud-object-storage", "resourceType": "bucket", "resource": place.bucket}
    # ForceNew: iam_id.
    arguments: dict[str, Value] = {
        "iam_id": ref(profile, "iam_id"),
        "roles": WRITES if place.writes else READS,
        "description": f"{'Writes' if place.writes else 'Reads'} {SCHEME}{place.bucket}/{place.prefix}",
        "resource_attributes": tuple(
            FrozenMap[Value]({"name": name, "value": value, "operator": "stringEquals"}) for name, value in bucket.items()
        ),
    }
    if place.prefix:
        below = f"{place.prefix}/*"
        arguments |= {
            "pattern": PATTERN,
            "rule_operator": "or",
            # What is copied in may be one object, which lies at the prefix itself.
            "rule_conditions": (
                _condition("path", (below,) if place.writes else (place.prefix, below)),
                _condition("prefix", (below,)),
            ),
        }
    # By its place, so that another bucket moves no policy that is there.
    return site.untagged("ibm_iam_trusted_profile_policy", _named(place), arguments)


def _condition(attribute: str, texts: tuple[str, ...]) -> FrozenMap[Value]:
    return FrozenMap[Value]({"key": f"{{{{resource.attributes.{attribute}}}}}", "operator": "stringMatchAnyOf", "value": texts})


def _named(place: Place) -> str:
    """What Terraform calls the policy of a place: `read_bucket_prefix`. Neither part holds an underscore as it stands, so two places never
    share a name; where one holds what a name cannot, a hash of both tells them apart."""
    word = "write" if place.writes else "read"
    if _PLAIN.fullmatch(place.bucket) and _PLAIN.fullmatch(place.prefix) and len(place.bucket + place.prefix) <= 80:
        return f"{word}_{place.bucket}_{place.prefix}".rstrip("_")
    return f"{word}_{short(f'{place.bucket}//{place.prefix}', 60)}"
