"""AWS's error codes, and what they mean.

Sources: "Error codes for the Amazon EC2 API" (EC2 API Reference; client and server errors), "Common errors" of the IAM and STS API
References, "Amazon EC2 On-Demand Instance quotas" and "Spot Instance quotas" (EC2 User Guide) for what counts on one quota. In a region
that the account has not enabled EC2 and STS do not know its credentials (aws/aws-cli#6132, terraform-provider-aws#12940, and
turbot/steampipe-plugin-aws#75).
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, GroupPlacement, Reach
from ..errors import NO_REGION, Meaning, Meanings, Vocabulary
from .regions import on_request

NO_CAPACITY = "InsufficientInstanceCapacity"
NO_QUOTA = "VcpuLimitExceeded"
NO_SPOT_QUOTA = "MaxSpotInstanceCountExceeded"
THROTTLED = "RequestLimitExceeded"
THROTTLED_ELSEWHERE = "Throttling"
ADDRESS_IN_USE = "InvalidIPAddress.InUse"
NOT_ALLOWED = "UnauthorizedOperation"
NOT_ALLOWED_ELSEWHERE = "AccessDenied"
NOT_SOLD = "Unsupported"
NOT_KNOWN = "AuthFailure"
NOT_KNOWN_ELSEWHERE = "InvalidClientTokenId"

_HERE = Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE)
_POOL = Meaning(FailureKind.QUOTA, Reach.POOL)
_REGION = Meaning(FailureKind.QUOTA, Reach.REGION)
_LATER = Meaning(FailureKind.THROTTLED)
_FORBIDDEN = Meaning(FailureKind.PERMISSION)
_UNKNOWN = Meaning(FailureKind.CREDENTIALS)

CODES: dict[str, Meanings] = {
    NO_CAPACITY: _HERE,
    "InsufficientCapacity": _HERE,
    "InsufficientHostCapacity": _HERE,
    "InsufficientReservedInstanceCapacity": _HERE,
    # A spot request below the price of the moment; skyc sets no price of its own, so AWS's limit is the on-demand price.
    "SpotMaxPriceTooLow": _HERE,
    # Offered in the region, and not in this zone. EC2 uses the code for arguments that do not go together too.
    NOT_SOLD: (
        Meaning(FailureKind.NOT_OFFERED, Reach.MACHINE_IN_ZONE, re.compile(r"in your requested Availability Zone")),
        # All that it says where a region has no such machine (terraform-provider-aws#8868, #9113, #31754). Of a configuration that it
        # takes nowhere it would say the same: then every further place is refused too, with this code.
        Meaning(
            FailureKind.NOT_OFFERED,
            Reach.MACHINE_IN_REGION,
            re.compile(r"The requested configuration is currently not supported"),
        ),
    ),
    "InsufficientVolumeCapacity": Meaning(FailureKind.CAPACITY, Reach.ZONE),
    "InsufficientAddressCapacity": Meaning(FailureKind.CAPACITY, Reach.REGION),
    NO_QUOTA: _POOL,
    NO_SPOT_QUOTA: _POOL,
    "InstanceLimitExceeded": Meaning(FailureKind.QUOTA, Reach.MACHINE_IN_REGION),
    "AddressLimitExceeded": _REGION,
    "InternetGatewayLimitExceeded": _REGION,
    "NatGatewayLimitExceeded": _REGION,
    "RouteTableLimitExceeded": _REGION,
    "SecurityGroupLimitExceeded": _REGION,
    "SubnetLimitExceeded": _REGION,
    "VolumeLimitExceeded": _REGION,
    "MaxIOPSLimitExceeded": _REGION,
    "VpcEndpointLimitExceeded": _REGION,
    "VpcLimitExceeded": _REGION,
    # IAM's word for all of its limits; those that a user can have raised are the account's.
    "LimitExceeded": Meaning(FailureKind.QUOTA, Reach.PROVIDER, re.compile(r"quota for \w+PerAccount")),
    THROTTLED: _LATER,
    THROTTLED_ELSEWHERE: _LATER,
    "ThrottlingException": _LATER,
    "RequestThrottled": _LATER,
    "TooManyRequestsException": _LATER,
    "SlowDown": _LATER,
    # A machine keeps its address until it has ended: one that AWS took away and is still shutting down is in the way of its successor,
    # if that asks for the same. No other machine of a site has the head's address (`network.py`).
    ADDRESS_IN_USE: Meaning(FailureKind.BUSY),
    NOT_ALLOWED: _FORBIDDEN,
    NOT_ALLOWED_ELSEWHERE: _FORBIDDEN,
    "AccessDeniedException": _FORBIDDEN,
    NOT_KNOWN: _UNKNOWN,
    NOT_KNOWN_ELSEWHERE: _UNKNOWN,
    "Blocked": _UNKNOWN,
    "ExpiredToken": _UNKNOWN,
    "ExpiredTokenException": _UNKNOWN,
    "InvalidAccessKeyId": _UNKNOWN,
    "RequestExpired": _UNKNOWN,
    "SignatureDoesNotMatch": _UNKNOWN,
    "UnrecognizedClientException": _UNKNOWN,
    # Also of an image of the Marketplace whose terms nobody has accepted; the message then says where.
    "OptInRequired": (Meaning(FailureKind.OTHER, only=re.compile("Marketplace")), NO_REGION),
    # "Your request for accessing resources in this region is being validated": hours, in a region that the account never used.
    "PendingVerification": NO_REGION,
}

CLOSED = frozenset({NOT_KNOWN, NOT_KNOWN_ELSEWHERE, "UnrecognizedClientException"})
"""What services say in a region that the account has not enabled."""

FORMS = (
    # "operation error EC2: RunInstances, https response error StatusCode: 500, RequestID: …, api error CODE: message"
    re.compile(r"\bapi error ([A-Za-z][\w.]*): "),
    # The same of a service whose errors have types of their own: "…, RequestID: …, CODE: message"
    re.compile(r"\bRequestID: [^,]*, (?:HostID: [^,]*, )?([A-Z]\w*): "),
    # Why a machine that was made ended at once: "last error: Server.CODE: message"
    re.compile(r"\b(?:Server|Client)\.([A-Za-z]\w*): "),
    # The older library's "CODE: message\n\tstatus code: 400, request id: …"
    re.compile(r"(?:^|: )([A-Z][A-Za-z]+(?:\.[A-Za-z]+)*): [^\n]*\n?\s*status code: \d{3}, request id: "),
)

_PERFORM = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")
_CALL = re.compile(r"operation error ([A-Za-z0-9 ]+): ([A-Za-z]+),")


def permission(text: str) -> str:
    """The action AWS names, else the one that belongs to the call."""
    said = _PERFORM.search(text)
    if said:
        return said[1]
    call = _CALL.search(text)
    return f"{call[1].lower().replace(' ', '')}:{call[2]}" if call else ""


_STANDARD = frozenset("acdhimrtz")


def quota_pool(placement: GroupPlacement) -> str:
    """The quota on vCPUs that counts a machine type, of its market."""
    family = re.match(r"[a-z]+", placement.instance_type)
    name = family[0] if family else placement.instance_type
    if name in ("g", "gr", "vt"):
        name = "g and vt"
    elif name not in ("dl", "f", "hpc", "inf", "mac", "p", "trn", "u", "x") and name[0] in _STANDARD:
        name = "standard"
    return f"{name} {placement.market.value}"


WORDS = Vocabulary(
    codes=CODES,
    forms=FORMS,
    permission=permission,
    pool=quota_pool,
    on_request=on_request,
    closed=CLOSED,
)
