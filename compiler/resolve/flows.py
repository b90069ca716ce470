"""`inputs` and `outputs`: keys read, joined with the Storages they lie in, and each straight input joined with its source.

Invariants of what comes out: a flow's `storage` names a Storage of the file; every straight input has exactly one source among the
tasks its task needs (`ir/flows.py`); no key is twice among a task's inputs, nor among its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir import DataFlow, FrozenMap, SpecPath, Storage, Task
from ..ir.flows import flow_sources, is_straight
from ..parse import amounts
from ..parse.amounts import Misread
from ..parse.nearest import nearest
from ..parse.words import placed
from .uris import checked_uri
from .variables import Scope


def flows(scope: Scope, given: FrozenMap[str] | None, path: SpecPath) -> tuple[DataFlow, ...]:
    """One of a task's two mappings, not yet joined with anything."""
    read: dict[str, DataFlow] = {}
    for text, size in (given or {}).items():
        origin = path.child(text)
        key = _key(scope, text, origin)
        if key is None:
            continue
        if key.rstrip("/") in read:
            detail = f"{placed(key)} stands here twice, once its variables are written out."
            scope.complain("duplicate-key", "A key is written twice", detail, origin, hint="remove one of them")
            continue
        read[key.rstrip("/")] = DataFlow(key=key, storage=None, gb=amounts.read_size(size), origin=origin)
    return tuple(read.values())


def _key(scope: Scope, text: str, path: SpecPath) -> str | None:
    expanded = scope.expand(text, path)
    if expanded is None:
        return None
    if amounts.is_uri(expanded):
        return checked_uri(scope, expanded, path)
    try:
        return amounts.read_flow(expanded)
    except Misread as misread:
        detail = f"{placed(expanded)} is no name of data. {misread.reason}"
        scope.complain("bad-name", "A name is not allowed", detail, path, hint=misread.hint)
        return None


def in_storages(tasks: Sequence[Task]) -> list[Task]:
    """Every flow with the Storage it lies in: the one with the longest URI; of equal ones the task's own."""
    everywhere = [storage for task in tasks for storage in task.storages]
    names = {storage.name for storage in everywhere}
    theirs = _by_uri(everywhere)

    def joined(own: dict[str, str], given: tuple[DataFlow, ...]) -> tuple[DataFlow, ...]:
        return tuple(replace(flow, storage=_storage_of(flow.key, names, own, theirs)) for flow in given)

    return [
        replace(task, inputs=joined(own, task.inputs), outputs=joined(own, task.outputs))
        for task in tasks
        for own in [_by_uri(task.storages)]
    ]


def _by_uri(storages: Sequence[Storage]) -> dict[str, str]:
    """URI → name; the first one wins where two Storages share one."""
    found: dict[str, str] = {}
    for storage in storages:
        if storage.uri is not None:
            found.setdefault(storage.uri.rstrip("/"), storage.name)
    return found


def _storage_of(key: str, names: set[str], own: dict[str, str], theirs: dict[str, str]) -> str | None:
    if not amounts.is_uri(key):
        return key if key in names else None
    place = key.rstrip("/")
    # From the whole URI upwards, one path step at a time: `s3://a/bc` does not lie in `s3://a/b`.
    while "://" in place:
        found = own.get(place) or theirs.get(place)
        if found is not None:
            return found
        place = place.rpartition("/")[0]
    return None


def check_sources(scope: Scope, tasks: Sequence[Task]) -> None:
    """Complain about each straight input without exactly one source. tasks: topologically sorted."""
    sources = flow_sources(tasks)
    outputs: dict[str, Task] = {flow.key: task for task in reversed(tasks) for flow in task.outputs if is_straight(flow)}
    storages = {storage.name for task in tasks for storage in task.storages}
    for task in tasks:
        for flow in filter(is_straight, task.inputs):
            found = sources[task.id][flow.key]
            if len(found) == 1:
                continue
            if found:
                detail = f"{placed(flow.key)} is an output of " + " and of ".join(f"`{name}`" for name in found[:4]) + "."
                hint = "give their outputs different names, and list each as an input"
                scope.complain("ambiguous-input", "An input has several sources", detail, flow.origin, hint=hint)
                continue
            detail = f"No task that `{task.id}` needs outputs {placed(flow.key)}, and no Storage of this file has that name."
            hint = _unknown_hint(task, flow.key, outputs, storages)
            scope.complain("unknown-input", "An input is not known", detail, flow.origin, hint=hint)


def _unknown_hint(task: Task, key: str, outputs: dict[str, Task], storages: set[str]) -> str:
    writer = outputs.get(key)
    if writer is not None and writer.id != task.id:
        return f"add `needs: [{writer.id}]`: that task outputs it"
    mine = {flow.key for flow in task.outputs}
    close = nearest(key, (outputs.keys() - mine) | storages)
    if close is not None:
        return f"did you mean `{close}`?"
    return "write a URI or the name of a Storage, or add it to the `outputs` of a task before this one"
