"""Azure's error codes, and what they mean.

Sources: "Resolve errors for SKU not available", "Troubleshoot allocation failures", "Resource quota errors", "Throttling Resource
Manager requests" and "Common Azure deployment errors" (Azure documentation).
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, GroupPlacement, Reach
from ..errors import Meaning, Vocabulary, first_group

NO_CAPACITY = "SkuNotAvailable"
NO_CAPACITY_IN_ZONE = "ZonalAllocationFailed"
NO_CAPACITY_IN_REGION = "AllocationFailed"
NO_QUOTA = "OperationNotAllowed"
THROTTLED = "TooManyRequests"
NOT_ALLOWED = "AuthorizationFailed"

_HERE = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE)
_REGION = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_REGION)
_FORBIDDEN = Meaning(FailureKind.PERMISSION)

CODES = {
    # Said of a zone where one was asked for, else of the location: a placement without a zone stands for its whole region.
    NO_CAPACITY: _HERE,
    NO_CAPACITY_IN_ZONE: _HERE,
    NO_CAPACITY_IN_REGION: _HERE,
    "OverconstrainedAllocationRequest": _REGION,
    "OverconstrainedZonalAllocationRequest": _HERE,
    # This code is Azure's for everything a subscription does not allow; its quotas say so in one fixed phrase.
    NO_QUOTA: Meaning(FailureKind.QUOTA, Reach.POOL, re.compile(r"results in exceeding (approved|quota limits)")),
    "QuotaExceeded": Meaning(FailureKind.QUOTA, Reach.POOL),
    "SpotQuotaExceeded": Meaning(FailureKind.QUOTA, Reach.POOL),
    "PublicIPCountLimitReached": Meaning(FailureKind.QUOTA, Reach.REGION),
    "ResourceQuotaExceeded": Meaning(FailureKind.QUOTA, Reach.PROVIDER),
    THROTTLED: Meaning(FailureKind.THROTTLED),
    "SubscriptionRequestsThrottled": Meaning(FailureKind.THROTTLED),
    NOT_ALLOWED: _FORBIDDEN,
    "LinkedAuthorizationFailed": _FORBIDDEN,
    "RequestDisallowedByPolicy": _FORBIDDEN,
    "MissingSubscriptionRegistration": _FORBIDDEN,
    "ReadOnlyDisabledSubscription": _FORBIDDEN,
}

FORMS = (
    # "unexpected status 409 (409 Conflict) with error: CODE: message"
    re.compile(r"\bwith error: (\w+): "),
    # "the Azure API returned the following error:\n\nStatus: "CODE"\nCode: """
    re.compile(r'\b(?:Status|Code): "(\w+)"'),
    re.compile(r'\bCode="(\w+)"'),
)


def quota_pool(placement: GroupPlacement) -> str:
    """A size's family (`Standard_NC24ads_A100_v4` → `NCads_A100_v4`); spot machines of all families share one quota."""
    if placement.market.value == "spot":
        return "spot"
    return re.sub(r"^([A-Za-z]+)\d+(?:-\d+)?", r"\1", placement.instance_type.removeprefix("Standard_"))


WORDS = Vocabulary(codes=CODES, forms=FORMS, permission=first_group(r"perform action '([\w./*-]+)'"), pool=quota_pool)
