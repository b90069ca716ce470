"""Looking at deployments and their jobs: status, queue, logs, cancel, exec. Nothing here runs Terraform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from ..compiler.diagnostics import Diagnostic, Severity, SkycError, error
from ..compiler.ir import DeploymentId, GroupName
from ..compiler.terraform_files import STATE_FILE, read_state
from ..providers.base import STOPPED
from . import jobs
from .apply import OUTCOMES, follow, locked, start
from .attempts import worth_telling
from .backend.opening import known_here, tenant_of
from .buckets import kept_buckets, made_buckets
from .clusters import Cluster, cluster_of, clusters, healths
from .job import JobGroup, JobId, JobKind, JobRequest, JobState, JobStatus
from .lock import lock_holder
from .logbook import saved_log
from .records import DeploymentRecord, DeploymentState, JobRecord
from .results import ApplyResult, DeploymentStatus, NodeStatus, SiteStatus
from .session import Session, known_deployment
from .standing import observed, refresh_jobs, says_nothing

PIECES_AHEAD = 4
CANCEL_WAIT = 5.0
"""Seconds `cancel` waits for a command that may be about to submit the job."""


def status(session: Session, name: str | None, *, refresh: bool) -> tuple[DeploymentStatus, ...]:
    """One deployment, or all that are not destroyed, or of which a bucket is left."""
    if name is not None:
        wanted = [session.store.deployment(known_deployment(session, name))]
    else:
        known_here(session)
        everything = session.store.deployments()
        wanted = [r for r in everything if r.state is not DeploymentState.DESTROYED or session.store.sites(r.id)]
    return tuple(_status(session, record, refresh) for record in wanted if record is not None)


def _status(session: Session, record: DeploymentRecord, refresh: bool) -> DeploymentStatus:
    deployment = record.id
    found = clusters(session, deployment, skip_damaged=True)
    said: list[Diagnostic] = list(session.remarks)
    sites = []
    holder = lock_holder(session.home, deployment)
    damaged = False
    for site in session.store.sites(deployment):
        try:
            facts = read_state(Path(site.directory) / STATE_FILE)
        except SkycError as failure:
            # The others are still to be shown. A state is written in place: it may be half there while somebody works on it.
            facts = None
            if holder is None:
                damaged = True
                said += _as_warnings(failure)
        sites.append(SiteStatus(site=site.site, provider=site.provider, resources=len(facts.resources) if facts else None))
    listed = refresh_jobs(session, deployment) if refresh else session.store.jobs(deployment)
    nodes = tuple(
        NodeStatus(
            name=node.name,
            site=cluster.site,
            task=cluster.task,
            group=GroupName(node.group),
            rank=node.rank,
            ip=node.ip,
            cpus=node.cpus,
            memory_mb=node.memory_mb,
            accelerators=node.accelerators,
            health=health,
        )
        for cluster in found
        for node, health in zip(cluster.nodes, _healths(session, cluster, said, refresh=refresh), strict=True)
    )
    return DeploymentStatus(
        deployment=deployment,
        state=record.state,
        spec_path=record.spec_path,
        created=record.created,
        updated=record.updated,
        sites=tuple(sites),
        nodes=nodes,
        jobs=listed,
        storages=kept_buckets(session, made_buckets(session, deployment, skip_damaged=True)),
        # Nodes that cannot be seen may well be there, and cost.
        hourly=_hourly(listed, nodes, up=bool(found) or damaged),
        refreshed=refresh,
        working=str(holder) if holder is not None else tenant_of(session, deployment),
        diagnostics=tuple(dict.fromkeys(said)),
        attempts=worth_telling(session.store.attempts(deployment)),
    )


def _healths(session: Session, cluster: Cluster, said: list[Diagnostic], *, refresh: bool) -> Iterator[str]:
    """A node that cannot be looked at is one line of the answer: the others, and the jobs, are still to be shown."""
    if not refresh:
        yield from (node.health for node in cluster.nodes)
        return
    for health in healths(session, cluster.provider, cluster.nodes):
        if isinstance(health, SkycError):
            said += _as_warnings(health)
            yield "unknown"
        else:
            yield health


def _as_warnings(failure: SkycError) -> list[Diagnostic]:
    return [replace(diagnostic, severity=Severity.WARNING) for diagnostic in failure.diagnostics]


def _hourly(listed: tuple[JobRecord, ...], nodes: tuple[NodeStatus, ...], *, up: bool) -> Decimal | None:
    """What the nodes cost by the hour: the price of the newest job's placement; nothing when nothing is up; unknown when some are
    stopped, of which only what stays beside them costs something."""
    if not up:
        return Decimal(0)
    if any(node.health == STOPPED for node in nodes):
        return None
    priced = [job for job in listed if job.kind is JobKind.RUN]
    return priced[-1].hourly if priced else None


def queue(session: Session, name: str) -> tuple[JobRecord, ...]:
    return refresh_jobs(session, known_deployment(session, name))


def find_job(session: Session, deployment: DeploymentId, wanted: str | None) -> JobRecord:
    """The job of that id, or the newest. Raises SkycError."""
    records = session.store.jobs(deployment)
    chosen = [record for record in records if wanted is None or record.id == wanted]
    if chosen:
        return chosen[-1]
    known = ", ".join(str(record.id) for record in records) or "none"
    raise SkycError(
        error(
            "no-such-job",
            "There is no such job",
            f"`{deployment}` has these jobs: {known}.",
            commands=(f"skyc queue {deployment}",),
        )
    )


def logs(session: Session, name: str, job: str | None, *, follow_it: bool) -> Iterator[str]:
    """A job's output in pieces. The kept copy once it is over; from the cluster while it runs."""
    deployment = known_deployment(session, name)
    record = find_job(session, deployment, job)
    if record.state.final:
        kept = saved_log(session, deployment, record.id)
        if kept is not None:
            yield from kept
            return
    cluster = cluster_of(session, deployment, record.task)
    if cluster is None:
        raise SkycError(
            error(
                "no-log",
                "The output of this job is gone",
                f"The nodes of job {record.id} do not exist any more, and no copy of its output was kept.",
            )
        )
    if not follow_it:
        yield from jobs.logs(cluster.nodes, cluster.provider, record.id)
        return
    yield from _followed(session, deployment, cluster, record)


def _followed(session: Session, deployment: DeploymentId, cluster: Cluster, record: JobRecord) -> Iterator[str]:
    """`jobs.follow` calls us back; a thread turns that into an iterator. It ends with its next piece when nobody iterates any more."""
    from queue import Full, Queue
    from threading import Thread

    # A reader that is slower than the job must not make us hold its whole output.
    pieces: Queue[str | BaseException | JobStatus] = Queue(maxsize=PIECES_AHEAD)
    closed = False

    def put(piece: str | BaseException | JobStatus) -> None:
        while not closed:
            with suppress(Full):
                pieces.put(piece, timeout=1)
                return

    def out(text: str) -> None:
        put(text)
        if closed:
            raise GeneratorExit

    def health() -> str:
        if closed:
            raise GeneratorExit
        return cluster.provider.health(cluster.nodes[0], home=session.home)

    def may_start() -> bool:
        if closed:
            raise GeneratorExit
        return lock_holder(session.home, deployment) is not None or tenant_of(session, deployment) is not None

    def run() -> None:
        try:
            put(jobs.follow(cluster.nodes, cluster.provider, record.id, out, health=health, may_start=may_start))
        except BaseException as failure:
            put(failure)

    Thread(target=run, daemon=True, name="follow").start()
    try:
        while True:
            piece = pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            if isinstance(piece, JobStatus):
                if says_nothing(record, piece):
                    raise jobs.not_submitted(record.id)
                # Written down here: the thread must not touch a session that may be closed.
                observed(session, deployment, cluster, record, piece)
                return
            yield piece
    finally:
        closed = True


def shell(session: Session, name: str, node: str | None, command: str | None) -> tuple[str, ...]:
    """What opens a shell on a node. `node`: its name, or its rank in the first task's cluster. Raises SkycError."""
    deployment = known_deployment(session, name)
    found = clusters(session, deployment)
    if not found:
        raise _no_nodes(deployment)
    for cluster in found:
        for candidate in cluster.nodes:
            if node in (None, candidate.name, str(candidate.rank)):
                return cluster.provider.shell(candidate, command)
    names = ", ".join(f"{candidate.name} (rank {candidate.rank})" for cluster in found for candidate in cluster.nodes)
    raise SkycError(
        error(
            "no-such-node",
            "The deployment has no such node",
            f"`{deployment}` has {names}.",
            commands=(f"skyc status {deployment}",),
        )
    )


def _no_nodes(deployment: DeploymentId) -> SkycError:
    return SkycError(
        error(
            "no-cluster",
            "This deployment has no nodes",
            f"`{deployment}` was destroyed or never came up, so there is nowhere to run a command.",
            hint="apply its task file first",
        )
    )


def cancel(session: Session, name: str, job: str | None) -> tuple[JobRecord, ...]:
    """Stop one job, or every job that is going on. The records as they stand afterwards."""
    deployment = known_deployment(session, name)
    if job is not None:
        wanted = [find_job(session, deployment, job)]
    else:
        wanted = [record for record in session.store.jobs(deployment) if not record.state.final]
    stopped, failed = [], []
    for record in wanted:
        try:
            stopped.append(record if record.state.final else _cancel(session, deployment, record))
        except SkycError as failure:
            failed += list(failure.diagnostics)
    if failed:
        raise SkycError(*failed)
    return tuple(stopped)


def _cancel(session: Session, deployment: DeploymentId, record: JobRecord) -> JobRecord:
    stopped = _stopped(session, deployment, record)
    if stopped is not None:
        return stopped
    # Its head does not have it. With the lock nobody is just about to put it there.
    with locked(session, deployment, command=f"skyc cancel {deployment}", wait=CANCEL_WAIT):
        now = session.store.job(deployment, record.id) or record
        stopped = now if now.state.final else _stopped(session, deployment, now)
        if stopped is not None:
            return stopped
        _refuse_unknown_nodes(session, deployment)
        status = JobStatus(state=JobState.CANCELLED, reason="The job was cancelled; its nodes had no record of it.")
        return session.store.update_job(deployment, record.id, status)


def _refuse_unknown_nodes(session: Session, deployment: DeploymentId) -> None:
    """A job is over without its head's word only when there is no node it may run on. Raises SkycError."""
    if cluster_of(session, deployment) is not None:
        return
    if any(session.provider(name).observe(deployment, home=session.home) for name in sorted(session.providers)):
        raise SkycError(
            error(
                "nodes-unknown",
                "The job's nodes cannot be found",
                f"Something of `{deployment}` exists, but no Terraform state says where its nodes are: the job may still run.",
                hint="apply to mend the state, or destroy",
                commands=(f"skyc destroy {deployment}",),
            )
        )


def _stopped(session: Session, deployment: DeploymentId, record: JobRecord) -> JobRecord | None:
    """None when there is no head, or the head does not have the job."""
    cluster = cluster_of(session, deployment, record.task)
    if cluster is None:
        return None
    try:
        final = jobs.cancel(cluster.nodes, cluster.provider, record.id)
    except SkycError as failure:
        if failure.diagnostics[0].slug != "no-such-job":
            raise
        return None
    return observed(session, deployment, cluster, record, final)


def execute(session: Session, name: str, command: str, *, nodes: int | None) -> ApplyResult:
    """Run a command on a cluster that is up, without setup or checkpoint. `nodes`: on the first so many; None for all."""
    deployment = known_deployment(session, name)
    # With the lock: a command must not be put on nodes that another command is taking away.
    with locked(session, deployment, command=f"skyc exec {deployment}", wait=None):
        cluster, record = _started(session, deployment, command, nodes)
    record = follow(session, deployment, cluster, record)
    return ApplyResult(deployment=deployment, outcome=OUTCOMES[record.state], job=record)


def _hourly_of(session: Session, deployment: DeploymentId, cluster: Cluster, nodes: int | None) -> Decimal | None:
    """What the nodes a command runs on cost by the hour: their part of what the task's newest job was priced at."""
    priced = [job for job in session.store.jobs(deployment) if job.kind is JobKind.RUN and job.task == cluster.task]
    if not priced or priced[-1].hourly is None:
        return None
    return priced[-1].hourly * (len(cluster.nodes) if nodes is None else nodes) / len(cluster.nodes)


def _started(session: Session, deployment: DeploymentId, command: str, nodes: int | None) -> tuple[Cluster, JobRecord]:
    cluster = cluster_of(session, deployment)
    if cluster is None:
        raise _no_nodes(deployment)
    record = session.store.begin_job(
        deployment, cluster.task, run=0, kind=JobKind.EXEC, hourly=_hourly_of(session, deployment, cluster, nodes)
    )
    request = JobRequest(
        id=JobId(record.id),
        deployment=deployment,
        task=cluster.task,
        groups=(JobGroup(name=GroupName(cluster.nodes[0].group), num_nodes=len(cluster.nodes), run=command),),
        kind=JobKind.EXEC,
        ranks=None if nodes is None else tuple(range(nodes)),
    )
    start(session, deployment, cluster, request, {})
    return cluster, record
