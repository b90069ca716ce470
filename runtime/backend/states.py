"""Which of two copies of a Terraform state counts: this home's or the backend's. Pure."""

from __future__ import annotations

import enum

from ...compiler.terraform import StateFacts
from ..records import StateMemory


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


def problem(found: StateFacts | None, memory: StateMemory) -> str | None:
    """Why a state is not the one that is remembered, as a sentence; None when it is, or came after it."""
    if memory.resources == 0:
        return None
    if found is None:
        return f"It is missing, but {memory.resources} resources were in it."
    if found.lineage != memory.lineage:
        return f"Its lineage is {found.lineage}, the remembered one is {memory.lineage}: it belongs to something else."
    if found.serial < memory.serial:
        return f"Its serial is {found.serial}, older than the remembered {memory.serial}."
    if found.serial == memory.serial and found.sha256 != memory.sha256:
        return f"It was edited: its serial is still {found.serial}, its content is not what was remembered."
    return None


def memory_of(facts: StateFacts) -> StateMemory:
    return StateMemory(lineage=facts.lineage, serial=facts.serial, sha256=facts.sha256, resources=len(facts.resources))
