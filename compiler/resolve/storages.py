"""One Storage of a file is one place, whichever of its tasks name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir import Infra, Storage, Task
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
