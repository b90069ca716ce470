"""Whether a Terraform state is the one that is remembered. Pure.

Terraform accepts an empty or older state, and then creates everything a second time.
"""

from __future__ import annotations

from ..compiler.terraform_files import StateFacts
from .records import StateMemory


def problem(found: StateFacts | None, memory: StateMemory) -> str | None:
    """Why nothing may be built on a state, as a sentence; None when it is the remembered one, or came after it: a newer serial of the same
    lineage was written by an apply that was cut off, or by a person with Terraform."""
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
