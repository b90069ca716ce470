"""Every field of a task file by its path, from the field table: `resources.disk_size`, `storage.NAME.size_gb`, `header.execution`.

A name the user chooses is `NAME`, a path `PATH`. Fields of SkyPilot's own, which no editor proposes, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .parse.fields import HEADER, TASK
from .parse.kinds import Entries, Field, Kind, ListOf, OneOf, Record

KEYS = {"mount": "PATH"}
"""Records whose key is no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPath:
    """`later`: what it will do once it does something; None for a field that does. `doc`: the field table's sentence."""

    path: str
    doc: str
    later: str | None = None


def field_paths() -> tuple[FieldPath, ...]:
    """All leaves: a field that holds fields is told by those. In the order of the table, the header's last."""
    return (*_record(TASK, "", None), *_record(HEADER, "header.", None))


def canonical(path: str) -> str:
    """The path whose answer this one shares: machines are described in several places, and some fields have two names."""
    path = re.sub(r"^groups\.NAME\.resources\.", "resources.", path)
    path = re.sub(r"^resources\.(any_of|ordered)\.", "resources.", path)
    if path.startswith("file_mounts.PATH.") and path != "file_mounts.PATH.name":
        path = path.replace("file_mounts.PATH.", "storage.NAME.")
    return "resources.accelerators" if path == "resources.gpus" else path


def written(path: str) -> str:
    """A path as people write it, as one of the table's: without positions, and with `NAME` for what they chose."""
    plain = re.sub(r"\[\d+\]", "", path.strip()).removeprefix("tasks.")
    known = {entry.path for entry in field_paths()}
    if plain in known:
        return plain
    words = plain.split(".")
    for entry in known:
        parts = entry.split(".")
        if len(parts) == len(words) and all(a in (b, "NAME", "PATH") for a, b in zip(parts, words, strict=True)):
            return entry
    return plain


def _record(record: Record, above: str, later: str | None) -> Iterator[FieldPath]:
    for field in record.fields:
        if not field.name.startswith("_"):
            yield from _field(field, f"{above}{field.name}", later)


def _field(field: Field, path: str, later: str | None) -> Iterator[FieldPath]:
    inner = tuple(_inside(field.kind, path, later or field.later))
    if not inner or isinstance(field.kind, OneOf) or (isinstance(field.kind, Entries) and field.kind.text_field):
        yield FieldPath(path=path, doc=field.doc, later=later or field.later)
    yield from inner


def _inside(kind: Kind, path: str, later: str | None) -> Iterator[FieldPath]:
    match kind:
        case Record():
            yield from _record(kind, f"{path}.", later)
        case Entries():
            yield from _record(kind.record, f"{path}.{KEYS.get(kind.record.name, 'NAME')}.", later)
        case ListOf(item=Record() as item):
            yield from _record(item, f"{path}.", later)
        case OneOf(kinds=kinds):
            for option in kinds:
                yield from _inside(option, path, later)
        case _:
            return
