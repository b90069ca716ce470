"""Doing something about drift: putting the world back to what was reviewed, or taking into the states what is there now.

Both look first, and do what was shown and approved, from the very plans that were shown. Order of a repair, and why it is safe to be killed
anywhere: what no state knows is removed by its id; then per site journal, `terraform apply` of the planned file, remember the state, as an
apply does; then machines are started, and nodes brought up. Each can be repeated, and the next look finds what is left.

What Terraform cannot set back by itself, since the code leaves it to the cloud, is named in the module for that one plan. What cannot be
set back at all is said before anything is done; where it is about security the repair refuses, because Terraform's apply would write it
into the state, and nobody would see it again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..compiler.changeset import change_set
from ..compiler.diagnostics import SkycError, error
from ..compiler.drift.filled import unexplained
from ..compiler.drift.rows import plain
from ..compiler.ir import (
    Action,
    ChangeSet,
    DeploymentId,
    DriftClass,
    DriftKind,
    DriftRow,
    JsonObject,
    ResourceChange,
    SiteId,
    ValueKind,
    task_of,
)
from ..compiler.terraform import checked
from ..providers.base import DEAD, Capability
from .applied import name_for_now, name_no_more
from .apply import bring_up, locked, site_context
from .drift import Seen, SeenSite, cluster_at, machine_addresses, seen
from .job import JobState
from .planning import loses_cluster, still_running
from .policy.judge import DENIED
from .records import DeploymentState
from .results import Drift, Interrupted, MendOutcome, MendResult, Plan
from .session import Session, known_deployment
from .sites import SiteContext, SitePlan, carry_out, write_module
from .standing import refresh_jobs, release, settle, working
from .waking import start_machines

Confirm = Callable[[Drift, Plan | None], bool]
"""Shown what drifts, and for a repair what would be done about it: whether to go on."""
GRAVE = frozenset({DriftClass.SECURITY, DriftClass.UNCLASSIFIED})
MAKING = frozenset({Action.CREATE, Action.REPLACE, Action.CREATE_BEFORE_DESTROY})
STARTS = "starts"


def repair(session: Session, name: str, *, only: Collection[str], confirm: Confirm | None, wait: float | None) -> MendResult:
    """Put the world back to what was applied last. only: classes and addresses; without any everything. Raises SkycError, Interrupted."""
    deployment = known_deployment(session, name)
    with locked(session, deployment, command=f"skyc drift {deployment} --repair", wait=wait) as lock_fd:
        context = site_context(session, deployment, lock_fd)
        refresh_jobs(session, deployment)
        with seen(session, context) as found:
            rows = _chosen(found.rows, only, deployment)
            if not rows:
                return MendResult(deployment=deployment, outcome=MendOutcome.NOTHING, diagnostics=found.diagnostics)
            plans = [plan for site in found.sites if (plan := _repair_plan(context, site, rows, bool(only))) is not None]
            with _kept_private(plans):
                rows = _as_planned(rows, plans)
                _refuse_hidden(deployment, rows)
                _refuse_disturbing(session, deployment, plans, rows)
                shown = Plan(
                    deployment=deployment, placement=None, graphs=(), changes=tuple(item.plan.changes for item in plans)
                )
                if confirm is not None and not confirm(Drift(deployment=deployment, rows=rows), shown):
                    return MendResult(deployment=deployment, outcome=MendOutcome.DECLINED, rows=rows)
                _repair(session, context, found, rows, plans, partly=bool(only))
        left = _of(_left_after(session, context, rows), only)
        session.store.record("drift-repaired", _told(rows), deployment=deployment)
    outcome = MendOutcome.LEFT if any(row.matters for row in left) else MendOutcome.DONE
    return MendResult(deployment=deployment, outcome=outcome, rows=rows, left=left)


def adopt(
    session: Session, name: str, *, only: Collection[str], security: bool, confirm: Confirm | None, wait: float | None
) -> MendResult:
    """Take what is there into the states. security: also what is about security. Raises SkycError, Interrupted."""
    deployment = known_deployment(session, name)
    with locked(session, deployment, command=f"skyc drift {deployment} --adopt", wait=wait) as lock_fd:
        context = site_context(session, deployment, lock_fd)
        with seen(session, context) as found:
            rows = _chosen(found.rows, only, deployment)
        if not _adoptable(rows):
            return MendResult(deployment=deployment, outcome=MendOutcome.NOTHING, left=rows)
        with seen(session, context, target=_addresses(_adoptable(rows)) if only else None) as found:
            # What is applied is this plan and no other, so this is what is shown, and held against the rule.
            rows = _adoptable(found.rows)
            _refuse_grave(deployment, rows, security)
            if confirm is not None and not confirm(Drift(deployment=deployment, rows=rows), None):
                return MendResult(deployment=deployment, outcome=MendOutcome.DECLINED, rows=rows)
            try:
                for site in found.sites:
                    if site.rows and site.run.plan_file is not None:
                        session.step("drift", f"taking over what is at {site.site}")
                        carry_out(context, site.site, site.terraform, site.run.plan_file, action="adopt")
            except KeyboardInterrupt:
                raise _interrupted(deployment, "--adopt") from None
        session.store.record("drift-adopted", _told(rows), deployment=deployment)
        with seen(session, context) as after:
            left = _of(after.rows, only)
    lines = tuple(dict.fromkeys(f"{row.place}  {row.field}".strip() for row in rows if row.field))
    outcome = MendOutcome.LEFT if any(row.matters for row in left) else MendOutcome.DONE
    return MendResult(deployment=deployment, outcome=outcome, rows=rows, left=left, fields=lines)


# What is chosen


def _chosen(rows: tuple[DriftRow, ...], only: Collection[str], deployment: DeploymentId) -> tuple[DriftRow, ...]:
    """The rows of these classes and addresses. Raises SkycError for an address that does not drift: it may be mistyped."""
    if not only:
        return rows
    classes = {item.value for item in DriftClass}
    strange = sorted(set(only) - classes - {row.address for row in rows})
    if strange:
        known = ", ".join(sorted({row.address for row in rows})) or "nothing"
        raise SkycError(
            error(
                "no-such-drift",
                "This does not drift",
                f"{', '.join(strange)}: of `{deployment}` drifts {known}. `--only` takes these addresses, and the classes "
                f"{', '.join(sorted(classes))}. Nothing was done.",
                commands=(f"skyc drift {deployment}",),
            )
        )
    return _of(rows, only)


def _of(rows: tuple[DriftRow, ...], only: Collection[str]) -> tuple[DriftRow, ...]:
    return tuple(row for row in rows if not only or row.address in only or row.drift.value in only)


def _adoptable(rows: Sequence[DriftRow]) -> tuple[DriftRow, ...]:
    return tuple(row for row in rows if row.kind in (DriftKind.CHANGED, DriftKind.GONE))


def _addresses(rows: Sequence[DriftRow]) -> dict[SiteId, tuple[str, ...]]:
    found: dict[SiteId, list[str]] = {}
    for row in rows:
        found.setdefault(row.site, []).append(row.address)
    return {site: tuple(dict.fromkeys(addresses)) for site, addresses in found.items()}


# Plans of a repair


@dataclass(frozen=True, kw_only=True)
class _Mending:
    """A site, what puts it back, and the module that was planned with. `named`: it says more than the applied one."""

    site: SeenSite
    plan: SitePlan
    text: str

    @property
    def named(self) -> bool:
        return self.text != self.site.module.text


def _repair_plan(context: SiteContext, site: SeenSite, rows: Sequence[DriftRow], partly: bool) -> _Mending | None:
    """What puts a site back. None where Terraform has nothing to do there."""
    here = [row for row in rows if row.site == site.site and row.kind is not DriftKind.EXTRA]
    if not here:
        return None
    dead = tuple(row.address for row in here if row.kind is DriftKind.NODE and str(row.after).startswith(DEAD))
    text = _with_names(site, _named(site, here))
    target = _addresses(here)[site.site] if partly else ()
    with _module_with(site, text):
        run = checked(site.terraform.plan(replace=dead, target=target))
    assert run.plan_file is not None
    shown = site.terraform.show(run.plan_file)
    changes = change_set(shown, graph=None, site=site.site, engine=context.engine)
    plan = SitePlan(
        site=site.site,
        directory=site.directory,
        provider=site.provider,
        graph=None,
        # What drifted stands above the plan, with its class; here it would be said twice.
        changes=replace(_with_origins(changes, site), drift=()),
        plan_file=run.plan_file,
    )
    return _Mending(site=site, plan=plan, text=text)


def _with_origins(changes: ChangeSet, site: SeenSite) -> ChangeSet:
    def placed(change: ResourceChange) -> ResourceChange:
        applied = site.module.resources.get(change.address)
        return replace(change, origin=applied.origin) if applied is not None else change

    return replace(changes, changes=tuple(map(placed, changes.changes)))


def _named(site: SeenSite, rows: Sequence[DriftRow]) -> dict[str, dict[str, Any]]:
    """Address → attributes to be named, with the values they had: the code leaves them to the cloud, so Terraform leaves them alone."""
    table = site.provider.drift_table().types
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        top = plain(row.path).partition(".")[0]
        applied = site.module.resources.get(row.address)
        if row.kind is not DriftKind.CHANGED or row.value is not ValueKind.KNOWN or applied is None or row.type not in table:
            continue
        before, after = (site.raw.get(row.address, {}).get(side) for side in ("before", "after"))
        if top not in table[row.type].chosen or top in applied.arguments or not isinstance(before, dict):
            continue
        value = before.get(top)
        if top in table[row.type].filled and isinstance(after, dict):
            # What other resources of the module put there stays, whether the state knew of it already or not.
            value = _as_it_was(site, table[row.type].filled[top], top, before, after)
        found.setdefault(row.address, {})[top] = _escaped(value)
    return found


def _as_it_was(site: SeenSite, filler: str, name: str, before: JsonObject, after: JsonObject) -> list[Any]:
    """A list that others fill, without what is not theirs, and with what somebody took away."""
    old, new = before.get(name) or [], after.get(name) or []
    now = site.others.get(filler, ())
    former = [change["before"] for change in site.raw.values() if isinstance(change.get("before"), dict)]
    strange = unexplained([row for row in new if row not in old], after, now)
    missed = unexplained([row for row in old if row not in new], before, [*now, *former])
    return [*(row for row in new if row not in strange), *missed]


def _escaped(value: Any) -> Any:
    """A value as Terraform JSON has it: `${` in somebody's text stays text."""
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {_escaped(name): _escaped(item) for name, item in value.items()}
    return value


def _with_names(site: SeenSite, named: Mapping[str, Mapping[str, Any]]) -> str:
    """The applied module with these attributes named."""
    if not named:
        return site.module.text
    module = site.module.document
    for address, attributes in named.items():
        type_, _, name = address.partition(".")
        module["resource"][type_][name].update(attributes)
    return json.dumps(module, indent=2, sort_keys=True) + "\n"


@contextlib.contextmanager
def _module_with(site: SeenSite, text: str) -> Iterator[None]:
    """This module on disk, and afterwards the applied one: a plan holds its own copy of the code."""
    write_module(site.directory, text)
    try:
        yield
    finally:
        write_module(site.directory, site.module.text)


@contextlib.contextmanager
def _kept_private(mendings: Sequence[_Mending]) -> Iterator[None]:
    """A plan's file holds the state in clear: it goes, whatever comes of it."""
    files = [mending.plan.plan_file for mending in mendings]
    try:
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _as_planned(rows: tuple[DriftRow, ...], plans: Sequence[_Mending]) -> tuple[DriftRow, ...]:
    """The rows with what the plans really do about them: looking alone can only expect it."""
    changes = {(item.plan.site, change.address): change for item in plans for change in item.plan.changes.changes}
    return tuple(
        replace(row, repair=CANNOT)
        if row.kind is DriftKind.CHANGED and not _does(row, changes.get((row.site, row.address)))
        else row
        for row in rows
    )


CANNOT = "cannot be set back; the state takes it over"


def _does(row: DriftRow, change: ResourceChange | None) -> bool:
    if STARTS in row.repair:
        return True
    if change is None or change.action in (Action.NO_OP, Action.READ):
        return False
    top = plain(row.path).partition(".")[0]
    return change.action is not Action.UPDATE or any(plain(item.path).partition(".")[0] == top for item in change.attributes)


# What is refused


def _refuse_hidden(deployment: DeploymentId, rows: Sequence[DriftRow]) -> None:
    hidden = [row for row in rows if row.drift in GRAVE and row.repair == CANNOT]
    if hidden:
        first = hidden[0]
        raise SkycError(
            error(
                "drift-not-repairable",
                "Terraform cannot put this back",
                f"{', '.join(f'{row.address} {row.path}' for row in hidden)}: {first.why}. The code does not say what it was, so an"
                " apply would take it over in silence. Nothing was done.",
                hint="put it back by hand; or look at it, and adopt it with the command below",
                commands=(f"skyc drift {deployment} --adopt-security --only {first.address}",),
            )
        )


def _refuse_disturbing(session: Session, deployment: DeploymentId, plans: Sequence[_Mending], rows: Sequence[DriftRow]) -> None:
    """No node of a job that runs is taken, nor a machine changed under it in what may stop it. Raises SkycError."""
    grave = {(row.site, row.address) for row in rows if row.drift in (DriftClass.COST, DriftClass.BROKEN)}
    for item in plans:
        site, plan = item.site, item.plan
        task = task_of(plan.site)
        machines = set(machine_addresses(site.module).values())
        changed = [
            change.address
            for change in plan.changes.changes
            if change.action is Action.UPDATE and change.address in machines and (plan.site, change.address) in grave
        ]
        if task is None or not (changed or loses_cluster(task, [(plan, site.terraform)])):
            continue
        if going_on := working(session, deployment, task):
            names = ", ".join(job.id for job in going_on)
            what = f"changes {', '.join(changed)}" if changed else "takes nodes"
            raise still_running(
                deployment, "A job still runs there", f"The repair {what} of site {plan.site}, which runs {names}. "
            )


def _refuse_grave(deployment: DeploymentId, rows: Sequence[DriftRow], security: bool) -> None:
    grave = [row for row in rows if row.drift in GRAVE]
    if grave and not security:
        raise SkycError(
            error(
                "drift-is-security",
                "Drift that is about security is not adopted by the way",
                f"{', '.join(f'{row.address} {row.path}'.rstrip() for row in grave)}: {grave[0].why}. Nothing was done.",
                hint="repair it; or adopt the rest alone with `--only`; or say `--adopt-security` when it is meant to be so",
                commands=(f"skyc drift {deployment} --repair",),
            ),
            exit_code=DENIED,
        )


# What is done


def _repair(
    session: Session,
    context: SiteContext,
    found: Seen,
    rows: Sequence[DriftRow],
    plans: Sequence[_Mending],
    *,
    partly: bool,
) -> None:
    """partly: something is left as it is, on purpose."""
    deployment = context.deployment
    wanted = {row.address for row in rows if row.kind is DriftKind.EXTRA}
    record = session.store.deployment(deployment)
    before = record.state if record is not None else DeploymentState.ACTIVE

    def save(state: DeploymentState) -> None:
        # Buckets that a destroy left are looked after, and the deployment stays destroyed.
        if before not in (DeploymentState.DESTROYED, DeploymentState.DESTROYING):
            session.store.set_deployment_state(deployment, state)

    # Killed or failed, Terraform has taken into the state what it found. The record then says that the code is to be asked too.
    save(DeploymentState.APPLYING)
    try:
        for address, resource in sorted(found.extra.items()):
            if address in wanted and not resource.storage:
                session.note("drift", f"removing {resource.type} {resource.name}, which no state knows")
                provider = next(site.provider for site in found.sites if site.site == _site_of(rows, address))
                provider.remove(resource, home=session.home)
                session.store.record(
                    "orphan-removed", f"{resource.type} {resource.name} ({resource.id})", deployment=deployment
                )
        for item in plans:
            if item.plan.changes.has_changes:
                _repair_site(session, context, item)
        asleep = {row.site for row in rows if STARTS in row.repair or row.repair == "is started"}
        if asleep:
            start_machines(session, context, asleep)
    except KeyboardInterrupt:
        save(DeploymentState.FAILED)
        raise _interrupted(deployment, "--repair") from None
    except SkycError:
        save(DeploymentState.FAILED)
        raise
    save(before if partly else DeploymentState.ACTIVE)


def _site_of(rows: Sequence[DriftRow], address: str) -> SiteId:
    return next(row.site for row in rows if row.kind is DriftKind.EXTRA and row.address == address)


def _repair_site(session: Session, context: SiteContext, item: _Mending) -> None:
    plan, terraform = item.plan, item.site.terraform
    deployment, task = context.deployment, task_of(plan.site)
    session.step("drift", f"putting back {plan.site}")
    losing = task is not None and loses_cluster(task, [(plan, terraform)])
    if task is not None and losing:
        release(session, deployment, task)
    if item.named:
        name_for_now(item.site.directory, item.text)
    carry_out(context, plan.site, terraform, plan.plan_file, action="repair")
    name_no_more(item.site.directory)
    if task is not None and losing:
        settle(session, deployment, task, JobState.LOST, "Its nodes were replaced or removed.")
    made = any(change.action in MAKING for change in plan.changes.changes)
    cluster = cluster_at(session, deployment, plan.site)
    if made and cluster is not None and Capability.LOGIN in cluster.provider.capabilities:
        bring_up(session, cluster)


def _left_after(session: Session, context: SiteContext, before: Sequence[DriftRow]) -> tuple[DriftRow, ...]:
    """What drifts after a repair. Facts that only the cloud sets are taken over, if they are what was shown before and nothing grave."""
    known = {(row.site, row.address, row.path) for row in before if row.repair == CANNOT or not row.matters}
    taken: dict[SiteId, tuple[str, ...]] = {}
    with seen(session, context) as found:
        rows = found.rows
        for site in found.sites:
            fine = [row for row in site.rows if row.drift not in GRAVE and (site.site, row.address, row.path) in known]
            if site.rows and len(fine) == len(site.rows) and site.run.plan_file is not None:
                carry_out(context, site.site, site.terraform, site.run.plan_file, action="refresh")
                taken[site.site] = ()
    return tuple(row for row in rows if row.site not in taken or row.kind not in (DriftKind.CHANGED, DriftKind.GONE))


def _interrupted(deployment: DeploymentId, option: str) -> Interrupted:
    return Interrupted(
        "Terraform stopped after the resources it was working on; its state holds all of them.",
        f"skyc drift {deployment}",
        f"skyc drift {deployment} {option}",
    )


def _told(rows: Sequence[DriftRow]) -> str:
    return ", ".join(sorted({f"{row.address} {row.path}".rstrip() for row in rows}))
