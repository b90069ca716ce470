"""Schemas as values: what a resource's configuration may say and what its state holds.

A type is written as Terraform's own JSON type notation: `"string"`, `["list", "number"]`, `["object", {"port": "number"}]`.
The constants and functions below build the same notation. A schema is frozen and holds no code, so it can as well be read
from a file: a simulated cloud serves schemas of thousands of types this way.

Invariants, checked when an attribute is made: it is required, optional or computed; required excludes the other two; a
default belongs to an optional attribute.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...compiler.ir import FrozenMap

TypeNotation = str | Sequence[Any]

STRING = "string"
NUMBER = "number"
BOOL = "bool"
DYNAMIC = "dynamic"
PRIMITIVES = frozenset({STRING, NUMBER, BOOL, DYNAMIC})


def list_of(element: TypeNotation) -> TypeNotation:
    return ("list", element)


def set_of(element: TypeNotation) -> TypeNotation:
    return ("set", element)


def map_of(element: TypeNotation) -> TypeNotation:
    return ("map", element)


def object_of(attributes: Mapping[str, TypeNotation]) -> TypeNotation:
    return ("object", attributes)


def frozen_type(notation: TypeNotation) -> TypeNotation:
    """The same type with tuples and FrozenMaps for lists and dicts. Raises ValueError when it is not a type."""
    match notation:
        case str() if notation in PRIMITIVES:
            return notation
        case ("list" | "set" | "map" as kind, element):
            return (kind, frozen_type(element))
        case ("tuple", list() | tuple() as elements):
            return ("tuple", tuple(frozen_type(element) for element in elements))
        case ("object", Mapping() as attributes, *_optional):
            return ("object", FrozenMap({name: frozen_type(type_) for name, type_ in attributes.items()}))
        case _:
            raise ValueError(f"not a type: {notation!r}")


def plain_type(notation: TypeNotation) -> Any:
    """The type as lists and dicts, ready for `json.dumps`."""
    if isinstance(notation, str):
        return notation
    kind: str = notation[0]
    inner: Any = notation[1]
    if kind == "tuple":
        return [kind, [plain_type(element) for element in inner]]
    if kind == "object":
        return [kind, {name: plain_type(type_) for name, type_ in inner.items()}]
    return [kind, plain_type(inner)]


def has_dynamic(notation: TypeNotation) -> bool:
    if isinstance(notation, str):
        return notation == DYNAMIC
    kind: str = notation[0]
    inner: Any = notation[1]
    if kind == "tuple":
        return any(has_dynamic(element) for element in inner)
    if kind == "object":
        return any(has_dynamic(type_) for type_ in inner.values())
    return has_dynamic(inner)


class Nesting(enum.Enum):
    """How the blocks of one kind, or the objects of a nested attribute, are collected."""

    SINGLE = "single"
    """One or none: an object or None."""
    LIST = "list"
    SET = "set"
    MAP = "map"
    """By label. The Python value is a mapping."""
    GROUP = "group"
    """Blocks only: always one, with null attributes when it was not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One argument or fact of a resource.

    `computed` alone is a fact the resource reports. `optional` and `computed` may be given, and is reported otherwise.
    `force_new` is skyc's own: a change of the value replaces the resource. `default` fills an argument that was not written;
    Terraform is told that such an attribute is computed, which is how the protocol permits it. `nested` gives the attributes of
    an object-valued attribute their own flags; its type is then made from them and `type` is ignored.
    """

    type: TypeNotation = STRING
    description: str = ""
    required: bool = False
    optional: bool = False
    computed: bool = False
    sensitive: bool = False
    force_new: bool = False
    deprecated: bool = False
    default: Any = None
    nested: NestedAttributes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.nested.type if self.nested is not None else frozen_type(self.type))
        if not (self.required or self.optional or self.computed):
            raise ValueError("an attribute is required, optional or computed")
        if self.required and (self.optional or self.computed):
            raise ValueError("a required attribute is neither optional nor computed")
        if self.default is not None and not self.optional:
            raise ValueError("only an optional attribute has a default")

    @property
    def settable(self) -> bool:
        return self.required or self.optional


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedAttributes:
    """The attributes of an object-valued attribute, which Terraform calls a nested type. `nesting` is never GROUP."""

    attributes: Mapping[str, Attribute]
    nesting: Nesting = Nesting.SINGLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", FrozenMap(self.attributes))
        if self.nesting is Nesting.GROUP:
            raise ValueError("a nested attribute cannot be a group")

    @property
    def type(self) -> TypeNotation:
        element = ("object", FrozenMap({name: attribute.type for name, attribute in self.attributes.items()}))
        return element if self.nesting is Nesting.SINGLE else (self.nesting.value, element)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The body of a resource or of a nested block: attributes, and nested blocks by type name."""

    attributes: Mapping[str, Attribute] = field(default_factory=FrozenMap)
    blocks: Mapping[str, NestedBlock] = field(default_factory=FrozenMap)
    description: str = ""
    deprecated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", FrozenMap(self.attributes))
        object.__setattr__(self, "blocks", FrozenMap(self.blocks))
        both = sorted(set(self.attributes) & set(self.blocks))
        if both:
            raise ValueError(f"both an attribute and a block: {', '.join(both)}")

    @property
    def type(self) -> TypeNotation:
        """The object type of values of this body."""
        members: dict[str, TypeNotation] = {name: attribute.type for name, attribute in self.attributes.items()}
        members.update((name, block.collected_type) for name, block in self.blocks.items())
        return ("object", FrozenMap(members))


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedBlock(Block):
    """A kind of block inside another body. `max_items` 0 means any number."""

    nesting: Nesting = Nesting.LIST
    min_items: int = 0
    max_items: int = 0

    @property
    def collected_type(self) -> TypeNotation:
        body = self.type
        if self.nesting in (Nesting.SINGLE, Nesting.GROUP):
            return body
        # Elements of a list or map must agree in type; with a dynamic attribute inside they need not, so Terraform sends a
        # tuple or object and says its type beside it.
        return DYNAMIC if has_dynamic(body) else (self.nesting.value, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema(Block):
    """The body of a resource type or of the provider. `version` grows when stored state changes its form."""

    version: int = 0
