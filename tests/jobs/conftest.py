"""A real two-node Ray cluster on loopback with token authentication, shared by the tests of a file.

A test may kill parts of it: the next test gets a new one. Whatever the cluster starts, in whatever session, is this process's
descendant (child subreaper), so teardown finds and kills all of it.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from tests.bystanders import BYSTANDERS

from skyc.compiler.ir import DeploymentId, GroupName, Secret, TaskId
from skyc.providers.base import Capability, Completed, Node, Provider
from skyc.providers.local.cluster import _free_ports
from skyc.runtime import jobs
from skyc.runtime.job import JobGroup, JobId, JobRequest, JobStatus
from skyc.runtime.ray import JobsClient

RAY_START = Path(jobs.__file__).parent / "node" / "ray_start.py"


class LoopbackTransport:
    """The transport contract for a directory on this machine."""

    def put_file(self, content: bytes, destination: str, mode: int = 0o600) -> None:
        path = Path(destination)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY, mode), "wb") as file:
            file.write(content)
        temporary.replace(path)

    def put_tree(self, source: Path, destination: str, entries: Collection[str] | None = None) -> None:
        def others(folder: str, names: list[str]) -> list[str]:
            below = Path(folder).relative_to(source)
            return [
                name for name in names if entries is not None and not {f"{below / name}", f"{below / name}/"} & set(entries)
            ]

        if source.is_dir():
            shutil.copytree(source, destination, dirs_exist_ok=True, symlinks=True, ignore=others)
        else:
            Path(destination).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination)

    def get_file(self, source: str) -> bytes:
        return Path(source).read_bytes()

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> Completed:
        try:
            done = subprocess.run(
                list(argv), env={"PATH": os.environ["PATH"], **(env or {})}, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(str(error)) from error
        return Completed(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    @contextmanager
    def forward(self, port: int) -> Iterator[int]:
        yield port


class LoopbackProvider:
    """The members of a provider that jobs use."""

    capabilities: frozenset[Capability] = frozenset({Capability.MULTI_NODE})
    opens: frozenset[str] = frozenset({"file"})

    @contextmanager
    def transport(self, node: Node) -> Iterator[LoopbackTransport]:
        yield LoopbackTransport()


class Cluster:
    """Two nodes, each with one CPU: `main-0`, the head, and `main-1`."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="skyc-tj-"))
        self.token = secrets.token_hex(16)
        self.provider = cast(Provider, LoopbackProvider())
        self.processes: list[subprocess.Popen[bytes]] = []
        ports = _free_ports(24)
        self.nodes = (self._node(0, ports[:11], ports[0], ports[1]), self._node(1, ports[11:], ports[0], ports[1]))

    def _node(self, rank: int, ports: list[int], gcs: int, dashboard: int) -> Node:
        directory = self.base / f"n{rank}"
        directory.mkdir(mode=0o700)
        token = directory / "token"
        token.write_text(self.token)
        token.chmod(0o600)
        names = ["dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port", "metrics-export-port"]
        names += ["node-manager-port", "object-manager-port"]
        argv = ["start", "--block", "--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--num-gpus", "0"]
        argv += ["--object-store-memory", "80000000", "--labels", f"skyc.io/node=main-{rank}", "--disable-usage-stats"]
        for name, port in zip(names, ports[2:], strict=False):
            argv += [f"--{name}", str(port)]
        if rank == 0:
            argv += ["--head", "--port", str(gcs), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)]
            argv += ["--ray-client-server-port", str(ports[8]), "--temp-dir", str(self.base / "t0")]
        else:
            argv += ["--address", f"127.0.0.1:{gcs}", "--temp-dir", str(self.base / "t1")]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTEST", "PYTHON"))}
        env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_JOB_STOP_WAIT_TIME_S": "60"}
        with (directory / "ray.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(RAY_START), "--loopback", *argv],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        wait_for(lambda: answers(dashboard if rank == 0 else ports[2]), 150, f"node {rank}: {directory / 'ray.log'}")
        return Node(
            id=f"life-{rank}", name=f"main-{rank}", group="main", rank=rank, ip="127.0.0.1", directory=str(directory),
            python=sys.executable, user_bin=str(Path(sys.executable).parent), gcs_port=gcs, dashboard_port=dashboard,
            agent_port=ports[2], cpus=1, memory_mb=1000,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        """`ray start` looks at its children once a second, so a raylet that was just killed is looked for too."""
        return all(
            process.poll() is None and self.children(rank, "raylet/raylet") for rank, process in enumerate(self.processes)
        )

    def children(self, rank: int, word: str) -> list[psutil.Process]:
        """Processes below one node whose command line holds `word`."""
        found = []
        for process in psutil.Process(self.processes[rank].pid).children(recursive=True):
            with suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def request(self, run: str = "", **changes: Any) -> JobRequest:
        fields: dict[str, Any] = {
            "id": JobId(f"j-{uuid.uuid4().hex[:10]}"),
            "deployment": DeploymentId("d"),
            "task": TaskId("t"),
            "groups": (JobGroup(name=GroupName("main"), num_nodes=2, run=run),),
            "grace_seconds": 1,
        }
        return JobRequest(**(fields | changes))

    def start(self, request: JobRequest, values: Mapping[str, str] | None = None) -> JobId:
        given = {name: Secret(value) for name, value in (values or {}).items()}
        jobs.prepare(self.nodes, self.provider, request, given)
        assert jobs.start(self.nodes, self.provider, request.id)
        return request.id

    def run(self, request: JobRequest, values: Mapping[str, str] | None = None) -> tuple[JobStatus, str]:
        """Start a job and follow it to its end: its status and its output."""
        following = Following(self, self.start(request, values))
        return following.result(60), following.text

    def client(self) -> JobsClient:
        return JobsClient(LoopbackTransport(), self.nodes[0].dashboard_port, self.token)

    def directory(self, rank: int, job: JobId) -> Path:
        return Path(self.nodes[rank].directory, "jobs", job)

    def close(self) -> None:
        end_descendants()
        for process in self.processes:
            process.wait(10)
        shutil.rmtree(self.base, ignore_errors=True)


class Following:
    """`jobs.follow` in a thread, with its output as it comes."""

    def __init__(self, cluster: Cluster, job: JobId, **options: Any) -> None:
        self.text = ""
        self._status: JobStatus | BaseException | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, args=(cluster, job, options), daemon=True)
        self._thread.start()

    def _follow(self, cluster: Cluster, job: JobId, options: dict[str, Any]) -> None:
        try:
            self._status = jobs.follow(cluster.nodes, cluster.provider, job, self._out, **options)
        except BaseException as error:  # handed to whoever asks for the result
            self._status = error

    def _out(self, text: str) -> None:
        with self._news:
            self.text += text
            self._news.notify_all()

    def until(self, words: str, seconds: float = 120) -> None:
        with self._news:
            assert self._news.wait_for(lambda: words in self.text, seconds), f"no {words!r} in {self.text!r}"

    def result(self, seconds: float) -> JobStatus:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the job is not over; output so far: {self.text!r}"
        if isinstance(self._status, BaseException):
            raise self._status
        assert self._status is not None
        return self._status


def answers(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("POST", "/api/jobs/", body=b"{}")
        return connection.getresponse().status == 401
    except OSError:
        return False
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.05)


def end_descendants() -> None:
    for _ in range(100):
        left = [process for process in psutil.Process().children(recursive=True) if process.pid not in BYSTANDERS]
        for process in left:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.2)
        if not left:
            return


class Holder:
    cluster: Cluster | None = None

    def close(self) -> None:
        if self.cluster is not None:
            self.cluster.close()
        self.cluster = None


@pytest.fixture(scope="module")
def holder() -> Iterator[Holder]:
    """Ends with its tests: two idle nodes take a sixth of a processor for as long as they stand."""
    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    held = Holder()
    try:
        yield held
    finally:
        held.close()
        prctl(36, 0, 0, 0, 0)


@pytest.fixture
def cluster(holder: Holder) -> Cluster:
    if holder.cluster is None or not holder.cluster.alive:
        holder.close()
        holder.cluster = Cluster()
    return holder.cluster


@pytest.fixture
def follow() -> type[Following]:
    return Following


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float, str], None]:
    return wait_for
