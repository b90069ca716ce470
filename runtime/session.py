"""What one command works with: a home, its state store, the targets, an engine and where progress goes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import DeploymentId, NodeRuntime
from ..compiler.terraform_engine import Engine, find_engine
from ..compiler.terraform_files import STATE_FILE
from ..providers.base import Provider
from ..providers.registry import load, names
from .backend.faults import NotCompared, stale
from .records import DeploymentState
from .results import Progress, ProgressKind
from .state import StateStore, deployment_directory, home_directory, prepare_home

if TYPE_CHECKING:
    from .backend.sync import Remote

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Session:
    """`environ`: the environment Terraform and secrets are taken from. Close it by leaving `open_session`."""

    home: Path
    store: StateStore
    environ: Mapping[str, str]
    on_progress: OnProgress | None = None
    engine_wanted: str | None = None
    telling: threading.RLock = field(default_factory=threading.RLock)
    """Progress comes from several threads, and is told one by one."""
    remotes: dict[DeploymentId, Remote] = field(default_factory=dict)
    """Deployments that are worked on now and kept in a backend (`backend/opening.py`)."""
    remarks: list[Diagnostic] = field(default_factory=list)
    """Warnings about what the whole answer rests on."""

    @cached_property
    def providers(self) -> Mapping[str, Provider]:
        return {name: load(name) for name in names()}

    @cached_property
    def engine(self) -> Engine:
        return find_engine(self.engine_wanted or self.environ.get("SKYC_ENGINE"), environ=self.environ, home=self.home)

    @property
    def runtime(self) -> NodeRuntime:
        """Nodes run the Python this skyc runs, so that what works here works there."""
        return NodeRuntime(python=f"{sys.version_info.major}.{sys.version_info.minor}")

    def step(self, stage: str, text: str) -> None:
        self.tell(Progress(stage=stage, text=text, kind=ProgressKind.STEP))

    def note(self, stage: str, text: str) -> None:
        self.tell(Progress(stage=stage, text=text, kind=ProgressKind.NOTE))

    def tell(self, progress: Progress) -> None:
        if self.on_progress is not None:
            with self.telling:
                self.on_progress(progress)

    def provider(self, name: str) -> Provider:
        """Raises SkycError for a target that an older record names and that is no longer installed."""
        try:
            return self.providers[name]
        except KeyError:
            raise SkycError(_not_installed(name)) from None


def _not_installed(name: str) -> Diagnostic:
    return error(
        "target-not-installed",
        "A target this deployment uses is not installed",
        f"The deployment has resources at `{name}`, and this skyc has no target of that name.",
        hint="install the package that brings it, then run the command again",
    )


def _left_states(home: Path, name: str) -> bool:
    try:
        sites = deployment_directory(home, DeploymentId(name)) / "sites"
    except SkycError:
        return False
    return any(sites.glob(f"*/{STATE_FILE}"))


@contextlib.contextmanager
def open_session(
    home: Path | str | None = None,
    *,
    on_progress: OnProgress | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """Make the home if needed and open its store. Raises SkycError when it cannot be used."""
    place = home_directory(home)
    prepare_home(place)
    with StateStore(place) as store:
        yield Session(
            home=place,
            store=store,
            environ=dict(os.environ if environ is None else environ),
            on_progress=on_progress,
        )


def known_deployment(session: Session, name: str) -> DeploymentId:
    """`name` as the id of a deployment that was applied here, or that the backend knows; with a backend it comes with the news of
    other homes. Raises SkycError with the nearest name otherwise.

    One that the state store has lost, but that has a Terraform state here, is written down again.
    """
    from ..compiler.parse import nearest
    from .backend.opening import look

    known = session.store.deployments()
    try:
        found = look(session, name)
    except NotCompared as failure:
        if name not in {record.id for record in known}:
            raise
        session.remarks.append(stale(failure))
        found = None
    if found is not None:
        return found
    for record in known:
        if record.id == name:
            return record.id
    if _left_states(session.home, name):
        session.store.save_deployment(
            DeploymentId(name), spec_path="", spec_digest="", plan_digest="", state=DeploymentState.FAILED
        )
        session.note("state", f"`{name}` was in no record, but has Terraform states here; it is known again")
        return DeploymentId(name)
    guess = nearest(name, [str(record.id) for record in known])
    raise SkycError(
        error(
            "unknown-deployment",
            "There is no deployment of this name",
            f"`{name}` was not applied with {session.home}."
            + (f" Known: {', '.join(str(record.id) for record in known)}." if known else " Nothing was applied with it yet."),
            hint=f"did you mean `{guess}`?" if guess else None,
            commands=("skyc status",),
        )
    )
