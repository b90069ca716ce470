"""Which places of data the nodes of a target can open. Contract: pure, and asks targets for what they can do, never for their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..providers.base import Capability, Provider
from .buckets import Bucket
from .diagnostics import Diagnostic, SourceMap, warning
from .ir import MountMode, PlacementPlan, SpecPath, Task, TaskGraph


def unreachable(uri: str, mode: MountMode, capabilities: frozenset[Capability]) -> str:
    """Why the nodes of a target with these capabilities cannot bring what a URI names; empty when they can."""
    scheme = uri.partition("://")[0]
    if scheme == "file" and Capability.FILE_STORE in capabilities:
        return ""
    if scheme == "s3" and Capability.S3 in capabilities:
        return "" if mode is MountMode.COPY else f"`{uri}`: nodes copy from `s3://` and mount nothing yet; write `mode: COPY`."
    reached = [name for name, needed in (("file", Capability.FILE_STORE), ("s3", Capability.S3)) if needed in capabilities]
    named = " and ".join([f"`{name}://`" for name in reached] + ["local paths"])
    return f"`{uri}`: nodes of this target read {named}, not yet `{scheme}://`."


def not_openable(
    graph: TaskGraph, plan: PlacementPlan, buckets: tuple[Bucket, ...], providers: Mapping[str, Provider], sources: SourceMap
) -> tuple[Diagnostic, ...]:
    """A warning at each line that uses a bucket of the plan's which the task's own nodes could not open: an apply refuses those, and
    a reviewer is to know before. That jobs cannot be started at a target at all is said elsewhere."""
    uris = {bucket.storage.name: bucket.storage.uri for bucket in buckets}
    heads = {placement.task: placement.provider for placement in reversed(plan.placements)}
    said = []
    for task in graph.tasks:
        able = providers[heads[task.id]].capabilities
        for name, mode, origin in _used(task):
            uri = uris.get(name)
            why = unreachable(uri, mode, able) if uri is not None and Capability.RUN in able else ""
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
