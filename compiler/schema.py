"""The JSON Schema of a task file, for editors, printed from the field table. Draft 2020-12.

It describes one document. It accepts whatever the parser accepts without an error; what JSON Schema cannot say (a name used twice, a
missing directory, a truth value where text was meant) only the parser reports.
"""

from __future__ import annotations

from typing import assert_never

from .ir import JsonObject
from .parse.fields import CHECKPOINT, HEADER, RESOURCES, TASK
from .parse.kinds import (
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
from .policy.fields import POLICY

__all__ = ["json_schema", "policy_schema"]

_NAMED = {RESOURCES.name: RESOURCES, CHECKPOINT.name: CHECKPOINT, HEADER.name: HEADER}


def json_schema() -> JsonObject:
    """A fresh schema object: a task, or the header of a file with several documents."""
    definitions = {name: _record(record) for name, record in sorted(_NAMED.items())}
    definitions["task"] = _record(TASK)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://skyc.dev/schema/task.json",
        "title": "skyc task",
        "description": "A compute job for skyc. A superset of SkyPilot's task YAML.",
        "anyOf": [{"$ref": "#/$defs/task"}, {"$ref": "#/$defs/header"}],
        "$defs": definitions,
    }


def policy_schema() -> JsonObject:
    """A fresh schema object of a policy file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://skyc.dev/schema/policy.json",
        "title": "skyc policy",
        "description": "Rules that plans must meet.",
        **_record(POLICY),
        "required": ["rules"],
    }


def _schema(kind: Kind) -> JsonObject:
    match kind:
        case Text(grammar=grammar, numbers=numbers):
            text: JsonObject = {"type": "string"}
            if grammar is not None and grammar.pattern is not None:
                text["pattern"] = grammar.pattern
            # An unquoted number is text to the parser wherever that changes nothing, as it is for SkyPilot.
            return {"anyOf": [{"type": "number"}, text]} if numbers else {**text, "type": ["string", "number", "boolean"]}
        case Whole(minimum=minimum, maximum=maximum):
            return {"type": "integer", "minimum": minimum, "maximum": maximum}
        case Money():
            return {"type": "number", "minimum": 0}
        case Number(minimum=minimum, above=above):
            return {"type": "number", "exclusiveMinimum" if above else "minimum": minimum}
        case Flag():
            return {"type": "boolean"}
        case Choice(values=values):
            pattern = "|".join("".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in value) for value in values)
            return {"type": "string", "pattern": f"^({pattern})$", "examples": list(values)}
        case ListOf(item=item, single=single):
            whole: JsonObject = {"type": "array", "items": _nullable(_schema(item))}
            return {"anyOf": [_schema(item), whole]} if single else whole
        case MapOf(value=value, key=key, named=named):
            held = _schema(value) if named else _nullable(_schema(value))
            mapping: JsonObject = {"type": "object", "additionalProperties": held}
            if key is not None and key.pattern is not None:
                mapping["propertyNames"] = {"pattern": key.pattern}
            return mapping
        case Variable():
            return {"type": ["string", "number", "boolean", "null"]}
        case Record():
            return {"$ref": f"#/$defs/{kind.name}"} if _NAMED.get(kind.name) is kind else _record(kind)
        case Entries():
            return _entries(kind)
        case Accelerators():
            count: JsonObject = {"type": ["number", "null"]}
            one: JsonObject = {"type": "string"}
            return {"anyOf": [one, {"type": "array", "items": one}, {"type": "object", "additionalProperties": count}]}
        case Anything():
            return {}
        case OneOf(kinds=kinds):
            return {"anyOf": [_schema(option) for option in kinds]}
        case Later(kind=inner):
            return _schema(inner)
        case _:
            assert_never(kind)


def _nullable(schema: JsonObject) -> JsonObject:
    """A field without a value is an absent field."""
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}


def _record(record: Record) -> JsonObject:
    properties: JsonObject = {}
    for row in record.fields:
        # An internal field is accepted, but no editor should propose it.
        if row.name.startswith("_"):
            continue
        properties[row.name] = {
            **_nullable(_schema(row.kind)),
            "description": row.doc + (" Not supported yet." if row.later is not None else ""),
        }
    schema: JsonObject = {"type": "object", "properties": properties}
    if not record.open:
        schema["additionalProperties"] = False
    if any(row.name.startswith("_") for row in record.fields):
        names = "|".join(row.name for row in record.fields if row.name.startswith("_"))
        schema["patternProperties"] = {f"^({names})$": {}}
    return schema


def _entries(kind: Entries) -> JsonObject:
    value = _record(kind.record)
    options: list[JsonObject] = [value]
    if kind.text_field is not None:
        options.append({"type": "string"})
    else:
        options.append({"type": "null"})
    schema: JsonObject = {"type": "object", "additionalProperties": {"anyOf": options}}
    if kind.key.pattern is not None:
        schema["propertyNames"] = {"pattern": kind.key.pattern}
    return schema
