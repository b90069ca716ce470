"""IBM Cloud's error codes, and what they mean.

Sources: the VPC API's reference (error codes and instance `status_reasons`), "Quotas and service limits for VPC". What it says where a zone
does not have a profile is not known: such an error is shown as it is.
"""

from __future__ import annotations

import re

from ...compiler.ir import FailureKind, Reach
from ..errors import Meaning, Meanings, Vocabulary, first_group

NO_CAPACITY = "cannot_start_capacity"
NO_QUOTA = "over_quota"
THROTTLED = "too_many_requests"
NOT_ALLOWED = "not_authorized"

NOT_KNOWN = "not_authenticated"
NO_SUCH_KEY = "BXNIM0415E"

CODES: dict[str, Meanings] = {
    NO_CAPACITY: Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE),
    "cannot_start": Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE, re.compile(r"\bcapacity\b")),
    "insufficient_capacity": Meaning(FailureKind.CAPACITY, Reach.MACHINE_IN_ZONE),
    NO_QUOTA: Meaning(FailureKind.QUOTA, Reach.REGION),
    "quota_exceeded": Meaning(FailureKind.QUOTA, Reach.REGION),
    THROTTLED: Meaning(FailureKind.THROTTLED),
    NOT_ALLOWED: Meaning(FailureKind.PERMISSION),
    NOT_KNOWN: Meaning(FailureKind.CREDENTIALS),
    NO_SUCH_KEY: Meaning(FailureKind.CREDENTIALS),
}

FORMS = (
    re.compile(r"\berror code: (\w+)"),
    re.compile(r'"code":\s*"(\w+)"'),
    # A machine's status reason: "(cannot_start_capacity) …"
    re.compile(r"\((cannot_\w+)\) "),
)

SENTENCES = (
    # The SDK passes on IAM's sentence (terraform-provider-ibm#3561), and the VPC API's (openshift/installer#9652), without their codes.
    (re.compile(r"Provided API key could not be found"), NO_SUCH_KEY),
    (re.compile(r"will put the user over quota\. Allocated: \d+, Requested: \d+, Quota: \d+"), NO_QUOTA),
)

WORDS = Vocabulary(codes=CODES, forms=FORMS, sentences=SENTENCES, permission=first_group(r"allow the action ([\w.-]*\w)"))
