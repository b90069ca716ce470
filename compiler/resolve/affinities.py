"""`affinity`: names become ids, and what no placement could meet is refused.

Being at the same place is an equivalence, and places are nested: what shares a zone shares its region and cloud. A `distinct` entry is
refused exactly when the `same` entries of the file, taken together, put both of its tasks at one place of that level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..ir import Affinity, AffinityLevel, AffinitySpec, SpecFile, SpecPath, Task, TaskId
from ..parse.nearest import nearest
from ..parse.words import placed
from .identifiers import identifier
from .variables import Scope

_LEVELS = tuple(AffinityLevel)
"""From the largest place to the smallest."""


def with_affinities(scope: Scope, spec: SpecFile, tasks: Sequence[Task]) -> list[Task]:
    """The tasks with `affinities` filled in. tasks: in file order."""
    known = dict.fromkeys(task.id for task in tasks)
    named = [
        task if document.affinity is None else replace(task, affinities=_affinities(scope, document.affinity, task, known))
        for document, task in zip(spec.documents, tasks, strict=True)
    ]
    _check(scope, named)
    return named


def _affinities(scope: Scope, spec: AffinitySpec, task: Task, known: dict[TaskId, None]) -> tuple[Affinity, ...]:
    found: dict[tuple[bool, AffinityLevel, TaskId], Affinity] = {}
    for same, level, name, path in _entries(spec):
        other = TaskId(identifier(name))
        if other == task.id:
            detail = f"{placed(name)} is this task itself."
            hint = "name another task, or remove it"
            scope.complain("affinity-to-itself", "A task has an affinity to itself", detail, path, hint=hint)
        elif other not in known:
            others = [task_id for task_id in known if task_id != task.id]
            close = nearest(other, others)
            listed = ", ".join(f"`{task_id}`" for task_id in others[:10])
            hint = f"did you mean `{close}`?" if close else f"the other tasks are: {listed}" if others else "remove `affinity`"
            detail = f"No other task of this file is called {placed(name)}."
            scope.complain("unknown-task", "A task is not known", detail, path, hint=hint)
        else:
            found.setdefault((same, level, other), Affinity(level=level, same=same, task=other, origin=path))
    return tuple(found.values())


def _entries(spec: AffinitySpec) -> Iterator[tuple[bool, AffinityLevel, str, SpecPath]]:
    for same, given in ((True, spec.same), (False, spec.distinct)):
        path = spec.origin.child("same" if same else "distinct")
        for level in _LEVELS:
            for position, name in enumerate(given.get(level.value, ()) if given is not None else ()):
                yield same, level, name, path.child(level.value).child(position)


def _check(scope: Scope, tasks: Sequence[Task]) -> None:
    # The smallest place that two tasks directly ask to share, and which of them asks: what a message can point at.
    asked: dict[frozenset[TaskId], tuple[AffinityLevel, TaskId, TaskId]] = {}
    for level in _LEVELS:
        for task in tasks:
            wishes = (wish for wish in task.affinities if wish.same and wish.level is level)
            asked.update({frozenset({task.id, wish.task}): (level, task.id, wish.task) for wish in wishes})
    for depth, level in enumerate(_LEVELS):
        stands_for = _at_one_place(tasks, frozenset(_LEVELS[depth:]))
        for task in tasks:
            for wish in task.affinities:
                if wish.same or wish.level is not level or stands_for[task.id] != stands_for[wish.task]:
                    continue
                reason = f"`same` entries of other tasks, taken together, put both into one {level.value}"
                shared, one, other = asked.get(frozenset({task.id, wish.task}), (level, None, None))
                if one is not None and _LEVELS.index(shared) >= depth:
                    reason = f"`{one}` asks for the same {shared.value} as `{other}`"
                detail = f"`{task.id}` asks for another {level.value} than `{wish.task}`, but {reason}."
                hint = "remove one of the two"
                scope.complain("conflicting-affinity", "Two affinities contradict", detail, wish.origin, hint=hint)


def _at_one_place(tasks: Sequence[Task], levels: frozenset[AffinityLevel]) -> dict[TaskId, TaskId]:
    """Task → the one that stands for all tasks that `same` entries of these levels put at its place."""
    above = {task.id: task.id for task in tasks}

    def top(task: TaskId) -> TaskId:
        while above[task] != task:
            # Each look-up halves the way for the next one, so long chains stay cheap.
            above[task] = above[above[task]]
            task = above[task]
        return task

    for task in tasks:
        for wish in task.affinities:
            if wish.same and wish.level in levels:
                above[top(wish.task)] = top(task.id)
    return {task.id: top(task.id) for task in tasks}
