"""What a node gets of a machine: all of it, or of a machine that can be divided what was asked for. Pure."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from .ir import Accelerator, InstanceType, NodeShape, ResourceRequest
from .ir.accelerators import asked, matching

TENTH = Decimal("0.1")


def node_shape(request: ResourceRequest, kind: InstanceType, task_nodes: int) -> NodeShape:
    """What one node gets on `kind`: the whole machine, or of a divisible one what was asked for.

    On a divisible machine a node that asks for no amount gets an equal share over all of the task's nodes, rounded down.
    """
    if not kind.divisible:
        return NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators)
    cpus = request.cpus.amount if request.cpus else (kind.cpus / task_nodes).to_integral_value(ROUND_DOWN)
    if request.memory_gb:
        memory = request.memory_gb.amount
    elif request.memory_per_cpu:
        memory = request.memory_per_cpu.amount * cpus
    else:
        memory = (kind.memory_gb / task_nodes).quantize(TENTH, ROUND_DOWN)
    wanted = matching_accelerator(request, kind)
    return NodeShape(cpus=cpus, memory_gb=memory, accelerators=() if wanted is None else (wanted,))


def matching_accelerator(request: ResourceRequest, kind: InstanceType) -> Accelerator | None:
    """The accelerators of `kind` that the request takes: all of a machine's, or as many as asked for of a divisible one's."""
    for wanted in request.accelerators or ():
        name, count = asked(wanted.name, wanted.count)
        for device in kind.accelerators:
            enough = device.count >= count if kind.divisible else device.count == count
            if device.name in matching(name) and enough:
                return Accelerator(name=device.name, count=count, memory_gb=device.memory_gb)
    return None
