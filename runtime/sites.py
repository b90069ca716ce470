"""One site: its root module on disk, its Terraform runs, and what is remembered of its state.

Invariants
- Before Terraform may change anything, a journal entry says so; it is closed only after the new state is remembered.
- A state that is empty, older, or of another lineage than the one remembered is refused before any plan (Terraform itself
  accepts an empty one and would create everything twice).
- The last `KEPT_STATES` states are kept beside the current one, so that the remedy is one copy command.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.changeset import change_set
from ..compiler.diagnostics import SkycError, Span, error
from ..compiler.ir import Action, ChangeSet, DeploymentId, ResourceGraph, SiteId, holds_storage, storage_label
from ..compiler.synth import FILE_NAME
from ..compiler.terraform import Engine, Event, StateFacts, Terraform, checked
from ..compiler.terraform_files import STATE_FILE, read_state
from ..providers.base import Provider
from .applied import keep_applied
from .records import JournalEntry, StateMemory
from .state import StateStore, deployment_directory

if TYPE_CHECKING:
    from .backend.sync import Remote

KEPT_STATES = 10
PACKAGES_FILE = ".terraform.lock.hcl"
"""Terraform's own lock file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteContext:
    """What every run at a site needs."""

    home: Path
    deployment: DeploymentId
    store: StateStore
    engine: Engine
    environ: Mapping[str, str]
    lock_fd: int | None = None
    """Inherited by Terraform, so that the deployment stays locked while an orphaned run still works."""
    secrets: tuple[str, ...] = ()
    on_event: Callable[[Event], None] | None = None
    origin_of: Callable[[str], Span | None] | None = None
    remote: Remote | None = None
    """Where the states are shared; None where they stay at home."""
    packages: Callable[[ResourceGraph], str] | None = None
    """The providers' packages a site is held to, as Terraform's own lock file; None: to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """A planned change of one site. `graph` None: the site is no longer wanted and everything in it goes, or what its module has
    no more."""

    site: SiteId
    directory: Path
    provider: Provider
    graph: ResourceGraph | None
    changes: ChangeSet
    plan_file: Path


def site_directory(home: Path, deployment: DeploymentId, site: SiteId) -> Path:
    return deployment_directory(home, deployment) / "sites" / site


def write_module(directory: Path, text: str) -> None:
    """Put the root module in place, atomically, and only if it differs (its time then tells when it last changed)."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / FILE_NAME
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def pin_packages(context: SiteContext, graph: ResourceGraph) -> None:
    """The packages that the site is held to, put where Terraform looks for them: it refuses any other."""
    text = context.packages(graph) if context.packages is not None else ""
    if text:
        directory = site_directory(context.home, context.deployment, graph.site)
        (directory / PACKAGES_FILE).write_text(text, encoding="utf-8")


def check_state(context: SiteContext, site: SiteId) -> StateFacts | None:
    """The site's state, checked against what is remembered. Raises SkycError for a state nothing may be built on."""
    if context.remote is not None and site in context.remote.refused:
        raise context.remote.refused[site]
    directory = site_directory(context.home, context.deployment, site)
    facts = read_state(directory / STATE_FILE)
    memory = context.store.recall(context.deployment, site)
    if memory is None or memory.resources == 0:
        return facts
    problem = _state_problem(facts, memory)
    if problem is None:
        return facts
    backups = sorted((directory / "states").glob("*.tfstate"))
    commands = (f"cp {backups[-1]} {directory / STATE_FILE}",) if backups else ()
    raise SkycError(
        error(
            "state-damaged",
            "The Terraform state is not the one skyc wrote last",
            f"{problem} Planning on it would create again what exists."
            f" Site {site}, file {directory / STATE_FILE}."
            " Put the last good state back with the command below,"
            f" or remove everything with `skyc destroy {context.deployment}`, which does not need the state.",
            commands=commands,
        )
    )


def _state_problem(facts: StateFacts | None, memory: StateMemory) -> str | None:
    if facts is None:
        return f"The state file is missing, but {memory.resources} resources were in it."
    if facts.lineage != memory.lineage:
        return f"Its lineage is {facts.lineage}, the remembered one is {memory.lineage}: it belongs to something else."
    if facts.serial < memory.serial:
        return f"Its serial is {facts.serial}, older than the remembered {memory.serial}."
    if facts.serial == memory.serial and facts.sha256 != memory.sha256:
        return f"It was edited: its serial is still {facts.serial}, its content is not what was remembered."
    if not facts.resources and facts.serial == memory.serial:
        return f"It is empty, but {memory.resources} resources were in it."
    return None


def remember_state(context: SiteContext, site: SiteId) -> None:
    """Keep a copy of the site's state, then record it as the one to build on: the remedy is there before it can be needed."""
    directory = site_directory(context.home, context.deployment, site)
    facts = read_state(directory / STATE_FILE)
    if facts is None:
        return
    states = directory / "states"
    states.mkdir(mode=0o700, exist_ok=True)
    copy = states / f"{facts.serial:08d}.tfstate"
    fresh = copy.with_suffix(".new")
    shutil.copyfile(directory / STATE_FILE, fresh)
    fresh.replace(copy)
    context.store.remember(
        context.deployment,
        site,
        StateMemory(lineage=facts.lineage, serial=facts.serial, sha256=facts.sha256, resources=len(facts.resources)),
    )
    for old in sorted(states.glob("*.tfstate"))[:-KEPT_STATES]:
        old.unlink()


@contextlib.contextmanager
def terraform_at(
    context: SiteContext, site: SiteId, provider: Provider, *, directory: Path | None = None
) -> Iterator[Terraform]:
    """The driver for a site, with the provider's attachments running. `directory`: another one that holds the same module."""
    directory = directory or site_directory(context.home, context.deployment, site)
    with provider.attach(home=context.home) as attachments:
        yield Terraform(
            context.engine,
            directory,
            home=context.home,
            reattach=attachments,
            inherit=() if context.lock_fd is None else (context.lock_fd,),
            secrets=context.secrets,
            on_event=context.on_event,
            environ=context.environ,
            origin_of=context.origin_of,
        )


def plan_site(
    context: SiteContext,
    site: SiteId,
    provider: Provider,
    graph: ResourceGraph | None,
    terraform: Terraform,
    *,
    partly: bool = False,
    replace: Sequence[str] = (),
    refresh: bool = True,
) -> SitePlan:
    """Plan the module on disk (or, without a graph, its destruction; with `partly` that of what the module has no more).

    replace: addresses to be made anew, whatever Terraform thinks of them. refresh: look first whether what the state knows still is so;
    not needed right after an apply. Raises SkycError with Terraform's diagnostics when that fails.
    """
    check_state(context, site)
    run = checked(terraform.plan(destroy=graph is None and not partly, refresh=refresh, replace=replace))
    assert run.plan_file is not None
    shown = terraform.show(run.plan_file)
    changes = change_set(shown, graph=graph, site=site, engine=context.engine, secrets=context.secrets)
    return SitePlan(
        site=site,
        directory=site_directory(context.home, context.deployment, site),
        provider=provider,
        graph=graph,
        changes=changes,
        plan_file=run.plan_file,
    )


_LEAVING = (Action.DELETE, Action.REPLACE, Action.CREATE_BEFORE_DESTROY)


def _empty_what_leaves(context: SiteContext, plan: SitePlan) -> None:
    """Delete the data of every bucket that the plan removes: Terraform removes none that holds data."""
    leaving = {change.address for change in plan.changes.changes if change.action in _LEAVING}
    if not holds_storage(plan.site) or not leaving:
        return
    for resource in plan.provider.observe(context.deployment, home=context.home):
        if resource.storage and f"{resource.type}.{storage_label(resource.storage)}" in leaving:
            plan.provider.empty(resource, home=context.home)


def apply_site(context: SiteContext, plan: SitePlan, terraform: Terraform, *, plan_digest: str) -> None:
    """Do exactly what was planned. The journal entry stays open when skyc, or Terraform, dies on the way."""
    entry = _begin(context, plan.site, plan_digest=plan_digest, action="destroy" if plan.graph is None else "apply")
    keep_applied(plan.directory, plan.graph, context.origin_of)
    try:
        _empty_what_leaves(context, plan)
    except BaseException:
        with contextlib.suppress(OSError):
            plan.plan_file.unlink()
        raise
    _carry_out(context, plan.site, terraform, plan.plan_file, entry)


def _begin(context: SiteContext, site: SiteId, *, plan_digest: str, action: str) -> JournalEntry:
    entry = context.store.begin(context.deployment, site, plan_digest=plan_digest, action=action)
    if context.remote is not None:
        _intend(context, context.remote, entry)
    return entry


def _carry_out(context: SiteContext, site: SiteId, terraform: Terraform, plan_file: Path, entry: JournalEntry) -> None:
    try:
        run = terraform.apply(plan_file)
    finally:
        with contextlib.suppress(OSError):
            plan_file.unlink()
    if run.killed or run.returncode < 0:
        raise SkycError(
            error(
                "terraform-killed",
                "Terraform was killed before it could finish",
                f"Its state may lack what it was making at {site}."
                " The next apply or destroy compares the world with the state and cleans up.",
                commands=(f"skyc destroy {context.deployment}",),
            ),
            *run.diagnostics,
        )
    remember_state(context, site)
    context.store.finish(entry, "done" if run.ok else "interrupted" if run.interrupted else "failed")
    if context.remote is not None:
        context.remote.push(site)
    if run.interrupted:
        raise KeyboardInterrupt
    checked(run)


def carry_out(context: SiteContext, site: SiteId, terraform: Terraform, plan_file: Path, *, action: str) -> None:
    """Do what a plan of what was applied already says, as `apply_site` does one of something new: journal, run, remember. action: what the
    journal calls it. Raises SkycError, KeyboardInterrupt."""
    _carry_out(context, site, terraform, plan_file, _begin(context, site, plan_digest="", action=action))


def refresh_site(context: SiteContext, site: SiteId, provider: Provider) -> None:
    """Have the site's state say what is there now, such as the address of a machine that was started; nothing is changed in the world.

    Raises SkycError, KeyboardInterrupt.
    """
    check_state(context, site)
    with terraform_at(context, site, provider) as terraform:
        planned = checked(terraform.plan(refresh_only=True))
        assert planned.plan_file is not None
        if not planned.has_changes:
            planned.plan_file.unlink()
            return
        entry = _begin(context, site, plan_digest="", action="refresh")
        _carry_out(context, site, terraform, planned.plan_file, entry)


def _intend(context: SiteContext, remote: Remote, entry: JournalEntry) -> None:
    """Other homes are told before the world changes; if they cannot be told, nothing changes. Raises SkycError."""
    try:
        remote.intend()
    except SkycError:
        context.store.finish(entry, "not begun")
        raise
