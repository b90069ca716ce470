"""What is known of the resources skyc emits, for those who name no provider: which parts are blocks, and what a change of one does.

Of released Terraform providers it is read from the schemas that ship with skyc, of skyc's own from its definition. Pure.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ..compiler.ir import FrozenMap
from .schemas.load import SHIPPED

if TYPE_CHECKING:
    from .tfplugin.schema import Attribute, Block, Schema

OWN = "skyc"
"""The local name of skyc's own Terraform provider."""


def blocks_of(name: str) -> FrozenMap[Any] | None:
    """Nested blocks of a resource type, or of `provider.<name>`: name → the blocks of each. None for what skyc has no schema of."""
    schema = _schema(name)
    return None if schema is None else _blocks(schema)


def forces_new(type_: str, path: str) -> bool:
    """Whether a change of this argument of a resource (`root_block_device.volume_type`) makes another one of it, as the provider's
    documentation says. True for a type without a schema: what is not known is said as the worst."""
    schema = _schema(type_)
    return schema is None or any(attribute.force_new for attribute in _attributes(schema, path))


@cache
def _schema(name: str) -> Schema | None:
    if name == f"provider.{OWN}":
        from .tfplugin.schema import Schema

        # Its configuration is empty: where its nodes lie comes from the environment.
        return Schema()
    if name.startswith(f"{OWN}_"):
        from .local.node import SCHEMA

        return SCHEMA if name == "skyc_node" else None
    from .schemas.load import load_schema

    provider = name.removeprefix("provider.").partition("_")[0]
    if provider not in SHIPPED:
        return None
    found = load_schema(provider)
    if name == f"provider.{provider}":
        return found.provider
    known = found.types.get(name)
    return None if known is None else known.body


def _blocks(body: Block) -> FrozenMap[Any]:
    return FrozenMap({name: _blocks(block) for name, block in body.blocks.items()})


def _attributes(body: Block, path: str) -> tuple[Attribute, ...]:
    """The attribute at a path; all of the block there; the map's own for a key in one."""
    first, _, rest = path.partition(".")
    if first in body.blocks:
        inner = body.blocks[first]
        if rest:
            return _attributes(inner, rest)
        return (*inner.attributes.values(), *(one for name in inner.blocks for one in _attributes(inner, name)))
    found = body.attributes.get(first)
    return () if found is None else (found,)
