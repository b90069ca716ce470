"""Rules between fields, evaluated. What is not known yet breaks no rule about its value, and counts as set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..tfplugin.schema import Block
from .model import Rule, RuleKind, TypeSchema


def broken_rules(type_: TypeSchema, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and sentence of each rule the arguments break. Values are IR values or Terraform's, lists or tuples."""
    for rule in type_.rules:
        steps = tuple(rule.within.split(".")) if rule.within else ()
        for element in _elements(arguments, steps):
            sentence = _broken(rule, element, _body_at(type_.body, steps))
            if sentence is not None:
                where = f"in {rule.within}: " if rule.within else ""
                yield rule.within or (*rule.names, *rule.when)[0], f"{where}{sentence}"


def values_at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """Every value at a path that is not null, through all elements of lists on the way."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from values_at(item, path)
    elif not path:
        if value is not None and not isinstance(value, Mapping):
            yield value
    elif isinstance(value, Mapping):
        yield from values_at(value.get(path[0]), path[1:])


def _elements(value: Any, steps: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Every block at a path."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _elements(item, steps)
    elif isinstance(value, Mapping):
        if steps:
            yield from _elements(value.get(steps[0]), steps[1:])
        else:
            yield value


def _body_at(body: Block, steps: tuple[str, ...]) -> Block:
    for step in steps:
        body = body.blocks[step]
    return body


def _broken(rule: Rule, given: Mapping[str, Any], body: Block) -> str | None:
    present = [name for name in rule.names if _is_set(given.get(name))]
    absent = [name for name in rule.names if name not in present]
    listed = ", ".join(rule.names)
    match rule.kind:
        case RuleKind.EXACTLY_ONE if len(present) != 1:
            return f"exactly one of {listed} is needed, and {_these(present)}"
        case RuleKind.AT_LEAST_ONE if not present:
            return f"at least one of {listed} is needed, and none is set"
        case RuleKind.CONFLICTS if len(present) > 1:
            return f"only one of {listed} may be set, and {_these(present)}"
        case RuleKind.REQUIRES if rule.names[0] in present and given.get(rule.names[0]) is not False and absent:
            return f"{rule.names[0]} needs {', '.join(absent)} beside it"
        case RuleKind.WHEN if all(_holds(body, given, name, value) is True for name, value in rule.when.items()):
            return _unmet(rule, given, body, absent)
    return None


def _unmet(rule: Rule, given: Mapping[str, Any], body: Block, absent: list[str]) -> str | None:
    condition = " and ".join(f"{name} = {_word(value)}" for name, value in rule.when.items())
    if absent:
        return f"{condition} needs {', '.join(absent)}"
    wrong = [name for name, value in rule.equal.items() if _holds(body, given, name, value) is False]
    needed = ", ".join(f"{name} = {_word(rule.equal[name])}" for name in wrong)
    return f"{condition} needs {needed}" if wrong else None


def _is_set(value: Any) -> bool:
    return value is not None and value != () and value != []


def _holds(body: Block, given: Mapping[str, Any], name: str, wanted: Any) -> bool | None:
    """Whether a field has a value, its default counted; None when that is not known."""
    value = given.get(name)
    if value is None:
        attribute = body.attributes.get(name)
        value = attribute.default if attribute is not None else None
    if value is None or isinstance(value, str | int | bool):
        return bool(value == wanted)
    return None


def _these(names: list[str]) -> str:
    if not names:
        return "none is set"
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} set"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
