"""Values on the wire: Terraform's msgpack (and state JSON) to Python values and back, directed by a type.

Contract: `encode(decode(wire))` is the same Terraform value, and `decode(encode(value)) == value` for every value in its
canonical form. Canonical means: whole numbers are int, others float where the float's shortest notation is the exact number
and Decimal where it is not; sets are lists without duplicates in the order of their encoding; objects hold every attribute.

Unknown values are `Unknown` objects wherever they stand. Terraform may know something about a value that it does not know
(a prefix, that it is not null); such a refinement is carried through untouched, because a planned value must equal the
configured one. Test with `is_unknown(value)`: `value is UNKNOWN` misses the refined ones.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

import msgpack

from .schema import Block, Nesting, TypeNotation, frozen_type, plain_type

EXT_UNKNOWN = 0
EXT_REFINED = 12
MOST_DIGITS = 4000
"""Terraform computes with 512 bits, about 154 digits; a number beyond this is damage and would only exhaust memory."""

Step = str | int
"""Attribute names and map keys are str; list positions are int."""


class CodecError(Exception):
    """A value does not fit its type. `path` leads to it."""

    def __init__(self, message: str, path: tuple[Step, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return f"{path_text(self.path)}: {self.message}" if self.path else self.message


def path_text(path: Iterable[Step]) -> str:
    """`disk[0].size`, `tags["cost.center"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step.replace("-", "_").isidentifier():
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
        else:
            text += f".{step}" if text else step
    return text


class Unknown:
    """A value that is decided at apply. All unknowns are equal; `refinement` is what Terraform knows about it, as sent."""

    __slots__ = ("refinement",)

    def __init__(self, refinement: bytes | None = None) -> None:
        self.refinement = refinement

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown)

    def __hash__(self) -> int:
        return hash(Unknown)

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


def is_unknown(value: object) -> TypeGuard[Unknown]:
    return isinstance(value, Unknown)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A value together with its type, where the schema leaves the type open."""

    type: TypeNotation
    value: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", frozen_type(self.type))


def number(value: int | float | Decimal) -> int | float | Decimal:
    """The canonical Python form of a finite number: int, else float if its notation is exact, else Decimal.

    Raises ValueError for NaN, infinities and numbers of absurd size.
    """
    if isinstance(value, int):
        return int(value)
    exact = value if isinstance(value, Decimal) else Decimal(value)
    if not exact.is_finite() or abs(exact.adjusted()) > MOST_DIGITS:
        raise ValueError("not a finite number of reasonable size")
    if exact == exact.to_integral_value():
        return int(exact)
    short = float(exact)
    return short if Decimal(repr(short)) == exact else exact


class Type(ABC):
    """One type's rules. `decode` takes msgpack's data, `from_json` state JSON's; both give Python values."""

    def decode(self, wire: Any, path: tuple[Step, ...]) -> Any:
        if wire is None or isinstance(wire, Unknown):
            return wire
        return self.decode_known(wire, path)

    def encode(self, value: Any, path: tuple[Step, ...]) -> Any:
        if value is None:
            return self.null()
        if isinstance(value, Unknown):
            return _unknown_wire(value)
        return self.encode_known(value, path)

    def from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        """Lenient: a state may have been written under an older schema. Missing attributes are null, extra ones dropped."""
        return None if data is None else self.known_from_json(data, path)

    def null(self) -> Any:
        return None

    @abstractmethod
    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any: ...

    @abstractmethod
    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any: ...

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        return self.decode_known(data, path)


class StringType(Type):
    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        if not isinstance(wire, str):
            raise CodecError(f"a string is needed, not {_kind(wire)}", path)
        return wire

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        text: str = self.decode_known(value, path)
        try:
            text.encode()
        except UnicodeEncodeError as failure:
            raise CodecError("the text cannot be written as UTF-8", path) from failure
        return text

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        if isinstance(data, bool):
            return "true" if data else "false"
        return str(data) if isinstance(data, int | float | Decimal) else self.decode_known(data, path)


class BoolType(Type):
    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        if not isinstance(wire, bool):
            raise CodecError(f"a bool is needed, not {_kind(wire)}", path)
        return wire

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        return self.decode_known(value, path)


class NumberType(Type):
    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        try:
            if isinstance(wire, str):
                return number(Decimal(wire))
            if isinstance(wire, int | float | Decimal) and not isinstance(wire, bool):
                return number(wire)
        except (ValueError, InvalidOperation) as failure:
            raise CodecError(f"a finite number is needed, not {wire!r:.40}", path) from failure
        raise CodecError(f"a number is needed, not {_kind(wire)}", path)

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise CodecError(f"a number is needed, not {_kind(value)}", path)
        try:
            # A float stands for its shortest notation: 0.1 is one tenth, as in the configuration it is compared with.
            canonical = number(Decimal(repr(value)) if isinstance(value, float) else value)
        except (ValueError, InvalidOperation) as failure:
            raise CodecError(f"a finite number is needed, not {value!r:.40}", path) from failure
        if isinstance(canonical, int):
            if abs(canonical).bit_length() > MOST_DIGITS * 3:
                raise CodecError("the number is too large", path)
            return canonical if -(2**63) <= canonical < 2**64 else str(canonical)
        exact = canonical if isinstance(canonical, Decimal) else Decimal(repr(canonical))
        return float(exact) if Decimal(float(exact)) == exact else format(exact, "f")


class ListType(Type):
    def __init__(self, element: Type) -> None:
        self.element = element

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        return [self.element.decode(item, (*path, index)) for index, item in enumerate(_sequence(wire, path))]

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        return [self.element.encode(item, (*path, index)) for index, item in enumerate(_sequence(value, path))]

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        return [self.element.from_json(item, (*path, index)) for index, item in enumerate(_sequence(data, path))]


class SetType(ListType):
    """Elements have no position, so a path ends at the set."""

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        return self.ordered(self.element.decode(item, path) for item in _sequence(wire, path))

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        items = list(value) if isinstance(value, set | frozenset) else _sequence(value, path)
        return [wire for _, wire in _distinct(self.element.encode(item, path) for item in items)]

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        return self.ordered(self.element.from_json(item, path) for item in _sequence(data, path))

    def ordered(self, values: Iterable[Any]) -> list[Any]:
        """Values in canonical order. Equal unknowns are kept: each may yet become another value."""
        packed = [(_pack(self.element.encode(value, ())), value) for value in values]
        kept: dict[tuple[bytes, int], Any] = {}
        for position, (key, value) in enumerate(packed):
            kept.setdefault((key, position if _holds_unknown(value) else -1), value)
        return [value for _, value in sorted(kept.items(), key=lambda item: item[0])]


class MapType(Type):
    def __init__(self, element: Type) -> None:
        self.element = element

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        return {key: self.element.decode(item, (*path, key)) for key, item in _mapping(wire, path)}

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        return {key: self.element.encode(item, (*path, key)) for key, item in _mapping(value, path)}

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        return {key: self.element.from_json(item, (*path, key)) for key, item in _mapping(data, path)}


class TupleType(Type):
    def __init__(self, elements: tuple[Type, ...]) -> None:
        self.elements = elements

    def _pairs(self, items: Any, path: tuple[Step, ...]) -> Iterable[tuple[int, Type, Any]]:
        listed = _sequence(items, path)
        if len(listed) != len(self.elements):
            raise CodecError(f"{len(self.elements)} elements are needed, not {len(listed)}", path)
        return ((index, type_, item) for index, (type_, item) in enumerate(zip(self.elements, listed, strict=True)))

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        return [type_.decode(item, (*path, index)) for index, type_, item in self._pairs(wire, path)]

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        return [type_.encode(item, (*path, index)) for index, type_, item in self._pairs(value, path)]

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        return [type_.from_json(item, (*path, index)) for index, type_, item in self._pairs(data, path)]


class ObjectType(Type):
    def __init__(self, attributes: Mapping[str, Type]) -> None:
        self.attributes = dict(attributes)

    def _checked(self, value: Any, path: tuple[Step, ...]) -> dict[str, Any]:
        members = dict(_mapping(value, path))
        strange = sorted(members.keys() - self.attributes.keys())
        if strange:
            raise CodecError(f"the schema has no attribute called {strange[0]}", path)
        return members

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        members = self._checked(wire, path)
        return {name: type_.decode(members.get(name), (*path, name)) for name, type_ in self.attributes.items()}

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        members = self._checked(value, path)
        return {name: type_.encode(members.get(name), (*path, name)) for name, type_ in self.attributes.items()}

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        members = dict(_mapping(data, path))
        return {name: type_.from_json(members.get(name), (*path, name)) for name, type_ in self.attributes.items()}


class DynamicType(Type):
    """On the wire a pair of the type's JSON and the value; in state JSON an object of both."""

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        items = _sequence(wire, path)
        if len(items) != 2 or not isinstance(items[0], bytes | str):
            raise CodecError("a value of open type needs its type beside it", path)
        try:
            notation = json.loads(items[0])
        except ValueError as failure:
            raise CodecError("the type of a value of open type cannot be read", path) from failure
        return self._open(notation, items[1], path, wired=True)

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        if not isinstance(value, Dynamic):
            raise CodecError(f"a Dynamic is needed, not {_kind(value)}", path)
        notation = json.dumps(plain_type(value.type), separators=(",", ":")).encode()
        return [notation, compile_type(value.type).encode(value.value, path)]

    def known_from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        members = dict(_mapping(data, path))
        return self._open(members.get("type"), members.get("value"), path, wired=False)

    def _open(self, notation: Any, inner: Any, path: tuple[Step, ...], *, wired: bool) -> Dynamic:
        try:
            type_ = compile_type(frozen_type(notation))
        except ValueError as failure:
            raise CodecError(str(failure), path) from failure
        return Dynamic(notation, type_.decode(inner, path) if wired else type_.from_json(inner, path))


class BlockCollection(Type):
    """Nested blocks of one kind. Terraform knows no null list, set or map of blocks: none written means an empty one."""

    def __init__(self, inner: Type, empty: Any) -> None:
        self.inner = inner
        self.empty = empty

    def null(self) -> Any:
        return self.empty

    def decode_known(self, wire: Any, path: tuple[Step, ...]) -> Any:
        return self.inner.decode_known(wire, path)

    def encode_known(self, value: Any, path: tuple[Step, ...]) -> Any:
        return self.inner.encode_known(value, path)

    def from_json(self, data: Any, path: tuple[Step, ...]) -> Any:
        return self.inner.from_json(self.empty if data is None else data, path)


class GroupType(ObjectType):
    """A block that is always there: None means one with null attributes."""

    def null(self) -> Any:
        return self.encode_known({}, ())


_PRIMITIVES: dict[str, Callable[[], Type]] = {
    "string": StringType,
    "number": NumberType,
    "bool": BoolType,
    "dynamic": DynamicType,
}


def compile_type(notation: TypeNotation) -> Type:
    """The rules of a type. Raises ValueError when it is not one."""
    frozen = frozen_type(notation)
    if isinstance(frozen, str):
        return _PRIMITIVES[frozen]()
    kind: str = frozen[0]
    inner: Any = frozen[1]
    if kind == "object":
        return ObjectType({name: compile_type(type_) for name, type_ in inner.items()})
    if kind == "tuple":
        return TupleType(tuple(compile_type(type_) for type_ in inner))
    return {"list": ListType, "set": SetType, "map": MapType}[kind](compile_type(inner))


def compile_block(block: Block) -> ObjectType:
    """The rules of a body: its attributes and the collections of its nested blocks."""
    return _block(block, ObjectType)


def _block(block: Block, form: type[ObjectType]) -> ObjectType:
    members: dict[str, Type] = {name: compile_type(attribute.type) for name, attribute in block.attributes.items()}
    for name, nested in block.blocks.items():
        if nested.collected_type == "dynamic":
            members[name] = DynamicType()
            continue
        body = _block(nested, GroupType if nested.nesting is Nesting.GROUP else ObjectType)
        match nested.nesting:
            case Nesting.LIST:
                members[name] = BlockCollection(ListType(body), [])
            case Nesting.SET:
                members[name] = BlockCollection(SetType(body), [])
            case Nesting.MAP:
                members[name] = BlockCollection(MapType(body), {})
            case Nesting.SINGLE | Nesting.GROUP:
                members[name] = body
    return form(members)


def unpack(type_: Type, raw: bytes) -> Any:
    """A value from Terraform's msgpack. Raises CodecError."""
    try:
        wire = msgpack.unpackb(raw, raw=False, strict_map_key=False, ext_hook=_extension)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as failure:
        raise CodecError(f"not valid msgpack: {failure}") from failure
    return type_.decode(wire, ())


def pack(type_: Type, value: Any) -> bytes:
    """Terraform's msgpack of a value. Raises CodecError."""
    return _pack(type_.encode(value, ()))


def parse_state(type_: Type, text: bytes) -> Any:
    """A value from the JSON of a state file, however old its schema. Raises CodecError."""
    try:
        data = json.loads(text, parse_float=Decimal)
    except ValueError as failure:
        raise CodecError(f"the stored state is not JSON: {failure}") from failure
    return type_.from_json(data, ())


def _pack(wire: Any) -> bytes:
    packed: bytes = msgpack.packb(wire, use_bin_type=True)
    return packed


def _extension(code: int, content: bytes) -> Any:
    if code == EXT_REFINED:
        return Unknown(bytes(content))
    if code == EXT_UNKNOWN:
        return UNKNOWN
    raise ValueError(f"unknown extension {code}")


def _unknown_wire(value: Unknown) -> Any:
    if value.refinement is None:
        return msgpack.ExtType(EXT_UNKNOWN, b"\0")
    return msgpack.ExtType(EXT_REFINED, value.refinement)


def _distinct(wires: Iterable[Any]) -> list[tuple[bytes, Any]]:
    """Sorted by encoding, equal ones once unless an unknown stands in them."""
    kept: dict[tuple[bytes, int], Any] = {}
    for position, wire in enumerate(wires):
        kept.setdefault((_pack(wire), position if _holds_extension(wire) else -1), wire)
    return [(key, wire) for (key, _), wire in sorted(kept.items(), key=lambda item: item[0])]


def _holds_extension(wire: Any) -> bool:
    if isinstance(wire, msgpack.ExtType):
        return True
    if isinstance(wire, dict):
        return any(_holds_extension(item) for item in wire.values())
    return isinstance(wire, list) and any(_holds_extension(item) for item in wire)


def _holds_unknown(value: Any) -> bool:
    if isinstance(value, Dynamic):
        return _holds_unknown(value.value)
    if isinstance(value, Mapping):
        return any(_holds_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_unknown(item) for item in value)
    return isinstance(value, Unknown)


def _sequence(value: Any, path: tuple[Step, ...]) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple) or isinstance(value, msgpack.ExtType):
        raise CodecError(f"a list is needed, not {_kind(value)}", path)
    return value


def _mapping(value: Any, path: tuple[Step, ...]) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise CodecError(f"a mapping is needed, not {_kind(value)}", path)
    for key, item in value.items():
        if not isinstance(key, str):
            raise CodecError(f"a mapping's keys are strings, not {_kind(key)}", path)
        yield key, item


def _kind(value: object) -> str:
    return type(value).__name__
