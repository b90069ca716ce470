"""Whether two tasks' nodes have room for their jobs at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..compiler.ir import DeploymentId, TaskId
from ..providers.base import Capability
from .clusters import cluster_of
from .file_jobs import Started
from .session import Session


def has_room(session: Session, deployment: DeploymentId, task: TaskId, running: Collection[Started]) -> bool:
    """Whether a task's job can run beside those that do. A machine that is rented, or another one of the user's, is its task's alone. Nodes
    on this machine share it: there the CPUs, memory and devices of them all must not be more than it has."""
    cluster = cluster_of(session, deployment, task)
    if cluster is None or Capability.THIS_MACHINE not in cluster.provider.capabilities:
        return True
    beside = [item.cluster for item in running if item.cluster.provider.name == cluster.provider.name]
    if not beside:
        return True
    whole = cluster.provider.catalog(home=session.home).instance_type(0)
    nodes = [node for found in (cluster, *beside) for node in found.nodes]
    devices = Counter[str]()
    for node in nodes:
        devices.update(node.accelerators)
    there = {device.name: device.count for device in whole.accelerators}
    return (
        sum(node.cpus for node in nodes) <= whole.cpus
        and sum(node.memory_mb for node in nodes) <= whole.memory_gb * 1024
        and all(count <= there.get(name, 0) for name, count in devices.items())
    )
