"""What becomes of standing infrastructure when one set of resource graphs takes the place of another.

Contract: pure, and told from the graphs and the providers' schemas alone: no state, no Terraform, nobody is asked. What a schema does
not say (that a larger disk is resized and a smaller one refused) is not known here; a plan tells it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .ir import FrozenMap, Joined, Ref, ResourceGraph, ResourceNode, Value, holds_storage

ForcesNew = Callable[[str, str], bool]
"""(resource type, path of an argument) → whether a change of it makes another one of the resource."""


class Effect(enum.Enum):
    """What a change does to machines and what is around them, from the least to the most."""

    NOTHING = "nothing"
    IN_PLACE = "in place"
    """Resources change, or come and go, and no machine ends."""
    MORE_NODES = "adds or removes nodes"
    """Nodes are made or removed; those that stay are as they were."""
    SOME_NODES = "replaces some nodes"
    ALL_NODES = "replaces all nodes"
    EVERYTHING = "replaces all"
    """Nodes, and the network they are in."""
    MOVES = "moves"
    """Everything goes, and is made at another place."""
    ANOTHER = "another deployment"
    """The file stands for a deployment of another name; the earlier one stays as it is."""


class Change(enum.Enum):
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """One resource that changes. `causes`: arguments that change; of a replacement, those that force it."""

    address: str
    change: Change
    machine: bool
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEffect:
    """`touched`: by site and address."""

    effect: Effect
    touched: tuple[Touched, ...] = ()


def effect_of(before: tuple[ResourceGraph, ...], after: tuple[ResourceGraph, ...], forces_new: ForcesNew) -> GraphEffect:
    """What an apply of `after` does where `before` was applied."""
    if {graph.deployment for graph in before} != {graph.deployment for graph in after}:
        return GraphEffect(effect=Effect.ANOTHER)
    old, new = ({graph.site: graph for graph in graphs} for graphs in (before, after))
    touched: list[Touched] = []
    for site in sorted({*old, *new}):
        touched += _at_site(old.get(site), new.get(site), forces_new)
    sites = tuple({site for site in graphs if not holds_storage(site)} for graphs in (old, new))
    effect = Effect.MOVES if sites[0] - sites[1] and sites[1] - sites[0] else _summary(touched, before)
    return GraphEffect(effect=effect, touched=tuple(touched))


def _at_site(old: ResourceGraph | None, new: ResourceGraph | None, forces_new: ForcesNew) -> Iterator[Touched]:
    before = {str(node.address): node for node in old.resources} if old else {}
    after = {str(node.address): node for node in new.resources} if new else {}
    machines = {*_machines(old), *_machines(new)}
    changed = _changes({address: (before[address], after[address]) for address in before if address in after}, forces_new)
    for address in sorted({*before, *after}):
        if address not in after:
            yield Touched(address=address, change=Change.DELETE, machine=address in machines)
        elif address not in before:
            yield Touched(address=address, change=Change.CREATE, machine=address in machines)
        elif address in changed:
            replaced, causes = changed[address]
            change = Change.REPLACE if replaced else Change.UPDATE
            yield Touched(address=address, change=change, machine=address in machines, causes=causes)


def _changes(
    pairs: dict[str, tuple[ResourceNode, ResourceNode]], forces_new: ForcesNew
) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Address → (replaced, causes). What refers to a resource that is replaced changes with it, until nothing more does."""
    found: dict[str, tuple[bool, tuple[str, ...]]] = {}
    while True:
        now: dict[str, tuple[bool, tuple[str, ...]]] = {}
        for address, (old, new) in pairs.items():
            paths = _paths(old, new, found)
            forcing = tuple(path for path in paths if _replaces(new, path, forces_new))
            if paths:
                now[address] = (bool(forcing), forcing or paths)
        if now == found:
            return found
        found = now


def _paths(old: ResourceNode, new: ResourceNode, changed: dict[str, tuple[bool, tuple[str, ...]]]) -> tuple[str, ...]:
    """Arguments that differ, or whose value will: without what counts only when the resource is made."""
    ignored = {re.sub(r'\["?([^"\]]+)"?\]', r".\1", name) for name in new.ignore_changes}
    paths = dict.fromkeys(_differences(old.arguments, new.arguments, "", changed))
    return tuple(path for path in paths if path not in ignored and path.partition(".")[0] not in ignored)


def _differences(old: Value, new: Value, path: str, changed: dict[str, tuple[bool, tuple[str, ...]]]) -> Iterator[str]:
    """Paths as schemas write them: positions in lists are left out."""
    if isinstance(old, FrozenMap) and isinstance(new, FrozenMap):
        for name in sorted({*old, *new}):
            yield from _differences(old.get(name), new.get(name), f"{path}.{name}" if path else name, changed)
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from _differences(one, other, path, changed)
    elif old != new or any(_stale(ref, changed) for ref in _refs(new)):
        yield from _within(old if new is None else new, path)


def _within(value: Value, path: str) -> Iterator[str]:
    """The paths of a value that is there on one side only."""
    if isinstance(value, FrozenMap) and value:
        for name, item in value.items():
            yield from _within(item, f"{path}.{name}")
    elif isinstance(value, tuple) and any(isinstance(item, FrozenMap) for item in value):
        for item in value:
            yield from _within(item, path)
    else:
        yield path


def _refs(value: Value) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Joined):
        yield from (part for part in value.parts if isinstance(part, Ref))


def _stale(ref: Ref, changed: dict[str, tuple[bool, tuple[str, ...]]]) -> bool:
    """Whether what a reference names will be something else: of a resource made anew, or the version of one that changes."""
    replaced, causes = changed.get(str(ref.address), (False, ()))
    return replaced or (bool(causes) and ref.attribute.endswith("version"))


def _replaces(node: ResourceNode, path: str, forces_new: ForcesNew) -> bool:
    """The schema says so, or the resource itself: some have an argument for it."""
    first = path.partition(".")[0]
    return forces_new(node.address.type, path) or node.arguments.get(f"{first}_replace_on_change") is True


def _machines(graph: ResourceGraph | None) -> Iterator[str]:
    """Addresses of a site's machines: a node's id is an attribute of its machine."""
    rows = graph.outputs.get("nodes") if graph is not None else None
    for row in rows if isinstance(rows, tuple) else ():
        if isinstance(row, FrozenMap) and isinstance(row["id"], Ref):
            yield str(row["id"].address)


def _summary(touched: list[Touched], before: tuple[ResourceGraph, ...]) -> Effect:
    standing = {address for graph in before for address in _machines(graph)}
    ending = {row.address for row in touched if row.machine and row.change is Change.REPLACE}
    if ending:
        # What every machine stands in, made anew: then nothing of the site is as it was.
        rest = [row for row in touched if not row.machine]
        network = any(row.change is Change.REPLACE and _holds_machines(row.address, before) for row in rest)
        if ending >= standing:
            return Effect.EVERYTHING if network else Effect.ALL_NODES
        return Effect.SOME_NODES
    if any(row.machine and row.change is not Change.UPDATE for row in touched):
        return Effect.MORE_NODES
    return Effect.IN_PLACE if touched else Effect.NOTHING


def _holds_machines(address: str, graphs: tuple[ResourceGraph, ...]) -> bool:
    """Whether most of a site refers to this resource, directly or not, and it to nothing: a network, a group of resources."""
    for graph in graphs:
        node = next((node for node in graph.resources if str(node.address) == address), None)
        if node is not None:
            return not any(True for _ in _all_refs(node.arguments)) and len(_above(address, graph)) * 2 > len(graph.resources)
    return False


def _above(address: str, graph: ResourceGraph) -> set[str]:
    found = {address}
    while True:
        more = {
            str(node.address)
            for node in graph.resources
            if str(node.address) not in found and any(str(ref.address) in found for ref in _all_refs(node.arguments))
        }
        if not more:
            return found - {address}
        found |= more


def _all_refs(value: Value) -> Iterator[Ref]:
    if isinstance(value, FrozenMap):
        for item in value.values():
            yield from _all_refs(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _all_refs(item)
    else:
        yield from _refs(value)
