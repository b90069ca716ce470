"""Google Cloud's error codes, and what they mean.

Sources: "Troubleshooting resource availability errors" and "Allocation quotas" (Compute Engine documentation), "Errors" of the Compute
Engine API (`reason` of a refused request). The Terraform provider shows a finished operation's message without its code; those messages
have a fixed form, with the resource's own path in it.
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, GroupPlacement, Reach
from ..errors import Meaning, Vocabulary, first_group

NO_CAPACITY = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
NO_QUOTA = "QUOTA_EXCEEDED"
THROTTLED = "rateLimitExceeded"
NOT_ALLOWED = "forbidden"

_HERE = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE)
_POOL = Meaning(FailureKind.QUOTA, Reach.POOL)

CODES = {
    NO_CAPACITY: _HERE,
    "ZONE_RESOURCE_POOL_EXHAUSTED": _HERE,
    "RESOURCE_POOL_EXHAUSTED": _HERE,
    "REGION_RESOURCE_POOL_EXHAUSTED": Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_REGION),
    NO_QUOTA: _POOL,
    "quotaExceeded": _POOL,
    # Of all regions together: `GPUS_ALL_REGIONS`, `CPUS_ALL_REGIONS`.
    "QUOTA_EXCEEDED_GLOBALLY": Meaning(FailureKind.QUOTA, Reach.PROVIDER),
    THROTTLED: Meaning(FailureKind.THROTTLED),
    "userRateLimitExceeded": Meaning(FailureKind.THROTTLED),
    "RATE_LIMIT_EXCEEDED": Meaning(FailureKind.THROTTLED),
    NOT_ALLOWED: Meaning(FailureKind.PERMISSION),
    "PERMISSION_DENIED": Meaning(FailureKind.PERMISSION),
    "accessNotConfigured": Meaning(FailureKind.PERMISSION),
    "SERVICE_DISABLED": Meaning(FailureKind.PERMISSION),
}

FORMS = (
    re.compile(r"\bError code: ([A-Z_]+)\b"),
    # "googleapi: Error 403: message, reason"
    re.compile(r"googleapi: Error \d{3}: [^\n]*, (\w+)\s*$", re.M),
    re.compile(r'"reason": "(\w+)"'),
)

SENTENCES = (
    (
        re.compile(r"The zone 'projects/[^']+/zones/[^']+' does not have enough resources available to fulfill the request"),
        "ZONE_RESOURCE_POOL_EXHAUSTED",
    ),
    (re.compile(r"Quota '[A-Z0-9_]+' exceeded\.\s+Limit: [\d.]+ globally"), "QUOTA_EXCEEDED_GLOBALLY"),
    (re.compile(r"Quota '[A-Z0-9_]+' exceeded\.\s+Limit: [\d.]+ in region"), NO_QUOTA),
)


def quota_pool(placement: GroupPlacement) -> str:
    """The machine's series, or its accelerators, in its market: what a quota of a region is on."""
    devices = "+".join(device.name for device in placement.shape.accelerators)
    return f"{devices or placement.instance_type.partition('-')[0]} {placement.market.value}"


WORDS = Vocabulary(
    codes=CODES, forms=FORMS, sentences=SENTENCES, permission=first_group(r"Required '([\w.]+)' permission"), pool=quota_pool
)
