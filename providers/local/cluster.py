"""Start one node's Ray on loopback and wait until it answers, with the token only.

Contract: `start` returns the ports once every door is proven shut: the dashboard (head) and the node's agent answer 401 without
the token and let it in with it. It never sends the token to a listener that is not the node's own. A port somebody took in
the meantime is `PortTaken`: try again with others. Everything else is `StartError`, naming the log that tells why.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import ROUND_CEILING
from pathlib import Path

from ...compiler.ir import JsonObject
from .. import doors
from ..base import UNREACHABLE
from ..doors import LOOPBACK, http_status
from .processes import Process, alive, find
from .record import NodeRecord, Ports, boot_id, write_atomically

START_SECONDS = 90.0

# Below the range from which the kernel takes ports for outgoing connections (32768 up), so those cannot collide with ours.
_PORT_RANGE = range(20000, 32000)
_MEBIBYTE = 1024**2
_OBJECT_STORE_LEAST = 80 * _MEBIBYTE
_OBJECT_STORE_MOST = 2048 * _MEBIBYTE


class PortTaken(Exception):
    """Another process listens on a port that was free when it was chosen."""


class StartError(Exception):
    """Ray did not come up. `log` is the file whose end says why."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


def choose_ports(record: NodeRecord) -> Ports:
    """Ports nobody listens on now. On a worker, `gcs` is the head's."""
    agent, agent_grpc, runtime_env, metrics, node_manager, object_manager, gcs, dashboard = _free_ports(8)
    worker = record.head_address is not None
    return Ports(
        gcs=int(str(record.head_address).rpartition(":")[2]) if worker else gcs,
        dashboard=None if worker else dashboard,
        agent=agent,
        agent_grpc=agent_grpc,
        runtime_env=runtime_env,
        metrics=metrics,
        node_manager=node_manager,
        object_manager=object_manager,
    )


def _free_ports(count: int) -> list[int]:
    chosen: list[int] = []
    order = random.SystemRandom()
    for _ in range(2000):
        port = order.choice(_PORT_RANGE)
        if port not in chosen and _free(port):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise StartError(f"no {count} free ports between {_PORT_RANGE.start} and {_PORT_RANGE.stop - 1} were found")


def _free(port: int) -> bool:
    """Whether the port can be bound on loopback and on all interfaces."""
    for address in (LOOPBACK, "0.0.0.0"):  # noqa: S104
        with socket.socket() as probe:
            # As servers do: connections that linger after a server's end do not keep the port from the next one.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def command(record: NodeRecord, ports: Ports, ray_start: Path) -> list[str]:
    """Ray's argument vector for this node. Holds no secret."""
    options: dict[str, object] = {
        "node-ip-address": LOOPBACK,
        "dashboard-agent-listen-port": ports.agent,
        "dashboard-agent-grpc-port": ports.agent_grpc,
        "runtime-env-agent-port": ports.runtime_env,
        "metrics-export-port": ports.metrics,
        "node-manager-port": ports.node_manager,
        "object-manager-port": ports.object_manager,
        "num-cpus": int(record.cpus.to_integral_value(ROUND_CEILING)),
        "num-gpus": len(record.devices),
        "memory": max(_MEBIBYTE, record.memory_mb * _MEBIBYTE - _object_store(record)),
        "object-store-memory": _object_store(record),
        "labels": ",".join(f"{key}={value}" for key, value in sorted(record.labels.items()) if key.startswith("skyc.io/")),
        "temp-dir": record.ray_temp_dir,
    }
    if record.is_head:
        options |= {
            "port": ports.gcs,
            "dashboard-host": LOOPBACK,
            "dashboard-port": ports.dashboard,
        }
    else:
        options["address"] = record.head_address
    # The autoscaler's monitor has nothing to do in a cluster whose nodes Terraform owns.
    role = ["--head", "--no-monitor"] if record.is_head else []
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [record.python_path, "-P", str(ray_start), "--loopback", "start", "--block", "--disable-usage-stats", *role, *flags]


def _object_store(record: NodeRecord) -> int:
    """A fifth of the node's memory, within bounds: Ray refuses less than 75 MiB, and jobs here pass little between nodes."""
    return min(max(record.memory_mb * _MEBIBYTE // 5, _OBJECT_STORE_LEAST), _OBJECT_STORE_MOST)


def start(record: NodeRecord, ports: Ports, environment: Mapping[str, str], token: str) -> int:
    """Start the supervisor and wait until Ray answers. Returns the supervisor's pid.

    On failure the processes are left for the caller to end. Raises PortTaken or StartError.
    """
    directory = record.directory
    if not record.is_head and not _connects(ports.gcs):
        # Ray itself would go on trying for longer than anybody waits.
        raise StartError(f"the head does not answer at {record.head_address}")
    ray_start = Path(__file__).resolve().parents[2] / "runtime" / "node" / "ray_start.py"
    start_file = directory / "start.json"
    write_atomically(start_file, json.dumps({"command": command(record, ports, ray_start)}).encode())
    (directory / "supervisor.json").unlink(missing_ok=True)
    log = directory / "logs" / "supervisor.log"
    with log.open("ab") as stream:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "skyc.runtime.node.supervisor", str(directory), str(start_file)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            umask=0o077,
            timeout=START_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise StartError(f"the node's supervisor could not start (status {done.returncode})", log)
    return _wait(record, ports, token)


def _wait(record: NodeRecord, ports: Ports, token: str) -> int:
    deadline = time.monotonic() + START_SECONDS
    waiting = {ports.agent: "the node's agent"}
    if ports.dashboard is not None:
        waiting[ports.dashboard] = "the dashboard"
    began = time.monotonic()
    while waiting:
        facts = supervisor_facts(record)
        if facts is None and time.monotonic() - began > 10:
            raise StartError("the node's supervisor did not report", record.directory / "logs" / "supervisor.log")
        if facts is not None and facts["state"] == "ended":
            _raise_ended(record, ports, str(facts["reason"]))
        if facts is not None and not alive(Process(int(facts["pid"]), int(facts["start"]))):
            raise StartError("the node's supervisor ended", record.directory / "logs" / "supervisor.log")
        for port, what in list(waiting.items()):
            if _door_works(record, port, what, token, is_dashboard=port == ports.dashboard):
                del waiting[port]
        if time.monotonic() > deadline:
            names = " and ".join(waiting.values())
            raise StartError(f"{names} did not answer within {START_SECONDS:.0f} s", ray_log(record))
        time.sleep(0.05)
    facts = supervisor_facts(record)
    if facts is None or "raylet" not in facts["watched"]:
        # The agents answer only after the raylet has started them, and the supervisor looks twice a second.
        time.sleep(0.6)
        facts = supervisor_facts(record)
    return int(facts["pid"]) if facts else 0


def _door_works(record: NodeRecord, port: int, what: str, token: str, *, is_dashboard: bool) -> bool:
    """True once 401 without the token and admittance with it were seen. False while nothing listens yet."""
    method, path = doors.DASHBOARD if is_dashboard else doors.AGENT
    status = http_status(port, method, path)
    if status is None:
        if _connects(port) and not _ours(record, port):
            raise PortTaken(f"port {port}, meant for {what}, belongs to another process")
        return False
    if not _ours(record, port):
        raise PortTaken(f"port {port}, meant for {what}, belongs to another process")
    if status != 401:
        if status >= 500:
            return False
        raise StartError(f"{what} answered {status} without the token; 401 was due", ray_log(record))
    # The agent has no harmless page behind the token: the logs of a job that does not exist are let through and not found.
    path = path if is_dashboard else "/api/job_agent/jobs/none/logs"
    answer = http_status(port, "GET", path, token=token)
    if answer in (401, 403):
        raise StartError(f"{what} refused the deployment's own token", ray_log(record))
    return answer == 200 if is_dashboard else answer is not None


def _raise_ended(record: NodeRecord, ports: Ports, reason: str) -> None:
    for port in ports.own(head=record.is_head):
        if not _free(port):
            raise PortTaken(f"port {port} belongs to another process; {reason}")
    raise StartError(reason, ray_log(record))


def _connects(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1.0):
        return True
    return False


def _ours(record: NodeRecord, port: int) -> bool:
    """Whether a process of this node listens on the port."""
    import psutil

    for process in find(record):
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(process.pid).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


def supervisor_facts(record: NodeRecord) -> JsonObject | None:
    """What the supervisor last reported, None before its first report."""
    try:
        facts: JsonObject = json.loads((record.directory / "supervisor.json").read_text())
    except (OSError, ValueError):
        return None
    return facts


def ray_log(record: NodeRecord) -> Path:
    """The log most likely to say why Ray is not up: the youngest of those with an error in it, else what `ray start` said."""
    said = record.directory / "logs" / "ray-start.log"
    logs = Path(record.ray_temp_dir) / "session_latest" / "logs"
    names = ("gcs_server.out", "gcs_server.err", "raylet.out", "raylet.err", "dashboard.log", "dashboard_agent.log")
    for name in names:
        with contextlib.suppress(OSError):
            text = (logs / name).read_bytes()[-20000:]
            if any(word in text for word in (b" E ", b" F ", b"ERROR", b"Traceback", b"Check failed")):
                return logs / name
    return said


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, empty when it cannot be read."""
    try:
        return "\n".join(path.read_bytes()[-8000:].decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def health(record: NodeRecord) -> str:
    """`healthy`, `dead: <why>`, or `unreachable: <why>` of a node whose processes live and do not get their turn. Looks only; takes a
    few milliseconds when all is well."""
    facts = supervisor_facts(record)
    if record.boot != boot_id():
        return "dead: this machine was restarted"
    if record.status != "running" or record.ports is None:
        return "dead: its creation did not finish"
    if facts is None:
        return "dead: its supervisor left no report"
    if facts["state"] == "ended":
        return f"dead: {facts['reason']}"
    if not alive(Process(int(facts["pid"]), int(facts["start"]))):
        return "dead: its supervisor is gone"
    for name in ("gcs_server", "raylet") if record.is_head else ("raylet",):
        pair = facts["watched"].get(name)
        if pair is None or not alive(Process(int(pair[0]), int(pair[1]))):
            return f"dead: its {name} is gone"
    asked = [(record.ports.agent, *doors.AGENT, "agent")]
    if record.ports.dashboard is not None:
        asked.append((record.ports.dashboard, *doors.DASHBOARD, "dashboard"))
    for port, method, path, what in asked:
        status = http_status(port, method, path) or doors.asked(port, method, path, timeout=10.0)
        if status == doors.SILENT:
            # A job can keep a machine so busy that nothing else gets its turn, and that is no reason to end the job.
            return f"{UNREACHABLE}: its {what} is there and too busy to answer"
        if status != 401:
            return f"dead: its {what} does not answer" if status is None else f"dead: its {what} answers {status}, not 401"
    return "healthy"
