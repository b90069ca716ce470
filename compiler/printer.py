"""`print_ir`: any frozen IR value as short, stable text, for people and for file tests.

One field per line, indented by two; what is None or empty is left out, and so are `origin`s, which only repeat the structure.
Equal values print the same text. Secrets print as stars.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Iterator
from decimal import Decimal

from .ir import FrozenMap, decimal_text

_BARE = re.compile(r"[A-Za-z0-9_./~$@%+*][A-Za-z0-9_./~$@%+*:{}()=,<>' -]*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", ""})


def print_ir(value: object) -> str:
    """The text form of an IR value, without a final newline."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not _is_leaf(value):
        return "\n".join([type(value).__name__, *_fields(value, "  ")])
    return "\n".join(_entry("", "value", value))


def _fields(value: object, indent: str) -> Iterator[str]:
    assert dataclasses.is_dataclass(value)
    for field in dataclasses.fields(value):
        if field.name != "origin":
            yield from _entry(indent, field.name, getattr(value, field.name))


def _entry(indent: str, name: str, value: object) -> Iterator[str]:
    if value is None or (isinstance(value, tuple | FrozenMap | frozenset | str) and not value):
        return
    if isinstance(value, str) and "\n" in value:
        yield f"{indent}{name}: |" + ("" if value.endswith("\n") else "-")
        for line in value.removesuffix("\n").split("\n"):
            yield f"{indent}  {line}".rstrip() if line.isprintable() else f"{indent}  {json.dumps(line)}"
    elif isinstance(value, FrozenMap):
        yield f"{indent}{name}:"
        for key, item in value.items():
            if item is None or item == "" or (isinstance(item, tuple | FrozenMap) and not item):
                # A variable without a value is a fact, not an absent field.
                yield f"{indent}  {_text(key)}:"
            else:
                yield from _entry(f"{indent}  ", _text(key), item)
    elif isinstance(value, tuple | frozenset):
        items = sorted(value, key=_leaf) if isinstance(value, frozenset) else value
        if all(_is_leaf(item) and not (isinstance(item, str) and "\n" in item) for item in items):
            yield f"{indent}{name}: [{', '.join(_leaf(item) for item in items)}]"
        else:
            for index, item in enumerate(items):
                yield from _entry(indent, f"{name}[{index}]", item)
    elif _is_leaf(value):
        yield f"{indent}{name}: {_leaf(value)}"
    else:
        lines = list(_fields(value, indent + "  "))
        yield f"{indent}{name}: {type(value).__name__}"
        yield from lines


def _is_leaf(value: object) -> bool:
    """Prints on one line: scalars, and values with a canonical text of their own such as addresses and references."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value).__str__ is not object.__str__ or _is_small(value)
    return not isinstance(value, tuple | FrozenMap | frozenset)


def _is_small(value: object) -> bool:
    assert dataclasses.is_dataclass(value)
    names = [field.name for field in dataclasses.fields(value)]
    held = [getattr(value, name) for name in names]
    plain = all(item is None or isinstance(item, bool | int | str | Decimal | enum.Enum) for item in held)
    return (
        plain and len(names) <= 3 and "origin" not in names and not any(isinstance(item, str) and "\n" in item for item in held)
    )


def _leaf(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, str):
        return _text(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and type(value).__str__ is object.__str__:
        shown = (
            f"{field.name}: {_leaf(getattr(value, field.name))}"
            for field in dataclasses.fields(value)
            if getattr(value, field.name) not in (None, "")
        )
        return f"{{{', '.join(shown)}}}"
    return str(value)


def _text(value: str) -> str:
    if value in _WORDS or not _BARE.fullmatch(value) or value.endswith(" "):
        return json.dumps(value, ensure_ascii=True)
    return value
