"""The immutable mapping and the one canonical encoding every digest is made from.

Contract: `canonical(value)` gives the same bytes for equal values on every machine and Python version. A digest in a plan is
SHA-256 over those bytes, so two plans are equal exactly when their digests are.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from decimal import Decimal
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=str)
V = TypeVar("V", covariant=True)


class FrozenMap(Mapping[str, V], Generic[V]):
    """A hashable, picklable mapping from strings, kept sorted by key.

    `MappingProxyType` is neither hashable nor picklable and breaks `dataclasses.asdict`, hence this small type.
    """

    __slots__ = ("_sorted",)
    _sorted: dict[str, V]

    def __init__(self, items: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> None:
        if isinstance(items, FrozenMap):
            found = items._sorted
        else:
            given = dict(items)
            found = {name: given[name] for name in sorted(given)}
        object.__setattr__(self, "_sorted", found)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("FrozenMap is immutable")

    def __getitem__(self, key: str) -> V:
        return self._sorted[key]

    def __contains__(self, key: object) -> bool:
        return key in self._sorted

    def __iter__(self) -> Iterator[str]:
        return iter(self._sorted)

    # The views of Mapping look every key up.

    def keys(self) -> KeysView[str]:
        return self._sorted.keys()

    def items(self) -> ItemsView[str, V]:
        return self._sorted.items()

    def values(self) -> ValuesView[V]:
        return self._sorted.values()

    def __len__(self) -> int:
        return len(self._sorted)

    def __hash__(self) -> int:
        return hash(tuple(self._sorted.items()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return self._sorted == other._sorted
        return NotImplemented

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name}: {value!r}" for name, value in self._sorted.items()) + "}"

    def __reduce__(self) -> tuple[type[FrozenMap[Any]], tuple[tuple[tuple[str, Any], ...]]]:
        return (FrozenMap, (tuple(self._sorted.items()),))


def plain(value: object) -> Any:
    """Turn an IR value into JSON-shaped data: dataclasses to objects with a fixed field order, Decimal to its shortest text.

    Raises TypeError for a type that has no canonical form (float included: money and sizes are Decimal).
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, FrozenMap):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted((plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        encode = getattr(value, "__canonical__", None)
        if encode is not None:
            return encode()
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no canonical form")


def decimal_text(value: Decimal) -> str:
    """The shortest plain notation of a Decimal: `1.50` and `1.5` both give `1.5`, never an exponent."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def canonical(value: object) -> bytes:
    """The canonical bytes of an IR value (UTF-8 JSON, sorted keys, no spaces)."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: object) -> str:
    """SHA-256 of `canonical(value)`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()
