"""What other resources put into a resource: elements of its lists (a group's rules, a table's routes, a role's policies), and addresses.

After an apply they show what the module's own resources put there, which the state has not seen yet. What one of those resources explains
is no drift of the list; if such a resource itself was changed, that is the drift. Contract: pure. An element is explained only by a single
resource that belongs to the list's owner, and only if everything the element says stands in it: two rules never explain a third.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..ir import JsonObject


def unexplained(elements: Sequence[JsonObject], owner: JsonObject, others: Iterable[JsonObject]) -> list[JsonObject]:
    """The elements that none of the other resources explains. owner: attributes of the resource the list is part of."""
    names = {str(owner[name]) for name in ("id", "name") if owner.get(name)}
    known = [leaves for other in others if (leaves := set(_leaves(other))) & names]
    return [
        element
        for element in elements
        if not all(any(set(_leaves(part)) <= leaves for leaves in known) for part in _parts(element))
    ]


def given(
    before: JsonObject, after: JsonObject, filled: Mapping[str, str], others: Mapping[str, Sequence[JsonObject]]
) -> frozenset[str]:
    """Names at the top that said nothing, and that one of the other resources has filled since: an address that a machine was given. All
    texts among them must stand in the same resource; a yes goes with them. filled: name → type of what fills it."""
    names = {name for name in filled if not isinstance(after.get(name), list) and after.get(name) and not before.get(name)}
    texts = {value for name in names if isinstance(value := after[name], str)}
    rows = [row for type_ in {filled[name] for name in names} for row in others.get(type_, ())]
    explained = texts and any(texts <= {value for value in row.values() if isinstance(value, str)} for row in rows)
    return frozenset(names) if explained else frozenset()


def without(elements: Sequence[JsonObject], others: Sequence[JsonObject]) -> list[JsonObject]:
    """The elements that are not among the others, however nothing is spelled in them."""
    known = [_said(other) for other in others]
    return [element for element in elements if _said(element) not in known]


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: said for name, item in value.items() if (said := _said(item)) not in (None, "", [], {})}
    return [_said(item) for item in value] if isinstance(value, list) else value


def _parts(element: JsonObject) -> Iterator[JsonObject]:
    """An element for each thing that its lists name: what has the same ports is one element with several ranges."""
    lists = [name for name, value in element.items() if isinstance(value, list) and value]
    plain = {name: value for name, value in element.items() if name not in lists}
    if not lists:
        yield plain
    for name in lists:
        for value in element[name]:
            yield {**plain, name: value}


def _leaves(value: Any) -> Iterator[str]:
    """What is said, as text. What is not set, and a yes or no, says nothing that could be told apart."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value not in (None, "", 0) and not isinstance(value, bool):
        yield _canonical(str(value))


def _canonical(text: str) -> str:
    """A document in a text, such as a policy, is the same however it is spaced."""
    if text[:1] in "{[":
        try:
            return json.dumps(json.loads(text), sort_keys=True)
        except ValueError:
            return text
    return text
