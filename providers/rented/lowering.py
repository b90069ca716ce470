"""What lowering is at every cloud that rents out machines: which fields of a request a placement meets, a task's groups at their
places, and the graph of a site. What a cloud adds are its resources, and what its single values cannot do.

Contract: pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ...compiler.diagnostics import Diagnostic, error
from ...compiler.ir import (
    Addresses,
    FrozenMap,
    GroupPlacement,
    NodeGroup,
    ProviderRequirement,
    Ref,
    ResourceGraph,
    ResourceNode,
    Storage,
    Task,
    Value,
)
from ..base import LowerContext
from . import ports

SUPPORTED = frozenset(
    {
        "infra",
        "cpus",
        "memory_gb",
        "memory_per_cpu",
        "accelerators",
        "instance_type",
        "market",
        "disk_gb",
        "disk_tier",
        "local_disk",
        "network_tier",
        "image_id",
        "ports",
        "labels",
        "arch",
    }
)
"""Met by the placement, or carried into resources."""
LOWERED = frozenset({"origin", "accelerators_ordered", "interruption_rate", "max_hourly_cost"})
"""Used up before lowering: by the optimizer, or to point at the user's line."""

Group = TypeVar("Group")


def groups_at(
    task: Task,
    placements: tuple[GroupPlacement, ...],
    context: LowerContext,
    at: Callable[[NodeGroup, GroupPlacement, int], tuple[Group | None, tuple[Diagnostic, ...]]],
) -> tuple[list[Group], list[Diagnostic]]:
    """A site's groups as a cloud sees them, in file order. `at` takes a group, its placement and the rank of its first node, and gives None
    with the reasons for one that cannot be made."""
    where = {placement.group: placement for placement in placements}
    groups: list[Group] = []
    diagnostics: list[Diagnostic] = []
    if any(group.name not in where for group in task.groups):
        diagnostics.append(_apart(task))
    rank = 0
    for group in task.groups:
        placement = where.get(group.name)
        if placement is not None:
            found, said = at(group, placement, rank)
            diagnostics += said
            groups += [found] if found is not None else []
        rank += group.num_nodes
    if context.public is Addresses.HEAD:
        beside = ((group, where[group.name]) for group in task.groups[1:] if group.name in where)
        diagnostics += ports.inside((str(group.name), group.requests[placement.request]) for group, placement in beside)
    return groups, diagnostics


def site_graph(
    context: LowerContext,
    provider: str,
    requirement: ProviderRequirement,
    resources: Iterable[ResourceNode],
    nodes: Iterable[Value],
) -> ResourceGraph:
    """`nodes`: rows of the output of that name, head first."""
    return _graph(context, provider, requirement, resources, FrozenMap({"nodes": tuple(nodes)}))


def storages_graph(
    context: LowerContext,
    provider: str,
    requirement: ProviderRequirement,
    made: Iterable[tuple[Storage, Sequence[ResourceNode]]],
) -> ResourceGraph:
    """A site of buckets. `made`: what each Storage is made of; first the resource whose id names its place."""
    resources: list[ResourceNode] = []
    said: dict[str, Value] = {}
    for storage, parts in made:
        resources += parts
        facts: dict[str, Value] = {
            "id": Ref(parts[0].address, "id"),
            "persistent": storage.persistent,
            "uri": storage.uri,
        }
        said[storage.name] = FrozenMap(facts)
    return _graph(context, provider, requirement, resources, FrozenMap({"storages": FrozenMap(said)}))


def _graph(
    context: LowerContext,
    provider: str,
    requirement: ProviderRequirement,
    resources: Iterable[ResourceNode],
    outputs: FrozenMap[Value],
) -> ResourceGraph:
    return ResourceGraph(
        deployment=context.deployment,
        site=context.site,
        provider=provider,
        requirements=(requirement,),
        resources=tuple(sorted(resources, key=lambda node: str(node.address))),
        outputs=outputs,
    )


def _apart(task: Task) -> Diagnostic:
    """The optimizer never chooses that; a placement from elsewhere might."""
    return error(
        "cannot-compile-yet",
        "One cluster in two regions cannot be compiled yet",
        f"The groups of `{task.id}` are placed in more than one region.",
        hint="give the task one region with `infra`",
        subject=task.origin,
    )
