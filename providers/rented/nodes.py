"""What is the same of a node at every cloud that rents machines: its group, its name, and its row in the output `nodes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal
from typing import Any

from ...compiler.ir import Accelerator, FrozenMap, GroupName, NodeShape, TaskId, Value
from ..base import LowerContext, Node
from . import ports
from .cloud_init import Boot, places


def node_name(task: TaskId, group: GroupName, index: int) -> str:
    return f"{task}-{group}-{index}"


def whole(count: Decimal) -> int:
    """A job that asks for half a device still needs a machine that has one."""
    return int(count.to_integral_value(ROUND_CEILING))


def devices(accelerators: Iterable[Accelerator]) -> int:
    return sum(whole(device.count) for device in accelerators)


def boot_of(name: str, arch: str, shape: NodeShape, context: LowerContext, head: str | None, opens: frozenset[str]) -> Boot:
    """`head`: the head's address inside the network; None for the head itself. `opens`: schemes of the target's stores."""
    return Boot(
        node=name,
        arch=arch,
        runtime=context.runtime,
        access=context.access,
        head=head,
        cpus=int(shape.cpus.to_integral_value(ROUND_DOWN)) or 1,
        gpus=devices(shape.accelerators),
        opens=opens,
    )


def output(
    name: str,
    group: GroupName,
    rank: int,
    shape: NodeShape,
    context: LowerContext,
    opens: frozenset[str],
    *,
    id: Value,
    ip: Value,
    address: Value,
    identity: Value = None,
) -> Value:
    """What `provider.nodes` reads: the fields of `base.Node`. opens: as its boot has them. id, ip, address, identity: what the cloud will
    say, as references; without `identity` a machine has one at most."""
    where = places(name, context.runtime, opens)
    return FrozenMap[Value](
        {
            **({} if identity is None else {"identity": identity}),
            "id": id,
            "name": name,
            "group": str(group),
            "rank": rank,
            "ip": ip,
            "address": address,
            "host_key": context.access.host_key_public,
            "directory": str(where.directory),
            "python": where.python,
            "user_bin": where.user_bin,
            "gcs_port": ports.GCS,
            "dashboard_port": ports.DASHBOARD,
            "agent_port": ports.AGENT,
            "cpus": shape.cpus,
            "memory_mb": int((shape.memory_gb * 1024).to_integral_value(ROUND_DOWN)),
            "accelerators": FrozenMap[Value]({device.name: whole(device.count) for device in shape.accelerators}),
        }
    )


def nodes_in(outputs: Mapping[str, Any]) -> tuple[Node, ...]:
    """The nodes a site's outputs say, head first; a site without outputs has none. What has no address outside of the network is reached
    through the head, where that has one."""
    found = [Node(**{**row, "accelerators": FrozenMap(row["accelerators"])}) for row in outputs.get("nodes") or ()]
    found.sort(key=lambda node: node.rank)
    head = next((node for node in found if node.rank == 0 and node.address), None)
    # Without an address of its own a machine is reached from within its network, where the head is.
    return tuple(node if node.address else replace(node, via=head) for node in found)
