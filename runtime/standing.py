"""How jobs stand: ask their head, write it down, and settle them when their nodes are about to go.

Invariants
- A job is put on its nodes with the deployment's lock held. Whoever looks without the lock may meet a job that is written down
  and not yet there: nothing is concluded from a head that does not know it.
- The output is brought home before the end is written down: a job that is over is never asked for its output again.
- What was given up is stopped first, as far as its head can be reached: two attempts of one run never work side by side.
"""

from __future__ import annotations

import time

from ..compiler.diagnostics import SkycError
from ..compiler.ir import DeploymentId, TaskId
from ..providers.base import is_lost
from . import jobs
from .clusters import Cluster, cluster_of, healths
from .job import JobKind, JobState, JobStatus
from .logbook import log_path, save_log
from .records import JobRecord, RunState
from .session import Session

IN_VAIN_SECONDS = 10.0
"""How long a head that does not answer is waited for, in all, by who asks it about several jobs."""
RUN_STATES = {JobState.SUCCEEDED: RunState.SUCCEEDED, JobState.CANCELLED: RunState.CANCELLED, JobState.FAILED: RunState.FAILED}


def ended(session: Session, deployment: DeploymentId, cluster: Cluster, record: JobRecord, status: JobStatus) -> JobRecord:
    """Write down how a submitted job stands; for one that is over keep its log at home and settle its run."""
    if status.state.final:
        save_log(session, deployment, cluster, record.id)
    updated = session.store.update_job(deployment, record.id, status)
    if updated.state.final and updated.kind is JobKind.RUN and updated.state in RUN_STATES:
        run = session.store.latest_run(deployment, record.task)
        if run is not None and run.number == record.run:
            session.store.set_run_state(deployment, record.task, record.run, RUN_STATES[updated.state])
    return updated


def says_nothing(record: JobRecord, status: JobStatus) -> bool:
    """Whether the head may merely not know the job yet: it is being put there, or was never submitted."""
    return record.state is JobState.PENDING and status.state is JobState.LOST and status.started is None


def observed(session: Session, deployment: DeploymentId, cluster: Cluster, record: JobRecord, status: JobStatus) -> JobRecord:
    """`ended` for who did not start the job and holds no lock."""
    if says_nothing(record, status):
        return record
    try:
        return ended(session, deployment, cluster, record, status)
    except KeyError:
        # Purged meanwhile.
        return record


def refresh_jobs(session: Session, deployment: DeploymentId) -> tuple[JobRecord, ...]:
    """All jobs, those that were going on asked anew. A cluster that does not answer leaves its jobs as they were, and is not waited for
    with each of them."""
    in_vain: dict[TaskId, float] = {}
    for record in session.store.jobs(deployment):
        if record.state.final:
            continue
        cluster = cluster_of(session, deployment, record.task, skip_damaged=True)
        if cluster is None or in_vain.get(record.task, 0.0) > IN_VAIN_SECONDS:
            continue
        began = time.monotonic()
        try:
            status = jobs.status(cluster.nodes, cluster.provider, record.id)
        except SkycError:
            in_vain[record.task] = in_vain.get(record.task, 0.0) + time.monotonic() - began
            continue
        observed(session, deployment, cluster, record, status)
    return session.store.jobs(deployment)


def never_submitted(session: Session, deployment: DeploymentId, record: JobRecord) -> bool:
    """Whether Ray was never given a pending job. Only with the lock held: then nobody is about to submit it."""
    if record.state is not JobState.PENDING:
        return False
    cluster = cluster_of(session, deployment, record.task)
    if cluster is None:
        return True
    try:
        return not jobs.is_submitted(cluster.nodes, cluster.provider, record.id)
    except SkycError:
        return False


def working(session: Session, deployment: DeploymentId, task: TaskId) -> tuple[JobRecord, ...]:
    """Jobs that go on undisturbed: submitted, not over, on nodes none of which is known to be lost. Only with the lock held."""
    cluster = cluster_of(session, deployment, task)
    going_on = [job for job in session.store.jobs(deployment) if job.task == task and not job.state.final]
    if cluster is None or not going_on:
        return ()
    for health in healths(session, cluster.provider, cluster.nodes):
        if isinstance(health, SkycError):
            raise health
        if is_lost(health):
            return ()
    return tuple(job for job in going_on if not never_submitted(session, deployment, job))


def release(session: Session, deployment: DeploymentId, task: TaskId) -> None:
    """Before nodes of a task go: stop its jobs where the head still answers, and keep all output that is not kept yet. Not for ever:
    nodes that cost are waiting to go, and a silent head takes its time for each question."""
    cluster = cluster_of(session, deployment, task, skip_damaged=True)
    if cluster is None:
        return
    in_vain = 0.0
    for job in session.store.jobs(deployment):
        if job.task != task or (job.state.final and log_path(session, deployment, job.id).exists()):
            continue
        began = time.monotonic()
        if not _released(session, deployment, cluster, job):
            in_vain += time.monotonic() - began
        if in_vain > IN_VAIN_SECONDS:
            session.note("job", f"node {cluster.nodes[0].name} does not answer; what output is left there is not kept")
            return


def _released(session: Session, deployment: DeploymentId, cluster: Cluster, job: JobRecord) -> bool:
    """One job stopped and its output kept. False when its head did not answer."""
    if not job.state.final:
        try:
            final = jobs.cancel(cluster.nodes, cluster.provider, job.id)
        except SkycError as failure:
            if failure.diagnostics[0].slug != "no-such-job":
                return False
        else:
            ended(session, deployment, cluster, job, final)
            return True
    return save_log(session, deployment, cluster, job.id)


def settle(session: Session, deployment: DeploymentId, task: TaskId | None, state: JobState, reason: str) -> None:
    """After the nodes have gone: what had not ended (of one task, or of all) has ended."""
    for job in session.store.jobs(deployment):
        if not job.state.final and task in (None, job.task):
            session.store.update_job(deployment, job.id, JobStatus(state=state, reason=reason))
