"""Looking for drift: what of a deployment is not as it was applied last, and whether that matters.

Per site a refresh-only plan of the module applied last, which needs neither task file nor optimizer; beside it, what Terraform cannot see:
resources that carry the deployment's tag and are in no state, and nodes that do no work.

Contract: looking changes nothing, in the world or in a state: a refresh-only plan writes no state, its file is deleted, and nothing is
reconciled. What could not be looked at is an error, never "no drift". It works with the deployment's lock, which a job that runs does not
hold, and beside a backend that may only be read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..compiler.changeset import change_set
from ..compiler.diagnostics import Diagnostic, SkycError, error, warning
from ..compiler.drift import extra_row, node_row, resource_rows, suppressed, undone_rows
from ..compiler.ir import DeploymentId, DriftRow, JsonObject, ResourceChange, SiteId
from ..compiler.terraform import PlanRun, Terraform, checked
from ..providers.base import HEALTHY, STOPPED, Capability, OwnedResource, Provider
from .applied import AppliedModule, read_applied
from .apply import locked, site_context
from .backend.opening import known_here
from .clusters import Cluster, clusters, healths
from .drift_prices import prices_at
from .reconcile import known_ids, orphans
from .records import DeploymentState, SiteRecord
from .results import Drift
from .session import Session, known_deployment
from .side_by_side import side_by_side
from .sites import SiteContext, check_state, terraform_at, write_module

UNFINISHED = frozenset({DeploymentState.APPLYING, DeploymentState.FAILED})
"""Terraform's apply takes into the state what it found, also one that fails after that: then the state no longer says what is wrong, and
the code is asked too."""
STOPS = ("machines-stopped", "machines-started")
"""Kinds of events that tell whether skyc itself stopped the machines."""


@dataclass(frozen=True, kw_only=True)
class SeenSite:
    """A site as it was found. Lives only inside `seen`; `plan` holds the state in clear, and goes with it."""

    record: SiteRecord
    provider: Provider
    terraform: Terraform
    module: AppliedModule
    run: PlanRun
    raw: Mapping[str, JsonObject]
    """Address → its `change` in the plan's `resource_drift`."""
    others: Mapping[str, Sequence[JsonObject]]
    """Type → the attributes of every resource, as they were found."""
    rows: tuple[DriftRow, ...]

    @property
    def site(self) -> SiteId:
        return self.record.site

    @property
    def directory(self) -> Path:
        return Path(self.record.directory)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Everything that was found of a deployment."""

    sites: tuple[SeenSite, ...]
    rows: tuple[DriftRow, ...]
    extra: Mapping[str, OwnedResource] = field(default_factory=dict)
    """Address of a row of kind EXTRA → what it is about."""
    diagnostics: tuple[Diagnostic, ...] = ()


def drift(session: Session, name: str | None, *, wait: float | None) -> tuple[Drift, ...]:
    """One deployment, or all of which something is up. One that cannot be looked at is in the answer, with errors; if it is the one that
    was asked for, it is raised. Raises SkycError."""
    if name is not None:
        return (_look(session, known_deployment(session, name), wait),)
    known_here(session)
    found = []
    for record in session.store.deployments():
        if record.state is DeploymentState.DESTROYED and not session.store.sites(record.id):
            continue
        try:
            found.append(_look(session, record.id, wait))
        except SkycError as failure:
            found.append(Drift(deployment=record.id, rows=(), diagnostics=failure.diagnostics))
    return tuple(found)


def _look(session: Session, deployment: DeploymentId, wait: float | None) -> Drift:
    with locked(session, deployment, command=f"skyc drift {deployment}", wait=wait, may_read=True) as lock_fd:
        context = site_context(session, deployment, lock_fd)
        with seen(session, context) as found:
            said = (*session.remarks, *found.diagnostics)
            return Drift(deployment=deployment, rows=found.rows, diagnostics=tuple(dict.fromkeys(said)))


@contextlib.contextmanager
def seen(session: Session, context: SiteContext, *, target: Mapping[SiteId, Sequence[str]] | None = None) -> Iterator[Seen]:
    """Look at everything. target: site → addresses to look at; without it all of all. The drivers work, and the plans can be applied, for
    the length of the context. Raises SkycError."""
    deployment = context.deployment
    records = [record for record in session.store.sites(deployment) if target is None or record.site in target]
    known = [record for record in records if check_state(context, record.site) is not None]
    _refuse_unready(session, known)
    with contextlib.ExitStack() as stack:
        work: list[tuple[Terraform, Callable[[], SeenSite]]] = []
        for record in known:
            provider, module = session.provider(record.provider), _module(context, record)
            write_module(Path(record.directory), module.text)
            session.step("drift", f"looking at {record.site} with {context.engine}")
            terraform = stack.enter_context(terraform_at(context, record.site, provider))
            wanted = tuple(target[record.site]) if target is not None else ()
            work.append((terraform, _looking(session, context, record, provider, terraform, module, wanted)))
        sites = side_by_side(work)
        for site in sites:
            stack.callback(_forget, site.run)
        rows = [row for site in sites for row in site.rows]
        extra: dict[str, OwnedResource] = {}
        said: tuple[Diagnostic, ...] = ()
        if target is None:
            found, extra, said = _beside(session, context, sites)
            rows += found
        yield Seen(sites=tuple(sites), rows=suppressed(rows), extra=extra, diagnostics=said)


def _refuse_unready(session: Session, records: Sequence[SiteRecord]) -> None:
    said = [
        found
        for name in sorted({record.provider for record in records})
        for found in session.provider(name).ready(home=session.home)
    ]
    if said:
        raise SkycError(*said)


def _module(context: SiteContext, record: SiteRecord) -> AppliedModule:
    shared = context.remote.module_of(record.site) if context.remote is not None else ""
    module = read_applied(Path(record.directory), shared)
    if module is None:
        raise SkycError(
            error(
                "module-missing",
                "What was applied last is not known here",
                f"Site {record.site} has a state, and the Terraform code it was made with is not in {record.directory}.",
                hint="apply the task file again, which writes it anew",
            )
        )
    return module


def _looking(
    session: Session,
    context: SiteContext,
    record: SiteRecord,
    provider: Provider,
    terraform: Terraform,
    module: AppliedModule,
    target: tuple[str, ...],
) -> Callable[[], SeenSite]:
    # Here and not beside the others: the catalog is read once, and by one thread.
    prices = prices_at(session, record, module)
    known = session.store.deployment(context.deployment)
    cut_off = known is not None and known.state in UNFINISHED

    def look() -> SeenSite:
        run = checked(terraform.plan(refresh_only=True, target=target))
        assert run.plan_file is not None
        shown = terraform.show(run.plan_file)
        changes = change_set(shown, graph=None, site=record.site, engine=context.engine, refresh_only=True)
        raw = {str(entry["address"]): entry["change"] for entry in shown.get("resource_drift") or ()}
        table, others = provider.drift_table(), _by_type(shown, raw)
        rows = resource_rows(record.site, changes.drift, raw, table, module.resources, prices, others)
        if cut_off and not target:
            rows += undone_rows(record.site, _planned(context, record.site, terraform), rows, table, module.resources, prices)
        return SeenSite(
            record=record,
            provider=provider,
            terraform=terraform,
            module=module,
            run=run,
            raw=raw,
            others=others,
            rows=rows,
        )

    return look


def _by_type(shown: JsonObject, raw: Mapping[str, JsonObject]) -> dict[str, list[JsonObject]]:
    """Type → the attributes of every resource, as they were found. A refresh-only plan has no planned values."""
    values = (shown.get("prior_state") or {}).get("values") or {}
    found: dict[str, list[JsonObject]] = {}
    for row in (values.get("root_module") or {}).get("resources") or ():
        now = raw[row["address"]].get("after") if row["address"] in raw else row.get("values")
        if isinstance(now, dict):
            found.setdefault(str(row["type"]), []).append(now)
    return found


def _planned(context: SiteContext, site: SiteId, terraform: Terraform) -> tuple[ResourceChange, ...]:
    """What the code applied last would still change."""
    run = checked(terraform.plan())
    assert run.plan_file is not None
    try:
        return change_set(terraform.show(run.plan_file), graph=None, site=site, engine=context.engine).changes
    finally:
        _forget(run)


def _forget(run: PlanRun) -> None:
    if run.plan_file is not None:
        with contextlib.suppress(OSError):
            run.plan_file.unlink()


def _beside(
    session: Session, context: SiteContext, sites: Sequence[SeenSite]
) -> tuple[list[DriftRow], dict[str, OwnedResource], tuple[Diagnostic, ...]]:
    """What Terraform cannot see."""
    rows, said = _nodes(session, context.deployment, sites)
    remote = context.remote
    if remote is not None and remote.reading:
        # Who may not write to the backend cannot tell what another home is just making from what it has left.
        return rows, {}, (*said, _not_swept(context.deployment))
    found = _extra(session, context.deployment, sites)
    return [*rows, *(row for row, _ in found)], {row.address: resource for row, resource in found}, said


def _extra(session: Session, deployment: DeploymentId, sites: Sequence[SeenSite]) -> list[tuple[DriftRow, OwnedResource]]:
    known = known_ids(session, deployment)
    homes = {site.provider.name: site for site in reversed(sites)}
    found = []
    for name, first in sorted(homes.items()):
        table = first.provider.drift_table()
        for resource in orphans(first.provider.observe(deployment, home=session.home), known):
            holds = bool(resource.storage)
            found.append((extra_row(first.site, resource.type, resource.name, resource.id, table, storage=holds), resource))
        session.step("drift", f"looked for what carries the deployment's tag at {name}")
    return found


def _nodes(
    session: Session, deployment: DeploymentId, sites: Sequence[SeenSite]
) -> tuple[list[DriftRow], tuple[Diagnostic, ...]]:
    """Nodes that do no work, at targets whose machines are logged in to: the others' own Terraform provider says it."""
    by_site = {site.site: site for site in sites}
    rows: list[DriftRow] = []
    said: list[Diagnostic] = []
    meant = _stopped_by_skyc(session, deployment)
    for cluster in clusters(session, deployment, skip_damaged=True):
        site = by_site.get(cluster.site)
        if site is None or Capability.LOGIN not in cluster.provider.capabilities:
            continue
        addresses = machine_addresses(site.module)
        for node, health in zip(cluster.nodes, healths(session, cluster.provider, cluster.nodes), strict=True):
            if isinstance(health, SkycError):
                said += health.diagnostics
            elif health != HEALTHY:
                address = addresses.get(node.name, f"node.{node.name}")
                applied = site.module.resources.get(address)
                row = node_row(
                    cluster.site,
                    address,
                    node.name,
                    health,
                    origin=applied.origin if applied else None,
                    place=applied.place if applied else "",
                    meant=meant and health == STOPPED,
                )
                rows.append(row)
    return rows, tuple(said)


def _stopped_by_skyc(session: Session, deployment: DeploymentId) -> bool:
    kinds = [event.kind for event in session.store.events(deployment) if event.kind in STOPS]
    return bool(kinds) and kinds[-1] == "machines-stopped"


def machine_addresses(module: AppliedModule) -> Mapping[str, str]:
    """Node name → address of its machine: a node's id is an attribute of it."""
    rows = ((module.document.get("output") or {}).get("nodes") or {}).get("value") or []
    found = {}
    for row in rows if isinstance(rows, list) else ():
        match = re.fullmatch(r"\$\{(\w+\.[\w-]+)\.\w+\}", str(row.get("id")))
        if match:
            found[str(row.get("name"))] = match[1]
    # A node of our own provider says its name itself.
    return found


def cluster_at(session: Session, deployment: DeploymentId, site: SiteId) -> Cluster | None:
    return next((found for found in clusters(session, deployment, skip_damaged=True) if found.site == site), None)


def _not_swept(deployment: DeploymentId) -> Diagnostic:
    return warning(
        "not-swept",
        "What is in no state was not looked for",
        f"This home may only read the backend of `{deployment}`, so it cannot tell what another one is just making from what it has left.",
        hint="look with an account that may write there",
    )
