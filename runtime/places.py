"""Where a task's storage and checkpoints lie: names of the task file become URIs and prefixes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import DeploymentId, MountMode, Storage, Task
from ..compiler.openable import unreachable
from .job import JobCheckpoint, JobMount
from .records import DeploymentState
from .results import KeptStorage
from .session import Session
from .state import deployment_directory

FILE = "file://"
STORAGES = "storages.json"
"""The list of a deployment's storages, in its directory."""


def storage_uri(session: Session, storage: Storage, provider: str) -> str:
    """The URI the task gives, else the one the target chooses for the name."""
    return storage.uri or session.provider(provider).storage_uri(storage.name, home=session.home)


def mounts(session: Session, task: Task, provider: str) -> tuple[JobMount, ...]:
    """The task's file mounts with every Storage replaced by its URI."""
    by_name = {storage.name: storage for storage in task.storages}
    found = []
    for mount in task.file_mounts:
        source = mount.source if mount.storage is None else storage_uri(session, by_name[mount.storage], provider)
        assert source is not None, "resolve gives every mount a source or a storage"
        found.append(JobMount(target=mount.target, source=source, mode=mount.mode))
    return tuple(found)


def refuse_unopened(tasks: Iterable[Task], opens: Callable[[Task], frozenset[str]]) -> None:
    """Storages that a job uses and nothing here, or none of its nodes, can reach: said before anything is rented for it.

    opens: of the target a task's head is at (`Provider.opens`). Raises SkycError.
    """
    from .storage.base import open_store

    for task in tasks:
        able = opens(task)
        by_name = {storage.name: storage for storage in task.storages}
        used = {mount.storage for mount in task.file_mounts} | ({task.checkpoint.storage} if task.checkpoint else set())
        for storage in task.storages:
            if storage.name in used and storage.uri is not None:
                open_store(storage.uri)
        sources = [
            (mount.source if mount.storage is None else by_name[mount.storage].uri, mount.mode, mount.origin)
            for mount in task.file_mounts
        ]
        if task.checkpoint is not None:
            sources.append((by_name[task.checkpoint.storage].uri, MountMode.COPY, task.checkpoint.origin))
        for uri, mode, origin in sources:
            why = unreachable(uri, mode, able) if uri is not None and "://" in uri else ""
            if why:
                raise SkycError(
                    error(
                        "mount-store-unsupported",
                        "A job's nodes could not reach its data",
                        f"`{origin}`. {why} Nothing was made.",
                    )
                )


def checkpoint_place(
    session: Session, deployment: DeploymentId, task: Task, provider: str, run: int, *, restore: bool = True
) -> JobCheckpoint:
    """Where a run of the task keeps its checkpoints. The task has a checkpoint policy."""
    policy = task.checkpoint
    assert policy is not None
    storage = next(item for item in task.storages if item.name == policy.storage)
    return JobCheckpoint(
        store=storage_uri(session, storage, provider),
        prefix=f"checkpoints/{deployment}/{task.id}/run-{run}",
        path=policy.path,
        every_seconds=policy.every_seconds,
        keep=policy.keep,
        restore=restore,
    )


def note_storages(
    session: Session, deployment: DeploymentId, task: Task, provider: str, *, buckets: frozenset[str] = frozenset()
) -> None:
    """Make the places skyc chose on this machine, and write down which storage the deployment uses.

    A destroy has no task file, and must know what to keep. Those that have a bucket of ours (`buckets`) are in its site's state.
    """
    path = _list_path(session, deployment)
    rows = {row["name"]: row for row in _read_list(path)}
    for storage in task.storages:
        if storage.name in buckets:
            continue
        uri = storage_uri(session, storage, provider)
        if storage.uri is None and uri.startswith(FILE):
            # A place skyc chose on this machine: nobody else makes it.
            _directory(uri).mkdir(parents=True, exist_ok=True, mode=0o700)
        rows[storage.name] = {"name": storage.name, "uri": uri, "persistent": storage.persistent}
    _write_list(path, [rows[name] for name in sorted(rows)])


def settle_storages(session: Session, deployment: DeploymentId, *, purge: bool) -> tuple[KeptStorage, ...]:
    """Remove what is not to outlive the deployment (with `purge`, everything skyc placed itself); the rest, by name.

    Only directories below the home's own `storage` are ever removed, and none that another deployment uses: what the user
    named by URI is theirs, and a name means the same place for every deployment. What is kept stays on the list, so that a
    later purge finds it.
    """
    kept = []
    own = (session.home / "storage").resolve()
    elsewhere = _used_elsewhere(session, deployment)
    listed = _list_path(session, deployment)
    rows = _read_list(listed)
    for row in rows:
        place = _directory(row["uri"])
        ours = row["uri"].startswith(FILE) and not place.is_symlink() and place.resolve().parent == own
        if (purge or not row["persistent"]) and ours and row["uri"] not in elsewhere:
            shutil.rmtree(place.resolve(), ignore_errors=True)
        else:
            kept.append(KeptStorage(name=row["name"], uri=row["uri"]))
    names = {storage.name for storage in kept}
    if rows:
        _write_list(listed, [row for row in rows if row["name"] in names])
    return tuple(kept)


def _used_elsewhere(session: Session, deployment: DeploymentId) -> frozenset[str]:
    """URIs on the lists of other deployments that are not destroyed."""
    others = [
        record.id
        for record in session.store.deployments()
        if record.id != deployment and record.state is not DeploymentState.DESTROYED
    ]
    return frozenset(str(row["uri"]) for other in others for row in _read_list(_list_path(session, other)))


def _directory(uri: str) -> Path:
    return Path(unquote(uri.removeprefix(FILE)))


def _list_path(session: Session, deployment: DeploymentId) -> Path:
    return deployment_directory(session.home, deployment) / STORAGES


def _write_list(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(rows, indent=1) + "\n")
    fresh.replace(path)


def _read_list(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return rows
