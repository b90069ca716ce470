"""Reading a target's `drift.yaml`: what a change outside skyc means, by type and attribute.

    "*":                        # for every type
      benign: arn tags          # names that are no attribute of a type are passed over
      mirrors: {tags_all: tags}
    aws_instance:
      gone: broken              # the class of one that is not there any more
      extra: cost               # the class of one that is in no state
      security: a b.c           # paths by class; one stands for all below it that has no line of its own
      broken: d
      cost: e
      benign: f
      rest: security            # of everything else; without it every attribute must have a line
      why: {b.c: half a sentence, (gone): …, (extra): …}
      fields: {size: instance_type}     # which field of a task's resources says it
      rates: {size: machine}            # what the catalog prices it by
      repairs: {d: makes it anew}       # where a repair does more than to set a value back
      filled: {e: aws_route}            # a list into which resources of that type put elements, or what one of them gives
      settles: g                        # what the cloud says only when something of ours uses the resource

Invariant: a word, class or path nobody knows is an error. That every attribute of the emitted types has a line is tested against the
providers' schemas, so a new version of a provider cannot bring one that nobody thought about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.ir import DriftClass, DriftTable, FrozenMap, RateKind, TypeDrift
from ..compiler.ir.drift import EXTRA, WHOLE

if TYPE_CHECKING:
    from .tfplugin.schema import Block

FILE = "drift.yaml"
EVERY_TYPE = "*"
_CLASSES = {item.value: item for item in DriftClass if item is not DriftClass.UNCLASSIFIED}
_WORDS = frozenset({*_CLASSES, "gone", "extra", "rest", "why", "fields", "rates", "mirrors", "repairs", "filled", "settles"})


class DriftTableError(Exception):
    """A table of ours is wrong: a defect, not the user's mistake."""


@cache
def table_of(folder: Path, schema: str | None) -> DriftTable:
    """The table in a target's folder. schema: name of the shipped schema of its types, where there is one. Raises DriftTableError."""
    import yaml

    from .schemas.load import load_schema

    document = yaml.load((folder / FILE).read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    shared = document.pop(EVERY_TYPE, None) or {}
    known = load_schema(schema).types if schema is not None else {}
    bodies = [known[name].body for name in document if name in known]
    for path, _ in _paths(EVERY_TYPE, shared):
        if bodies and not any(_there(body, path) for body in bodies):
            raise DriftTableError(f"every type: no type has {path}")
    return DriftTable(
        types=FrozenMap(
            {name: _type(name, words, shared, known[name].body if name in known else None) for name, words in document.items()}
        )
    )


def _type(name: str, words: Mapping[str, Any], shared: Mapping[str, Any], body: Block | None) -> TypeDrift:
    strange = sorted((words.keys() | shared.keys()) - _WORDS)
    if strange:
        raise DriftTableError(f"{name}: {', '.join(strange)} is no word of a drift table")
    own = dict(_paths(name, words))
    named = [name for word in ("why", "fields", "rates", "repairs", "filled") for name in words.get(word) or {}]
    for path in (*own, *named, *str(words.get("settles") or "").split()):
        if body is not None and path not in (WHOLE, EXTRA) and not _there(body, path):
            raise DriftTableError(f"{name}: there is no {path}")
    classes = {**dict(_paths(name, shared)), **own}
    top = body.attributes if body is not None else {}
    return TypeDrift(
        name=name,
        gone=_class(name, words["gone"]),
        extra=_class(name, words["extra"]),
        classes=FrozenMap(classes),
        rest=_class(name, words["rest"]) if "rest" in words else None,
        why=FrozenMap({**(shared.get("why") or {}), **(words.get("why") or {})}),
        fields=FrozenMap(words.get("fields") or {}),
        rates=FrozenMap({path: RateKind(kind) for path, kind in (words.get("rates") or {}).items()}),
        mirrors=FrozenMap({**(shared.get("mirrors") or {}), **(words.get("mirrors") or {})}),
        repairs=FrozenMap(words.get("repairs") or {}),
        filled=FrozenMap(words.get("filled") or {}),
        settles=frozenset(str(words.get("settles") or "").split()),
        facts=frozenset(item for item, said in top.items() if not said.required and not said.optional),
        chosen=frozenset(item for item, said in top.items() if said.optional and said.computed and item != "id"),
    )


def _paths(name: str, words: Mapping[str, Any]) -> Iterator[tuple[str, DriftClass]]:
    seen: set[str] = set()
    for class_ in _CLASSES:
        for path in str(words.get(class_) or "").split():
            if path in seen:
                raise DriftTableError(f"{name}: {path} has two classes")
            seen.add(path)
            yield path, _CLASSES[class_]


def _class(name: str, word: str) -> DriftClass:
    if word not in _CLASSES:
        raise DriftTableError(f"{name}: {word} is no class of drift")
    return _CLASSES[word]


def _there(body: Block, path: str) -> bool:
    first, _, rest = path.partition(".")
    if first in body.attributes:
        # What is in a map, or in an attribute of objects, has no names in a schema that could be compared.
        return True
    return first in body.blocks and (not rest or _there(body.blocks[first], rest))
