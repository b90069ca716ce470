"""Who skyc is at AWS, and what it may not do: for `skyc check`. Reads only.

Permissions: `sts:GetCallerIdentity`, which nobody can be denied, `ec2:DescribeRegions`, and `servicequotas:ListServiceQuotas`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..retry import Refused, Schedule, SourceFailure
from .client import Account, LoginRefused, session_here

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


class LoginState(enum.Enum):
    USABLE = "usable"
    NONE = "none"
    EXPIRED = "expired"
    REFUSED = "refused"
    """AWS does not know the key, or its secret is another."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """`who`: the ARN of the caller. regions: those the account may use; None: not allowed to ask. why: for every state but usable,
    in a sentence."""

    state: LoginState
    account: str = ""
    who: str = ""
    regions: tuple[str, ...] | None = None
    why: str = ""


def login(schedule: Schedule) -> Login:
    """Ask AWS who we are. Never raises."""
    session = session_here()
    if isinstance(session, str):
        return Login(state=LoginState.NONE, why=session)
    return look(Account(session, schedule))


def look(account: Account) -> Login:
    try:
        caller = account.call("sts", account.region, "get_caller_identity")
    except LoginRefused as refused:
        if refused.code in EXPIRED:
            return Login(state=LoginState.EXPIRED, why="The session at AWS has expired.")
        return Login(state=LoginState.REFUSED, why=f"AWS does not accept these credentials ({refused.code}).")
    except Refused:
        return Login(state=LoginState.EXPIRED, why="The AWS login has ended or cannot be read.")
    except SourceFailure as failure:
        return Login(state=LoginState.UNREACHABLE, why=f"AWS could not be asked: {failure}.")
    regions: tuple[str, ...] | None = None
    try:
        rows = account.call("ec2", account.region, "describe_regions", AllRegions=False)["Regions"]
        regions = tuple(sorted(str(row["RegionName"]) for row in rows))
    except SourceFailure:
        pass  # What it lacks is said by the number of regions that is not there.
    return Login(state=LoginState.USABLE, account=str(caller["Account"]), who=str(caller["Arn"]), regions=regions)
