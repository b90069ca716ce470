"""IBM Cloud's error codes, and what they mean.

Sources: the VPC API's reference (error codes and instance `status_reasons`), "Quotas and service limits for VPC".
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, Reach
from ..errors import Meaning, Vocabulary, first_group

NO_CAPACITY = "cannot_start_capacity"
NO_QUOTA = "over_quota"
THROTTLED = "too_many_requests"
NOT_ALLOWED = "not_authorized"

CODES = {
    NO_CAPACITY: Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE),
    "cannot_start": Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE, re.compile(r"\bcapacity\b")),
    "insufficient_capacity": Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE),
    NO_QUOTA: Meaning(FailureKind.QUOTA, Reach.REGION),
    "quota_exceeded": Meaning(FailureKind.QUOTA, Reach.REGION),
    THROTTLED: Meaning(FailureKind.THROTTLED),
    NOT_ALLOWED: Meaning(FailureKind.PERMISSION),
    "not_authenticated": Meaning(FailureKind.PERMISSION),
}

FORMS = (
    re.compile(r"\berror code: (\w+)"),
    re.compile(r'"code":\s*"(\w+)"'),
    # A machine's status reason: "(cannot_start_capacity) …"
    re.compile(r"\((cannot_\w+)\) "),
)

WORDS = Vocabulary(codes=CODES, forms=FORMS, permission=first_group(r"allow the action ([\w.-]*\w)"))
