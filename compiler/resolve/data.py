"""The task's data: workdir, file mounts, Storages, checkpoints. Local paths become absolute and must exist.

This is the one part of the compiler that looks at the file system, and it only asks whether a named path is there: a missing source
is a mistake in the file, to be shown at its line before anything is made.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field

from ..ir import (
    CheckpointPolicy,
    FileMount,
    FileMountSpec,
    Infra,
    MountMode,
    SpecPath,
    Storage,
    StorageSpec,
    TaskId,
    TaskSpec,
)
from ..parse import amounts
from ..parse.amounts import Misread
from ..parse.nearest import nearest
from ..parse.words import placed
from .uris import checked_uri
from .variables import Scope

DEFAULT_EVERY = 300
DEFAULT_KEEP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    workdir: str | None
    file_mounts: tuple[FileMount, ...]
    storages: tuple[Storage, ...]
    checkpoint: CheckpointPolicy | None


def task_data(scope: Scope, task: TaskSpec, task_id: TaskId) -> TaskData:
    """Everything of `task` that is files. Complaints go to the scope; what could not be read is left out."""
    reader = _Data(scope, task_id)
    workdir = reader.workdir(task.workdir, task.origin.child("workdir")) if isinstance(task.workdir, str) else None
    for storage in task.storage or ():
        reader.declare(storage, storage.name or "")
    mounts = tuple(mount for spec in task.file_mounts or () if (mount := reader.mount(spec)) is not None)
    checkpoint = reader.checkpoint(task)
    return TaskData(workdir=workdir, file_mounts=mounts, storages=tuple(reader.storages.values()), checkpoint=checkpoint)


@dataclass(slots=True)
class _Data:
    scope: Scope
    task_id: TaskId
    storages: dict[str, Storage] = field(default_factory=dict)
    _modes: dict[str, str | None] = field(default_factory=dict)
    _targets: dict[str, int] = field(default_factory=dict)

    def workdir(self, text: str, path: SpecPath) -> str | None:
        found = self._local(text, path, slug="missing-workdir", summary="The workdir does not exist")
        # Syncing a file as a workdir would put it where a directory is expected, on every node.
        if found is not None and not os.path.isdir(found):  # noqa: PTH112
            detail = f"{placed(text)} is a file. A workdir is the directory that is brought to every node."
            hint = "name its directory, or use `file_mounts`"
            self.scope.complain("not-a-directory", "The workdir is not a directory", detail, path, hint=hint)
            return None
        return found

    def declare(self, spec: StorageSpec, name: str) -> Storage | None:
        """Add a named Storage."""
        uri = self.scope.expand(spec.uri, spec.origin.child("uri")) if spec.uri is not None else None
        source: str | None = None
        if isinstance(spec.source, str):
            path = spec.origin.child("source")
            text = self.scope.expand(spec.source, path)
            if text is not None and amounts.is_uri(text):
                if uri is not None:
                    detail = "`uri` and `source` both name the place."
                    self.scope.complain("conflicting-fields", "Two fields contradict", detail, path, hint="keep `uri`")
                uri = text
            elif text is not None:
                source = self._exists(text, path, slug="missing-source", summary="A source does not exist")
        if spec.placement is not None and uri is not None:
            detail = (
                f"`placement: {spec.placement}` lets the optimizer choose the place, and `{_naming(spec)}` names it already."
            )
            path = spec.origin.child("placement")
            hint = "remove one of them; `infra` says where the optimizer may choose"
            self.scope.complain("conflicting-fields", "Two fields contradict", detail, path, hint=hint)
        if uri is not None:
            uri = checked_uri(self.scope, uri, spec.origin.child(_naming(spec)))
        elif spec.store is not None and (store := self.scope.expand(spec.store, spec.origin.child("store"))):
            uri = checked_uri(self.scope, f"{store.lower()}://{name}", spec.origin.child("store"))
        storage = Storage(
            name=name,
            origin=spec.origin,
            uri=uri,
            source=source,
            persistent=spec.persistent is not False,
            size_gb=amounts.read_size(spec.size_gb) if spec.size_gb is not None else None,
            infra=amounts.read_bucket_place(spec.infra) if spec.infra is not None else Infra(),
            auto=spec.placement is not None,
            keep_days=spec.keep_days,
        )
        self.storages[name] = storage
        self._modes[name] = spec.mode
        return storage

    def mount(self, spec: FileMountSpec) -> FileMount | None:
        target = self.scope.expand(spec.target, spec.origin)
        if target is None or not self._new_target(target, spec):
            return None
        if spec.storage is not None:
            return self._storage_mount(spec.storage, target, spec.origin)
        assert spec.source is not None, "the parser gives a mount a source or a Storage"
        text = self.scope.expand(spec.source, spec.origin)
        source = self._source(text, spec.origin) if text is not None else None
        return None if source is None else FileMount(target=target, origin=spec.origin, source=source)

    def _new_target(self, target: str, spec: FileMountSpec) -> bool:
        try:
            amounts.read_target(target)
        except Misread as misread:
            detail = f"{placed(target)} is not a path on the node. {misread.reason}"
            self.scope.complain("bad-path", "A path is not allowed", detail, spec.origin, hint=misread.hint)
            return False
        normal = posixpath.normpath(target)
        if normal in self._targets:
            detail = f"{placed(target)} and another entry are the same path on the node."
            self.scope.complain("duplicate-mount", "Two mounts have one target", detail, spec.origin, hint="remove one of them")
            return False
        self._targets[normal] = len(self._targets)
        return True

    def _storage_mount(self, spec: StorageSpec, target: str, origin: SpecPath) -> FileMount | None:
        name = self.scope.expand(spec.name, spec.origin.child("name")) if spec.name is not None else None
        if spec.name is not None and (name is None or not self._named(name, spec.origin.child("name"))):
            return None
        mode = MountMode(spec.mode or self._modes.get(name or "") or "MOUNT")
        if name is None:
            return self._unnamed(spec, target, origin, mode)
        known = self.storages.get(name)
        adds = any(part is not None for part in (spec.source, spec.uri, spec.store, *_where(spec)))
        if known is not None and adds and known.origin != spec.origin:
            detail = f"A Storage named {placed(name)} is already described elsewhere in this task."
            hint = "give only `name` and `mode` here"
            self.scope.complain("duplicate-storage", "A Storage is described twice", detail, spec.origin, hint=hint)
            return None
        if known is None:
            self.declare(spec, name)
        return FileMount(target=target, origin=origin, source=None, storage=name, mode=mode)

    def _unnamed(self, spec: StorageSpec, target: str, origin: SpecPath, mode: MountMode) -> FileMount | None:
        given = spec.uri if spec.uri is not None else spec.source
        if given is None or isinstance(given, tuple):
            if given is None:
                detail = "A Storage needs a `name`, or a `source` that says where its data is."
                self.scope.complain("missing-field", "A field is missing", detail, spec.origin, hint="add `name`")
            return None
        if any(part is not None for part in _where(spec)):
            detail = "Where data lives, and how long, is said of a Storage with a name."
            self.scope.complain("missing-field", "A field is missing", detail, spec.origin, hint="add `name`")
            return None
        path = spec.origin.child(_naming(spec))
        text = self.scope.expand(given, path)
        if text is None:
            return None
        if amounts.is_uri(text) or mode is MountMode.COPY:
            source = self._source(text, path)
            return None if source is None else FileMount(target=target, origin=origin, source=source, mode=mode)
        # Local files behind a mount need a place of their own to be mounted from.
        name = f"{self.task_id}-mount-{self._targets[posixpath.normpath(target)]}"
        self.declare(spec, name)
        return FileMount(target=target, origin=origin, source=None, storage=name, mode=mode)

    def checkpoint(self, task: TaskSpec) -> CheckpointPolicy | None:
        spec = task.checkpoint
        if spec is None:
            return None
        if spec.path is None:
            detail = "`checkpoint` needs the directory that the job writes its checkpoints to."
            self.scope.complain("missing-field", "A field is missing", detail, spec.origin, hint="add `path: checkpoints`")
            return None
        path = self.scope.expand(spec.path, spec.origin.child("path"))
        name = spec.storage
        if name is None:
            name = f"{self.task_id}-checkpoints"
            self.storages.setdefault(name, Storage(name=name, origin=spec.origin, uri=None))
        elif name not in self.storages:
            close = nearest(name, self.storages)
            hint = f"did you mean `{close}`?" if close else f"add `{name}` under `storage`, or leave `storage` out here"
            detail = f"The task has no Storage named {placed(name)}."
            self.scope.complain("unknown-storage", "A Storage is not known", detail, spec.origin.child("storage"), hint=hint)
        return CheckpointPolicy(
            origin=spec.origin,
            path=path or "",
            storage=name,
            every_seconds=amounts.read_duration(spec.every) if spec.every is not None else DEFAULT_EVERY,
            keep=spec.keep if spec.keep is not None else DEFAULT_KEEP,
        )

    def _named(self, name: str, path: SpecPath) -> bool:
        try:
            amounts.read_name(name)
        except Misread as misread:
            detail = f"{placed(name)} is not a name. {misread.reason}"
            self.scope.complain("bad-name", "A name is not allowed", detail, path, hint=misread.hint)
            return False
        return True

    def _source(self, text: str, path: SpecPath) -> str | None:
        """A URI, checked, or a local path, absolute."""
        if amounts.is_uri(text):
            return checked_uri(self.scope, text, path)
        return self._exists(text, path, slug="missing-source", summary="A source does not exist")

    def _local(self, text: str, path: SpecPath, *, slug: str, summary: str) -> str | None:
        expanded = self.scope.expand(text, path)
        return None if expanded is None else self._exists(expanded, path, slug=slug, summary=summary)

    def _exists(self, text: str, path: SpecPath, *, slug: str, summary: str) -> str | None:
        if text == "~" or text.startswith("~/"):
            text = self.scope.home() + text[1:]
        absolute = os.path.abspath(self.scope.directory / text)  # noqa: PTH100
        try:
            there = bool(text) and os.path.lexists(absolute) and os.path.exists(absolute)  # noqa: PTH110
        except (OSError, ValueError):
            there = False
        if there:
            return absolute
        detail = f"{placed(text)} was looked for as {placed(absolute)}, and there is nothing."
        if not text:
            detail = "The path is empty."
        hint = "a relative path starts at the task file's directory" if not text.startswith("/") else "check the path"
        self.scope.complain(slug, summary, detail, path, hint=hint)
        return None


def _naming(spec: StorageSpec) -> str:
    """The field that names the place, if one does."""
    return "uri" if spec.uri is not None else "source"


def _where(spec: StorageSpec) -> tuple[object, ...]:
    return (spec.placement, spec.infra, spec.keep_days)
