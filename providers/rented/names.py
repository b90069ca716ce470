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


def site_name(context: LowerContext, limit: int) -> str:
    """`skyc-<deployment>-<site>` in lower-case letters, digits and hyphens; one that is too long ends with a hash of all of it."""
    return short(f"skyc-{context.deployment}-{context.site}", limit)


def short(text: str, limit: int) -> str:
    """A name of at most `limit` characters. Two texts that differ never share one they were cut to."""
    plain = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    if plain == text.lower().replace(".", "-") and len(plain) <= limit:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH]
    return f"{plain[: limit - _HASH - 1].rstrip('-')}-{digest}"
