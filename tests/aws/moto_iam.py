"""Where moto 5.2 judges a policy otherwise than IAM, put right, so that what is denied in a test would be denied by AWS.

- Conditions of identity and bucket policies are not looked at; one that is not met denies everything. Here they are looked at, as
  far as the policies of this repository use them: an operator that is not known is an error.
- Several calls of S3 are judged by the wrong action, or not at all. The names are those of AWS's list of S3's actions.
- What an action on a role or an instance profile is about is not known to moto where it does not exist, or is a profile. One that
  does not exist has no path here, as nobody could know it.
- `DeleteObjects` is judged by the bucket; AWS judges it by each object.
- What AWS asks for beside the action of a call is not asked for by moto (`_implied`). AWS's Service Authorization Reference calls these
  dependent actions.

Not evaluated by moto, and not here: the resources of EC2's actions.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

FACTS: ContextVar[dict[str, str] | None] = ContextVar("FACTS", default=None)
"""Condition keys of the call that is judged. moto is asked without TLS; AWS never is."""


class Asked(NamedTuple):
    """One judgement. at: of the machine's monotonic clock, in seconds."""

    action: str
    resource: str
    granted: bool
    at: float


ASKED: list[Asked] = []
"""Every one there was, in order."""

S3_ACTIONS = {
    ("BUCKET", "HEAD"): {"DEFAULT": "ListBucket"},
    ("BUCKET", "GET"): {
        "accelerate": "GetAccelerateConfiguration",
        "encryption": "GetEncryptionConfiguration",
        "object-lock": "GetBucketObjectLockConfiguration",
        "ownershipControls": "GetBucketOwnershipControls",
        "publicAccessBlock": "GetBucketPublicAccessBlock",
        "replication": "GetReplicationConfiguration",
        "requestPayment": "GetBucketRequestPayment",
    },
    ("BUCKET", "PUT"): {
        "encryption": "PutEncryptionConfiguration",
        "object-lock": "PutBucketObjectLockConfiguration",
        "ownershipControls": "PutBucketOwnershipControls",
        "publicAccessBlock": "PutBucketPublicAccessBlock",
        "replication": "PutReplicationConfiguration",
        "requestPayment": "PutBucketRequestPayment",
    },
    ("BUCKET", "DELETE"): {
        "encryption": "PutEncryptionConfiguration",
        "ownershipControls": "PutBucketOwnershipControls",
        "publicAccessBlock": "PutBucketPublicAccessBlock",
        "replication": "PutReplicationConfiguration",
    },
}


def enforceable(patch: pytest.MonkeyPatch) -> None:
    """Put right what is listed above. Whether anything is judged is moto's own switch."""
    _conditions(patch)
    _actions(patch)
    _identities(patch)


def _conditions(patch: pytest.MonkeyPatch) -> None:
    from moto.iam.access_control import IAMPolicyStatement, IAMRequestBase, PermissionResult

    judged = IAMPolicyStatement.is_action_permitted

    def statement(self: Any, action: str, resource: str = "*", principal: Any = None, incoming: Any = None) -> Any:
        conditions = self._statement.get("Condition")
        if not conditions or incoming is not None:
            return judged(self, action, resource, principal, incoming)
        if not _met(conditions, {"aws:SecureTransport": "true", **(FACTS.get() or {})}):
            return PermissionResult.NEUTRAL
        bare = {key: value for key, value in self._statement.items() if key != "Condition"}
        return judged(IAMPolicyStatement(bare), action, resource, principal, incoming)

    permitted = IAMRequestBase.check_action_permitted

    def judged_as(self: Any, action: str, resource: str) -> None:
        own, self._action = self._action, action
        try:
            permitted(self, resource)
        except Exception:
            ASKED.append(Asked(action, resource, False, time.monotonic()))
            raise
        finally:
            self._action = own
        ASKED.append(Asked(action, resource, True, time.monotonic()))

    def asked(self: Any, resource: str) -> None:
        judged_as(self, self._action, resource)
        facts = FACTS.get()
        for action, about, known in _implied(self._action, self._data, self.account_id, resource):
            FACTS.set(known)
            judged_as(self, action, about)
        FACTS.set(facts)

    patch.setattr(IAMPolicyStatement, "is_action_permitted", statement)
    # A pattern is literal but for its stars; moto takes a dot for any character.
    patch.setattr(IAMPolicyStatement, "_match", staticmethod(_match))
    patch.setattr(IAMRequestBase, "check_action_permitted", asked)


def _implied(action: str, data: Any, account: str, resource: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What AWS asks for beside the action of a call: action, resource, and what conditions may look at."""
    to_machines = {"iam:PassedToService": "ec2.amazonaws.com"}
    match action:
        case "iam:CreateRole" | "iam:CreateInstanceProfile" if _given(data, "Tags.member.1.Key"):
            yield action.replace("Create", "Tag"), resource, {}
        case "iam:AddRoleToInstanceProfile":
            yield "iam:PassRole", _role(account, _given(data, "RoleName")), to_machines
        case "ec2:RunInstances":
            if name := _given(data, "IamInstanceProfile.Name"):
                yield "iam:PassRole", _role_in(account, name), to_machines
            if image := _image(account, _given(data, "LaunchTemplate.LaunchTemplateId")):
                yield "ssm:GetParameters", f"arn:aws:ssm:us-east-1::parameter{image}", {}


def _given(data: Any, name: str) -> str:
    """A parameter of a request, which holds each as a list."""
    found = data.get(name, "")
    return str(found[0] if isinstance(found, list) else found)


def _role(account: str, name: str) -> str:
    from moto.iam.models import iam_backends

    found = next(role for role in iam_backends[account]["aws"].roles.values() if role.name == name)
    return str(found.arn)


def _role_in(account: str, profile: str) -> str:
    from moto.iam.models import iam_backends

    (role,) = iam_backends[account]["aws"].get_instance_profile(profile).roles
    return str(role.arn)


def _image(account: str, template: str) -> str:
    """The public parameter that a launch template takes its image from, or nothing."""
    from moto.ec2.models import ec2_backends

    known = ec2_backends[account]["us-east-1"].launch_templates.get(template)
    return str(known.latest_version().image_id).partition("resolve:ssm:")[2] if known else ""


def _match(pattern: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL)


def _met(conditions: dict[str, dict[str, Any]], facts: dict[str, str]) -> bool:
    return all(
        _holds(operator, facts.get(key), wanted if isinstance(wanted, list) else [wanted])
        for operator, rows in conditions.items()
        for key, wanted in rows.items()
    )


def _holds(operator: str, fact: str | None, wanted: list[str]) -> bool:
    if fact is None:
        return False
    match operator:
        case "StringLike":
            return any(fnmatchcase(fact, pattern) for pattern in wanted)
        case "StringEquals" | "Bool":
            return fact in wanted
        case _:
            raise NotImplementedError(operator)


def _actions(patch: pytest.MonkeyPatch) -> None:
    from moto.s3 import responses
    from moto.s3.responses import S3Response

    for (kind, method), names in S3_ACTIONS.items():
        known: dict[str, str] = responses.ACTION_MAP[kind][method]
        # The default comes last: the first that fits a query wins nothing over a later one.
        patch.setitem(responses.ACTION_MAP[kind], method, {**known, **names})
    judge = S3Response._authenticate_and_authorize_s3_action

    def judged(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
        query = {name: values[0] for name, values in (self.querystring or {}).items() if values}
        FACTS.set({"s3:prefix": query.get("prefix", "")})
        if self.data.get("Action") == "DeleteObject" and key_name is None and bucket_name is not None:
            for key, version in _keys(self.body):
                self.data["Action"] = "DeleteObjectVersion" if version else "DeleteObject"
                judge(self, bucket_name=bucket_name, key_name=key)
            return
        judge(self, bucket_name=bucket_name, key_name=key_name)

    patch.setattr(S3Response, "_authenticate_and_authorize_s3_action", judged)


def _identities(patch: pytest.MonkeyPatch) -> None:
    from moto.iam.responses import IamResponse

    def resource(self: Any) -> str:
        profile, role = self._get_param("InstanceProfileName"), self._get_param("RoleName")
        kind, name = ("instance-profile", profile) if profile else ("role", role)
        if not name:
            return "*"
        known = self.backend.instance_profiles.values() if profile else self.backend.roles.values()
        path = next((item.path for item in known if item.name == name), self._get_param("Path") or "/")
        return f"arn:aws:iam::{self.current_account}:{kind}{path}{name}"

    patch.setattr(IamResponse, "_determine_resource", resource)


def _keys(body: bytes) -> list[tuple[str, str]]:
    """(key, version or nothing) of a request to delete many."""
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    rows = ElementTree.fromstring(body).iter(f"{space}Object")
    return [(row.findtext(f"{space}Key", ""), row.findtext(f"{space}VersionId", "")) for row in rows]
