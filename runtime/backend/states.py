"""Which of two copies of a Terraform state counts: this home's or the backend's. Pure."""

from __future__ import annotations

import enum

from ...compiler.terraform import StateFacts


class Move(enum.Enum):
    NOTHING = "nothing"
    TAKE = "take"
    """The backend's has news."""
    SEND = "send"
    """This home's has news."""
    REPLACE = "replace"
    """Both have: another home went on while this one could not say what it had done. What this one made is found by tag."""
    FOREIGN = "foreign"
    """They have nothing in common."""


def decide(local: StateFacts | None, mark: str | None, remote: StateFacts | None, *, shared: bool) -> Move:
    """`mark`: digest of the state both had last; None when that is not known. `shared`: this home has kept the deployment in the
    backend before: then a state of another lineage is not somebody else's deployment, but what another home began anew after
    this one was cut off."""
    if remote is None:
        return Move.SEND if local is not None else Move.NOTHING
    if local is None:
        return Move.TAKE
    if local.sha256 == remote.sha256:
        return Move.NOTHING
    if mark == local.sha256:
        return Move.TAKE
    if not shared and local.lineage != remote.lineage:
        return Move.FOREIGN
    newer = local.lineage == remote.lineage and local.serial > remote.serial
    return Move.SEND if newer and mark in (None, remote.sha256) else Move.REPLACE
