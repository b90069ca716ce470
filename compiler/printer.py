"""`print_ir`: any frozen IR value as short, stable text, for people and for file tests.

One field per line, indented by two; what is None or empty is left out, and so are `origin`s, which only repeat the structure.
Equal values print the same text. Secrets print as stars.

A plan of a thousand tasks prints as several hundred thousand lines, so what a class says about its values is asked once per class, and
what several placements share (their cost lines, mostly) becomes text once.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from .ir import FrozenMap, decimal_text

_BARE = re.compile(r"[A-Za-z0-9_./~$@%+*][A-Za-z0-9_./~$@%+*:{}()=,<>' -]*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", ""})
_KNOWN_TEXTS = 1 << 16
_FEW = 3
"""A record of so few plain fields prints on one line."""


class _Form(enum.Enum):
    """How values of a class print."""

    NONE = enum.auto()
    TEXT = enum.auto()
    MAP = enum.auto()
    ITEMS = enum.auto()
    RECORD = enum.auto()
    LEAF = enum.auto()
    """On one line: a scalar, or a value with a canonical text of its own such as an address or a reference."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a class says about its values. names: all fields of a record; shown: without `origin`; few: may print on one line."""

    form: _Form
    names: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    few: bool = False


_SHAPES: dict[type, _Shape] = {}


def _shape(value: object) -> _Shape:
    kind = type(value)
    if kind not in _SHAPES:
        _SHAPES[kind] = _shape_of(kind)
    return _SHAPES[kind]


def _shape_of(kind: type) -> _Shape:
    if kind is type(None):
        return _Shape(_Form.NONE)
    if issubclass(kind, str) and not issubclass(kind, enum.Enum):
        return _Shape(_Form.TEXT)
    if issubclass(kind, FrozenMap):
        return _Shape(_Form.MAP)
    if issubclass(kind, tuple | frozenset):
        return _Shape(_Form.ITEMS)
    if dataclasses.is_dataclass(kind) and kind.__str__ is object.__str__:
        names = tuple(field.name for field in dataclasses.fields(kind))
        shown = tuple(name for name in names if name != "origin")
        return _Shape(_Form.RECORD, names, shown, few=len(names) <= _FEW and len(shown) == len(names))
    return _Shape(_Form.LEAF)


def print_ir(value: object) -> str:
    """The text form of an IR value, without a final newline."""
    printer = _Printer()
    shape = _shape(value)
    if shape.form is _Form.RECORD and not _is_leaf(value):
        printer.lines.append(type(value).__name__)
        printer.fields(value, shape, "  ")
    else:
        printer.entry("", "value", value)
    return "\n".join(printer.lines)


class _Printer:
    """Gathers lines. Values stay alive while it works, so an id stands for one value."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[tuple[int, str, str], list[str]] = {}

    def fields(self, value: object, shape: _Shape, indent: str) -> None:
        lines = self.lines
        for name in shape.shown:
            item = getattr(value, name)
            kind = type(item)
            # The commonest first, and without a call: this runs for every line.
            if kind is str:
                if "\n" in item:
                    self._text(indent, name, item)
                elif item:
                    lines.append(f"{indent}{name}: {_text(item)}")
            elif kind is Decimal:
                lines.append(f"{indent}{name}: {decimal_text(item)}")
            elif item is not None:
                self.entry(indent, name, item)

    def entry(self, indent: str, name: str, value: object) -> None:
        shape = _shape(value)
        form = shape.form
        if form is _Form.TEXT:
            assert isinstance(value, str)
            self._text(indent, name, value)
        elif form is _Form.LEAF or (form is _Form.RECORD and shape.few and _is_leaf(value)):
            self.lines.append(f"{indent}{name}: {_leaf(value)}")
        elif form is _Form.RECORD:
            self.lines.append(f"{indent}{name}: {type(value).__name__}")
            self.fields(value, shape, indent + "  ")
        elif form is _Form.ITEMS:
            assert isinstance(value, tuple | frozenset)
            if value:
                self._shared(indent, name, value)
        elif form is _Form.MAP:
            assert isinstance(value, FrozenMap)
            if value:
                self._map(indent, name, value)

    def _text(self, indent: str, name: str, value: str) -> None:
        if "\n" in value:
            self.lines.append(f"{indent}{name}: |" + ("" if value.endswith("\n") else "-"))
            for line in value.removesuffix("\n").split("\n"):
                self.lines.append(f"{indent}  {line}".rstrip() if line.isprintable() else f"{indent}  {json.dumps(line)}")
        elif value:
            self.lines.append(f"{indent}{name}: {_text(value)}")

    def _map(self, indent: str, name: str, value: FrozenMap[object]) -> None:
        self.lines.append(f"{indent}{name}:")
        for key, item in value.items():
            if item is None or item == "" or (isinstance(item, tuple | FrozenMap) and not item):
                # A variable without a value is a fact, not an absent field.
                self.lines.append(f"{indent}  {_text(key)}:")
            else:
                self.entry(f"{indent}  ", _text(key), item)

    def _shared(self, indent: str, name: str, value: tuple[object, ...] | frozenset[object]) -> None:
        """The items' lines, made once for a value that several others hold."""
        key = (id(value), indent, name)
        known = self._known.get(key)
        if known is None:
            start = len(self.lines)
            self._items(indent, name, value)
            # What stands at the top is held by nothing else.
            if len(indent) > 2:
                self._known[key] = self.lines[start:]
        else:
            self.lines += known

    def _items(self, indent: str, name: str, value: tuple[object, ...] | frozenset[object]) -> None:
        items = sorted(value, key=_leaf) if isinstance(value, frozenset) else value
        if all(_is_leaf(item) and not (isinstance(item, str) and "\n" in item) for item in items):
            self.lines.append(f"{indent}{name}: [{', '.join(_leaf(item) for item in items)}]")
        else:
            for index, item in enumerate(items):
                self.entry(indent, f"{name}[{index}]", item)


def _is_leaf(value: object) -> bool:
    """Prints on one line."""
    shape = _shape(value)
    if shape.form is _Form.RECORD:
        return shape.few and all(_is_plain(getattr(value, name)) for name in shape.names)
    return shape.form not in (_Form.MAP, _Form.ITEMS)


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "\n" not in value
    return value is None or isinstance(value, bool | int | Decimal | enum.Enum)


def _leaf(value: object) -> str:
    if type(value) is Decimal:
        return decimal_text(value)
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
    shape = _shape(value)
    if shape.form is _Form.RECORD:
        held = ((name, getattr(value, name)) for name in shape.names)
        return f"{{{', '.join(f'{name}: {_leaf(item)}' for name, item in held if item not in (None, ''))}}}"
    return str(value)


@lru_cache(maxsize=_KNOWN_TEXTS)
def _text(value: str) -> str:
    if value in _WORDS or not _BARE.fullmatch(value) or value.endswith(" "):
        return json.dumps(value, ensure_ascii=True)
    return value
