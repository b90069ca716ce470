"""Which changes of a resource replace it, known offline: from the schemas that ship with skyc, and from skyc's own.

Contract: pure. A type or an attribute that no schema has replaces nothing here; the real provider may still say otherwise, for what no
schema says (a disk that cannot shrink, for one).
"""

from __future__ import annotations

from functools import cache

from .registry import load_definition_of_ours
from .schemas.load import SHIPPED, load_schema
from .tfplugin.schema import Block


def forces_replacement(type_: str, path: str) -> bool:
    """Whether a change at `path` (names joined by dots, without positions) replaces a resource of this Terraform type."""
    body = _body(type_)
    for step in path.split("."):
        if body is None:
            return False
        if step in body.attributes:
            return body.attributes[step].force_new
        body = body.blocks.get(step)
    # A whole block that comes or goes.
    return body is not None and _any_forces(body)


@cache
def _body(type_: str) -> Block | None:
    owner = type_.partition("_")[0]
    if owner in SHIPPED:
        found = load_schema(owner).types.get(type_)
        return None if found is None else found.body
    ours = {resource.type_name: resource.schema for resource in load_definition_of_ours().resources}
    return ours.get(type_)


def _any_forces(body: Block) -> bool:
    return any(attribute.force_new for attribute in body.attributes.values()) or any(map(_any_forces, body.blocks.values()))
