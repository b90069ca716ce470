"""One Storage of a file is one place, whichever of its tasks name it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ..diagnostics import Diagnostic, SourceMap, error
from ..ir import Infra, SpecPath, Storage, Task
from ..parse.words import placed
from .variables import Scope


def with_shared_storages(scope: Scope, tasks: Sequence[Task]) -> list[Task]:
    """Where several tasks have a Storage of one name, those that say nothing about its place, size or time take what the first one
    that does says. Two that say different places, one of them chosen by the optimizer or bound to an `infra`, are an error."""
    first: dict[str, Storage] = {}
    sized: dict[str, Storage] = {}
    for task in tasks:
        for storage in task.storages:
            known = first.get(storage.name)
            if known is None:
                if _has_place(storage):
                    first[storage.name] = storage
            elif _has_place(storage) and _place(storage) != _place(known) and (_is_bound(storage) or _is_bound(known)):
                detail = f"Another task of this file puts {placed(storage.name)} at another place."
                hint = f"describe it once; elsewhere the name `{storage.name}` is enough"
                scope.complain("conflicting-storage", "A Storage has two places", detail, storage.origin, hint=hint)
            if storage.size_gb is not None or storage.keep_days is not None:
                sized.setdefault(storage.name, storage)
    return [
        replace(task, storages=tuple(_completed(storage, first, sized) for storage in task.storages)) if task.storages else task
        for task in tasks
    ]


def store_conflicts(
    tasks: Sequence[Task], schemes: Mapping[str, Collection[str]], sources: SourceMap
) -> tuple[Diagnostic, ...]:
    """Storages whose `store` or URI belongs to other providers than their `infra` names.

    schemes: provider → URI schemes of its object storage, as the catalog has them, which is why resolve itself cannot ask. A scheme
    that no provider claims says nothing about a place: many stores speak the protocol of another one.
    """
    found: dict[SpecPath, Diagnostic] = {}
    for storage in (storage for task in tasks for storage in task.storages):
        provider = storage.infra.provider
        if storage.uri is None or provider not in schemes:
            continue
        scheme = storage.uri.partition("://")[0]
        owners = sorted(name for name, theirs in schemes.items() if scheme in theirs)
        if owners and provider not in owners:
            path = storage.origin.child("infra")
            detail = f"{placed(storage.uri)} lies at " + " or ".join(f"`{name}`" for name in owners) + f", not at `{provider}`."
            hint = "remove `infra`, or choose a store of that provider"
            summary = "Two fields contradict"
            found[path] = error("conflicting-fields", summary, detail, span=sources.find(path), hint=hint)
    return tuple(found.values())


def _completed(storage: Storage, first: dict[str, Storage], sized: dict[str, Storage]) -> Storage:
    place = storage if _has_place(storage) else first.get(storage.name, storage)
    amounts = sized.get(storage.name, storage)
    return replace(
        storage,
        uri=place.uri,
        infra=place.infra,
        auto=place.auto,
        size_gb=storage.size_gb if storage.size_gb is not None else amounts.size_gb,
        keep_days=storage.keep_days if storage.keep_days is not None else amounts.keep_days,
    )


def _place(storage: Storage) -> tuple[str | None, Infra, bool]:
    return storage.uri, storage.infra, storage.auto


def _has_place(storage: Storage) -> bool:
    return storage.uri is not None or _is_bound(storage)


def _is_bound(storage: Storage) -> bool:
    return storage.auto or storage.infra != Infra()
