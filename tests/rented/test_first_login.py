"""From a machine's first boot to a Ray that answers, for real but for the image (`machines.py`)."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId, NodeRuntime
from skyc.providers import doors
from skyc.providers.base import LOGIN_USER, Access, Login, Node, TransportError
from skyc.providers.rented import first_login, ports
from skyc.providers.rented.cloud_init import Boot, places, user_data
from skyc.providers.ssh.connection import HostKeyRefused, connect
from skyc.providers.ssh.host_keys import PENDING, PINNED, Remembered, plain, remember, remembered
from skyc.providers.ssh.transport import SshTransport, transport
from skyc.runtime.access import access_of
from tests.lengths import takes_minutes
from tests.rented.machines import STORES, Machines

RUNTIME = NodeRuntime(python=f"{sys.version_info.major}.{sys.version_info.minor}")
DEMO = DeploymentId("demo")
TOKEN = "0123456789abcdef" * 4


def node_of(home: Path, access: Access, rank: int, private: str, public: str) -> Node:
    where = places(f"train-main-{rank}", RUNTIME, STORES)
    return Node(
        id=f"i-{rank}", name=f"train-main-{rank}", group="main", rank=rank, ip=private, address=public,
        host_key=access.host_key_public, directory=str(where.directory), python=where.python, user_bin=where.user_bin,
        gcs_port=ports.GCS, dashboard_port=ports.DASHBOARD, agent_port=ports.AGENT, cpus=1, memory_mb=1024,
        login=Login(deployment=DEMO, directory=str(home / "deployments" / "demo" / "ssh"), user=LOGIN_USER),
    )  # fmt: skip


def booted(machines: Machines, home: Path, rank: int, head: str | None = None) -> Node:
    access = access_of(home, DEMO)
    private, public = f"10.64.16.{10 + rank}", f"198.51.100.{10 + rank}"
    node = node_of(home, access, rank, private, public)
    boot = Boot(node=node.name, arch="x86_64", runtime=RUNTIME, access=access, head=head, cpus=1, gpus=0, opens=STORES)
    machines.boot(node.name, user_data(boot), access.login_key, (private, public))
    return node


@takes_minutes
@pytest.mark.ray
@pytest.mark.xdist_group("machines")
def test_two_new_machines_become_a_cluster(machines: Machines, tmp_path: Path) -> None:
    head = booted(machines, tmp_path, 0)
    worker = booted(machines, tmp_path, 1, head=head.ip)
    heard: list[str] = []
    try:
        first_login.bring_up([head, worker], token=TOKEN, tell=heard.append, pause=0.2)
    except SkycError as failure:
        raise AssertionError("\n".join([str(failure), *(machine.log() for machine in machines.running.values())])) from failure
    for node in (head, worker):
        known = remembered(node)
        assert known is not None and known.state == PINNED and known.ready
        assert known.key != plain(node.host_key), "the one-time key is still in use"
        with transport(node) as way:
            assert way.get_file(f"{node.directory}/token").decode() == TOKEN
            assert way.run(["stat", "-c", "%a %U", f"{node.directory}/token"]).stdout == "600 skyc\n"
            # Nobody can have it from a process list or from what the machine was made with.
            assert TOKEN not in way.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout
            with way.forward(node.agent_port) as port:
                assert doors.http_status(port, *doors.AGENT) == 401
    keys = {remembered(node).key for node in (head, worker)}  # type: ignore[union-attr]
    assert len(keys) == 2, "each machine has a key of its own"
    with transport(head) as way:
        told = way.run(
            [head.python, "-c", "import ray; ray.init(address='auto', log_to_driver=False); print(len(ray.nodes()))"],
            env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{head.directory}/token"},
            timeout=90,
        )
        assert told.stdout.strip().endswith("2"), told
    # A second time asks nobody: it would find nobody now.
    machines.power_off(worker.name)
    first_login.bring_up([head, worker], token=TOKEN, tell=heard.append)
    with pytest.raises(TransportError), transport(worker):
        pass
    assert heard[0] == "logging in to 2 new machines" and not any("logging" in text for text in heard[1:])


class _Cut(Exception):
    """Where this program is killed."""


def _wait_for_ssh(node: Node) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((node.address, 22), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("the machine never listened")


@pytest.mark.xdist_group("machines")
def test_a_first_login_that_is_cut_off_anywhere_is_finished_by_the_next(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is remembered, with a key that is made and not used, and with one that is used and not pinned."""
    node = booted(machines, tmp_path, 0)
    _wait_for_ssh(node)
    real_root, real_remember = first_login._root, remember

    def cut_remember(state: str) -> Callable[[Node, Remembered], None]:
        def remember_or_die(node: Node, known: Remembered) -> None:
            if known.state == state:
                raise _Cut
            real_remember(node, known)

        return remember_or_die

    def cut_use(transport: SshTransport, script: str) -> str:
        if script == first_login._USE_KEY:
            raise _Cut
        return real_root(transport, script)

    states = []
    for name, cut in (("remember", cut_remember(PENDING)), ("_root", cut_use), ("remember", cut_remember(PINNED))):
        with monkeypatch.context() as patch, pytest.raises(_Cut):
            patch.setattr(first_login, name, cut)
            first_login._log_in_once(node, lambda: time.sleep(0.1))
        known = remembered(node)
        states.append(known.state if known else None)
    assert states == [None, PENDING, PENDING]
    pending = remembered(node)
    assert pending is not None
    first_login._log_in_once(node, lambda: time.sleep(0.1))
    known = remembered(node)
    assert known is not None and (known.state, known.key) == (PINNED, pending.key), "a key that is in use was replaced"
    link, shown = connect(node)
    link.close()
    assert shown == known.key


@pytest.mark.xdist_group("machines")
def test_another_machine_at_the_same_address_is_refused(machines: Machines, tmp_path: Path) -> None:
    """Even one with the same user data, and so with the same one-time key."""
    node = booted(machines, tmp_path, 0)
    _wait_for_ssh(node)
    first_login._log_in_once(node, lambda: time.sleep(0.1))
    machines.power_off(node.name)
    booted(machines, tmp_path, 0)
    _wait_for_ssh(node)
    with pytest.raises(HostKeyRefused, match="is not train-main-0"), transport(node):
        pass
    with pytest.raises(SkycError) as caught:
        first_login.bring_up([node], token=TOKEN, tell=lambda text: None)
    assert caught.value.diagnostics[0].slug == "host-key-refused"


@pytest.mark.xdist_group("machines")
def test_a_first_boot_that_fails_shows_its_log(machines: Machines, tmp_path: Path) -> None:
    access = access_of(tmp_path, DEMO)
    node = node_of(tmp_path, access, 0, "10.64.16.10", "198.51.100.10")
    boot = Boot(node=node.name, arch="x86_64", runtime=RUNTIME, access=access, head=None, cpus=1, gpus=0, opens=STORES)
    broken = user_data(boot).replace("install -d", "echo no room for the environment >&2; exit 7; install -d")
    machines.boot(node.name, broken, access.login_key, (node.ip, node.address))
    with pytest.raises(SkycError) as caught:
        first_login.bring_up([node], token=TOKEN, tell=lambda text: None, pause=0.1)
    (said,) = caught.value.diagnostics
    assert said.slug == "first-boot-failed" and "status 7" in said.detail and "no room for the environment" in said.detail
