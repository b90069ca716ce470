"""Task files of a snapshot, compiled without an account, a state or a home, in a folder that is gone afterwards.

Contract
- Both sides are compiled with the same targets, catalog and settings, so that only what the files say differs. The catalog and config.yaml
  of the user's home are read where there are some; nothing is written there, and keys are not made: `KEY` stands for them.
- No value of the environment gets in: what a file declares without a value gets `PLACEHOLDER`, which is secret like the real one.
- Up to the resource graph. Synthesis is a function of that graph and would only start Node.
- The folder holds a task file as it is, the policies it names and, for the other paths it names, an empty file or folder: the compiler asks
  only whether they exist.
"""

from __future__ import annotations

import os
import posixpath
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ...compiler.diagnostics import Diagnostic
from ...compiler.ir import CatalogPart, NodeRuntime, Objective, PlacementPlan, PolicyResult, ResourceGraph, TaskGraph
from ...compiler.parse import decode
from ...compiler.pipeline import Compilation, CompileOptions, compile_source
from ...compiler.policy.load import PolicyFile
from ...compiler.resolve import EnvOverrides
from ...providers.base import Access, Provider
from ...providers.registry import load, names
from ..access import bucket_keys, ssh_ranges, storage_accounts
from ..configuration import all_mistakes
from ..images import read_images
from ..networks import read_networks
from ..policy.judge import held
from ..quotas import read_quotas
from ..regions import read_regions
from ..results import Plan
from .git import LINK, Snapshot
from .task_files import Sketch

PLACEHOLDER = "a-value-nobody-gave"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA compiled-only"
"""Stands for a deployment's public keys, which are made by its first apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One task file of one side. `root`: where its files lay, for who compares paths."""

    path: str
    deployment: str
    root: str
    graph: TaskGraph | None = None
    placement: PlacementPlan | None = None
    graphs: tuple[ResourceGraph, ...] = ()
    policies: tuple[PolicyResult, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    failed: bool = False


class _OneCatalog:
    """A target whose catalog is read once: all compilations see the same, and none waits for it again."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._part: CatalogPart | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def catalog(self, *, home: Path) -> CatalogPart:
        if self._part is None:
            self._part = self._provider.catalog(home=home)
        return self._part


def _targets() -> dict[str, Provider]:
    return {name: cast("Provider", _OneCatalog(load(name))) for name in names()}


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all compilations of a diff share. A context manager: its folder goes with it. policies: files whose rules hold beside those
    the task files name; environ: for who judges by them, never for a compilation."""

    home: Path
    env: Mapping[str, str]
    objective: Objective
    policies: tuple[PolicyFile, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    providers: Mapping[str, Provider] = field(default_factory=_targets)
    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="skyc-diff-"), repr=False
    )

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *failure: object) -> None:
        self.folder.cleanup()

    def provider(self, name: str) -> Provider:
        return self.providers[name]

    @cached_property
    def _settings(self) -> CompileOptions:
        """What is the same for every file, read once."""
        with all_mistakes(self.home, self.providers):
            return self._read_settings()

    def _read_settings(self) -> CompileOptions:
        access = Access(
            ssh_from=ssh_ranges(self.home),
            login_key=KEY,
            host_key_public=KEY,
            storage_accounts=storage_accounts(self.home),
            bucket_keys=bucket_keys(self.home),
        )
        return CompileOptions(
            providers=self.providers,
            home=self.home,
            runtime=NodeRuntime(python=f"{sys.version_info.major}.{sys.version_info.minor}"),
            overrides=EnvOverrides.of(environ={}),
            objective=self.objective,
            quotas=read_quotas(self.home),
            regions=read_regions(self.home, self.providers),
            access=lambda deployment: access,
            networks=read_networks(self.home, self.providers),
            images=read_images(self.home),
            policies=self.policies,
            offline=True,
        )

    def options(self, sketch: Sketch, home: str) -> CompileOptions:
        environ = {**dict.fromkeys(sketch.variables - set(self.env), PLACEHOLDER), "HOME": home}
        return replace(self._settings, overrides=EnvOverrides.of(env=self.env, environ=environ))

    def compile(
        self, side: str, snapshot: Snapshot, path: str, content: bytes, sketch: Sketch, read: Mapping[str, bytes]
    ) -> Compiled:
        """Compile a file of a snapshot. `side`: a folder of its own for each, of one length. read: contents of the files it reads."""
        root = Path(os.path.realpath(self.folder.name)) / side
        home = root.parent / "home"
        _lay_out(root, home, snapshot, path, sketch)
        for name, text in read.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(text)
        source, said = decode(content, str(root / path))
        if source is None:
            return Compiled(
                path=path,
                deployment=sketch.name or path,
                root=str(root),
                diagnostics=tuple(_shown(said, root, home)),
                failed=True,
            )
        (root / path).write_text(source.text, encoding="utf-8")
        made = compile_source(source, self.options(sketch, str(home)), until="lower")
        return Compiled(
            path=path,
            deployment=made.deployment if made.graph is not None else sketch.name or path,
            root=str(root),
            graph=made.graph,
            placement=made.placement,
            graphs=made.graphs or (),
            policies=tuple(_result(result, root, home) for result in self._held(made)),
            diagnostics=tuple(_shown(made.diagnostics, root, home)),
            failed=made.failed,
        )

    def _held(self, made: Compilation) -> tuple[PolicyResult, ...]:
        """What the rules say of one side by itself. Rules about what would change stay open: nothing is compared with what exists."""
        if made.failed or made.placement is None:
            return ()
        plan = Plan(
            deployment=made.deployment,
            placement=made.placement,
            graphs=made.graphs or (),
            changes=(),
            buckets=made.buckets,
            offline=True,
        )
        return held(self, made, plan)


def within(directory: str, place: str) -> str | None:
    """A local path of a task file as a path of the repository; None for one outside. `directory`: the file's own."""
    if place.startswith(("/", "~")):
        return None
    found = posixpath.normpath(posixpath.join(directory, place))
    return None if found == ".." or found.startswith("../") else "" if found == "." else found


def _lay_out(root: Path, home: Path, snapshot: Snapshot, path: str, sketch: Sketch) -> None:
    directory = posixpath.dirname(path)
    (root / directory).mkdir(parents=True, exist_ok=True)
    if sketch.open_ended:
        for name in snapshot.entries:
            _put(root, snapshot, name)
    for place in sketch.places:
        if place == "~" or place.startswith("~/"):
            # What is in somebody's home is on their machine. It is taken for granted.
            (home / place[2:]).mkdir(parents=True, exist_ok=True)
            continue
        inside = within(directory, place)
        if inside is not None:
            _put(root, snapshot, inside)


def _put(root: Path, snapshot: Snapshot, name: str) -> None:
    """An empty file or folder where the snapshot has one. A link is followed as far as it leads within the repository."""
    entry = snapshot.entries.get(name)
    place = root / name
    if entry is not None and entry.mode != LINK:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    elif entry is not None or any(known.startswith(f"{name}/") for known in snapshot.entries) or not name:
        place.mkdir(parents=True, exist_ok=True)


def _shown(found: tuple[Diagnostic, ...], root: Path, home: Path) -> list[Diagnostic]:
    """Diagnostics about the repository's files, not about where they lay for a moment."""

    return [
        replace(
            said,
            detail=_clean(said.detail, root, home),
            hint=None if said.hint is None else _clean(said.hint, root, home),
            span=None if said.span is None else replace(said.span, file=posixpath.normpath(_clean(said.span.file, root, home))),
        )
        for said in found
    ]


def _result(result: PolicyResult, root: Path, home: Path) -> PolicyResult:
    return replace(
        result, message=_clean(result.message, root, home), source=posixpath.normpath(_clean(result.source, root, home))
    )


def _clean(text: str, root: Path, home: Path) -> str:
    return text.replace(f"{root}/", "").replace(f"{home}", "~")
