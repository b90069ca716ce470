"""Which places of data the nodes of a target can open. Contract: pure, and asks targets for what they can do, never for their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..providers.base import Capability, Provider
from .buckets import Bucket
from .diagnostics import Diagnostic, SourceMap, warning
from .ir import MountMode, PlacementPlan, SpecPath, Task, TaskGraph


def unreachable(uri: str, mode: MountMode, opens: frozenset[str]) -> str:
    """Why the nodes of a target that opens these schemes cannot bring what a URI names; empty when they can."""
    scheme = uri.partition("://")[0]
    if scheme not in opens:
        named = " and ".join([f"`{name}://`" for name in sorted(opens)] + ["local paths"])
        return f"`{uri}`: nodes of this target read {named}, not `{scheme}://`."
    if scheme != "file" and mode is not MountMode.COPY:
        return f"`{uri}`: nodes copy from `{scheme}://` and mount nothing yet; write `mode: COPY`."
    return ""


def not_openable(
    graph: TaskGraph, plan: PlacementPlan, buckets: tuple[Bucket, ...], providers: Mapping[str, Provider], sources: SourceMap
) -> tuple[Diagnostic, ...]:
    """A warning at each line that uses a bucket of the plan's which the task's own nodes could not open: an apply refuses those, and
    a reviewer is to know before. That jobs cannot be started at a target at all is said elsewhere."""
    uris = {bucket.storage.name: bucket.storage.uri for bucket in buckets}
    heads = {placement.task: placement.provider for placement in reversed(plan.placements)}
    said = []
    for task in graph.tasks:
        target = providers[heads[task.id]]
        if Capability.RUN not in target.capabilities:
            continue
        for name, mode, origin in _used(task):
            uri = uris.get(name)
            why = unreachable(uri, mode, target.opens) if uri is not None else ""
            if why:
                said.append(
                    warning(
                        "storage-unopened",
                        "A job's nodes could not open a Storage",
                        f"`{task.id}` mounts `{name}` or keeps its checkpoints there, and it lies at {heads[task.id]}. {why} `skyc apply`"
                        " refuses this plan.",
                        span=sources.find(origin),
                        hint="choose a target whose nodes open its buckets with `infra`, or let the job open the place by itself",
                    )
                )
    return tuple(said)


def _used(task: Task) -> Iterator[tuple[str, MountMode, SpecPath]]:
    """The Storages that the task's own nodes open, how, and the lines that say so."""
    for mount in task.file_mounts:
        if mount.storage is not None:
            yield mount.storage, mount.mode, mount.origin
    if task.checkpoint is not None:
        yield task.checkpoint.storage, MountMode.COPY, task.checkpoint.origin


__all__ = ["not_openable", "unreachable"]
