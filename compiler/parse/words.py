"""How values are called in messages, and when YAML's reading of a plain scalar would surprise its writer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import assert_never

from .kinds import (
    Accelerators,
    Anything,
    Choice,
    Entries,
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
from .nodes import Node, Scalar, Sequence

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Surprise:
    """`fatal`: what the writer meant cannot be known. Otherwise the text is taken as written."""

    detail: str
    hint: str
    fatal: bool = True


def surprise(scalar: Scalar, *, number: bool = False) -> Surprise | None:
    """Whether a plain scalar means something else to YAML than it looks like, where a text (or a number) is wanted."""
    text = scalar.text
    if not scalar.plain or scalar.tag in ("str", "null", "merge", "value"):
        return None
    shown = placed(text)
    quoted = f'put it in quotes: "{text}"' if len(text) <= _SHOWN else "put it in quotes"
    if ":" in text and scalar.tag in ("int", "float"):
        hint = "write the number out" if number else quoted
        return Surprise(f"YAML reads {shown} in base 60, as {_sexagesimal(text)}.", hint)
    if scalar.tag == "int" and re.fullmatch(r"[+-]?0[0-7_]+", text):
        hint = "remove the leading zero" if number else quoted
        return Surprise(f"YAML reads {shown} as an octal number.", hint)
    if scalar.tag == "int" and re.match(r"[+-]?0[xb]", text):
        return Surprise(f"YAML reads {shown} as a hexadecimal or binary number.", "write it in digits" if number else quoted)
    if "_" in text and scalar.tag in ("int", "float"):
        return Surprise(f"YAML reads {shown} as a number and drops the `_`.", "remove the `_`" if number else quoted)
    if number:
        return None
    if scalar.tag == "timestamp":
        return Surprise(f"YAML reads {shown} as a date, not as text.", quoted)
    if scalar.tag == "bool":
        plain = text.lower() in ("true", "false")
        consequence = (
            "Here the text is taken as it is written." if plain else "Whether the word or the truth value is meant is open."
        )
        return Surprise(f"YAML reads {shown} as a truth value, not as text. {consequence}", quoted, fatal=not plain)
    if scalar.tag == "float" and not _survives(text):
        return Surprise(f"YAML reads {shown} as the number {_as_float(text)}, which is another text.", quoted)
    if scalar.tag == "int" and text.startswith("+"):
        return Surprise(f"YAML reads {shown} as a number and drops the sign.", quoted)
    return None


def _survives(text: str) -> bool:
    return len(text) <= 20 and text == _as_float(text)


def _as_float(text: str) -> str:
    try:
        return str(float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")))
    except ValueError:
        return "something else"


def _sexagesimal(text: str) -> str:
    total = Decimal(0)
    sign = -1 if text.startswith("-") else 1
    try:
        for part in text.lstrip("+-").replace("_", "").split(":")[:12]:
            total = total * 60 + Decimal(part)
    except InvalidOperation:
        return "a number"
    return str(sign * total)[:40]


def placed(text: str) -> str:
    """The user's text inside a sentence: quoted, on one line, of bounded length."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return f"`{clean}`" if len(clean) <= _SHOWN else f"`{clean[:_SHOWN]}…`"


def found(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, Scalar):
        if not node.plain or node.tag in ("str", "merge", "value"):
            return "text"
        words = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "null": "nothing",
            "timestamp": "a date",
        }
        return words[node.tag]
    return "a list" if isinstance(node, Sequence) else "a mapping"


def expected(kind: Kind) -> str:
    """What a kind wants, in words."""
    match kind:
        case Text(grammar=grammar):
            return grammar.words if grammar else "text"
        case Whole():
            return "a whole number"
        case Money() | Number():
            return "a number"
        case Flag():
            return "true or false"
        case Choice(values=values):
            return "one of " + ", ".join(f"`{value}`" for value in values)
        case ListOf():
            return "a list"
        case MapOf(value=value, key=key, named=True) if key is not None:
            return f"a mapping from {key.words} to {expected(value)}"
        case MapOf() | Record() | Entries():
            return "a mapping"
        case Variable():
            return "text"
        case Accelerators():
            return "an accelerator such as `H100:8`"
        case Anything():
            return "a value"
        case OneOf(kinds=kinds):
            return " or ".join(dict.fromkeys(expected(option) for option in kinds))
        case Later(kind=inner):
            return expected(inner)
        case _:
            assert_never(kind)


def shapes(kind: Kind) -> frozenset[str]:
    """Which of scalar, list and mapping a kind can be written as."""
    match kind:
        case Text() | Whole() | Money() | Number() | Flag() | Choice() | Variable():
            return frozenset({"scalar"})
        case ListOf(single=single):
            return frozenset({"list", "scalar"}) if single else frozenset({"list"})
        case MapOf() | Record() | Entries():
            return frozenset({"mapping"})
        case Accelerators() | Anything():
            return frozenset({"scalar", "list", "mapping"})
        case OneOf(kinds=kinds):
            return frozenset().union(*(shapes(option) for option in kinds))
        case Later(kind=inner):
            return shapes(inner)
        case _:
            assert_never(kind)
