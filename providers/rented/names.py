"""Names and tags of rented resources. Deterministic: the same deployment and site give the same names.

What belongs to a deployment is told by its tags, or its description where a cloud has no tags for it, never by its name (DESIGN D6);
names are for people and for uniqueness.
"""

from __future__ import annotations

import hashlib
import re

from ...compiler.ir import DeploymentId
from ..base import LowerContext

DEPLOYMENT_TAG = "skyc-deployment"
SITE_TAG = "skyc-site"
STORAGE_TAG = "skyc-storage"
"""The Storage whose data a bucket holds."""
KEEP_TAG = "skyc-keep"
"""`yes`: it outlives its deployment."""
PLAN_TAG = "skyc-plan"
"""The placement plan that made the resource. It is not brought up to date later: every new price would change every resource."""
MADE_BY_PLAN = (f'tags["{PLAN_TAG}"]',)
"""For `ResourceNode.ignore_changes`, where a provider calls tags `tags`."""
_HASH = 8
_ROLE = 3
"""What tells a site's resources apart takes at most one in so many characters of a name that is cut."""


def tags(context: LowerContext, name: str) -> dict[str, str]:
    """The tags of a resource people see as `name`."""
    plan = {PLAN_TAG: context.plan} if context.plan else {}
    return {"Name": name, DEPLOYMENT_TAG: str(context.deployment), SITE_TAG: str(context.site), **plan}


def description(context: LowerContext) -> str:
    """For what has no tags and a description: the same facts, in a form that is found again."""
    return f"{DEPLOYMENT_TAG}={context.deployment} {SITE_TAG}={context.site}"


def describes(text: object, deployment: DeploymentId) -> bool:
    """Whether a description names this deployment. A word of its own: `a` is not found in `ab`."""
    return f"{DEPLOYMENT_TAG}={deployment}" in str(text).split()


def site_in(text: object) -> str | None:
    """The site a description names."""
    return next((word.partition("=")[2] for word in str(text).split() if word.startswith(f"{SITE_TAG}=")), None)


def site_name(context: LowerContext, limit: int, *what: str) -> str:
    """`skyc-<deployment>-<site>` and then what tells a site's resources apart (a role, a group and a rank), in lower-case letters, digits
    and hyphens. One that is too long does not repeat the deployment where the site begins with it, and is cut before `what`, where it
    has a hash of the two."""
    deployment, site, role = str(context.deployment), str(context.site), "-".join(what)
    brief = site if site.startswith(f"{deployment}.") else f"{deployment}-{site}"
    return _cut(f"skyc-{deployment}-{site}", f"-{role}" if role else "", limit, brief=f"skyc-{brief}")


def short(text: str, limit: int, *, ends: str = "") -> str:
    """A name of at most `limit` characters. Two texts that differ never share one they were cut to. ends: what the text ends with and
    a name that is cut should, too."""
    begins = text.removesuffix(ends)
    return _cut(begins, ends, limit, brief=begins)


def _cut(begins: str, ends: str, limit: int, *, brief: str) -> str:
    """`begins` and `ends` as one name; with a hash of them where they have other characters. Where that is too long: as much of `brief`
    as there is room for, a hash, and the end of `ends`."""
    text = begins + ends
    plain = _plain(text)
    if plain == text.lower().replace(".", "-") and len(plain) <= limit:
        return plain
    if len(plain) + 1 + _HASH <= limit:
        return f"{plain}-{_hash(text)}"
    # A rank is at the very end of what it tells apart.
    role = _plain(ends)[-(limit // _ROLE) :].strip("-")
    # So the names of one site have one hash, which is enough while what tells them apart is there.
    hashed = _hash(begins if role == ends.removeprefix("-") else text)
    room = limit - _HASH - 1 - (len(role) + 1 if role else 0)
    return "-".join(part for part in (_plain(brief)[:room].rstrip("-"), hashed, role) if part)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
