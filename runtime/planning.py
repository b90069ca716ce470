"""From a task file to everything a reviewer sees: the compilation, Terraform's plan per site, and what the job would do.

Runs with the deployment's lock held. Writes root modules and plan files below the home, changes nothing in the world except
what `reconcile` clears up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..compiler.buckets import with_uris
from ..compiler.diagnostics import Diagnostic, Severity, SkycError, Span, error, has_errors, warning
from ..compiler.ir import (
    Action,
    ChangeSet,
    DeploymentId,
    FailureKind,
    Fingerprints,
    FrozenMap,
    JobAction,
    JobPlan,
    PlacementPlan,
    Reach,
    Ref,
    ResourceGraph,
    Secret,
    SiteId,
    Task,
    TaskId,
    task_of,
)
from ..compiler.pipeline import Compilation
from ..compiler.terraform import Terraform
from ..providers.base import DEAD, STOPPED, Capability, Provider
from .clusters import clusters, healths
from .fingerprints import fingerprints_of
from .job import JobState
from .places import checkpoint_place
from .reconcile import reconcile
from .records import DeploymentState, JobRecord, RunState, SiteRecord
from .request import Request
from .runs import LastRun, plan_job, task_digest
from .session import Session
from .side_by_side import side_by_side
from .sites import SiteContext, SitePlan, check_state, pin_packages, plan_site, site_directory, terraform_at, write_module
from .standing import never_submitted, refresh_jobs, working


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan with the drivers that can carry it out. Lives only inside `planned`."""

    compilation: Compilation
    context: SiteContext
    sites: tuple[tuple[SitePlan, Terraform], ...]
    jobs: tuple[JobPlan, ...]
    task_digests: Mapping[TaskId, str]
    stopped: frozenset[SiteId] = frozenset()
    """Sites with machines that are stopped: an apply starts them."""
    before: PlacementPlan | None = None
    """The placement that was applied last."""
    fingerprints: Fingerprints | None = None
    plan_file: str = ""
    """Digest of the reviewed plan file that is carried out; empty without one."""

    @property
    def deployment(self) -> DeploymentId:
        return self.context.deployment

    @property
    def changes(self) -> tuple[ChangeSet, ...]:
        return tuple(plan.changes for plan, _ in self.sites)

    @property
    def has_changes(self) -> bool:
        return any(changes.has_changes for changes in self.changes)

    def task(self, task: TaskId) -> Task:
        """With the URIs of the buckets it uses."""
        return located_task(self.compilation, task)


def shared_deployment(session: Session, request: Request, compilation: Compilation) -> tuple[Diagnostic, ...]:
    """A warning when another task file, which is still there, made this deployment: what only that file asks for would go."""
    deployment, path = compilation.deployment, request.path.resolve()
    record = session.store.deployment(deployment)
    if record is None or record.state is DeploymentState.DESTROYED:
        return ()
    other = Path(record.spec_path)
    if other == path or not other.exists():
        # A file that was moved or renamed is the same file to its owner.
        return ()
    return (
        warning(
            "shared-deployment",
            "Another task file made this deployment",
            f"`{deployment}` was last applied from {other}. One deployment is what one file says: an apply of {path} changes or "
            "removes what that file asked for, and the next apply of that one changes it back.",
            span=None if request.deployment else _name_span(compilation),
            hint="give one of the files another `name:`, or this deployment another name with `-d NAME`",
        ),
    )


def _name_span(compilation: Compilation) -> Span | None:
    """Where the file gives the deployment its name; None where the file's own name does."""
    spec = compilation.spec
    assert spec is not None
    first = spec.header or spec.documents[0]
    return compilation.sources.spans.get(first.origin.child("name"))


def cannot_ask(session: Session, compilation: Compilation) -> tuple[Diagnostic, ...]:
    """Why a target of the placement could not be asked by Terraform now: missing credentials, mostly."""
    names = sorted({graph.provider for graph in compilation.graphs or ()})
    return tuple(found for name in names for found in session.provider(name).ready(home=session.home))


@contextlib.contextmanager
def planned(session: Session, request: Request, compilation: Compilation, context: SiteContext) -> Iterator[Planned]:
    """Plan every site of a compiled file, and every site it no longer has. Attachments run for the length of the context."""
    assert compilation.graphs is not None
    assert compilation.synthesized is not None
    assert not has_errors(compilation.diagnostics)
    deployment = context.deployment
    known = {record.site: record for record in session.store.sites(deployment)}
    for site in known:
        check_state(context, site)
    # Before the world is looked at: targets look in the regions of the deployment's sites.
    for graph, made in zip(compilation.graphs, compilation.synthesized, strict=True):
        write_module(site_directory(session.home, deployment, graph.site), made.text)
        pin_packages(context, graph)
    reconcile(session, deployment, context)
    refresh_jobs(session, deployment)
    with contextlib.ExitStack() as stack:
        work: list[tuple[Terraform, Callable[[], SitePlan]]] = []
        stopped: set[SiteId] = set()
        wanted: set[SiteId] = set()
        for graph in compilation.graphs:
            wanted.add(graph.site)
            standing = machine_healths(session, deployment, graph.site)
            if STOPPED in standing.values():
                stopped.add(graph.site)
                _say_stopped(session, standing)
            dead = dead_machines(session, graph, standing)
            region = region_of_site(compilation, graph.site)
            work.append(_planning(session, stack, context, graph.site, graph.provider, graph, dead, region))
        for site in sorted(set(known) - wanted):
            work.append(_planning(session, stack, context, site, known[site].provider, None))
        plans = side_by_side(work)
        sites = [(plan, terraform) for plan, (terraform, _) in zip(plans, work, strict=True)]
        digests = {
            task.id: task_digest(task, (session.home,)) for task in (compilation.graph.tasks if compilation.graph else ())
        }
        yield Planned(
            compilation=compilation,
            context=context,
            sites=tuple(sites),
            jobs=tuple(_plan_jobs(session, request, compilation, context, sites, digests)),
            task_digests=digests,
            stopped=frozenset(stopped),
            before=session.store.placement(deployment),
            fingerprints=fingerprints_of(session, compilation, (plan.changes for plan in plans)),
        )


def _planning(
    session: Session,
    stack: contextlib.ExitStack,
    context: SiteContext,
    site: SiteId,
    provider_name: str,
    graph: ResourceGraph | None,
    dead: tuple[str, ...] = (),
    region: str = "",
) -> tuple[Terraform, Callable[[], SitePlan]]:
    """A site's driver, and its planning, to be done beside others'. region: where its machines are to be."""
    session.step("plan", f"planning {site} with {context.engine}")
    provider = session.provider(provider_name)
    terraform = stack.enter_context(terraform_at(context, site, provider))

    def plan() -> SitePlan:
        try:
            return plan_site(context, site, provider, graph, terraform, replace=dead)
        except SkycError as caught:
            raise explained(caught, provider, region) from caught

    return terraform, plan


def region_of_site(compilation: Compilation, site: SiteId) -> str:
    """Where a task's site is to be; empty for a site of buckets."""
    assert compilation.placement is not None
    return next((item.region for item in compilation.placement.placements if item.task == task_of(site)), "")


def explained(caught: SkycError, provider: Provider, region: str) -> SkycError:
    """With what it means, where the account does not have the region: AWS's own words are those of a wrong key."""
    errors = [found for found in caught.diagnostics if found.severity is Severity.ERROR]
    for failure in provider.failures(errors, region) if region else ():
        if failure.kind is FailureKind.NOT_OFFERED and failure.reach is Reach.REGION:
            place = f"{provider.name}/{region}"
            said = error(
                "region-not-enabled",
                "The account does not seem to have the region",
                f"{place} answers {failure.code}. Only accounts that asked for it have this region, and the others are refused like this.",
                hint=f"enable {region} in the account, or leave it out of `infra` and of `regions` in config.yaml",
                commands=("skyc check",),
            )
            return SkycError(said, *caught.diagnostics, exit_code=caught.exit_code)
    return caught


def machine_healths(session: Session, deployment: DeploymentId, site: SiteId) -> Mapping[str, str]:
    """Node name → health, of a site that is logged in to. A provider of ours tells Terraform itself. Raises SkycError."""
    found = next((cluster for cluster in clusters(session, deployment) if cluster.site == site), None)
    if found is None or Capability.LOGIN not in found.provider.capabilities:
        return {}
    answers = {}
    for node, health in zip(found.nodes, healths(session, found.provider, found.nodes), strict=True):
        if isinstance(health, SkycError):
            raise health
        answers[node.name] = health
    return answers


def dead_machines(session: Session, graph: ResourceGraph, standing: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses of a site's machines that Terraform takes for well and whose node is dead: they are made anew. One that is stopped
    is as it was left."""
    dead = {name: health for name, health in standing.items() if health.startswith(DEAD)}
    if not dead:
        return ()
    for name, health in sorted(dead.items()):
        session.note("plan", f"node {name} is {health}; it is made anew")
    return tuple(address for name, address in machine_addresses(graph) if name in dead)


def _say_stopped(session: Session, standing: Mapping[str, str]) -> None:
    names = ", ".join(sorted(name for name, health in standing.items() if health == STOPPED))
    session.note("plan", f"stopped: {names}; an apply starts what it does not replace")
    session.remarks.append(
        warning(
            "machines-stopped",
            "Machines of the deployment are stopped",
            f"{names}: an apply starts what it does not replace. To Terraform that is no change.",
        )
    )


def machine_addresses(graph: ResourceGraph) -> tuple[tuple[str, str], ...]:
    """(node name, Terraform address of its machine): a node's id is an attribute of its machine."""
    rows = graph.outputs["nodes"]
    assert isinstance(rows, tuple), "the output `nodes` is a list"
    return tuple(
        (str(row["name"]), str(row["id"].address)) for row in rows if isinstance(row, FrozenMap) and isinstance(row["id"], Ref)
    )


def site_record(graph: ResourceGraph, directory: Path) -> SiteRecord:
    return SiteRecord(
        deployment=graph.deployment,
        site=graph.site,
        provider=graph.provider,
        directory=str(directory),
        graph_digest=graph.digest,
    )


def _plan_jobs(
    session: Session,
    request: Request,
    compilation: Compilation,
    context: SiteContext,
    sites: list[tuple[SitePlan, Terraform]],
    digests: Mapping[TaskId, str],
) -> Iterator[JobPlan]:
    assert compilation.graph is not None
    for task in compilation.graph.tasks:
        last = last_run(session, context.deployment, task.id)
        if last is not None and last.state is not None and not last.state.final:
            last = _as_it_is(session, context.deployment, task.id, last, digests[task.id], lost=loses_cluster(task.id, sites))
        generation: int | None = 0
        if last is not None and task.checkpoint is not None:
            located = with_uris(task, compilation.buckets)
            where = checkpoint_place(session, context.deployment, located, provider_of(task, compilation), last.number)
            generation = _newest_generation(where.store, where.prefix, task.num_nodes)
        yield plan_job(task, digests[task.id], last, rerun=request.rerun, generation=generation)


def _newest_generation(uri: str, prefix: str, world: int) -> int | None:
    """Of a run's checkpoints; None where only its nodes may look. Raises SkycError."""
    from .checkpoint import newest_generation
    from .storage.base import StoreError, StoreFault, open_store

    try:
        return newest_generation(open_store(uri), prefix, world)
    except StoreError as failure:
        # Who makes machines needs no right to what is in their buckets, nor the cloud's client library.
        if failure.kind in (StoreFault.DENIED, StoreFault.INVALID):
            return None
        raise


def _as_it_is(
    session: Session, deployment: DeploymentId, task: TaskId, last: LastRun, task_digest: str, *, lost: bool
) -> LastRun:
    """An attempt that is recorded as going on: is it? `lost`: the plan takes its nodes."""
    if lost and not working(session, deployment, task):
        return replace(last, state=JobState.LOST, reason="its nodes are replaced")
    attempt = newest_attempt(session, deployment, task, last.number)
    if last.task_digest != task_digest and attempt is not None and never_submitted(session, deployment, attempt):
        # skyc was stopped before it submitted it: nothing runs that the changed task would have to wait for.
        return replace(last, state=None)
    return last


def loses_cluster(task: TaskId | None, sites: Sequence[tuple[SitePlan, Terraform]]) -> bool:
    """Whether the plan makes, replaces or removes a node of the task: then what runs there ends. None has no nodes."""
    return task is not None and any(
        change.action not in (Action.NO_OP, Action.READ, Action.UPDATE)
        for plan, _ in sites
        if str(plan.site).startswith(f"{task}.")
        for change in plan.changes.changes
    )


def last_run(session: Session, deployment: DeploymentId, task: TaskId) -> LastRun | None:
    """A task's newest run with the state of its newest attempt."""
    run = session.store.latest_run(deployment, task)
    if run is None:
        return None
    job = newest_attempt(session, deployment, task, run.number)
    state = JobState.SUCCEEDED if run.state is RunState.SUCCEEDED else None if job is None else job.state
    return LastRun(number=run.number, task_digest=run.task_digest, state=state, reason=job.reason if job else "")


def newest_attempt(session: Session, deployment: DeploymentId, task: TaskId, run: int) -> JobRecord | None:
    mine = [job for job in session.store.jobs(deployment) if job.task == task and job.run == run]
    return mine[-1] if mine else None


def refuse_running(session: Session, plan: Planned) -> None:
    """A changed task cannot start while the old one runs, nor may a plan take the nodes of a job that runs. Raises SkycError."""
    deployment = plan.deployment
    for job in plan.jobs:
        if job.action is JobAction.FOLLOW:
            last = last_run(session, deployment, job.task)
            if last is not None and last.task_digest != plan.task_digests[job.task]:
                raise still_running(deployment, "The job still runs, and the task has changed since it started", "")
    for record in session.store.sites(deployment):
        task = task_of(record.site)
        if task is not None and loses_cluster(task, plan.sites) and (going_on := working(session, deployment, task)):
            names = ", ".join(job.id for job in going_on)
            raise still_running(
                deployment, "The plan takes nodes on which a job still runs", f"Site {record.site} runs {names}. "
            )


def still_running(deployment: DeploymentId, summary: str, detail: str) -> SkycError:
    return SkycError(
        error(
            "job-still-running",
            summary,
            f"{detail}skyc does not stop a running job by itself.",
            commands=(f"skyc cancel {deployment}", f"skyc logs -f {deployment}"),
        )
    )


def located_task(compilation: Compilation, task: TaskId) -> Task:
    """A task of the file, its Storages with the URIs of their buckets."""
    assert compilation.graph is not None
    found = next(item for item in compilation.graph.tasks if item.id == task)
    return with_uris(found, compilation.buckets)


def provider_of(task: Task, compilation: Compilation) -> str:
    """The target of the task's head. Only after optimize."""
    assert compilation.placement is not None
    return next(placement.provider for placement in compilation.placement.placements if placement.task == task.id)


def span_finder(compilation: Compilation) -> dict[str, Span | None]:
    """Terraform address → the user's line it came from."""
    return {
        str(node.address): compilation.sources.find(node.origin)
        for graph in compilation.graphs or ()
        for node in graph.resources
    }


def secret_texts(secrets: Mapping[str, Secret]) -> tuple[str, ...]:
    return tuple(secret.reveal() for secret in secrets.values())


__all__ = [
    "Planned",
    "cannot_ask",
    "last_run",
    "loses_cluster",
    "newest_attempt",
    "planned",
    "provider_of",
    "refuse_running",
    "secret_texts",
    "span_finder",
    "still_running",
]
