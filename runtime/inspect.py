"""Looking at deployments and their jobs: status, queue, logs, cancel, exec. Nothing here runs Terraform."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import DeploymentId, GroupName
from ..compiler.terraform_files import STATE_FILE, read_state
from . import jobs
from .apply import OUTCOMES, ended, follow, start
from .clusters import Cluster, cluster_of, clusters
from .job import JobGroup, JobId, JobKind, JobRequest
from .lock import lock_holder
from .logbook import saved_log
from .records import DeploymentRecord, DeploymentState, JobRecord
from .results import ApplyResult, DeploymentStatus, NodeStatus, SiteStatus
from .session import Session, known_deployment


def status(session: Session, name: str | None, *, refresh: bool) -> tuple[DeploymentStatus, ...]:
    """One deployment, or all that are not destroyed."""
    if name is not None:
        wanted = [session.store.deployment(known_deployment(session, name))]
    else:
        wanted = [r for r in session.store.deployments() if r.state is not DeploymentState.DESTROYED]
    return tuple(_status(session, record, refresh) for record in wanted if record is not None)


def _status(session: Session, record: DeploymentRecord, refresh: bool) -> DeploymentStatus:
    deployment = record.id
    found = clusters(session, deployment)
    sites = []
    for site in session.store.sites(deployment):
        facts = read_state(Path(site.directory) / STATE_FILE)
        sites.append(SiteStatus(site=site.site, provider=site.provider, resources=len(facts.resources) if facts else None))
    holder = lock_holder(session.home, deployment)
    listed = refresh_jobs(session, deployment) if refresh else session.store.jobs(deployment)
    return DeploymentStatus(
        deployment=deployment,
        state=record.state,
        spec_path=record.spec_path,
        created=record.created,
        updated=record.updated,
        sites=tuple(sites),
        nodes=tuple(
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
                health=cluster.provider.health(node, home=session.home) if refresh else node.health,
            )
            for cluster in found
            for node in cluster.nodes
        ),
        jobs=listed,
        hourly=_hourly(listed, up=bool(found)),
        refreshed=refresh,
        working=str(holder) if holder is not None else None,
    )


def _hourly(listed: tuple[JobRecord, ...], *, up: bool) -> Decimal | None:
    """What the nodes cost by the hour: the price of the newest job's placement; nothing when nothing is up."""
    if not up:
        return Decimal(0)
    priced = [job for job in listed if job.kind is JobKind.RUN]
    return priced[-1].hourly if priced else None


def refresh_jobs(session: Session, deployment: DeploymentId) -> tuple[JobRecord, ...]:
    """All jobs, those that were going on asked anew. A cluster that does not answer leaves its jobs as they were."""
    for record in session.store.jobs(deployment):
        if record.state.final:
            continue
        cluster = cluster_of(session, deployment, record.task)
        if cluster is None:
            continue
        try:
            ended(session, deployment, cluster, record, jobs.status(cluster.nodes, cluster.provider, record.id))
        except SkycError:
            continue
    return session.store.jobs(deployment)


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
        yield jobs.logs(cluster.nodes, cluster.provider, record.id)
        return
    yield from _followed(session, deployment, cluster, record)


def _followed(session: Session, deployment: DeploymentId, cluster: Cluster, record: JobRecord) -> Iterator[str]:
    """`jobs.follow` calls us back; a thread turns that into an iterator."""
    from queue import SimpleQueue
    from threading import Thread

    pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            final = jobs.follow(cluster.nodes, cluster.provider, record.id, pieces.put)
            ended(session, deployment, cluster, record, final)
            pieces.put(None)
        except BaseException as failure:
            pieces.put(failure)

    Thread(target=run, daemon=True, name="follow").start()
    while True:
        piece = pieces.get()
        if piece is None:
            return
        if isinstance(piece, BaseException):
            raise piece
        yield piece


def cancel(session: Session, name: str, job: str | None) -> tuple[JobRecord, ...]:
    """Stop one job, or every job that is going on. The records as they stand afterwards."""
    deployment = known_deployment(session, name)
    if job is not None:
        wanted = [find_job(session, deployment, job)]
    else:
        wanted = [record for record in session.store.jobs(deployment) if not record.state.final]
    stopped = []
    for record in wanted:
        cluster = cluster_of(session, deployment, record.task)
        if cluster is None or record.state.final:
            stopped.append(record)
            continue
        final = jobs.cancel(cluster.nodes, cluster.provider, record.id)
        stopped.append(ended(session, deployment, cluster, record, final))
    return tuple(stopped)


def execute(session: Session, name: str, command: str, *, nodes: int | None) -> ApplyResult:
    """Run a command on a cluster that is up, without setup or checkpoint. `nodes`: on the first so many; None for all."""
    deployment = known_deployment(session, name)
    cluster = cluster_of(session, deployment)
    if cluster is None:
        raise SkycError(
            error(
                "no-cluster",
                "This deployment has no nodes",
                f"`{deployment}` was destroyed or never came up, so there is nowhere to run a command.",
                hint="apply its task file first",
            )
        )
    record = session.store.begin_job(deployment, cluster.task, run=0, kind=JobKind.EXEC)
    request = JobRequest(
        id=JobId(record.id),
        deployment=deployment,
        task=cluster.task,
        groups=(JobGroup(name=GroupName(cluster.nodes[0].group), num_nodes=len(cluster.nodes), run=command),),
        kind=JobKind.EXEC,
        ranks=None if nodes is None else tuple(range(nodes)),
    )
    start(session, deployment, cluster, request, {})
    record = follow(session, deployment, cluster, record)
    return ApplyResult(deployment=deployment, outcome=OUTCOMES[record.state], job=record)
