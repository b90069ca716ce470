"""Lower a task's placements on this machine to `skyc_node` resources, head first.

Contract: pure. The three tables below name every field of a ResourceRequest exactly once (`check_tables` proves it), so a field
that is added to the IR cannot be dropped in silence here.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from ...compiler.diagnostics import Diagnostic, error, has_errors
from ...compiler.ir import (
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    ProviderRequirement,
    Ref,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    Task,
    Value,
)
from ..base import LowerContext
from ..tables import Unsupported, Weight, gaps, unclassified
from .catalog import PROVIDER

SOURCE = "registry.terraform.io/skyc/skyc"
VERSION = "0.1.0"
TYPE = "skyc_node"

SUPPORTED = frozenset({"infra", "cpus", "memory_gb", "memory_per_cpu", "accelerators", "instance_type", "market", "labels"})
"""Met by the placement, or carried into the resource."""

LOWERED = frozenset({"origin", "accelerators_ordered", "arch", "interruption_rate", "max_hourly_cost"})
"""Used up before lowering: by the optimizer, or to point at the user's line."""


UNSUPPORTED: FrozenMap[Unsupported] = FrozenMap(
    {
        "image_id": Unsupported(
            weight=Weight.REFUSE,
            spec_field="image_id",
            reason="A local node runs on this machine's own operating system, so it cannot start from an image.",
        ),
        "disk_gb": Unsupported(
            weight=Weight.IGNORE,
            spec_field="disk_size",
            reason="A local node shares this machine's disk; no disk of that size is set aside.",
        ),
        "disk_tier": Unsupported(
            weight=Weight.IGNORE, spec_field="disk_tier", reason="A local node uses this machine's disk as it is."
        ),
        "local_disk": Unsupported(
            weight=Weight.IGNORE, spec_field="local_disk", reason="A local node uses this machine's disk as it is."
        ),
        "network_tier": Unsupported(
            weight=Weight.IGNORE, spec_field="network_tier", reason="Local nodes talk over this machine's loopback interface."
        ),
        "ports": Unsupported(
            weight=Weight.IGNORE,
            spec_field="ports",
            reason="Nothing is opened: a port a local job listens on is reachable on this machine as the job binds it.",
        ),
    }
)

OUTPUT_ATTRIBUTES = (
    "id",
    "name",
    "group",
    "rank",
    "ip",
    "directory",
    "python_path",
    "user_bin",
    "agent_port",
    "cpus",
    "memory_mb",
    "accelerators",
    "health",
)
"""Attributes of a node that the output `nodes` repeats as they are. The ports of the head are added to every node."""


def check_tables() -> tuple[str, ...]:
    """Fields that are not exactly once in a table. Empty, or we have a bug."""
    return unclassified(SUPPORTED, LOWERED, UNSUPPORTED)


def lower(
    task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """One `skyc_node` per node, the head first, and the output `nodes`. No graph when a request cannot be met here."""
    diagnostics: list[Diagnostic] = []
    refused = False
    where = {placement.group: placement for placement in placements}
    for group in task.groups:
        said, refuses = _objections(group, where.get(group.name))
        diagnostics += said
        refused = refused or refuses
    if refused:
        return None, tuple(dict.fromkeys(diagnostics))
    resources: list[ResourceNode] = []
    head: ResourceAddress | None = None
    rank = 0
    # Ranks follow the order of groups in the file, not of placements: the optimizer's order must not move them.
    for group in task.groups:
        placement = where.get(group.name)
        if placement is None:
            rank += group.num_nodes
            continue
        for index in range(group.num_nodes):
            resources.append(_node(task, group, placement, index, rank, head, context))
            head = head or resources[-1].address
            rank += 1
    if head is None:
        return None, tuple(dict.fromkeys(diagnostics))
    outputs: Value = tuple(_output(node.address, head) for node in resources)
    # No `home`: the same task gives the same module on every machine. The provider takes it from its own environment.
    requirement = ProviderRequirement(name="skyc", source=SOURCE, version=VERSION)
    return (
        ResourceGraph(
            deployment=context.deployment,
            site=context.site,
            provider=PROVIDER,
            requirements=(requirement,),
            resources=tuple(sorted(resources, key=lambda node: str(node.address))),
            outputs=FrozenMap({"nodes": outputs}),
        ),
        tuple(dict.fromkeys(diagnostics)),
    )


def _objections(group: NodeGroup, placement: GroupPlacement | None) -> tuple[tuple[Diagnostic, ...], bool]:
    """What a group asks for and a local node cannot give, and whether that stops the compile.

    A request for another place says nothing about this one. Of several for this one, a request that can be met is enough.
    """
    if placement is None:
        return (), False
    if placement.market is Market.SPOT:
        spot = error(
            "unsupported-here",
            "The target cannot do this",
            "`use_spot` (market: spot): this machine is not for rent, so it has no spot market.",
            hint="remove `use_spot`, or choose another `infra`",
            subject=group.requests[0].origin.child("use_spot"),
        )
        return (spot,), True
    first: tuple[Diagnostic, ...] = ()
    for request in group.requests:
        if request.infra.provider not in (None, PROVIDER):
            continue
        said = tuple(gaps(request, UNSUPPORTED, PROVIDER))
        if not has_errors(said):
            return said, False
        first = first or said
    return first, bool(first)


def _node(
    task: Task,
    group: NodeGroup,
    placement: GroupPlacement,
    index: int,
    rank: int,
    head: ResourceAddress | None,
    context: LowerContext,
) -> ResourceNode:
    # The address is unique in its site; the name must be unique in the deployment, which may hold several tasks.
    address = ResourceAddress(TYPE, f"{group.name}-{index}")
    name = f"{task.id}-{group.name}-{index}"
    labels: dict[str, Value] = {**dict(group.requests[0].labels), "skyc.io/node": name, "skyc.io/group": str(group.name)}
    arguments: dict[str, Value] = {
        "deployment": str(context.deployment),
        "name": name,
        "group": str(group.name),
        "rank": rank,
        "role": "head" if head is None else "worker",
        "cpus": placement.shape.cpus,
        "memory_mb": int((placement.shape.memory_gb * 1024).to_integral_value(ROUND_DOWN)),
        "accelerators": FrozenMap[Value]({device.name: _whole(device.count) for device in placement.shape.accelerators}),
        "labels": FrozenMap[Value](labels),
        "python": context.runtime.python,
        "ray": context.runtime.ray,
    }
    if head is not None:
        # Both change with every life of the head, so a replaced head takes its workers with it: Ray cannot keep them.
        arguments["head_address"] = Ref(head, "address")
        arguments["head_life"] = Ref(head, "id")
    return ResourceNode(address=address, origin=group.requests[0].origin, arguments=FrozenMap(arguments))


def _whole(count: Decimal) -> int:
    """Ray's nodes have whole devices; a job that asks for half of one still needs a node that has it."""
    return int(count.to_integral_value(rounding="ROUND_CEILING"))


def _output(node: ResourceAddress, head: ResourceAddress) -> Value:
    repeated: dict[str, Value] = {name: Ref(node, name) for name in OUTPUT_ATTRIBUTES}
    return FrozenMap[Value]({**repeated, "gcs_port": Ref(head, "gcs_port"), "dashboard_port": Ref(head, "dashboard_port")})
