"""Addresses that an older skyc gave to what a newer one calls otherwise: Terraform is told, or it would destroy the one and make the other.

Each target keeps a written table of its renames (`Provider.renames`), the oldest first. Contract: pure. Only what the state holds under an
old address, and the graph wants under the new one, is moved; so a table may hold what nobody has any more, and a state of any older
version is brought along every rename since. The order of the result follows from the addresses alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .ir import Move, Rename, ResourceAddress, ResourceGraph
from .lower import verify

_NAME = "[A-Za-z0-9_-]+"
_OF = {"index": "[0-9]+"}
_PLACE = re.compile(r"\{(\w+)\}")


def with_moves(graph: ResourceGraph, renames: Sequence[Rename], held: Iterable[str]) -> ResourceGraph:
    """The graph with the moves that its state needs. held: addresses in the state, as Terraform writes them."""
    made = replace(graph, moves=moves_for(renames, held, (str(node.address) for node in graph.resources)))
    verify(made)
    return made


def moves_for(renames: Sequence[Rename], held: Iterable[str], wanted: Iterable[str]) -> tuple[Move, ...]:
    """What of the state `held` lies under another address than the module `wants` it, by old address."""
    there, asked = set(held), set(wanted)
    found: dict[str, str] = {}
    for old in sorted(there - asked):
        new = renamed(renames, old)
        # An address that is taken keeps what it has: two things cannot be moved to one place.
        if new != old and new in asked and new not in there and new not in found.values():
            found[old] = new
    return tuple(Move(before=_address(old), after=_address(new)) for old, new in sorted(found.items()))


def renamed(renames: Sequence[Rename], address: str) -> str:
    """What an address is called after every rename."""
    for rename in renames:
        match = re.fullmatch(_expression(rename.before), address)
        if match:
            address = _PLACE.sub(lambda place, values=match: str(values[place[1]]), rename.after)  # type: ignore[misc]
    return address


def _expression(pattern: str) -> str:
    """`aws_instance.{group}-{index}` as a regular expression: `{index}` is a number, every other name letters, digits, `_` and `-`."""
    parts = _PLACE.split(pattern)
    return "".join(f"(?P<{part}>{_OF.get(part, _NAME)})" if place % 2 else re.escape(part) for place, part in enumerate(parts))


def _address(text: str) -> ResourceAddress:
    type_, _, name = text.partition(".")
    return ResourceAddress(type_, name)
