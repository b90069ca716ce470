"""Which buckets, and which prefixes in them, a task's machines must reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...compiler.ir import MountMode, Task


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A bucket, and a prefix in it without a final slash (empty: all of it)."""

    bucket: str
    prefix: str
    writes: bool


def bucket_places(task: Task, scheme: str) -> tuple[Place, ...]:
    """What the task's machines must reach below `scheme` (`s3://`), sorted; one that is written is not listed for reading too."""
    found = {place for uri, writes in _uris(task) if (place := _place(uri, scheme, writes)) is not None}
    return tuple(sorted(place for place in found if place.writes or Place(place.bucket, place.prefix, True) not in found))


def _uris(task: Task) -> Iterator[tuple[str | None, bool]]:
    for storage in task.storages:
        yield storage.uri, True
    for mount in task.file_mounts:
        yield mount.source, mount.mode is not MountMode.COPY
    for flow in task.inputs:
        yield flow.key, False
    for flow in task.outputs:
        yield flow.key, True


def _place(uri: str | None, scheme: str, writes: bool) -> Place | None:
    if uri is None or not uri.startswith(scheme):
        return None
    # Options of a store (`?endpoint=`) are no part of the place.
    bucket, _, prefix = uri.removeprefix(scheme).partition("?")[0].partition("/")
    return Place(bucket, prefix.strip("/"), writes)
