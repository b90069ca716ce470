"""Azure's error codes, and what they mean.

Sources: "Resolve errors for SKU not available", "Troubleshoot allocation failures", "Resource quota errors", "Throttling Resource
Manager requests" and "Common Azure deployment errors" (Azure documentation). What is said of places comes from
cloud-barista/cb-spider#527 and Azure/azure-dev#305 (regions), pivotal/paving#79, kubernetes-sigs/cluster-api-provider-azure#294 and
kubernetes/test-infra#24049 (zones).
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, GroupPlacement, Reach
from ..errors import NO_REGION, Meaning, Meanings, Vocabulary, first_group
from .regions import on_request

NO_CAPACITY = "SkuNotAvailable"
NO_CAPACITY_IN_ZONE = "ZonalAllocationFailed"
NO_CAPACITY_IN_REGION = "AllocationFailed"
NO_QUOTA = "OperationNotAllowed"
THROTTLED = "TooManyRequests"
NOT_ALLOWED = "AuthorizationFailed"
NO_ZONE = "AvailabilityZoneNotSupported"
NO_PLACE = "LocationNotAvailableForResourceGroup"
ADDRESS_IN_USE = "PrivateIPAddressIsAllocated"
NOT_KNOWN = "InvalidAuthenticationToken"

_HERE = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE)
_REGION = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_REGION)
_NO_ZONE = Meaning(FailureKind.NOT_OFFERED, Reach.ZONE)
_FORBIDDEN = Meaning(FailureKind.PERMISSION)
_UNKNOWN = Meaning(FailureKind.CREDENTIALS)

CODES: dict[str, Meanings] = {
    # Said of a zone where one was asked for, else of the location: a placement without a zone stands for its whole region.
    NO_CAPACITY: _HERE,
    NO_CAPACITY_IN_ZONE: _HERE,
    NO_CAPACITY_IN_REGION: _HERE,
    "OverconstrainedAllocationRequest": _REGION,
    "OverconstrainedZonalAllocationRequest": _HERE,
    # "The zone(s) '1' for resource … is not supported. The supported zones for location … are …": of the subscription's own zones.
    NO_ZONE: _NO_ZONE,
    "InvalidAvailabilityZone": _NO_ZONE,
    "LocationNotSupportAvailabilityZones": _NO_ZONE,
    "ResourceTypeNotSupportAvailabilityZones": _NO_ZONE,
    NO_PLACE: NO_REGION,
    "LocationNotAvailableForResourceType": NO_REGION,
    # This code is Azure's for everything a subscription does not allow; its quotas say so in one fixed phrase.
    NO_QUOTA: Meaning(FailureKind.QUOTA, Reach.POOL, re.compile(r"results in exceeding (approved|quota limits)")),
    "QuotaExceeded": Meaning(FailureKind.QUOTA, Reach.POOL),
    "SpotQuotaExceeded": Meaning(FailureKind.QUOTA, Reach.POOL),
    "PublicIPCountLimitReached": Meaning(FailureKind.QUOTA, Reach.REGION),
    "ResourceQuotaExceeded": Meaning(FailureKind.QUOTA, Reach.PROVIDER),
    THROTTLED: Meaning(FailureKind.THROTTLED),
    "SubscriptionRequestsThrottled": Meaning(FailureKind.THROTTLED),
    # What is being deleted keeps its address until it is gone (F5Networks/terraform-azure-bigip-module#63).
    ADDRESS_IN_USE: Meaning(FailureKind.BUSY),
    NOT_KNOWN: _UNKNOWN,
    "ExpiredAuthenticationToken": _UNKNOWN,
    "InvalidAuthenticationTokenTenant": _UNKNOWN,
    "invalid_client": _UNKNOWN,
    "invalid_grant": _UNKNOWN,
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
    # The login's own answer, which is no answer of Azure's: "… 401 with response: {"error":"invalid_client","error_description":"AADSTS…"
    re.compile(r'"error":\s*"(\w+)",\s*"error_description":\s*"AADSTS\d+'),
)


def quota_pool(placement: GroupPlacement) -> str:
    """A size's family (`Standard_NC24ads_A100_v4` → `NCads_A100_v4`); spot machines of all families share one quota."""
    if placement.market.value == "spot":
        return "spot"
    return re.sub(r"^([A-Za-z]+)\d+(?:-\d+)?", r"\1", placement.instance_type.removeprefix("Standard_"))


WORDS = Vocabulary(
    codes=CODES, forms=FORMS, permission=first_group(r"perform action '([\w./*-]+)'"), pool=quota_pool, on_request=on_request
)
