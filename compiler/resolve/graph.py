"""resolve: the spec as written to the graph of tasks that is to run.

Defaults are filled in, amounts become numbers, names become ids, variables get their values, tasks get their order. Secret values
never enter the graph: they are returned beside it, and a Task holds their names only.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from ..diagnostics import Diagnostic, SourceMap, has_errors
from ..ir import FrozenMap, GroupName, NodeGroup, Secret, SpecFile, Task, TaskGraph, TaskId, TaskSpec
from ..parse import amounts
from ..parse.amounts import Misread
from ..parse.nearest import nearest
from ..parse.words import placed
from .affinities import with_affinities
from .data import task_data
from .flows import check_sources, flows, in_storages
from .identifiers import identifier
from .machines import requests
from .storages import with_shared_storages
from .times import deadline, hours
from .variables import EnvOverrides, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """`secrets`: the values of every name in some task's `secrets`."""

    graph: TaskGraph
    secrets: FrozenMap[Secret]


def resolve(
    spec: SpecFile, source: SourceMap, *, stem: str, directory: Path, overrides: EnvOverrides
) -> tuple[Resolved | None, tuple[Diagnostic, ...]]:
    """The task graph of a file, or None when there is an error among the diagnostics.

    stem: the file's name without suffix, for tasks without a name. directory: where relative local paths start.
    """
    diagnostics: list[Diagnostic] = []
    tasks: list[Task] = []
    taken: set[TaskId] = set()
    secrets: dict[str, Secret] = {}
    for index, document in enumerate(spec.documents):
        scope = Scope(source, directory, overrides, diagnostics)
        scope.declare(document)
        fallback = stem if len(spec.documents) == 1 else f"{stem}-{index + 1}"
        task = _task(scope, document, fallback)
        if task.id in taken:
            detail = f"Two tasks of this file would be called `{task.id}`."
            hint = "give one of them another name"
            scope.complain("duplicate-task", "Two tasks have one name", detail, document.origin.child("name"), hint=hint)
        taken.add(task.id)
        tasks.append(task)
        for name, secret in scope.hidden.items():
            if secrets.setdefault(name, secret) != secret:
                detail = f"Two tasks of this file give the secret `{name}` different values."
                path = document.origin.child("secrets").child(name)
                scope.complain("conflicting-secret", "A secret has two values", detail, path, hint="use two names")
    scope = Scope(source, directory, overrides, diagnostics)
    ordered = _joined(scope, spec, tasks)
    graph = TaskGraph(name=_deployment_name(scope, spec, tasks, stem), tasks=ordered)
    if has_errors(diagnostics):
        return None, tuple(diagnostics)
    return Resolved(graph=graph, secrets=FrozenMap(secrets)), tuple(diagnostics)


def _joined(scope: Scope, spec: SpecFile, tasks: list[Task]) -> tuple[Task, ...]:
    """The tasks in order, with what one of them says about others. Not all of them when there is an error."""
    if len({task.id for task in tasks}) < len(tasks):
        # Names lead nowhere certain while two tasks share one.
        _wire(scope, spec, tasks)
        return ()
    tasks = in_storages(with_shared_storages(scope, tasks))
    tasks = with_affinities(scope, spec, tasks)
    wired = _wire(scope, spec, tasks)
    known = {task.id for task in tasks}
    if not all(need in known for task in wired for need in task.needs):
        return ()
    ordered = _sorted(scope, wired)
    if len(ordered) == len(tasks):
        check_sources(scope, ordered)
    return ordered


def _deployment_name(scope: Scope, spec: SpecFile, tasks: list[Task], stem: str) -> str:
    """The header's name, else the first task's, else the file's."""
    if spec.header is not None and spec.header.name is not None:
        name = scope.expand(spec.header.name, spec.header.origin.child("name"))
        return identifier(name or stem)
    return tasks[0].id if spec.documents[0].name is not None else identifier(stem)


def _task(scope: Scope, spec: TaskSpec, fallback: str) -> Task:
    task_id = TaskId(identifier(_name(scope, spec) or fallback))
    data = task_data(scope, spec, task_id)
    groups = _groups(scope, spec)
    inputs = flows(scope, spec.inputs, spec.origin.child("inputs"))
    outputs = flows(scope, spec.outputs, spec.origin.child("outputs"))
    length = hours(scope, spec.hours, spec.origin.child("hours"))
    latest, latest_hours = deadline(scope, spec.deadline, spec.origin.child("deadline"))
    return Task(
        id=task_id,
        origin=spec.origin,
        groups=groups,
        setup=spec.setup or "",
        # Read last: `${NAME}` in the data above can make an env public.
        envs=FrozenMap(scope.public),
        secrets=tuple(sorted(scope.hidden)),
        workdir=data.workdir,
        file_mounts=data.file_mounts,
        storages=data.storages,
        checkpoint=data.checkpoint,
        hours=length.hours,
        hours_assumed=length.assumed,
        hours_on=length.on,
        deadline=latest,
        deadline_hours=latest_hours,
        budget=amounts.read_money(spec.budget) if spec.budget is not None else None,
        inputs=inputs,
        outputs=outputs,
        traffic_gb=_traffic(scope, spec, groups),
    )


def _traffic(scope: Scope, spec: TaskSpec, groups: tuple[NodeGroup, ...]) -> Decimal | None:
    if spec.traffic is None:
        return None
    if len(groups) < 2:
        detail = "`traffic` is what the groups of a task exchange with each other, and this task has one group of nodes only."
        hint = "describe the others under `groups`, or remove `traffic`"
        scope.complain("missing-field", "A field is missing", detail, spec.origin.child("traffic"), hint=hint)
    return amounts.read_size(spec.traffic)


def _name(scope: Scope, spec: TaskSpec) -> str | None:
    if spec.name is None:
        return None
    path = spec.origin.child("name")
    name = scope.expand(spec.name, path)
    if name is None:
        return None
    try:
        return amounts.read_name(name)
    except Misread as misread:
        detail = f"{placed(name)} is not a name. {misread.reason}"
        scope.complain("bad-name", "A name is not allowed", detail, path, hint=misread.hint)
        return None


def _groups(scope: Scope, spec: TaskSpec) -> tuple[NodeGroup, ...]:
    if spec.groups is None:
        machines, ordered = requests(scope, spec.resources, None, spec.origin)
        main = NodeGroup(
            name=GroupName("main"),
            origin=spec.origin,
            num_nodes=spec.num_nodes if spec.num_nodes is not None else 1,
            requests=machines,
            ordered=ordered,
            run=spec.run or "",
        )
        return (main,)
    if not spec.groups:
        detail = "`groups` names no group."
        scope.complain("missing-field", "A field is missing", detail, spec.origin.child("groups"), hint="remove `groups`")
    if spec.num_nodes is not None:
        detail = "With `groups`, each group says its own number of nodes."
        path = spec.origin.child("num_nodes")
        scope.complain("conflicting-fields", "Two fields contradict", detail, path, hint="move `num_nodes` into the groups")
    groups: list[NodeGroup] = []
    for item in spec.groups:
        name = GroupName(identifier(item.name))
        if any(group.name == name for group in groups):
            detail = f"Two groups of this task would be called `{name}`."
            scope.complain("duplicate-group", "Two groups have one name", detail, item.origin, hint="rename one of them")
        machines, ordered = requests(scope, spec.resources, item.resources, item.origin)
        groups.append(
            NodeGroup(
                name=name,
                origin=item.origin,
                num_nodes=item.num_nodes if item.num_nodes is not None else 1,
                requests=machines,
                ordered=ordered,
                run=item.run if item.run is not None else spec.run or "",
            )
        )
    return tuple(groups)


def _wire(scope: Scope, spec: SpecFile, tasks: list[Task]) -> list[Task]:
    """Fill in `needs`. Without any `needs` in the file its tasks are a chain, unless the header lets them run side by side."""
    if all(document.needs is None for document in spec.documents):
        if spec.header is not None and spec.header.execution == "parallel":
            return tasks
        return [replace(task, needs=(tasks[index - 1].id,) if index else ()) for index, task in enumerate(tasks)]
    known = {task.id for task in tasks}
    wired: list[Task] = []
    for document, task in zip(spec.documents, tasks, strict=True):
        needs: dict[TaskId, None] = {}
        for position, name in enumerate(document.needs or ()):
            wanted = TaskId(identifier(name))
            path = document.origin.child("needs").child(position)
            if wanted not in known:
                close = nearest(wanted, known)
                hint = f"did you mean `{close}`?" if close else "the tasks are: " + ", ".join(f"`{task.id}`" for task in tasks)
                detail = f"No task of this file is called {placed(name)}."
                scope.complain("unknown-task", "A needed task is not known", detail, path, hint=hint)
            needs[wanted] = None
        wired.append(replace(task, needs=tuple(needs)))
    return wired


def _sorted(scope: Scope, tasks: list[Task]) -> tuple[Task, ...]:
    """Topological order, ties in file order."""
    done: dict[TaskId, Task] = {}
    missing = {task.id: set(task.needs) for task in tasks}
    later: dict[TaskId, list[int]] = {}
    for position, task in enumerate(tasks):
        for need in missing[task.id]:
            later.setdefault(need, []).append(position)
    # A heap of positions: always the first in the file of those that wait for nothing.
    free = [position for position, task in enumerate(tasks) if not missing[task.id]]
    while len(done) < len(tasks):
        if not free:
            waiting = {task.id: task for task in tasks if task.id not in done}
            round_trip = _cycle(waiting)
            detail = "These tasks wait for each other, so none could ever start: " + " → ".join(round_trip) + "."
            path = waiting[round_trip[0]].origin.child("needs")
            scope.complain("cycle", "Tasks wait for each other", detail, path, hint="remove one of the `needs`")
            break
        ready = tasks[heapq.heappop(free)]
        done[ready.id] = ready
        for position in later.get(ready.id, ()):
            missing[tasks[position].id].discard(ready.id)
            if not missing[tasks[position].id]:
                heapq.heappush(free, position)
    return tuple(done.values())


def _cycle(waiting: dict[TaskId, Task]) -> list[TaskId]:
    """One round trip, first and last the same. Every waiting task needs another waiting one, so walking on must come back."""
    walk: list[TaskId] = []
    step = next(iter(waiting))
    while step not in walk:
        walk.append(step)
        step = next(need for need in waiting[step].needs if need in waiting)
    return [*walk[walk.index(step) :], step]
