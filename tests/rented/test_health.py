"""When a rented node is called dead, gone or merely out of reach: only the first two end a job."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError, error
from skyc.compiler.ir import DeploymentId
from skyc.providers.base import Login, Node, OwnedResource, TransportError, is_lost
from skyc.providers.rented import first_login
from skyc.providers.rented import provider as rented
from skyc.providers.rented.power import Power
from skyc.providers.ssh.host_keys import PINNED, Remembered, remember

DEMO = DeploymentId("demo")


class Target(rented.RentedProvider):
    """A fake cloud: `there` are its machines. `door` is the local port a node's agent is reached at; None: no SSH."""

    name = "fake"

    def __init__(self, there: tuple[str, ...] = (), door: int | None = None, slow: float = 0.0) -> None:
        super().__init__()
        self.there, self.door, self.slow, self.looks = there, door, slow, 0
        self.refuses = False
        self.off: tuple[str, ...] = ()

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        self.looks += 1
        time.sleep(self.slow)
        if self.refuses:
            raise SkycError(error("cannot-observe", "Not seen", "No credentials."))
        return tuple(OwnedResource(id=id_, type="machine", name=id_, deployment=deployment) for id_ in self.there)

    def switch(self, home: Path) -> contextlib.nullcontext[Any]:
        return contextlib.nullcontext(self)

    def power(self, machine: OwnedResource) -> Power:
        return Power.STOPPED if machine.id in self.off else Power.RUNNING

    @contextlib.contextmanager
    def transport(self, node: Node) -> Iterator[Any]:
        if self.door is None:
            raise TransportError("no route")
        yield self

    @contextlib.contextmanager
    def forward(self, port: int) -> Iterator[int]:
        assert self.door is not None
        yield self.door


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(
        id="i-0", name="train-main-0", group="main", rank=0, ip="10.0.0.1", directory="/d", python="p", user_bin="b",
        gcs_port=1, dashboard_port=2, agent_port=3, cpus=1, memory_mb=1,
        login=Login(deployment=DEMO, directory=str(tmp_path / "ssh"), user="skyc"),
    )  # fmt: skip
    remember(made, Remembered(state=PINNED, key="ssh-ed25519 AAAA", ready=True))
    return made


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_busy_node_is_not_dead(node: Node, door: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agent holds its port and gets no turn to answer."""
    monkeypatch.setattr(rented, "RESTART_SECONDS", 0.1)
    health = Target(("i-0",), door.getsockname()[1]).health(node, home=tmp_path)
    assert health.startswith("unreachable: ") and "busy" in health and not is_lost(health)


def test_a_node_without_a_ray_is_dead(node: Node, door: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rented, "RESTART_SECONDS", 0.1)
    port = door.getsockname()[1]
    door.close()
    assert Target(("i-0",), port).health(node, home=tmp_path) == "dead: its Ray does not answer"


def test_only_the_cloud_says_that_a_machine_is_gone(node: Node, tmp_path: Path) -> None:
    target = Target(("i-0",))
    assert target.health(node, home=tmp_path) == "unreachable: no route"
    assert target.health(replace(node, id="i-1"), home=tmp_path) == "gone"
    target.off = ("i-0",)
    assert target.health(node, home=tmp_path) == "stopped"
    target.refuses = True
    health = target.health(replace(node, id="i-1"), home=tmp_path)
    assert not is_lost(health) and "No credentials" in health


def test_one_look_answers_for_all_nodes_that_wait_and_for_none_that_comes_later(node: Node, tmp_path: Path) -> None:
    target = Target(("i-0",), slow=0.3)
    start = threading.Barrier(16)

    def look(number: int) -> str:
        start.wait()
        return target.health(node, home=tmp_path)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(look, range(16))) == {"unreachable: no route"}
    assert target.looks <= 8
    target.there = ()
    assert target.health(node, home=tmp_path) == "gone", "an old look answered"


def test_a_machine_that_is_taken_as_it_boots_is_not_waited_for(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node.login is not None
    new = replace(node, id="i-9", ip="127.0.0.1", login=replace(node.login, port=1))
    monkeypatch.setattr(first_login, "TOLD_SECONDS", 0.0)
    heard: list[str] = []
    target = Target(())
    with pytest.raises(SkycError) as failure:
        target.bring_up([new], home=tmp_path, tell=heard.append)
    assert failure.value.diagnostics[0].slug == "machine-gone" and heard == ["logging in to 1 new machine"]
    # A cloud that cannot be asked has taken nothing.
    target.refuses = True
    monkeypatch.setattr(first_login, "LOGIN_SECONDS", 0.2)
    with pytest.raises(SkycError) as failure:
        target.bring_up([new], home=tmp_path, tell=heard.append)
    assert failure.value.diagnostics[0].slug == "machine-unreachable"
