"""Which buckets, and which prefixes in them, a task's machines must reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...compiler.diagnostics import Diagnostic, warning
from ...compiler.ir import MountMode, SpecPath, Task


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


_OF_CLOUDS = {"s3": "AWS", "gs": "Google Cloud", "az": "Azure", "cos": "IBM Cloud"}
"""Scheme → whose buckets it names. A place on this machine or on the web is nobody's to give rights on."""


def without_rights(task: Task, scheme: str, target: str) -> Iterator[Diagnostic]:
    """Places in another cloud's storage: an identity of `target` opens nothing there, so what the machines need to read or write them
    must come with the task."""
    said: set[str] = set()
    for uri, origin in _named(task):
        other = (uri or "").partition("://")[0]
        if f"{other}://" == scheme or other not in _OF_CLOUDS or str(origin) in said:
            continue
        said.add(str(origin))
        yield warning(
            "no-rights-there",
            "The machines get no rights on this place",
            f"`{origin}` is in {_OF_CLOUDS[other]}'s storage, and the machines' identity at `{target}` is good for `{scheme}` alone.",
            hint=f"use a place in `{scheme}`, or give the task credentials for the other in `secrets`",
            subject=origin,
        )


def _named(task: Task) -> Iterator[tuple[str | None, SpecPath]]:
    yield from ((storage.uri, storage.origin) for storage in task.storages)
    yield from ((mount.source, mount.origin) for mount in task.file_mounts)
    yield from ((flow.key, flow.origin) for flow in (*task.inputs, *task.outputs))


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
