"""apply: do a plan, then the job.

Order, and why it is safe to be killed at any point:

1. the deployment's lock is taken; Terraform inherits it, so nobody else starts while an orphaned run still works;
2. plan, show, ask;
3. per site: journal, `terraform apply` of exactly the planned file, remember the state;
4. the cluster is probed (it must refuse who has no token), the job is written down, put on the nodes and submitted under our
   id, so that a repeated submission is the same job;
5. the lock is released and the job followed. From here the job needs nobody: following can be interrupted and taken up again.

Of a file with several tasks, 4 and 5 are done for as many at once as may run side by side (`file_jobs.py`).
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import DeploymentId, JobAction, JobPlan, Secret, task_of
from ..compiler.pipeline import Compilation
from ..compiler.terraform_stream import Event, Phase
from . import jobs
from .attempts import worth_telling
from .backend.opening import shared
from .clusters import Cluster, cluster_of
from .failover import is_up, make_site, nodes_of
from .file_jobs import FileJobs, NobodyListens, Started, go_on, may_meet
from .job import JobId, JobKind, JobRequest, JobState, JobStatus
from .job_request import hourly_of, job_request
from .lock import Holder, deployment_lock
from .locking import Hold, held
from .mirror import with_mirror
from .places import note_storages, refuse_unopened
from .plan_files import is_plan_file
from .planning import (
    Planned,
    last_run,
    located_task,
    loses_cluster,
    newest_attempt,
    planned,
    provider_of,
    refuse_running,
    secret_texts,
    site_record,
    span_finder,
    still_running,
)
from .plans import plan_result
from .policy.judge import judged, refuse
from .policy.judge import record as record_approvals
from .ray import JobsUnreachable, probe
from .records import DeploymentState, JobRecord, RunState
from .refusals import compiled, refuse_another, refuse_ejected, refuse_unasked, refuse_what_cannot_run
from .request import Request
from .results import ApplyResult, Interrupted, Outcome, Plan, Progress, ProgressKind
from .reviewed import opened_review, refuse_options, reviewed
from .room import has_room
from .runs import plan_job
from .session import Session
from .sites import SiteContext
from .standing import ended, release, settle
from .waking import start_machines

LONGEST_LINE = 1 << 16

OUTCOMES = {
    JobState.SUCCEEDED: Outcome.SUCCEEDED,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
    JobState.LOST: Outcome.LOST,
}


@contextlib.contextmanager
def locked(
    session: Session, deployment: DeploymentId, *, command: str, wait: float | None, may_read: bool = False
) -> Iterator[int]:
    """The deployment's lock, and with a backend its lease, telling who is waited for. Yields the descriptor Terraform inherits."""

    def on_wait(holder: Holder | None) -> None:
        session.note("lock", f"waiting for `{deployment}`: {holder or 'another command is working on it'}")

    with (
        deployment_lock(session.home, deployment, command=command, wait=wait, on_wait=on_wait) as lock,
        shared(session, deployment, command=command, wait=wait, may_read=may_read),
    ):
        yield lock.fd


def site_context(
    session: Session,
    deployment: DeploymentId,
    lock_fd: int,
    compilation: Compilation | None = None,
    *,
    hold: Hold | None = None,
    taking_back: bool = False,
) -> SiteContext:
    """What Terraform's runs at a deployment's sites need. hold: the lock whose packages they are held to. `taking_back`: also of one
    that was ejected. Raises SkycError."""
    if not taking_back:
        refuse_ejected(session, deployment)
    spans = span_finder(compilation) if compilation else {}
    remote = session.remotes.get(deployment)
    if remote is not None:
        remote.refuse_plans(compiled=compilation is not None)
    return SiteContext(
        home=session.home,
        deployment=deployment,
        store=session.store,
        engine=session.engine,
        environ=with_mirror(session.environ, session.home),
        lock_fd=lock_fd,
        secrets=secret_texts(compilation.secrets) if compilation else (),
        on_event=lambda event: session.tell(_progress(event)),
        origin_of=spans.get,
        remote=remote,
        packages=hold.packages if hold is not None else None,
    )


def _progress(event: Event) -> Progress:
    kind = ProgressKind.NOTE if event.phase is Phase.NOTE else ProgressKind.RESOURCE
    text = event.message.removeprefix(f"{event.address}: ")
    return Progress(kind=kind, stage="apply", text=text, resource=event.address, elapsed=event.elapsed or 0.0)


def apply(
    session: Session,
    request: Request,
    *,
    confirm: Callable[[Plan], bool] | None,
    detach: bool = False,
    wait: float | None = None,
) -> ApplyResult:
    """Plan, ask, make, run; of a plan file, do what was reviewed. `confirm` None: do it without asking. Raises SkycError, Interrupted."""
    review = opened_review(session, request) if is_plan_file(request.path) else None
    if request.fingerprint is not None:
        # A plan whose job has succeeded says that nothing is run.
        refuse_options(f"The plan {request.fingerprint}", (("--rerun", request.rerun),))
    hold = held(session, request) if review is None and request.locked else None
    request = hold.request if hold is not None else request
    compilation = compiled(session, request, hold) if review is None else review.compilation
    _refuse_what_no_job_could_use(session, compilation)
    deployment = compilation.deployment

    def result(outcome: Outcome, job: JobRecord | None, work: FileJobs | None = None) -> ApplyResult:
        if review is not None and outcome is not Outcome.DECLINED:
            session.store.end_plan_file(deployment, review.digest)
        return ApplyResult(
            deployment=deployment,
            outcome=outcome,
            job=job,
            jobs=work.records if work is not None else (),
            not_started=work.left if work is not None else (),
            diagnostics=compilation.diagnostics,
            attempts=worth_telling(session.store.attempts(deployment)),
        )

    with locked(session, deployment, command=f"skyc apply {request.path}", wait=wait) as lock_fd:
        context = site_context(session, deployment, lock_fd, compilation, hold=hold)
        with (
            hold.explained() if hold is not None else contextlib.nullcontext(),
            planned(session, request, compilation, context)
            if review is None
            else reviewed(session, request, review, context) as plan,
        ):
            refuse_running(session, plan)
            refuse_another(plan, request.fingerprint)
            shown = judged(session, request, compilation, plan_result(plan), reviewed=review.plan if review else None)
            refuse(shown)
            if confirm is not None and shown.has_changes and not confirm(shown):
                return result(Outcome.DECLINED, None)
            todo = [job for job in plan.jobs if job.action is not JobAction.NOTHING]
            record_approvals(session, shown)
            if plan.has_changes or todo:
                plan = _make(session, plan, request)
            elif review is not None:
                session.store.begin_plan_file(deployment, review.digest)
        if plan.stopped:
            # After what was approved: nothing starts, and costs, before that.
            start_machines(session, context, plan.stopped)
        if not todo:
            last = plan.jobs[-1]
            return result(Outcome.ALREADY_SUCCEEDED, newest_attempt(session, deployment, last.task, last.run))
        work = _file_jobs(session, plan, todo)
        work.start(lambda job: _submit(session, plan, job, compilation.secrets), watching=not detach)
    # From here the lock is free: `logs`, `cancel` and `status` work beside us, and the jobs need nobody.
    if not detach:
        work.finish(lambda job: _next(session, plan, job, request, wait))
    return result(*_outcome(session, work, detached=detach), work)


def _refuse_what_no_job_could_use(session: Session, compilation: Compilation) -> None:
    """Before anything is made or paid for: targets where jobs cannot be started, and data their nodes could not open. Raises SkycError."""
    refuse_what_cannot_run(session, compilation)
    refuse_unasked(session, compilation)
    assert compilation.graph is not None
    refuse_unopened(
        (located_task(compilation, task.id) for task in compilation.graph.tasks),
        lambda task: session.provider(provider_of(task, compilation)).opens,
    )


def _outcome(session: Session, work: FileJobs, *, detached: bool) -> tuple[Outcome, JobRecord]:
    """How it ended, and the job that says so. Raises what was in the way of jobs, after a word about the others."""
    records = work.records
    if work.failures:
        for record in records:
            session.note("job", f"job {record.id} {record.state.value}")
        raise SkycError.of(work.failures.values())
    if detached:
        if work.left:
            waiting, started = ", ".join(f"`{task}`" for task in work.left), " and ".join(row.id for row in records)
            session.note("job", f"{waiting} not started: apply again, without --detach, when {started} has succeeded")
        return Outcome.DETACHED, records[-1]
    record = next((row for row in records if row.state is not JobState.SUCCEEDED), records[-1])
    return OUTCOMES[record.state], record


def _file_jobs(session: Session, plan: Planned, todo: list[JobPlan]) -> FileJobs:
    assert plan.compilation.graph is not None
    needs = {task.id: task.needs for task in plan.compilation.graph.tasks}
    several = may_meet([job.task for job in todo], needs)

    def show(item: Started, gone: threading.Event) -> JobStatus:
        return _show(session, item, gone, several=several)

    def settle(item: Started, status: JobStatus) -> JobRecord:
        record = ended(session, plan.deployment, item.cluster, item.record, status)
        if several:
            session.note("job", f"job {record.id} {record.state.value}")
        return record

    return FileJobs(
        waiting=list(todo),
        needs=needs,
        follow=show,
        settle=settle,
        has_room=functools.partial(has_room, session, plan.deployment),
    )


def _make(session: Session, plan: Planned, request: Request) -> Planned:
    """Apply every site with changes. The deployment is `failed` when one does not come up. The plan as it was carried out: with the
    placements that could be had."""
    compilation = plan.compilation
    assert compilation.placement is not None
    deployment = plan.deployment

    def save(state: DeploymentState) -> None:
        placement = plan.compilation.placement
        assert placement is not None
        session.store.save_deployment(
            deployment,
            spec_path=str(Path(compilation.source.path).resolve()),
            spec_digest=placement.spec_digest,
            plan_digest=placement.digest,
            state=state,
        )

    before = nodes_of(session, deployment)
    save(DeploymentState.APPLYING)
    if plan.plan_file:
        session.store.begin_plan_file(deployment, plan.plan_file)
    for site, _ in plan.sites:
        if site.graph is not None:
            session.store.save_site(site_record(site.graph, site.directory))
    assert compilation.graph is not None
    for task in compilation.graph.tasks:
        ours = frozenset(bucket.storage.name for bucket in compilation.buckets)
        note_storages(session, deployment, task, provider_of(task, compilation), buckets=ours)
    try:
        for site, terraform in plan.sites:
            if not site.changes.has_changes:
                is_up(session, plan, site)
                continue
            session.step("apply", f"making {site.site}" if site.graph is not None else f"removing {site.site}")
            loser = task_of(site.site)
            ending = loses_cluster(loser, [(site, terraform)])
            if loser is not None and ending:
                release(session, deployment, loser)
            plan = make_site(session, plan, site, terraform, before)
            if loser is not None and ending:
                settle(session, deployment, loser, JobState.LOST, "Its nodes were replaced or removed.")
            if site.graph is None:
                session.store.remove_site(deployment, site.site)
    except KeyboardInterrupt:
        save(DeploymentState.FAILED)
        raise Interrupted(
            "Terraform stopped after the resources it was making; its state holds all of them.",
            f"skyc apply {request.path}",
            f"skyc destroy {deployment}",
        ) from None
    except SkycError:
        save(DeploymentState.FAILED)
        raise
    save(DeploymentState.ACTIVE)
    assert plan.compilation.placement is not None
    session.store.save_placement(deployment, plan.compilation.placement)
    return plan


def _next(session: Session, plan: Planned, job: JobPlan, request: Request, wait: float | None) -> Started:
    """Start a later job of the file. Others may have worked meanwhile, so what is to be done is decided anew, with the lock."""
    deployment = plan.deployment
    with locked(session, deployment, command=f"skyc apply {request.path}", wait=wait):
        last = last_run(session, deployment, job.task)
        overtaken = last is not None and last.number >= job.run
        digest = plan.task_digests[job.task]
        if not request.rerun or overtaken:
            job = plan_job(plan.task(job.task), digest, last, rerun=False, generation=0)
        if job.action is JobAction.FOLLOW and last is not None and last.task_digest != digest:
            raise still_running(deployment, f"Another version of `{job.task}` was started meanwhile", "")
        cluster = cluster_of(session, deployment, job.task)
        record = newest_attempt(session, deployment, job.task, job.run)
        if job.action is JobAction.NOTHING and cluster is not None and record is not None:
            return Started(cluster=cluster, record=record)
        return _submit(session, plan, job, plan.compilation.secrets)


def _submit(session: Session, plan: Planned, job: JobPlan, secrets: Mapping[str, Secret]) -> Started:
    """Start a planned job, or find the one that is running."""
    deployment = plan.deployment
    task = plan.task(job.task)
    cluster = cluster_of(session, deployment, task.id)
    if cluster is None:
        raise SkycError(
            error(
                "no-cluster",
                "The task has no nodes",
                f"The state of `{deployment}` names no node of `{task.id}`: it was destroyed meanwhile, or lost an output.",
                hint="apply again",
                commands=(f"skyc status {deployment}",),
            )
        )
    if job.action is JobAction.FOLLOW:
        record = newest_attempt(session, deployment, task.id, job.run)
        assert record is not None
        if record.state is JobState.PENDING:
            _start_pending(session, plan, cluster, record, secrets)
        return Started(cluster=cluster, record=record)
    for old in session.store.jobs(deployment):
        if old.task == task.id and old.kind is JobKind.RUN and not old.state.final:
            session.store.update_job(deployment, old.id, JobStatus(state=JobState.LOST, reason="It was never submitted."))
    run = job.run
    if job.action is JobAction.RUN:
        run = session.store.begin_run(deployment, task.id, task_digest=plan.task_digests[task.id]).number
    else:
        # A changed task may resume a run; what succeeds is then the changed task.
        digest = plan.task_digests[task.id]
        session.store.set_run_state(deployment, task.id, run, RunState.OPEN, task_digest=digest)
    record = session.store.begin_job(deployment, task.id, run=run, hourly=hourly_of(plan, task))
    start(session, deployment, cluster, job_request(session, plan, task, record), secrets)
    return Started(cluster=cluster, record=record)


def _start_pending(session: Session, plan: Planned, cluster: Cluster, record: JobRecord, secrets: Mapping[str, Secret]) -> None:
    """Start a job that is written down and may not have come further, because skyc died. It may have died at the first login, so the
    nodes are brought up before their head is asked."""
    task = plan.task(record.task)
    try:
        bring_up(session, cluster)
        submitted = jobs.is_submitted(cluster.nodes, cluster.provider, record.id)
    except KeyboardInterrupt:
        raise not_started(plan.deployment, record.id) from None
    if not submitted:
        start(session, plan.deployment, cluster, job_request(session, plan, task, record), secrets)


def bring_up(session: Session, cluster: Cluster) -> None:
    """Raises SkycError."""
    cluster.provider.bring_up(cluster.nodes, home=session.home, tell=lambda text: session.note("job", text))


def not_started(deployment: DeploymentId, job: JobId) -> Interrupted:
    return Interrupted(
        f"The machines exist, and cost, and job {job} was not seen to start. The same command goes on from there.",
        f"skyc status {deployment}",
        f"skyc destroy {deployment}",
    )


def start(
    session: Session, deployment: DeploymentId, cluster: Cluster, request: JobRequest, secrets: Mapping[str, Secret]
) -> None:
    """Probe, prepare and submit. A job that cannot be started has failed. One whose skyc was stopped, or whose head fell silent when it
    was submitted, is still pending: it may run, and the next command asks."""
    nodes, provider = cluster.nodes, cluster.provider
    try:
        session.step("job", f"putting job {request.id} on {len(nodes)} node{'s' if len(nodes) != 1 else ''}")
        bring_up(session, cluster)
        probe(provider, nodes)
        jobs.prepare(nodes, provider, request, secrets, avoid=(session.home,))
        jobs.start(nodes, provider, request.id)
    except KeyboardInterrupt:
        raise not_started(deployment, request.id) from None
    except JobsUnreachable as failure:
        reason = f"Before it was submitted: {failure}."
        session.store.update_job(deployment, request.id, JobStatus(state=JobState.LOST, reason=reason))
        raise SkycError(
            error(
                "cluster-unreachable",
                "The cluster does not answer",
                f"{failure}.",
                hint="apply again: a node that died meanwhile is replaced",
                commands=(f"skyc status {deployment}",),
            )
        ) from None
    except SkycError as failure:
        if failure.diagnostics[0].slug != jobs.MAY_RUN:
            reason = f"It could not be started: {failure.diagnostics[0].summary}."
            session.store.update_job(deployment, request.id, JobStatus(state=JobState.FAILED, reason=reason))
        raise
    # Not before: who is told that it runs may leave it to itself.
    session.step("job", f"running {request.id}")
    session.store.record("job-submitted", request.id, deployment=deployment)


def follow(session: Session, deployment: DeploymentId, cluster: Cluster, record: JobRecord) -> JobRecord:
    """Show a job's output until it is over; record how it ended. Raises Interrupted: the job goes on."""
    try:
        status = _show(session, Started(cluster=cluster, record=record), threading.Event(), several=False)
    except KeyboardInterrupt:
        raise go_on(deployment, [record.id]) from None
    return ended(session, deployment, cluster, record, status)


def _show(session: Session, item: Started, gone: threading.Event, *, several: bool) -> JobStatus:
    """Tell a job's output, line by line, until it is over. `several`: others' may come between the lines."""
    pending = ""
    cluster, task = item.cluster, item.record.task if several else None

    def out(text: str) -> None:
        nonlocal pending
        *lines, pending = (pending + text).split("\n")
        if len(pending) > LONGEST_LINE:
            # A progress bar that never ends its line: it is shown, and not held until the job is over.
            lines, pending = [*lines, pending], ""
        for line in lines:
            listened()
            session.tell(Progress(kind=ProgressKind.OUTPUT, stage="job", text=line, task=task))

    def health() -> str:
        listened()
        return cluster.provider.health(cluster.nodes[0], home=session.home)

    def listened() -> None:
        if gone.is_set():
            raise NobodyListens

    status = jobs.follow(
        cluster.nodes,
        cluster.provider,
        item.record.id,
        out,
        health=health,
        note=lambda text: session.note("job", text),
    )
    if pending:
        out("\n")
    return status
