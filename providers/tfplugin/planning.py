"""Plans derived from a schema: defaults, which computed values are not known yet, and what must be replaced.

Pure functions over a body's schema and its values. Values are in the canonical form of `codec`, so equal values compare equal.
Invariant: what the configuration sets is never changed, since Terraform refuses such a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .codec import UNKNOWN, Step, is_unknown, path_text
from .schema import Block, Nesting

Values = Mapping[str, Any]


def with_defaults(block: Block, config: Values | None, proposed: Values) -> dict[str, Any]:
    """`proposed` with the default of every attribute that the configuration does not set.

    Terraform proposes the prior value for those, so the configuration has to be asked. Elements of a set cannot be matched with
    their configuration; there a default fills only what has no value.
    """
    filled = dict(proposed)
    config = config or {}
    for name, attribute in block.attributes.items():
        if attribute.default is not None and config.get(name) is None:
            filled[name] = attribute.default
    for name, nesting, body in nested_bodies(block):
        if is_unknown(config.get(name)) or is_unknown(filled.get(name)) or not filled.get(name):
            continue
        if nesting is Nesting.SET:
            filled[name] = [with_defaults(body, element, element) for element in filled[name]]
        else:
            filled[name] = _map_elements(nesting, filled[name], config.get(name), partial(with_defaults, body))
    return filled


def plan_computed(block: Block, prior: Values | None, proposed: Values) -> dict[str, Any]:
    """`proposed` with UNKNOWN for each computed attribute that has no value yet and is to be decided by the create.

    An attribute that is null in the prior state stays null: its create decided so.
    """
    planned = dict(proposed)
    for name, attribute in block.attributes.items():
        if attribute.computed and planned.get(name) is None and prior is None:
            planned[name] = UNKNOWN
    for name, nesting, body in nested_bodies(block):
        value = planned.get(name)
        if is_unknown(value) or not value:
            continue
        before = prior.get(name) if prior is not None else None
        if nesting is Nesting.SET:
            known = before or []
            planned[name] = [element if element in known else plan_computed(body, None, element) for element in value]
        else:
            planned[name] = _map_elements(nesting, value, before, partial(plan_computed, body))
    return planned


def changed_force_new(block: Block, prior: Values, planned: Values) -> tuple[str, ...]:
    """Paths of the `force_new` attributes whose values differ, for `requires_replace`."""
    return tuple(path_text(path) for path in _changed(block, prior, planned, ()))


def set_facts(block: Block, config: Values, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Paths of attributes that the configuration sets although only the resource can report them.

    Terraform leaves this check to the provider.
    """
    for name, attribute in block.attributes.items():
        if not attribute.settable and config.get(name) is not None:
            yield (*path, name)
    for name, nesting, body in nested_bodies(block):
        value = config.get(name)
        if is_unknown(value) or not value:
            continue
        for step, element in _elements(nesting, value):
            if isinstance(element, Mapping):
                yield from set_facts(body, element, (*path, name, *step))


def nested_bodies(block: Block) -> Iterator[tuple[str, Nesting, Block]]:
    """Nested blocks and attributes with nested attributes alike: name, how they are collected, the body of one."""
    for name, nested in block.blocks.items():
        if nested.collected_type != "dynamic":
            yield name, nested.nesting, nested
    for name, attribute in block.attributes.items():
        if attribute.nested is not None:
            yield name, attribute.nested.nesting, Block(attributes=attribute.nested.attributes)


def _elements(nesting: Nesting, value: Any) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Elements with the step that leads to each. Elements of a set have none."""
    match nesting:
        case Nesting.SINGLE | Nesting.GROUP:
            yield (), value
        case Nesting.LIST:
            yield from (((index,), element) for index, element in enumerate(value))
        case Nesting.SET:
            yield from (((), element) for element in value)
        case Nesting.MAP:
            yield from (((key,), element) for key, element in value.items())


def _map_elements(nesting: Nesting, value: Any, other: Any, change: Callable[[Values | None, Values], dict[str, Any]]) -> Any:
    """Apply `change(element of other at the same place or None, element)` to each known element; keeps the collection's form."""
    others = {} if not other or is_unknown(other) else dict(_elements(nesting, other))

    def changed(step: tuple[Step, ...], element: Any) -> Any:
        if not isinstance(element, Mapping):
            return element
        at_place = others.get(step)
        return change(at_place if isinstance(at_place, Mapping) else None, element)

    match nesting:
        case Nesting.SINGLE | Nesting.GROUP:
            return changed((), value)
        case Nesting.MAP:
            return {key: changed((key,), element) for key, element in value.items()}
        case _:
            return [changed((index,), element) for index, element in enumerate(value)]


def _changed(block: Block, prior: Values, planned: Values, path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for name, attribute in block.attributes.items():
        if attribute.force_new and differs(prior.get(name), planned.get(name)):
            yield (*path, name)
    for name, nesting, body in nested_bodies(block):
        if name in block.attributes and block.attributes[name].force_new:
            continue
        before, after = prior.get(name), planned.get(name)
        if is_unknown(after) or nesting is Nesting.SET:
            if _forces(body) and differs(_forcing_part(body, before), _forcing_part(body, after)):
                yield (*path, name)
            continue
        old = dict(_elements(nesting, before)) if before else {}
        new = dict(_elements(nesting, after)) if after else {}
        for step in dict.fromkeys((*old, *new)):
            left, right = old.get(step) or {}, new.get(step) or {}
            if is_unknown(right):
                if _forces(body):
                    yield (*path, name, *step)
            else:
                yield from _changed(body, left, right, (*path, name, *step))


def differs(prior: Any, planned: Any) -> bool:
    """Whether a planned value may differ from the prior one. Unknown may."""
    if is_unknown(planned) or is_unknown(prior):
        return True
    if isinstance(prior, Mapping) and isinstance(planned, Mapping):
        return prior.keys() != planned.keys() or any(differs(prior[key], planned[key]) for key in prior)
    if isinstance(prior, list | tuple) and isinstance(planned, list | tuple):
        return len(prior) != len(planned) or any(differs(left, right) for left, right in zip(prior, planned, strict=True))
    return bool(prior != planned)


def _forces(body: Block) -> bool:
    return any(attribute.force_new for attribute in body.attributes.values()) or any(
        _forces(inner) for _, _, inner in nested_bodies(body)
    )


def _forcing_part(body: Block, elements: Any) -> Any:
    """What of a set's elements forces replacement, in an order that does not depend on the rest of them."""
    if is_unknown(elements) or not elements:
        return elements or []
    names = [name for name, attribute in body.attributes.items() if attribute.force_new]
    names += [name for name, _, inner in nested_bodies(body) if _forces(inner)]
    parts = ([element.get(name) for name in names] if isinstance(element, Mapping) else UNKNOWN for element in elements)
    return sorted(parts, key=repr)
