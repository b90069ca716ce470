"""Real nodes with real Ray: how they come up, how they die, and that nothing is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.lengths import takes_minutes

from skyc.providers import doors
from skyc.providers.local import cluster, lifecycle
from skyc.providers.local.record import NodeRecord, Ports, load
from skyc.providers.tfplugin.resource import UNKNOWN, ResourceError

from .conftest import World, is_running, record_of, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("local-ray")]


def kill(world: World, name: str, what: str) -> None:
    """SIGKILL to one part of a node, as its supervisor reports it."""
    facts = json.loads((world.directory(name) / "supervisor.json").read_text())
    pid = facts["pid"] if what == "supervisor" else facts["watched"][what][0]
    assert pid in {process.pid for process in world.processes()}, "the test would kill somebody else"
    os.kill(pid, signal.SIGKILL)


def died(world: World, state: dict[str, Any]) -> dict[str, Any]:
    """The state as it is read once the node is known to be dead."""

    def look() -> dict[str, Any] | None:
        found = world.read(state)
        assert found is not None, "a dead node is not a missing one"
        return found if found["health"] != "healthy" else None

    found: dict[str, Any] = wait_for(look, 20)
    assert found["health"].startswith("dead: ")
    return found


def needs_replacement(world: World, state: dict[str, Any]) -> bool:
    planned = world.resource.plan(state, dict(state))
    return planned.values["health"] is UNKNOWN and "health" in planned.requires_replace


@contextlib.contextmanager
def starved(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeRecord]:
    """A node whose agent does not get its turn, as when a job has taken the machine's memory."""
    record = load(world.directory(name))
    assert record is not None and record.ports is not None
    (agent,) = (process for process in world.processes() if listens(process, record.ports.agent))
    asked = doors.asked
    with monkeypatch.context() as patch:
        patch.setattr(doors, "asked", lambda *arguments, timeout=3.0, **more: asked(*arguments, timeout=0.3, **more))
        agent.suspend()
        try:
            yield record
        finally:
            agent.resume()


def listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(row.status == psutil.CONN_LISTEN and row.laddr.port == port for row in process.net_connections("tcp"))
    return False


def test_every_death_is_seen_and_repaired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisor, raylet and GCS are killed in turn; each time the plan says replace, and a create under the old name works."""
    head = world.create("n0")
    worker = world.create("n1", head)
    assert world.read(head) == head and world.read(worker) == worker
    assert not needs_replacement(world, worker)
    assert head["dashboard_port"] and worker["dashboard_port"] is None
    with starved(world, "n1", monkeypatch) as record:
        assert cluster.health(record).startswith("unreachable: its agent is there")
        assert world.read(worker) == worker, "a node that has no time to answer is taken from under its job"

    kill(world, "n1", "supervisor")
    dead = died(world, worker)
    assert needs_replacement(world, dead)
    assert world.read(head) == head, "the head died of its worker"
    again = world.create("n1", head)
    assert again["id"] != worker["id"] and world.read(worker) is None, "the old life is not the new one"

    kill(world, "n1", "raylet")
    assert needs_replacement(world, died(world, again))
    kill(world, "n0", "gcs_server")
    assert needs_replacement(world, died(world, head))

    world.resource.delete(again, world.context)
    world.resource.delete(head, world.context)
    world.resource.delete(head, world.context)
    assert world.leftovers() == ()
    with pytest.raises(ResourceError, match="does not answer"):
        world.create("n1", head)
    assert world.leftovers() == (), "a create that failed left something"


def addresses(world: World) -> list[str]:
    """Of every TCP port that a process of the nodes listens on."""
    found: list[str] = []
    for process in world.processes():
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections("tcp")
            found += [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]
    return found


ESCAPE = textwrap.dedent("""
    import os, sys
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            with open(sys.argv[1], "w") as file:
                file.write(str(os.getpid()) + "\\n")
            os.execve("/bin/sleep", ["sleep", "3600"], {})
        os._exit(0)
    """)


def submit(state: dict[str, Any], entrypoint: str, token: str) -> None:
    """A job of Ray's own Jobs API."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{state['dashboard_port']}/api/jobs/",
        data=json.dumps({"entrypoint": entrypoint}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status == 200


def test_nothing_escapes_and_nothing_is_told(world: World, tmp_path: Path) -> None:
    """A process that left session, parent, environment and directory behind goes with its node, even when the supervisor is
    gone before. While the node lives: loopback only, and the token in files of 0600 alone."""
    head = world.create("n0")
    token = (world.directory("n0") / "token").read_text()
    assert len(token) == 64
    for file in (world.directory("n0") / "token", world.home / "deployments" / world.deployment / "token"):
        assert file.stat().st_mode & 0o777 == 0o600
    script = tmp_path / "escape.py"
    script.write_text(ESCAPE)
    submit(head, f"{sys.executable} {script} {tmp_path / 'pid'}", token)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    pid = int((tmp_path / "pid").read_text())
    escaped = psutil.Process(pid)
    try:
        wait_for(lambda: f"{pid} " in (world.directory("n0") / "processes").read_text())
        assert token not in str(head)
        for name in ("node.json", "supervisor.json", "start.json"):
            assert token not in (world.directory("n0") / name).read_text()
        for process in psutil.process_iter():
            try:
                assert token not in " ".join(process.cmdline()), f"the token is an argument of {process.pid}"
                assert token not in str(process.environ()), f"the token is in the environment of {process.pid}"
            except psutil.Error:
                continue
        listening = addresses(world)
        assert len(listening) > 5 and set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, listening
        for place in (world.directory("n0"), Path(head["temp_dir"])):
            assert place.stat().st_mode & 0o777 == 0o700

        kill(world, "n0", "supervisor")
        died(world, head)
        assert escaped.is_running()
        world.resource.delete(head, world.context)
        assert not is_running(pid)
        assert world.leftovers() == ()
    finally:
        if escaped.is_running():
            escaped.kill()


@takes_minutes
def test_a_port_that_was_taken_in_between(world: World) -> None:
    """Somebody takes a port after it was chosen: other ports are tried, and theirs never gets the token."""
    tried: list[Ports] = []
    with socket.socket() as thief:

        def choose(record: NodeRecord) -> Ports:
            ports = cluster.choose_ports(record)
            tried.append(ports)
            if len(tried) == 1:
                thief.bind(("127.0.0.1", ports.agent))
                thief.listen()
            return ports

        record = lifecycle.create(record_of(world.home), environ=os.environ, choose_ports=choose)
        world.note()
        assert len(tried) == 2 and record.ports == tried[1]
        assert cluster.health(record) == "healthy"
        thief.setblocking(False)
        received = b""
        while True:
            try:
                connection, _ = thief.accept()
            except BlockingIOError:
                break
            with connection:
                connection.settimeout(1)
                received += connection.recv(65536)
        assert b"Authorization" not in received
    lifecycle.delete(record)
    assert world.leftovers() == ()


CREATE = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from skyc.providers.local import lifecycle
    from skyc.providers.local.record import load
    import dataclasses, json
    from skyc.providers.local.record import _from_json
    lifecycle.create(_from_json(json.loads(sys.stdin.read())), environ=os.environ)
    """)


@pytest.mark.fault
@pytest.mark.parametrize("point", ["node.json", "bootstrap.sh", "start.json", "supervisor.json"])
def test_a_create_killed_half_way(point: str, world: World) -> None:
    """At every point the next create succeeds or the removal clears everything."""
    from skyc.providers.local.record import _to_json

    record = record_of(world.home)
    creator = subprocess.Popen(
        [sys.executable, "-c", CREATE], stdin=subprocess.PIPE, start_new_session=True, cwd=world.home, text=True
    )
    try:
        assert creator.stdin is not None
        creator.stdin.write(json.dumps(_to_json(record)))
        creator.stdin.close()
        wait_for(lambda: (record.directory / point).exists() or creator.poll() is not None)
        assert creator.poll() is None, "the create ended before the test could kill it"
    finally:
        creator.kill()
        creator.wait()
    world.note()
    half = load(record.directory)
    assert half is not None and half.status == "creating"
    assert cluster.health(half) == "dead: its creation did not finish"
    if point == "supervisor.json":
        whole = lifecycle.create(record, environ=os.environ)
        world.note()
        assert whole.id != half.id and cluster.health(whole) == "healthy"
        assert not Path(half.temp_dir).exists()
    for left in lifecycle.find_records(world.home, world.deployment):
        lifecycle.delete(left)
    assert world.leftovers() == ()
