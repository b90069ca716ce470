"""What a field can hold, as values. The reader, the JSON Schema and "did you mean" all work from these.

`Kind` is a closed union: the reader and the schema each `match` over it, so mypy reports a kind that one of them forgot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from .amounts import Grammar


@dataclass(frozen=True, slots=True)
class Text:
    """A text. `numbers`: a bare YAML number is fine too and is kept as it is written."""

    grammar: Grammar | None = None
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    minimum: int = 0
    maximum: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Money:
    """US dollars, as a Decimal."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number not below `minimum`, as a Decimal. `above`: `minimum` itself is too small. `example`: what a hint proposes."""

    minimum: int = 0
    above: bool = False
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words. Case does not count. `later`: those of them that are not supported yet."""

    values: tuple[str, ...]
    later: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListOf:
    """`single`: one bare item counts as a list of one."""

    item: Kind
    single: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with the user's own keys. `named`: a key without a value is a mistake, and what is later wrong with an entry is
    wrong with its key, so the entry's place is the key's."""

    value: Kind
    key: Grammar | None = None
    named: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of an environment variable: a text or number, or nothing when it comes from elsewhere."""

    secret: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known fields. `build`: the dataclass it becomes (None: a FrozenMap). `open`: other fields are let through
    with a warning, because the whole is not read yet."""

    name: str
    fields: tuple[Field, ...]
    build: type[Any] | None = None
    open: bool = False


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping from names to records, kept in file order; the name becomes the attribute `key_field`. `text_field`: a bare
    text instead of the record fills this attribute, and a record fills `record_field`."""

    record: Record
    build: type[Any]
    key_field: str
    key: Grammar
    text_field: str | None = None
    record_field: str | None = None


@dataclass(frozen=True, slots=True)
class Accelerators:
    """`H100:8`, a mapping from name to count, a list (in order), or a set (any)."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any YAML value."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The first kind whose shape (scalar, list, mapping) fits."""

    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Later:
    """A way of writing a field that is not supported yet, while others are."""

    kind: Kind


Kind: TypeAlias = Union[  # noqa: UP007
    Text, Whole, Money, Number, Flag, Choice, ListOf, MapOf, Variable, Record, Entries, Accelerators, Anything, OneOf, Later
]


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the field table.

    later: None, or what the field will do once supported; it is then checked, kept in the record's `later` and warned
    about once.
    alias: the field this is another name for. attribute: the record's attribute, where it is not the field's name.
    """

    name: str
    kind: Kind
    doc: str
    later: str | None = None
    alias: str | None = None

    @property
    def attribute(self) -> str:
        return self.alias or self.name
