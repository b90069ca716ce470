"""What differs about the work itself: scripts, variables, data, times. Place, machines and money are the placement's.

Contract: pure and total: every field of a Task is looked at, so a field that is added later is named here without being known here.
Scripts are shown as small diffs. Of variables only the names are said: a value may be nobody's business in a comment.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping

from ..ir import NodeGroup, Task, TaskGraph
from ..printer import print_ir
from .model import JobChange

MOST_LINES = 40
"""Of one script's diff. A reader of more reads the pull request."""

_NAMED = {
    "groups": "resources",
    "workdir": "workdir",
    "storages": "storage",
    "hours_on": "hours",
    "hours_assumed": "hours",
    "deadline_hours": "deadline",
    "affinities": "affinity",
    "traffic_gb": "traffic",
}
"""Fields of a Task that the file calls something else."""
_APART = frozenset({"id", "origin", "setup", "envs", "secrets", "groups"})


def job_changes(
    before: TaskGraph | None, after: TaskGraph | None, *, roots: tuple[str, str] = ("", "")
) -> tuple[JobChange, ...]:
    """Sorted by task in the order of the file at head, then removed ones. `roots`: where each side's files lay, which is no difference."""
    old = {task.id: task for task in before.tasks} if before else {}
    new = {task.id: task for task in after.tasks} if after else {}
    if not old or not new:
        return ()
    found: list[JobChange] = []
    for id_, task in new.items():
        if id_ not in old:
            found.append(JobChange(task=id_, field="task added"))
        else:
            found += _task(old[id_], task, roots)
    found += [JobChange(task=id_, field="task removed") for id_ in sorted(set(old) - set(new))]
    return tuple(found)


def _task(old: Task, new: Task, roots: tuple[str, str]) -> Iterator[JobChange]:
    yield from _script(new.id, "setup", old.setup, new.setup)
    yield from _runs(old, new)
    yield from _names(new.id, "env", old.envs, new.envs)
    yield from _names(new.id, "secret", dict.fromkeys(old.secrets, ""), dict.fromkeys(new.secrets, ""))
    named: dict[str, None] = {}
    if _requests(old) != _requests(new):
        named["resources"] = None
    for row in dataclasses.fields(Task):
        if row.name in _APART:
            continue
        texts = [_text(getattr(task, row.name), root) for task, root in zip((old, new), roots, strict=True)]
        if texts[0] != texts[1]:
            named[_NAMED.get(row.name, row.name)] = None
    for name in named:
        yield JobChange(task=new.id, field=name)


def _runs(old: Task, new: Task) -> Iterator[JobChange]:
    was = {group.name: group.run for group in old.groups}
    becomes = {group.name: group.run for group in new.groups}
    for name in dict.fromkeys((*becomes, *was)):
        alone = set(was) == set(becomes) == {name}
        yield from _script(new.id, "run" if alone else f"run of {name}", was.get(name, ""), becomes.get(name, ""))


def _script(task: str, field: str, old: str, new: str) -> Iterator[JobChange]:
    if old == new:
        return
    rows = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0))[2:]
    lines = [row for row in rows if not row.startswith("@@")]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"~… {len(lines) - MOST_LINES} more lines"]
    yield JobChange(task=task, field=field, lines=tuple(lines))


def _names(task: str, word: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[JobChange]:
    for name in sorted({*old, *new}):
        if name not in old:
            yield JobChange(task=task, field=f"{word} {name} added")
        elif name not in new:
            yield JobChange(task=task, field=f"{word} {name} removed")
        elif old[name] != new[name]:
            yield JobChange(task=task, field=f"{word} {name} changed")


def _requests(task: Task) -> str:
    """What the groups ask for, without what they run."""
    asked: list[NodeGroup] = [dataclasses.replace(group, run="") for group in task.groups]
    return "\n".join(print_ir(group) for group in asked)


def _text(value: object, root: str) -> str:
    text = print_ir(value)
    return text.replace(root, "") if root else text
