"""Google Cloud's error codes, and what they mean.

Sources: "Troubleshooting resource availability errors" and "Allocation quotas" (Compute Engine documentation), "Errors" of the Compute
Engine API (`reason` of a refused request). The Terraform provider shows a finished operation's message without its code; those messages
have a fixed form, with the resource's own path in it. What is said of places and machines that there are not comes from
gruntwork-io/terratest#1132 (machine types), terraform-provider-google#5860 (devices), GoogleCloudPlatform/gke-terraform-generator#24 and
hashicorp/consul#4214 (zones), and firezone/firezone#7711 (regions).
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, GroupPlacement, Reach
from ..errors import NO_REGION, Meaning, Meanings, Vocabulary, first_group
from .regions import on_request

NO_CAPACITY = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
NO_QUOTA = "QUOTA_EXCEEDED"
THROTTLED = "rateLimitExceeded"
NOT_ALLOWED = "forbidden"
NO_REGION_FOR_US = "LOCATION_POLICY_VIOLATED"
ADDRESS_IN_USE = "IP_IN_USE_BY_ANOTHER_RESOURCE"
NOT_KNOWN = "authError"

_HERE = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE)
_POOL = Meaning(FailureKind.QUOTA, Reach.POOL)

_NO_MACHINE = Meaning(
    FailureKind.NOT_OFFERED,
    Reach.MACHINE_IN_ZONE,
    re.compile(
        r"Machine type with name '[^']+' does not exist in zone|/zones/[^/']+/(?:acceleratorTypes|machineTypes)/[^/']+' was not found"
    ),
)
_NO_ZONE = Meaning(
    FailureKind.NOT_OFFERED, Reach.ZONE, re.compile(r"'projects/[^/']+/zones/[^/']+' was not found|Unknown zone\.")
)
_NOT_THERE = (_NO_MACHINE, _NO_ZONE)
"""Google's codes for it are those of every mistake in a request."""

CODES: dict[str, Meanings] = {
    "invalid": _NOT_THERE,
    "notFound": _NOT_THERE,
    "badRequest": _NOT_THERE,
    NO_REGION_FOR_US: NO_REGION,
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
    # A machine keeps its address until it is gone (hashicorp/terraform#18998).
    ADDRESS_IN_USE: Meaning(FailureKind.BUSY),
    NOT_KNOWN: Meaning(FailureKind.CREDENTIALS),
    "invalid_grant": Meaning(FailureKind.CREDENTIALS),
    NOT_ALLOWED: Meaning(FailureKind.PERMISSION),
    "PERMISSION_DENIED": Meaning(FailureKind.PERMISSION),
    "accessNotConfigured": Meaning(FailureKind.PERMISSION),
    "SERVICE_DISABLED": Meaning(FailureKind.PERMISSION),
}

FORMS = (
    re.compile(r"\bError code: ([A-Z_]+)\b"),
    # The reason in an error's details says more than the word that ends its message.
    re.compile(r'"reason": "(\w+)"'),
    # "googleapi: Error 403: message, reason"; the reason may stand on a line of its own.
    re.compile(r"googleapi: Error \d{3}: [^\n]*\n?, (\w+)\s*$", re.M),
    # The login's own answer: 'oauth2: "invalid_grant" "Bad Request"', or as JSON (terraform-provider-google#18677)
    re.compile(r'\boauth2: .*?"(invalid_grant)"', re.S),
)

SENTENCES = (
    (re.compile(r"googleapi: Error 401: "), NOT_KNOWN),
    (re.compile(r"\bIP '[^']+' is already being used by another resource"), ADDRESS_IN_USE),
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
    codes=CODES,
    forms=FORMS,
    sentences=SENTENCES,
    permission=first_group(r"Required '([\w.]+)' permission"),
    pool=quota_pool,
    on_request=on_request,
)
