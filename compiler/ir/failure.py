"""Why a target did not make what it was asked for, as a value: recognised by the target's own error code, never by its prose."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FailureKind(enum.Enum):
    CAPACITY = "capacity"
    """There is no such machine there now."""
    NOT_OFFERED = "not offered"
    """It is never to be had there: not this machine, or not the place by this account."""
    QUOTA = "quota"
    """The account may not have that many."""
    PERMISSION = "permission"
    """Whoever asks may not do it, or the account may not."""
    CREDENTIALS = "credentials"
    """The target does not take whoever asks for anybody it knows."""
    THROTTLED = "throttled"
    """Too many calls: the same one may pass later."""
    BUSY = "busy"
    """What is asked for is still held by something that is going away: the same call passes when that is gone."""
    OTHER = "other"

    @property
    def moves_on(self) -> bool:
        """Whether another place may have what this one has not."""
        return self in (FailureKind.CAPACITY, FailureKind.NOT_OFFERED, FailureKind.QUOTA)


class Reach(enum.Enum):
    """How far a lack of machines or of quota reaches: what else it rules out."""

    MACHINE_IN_ZONE = "this machine in this zone"
    MACHINE_IN_REGION = "this machine in this region"
    ZONE = "every machine in this zone"
    POOL = "every machine of this region that counts on the same quota"
    REGION = "every machine in this region"
    PROVIDER = "every machine of this account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One refusal. `code`: the target's own, empty where none was found. `reach`: of kinds that move on, only.

    permission: what is missing, in the target's spelling (`ec2:RunInstances`); empty where it does not say.
    resource: the Terraform address that was being made; None where that is not known.
    """

    kind: FailureKind
    code: str
    detail: str
    reach: Reach | None = None
    permission: str = ""
    resource: str | None = None
