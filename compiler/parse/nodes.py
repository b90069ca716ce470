"""From YAML text to nodes that know their place, without deciding what a scalar means.

Contract: `compose(source)` returns one node per document (None for an empty one) or stops with the diagnostics that say why.
It never raises for any text. Differences from `yaml.compose`, each for a reason:

- equal keys in one mapping are reported instead of the last one winning;
- depth and the number of nodes after alias expansion are bounded, so a small file cannot become a large one;
- an alias to a node that is still open is refused, so every node is a finite tree;
- merge keys (`<<`) are resolved here, since everything after this sees mappings only.

The pure Python scanner of PyYAML is used on purpose: its marks are exact and its messages do not depend on whether libyaml was
there when PyYAML was built: libyaml ends a mapping elsewhere when the file does not end with a line end. A file of 60 lines takes about
two milliseconds, one of a thousand documents a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml
from yaml.resolver import Resolver

from ..diagnostics import Diagnostic, SourceFile, Span, error
from .syntax import control_character_error, syntax_error

DEPTH_LIMIT = 40
NODE_LIMIT = 20_000

_TAG_PREFIX = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"str", "int", "float", "bool", "null", "timestamp", "merge", "value"})
_CORE_TAGS = _SCALAR_TAGS | {"seq", "map", "set", "omap", "pairs", "binary"}


@dataclass(slots=True)
class Scalar:
    """`tag` is YAML 1.1's reading of the text (`str`, `bool`, …); `plain`: written without quotes; `block`: `|` or `>`."""

    text: str
    tag: str
    span: Span
    plain: bool = True
    block: bool = False
    weight: int = 1

    @property
    def is_null(self) -> bool:
        return self.tag == "null"


@dataclass(slots=True)
class Sequence:
    span: Span
    items: list[Node] = field(default_factory=list)
    flow: bool = False
    weight: int = 1
    open: bool = True


@dataclass(slots=True)
class Mapping:
    span: Span
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    flow: bool = False
    weight: int = 1
    open: bool = True

    def keys(self) -> tuple[str, ...]:
        return tuple(key.text for key, _ in self.entries)


Node: TypeAlias = Scalar | Sequence | Mapping


class _Stop(Exception):
    """Nothing sensible can be read from here on."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.slug)
        self.diagnostic = diagnostic


def compose(source: SourceFile) -> tuple[tuple[Node | None, ...] | None, tuple[Diagnostic, ...]]:
    """The documents of a file. None instead of documents when it cannot be read as YAML at all."""
    control = control_character_error(source)
    if control is not None:
        return None, (control,)
    composer = _Composer(source)
    try:
        documents = tuple(composer.documents())
    except yaml.YAMLError as failure:
        return None, (*composer.diagnostics, syntax_error(failure, source))
    except _Stop as stop:
        return None, (*composer.diagnostics, stop.diagnostic)
    return documents, tuple(composer.diagnostics)


class _Composer:
    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self._events: Iterator[yaml.Event] = yaml.parse(source.text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, Node] = {}
        self._resolver = Resolver()
        self._made = 0

    def documents(self) -> Iterator[Node | None]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                node = self._node(next(self._events), 0)
                yield None if isinstance(node, Scalar) and node.is_null else node

    def _span(self, event: yaml.Event) -> Span:
        start, end = event.start_mark, event.end_mark
        assert start is not None and end is not None, "a parsed event has marks"
        return Span(
            file=self.source.path,
            line=start.line + 1,
            column=start.column + 1,
            end_line=end.line + 1,
            end_column=end.column + 1,
        )

    def _node(self, event: yaml.Event, depth: int) -> Node:
        span = self._span(event)
        self._made += 1
        if self._made > NODE_LIMIT:
            raise _Stop(_too_many(span))
        if depth > DEPTH_LIMIT:
            detail = f"Values are nested more than {DEPTH_LIMIT} levels deep. No field of a task needs that."
            raise _Stop(error("too-deep", "The file is nested too deeply", detail, span=span))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, span)
        if isinstance(event, yaml.ScalarEvent):
            scalar = self._scalar(event, span)
            self._anchor(event, scalar)
            return scalar
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, span, depth)
        assert isinstance(event, yaml.MappingStartEvent)
        return self._mapping(event, span, depth)

    def _anchor(self, event: yaml.NodeEvent, node: Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _alias(self, event: yaml.AliasEvent, span: Span) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            # Not quoted: a password may begin with `*`.
            detail = "Text that begins with `*` points at an anchor, and no such anchor stands before it in this document."
            raise _Stop(
                error("unknown-alias", "An alias has no anchor", detail, span=span, hint="quote the text if it is no alias")
            )
        if not isinstance(node, Scalar) and node.open:
            detail = f"`*{event.anchor}` stands inside the very value it names, so the value would never end."
            raise _Stop(error("recursive-alias", "An alias contains itself", detail, span=span))
        # Counted as if written out: ten aliases of ten aliases of … are how a small file becomes a large one.
        self._made += node.weight
        if self._made > NODE_LIMIT:
            raise _Stop(_too_many(span))
        return node

    def _tag(self, tag: str | None, span: Span, default: str) -> str:
        if tag is None or tag == "!":
            return default
        short = tag.removeprefix(_TAG_PREFIX)
        if short == tag or short not in _CORE_TAGS:
            # Not quoted: a password may begin with `!`.
            detail = "Text that begins with `!` is a tag, and this one asks for a value that is not plain data."
            self.diagnostics.append(
                error(
                    "unknown-tag",
                    "A YAML tag is not allowed here",
                    detail,
                    span=span,
                    hint="remove the tag, or quote the text if it is none",
                )
            )
            return default
        return short

    def _scalar(self, event: yaml.ScalarEvent, span: Span) -> Scalar:
        plain = event.style is None
        if event.tag is None and event.implicit[0]:
            resolved = self._resolver.resolve(yaml.ScalarNode, event.value, (True, False))  # type: ignore[no-untyped-call]
            tag = str(resolved).removeprefix(_TAG_PREFIX)
        else:
            tag = self._tag(event.tag, span, "str")
            if tag not in _SCALAR_TAGS:
                tag = "str"
        if "\0" in event.value:
            detail = "The text holds a NUL character (`\\0`). No program, path or name can take one."
            self.diagnostics.append(error("nul-character", "A text holds a NUL character", detail, span=span))
        elif any("\ud800" <= char <= "\udfff" for char in event.value):
            detail = "The text holds half of a surrogate pair, which is no character and cannot be written as UTF-8."
            self.diagnostics.append(error("bad-character", "A text holds an invalid character", detail, span=span))
        return Scalar(event.value, tag, span, plain=plain, block=event.style in ("|", ">"))

    def _sequence(self, event: yaml.SequenceStartEvent, span: Span, depth: int) -> Sequence:
        self._tag(event.tag, span, "seq")
        node = Sequence(span, flow=bool(event.flow_style))
        self._anchor(event, node)
        for inner in self._events:
            if isinstance(inner, yaml.SequenceEndEvent):
                node.span = _through(span, self._span(inner))
                break
            node.items.append(self._node(inner, depth + 1))
        node.weight = 1 + sum(item.weight for item in node.items)
        node.open = False
        return node

    def _mapping(self, event: yaml.MappingStartEvent, span: Span, depth: int) -> Mapping:
        self._tag(event.tag, span, "map")
        node = Mapping(span, flow=bool(event.flow_style))
        self._anchor(event, node)
        merged: list[tuple[Scalar, Node]] = []
        seen: dict[str, Scalar] = {}
        for inner in self._events:
            if isinstance(inner, yaml.MappingEndEvent):
                node.span = _through(span, self._span(inner))
                break
            key = self._node(inner, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                detail = "A list or a mapping stands where a field name is expected."
                hint = "quote text that begins with `[`, `{` or `?`"
                self.diagnostics.append(error("bad-key", "A field name is not text", detail, span=key.span, hint=hint))
            elif key.tag == "merge" and key.plain:
                merged += self._merge(value)
            elif key.text in seen:
                first = seen[key.text].span.line
                detail = f"`{key.text}` already stands on line {first}. YAML would silently keep only the last one."
                hint = "remove one of the two"
                self.diagnostics.append(error("duplicate-key", "A key is written twice", detail, span=key.span, hint=hint))
            else:
                seen[key.text] = key
                node.entries.append((key, value))
        for key, value in merged:
            if key.text not in seen:
                seen[key.text] = key
                node.entries.append((key, value))
        node.weight = 1 + sum(key.weight + value.weight for key, value in node.entries)
        node.open = False
        return node

    def _merge(self, value: Node) -> list[tuple[Scalar, Node]]:
        parts = value.items if isinstance(value, Sequence) else [value]
        entries: list[tuple[Scalar, Node]] = []
        for part in parts:
            if isinstance(part, Mapping):
                entries += part.entries
            else:
                detail = "`<<` merges the fields of another mapping into this one, so it needs a mapping or a list of mappings."
                self.diagnostics.append(error("bad-merge", "A merge key has nothing to merge", detail, span=part.span))
        return entries


def _through(start: Span, end: Span) -> Span:
    return Span(file=start.file, line=start.line, column=start.column, end_line=end.end_line, end_column=end.end_column)


def _too_many(span: Span) -> Diagnostic:
    detail = (
        f"With its aliases written out the file holds more than {NODE_LIMIT} values. "
        "That is never a task; it is how a small file exhausts memory."
    )
    return error("too-many-values", "The file holds too many values", detail, span=span)
