"""Loading the schemas that ship with skyc: `<name>.json.gz`, made by `build`, with `<name>.overlay.yaml` over it."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from ...compiler.ir import FrozenMap
from ..tfplugin.schema import Attribute, Block, NestedBlock, Nesting, Schema
from .emitted import ORIGINS
from .model import ProviderSchema, TypeSchema
from .overlay import SchemaFileError, check_shared, laid_over, rules_of

FORMAT_VERSION = "1"
SHIPPED = tuple(origin.name for origin in ORIGINS)


@cache
def load_schema(name: str) -> ProviderSchema:
    """The shipped schema of `aws`, `azurerm`, `google` or `ibm`. Raises KeyError for another name."""
    if name not in SHIPPED:
        raise KeyError(name)
    folder = files(__package__)
    return parse_schema(name, (folder / f"{name}.json.gz").read_bytes(), (folder / f"{name}.overlay.yaml").read_bytes())


def load_schemas(names: Iterable[str] = SHIPPED) -> tuple[ProviderSchema, ...]:
    return tuple(load_schema(name) for name in names)


def parse_schema(name: str, packed: bytes, overlay: bytes = b"") -> ProviderSchema:
    """A schema from its file's bytes. Raises SchemaFileError when file and overlay do not fit each other."""
    document = json.loads(gzip.decompress(packed))
    if document["format_version"] != FORMAT_VERSION:
        raise SchemaFileError(f"{name}: format {document['format_version']}, and this is {FORMAT_VERSION}")
    words = _yaml(overlay)
    strange = sorted(words.keys() - document["types"].keys() - {"*"})
    if strange:
        raise SchemaFileError(f"overlay of {name}: there is no type {', '.join(strange)}")
    check_shared(words, document["types"])
    return ProviderSchema(
        name=name,
        source=document["source"],
        version=document["provider_version"],
        made_from=document["made_from"],
        digest=hashlib.sha256(gzip.decompress(packed) + b"\0" + overlay).hexdigest(),
        provider=schema_of(document["provider"]),
        types=FrozenMap({type_: _type(type_, body, words) for type_, body in document["types"].items()}),
    )


def schema_of(body: Mapping[str, Any]) -> Schema:
    """A body in the notation of `terraform providers schema -json` as a value."""
    block = _block(body)
    return Schema(attributes=block.attributes, blocks=block.blocks)


def _yaml(text: bytes) -> dict[str, Any]:
    import yaml

    # The loader in C is ten times as fast, and not in every build of PyYAML.
    loaded: dict[str, Any] | None = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded or {}


def _type(name: str, body: dict[str, Any], overlay: Mapping[str, Any]) -> TypeSchema:
    words = laid_over(name, body, overlay)
    return TypeSchema(
        name=name,
        body=schema_of(body),
        enums=FrozenMap({path: tuple(values) for path, values in words.get("enums", {}).items()}),
        computed_blocks=frozenset(words.get("computed_blocks", ())),
        rules=rules_of(name, body, words),
    )


def _block(body: Mapping[str, Any]) -> Block:
    return Block(
        attributes={name: _attribute(attribute) for name, attribute in body.get("attributes", {}).items()},
        blocks={name: _nested(block) for name, block in body.get("block_types", {}).items()},
    )


def _attribute(attribute: Mapping[str, Any]) -> Attribute:
    return Attribute(
        type=attribute["type"],
        required=attribute.get("required", False),
        optional=attribute.get("optional", False),
        computed=attribute.get("computed", False),
        sensitive=attribute.get("sensitive", False),
        force_new=attribute.get("force_new", False),
        default=attribute.get("default"),
    )


def _nested(block: Mapping[str, Any]) -> NestedBlock:
    body = _block(block["block"])
    return NestedBlock(
        attributes=body.attributes,
        blocks=body.blocks,
        nesting=Nesting(block["nesting_mode"]),
        min_items=block.get("min_items", 0),
        max_items=block.get("max_items", 0),
    )
