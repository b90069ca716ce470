"""A task graph as its digest should see it: the same on every machine that has the same files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .ir import TaskGraph


def portable(graph: TaskGraph, directory: Path) -> TaskGraph:
    """The graph with local paths relative to the task file's directory, where they are in it or beside it. Others stay: `/data` is the
    same place by its name. Pure."""

    def moved(path: str | None) -> str | None:
        if path is None or "://" in path:
            return path
        for base, prefix in ((directory, "."), (directory.parent, "..")):
            if Path(path).is_relative_to(base) and len(base.parts) > 1:
                return f"{prefix}/{Path(path).relative_to(base).as_posix()}"
        return path

    return replace(
        graph,
        tasks=tuple(
            replace(
                task,
                workdir=moved(task.workdir),
                file_mounts=tuple(replace(mount, source=moved(mount.source)) for mount in task.file_mounts),
                storages=tuple(replace(storage, source=moved(storage.source)) for storage in task.storages),
            )
            for task in graph.tasks
        ),
    )
