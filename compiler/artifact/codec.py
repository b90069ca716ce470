"""IR values as JSON and back, typed: what a file or another machine gives is checked against the type it is to become.

Contract: pure. `decode(T, encode(value)) == value` for every frozen type of the IR, and equal values give equal bytes. Decimals are text
(`1.50` stays `1.50`), enums their values, bytes base64. A field that is not known is ignored, one that is missing takes its default: so a
format may only grow. What is read is untrusted: whatever it holds, `Damaged` is the only thing raised.

This module alone imports msgspec, when it is first used. A `Value` is the one type msgspec cannot tell apart by itself, since its members
may be records, numbers and texts at one place; it is spelled out here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from ..ir import FrozenMap, Joined, JsonObject, Ref, ResourceAddress, Value

if TYPE_CHECKING:
    import msgspec

T = TypeVar("T")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REF, _JOINED, _DECIMAL, _MAP = "$ref", "$joined", "$decimal", "$map"
"""A mapping of one of these keys is no mapping: it says what a text could not. A mapping with a key that begins so stands in `$map`."""
_TAGS = frozenset({_REF, _JOINED, _DECIMAL, _MAP})
_SCALARS = (str, int, bool)


class Damaged(ValueError):
    """What was read is not what it should be. Its text says where and why, and repeats no value."""


def encode(value: object) -> bytes:
    """A value as JSON, UTF-8, without spaces. Raises TypeError for a type that is not written, `Secret` among them."""
    import msgspec

    return msgspec.json.encode(value, enc_hook=_plain)


def decode(kind: type[T], data: bytes) -> T:
    """A value of this type from its JSON. Raises Damaged."""
    import msgspec

    wanted: Any = kind
    try:
        found: T = _decoder(wanted).decode(data)
    except msgspec.ValidationError as failure:
        raise Damaged(str(failure)) from None
    except (msgspec.DecodeError, ValueError, ArithmeticError, TypeError, RecursionError) as failure:
        raise Damaged(f"it is no JSON of this kind ({type(failure).__name__})") from None
    if not _finite(found):
        raise Damaged("an amount in it is no number")
    return found


def parts_of(data: bytes) -> dict[str, bytes]:
    """Name → the bytes of its value as they stand, of an object. Raises Damaged."""
    import msgspec

    return {name: bytes(raw) for name, raw in decode(dict[str, msgspec.Raw], data).items()}


def json_schema(kind: type[object]) -> JsonObject:
    """The JSON Schema (draft 2020-12) of what `encode` writes for the type."""
    import msgspec

    (found,), components = msgspec.json.schema_components((kind,), schema_hook=_described, ref_template="#/$defs/{name}")
    return {"$schema": DRAFT, **found, "$defs": dict(sorted(components.items()))}


def _finite(value: object) -> bool:
    """Whether every amount is a number: `NaN` is a Decimal, and compares with none."""
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, tuple):
        return all(map(_finite, value))
    if dataclasses.is_dataclass(value):
        return all(_finite(getattr(value, field.name)) for field in dataclasses.fields(value))
    return True


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    import msgspec

    return msgspec.json.Decoder(kind, dec_hook=_typed)


def _plain(value: object) -> Any:
    if isinstance(value, FrozenMap):
        return _written(value)
    raise TypeError(f"{type(value).__name__} is not written")


def _written(value: Any) -> Any:
    match value:
        case FrozenMap():
            rows = {name: _written(item) for name, item in value.items()}
            return {_MAP: rows} if any(name.startswith("$") for name in rows) else rows
        case tuple():
            return [_written(item) for item in value]
        case Decimal():
            return {_DECIMAL: str(value)}
        case Ref():
            found: JsonObject = {"type": value.address.type, "name": value.address.name, "attribute": value.attribute}
            return {_REF: found if value.step is None else {**found, "step": value.step}}
        case Joined():
            return {_JOINED: [_written(part) for part in value.parts]}
        case bool() | int() | str() | None:
            return value
    raise TypeError(f"{type(value).__name__} is not written")


def _typed(kind: Any, raw: Any) -> Any:
    """A FrozenMap of what its type says. msgspec adds the place to what is raised."""
    if get_origin(kind) is not FrozenMap:
        raise NotImplementedError(f"no values of {kind} are read")
    if not isinstance(raw, Mapping):
        raise ValueError("an object is expected")
    (items,) = get_args(kind)
    found = _value(raw)
    if not isinstance(found, FrozenMap):
        raise ValueError("an object is expected")
    if items in _SCALARS and not all(type(item) is items for item in found.values()):
        raise ValueError(f"all values of the object must be {items.__name__}")
    return found


def _value(raw: Any) -> Value:
    if isinstance(raw, list):
        return tuple(_value(item) for item in raw)
    if isinstance(raw, dict):
        tagged = [name for name in raw if name.startswith("$")]
        if not tagged:
            return FrozenMap({name: _value(item) for name, item in raw.items()})
        if len(raw) != 1 or tagged[0] not in _TAGS:
            raise ValueError("an object has a name that cannot be one")
        return _tagged(tagged[0], raw[tagged[0]])
    if isinstance(raw, bool | int | str) or raw is None:
        return raw
    raise ValueError("a number with a fraction stands where none can")


def _tagged(tag: str, raw: Any) -> Value:
    if tag == _DECIMAL and isinstance(raw, str):
        found = Decimal(raw)
        if found.is_finite():
            return found
    elif tag == _MAP and isinstance(raw, dict):
        return FrozenMap({name: _value(item) for name, item in raw.items()})
    elif tag == _REF and isinstance(raw, dict):
        return _ref(raw)
    elif tag == _JOINED and isinstance(raw, list):
        parts = tuple(part if isinstance(part, str) else _value(part) for part in raw)
        if all(isinstance(part, str | Ref) for part in parts):
            return Joined(tuple(part for part in parts if isinstance(part, str | Ref)))
    raise ValueError(f"`{tag}` says nothing that could be read")


def _ref(raw: JsonObject) -> Ref:
    texts = [raw.get(name) for name in ("type", "name", "attribute")]
    step = raw.get("step")
    if not all(isinstance(text, str) for text in texts) or not (step is None or type(step) is int):
        raise ValueError("a reference lacks what every one has")
    return Ref(ResourceAddress(str(texts[0]), str(texts[1])), str(texts[2]), step)


def _described(kind: Any) -> JsonObject:
    """The schema of a FrozenMap: msgspec does not tell here what is in it."""
    if kind is not FrozenMap:
        raise NotImplementedError
    return {"type": "object"}
