"""reconcile: make the world and the state agree again after a crash (DESIGN D14).

Observed, decided, done apart: `orphans` compares what carries the deployment's tag with what its states know; `reconcile` removes
the difference. It runs with the deployment's lock held, so no Terraform of ours works at the same time, and it needs no
journal to find an orphan: the journal only tells that one is likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, error
from ..compiler.ir import DeploymentId
from ..compiler.terraform_files import STATE_FILE, read_state, state_identities
from ..providers.base import OwnedResource, Provider
from .backend.faults import NotCompared
from .records import JournalEntry
from .session import Session
from .sites import SiteContext, remember_state, site_directory
from .state import deployment_directory


def orphans(observed: tuple[OwnedResource, ...], known: Mapping[str, frozenset[str]]) -> tuple[OwnedResource, ...]:
    """What exists and is in no state. Pure. known: as from `known_ids`.

    An id alone does not tell: names are ids, and a role may be called as its profile is. A resource whose id is known under other types
    only is an orphan where each of those is there too; else one of them may be this one, in the provider's own spelling.
    """
    types: dict[str, set[str]] = {}
    for resource in observed:
        types.setdefault(resource.id, set()).add(resource.type)
    return tuple(
        resource
        for resource in observed
        if resource.type not in (of := known.get(resource.id, frozenset())) and of <= types[resource.id] - {resource.type}
    )


def known_ids(session: Session, deployment: DeploymentId) -> Mapping[str, frozenset[str]]:
    """Id → its types, of every resource in any state of the deployment. An unreadable state knows nothing.

    States are found on disk too: when the state store is lost, what they hold is no orphan.
    """
    files = {Path(site.directory) / STATE_FILE for site in session.store.sites(deployment)}
    files.update((deployment_directory(session.home, deployment) / "sites").glob(f"*/{STATE_FILE}"))
    found: dict[str, frozenset[str]] = {}
    for file in sorted(files):
        for type_, id_ in state_identities(file):
            found[id_] = found.get(id_, frozenset()) | {type_}
    return found


def reconcile(
    session: Session, deployment: DeploymentId, context: SiteContext, *, storage: bool = True
) -> tuple[OwnedResource, ...]:
    """Remove what no state knows and close the journal. What was removed, sorted by id. What holds data is removed only empty;
    without `storage` it is left to who decides about it.

    The caller has checked every state first (`sites.check_state`), or is about to remove everything: with a lost state,
    all that runs would look like an orphan.
    """
    remote = context.remote
    if remote is not None and remote.reading:
        # Who may not write to the backend cannot tell what another home is just making from what it has left.
        return ()
    entries = session.store.open_entries(deployment)
    if entries:
        session.note("reconcile", f"the last run on `{deployment}` was cut off; comparing what exists with its state")
    removed: list[OwnedResource] = []
    known = known_ids(session, deployment)
    for provider in _providers(session, deployment):
        found = orphans(provider.observe(deployment, home=session.home), known)
        if found and not _is_ours(session, deployment):
            raise NotCompared(_applied_elsewhere(deployment, found))
        for resource in found:
            if resource.storage and not storage:
                continue
            session.note("reconcile", f"removing {resource.type} {resource.name}, which no state knows")
            provider.remove(resource, home=session.home)
            session.store.record("orphan-removed", f"{resource.type} {resource.name} ({resource.id})", deployment=deployment)
            removed.append(resource)
    for entry in entries:
        _close(session, context, entry)
    if remote is not None:
        remote.settle()
    return tuple(removed)


def left_behind(session: Session, deployment: DeploymentId) -> tuple[OwnedResource, ...]:
    """What carries the deployment's tag and is in no state, as `reconcile` would remove it. Changes nothing."""
    known = known_ids(session, deployment)
    return tuple(
        resource
        for provider in _providers(session, deployment)
        for resource in orphans(provider.observe(deployment, home=session.home), known)
    )


def _is_ours(session: Session, deployment: DeploymentId) -> bool:
    """Whether this home has made something of the deployment, or knows it from the backend. What carries the tag of another's is no
    orphan: it is that other's."""
    if session.store.deployment(deployment) is not None:
        return True
    return any((deployment_directory(session.home, deployment) / "sites").glob(f"*/{STATE_FILE}"))


def _applied_elsewhere(deployment: DeploymentId, found: tuple[OwnedResource, ...]) -> Diagnostic:
    return error(
        "applied-elsewhere",
        "The deployment exists, and its state is not here",
        f"{len(found)} resources carry the tag of `{deployment}`, {found[0].type} {found[0].name} among them, and this home has never"
        " applied it: somebody did from another machine. Nothing was changed.",
        hint="write their backend into config.yaml as `state: s3://…`, or choose another name with `-d NAME`",
    )


def sweep(session: Session, deployment: DeploymentId, *, purge: bool) -> tuple[OwnedResource, ...]:
    """Remove everything that carries the deployment's tag, data included; without `purge` not what outlives it. What was removed,
    sorted by id."""
    removed: list[OwnedResource] = []
    for provider in (session.provider(name) for name in sorted(session.providers)):
        for resource in provider.observe(deployment, home=session.home):
            if resource.keep and not purge:
                continue
            session.note("destroy", f"removing {resource.type} {resource.name} by its tag")
            if resource.storage:
                provider.empty(resource, home=session.home)
            provider.remove(resource, home=session.home)
            removed.append(resource)
    return tuple(removed)


def _close(session: Session, context: SiteContext, entry: JournalEntry) -> None:
    """A cut-off run may have left a newer state than the remembered one: it is the truth now."""
    memory = session.store.recall(entry.deployment, entry.site)
    directory = site_directory(session.home, entry.deployment, entry.site)
    facts = read_state(directory / STATE_FILE)
    if facts is not None and (memory is None or (facts.lineage == memory.lineage and facts.serial >= memory.serial)):
        remember_state(context, entry.site)
    session.store.finish(entry, "reconciled")
    session.store.record("reconciled", f"site {entry.site}: a cut-off {entry.action}", deployment=entry.deployment)


def _providers(session: Session, deployment: DeploymentId) -> tuple[Provider, ...]:
    """Targets that may hold something of this deployment: those of its sites, or all when it has none on record."""
    names = {site.provider for site in session.store.sites(deployment)}
    return tuple(session.provider(name) for name in sorted(names or set(session.providers)))
