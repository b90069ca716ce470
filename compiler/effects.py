"""What becomes of standing infrastructure when one set of resource graphs takes the place of another.

Contract: pure. The comparison is `graph_diff`'s; this says what it comes to, from the graphs and the providers' schemas alone: no state, no
Terraform, nobody is asked. What a schema does not say (that a larger disk is resized and a smaller one refused) is not known here; a
plan tells it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from .graph_diff import Forces, bare_path, graph_changes
from .ir import FrozenMap, Joined, Ref, ResourceChange, ResourceGraph, SiteId, Value, holds_storage


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


def effect_of(before: tuple[ResourceGraph, ...], after: tuple[ResourceGraph, ...], forces: Forces) -> GraphEffect:
    """What an apply of `after` does where `before` was applied."""
    if {graph.deployment for graph in before} != {graph.deployment for graph in after}:
        return GraphEffect(effect=Effect.ANOTHER)
    touched = tuple(
        _touched(change, machines=_machines_at(found.site, before, after))
        for found in graph_changes(before, after, forces=forces)
        for change in found.changes
    )
    sites = tuple({graph.site for graph in graphs if not holds_storage(graph.site)} for graphs in (before, after))
    effect = Effect.MOVES if sites[0] - sites[1] and sites[1] - sites[0] else _summary(touched, before)
    return GraphEffect(effect=effect, touched=touched)


def _touched(change: ResourceChange, *, machines: set[str]) -> Touched:
    """Causes as schemas write them: positions in lists are left out."""
    kind, causes = Change(change.action.value), change.attributes
    if kind in (Change.CREATE, Change.DELETE):
        causes = ()
    elif kind is Change.REPLACE:
        causes = tuple(attribute for attribute in causes if attribute.forces_replacement)
    paths = tuple(dict.fromkeys(bare_path(attribute.path) for attribute in causes))
    return Touched(address=change.address, change=kind, machine=change.address in machines, causes=paths)


def _machines_at(site: SiteId, *sides: tuple[ResourceGraph, ...]) -> set[str]:
    return {address for graphs in sides for graph in graphs if graph.site == site for address in _machines(graph)}


def _machines(graph: ResourceGraph) -> Iterator[str]:
    """Addresses of a site's machines: a node's id is an attribute of its machine."""
    rows = graph.outputs.get("nodes")
    for row in rows if isinstance(rows, tuple) else ():
        if isinstance(row, FrozenMap) and isinstance(row["id"], Ref):
            yield str(row["id"].address)


def _summary(touched: tuple[Touched, ...], before: tuple[ResourceGraph, ...]) -> Effect:
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
    elif isinstance(value, Joined):
        yield from (part for part in value.parts if isinstance(part, Ref))
    elif isinstance(value, Ref):
        yield value
