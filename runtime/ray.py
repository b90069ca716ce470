"""Ray's Jobs API, as the machine that runs skyc uses it: submit, status, stop, list, logs; and the proof that it is closed.

It speaks the documented REST interface directly. Ray's own client does the same, but importing it costs 0.5 s on every command
and its requests have no timeout, so that a half-open tunnel would hang skyc. Hence nothing here imports ray.

Invariants: the token travels only in a header; every request has a timeout; an entrypoint and a `runtime_env` hold nothing
secret, because the Jobs API shows both.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..providers.base import Node, Provider, Transport, TransportError
from .job import JobId

TIMEOUT = 30.0
MOST_AT_ONCE = 32
"""Nodes that are asked at the same time."""


class JobsUnreachable(Exception):
    """The Jobs API did not answer, with the reason in words. Says nothing about the jobs themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJob:
    """Ray's view of one job. `status`: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. `entrypoint`: as Ray shows it."""

    id: str
    status: str
    message: str
    entrypoint: str


class JobsClient:
    """The Jobs API of one cluster, through a transport to its head. A context manager: the tunnel lives as long."""

    def __init__(self, transport: Transport, dashboard_port: int, token: str) -> None:
        self._transport = transport
        self._dashboard_port = dashboard_port
        self._token = token
        self._stack = ExitStack()
        self._port = 0

    def __enter__(self) -> JobsClient:
        self._port = self._stack.enter_context(self._transport.forward(self._dashboard_port))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def submit(self, job: JobId, entrypoint: str) -> bool:
        """Start a job under our id. False when Ray has that job already, which is then the same job."""
        body = {"entrypoint": entrypoint, "submission_id": job, "metadata": {"skyc": job}, "runtime_env": {}}
        status, text = self._ask("POST", "/api/jobs/", body)
        if status == 200:
            return True
        if self.get(job) is not None:  # a duplicate, or our own request whose answer was lost
            return False
        raise SkycError(
            error("job-refused", "Ray did not accept the job", f"The Jobs API answered {status}: {_last_line(text)}")
        )

    def get(self, job: JobId) -> RayJob | None:
        """None when Ray knows no such job."""
        status, text = self._ask("GET", f"/api/jobs/{job}")
        if status == 404:
            return None
        return _ray_job(json.loads(self._checked(status, text)))

    def list(self) -> tuple[RayJob, ...]:
        """Every submitted job, by id."""
        rows = json.loads(self._checked(*self._ask("GET", "/api/jobs/")))
        return tuple(sorted((_ray_job(row) for row in rows if row.get("submission_id")), key=lambda job: job.id))

    def logs(self, job: JobId) -> str:
        """Everything Ray captured of the job's driver. The job's own output is in `output.log`; this is for a driver that
        did not come so far."""
        return str(json.loads(self._checked(*self._ask("GET", f"/api/jobs/{job}/logs")))["logs"])

    def stop(self, job: JobId) -> bool:
        """Ask Ray to stop the driver: SIGTERM, three seconds, SIGKILL. False when there is nothing to stop."""
        status, text = self._ask("POST", f"/api/jobs/{job}/stop")
        return False if status == 404 else bool(json.loads(self._checked(status, text)).get("stopped"))

    def _checked(self, status: int, text: str) -> str:
        if status == 200:
            return text
        raise JobsUnreachable(f"the Jobs API answered {status}: {_last_line(text)}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        return _request(self._port, method, path, body, {"Authorization": f"Bearer {self._token}"})


def probe(provider: Provider, nodes: Sequence[Node]) -> None:
    """Prove that the cluster refuses who has no token: the dashboard on the head, and the agent on every node, which would
    execute commands for anybody.

    Raises SkycError `ray-port-open` when one answers, JobsUnreachable when one does not answer at all.
    """
    with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(nodes))) as pool:
        done = [pool.submit(_probe, provider, node) for node in nodes]
    # An open port anywhere weighs more than a node that does not answer.
    failures = [failure for future in done if (failure := future.exception()) is not None]
    for failure in sorted(failures, key=lambda failure: isinstance(failure, JobsUnreachable)):
        raise failure


def _probe(provider: Provider, node: Node) -> None:
    ports = [("agent", node.agent_port, "/api/job_agent/jobs/")]
    if node.rank == 0:
        ports.append(("dashboard", node.dashboard_port, "/api/jobs/"))
    try:
        with provider.transport(node) as transport:
            for title, port, path in ports:
                with transport.forward(port) as local:
                    # An empty body: an open port answers 400 or 200, and executes nothing.
                    status, _ = _request(local, "POST", path, {}, {})
                if status != 401:
                    raise SkycError(_open(node, title, port, status))
    except (TransportError, TimeoutError) as failure:
        raise JobsUnreachable(f"node {node.name} cannot be reached: {failure}") from failure
    except JobsUnreachable as failure:
        raise JobsUnreachable(f"node {node.name}: {failure}") from failure


def _open(node: Node, title: str, port: int, status: int) -> Diagnostic:
    return error(
        "ray-port-open",
        "A Ray port accepts requests without a token",
        f"Port {port} ({title}) of node {node.name} answered {status} to a request without a token; it must answer 401. Whoever"
        " reaches this port can run commands on the node, so no job was started.",
        hint="Destroy this deployment and apply again; if it comes back, report it as a bug.",
    )


def _request(port: int, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, body=content, headers={"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as failure:
        raise JobsUnreachable(f"the Jobs API does not answer: {str(failure) or type(failure).__name__}") from failure
    finally:
        connection.close()


def _ray_job(row: dict[str, Any]) -> RayJob:
    return RayJob(
        id=row.get("submission_id") or "",
        status=row.get("status") or "PENDING",
        message=row.get("message") or "",
        entrypoint=row.get("entrypoint") or "",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(nothing)"
