"""What differs between two compilations, resource by resource: a change set made of two resource graphs, without a state.

Contract
- Pure, and in the order of addresses, so equal graphs give equal bytes however they were handed over.
- Compiled, not compared: it says what Terraform would do to a deployment that is exactly as the first graph says. What a cloud fills in
  by itself, and what was changed by hand, is in neither graph.
- A resource is replaced where an argument that differs forces it: the schema says so (`Forces`), or the resource itself, as some have an
  argument for it (`user_data_replace_on_change`). So it is where it refers in such an argument to what is not known before the apply:
  what only a replaced resource's successor will tell, and the version of a resource that changes in place.
- Arguments that count only when a resource is made (`ignore_changes`) are no difference, and are left out of what is new: they say
  which plan made it, not what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .changeset import change_set
from .ir import (
    Action,
    AttributeChange,
    ChangeSet,
    FrozenMap,
    Joined,
    Ref,
    ResourceChange,
    ResourceGraph,
    ResourceNode,
    SiteId,
    Value,
    ValueKind,
    plain,
)

Forces = Callable[[str, str], bool]
"""(resource type, dotted path without positions) → whether a change there replaces the resource."""

_NOWHERE = SiteId("")
_POSITION = re.compile(r"\.\d+(?=\.|\[|$)")
_FIRST = re.compile(r"[.\[]")
_KEY = re.compile(r'\["([\w-]+)"\]')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiler:
    """Stands where the engine stands in a real plan's change set."""

    name: str = "compiled"
    version: str = ""


def graph_changes(
    before: Iterable[ResourceGraph], after: Iterable[ResourceGraph], *, forces: Forces = lambda type_, path: False
) -> tuple[ChangeSet, ...]:
    """One change set per site that differs, sorted by site. A site that is in one of them alone is made, or goes, whole."""
    old = {graph.site: graph for graph in before}
    new = {graph.site: graph for graph in after}
    found = []
    for site in sorted({*old, *new}):
        changes = _site(old.get(site), new.get(site), forces)
        if changes.changes:
            found.append(changes)
    return tuple(found)


def _site(old: ResourceGraph | None, new: ResourceGraph | None, forces: Forces) -> ChangeSet:
    here = new or old
    assert here is not None
    before, after = _by_address(old), _by_address(new)
    replaced, unknown = _consequences(before, after, forces)
    entries = []
    for address in sorted({*before, *after}):
        was, becomes = before.get(address), after.get(address)
        node = becomes or was
        assert node is not None
        if was is not None and becomes is not None and was.arguments == becomes.arguments and not unknown[address]:
            continue
        actions = ["create"] if was is None else ["delete"] if becomes is None else ["update"]
        if address in replaced:
            actions = ["delete", "create"]
        arguments = [None if side is None else _told(plain(side.arguments)) for side in (was, becomes)]
        change = {"actions": actions, "before": arguments[0], "after": arguments[1]}
        entries.append({"address": address, "type": node.address.type, "change": change})
    made = change_set({"format_version": "1.2", "resource_changes": entries}, site=here.site, graph=here, engine=_Compiler())
    changes = (_judged(change, after.get(change.address), unknown, forces) for change in made.changes)
    return replace(made, changes=tuple(change for change in changes if change.attributes or change.action is not Action.UPDATE))


def _by_address(graph: ResourceGraph | None) -> dict[str, ResourceNode]:
    return {} if graph is None else {str(node.address): node for node in graph.resources}


def _consequences(
    before: Mapping[str, ResourceNode], after: Mapping[str, ResourceNode], forces: Forces
) -> tuple[frozenset[str], dict[str, set[str]]]:
    """Addresses that are replaced; and per address that is on both sides the paths whose value only the apply will tell."""
    kept = sorted(set(before) & set(after))
    differing = {address: _differing(before[address], after[address]) for address in kept}
    references = {address: tuple(_references(after[address].arguments, "")) for address in kept}
    unknown: dict[str, set[str]] = {address: set() for address in kept}
    replaced: set[str] = set()

    def untold(ref: Ref) -> bool:
        target = str(ref.address)
        if target not in unknown:
            return False
        if ref.attribute in after[target].arguments:
            return ref.attribute in unknown[target]
        changes = bool(differing[target] or unknown[target])
        return target in replaced or (changes and ref.attribute.endswith("version"))

    grown = True
    while grown:
        grown = False
        for address in kept:
            node = after[address]
            more = {path for path, ref in references[address] if not _ignored(node, path) and untold(ref)} - unknown[address]
            unknown[address] |= more
            forced = any(_replaces(node, path, forces) for path in differing[address] | unknown[address])
            if more or (forced and address not in replaced):
                grown = True
            if forced:
                replaced.add(address)
    return frozenset(replaced), unknown


def _differing(was: ResourceNode, becomes: ResourceNode) -> set[str]:
    """Paths of the arguments that differ and count."""
    if was.arguments == becomes.arguments:
        return set()
    change = {"actions": ["update"], "before": _told(plain(was.arguments)), "after": _told(plain(becomes.arguments))}
    entry = {"address": str(becomes.address), "type": becomes.address.type, "change": change}
    (found,) = change_set(
        {"format_version": "1.2", "resource_changes": [entry]}, site=_NOWHERE, graph=None, engine=_Compiler()
    ).changes
    return {attribute.path for attribute in found.attributes if not _ignored(becomes, attribute.path)}


def _told(value: Any) -> Any:
    """Plain arguments with each reference as a text of Terraform's: one that comes or goes is a change of its argument, and not of
    something within it."""
    match value:
        case {"$ref": str(expression)}:
            return f"${{{expression}}}"
        case {"$joined": list(parts)} | {"$joined-base64": list(parts)}:
            return "".join(str(_told(part)) for part in parts)
        case dict():
            return {name: _told(item) for name, item in value.items()}
        case list():
            return [_told(item) for item in value]
        case _:
            return value


def _replaces(node: ResourceNode, path: str, forces: Forces) -> bool:
    first = _FIRST.split(path, maxsplit=1)[0]
    return forces(node.address.type, bare_path(path)) or node.arguments.get(f"{first}_replace_on_change") is True


def _judged(
    change: ResourceChange, node: ResourceNode | None, unknown: Mapping[str, set[str]], forces: Forces
) -> ResourceChange:
    """A change with what forces a replacement marked, what is ignored left out, and what is not known yet put in."""
    if node is None:
        return change
    attributes = {a.path: a for a in change.attributes if not _ignored(node, a.path)}
    if change.action is not Action.CREATE:
        for path in unknown[change.address]:
            attributes.setdefault(path, AttributeChange(path=path, before=None, after=None, kind=ValueKind.UNKNOWN))
        attributes = {
            path: replace(attribute, forces_replacement=_replaces(node, path, forces)) for path, attribute in attributes.items()
        }
    return replace(change, attributes=tuple(attributes[path] for path in sorted(attributes)))


def _references(value: Value, path: str) -> Iterator[tuple[str, Ref]]:
    if isinstance(value, Ref):
        yield path, value
    elif isinstance(value, Joined):
        yield from ((path, part) for part in value.parts if isinstance(part, Ref))
    elif isinstance(value, FrozenMap):
        for key, item in value.items():
            yield from _references(item, f"{path}.{key}" if path else key)
    elif isinstance(value, tuple):
        # A list of plain values is one attribute, as in a plan's change set.
        nested = any(isinstance(item, FrozenMap | tuple) for item in value)
        for index, item in enumerate(value):
            yield from _references(item, f"{path}.{index}" if nested else path)


def bare_path(path: str) -> str:
    """A dotted path without positions, as schemas write it."""
    return _POSITION.sub("", path)


def _ignored(node: ResourceNode, path: str) -> bool:
    for written in node.ignore_changes:
        name = _KEY.sub(r".\1", written)
        if path == name or path.startswith((f"{name}.", f"{name}[")):
            return True
    return False
