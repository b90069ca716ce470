"""Which task's output reaches which task's input, for data that goes straight from task to task.

Resolve checks with it that every such input has exactly one source, and whoever prices the edges asks it for that source, so both
agree by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .addresses import TaskId
from .frozen import FrozenMap
from .task import DataFlow, Task


def is_straight(flow: DataFlow) -> bool:
    """Whether the key is a name of its own: neither a URI nor a Storage."""
    return flow.storage is None and "://" not in flow.key


def flow_sources(tasks: Sequence[Task]) -> Mapping[TaskId, FrozenMap[tuple[TaskId, ...]]]:
    """Per task: the key of each straight input → the tasks it comes from, in the order of `tasks`. Resolved graphs have exactly one.

    tasks: topologically sorted. A source is a task that is needed, directly or through others, and outputs the key; where one such
    task needs another, the later one has the newer data and is the source.
    """
    positions = {task.id: position for position, task in enumerate(tasks)}
    # Sets of tasks as bits by position: a file may hold thousands of tasks that all need each other.
    before: list[int] = []
    writers: dict[str, int] = {}
    sources: dict[TaskId, FrozenMap[tuple[TaskId, ...]]] = {}
    for task in tasks:
        mine = 0
        for need in task.needs:
            mine |= before[positions[need]] | 1 << positions[need]
        before.append(mine)
        found: dict[str, tuple[TaskId, ...]] = {}
        for flow in filter(is_straight, task.inputs):
            rest = writers.get(flow.key, 0) & mine
            newest: list[TaskId] = []
            while rest:
                # The last one is needed by none of the others, and what it needs is older.
                last = rest.bit_length() - 1
                newest.insert(0, tasks[last].id)
                rest &= ~(before[last] | 1 << last)
            found[flow.key] = tuple(newest)
        sources[task.id] = FrozenMap(found)
        for flow in filter(is_straight, task.outputs):
            writers[flow.key] = writers.get(flow.key, 0) | 1 << positions[task.id]
    return sources
