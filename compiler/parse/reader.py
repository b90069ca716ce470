"""From nodes to spec records, by the field table. Collects every complaint; a value it cannot read counts as absent.

Invariants: nothing raises for any tree of nodes; each complaint has the span of the text it is about; each field that is read
and not yet supported gives one `not-yet-supported` warning at its line; spans are recorded for every path that becomes a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, assert_never

from ..diagnostics import Diagnostic, Span, error, warning
from ..ir import AcceleratorsSpec, FrozenMap, Secret, SpecPath
from . import amounts
from .amounts import Grammar, Misread
from .kinds import (
    Accelerators,
    Anything,
    Choice,
    Entries,
    Field,
    Flag,
    Kind,
    Later,
    ListOf,
    MapOf,
    Money,
    Number,
    OneOf,
    Record,
    Text,
    Variable,
    Whole,
)
from .nearest import nearest
from .nodes import Mapping, Node, Scalar, Sequence
from .words import expected, found, placed, shapes, surprise

_PLAIN_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,6})?", re.ASCII)
_LEVELS = frozenset({"task", "resources", "alternative", "group"})
"""Records whose fields people mix up."""


@dataclass(slots=True)
class Reader:
    """Reads the nodes of one file. `diagnostics` and `spans` grow while it reads."""

    meant: dict[str, str]
    """Words people use for a field whose name they do not resemble."""
    homes: dict[str, str]
    """Field name → the field it belongs under, for names written at the wrong level."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    spans: dict[SpecPath, Span] = field(default_factory=dict)

    def read(self, kind: Kind, node: Node, path: SpecPath, key: Scalar | None = None) -> Any:
        """The value of `node` as `kind` wants it, or None when it is null or not readable (then a complaint is added)."""
        self.spans.setdefault(path, _place(node, key))
        if isinstance(node, Scalar) and node.is_null and not isinstance(kind, Anything | Accelerators):
            return None
        match kind:
            case Text():
                return self._text(kind, node, path, key)
            case Whole():
                return self._whole(kind, node, key)
            case Money():
                return self._decimal(Number(), node, key, "an amount of US dollars such as `5.50`")
            case Number():
                return self._decimal(kind, node, key, "a number")
            case Flag():
                return self._flag(node, key)
            case Choice():
                return self._choice(kind, node, path, key)
            case ListOf():
                return self._list(kind, node, path, key)
            case MapOf():
                return self._map(kind, node, path, key)
            case Variable():
                return self._variable(kind, node, key)
            case Record():
                return self._record(kind, node, path, key)
            case Entries():
                return self._entries(kind, node, path, key)
            case Accelerators():
                return self._accelerators(node, path, key)
            case Anything():
                return self._anything(node)
            case OneOf():
                return self._one_of(kind, node, path, key)
            case Later():
                self._not_yet(key, node, path, "reads it written this way")
                return self.read(kind.kind, node, path, key)
            case _:
                assert_never(kind)

    # Scalars

    def _scalar(self, node: Node, key: Scalar | None, wanted: str) -> Scalar | None:
        if isinstance(node, Scalar):
            return node
        self._wrong(node, key, wanted)
        return None

    def _text(self, kind: Text, node: Node, path: SpecPath, key: Scalar | None) -> str | None:
        scalar = self._scalar(node, key, kind.grammar.words if kind.grammar else "text")
        # What is kept as it is written loses nothing by looking like a number or a date.
        as_written = kind.numbers and scalar is not None and scalar.tag != "bool"
        if scalar is None or self._surprising(scalar, number=as_written):
            return None
        if kind.grammar is not None and not self._agrees(kind.grammar, scalar, scalar.text):
            return None
        return scalar.text

    def _agrees(self, grammar: Grammar, scalar: Scalar, text: str) -> bool:
        try:
            grammar.check(text)
        except Misread as misread:
            detail = f"{placed(text)} is not {grammar.words}. {misread.reason}"
            names = (amounts.NAME, amounts.NAME_PATTERN, amounts.VARIABLE, amounts.FLOW)
            slug = "bad-name" if grammar in names else "bad-value"
            if grammar is amounts.TARGET:
                slug = "bad-path"
            summary = {"bad-name": "A name is not allowed", "bad-path": "A path is not allowed"}.get(
                slug, "A value cannot be read"
            )
            self.diagnostics.append(error(slug, summary, detail, span=scalar.span, hint=misread.hint))
            return False
        return True

    def _surprising(self, scalar: Scalar, *, number: bool = False, secret: bool = False) -> bool:
        """Adds the complaint; True when the value must not be used."""
        said = surprise(scalar, number=number)
        if said is None:
            return False
        make = error if said.fatal else warning
        summary = "YAML reads this value as something else"
        detail, hint = said.detail, said.hint
        if secret:
            detail, hint = "YAML does not read this secret as the text that is written.", "put it in quotes"
        self.diagnostics.append(make("surprise-scalar", summary, detail, span=scalar.span, hint=hint))
        return said.fatal

    def _whole(self, kind: Whole, node: Node, key: Scalar | None) -> int | None:
        scalar = self._scalar(node, key, "a whole number")
        if scalar is None or self._surprising(scalar, number=True):
            return None
        if scalar.tag != "int" or not scalar.plain:
            self._wrong(node, key, "a whole number")
            return None
        # Checked on the text first: converting a number of a million digits takes minutes.
        if len(scalar.text) > 12 or not kind.minimum <= int(scalar.text) <= kind.maximum:
            detail = f"{placed(scalar.text)} is out of range: a whole number from {kind.minimum} to {kind.maximum} is needed."
            self.diagnostics.append(error("out-of-range", "A number is out of range", detail, span=scalar.span))
            return None
        return int(scalar.text)

    def _decimal(self, kind: Number, node: Node, key: Scalar | None, wanted: str) -> Decimal | None:
        scalar = self._scalar(node, key, wanted)
        if scalar is None or self._surprising(scalar, number=True):
            return None
        hint = f"write a number such as `{kind.example}`" if kind.example is not None else None
        if scalar.tag not in ("int", "float") or not scalar.plain:
            self._wrong(node, key, wanted, hint)
            return None
        fits = _PLAIN_NUMBER.fullmatch(scalar.text) is not None and Decimal(scalar.text) >= kind.minimum
        if not fits or (kind.above and Decimal(scalar.text) == kind.minimum):
            limit = f"above {kind.minimum}" if kind.above else f"of at least {kind.minimum}"
            detail = f"{placed(scalar.text)} is out of range: a plain number {limit} is needed."
            self.diagnostics.append(error("out-of-range", "A number is out of range", detail, span=scalar.span, hint=hint))
            return None
        return Decimal(scalar.text)

    def _flag(self, node: Node, key: Scalar | None) -> bool | None:
        if isinstance(node, Scalar) and node.tag == "bool" and node.plain:
            return node.text.lower() in ("true", "yes", "on")
        self._wrong(node, key, "true or false")
        return None

    def _choice(self, kind: Choice, node: Node, path: SpecPath, key: Scalar | None) -> str | None:
        allowed = ", ".join(f"`{value}`" for value in kind.values)
        scalar = self._scalar(node, key, f"one of {allowed}")
        if scalar is None:
            return None
        by_fold = {value.casefold(): value for value in kind.values}
        value = by_fold.get(scalar.text.casefold())
        if value is None:
            close = nearest(scalar.text, kind.values)
            only = f"write {allowed}, or remove the field" if len(kind.values) == 1 else None
            hint = f"did you mean `{close}`?" if close else only
            detail = f"{placed(scalar.text)} is not {'one of ' if only is None else ''}{allowed}."
            summary = "A value is not one of those allowed"
            self.diagnostics.append(error("unknown-value", summary, detail, span=scalar.span, hint=hint))
        elif value in kind.later:
            self._not_yet(scalar, scalar, path, "has this effect")
        return value

    def _variable(self, kind: Variable, node: Node, key: Scalar | None) -> str | Secret | None:
        scalar = self._scalar(node, key, "a text or a number")
        if scalar is None or self._surprising(scalar, secret=kind.secret):
            return None
        if not kind.secret:
            return scalar.text
        if scalar.text:
            detail = "The secret's value is written in the file, where everyone who can read the file can read it."
            hint = "leave the value out and pass it with `--secret NAME`"
            self.diagnostics.append(
                warning("secret-in-file", "A secret is written in the file", detail, span=key.span if key else None, hint=hint)
            )
        return Secret(scalar.text)

    # Collections

    def _list(self, kind: ListOf, node: Node, path: SpecPath, key: Scalar | None) -> tuple[Any, ...] | None:
        if not isinstance(node, Sequence):
            if not kind.single or isinstance(node, Mapping):
                self._wrong(node, key, expected(kind))
                return None
            value = self.read(kind.item, node, path, key)
            return None if value is None else (value,)
        values = (self.read(kind.item, item, path.child(index)) for index, item in enumerate(node.items))
        return tuple(value for value in values if value is not None)

    def _map(self, kind: MapOf, node: Node, path: SpecPath, key: Scalar | None) -> FrozenMap[Any] | None:
        if not isinstance(node, Mapping):
            self._wrong(node, key, expected(kind))
            return None
        values: dict[str, Any] = {}
        for name, item in node.entries:
            if self._surprising(name) or (kind.key is not None and not self._agrees(kind.key, name, name.text)):
                continue
            if kind.named:
                self.spans[path.child(name.text)] = name.span
                if isinstance(item, Scalar) and item.is_null:
                    detail = f"{placed(name.text)} has no value: {expected(kind.value)} is needed."
                    hint = f"write `{placed(name.text)[1:-1]}: …`, or remove it"
                    self.diagnostics.append(error("missing-value", "A value is missing", detail, span=name.span, hint=hint))
                    continue
            values[name.text] = self.read(kind.value, item, path.child(name.text), name)
        if isinstance(kind.value, Variable | Anything):
            return FrozenMap(values)
        return FrozenMap({name: value for name, value in values.items() if value is not None})

    def _record(self, kind: Record, node: Node, path: SpecPath, key: Scalar | None) -> Any:
        if not isinstance(node, Mapping):
            self._wrong(node, key, f"a mapping with fields such as `{kind.fields[0].name}`")
            return None
        table = {row.name: row for row in kind.fields}
        names = set(node.keys())
        given: dict[str, Any] = {}
        later: dict[str, Any] = {}
        cleared: list[str] = []
        attributes = {attribute.name for attribute in fields(kind.build)} if kind.build is not None else set()
        for name, item in node.entries:
            row = table.get(name.text)
            if row is None:
                self._unknown(kind, name)
                continue
            if row.alias in names:
                detail = f"`{row.name}` is another name for `{row.alias}`, and both are given."
                self.diagnostics.append(error("conflicting-fields", "Two fields contradict", detail, span=name.span))
                continue
            value = self.read(row.kind, item, path.child(row.attribute), name)
            if isinstance(item, Scalar) and item.is_null:
                cleared.append(row.attribute)
            elif row.later is not None:
                self._not_yet(name, item, path, row.later)
                # A field whose value the record has room for is kept there: others may show it before they act on it.
                (given if row.attribute in attributes else later)[row.attribute] = value
            elif value is not None:
                given[row.attribute] = value
        if kind.build is None:
            return FrozenMap({**given, **later})
        extra: dict[str, Any] = {}
        if "later" in attributes:
            extra["later"] = FrozenMap(later)
        if "cleared" in attributes:
            extra["cleared"] = tuple(sorted(cleared))
        if "name" in attributes and "name" not in table:
            extra["name"] = key.text if key is not None else ""
        return kind.build(origin=path, **given, **extra)

    def _entries(self, kind: Entries, node: Node, path: SpecPath, key: Scalar | None) -> tuple[Any, ...] | None:
        if not isinstance(node, Mapping):
            self._wrong(node, key, f"a mapping from {kind.key.words} to its fields")
            return None
        values: list[Any] = []
        for name, item in node.entries:
            if self._surprising(name) or not self._agrees(kind.key, name, name.text):
                continue
            place = path.child(name.text)
            if kind.text_field is None or kind.record_field is None:
                empty = isinstance(item, Scalar) and item.is_null
                record = self.read(kind.record, Mapping(item.span) if empty else item, place, name)
                if record is not None:
                    values.append(replace(record, **{kind.key_field: name.text}))
                continue
            value = self.read(OneOf((Text(), kind.record)), item, place, name)
            if isinstance(item, Scalar) and (item.is_null or not item.text):
                detail = f"Nothing says what {placed(name.text)} holds."
                self.diagnostics.append(error("missing-value", "A value is missing", detail, span=name.span))
            elif value is not None:
                attribute = kind.text_field if isinstance(value, str) else kind.record_field
                values.append(kind.build(origin=place, **{kind.key_field: name.text, attribute: value}))
        return tuple(values)

    def _accelerators(self, node: Node, path: SpecPath, key: Scalar | None) -> AcceleratorsSpec | None:
        items: list[str] = []
        pairs: list[tuple[Scalar, Scalar | None]] = []
        # `H100:8` in braces is, to YAML, a key without a value; so is a member of a set.
        ordered = isinstance(node, Sequence)
        match node:
            case Scalar():
                if node.is_null:
                    return None
                pairs.append((node, None))
            case Sequence():
                pairs += [(item, None) for item in node.items if isinstance(item, Scalar)]
                for item in node.items:
                    if not isinstance(item, Scalar):
                        self._wrong(item, None, amounts.ACCELERATOR.words)
            case Mapping():
                for name, count in node.entries:
                    if not isinstance(count, Scalar):
                        self._wrong(count, name, "a count such as `8`")
                        continue
                    self.spans[path.child(name.text)] = name.span
                    pairs.append((name, None if count.is_null else count))
            case _:
                assert_never(node)
        for name, number in pairs:
            if self._surprising(name) or (number is not None and self._surprising(number, number=True)):
                continue
            text = name.text if number is None else f"{name.text}:{number.text}"
            if self._agrees(amounts.ACCELERATOR, name if number is None else number, text):
                items.append(text)
        return AcceleratorsSpec(origin=path, items=tuple(items), ordered=ordered) if items else None

    def _anything(self, node: Node) -> Any:
        match node:
            case Scalar():
                if node.is_null:
                    return None
                if node.tag == "bool" and node.plain:
                    return node.text.lower() in ("true", "yes", "on")
                if node.plain and node.tag in ("int", "float") and _PLAIN_NUMBER.fullmatch(node.text):
                    return int(node.text) if node.tag == "int" else Decimal(node.text)
                return node.text
            case Sequence():
                return tuple(self._anything(item) for item in node.items)
            case Mapping():
                return FrozenMap({name.text: self._anything(item) for name, item in node.entries})
            case _:
                assert_never(node)

    def _one_of(self, kind: OneOf, node: Node, path: SpecPath, key: Scalar | None) -> Any:
        shape = "scalar" if isinstance(node, Scalar) else "list" if isinstance(node, Sequence) else "mapping"
        for option in kind.kinds:
            if shape in shapes(option):
                return self.read(option, node, path, key)
        self._wrong(node, key, expected(kind))
        return None

    # Complaints

    def _wrong(self, node: Node, key: Scalar | None, wanted: str, hint: str | None = None) -> None:
        if isinstance(node, Scalar) and not node.plain and _PLAIN_NUMBER.fullmatch(node.text) and "number" in wanted:
            hint = "remove the quotes"
        subject = f"`{key.text}` needs {wanted}" if key is not None else f"Here {wanted} is needed"
        detail = f"{subject}; this is {found(node)}."
        self.diagnostics.append(error("wrong-type", "A value has the wrong type", detail, span=_place(node, key), hint=hint))

    def _unknown(self, kind: Record, name: Scalar) -> None:
        known = {row.name: row for row in kind.fields if not row.name.startswith("_")}
        close = nearest(name.text, known)
        meant = self.meant.get(name.text.lower())
        home = self.homes.get(name.text)
        hint: str | None = None
        if home is not None and home != kind.name and kind.name in _LEVELS:
            hint = f"`{name.text}` belongs " + ("at the top" if home == "task" else f"under `{home}`")
        elif close is not None:
            hint = f"did you mean `{close}`?"
        elif meant is not None and meant in known:
            hint = f"did you mean `{meant}`?"
        elif meant is not None and meant in self.homes and kind.name in _LEVELS:
            hint = f"did you mean `{meant}`, under `{self.homes[meant]}`?"
        where = "A task" if kind.name == "task" else "The head of a file" if kind.name == "header" else f"`{kind.name}`"
        detail = f"{where} has no field {placed(name.text)}."
        make = warning if kind.open else error
        self.diagnostics.append(make("unknown-field", "A field is not known", detail, span=name.span, hint=hint))

    def _not_yet(self, key: Scalar | None, node: Node, path: SpecPath, effect: str) -> None:
        subject = placed(key.text) if key is not None else "This"
        detail = f"{subject} was read and checked, but no part of skyc {effect} yet. It has no effect."
        span = key.span if key is not None else _place(node, None)
        self.diagnostics.append(warning("not-yet-supported", "A field is not supported yet", detail, span=span))


def homes(*records: tuple[str, tuple[Field, ...]]) -> dict[str, str]:
    """Field name → home, for the names that have only one."""
    found_in: dict[str, set[str]] = {}
    for home, rows in records:
        for row in rows:
            if not row.name.startswith("_"):
                found_in.setdefault(row.name, set()).add(home)
    return {name: next(iter(places)) for name, places in found_in.items() if len(places) == 1}


def _place(node: Node, key: Scalar | None) -> Span:
    """The value where it stands on one line, else its key: a caret under a whole script says nothing."""
    one_line = node.span.line == node.span.end_line and node.span.end_column > node.span.column
    if key is not None and not (one_line and not (isinstance(node, Scalar) and node.block)):
        return key.span
    return node.span
