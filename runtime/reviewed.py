"""A reviewed plan file, applied as it is: no optimizer, no compilation, no plan of Terraform's; what it holds is checked and done.

Killed or failed on the way, the same command goes on: the store knows that this file was begun. Its sites are then planned anew with the
code of the file, because the states are half way, and held against the changes that were approved. So the end is the same, with the same
placements, and each job is started once, whatever happens: its run and attempt are fixed by the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..compiler.artifact.plan_file import PlanFile, PlanKind, PlannedJob
from ..compiler.diagnostics import SkycError, SourceFile, error
from ..compiler.failover import name_of
from ..compiler.ir import (
    Action,
    CandidateSet,
    Catalog,
    ChangeSet,
    DeploymentId,
    FrozenMap,
    JobAction,
    JobPlan,
    PlacementPlan,
    Secret,
    SiteId,
)
from ..compiler.parse import parse
from ..compiler.pipeline import Compilation, CompileOptions, SynthFile
from ..compiler.resolve import EnvOverrides
from ..compiler.terraform import Terraform
from ..providers.base import MARK_FILE, STOPPED, Access
from .access import write_once
from .attempts import continued
from .backend.opening import fetch_keys
from .job import JobState
from .moved import moved, moved_since
from .plan_files import MOVED, read_plan_file
from .planning import Planned, newest_attempt, planned
from .policy.files import here
from .records import JobRecord
from .request import Request, compile_request, deployment_keys, deployment_mark
from .session import Session
from .sites import PACKAGES_FILE, SiteContext, SitePlan, site_directory, terraform_at, write_module
from .standing import refresh_jobs
from .state import deployment_directory
from .still_offered import StillOffered

_DESTROYS = frozenset({Action.DELETE, Action.REPLACE, Action.CREATE_BEFORE_DESTROY})
_QUIET = frozenset({Action.NO_OP, Action.READ})


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A plan file that is about to be applied. `path`: where it lies."""

    path: Path
    plan: PlanFile
    digest: str
    compilation: Compilation

    @property
    def deployment(self) -> DeploymentId:
        return self.plan.deployment


def opened_review(session: Session, request: Request) -> Review:
    """A plan file made ready to be applied. Raises SkycError for one that cannot be."""
    plan, digest = read_plan_file(request.path)
    if plan.kind is not PlanKind.COMPARED:
        raise SkycError(
            error(
                "plan-not-compared",
                "This plan was compared with nothing",
                f"{request.path} was made offline, for review: nobody knows what an apply of it would change. Nothing was done.",
                hint="make one with `skyc plan TASK -o FILE`, with credentials and the state",
            ),
            exit_code=MOVED,
        )
    if request.deployment not in (None, plan.deployment):
        detail = f"{request.path} is for `{plan.deployment}`, and the command line names `{request.deployment}`."
        raise SkycError(error("plan-of-another", "The plan is of another deployment", detail), exit_code=MOVED)
    refuse_options(str(request.path), (("--env", request.env), ("--rerun", request.rerun)))
    if request.locked:
        from .locking import refuse_another_lock

        refuse_another_lock(plan)
    adopt_mark(session, plan)
    return Review(path=request.path, plan=plan, digest=digest, compilation=_compilation(session, request, plan))


def refuse_options(what: str, options: Iterable[tuple[str, object]]) -> None:
    """Options that would do something else than what was reviewed, where they are given. Raises SkycError."""
    given = [name for name, value in options if value]
    if given:
        detail = f"{what} says all of what is done; {' and '.join(given)} would make another plan of it. Nothing was done."
        raise SkycError(
            error("plan-file-option", "An option would change a reviewed plan", detail, hint="leave it out, or plan again")
        )


def adopt_mark(session: Session, plan: PlanFile) -> None:
    """The names of the plan's buckets end as they did where it was made, unless the deployment has a mark here already."""
    fetch_keys(session, plan.deployment)
    path = deployment_directory(session.home, plan.deployment) / MARK_FILE
    if plan.mark and not path.exists() and session.store.deployment(plan.deployment) is None:
        write_once(path, plan.mark.encode())


@contextlib.contextmanager
def reviewed(session: Session, request: Request, review: Review, context: SiteContext) -> Iterator[Planned]:
    """The file's plan with the drivers that can carry it out, as `planned` gives one. Raises SkycError (exit code 4) with everything
    that has moved since."""
    deployment = review.deployment
    begun = session.store.plan_file(deployment, review.digest)
    if begun is not None and begun.finished is not None:
        raise applied_before(session, review)
    if begun is not None:
        session.note("plan", "this plan file was begun before; going on with it")
        with _gone_on(session, request, review, context) as plan:
            yield plan
        return
    refresh_jobs(session, deployment)
    found = moved_since(session, context, review.plan, review.compilation)
    if found:
        raise SkycError(*found, exit_code=MOVED)
    with contextlib.ExitStack() as stack:
        sites = [_restored(session, stack, context, review, site.site) for site in review.plan.sites]
        yield _planned(session, review, context, sites, tuple(job.plan for job in review.plan.jobs))


def _planned(
    session: Session,
    review: Review,
    context: SiteContext,
    sites: list[tuple[SitePlan, Terraform]],
    jobs: tuple[JobPlan, ...],
) -> Planned:
    return Planned(
        compilation=review.compilation,
        context=context,
        sites=tuple(sites),
        jobs=jobs,
        task_digests={job.plan.task: job.task_digest for job in review.plan.jobs},
        stopped=frozenset(site.site for site in review.plan.sites if STOPPED in site.health.values()),
        before=review.plan.before,
        fingerprints=review.plan.fingerprints,
        plan_file=review.digest,
    )


def _restored(
    session: Session, stack: contextlib.ExitStack, context: SiteContext, review: Review, name: SiteId
) -> tuple[SitePlan, Terraform]:
    """A site's module and plan back on disk, where its driver takes them from."""
    from ..compiler.terraform_process import PLAN, private_directory

    site = next(found for found in review.plan.sites if found.site == name)
    directory = site_directory(session.home, review.deployment, name)
    write_module(directory, site.module)
    if site.lock and not (directory / PACKAGES_FILE).exists():
        # The very providers the plan was made with, or none.
        (directory / PACKAGES_FILE).write_text(site.lock, encoding="utf-8")
    file = private_directory(directory / "runs", "reviewed") / PLAN
    if site.plan is not None:
        file.touch(mode=0o600)
        file.write_bytes(site.plan)
    provider = session.provider(site.provider)
    terraform = stack.enter_context(terraform_at(context, name, provider))
    assert site.changes is not None
    plan = SitePlan(site=name, directory=directory, provider=provider, graph=site.graph, changes=site.changes, plan_file=file)
    return plan, terraform


# Going on after a kill


@contextlib.contextmanager
def _gone_on(session: Session, request: Request, review: Review, context: SiteContext) -> Iterator[Planned]:
    jobs = tuple(_job_left(session, review, job) for job in review.plan.jobs)
    compilation = continued(session, review.compilation)
    with planned(session, request, compilation, context) as plan:
        known = {site.site: site.changes for site in review.plan.sites}
        for site, _ in plan.sites:
            beyond = _beyond(site.changes, known.get(site.site))
            if beyond and site.site in known:
                raise SkycError(
                    moved(
                        "What is left to do goes beyond the plan that was approved",
                        f"{site.site}: {', '.join(beyond)}. Something else has changed it since this plan file was begun.",
                    ),
                    exit_code=MOVED,
                )
        digests = {job.plan.task: job.task_digest for job in review.plan.jobs}
        yield dataclasses.replace(
            plan,
            jobs=jobs,
            task_digests=digests,
            before=review.plan.before,
            fingerprints=review.plan.fingerprints,
            plan_file=review.digest,
        )


def _beyond(now: ChangeSet, approved: ChangeSet | None) -> list[str]:
    """Addresses that the plan changes, or destroys, and nobody has approved that. What was to be made may have come up half: it is
    made anew."""
    was = {change.address: change.action for change in approved.changes} if approved is not None else {}
    return [
        change.address
        for change in now.changes
        if change.action not in _QUIET
        and (
            was.get(change.address, Action.NO_OP) in _QUIET
            or (change.action in _DESTROYS and was[change.address] not in {*_DESTROYS, Action.CREATE})
        )
    ]


def _job_left(session: Session, review: Review, job: PlannedJob) -> JobPlan:
    """What is left to do about a job. One that was started is never started again."""
    plan = job.plan
    found = newest_attempt(session, review.deployment, plan.task, plan.run)
    if plan.action not in (JobAction.RUN, JobAction.RESUME):
        return plan
    if found is not None and (plan.run, found.attempt) > (job.last_run, job.last_attempt):
        if not found.state.final:
            return dataclasses.replace(plan, action=JobAction.FOLLOW, detail="started by this plan file; its output is shown")
        if found.state is JobState.SUCCEEDED:
            return dataclasses.replace(plan, action=JobAction.NOTHING, detail="it has succeeded")
        session.store.end_plan_file(review.deployment, review.digest)
        raise applied_before(session, review)
    last = session.store.latest_run(review.deployment, plan.task)
    if plan.action is JobAction.RUN and last is not None and last.number == plan.run:
        # Written down, and nothing was submitted for it.
        return dataclasses.replace(plan, action=JobAction.RESUME)
    return plan


def applied_before(session: Session, review: Review) -> SkycError:
    """A plan file is carried out once."""
    deployment = review.deployment
    jobs = [newest_attempt(session, deployment, job.plan.task, job.plan.run) for job in review.plan.jobs]
    told = ", ".join(f"job {job.id}: {_state(job)}" for job in jobs if job is not None)
    return SkycError(
        error(
            "plan-applied",
            "This plan was carried out already",
            f"{review.path} is done{f': {told}' if told else ''}. A plan is carried out once, so that no job runs twice because of"
            " it. Nothing was changed.",
            hint="plan again for what is to be done now",
            commands=(f"skyc status {deployment}", f"skyc logs {deployment}"),
        ),
        exit_code=MOVED,
    )


def _state(job: JobRecord) -> str:
    return job.state.value


# The compilation that the file is of


def _compilation(session: Session, request: Request, plan: PlanFile) -> Compilation:
    """As the passes left it. What follows the optimizer can be made again, for another placement of the envelope."""
    source = SourceFile(path=plan.task.path, text=plan.task.text)
    _, sources, _ = parse(source)
    parts = tuple(session.providers[name].catalog(home=session.home) for name in sorted(session.providers))
    still = StillOffered(parts)
    graphs = tuple(site.graph for site in plan.sites if site.graph is not None)
    made = tuple(
        SynthFile(manifest=site.manifest, text=site.module)
        for site in plan.sites
        if site.graph is not None and site.manifest is not None
    )
    return Compilation(
        source=source,
        options=_options(session, plan),
        sources=sources,
        graph=plan.graph,
        secrets=_secrets(session, request, plan),
        candidates=CandidateSet(catalog=Catalog(parts=parts), options=(), rejections=()),
        placement=_still_on_offer(session, plan.placement, still),
        policy=here(session.home, session.environ, request.policies),
        chosen=None if plan.chosen is None else _still_on_offer(session, plan.chosen, still),
        known=plan.known,
        buckets=plan.buckets,
        graphs=graphs,
        synthesized=made,
        endless=plan.endless,
    )


def _still_on_offer(session: Session, placement: PlacementPlan, still: StillOffered) -> PlacementPlan:
    """Without the fallbacks that cannot be had any more for what was approved: nobody has approved more."""
    kept = []
    for item in placement.fallbacks:
        why = still.moved(item)
        if why is None:
            kept.append(item)
        else:
            session.note("plan", f"fallback {name_of(item)} is left out: {why}")
    return placement if len(kept) == len(placement.fallbacks) else dataclasses.replace(placement, fallbacks=tuple(kept))


def _options(session: Session, plan: PlanFile) -> CompileOptions:
    settings = plan.settings

    def access(deployment: DeploymentId) -> Access:
        found = deployment_keys(session, deployment)
        return dataclasses.replace(
            found,
            ssh_from=settings.ssh_from,
            storage_accounts=settings.storage_accounts,
            bucket_keys=settings.bucket_keys,
        )

    return CompileOptions(
        providers=session.providers,
        home=session.home,
        runtime=settings.runtime,
        overrides=EnvOverrides.of(),
        deployment=plan.deployment,
        objective=plan.objective,
        access=access,
        networks={(row.provider, row.region): row.network for row in settings.networks},
        mark=lambda deployment: deployment_mark(session, deployment),
        images=settings.images,
        versions=settings.versions,
    )


def _secrets(session: Session, request: Request, plan: PlanFile) -> FrozenMap[Secret]:
    """Values of the secrets the tasks name: a plan file has none. From the command line, the task file if it is still there, and the
    environment. Raises SkycError for one that has no value."""
    names = sorted({name for task in plan.graph.tasks for name in task.secrets})
    found: dict[str, Secret] = {name: Secret(session.environ[name]) for name in names if name in session.environ}
    if names and Path(plan.task.path).is_file():
        with contextlib.suppress(SkycError):
            task = dataclasses.replace(request, path=Path(plan.task.path), deployment=plan.deployment)
            found |= dict(compile_request(session, task, until="resolve").secrets.items())
    found |= dict(request.secrets.items())
    missing = [name for name in names if name not in found]
    if missing:
        raise SkycError(
            *(
                error(
                    "secret-not-set",
                    "A secret has no value.",
                    f"The plan's tasks need {name}, and a plan file holds no secrets.",
                    hint=f"set it, or write `--secret-file {name}=FILE`",
                )
                for name in missing
            )
        )
    return FrozenMap({name: found[name] for name in names})
