"""Which buckets, and which prefixes in them, a task's machines must reach; and what all clouds say of buckets that skyc made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...compiler.diagnostics import Diagnostic, error, warning
from ...compiler.ir import DeploymentId, MountMode, SpecPath, Storage, Task
from ..base import MARK_FILE, OwnedResource


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


def named_at(task: Task, scheme: str) -> Mapping[str, SpecPath]:
    """Bucket → where the task names it first, of those below `scheme`."""
    found: dict[str, SpecPath] = {}
    for uri, origin in _named(task):
        place = _place(uri, scheme, writes=False)
        if place is not None:
            found.setdefault(place.bucket, origin)
    return found


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


def known_mark(deployment: DeploymentId, home: Path) -> str | None:
    """The end of the names of the deployment's buckets; None where none was ever made."""
    try:
        return (home / "deployments" / deployment / MARK_FILE).read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def without_place(name: str, provider: str, example: str) -> Diagnostic:
    """For a Storage without a bucket at the target of its task. example: a URI of the user's."""
    return error(
        "cannot-compile-yet",
        "The target is priced and cannot be compiled yet",
        f"The storage `{name}` has no place that machines at `{provider}` could reach: its `infra` puts it where skyc makes no bucket, or"
        " at another cloud, where it gives them no rights.",
        hint=f"name a place of yours with `uri: {example}`, or another `infra`",
    )


def not_empty(resource: OwnedResource, command: str) -> Diagnostic:
    """Why a bucket is not removed. command: lists what is in it."""
    return error(
        "storage-not-empty",
        "A bucket with data in it is not removed",
        f"The bucket {resource.name} holds data of the storage `{resource.storage}`, and no Terraform state of `{resource.deployment}`"
        " knows it. Nothing was deleted.",
        hint="keep what you need of it; then empty it, and run the command again",
        commands=(command,),
    )


def name_too_long(storage: Storage, provider: str, where: str, most: int) -> Diagnostic:
    """Whose data a bucket holds could not be read off it. where: what says that. most: characters it has for the name."""
    return error(
        "unsupported-here",
        "The target cannot do this",
        f"`{storage.name}` on `{provider}`: {where} says whose data a bucket holds, with at most {most} characters of its name.",
        hint="give the Storage a shorter name",
        subject=storage.origin,
    )
