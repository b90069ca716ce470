"""Cloud Storage: which buckets a task's machines may use, as an account that can do nothing else.

A machine gets a service account only when the task names a `gs://` place; without one it has no identity at all, and never the
project's default account. The account has no role on the project. It may read what the task copies in, and read, write and delete
below the prefixes of its storages: roles on those buckets alone, with a condition on the prefix. A condition needs a bucket with
uniform bucket-level access (cloud.google.com/storage/docs/access-control/iam#conditions), as every bucket made today has.
"""

from __future__ import annotations

import json

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import FrozenMap, ResourceNode, Task, Value
from ..rented.buckets import Place, bucket_places, without_place
from ..rented.names import short
from .facts import PROVIDER
from .resources import Site, ref

SCHEME = "gs://"
READER = "roles/storage.objectViewer"
WRITER = "roles/storage.objectUser"
"""Objects: get, list, create, update, delete, and multipart uploads. Unlike `objectAdmin` it cannot change who else may."""
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
"""What a token of the machine is good for at most, whatever role anybody gives the account later."""
_MOST_ACCOUNT = 30
"""Characters of a service account's id."""


def without_bucket(task: Task) -> tuple[Diagnostic, ...]:
    """Storages for which there is no bucket."""
    return tuple(no_place(storage.name) for storage in task.storages if storage.uri is None)


def no_place(name: str) -> Diagnostic:
    return without_place(name, PROVIDER, "gs://bucket/path")


def identity(site: Site, task: Task) -> tuple[ResourceNode, ...]:
    """The account first, then its rights. Nothing when the task uses no bucket."""
    wanted = bucket_places(task, SCHEME)
    if not wanted:
        return ()
    # ForceNew: account_id. Accounts belong to the project and not to a region; the site's name holds the region.
    account = site.described(
        "google_service_account",
        "nodes",
        {
            "account_id": short(f"skyc-{site.context.deployment}-{site.context.site}", _MOST_ACCOUNT),
            "display_name": "Nodes of a skyc cluster",
        },
    )
    return account, *(_right(site, account, place) for place in wanted)


def _right(site: Site, account: ResourceNode, place: Place) -> ResourceNode:
    """One binding, all of it ForceNew."""
    arguments: dict[str, Value] = {
        "bucket": place.bucket,
        "role": WRITER if place.writes else READER,
        "member": ref(account, "member"),
    }
    if place.prefix:
        arguments["condition"] = FrozenMap[Value]({"title": "skyc-prefix", "expression": below(place)})
    what = "write" if place.writes else "read"
    return site.plain("google_storage_bucket_iam_member", f"{what}-{short(f'{place.bucket}-{place.prefix}', 50)}", arguments)


def below(place: Place) -> str:
    """The objects at and below a prefix, and listings of nothing else. Listing is a right on the bucket, which names the prefix in an
    attribute of the request (cloud.google.com/iam/docs/conditions-attribute-reference, `objectListPrefix`)."""
    objects = f"projects/_/buckets/{place.bucket}/objects/{place.prefix}"
    # What is copied in may be one object, which lies at the prefix itself.
    return " || ".join(
        (
            f"resource.name == {_text(objects)}",
            f"resource.name.startsWith({_text(objects + '/')})",
            f'api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith({_text(place.prefix + "/")})',
        )
    )


def _text(value: str) -> str:
    """A string literal of CEL, which escapes as JSON does."""
    return json.dumps(value, ensure_ascii=False)
