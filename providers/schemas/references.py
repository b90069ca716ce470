"""References in a graph: where they are, and what one will be, by the schema of what it refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...compiler.ir import FrozenMap, Joined, Ref, Value
from ..tfplugin.schema import Schema, TypeNotation

STEP = re.compile(r'^\.?([A-Za-z_][\w-]*)|^\[(\d+|\*|"[^"]*")\]|^\.(\d+|\*)(?=\.|\[|$)')


def references(value: Value, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Ref]]:
    """Every reference within a value, with where it stands in it."""
    if isinstance(value, Ref):
        yield path, value
    elif isinstance(value, Joined):
        yield from ((path, part) for part in value.parts if isinstance(part, Ref))
    elif isinstance(value, FrozenMap):
        for key, item in value.items():
            yield from references(item, (*path, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from references(item, (*path, index))


def reported_type(body: Schema, attribute: str) -> TypeNotation | None:
    """The type of `network_interface[0].ip` or `disk[*].size`; None when the resource has no such attribute."""
    # Not by way of `body.type`: most types have tens of attributes and blocks, of which one is asked about.
    match = STEP.match(attribute)
    if match is None or match[1] is None:
        return None if attribute else body.type
    name, rest = match[1], attribute[match.end() :]
    if name in body.attributes:
        return _at(body.attributes[name].type, rest)
    return _at(body.blocks[name].collected_type, rest) if name in body.blocks else None


def _at(type_: TypeNotation, rest: str) -> TypeNotation | None:
    if not rest:
        return type_
    match = STEP.match(rest)
    if match is None or isinstance(type_, str):
        return None
    rest = rest[match.end() :]
    name, index, dotted = match.groups()
    kind: str = type_[0]
    inner: Any = type_[1]
    if name is not None:
        if kind == "object":
            return _at(inner[name], rest) if name in inner else None
        return _at(inner, rest) if kind == "map" else None
    if "*" in (index, dotted) and kind in ("list", "set"):
        # After a splat the rest is about every element.
        element = _at(inner, rest)
        return ("list", element) if element is not None else None
    # Elements of a set have no position.
    return _at(inner, rest) if kind in ("list", "map") else None


def convertible(found: TypeNotation, wanted: TypeNotation) -> bool:
    """Whether Terraform might convert a value of one type to the other once it is known."""
    if "dynamic" in (found, wanted):
        return True
    if isinstance(found, str) or isinstance(wanted, str):
        return isinstance(found, str) and isinstance(wanted, str) and {found, wanted} != {"number", "bool"}
    groups = ({"list", "set", "tuple"}, {"map", "object"})
    if not any({found[0], wanted[0]} <= group for group in groups):
        return False
    if found[0] in ("tuple", "object") or wanted[0] in ("tuple", "object"):
        return True
    return convertible(found[1], wanted[1])
