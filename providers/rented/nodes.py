"""What is the same of a node at every cloud that rents machines: its group, its name, and its row in the output `nodes`."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal

from ...compiler.ir import Accelerator, FrozenMap, GroupName, NodeShape, TaskId, Value
from ..base import LowerContext
from . import ports
from .cloud_init import Boot, places


def node_name(task: TaskId, group: GroupName, index: int) -> str:
    return f"{task}-{group}-{index}"


def whole(count: Decimal) -> int:
    """A job that asks for half a device still needs a machine that has one."""
    return int(count.to_integral_value(ROUND_CEILING))


def devices(accelerators: Iterable[Accelerator]) -> int:
    return sum(whole(device.count) for device in accelerators)


def boot_of(name: str, arch: str, shape: NodeShape, context: LowerContext, head: str | None) -> Boot:
    """`head`: the head's address inside the network; None for the head itself."""
    return Boot(
        node=name,
        arch=arch,
        runtime=context.runtime,
        access=context.access,
        head=head,
        cpus=int(shape.cpus.to_integral_value(ROUND_DOWN)) or 1,
        gpus=devices(shape.accelerators),
    )


def output(
    name: str, group: GroupName, rank: int, shape: NodeShape, context: LowerContext, *, id: Value, ip: Value, address: Value
) -> Value:
    """What `provider.nodes` reads: the fields of `base.Node`. id, ip, address: what the cloud will say, as references."""
    where = places(name, context.runtime)
    return FrozenMap[Value](
        {
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
