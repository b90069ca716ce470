"""Jobs on a running cluster: put what they need on the nodes, start, follow, cancel, list.

The truth about a job is on its head, in the job's directory (`runtime/job.py`), and is read with a small program that needs
neither Ray nor skyc there (`runtime/node/watch.py`). Ray's Jobs API starts the driver and can stop it; whether it answers says
nothing about the job. So a job is `lost` only when the head itself says that the driver died without a result, or when the
provider says that the head is gone.

Every function takes all nodes of the cluster, head first. Functions raise SkycError for what a person can act on; none of them
raises because a node is briefly unreachable while a job is followed.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import FrozenMap, Secret
from ..compiler.openable import unreachable
from ..providers.base import Capability, Node, Provider, Transport, TransportError, is_lost
from .bundle import Bundle, bundle
from .job import JobFile, JobId, JobKind, JobMount, JobNode, JobRequest, JobState, JobStatus, decode_status, encode_job
from .node.places import OutsideNode, place
from .ray import JobsClient, JobsUnreachable
from .workdir import Tree, workdir_tree

POLL_SECONDS = 10.0
"""How long one look at the head waits for news."""

CANCEL_SECONDS = 30.0

UNSEEN_PAUSE = 0.5
"""Seconds between looks for a job that another command is about to submit."""

LONGEST_PAUSE = 5.0
"""Seconds between tries to reach a head that does not answer."""

MAY_RUN = "submission-unanswered"
"""Slug of the failure after which nobody knows whether a job was started."""

_WATCH = Path(__file__).with_name("node") / "watch.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """One line of `queue`, in the order of submission."""

    id: JobId
    task: str
    kind: JobKind
    status: JobStatus
    submitted: datetime


def job_file(nodes: Sequence[Node], provider: Provider, request: JobRequest) -> JobFile:
    """What `job.json` will hold. Pure. Raises SkycError `no-such-rank`."""
    chosen = [node for node in nodes if request.ranks is None or node.rank in request.ranks]
    if not chosen or (request.ranks is not None and len(chosen) != len(set(request.ranks))):
        raise SkycError(error("no-such-rank", "The cluster has no such node", f"It has ranks 0 to {len(nodes) - 1}."))
    code = bundle()
    whole = Capability.WHOLE_MACHINE in provider.capabilities
    return JobFile(
        request=replace(request, envs=FrozenMap()),
        nodes=tuple(
            JobNode(
                name=node.name,
                group=request.groups[0].name if request.kind is JobKind.EXEC else _group(node, request),
                rank=rank,
                ip=node.ip,
                directory=node.directory,
                python=node.python,
                user_bin=node.user_bin,
                bundle=code.directory_on(node.directory),
                gpus=sum(node.accelerators.values()),
                whole_machine=whole,
                identity=node.identity,
            )
            for rank, node in enumerate(sorted(chosen, key=lambda node: node.rank))
        ),
        head=nodes[0].directory,
    )


def _group(node: Node, request: JobRequest) -> Any:
    return next((group.name for group in request.groups if group.name == node.group), node.group)


def prepare(
    nodes: Sequence[Node],
    provider: Provider,
    request: JobRequest,
    secrets: Mapping[str, Secret],
    *,
    avoid: Sequence[Path] = (),
) -> None:
    """Put code, workdir, mounts and the job's files on every node, in parallel. Can be repeated after a failure.

    `avoid`: directories of skyc's own that are not part of a workdir which holds them.

    Raises SkycError: `secret-missing`, `mount-outside-node`, `mount-failed` and others of `node/mounts.py`, `node-unreachable`,
    `source-unreadable`, `special-file`.
    """
    absent = [name for name in request.secret_names if name not in secrets]
    if absent:
        raise SkycError(error("secret-missing", "A secret has no value", f"No value was given for: {', '.join(absent)}."))
    job = job_file(nodes, provider, request)
    for mount in request.mounts:
        _check_mount(mount, job.nodes[0], provider.opens)
    values = {"envs": dict(request.envs), "secrets": {name: secrets[name].reveal() for name in request.secret_names}}
    by_name = {node.name: node for node in nodes}
    targets = {node.name: by_name[node.name] for node in job.nodes} | {nodes[0].name: nodes[0]}
    ours = {node.name for node in job.nodes}
    with tempfile.TemporaryDirectory(prefix="skyc-bundle-") as scratch:
        code = bundle()
        code.write(Path(scratch))
        # A node's directory below the workdir must not be copied into itself.
        places = [*avoid, *(Path(node.directory) for node in nodes)]
        workdir = workdir_tree(Path(request.workdir), places) if request.workdir is not None else None
        work = _Preparation(job, code, Path(scratch), json.dumps(values).encode(), workdir)
        with ThreadPoolExecutor(max_workers=min(16, len(targets))) as pool:
            done = [pool.submit(work.on, node, provider, node.name in ours) for node in targets.values()]
            for future in done:
                future.result()


@dataclass(frozen=True, slots=True)
class _Preparation:
    job: JobFile
    code: Bundle
    code_directory: Path
    values: bytes
    workdir: Tree | None

    def on(self, node: Node, provider: Provider, runs_here: bool) -> None:
        try:
            with provider.transport(node) as transport:
                self._put(node, transport, runs_here)
        except (TransportError, TimeoutError) as failure:
            raise SkycError(
                error(
                    "node-unreachable",
                    "A node could not be prepared for the job",
                    f"Node {node.name}: {failure}",
                    hint="`skyc status` shows whether the node is alive; `skyc apply` replaces a dead one.",
                )
            ) from failure

    def _put(self, node: Node, transport: Transport, runs_here: bool) -> None:
        request = self.job.request
        job_dir = job_directory(node, request.id)
        transport.put_tree(self.code_directory, self.code.directory_on(node.directory))
        transport.put_file(encode_job(self.job), f"{job_dir}/job.json")
        if not runs_here:
            return
        if request.mounts:
            self._mounts(node, transport, job_dir)
        if self.workdir is not None:
            self._workdir(self.workdir, node, transport, job_dir)
        whole = self.job.nodes[0].whole_machine
        for mount in request.mounts:
            if "://" not in mount.source:
                transport.put_tree(Path(mount.source), place(mount.target, node.directory, whole_machine=whole))
        transport.put_file(self.values, f"{job_dir}/env.json")  # last: nothing private is written for a job that cannot start

    def _workdir(self, tree: Tree, node: Node, transport: Transport, job_dir: str) -> None:
        """Take back what was deleted here since the last time, then send what is new."""
        sent = f"{job_dir}/sent.json"
        transport.put_file(json.dumps(dict(tree.contents)).encode(), sent)
        argv = [node.python, "-m", "skyc.runtime.node.prune", node.directory, sent]
        done = transport.run(argv, env={"PYTHONPATH": self.code.directory_on(node.directory)}, timeout=3600)
        if done.returncode != 0:
            raise TransportError(f"its workdir could not be brought up to date: {done.stderr.strip()[-500:]}")
        transport.put_tree(tree.root, f"{node.directory}/workdir", tree.entries)

    def _mounts(self, node: Node, transport: Transport, job_dir: str) -> None:
        argv = [node.python, "-m", "skyc.runtime.node.mounts", job_dir, node.name]
        done = transport.run(argv, env={"PYTHONPATH": self.code.directory_on(node.directory)}, timeout=24 * 3600)
        if done.returncode != 0:
            raise SkycError(error("mount-failed", "A file mount failed", f"Node {node.name}: {done.stderr.strip()[-500:]}"))
        answer = json.loads(done.stdout)
        if answer["failed"]:
            raise _mount_error(answer["failed"], answer["target"], f"On node {node.name}: {answer['message']}")


def _check_mount(mount: JobMount, node: JobNode, opens: frozenset[str]) -> None:
    """What can be refused before anything is sent."""
    try:
        place(mount.target, node.directory, whole_machine=node.whole_machine)
    except OutsideNode as failure:
        raise _mount_error("mount-outside-node", mount.target, str(failure)) from failure
    if "://" in mount.source:
        why = unreachable(mount.source, mount.mode, opens)
        if why:
            raise _mount_error("mount-store-unsupported", mount.target, why)
    elif not Path(mount.source).exists():
        raise _mount_error("mount-source-missing", mount.target, f"`{mount.source}` does not exist on this machine.")


def _mount_error(slug: str, target: str, detail: str) -> SkycError:
    summaries = {
        "mount-outside-node": "A file mount would write outside the node's directory",
        "mount-store-unsupported": "A file mount's source cannot be read by the nodes",
        "mount-source-missing": "A file mount's source does not exist",
        "mount-over-files": "A mount would hide files",
    }
    hint = "Use a path relative to the workdir, or below `~`." if slug == "mount-outside-node" else None
    return SkycError(error(slug, summaries.get(slug, "A file mount failed"), f"file_mounts `{target}`. {detail}", hint=hint))


def job_directory(node: Node, job: JobId) -> str:
    return f"{node.directory}/jobs/{job}"


def start(nodes: Sequence[Node], provider: Provider, job: JobId) -> bool:
    """Submit a prepared job. False when the cluster has that job already: then it is the same one.

    Raises SkycError `submission-unanswered` when the head does not answer: it may have the job all the same; `job-refused` when Ray
    does not want it.
    """
    head = nodes[0]
    code = bundle().directory_on(head.directory)
    # `exec`: Ray signals the process it started, which must be the driver and not a shell.
    arguments = ("env", f"PYTHONPATH={code}", head.python, "-m", "skyc.runtime.node.gang", job_directory(head, job))
    entrypoint = f"exec {shlex.join(arguments)}"
    try:
        with provider.transport(head) as transport, _client(head, transport) as client:
            return client.submit(job, entrypoint)
    except (TransportError, TimeoutError, JobsUnreachable, FileNotFoundError) as failure:
        raise SkycError(
            error(
                MAY_RUN,
                "The cluster's head fell silent when it was given the job",
                f"Node {head.name}: {failure}. Whether job {job} runs is not known.",
                hint="apply again: that finds the job, or starts it, and never starts it twice",
            )
        ) from failure


def is_submitted(nodes: Sequence[Node], provider: Provider, job: JobId) -> bool:
    """Whether Ray was given the job. Raises SkycError `cluster-unreachable`."""
    head = nodes[0]
    try:
        with provider.transport(head) as transport, _client(head, transport) as client:
            return client.get(job) is not None
    except FileNotFoundError:
        # It has no token: it was never brought up, and there is no Ray that anything could have been given to.
        return False
    except (TransportError, TimeoutError, JobsUnreachable) as failure:
        raise _unreachable(head, failure) from failure


def _client(head: Node, transport: Transport) -> JobsClient:
    token = transport.get_file(f"{head.directory}/token").decode().strip()
    return JobsClient(transport, head.dashboard_port, token)


def _unreachable(head: Node, failure: Exception) -> SkycError:
    return SkycError(
        error(
            "cluster-unreachable",
            "The cluster's head does not answer",
            f"Node {head.name}: {failure}",
            hint="`skyc status` shows whether the node is alive; `skyc apply` replaces a dead one.",
        )
    )


def follow(
    nodes: Sequence[Node],
    provider: Provider,
    job: JobId,
    out: Callable[[str], None],
    *,
    health: Callable[[], str] | None = None,
    note: Callable[[str], None] | None = None,
    may_start: Callable[[], bool] | None = None,
) -> JobStatus:
    """Hand the job's output to `out` from the beginning, as it comes, each character once, until the job is over.

    `health` asks the provider about the head (`Provider.health`); it is called only while the head cannot be reached.
    Without it an unreachable head is retried for ever. `note` hears about interruptions, once each. `may_start`: whether somebody
    may be about to submit the job; without it, it was submitted. Raises SkycError `not-submitted` when Ray does not have the job
    and nobody is about to submit it: it would be waited for without end.
    """
    head, offset, failures, pause = nodes[0], 0, 0, 0.1
    seconds, last_look = POLL_SECONDS if may_start is None else 0.0, False
    while True:
        try:
            with provider.transport(head) as transport:
                while True:
                    facts = _watch(transport, head, "poll", job_directory(head, job), str(offset), str(seconds))
                    if failures and note:
                        note(f"node {head.name} answers again")
                    failures, pause, seconds = 0, 0.1, POLL_SECONDS
                    offset = int(facts["offset"])
                    if facts["text"]:
                        out(facts["text"])
                    status = _settled(head, transport, job, facts)
                    unseen = status is None or (status.state is JobState.LOST and facts["driver"] == "none")
                    if unseen and may_start is not None and not last_look:
                        if may_start():
                            time.sleep(UNSEEN_PAUSE)
                        else:
                            # They may have submitted it just before they let go.
                            seconds, last_look = 0.0, True
                        continue
                    if status is None:
                        raise not_submitted(job)
                    if facts["ended"] or (status.state.final and facts["driver"] == "none"):
                        _forget_values(nodes, provider, job)
                        return status
        except BrokenPipeError:
            # Of `out`: nobody reads any more. It says nothing about the node.
            raise
        except (TransportError, TimeoutError, OSError) as failure:
            failures += 1
            if failures == 1 and note:
                note(f"node {head.name} does not answer ({failure}); trying again")
            reason = health() if health is not None else "healthy"
            if is_lost(reason):
                return JobStatus(state=JobState.LOST, reason=f"Node {head.name}, which leads the job, is gone: {reason}")
            time.sleep(min(pause, LONGEST_PAUSE))
            pause = min(LONGEST_PAUSE, pause * 2)


def not_submitted(job: JobId) -> SkycError:
    return SkycError(
        error(
            "not-submitted",
            "The cluster does not have this job",
            f"Job {job} was written down, and Ray was not given it, or has lost it since: the command that was to start it was stopped.",
            hint="apply again: that starts it; a command of `skyc exec` is to be given anew",
        )
    )


def status(nodes: Sequence[Node], provider: Provider, job: JobId) -> JobStatus:
    """Raises SkycError `cluster-unreachable`."""
    head = nodes[0]
    try:
        with provider.transport(head) as transport:
            facts = _watch(transport, head, "poll", job_directory(head, job), "0", "0")
            return _settled(head, transport, job, facts) or decode_status(facts["status"])
    except (TransportError, TimeoutError) as failure:
        raise _unreachable(head, failure) from failure


def logs(nodes: Sequence[Node], provider: Provider, job: JobId) -> Iterator[str]:
    """All output so far, in pieces, so that no output is too large. Raises SkycError `cluster-unreachable`, also half way."""
    head, offset = nodes[0], 0
    try:
        with provider.transport(head) as transport:
            while True:
                facts = _watch(transport, head, "poll", job_directory(head, job), str(offset), "0")
                if not facts["text"]:
                    return
                offset = int(facts["offset"])
                yield facts["text"]
    except (TransportError, TimeoutError) as failure:
        raise _unreachable(head, failure) from failure


def queue(nodes: Sequence[Node], provider: Provider) -> tuple[QueuedJob, ...]:
    """Every job this cluster was given, oldest first. Raises SkycError `cluster-unreachable`."""
    head = nodes[0]
    try:
        with provider.transport(head) as transport:
            rows = _watch(transport, head, "list", f"{head.directory}/jobs")["jobs"]
    except (TransportError, TimeoutError) as failure:
        raise _unreachable(head, failure) from failure
    return tuple(
        QueuedJob(
            id=JobId(row["id"]),
            task=row["task"],
            kind=JobKind(row["kind"]),
            status=decode_status(row["status"]),
            submitted=datetime.fromtimestamp(row["submitted"], UTC),
        )
        for row in rows
    )


def cancel(nodes: Sequence[Node], provider: Provider, job: JobId) -> JobStatus:
    """Stop every process of the job on every node and return how it ended. A job that is over stays as it is.

    Raises SkycError `cluster-unreachable`, `no-such-job`.
    """
    head = nodes[0]
    try:
        with provider.transport(head) as transport:
            directory = job_directory(head, job)
            try:
                transport.get_file(f"{directory}/job.json")
            except FileNotFoundError:
                detail = "This cluster has no job of that name; `skyc queue` lists them."
                raise SkycError(error("no-such-job", "There is no such job", detail)) from None
            facts = _watch(transport, head, "cancel", directory, str(CANCEL_SECONDS))
            if facts["driver"] != "dead" or not decode_status(facts["status"]).state.final:
                # Not started yet, or stuck: Ray kills the driver, and each rank's keeper stops its processes by itself.
                with suppress(JobsUnreachable), _client(head, transport) as client:
                    if client.get(job) is not None:
                        client.stop(job)
                facts = _watch(transport, head, "poll", directory, "0", "0")
            _forget_values(nodes, provider, job)
            return decode_status(facts["status"])
    except (TransportError, TimeoutError, FileNotFoundError) as failure:
        raise _unreachable(head, failure) from failure


def _watch(transport: Transport, head: Node, command: str, *arguments: str) -> dict[str, Any]:
    """Run `watch.py` on the head. Raises TransportError when it gives no answer."""
    argv = [head.python, "-I", "-S", "-c", _WATCH.read_text(), command, *arguments]
    try:
        done = transport.run(argv, timeout=POLL_SECONDS + CANCEL_SECONDS + 20)
    except FileNotFoundError as failure:
        raise TransportError(f"the head has no Python yet, or none any more: {failure}") from failure
    if done.returncode != 0:
        raise TransportError(f"the head could not look at the job: {done.stderr.strip()[-300:] or done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _settled(head: Node, transport: Transport, job: JobId, facts: dict[str, Any]) -> JobStatus | None:
    """The status the head wrote down, or, as long as no driver has started, what Ray says; None when Ray does not have the job."""
    status = decode_status(facts["status"])
    if facts["driver"] != "none" or status.state.final:
        return status
    try:
        with _client(head, transport) as client:
            job_at_ray = client.get(job)
    except JobsUnreachable:
        # The dashboard may be slow or restarting. Ray itself is gone only if its control store does not listen.
        if _watch(transport, head, "port", head.ip, str(head.gcs_port))["listening"]:
            return status
        return JobStatus(state=JobState.LOST, reason=f"Ray on node {head.name} is gone, and the job had not started.")
    except FileNotFoundError:
        return JobStatus(state=JobState.LOST, reason=f"Node {head.name} has no token any more: its files were removed.")
    if job_at_ray is None:
        return None
    if job_at_ray.status in ("PENDING", "RUNNING"):
        return status
    if job_at_ray.status == "STOPPED":
        return JobStatus(state=JobState.CANCELLED, reason="The job was cancelled.")
    # The driver may have started, and even ended, since the head was asked.
    again = _watch(transport, head, "poll", job_directory(head, job), "0", "0")
    if again["driver"] != "none":
        return replace(status, state=JobState.PENDING)
    return JobStatus(state=JobState.FAILED, reason=f"Ray could not start the job: {job_at_ray.message.strip()[-1000:]}")


def _forget_values(nodes: Sequence[Node], provider: Provider, job: JobId) -> None:
    """Remove `env.json` where no runner came to read it. Best effort: the node's removal takes it in any case."""

    def on(node: Node) -> None:
        with suppress(TransportError, TimeoutError, OSError), ExitStack() as stack:
            transport = stack.enter_context(provider.transport(node))
            transport.run(["rm", "-f", f"{job_directory(node, job)}/env.json"])

    with ThreadPoolExecutor(max_workers=min(16, len(nodes))) as pool:
        list(pool.map(on, nodes))
