"""A node that is reached through another one, over two real servers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.providers.base import Node, TransportError
from skyc.providers.rented.nodes import nodes_in
from skyc.providers.ssh import connection
from skyc.providers.ssh.connection import HeadNotKnown, HostKeyRefused, connect
from skyc.providers.ssh.host_keys import PENDING, PINNED, Remembered, plain, remember
from skyc.providers.ssh.shell import shell
from skyc.providers.ssh.transport import transport
from tests.ssh.conftest import Sshd, free_port, make_key


@pytest.fixture
def inner(sshd: Sshd, tmp_path: Path) -> Iterator[Sshd]:
    """The far machine's server: one that has a key of its own, and accepts the same login."""
    folder = tmp_path / "inner"
    folder.mkdir()
    make_key(folder / "host")
    shutil.copy(sshd.folder / "authorized", folder / "authorized")
    server = Sshd(folder=folder, keys=sshd.keys, port=free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def far(node: Node, inner: Sshd) -> Node:
    """`node` is the head, at an address of its own; this one has none outside."""
    assert node.login is not None
    found = replace(
        node, id="i-0456", name="train-main-1", rank=1, ip="127.0.0.1", address="", host_key=inner.host_key, via=node,
        login=replace(node.login, port=inner.port),
    )  # fmt: skip
    remember(found, Remembered(state=PINNED, key=plain(inner.host_key)))
    return found


def logins(server: Sshd) -> int:
    return (server.folder / "log").read_text().count("Accepted publickey")


def test_files_commands_and_ports_go_through_the_head(far: Node, sshd: Sshd, inner: Sshd) -> None:
    with transport(far) as way:
        assert (logins(sshd), logins(inner)) == (1, 1)
        way.put_file(b"x" * 300_000, f"{far.directory}/home/file")
        assert way.get_file(f"{far.directory}/home/file") == b"x" * 300_000
        assert way.run(["echo", "there"]).stdout == "there\n"
        with way.forward(inner.port) as port, socket.create_connection(("127.0.0.1", port)) as client:
            assert client.recv(4) == b"SSH-"
    before = threading.active_count()
    link, _ = connect(far)
    link.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before, "the connection to the head stayed"


@pytest.mark.parametrize("which", ["near", "far"])
def test_another_host_key_of_either_is_refused(far: Node, sshd: Sshd, inner: Sshd, which: str) -> None:
    server = sshd if which == "near" else inner
    server.stop()
    (server.folder / "host").unlink()
    make_key(server.folder / "host")
    server.start()
    name = "train-main-0" if which == "near" else "train-main-1"
    with pytest.raises(HostKeyRefused, match=f"is not {name}: .*SHA256:"), transport(far):
        pass
    assert logins(inner) == 0 and logins(sshd) == (0 if which == "near" else 1)


def test_a_head_that_is_not_pinned_is_waited_for(far: Node, sshd: Sshd, inner: Sshd) -> None:
    assert far.via is not None
    remember(far.via, Remembered(state=PENDING, key=plain(sshd.host_key)))
    with pytest.raises(HeadNotKnown, match="train-main-0, which is waited for"):
        connect(far)
    assert (logins(sshd), logins(inner)) == (0, 0)
    with pytest.raises(SkycError) as caught:
        shell(far, "true")
    assert caught.value.diagnostics[0].slug == "not-logged-in-yet" and "train-main-0" in caught.value.diagnostics[0].detail


def test_a_head_that_is_not_there_and_a_far_machine_that_is_not(far: Node, sshd: Sshd, inner: Sshd) -> None:
    inner.stop()
    with pytest.raises(TransportError, match=f"port {inner.port} does not answer through train-main-0"):
        connect(far)
    sshd.stop()
    with pytest.raises(TransportError, match=f"port {sshd.port} does not answer"):
        connect(far)


def test_a_head_that_dies_ends_what_runs_through_it(far: Node, sshd: Sshd) -> None:
    ended = threading.Event()

    def go_on() -> None:
        with pytest.raises(TransportError), transport(far) as way:
            way.run(["sleep", "17.1828"], timeout=60)
        ended.set()

    threading.Thread(target=go_on, daemon=True).start()
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", "sleep 17.1828"], capture_output=True).returncode and time.monotonic() < deadline:
        time.sleep(0.05)
    sshd.stop()
    assert ended.wait(60), "the caller still waits for a connection that is gone"


def test_a_far_machine_that_goes_silent_is_noticed(far: Node, inner: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The near machine's TCP goes on answering, so nothing else would tell."""
    monkeypatch.setattr(connection, "DEAD_SECONDS", 3)
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.3)
    link, _ = connect(far)
    time.sleep(4)
    assert link.is_active(), "one that answers stays"
    assert inner.process is not None
    children = subprocess.run(["pgrep", "-P", str(inner.process.pid)], capture_output=True, text=True).stdout.split()
    stopped = [int(pid) for child in children for pid in (child, *_children(child))]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 60
        while link.is_active() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not link.is_active()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        link.close()


def _children(pid: str) -> list[str]:
    return subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True).stdout.split()


def test_openssh_goes_through_the_head_from_any_folder(far: Node, sshd: Sshd, inner: Sshd, tmp_path: Path) -> None:
    """Spaces, and what ssh and the shell would replace, once in each of the two programs."""
    assert far.login is not None and far.via is not None and far.via.login is not None
    odd = tmp_path / "the home %h 'x' $y"
    Path(far.login.directory).rename(odd)
    there = replace(
        far,
        login=replace(far.login, directory=str(odd)),
        via=replace(far.via, login=replace(far.via.login, directory=str(odd))),
    )
    (Path(far.directory) / "workdir").mkdir()

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(shell(there, "echo in $(pwd)"), capture_output=True, text=True, stdin=subprocess.DEVNULL)

    done = run()
    assert (done.returncode, done.stdout) == (0, f"in {far.directory}/workdir\n"), done.stderr
    assert (logins(sshd), logins(inner)) == (1, 1)
    assert there.via is not None
    wrong = Remembered(state=PINNED, key="ssh-ed25519 " + "A" * 68)
    for node in (there.via, there):
        remember(node, wrong)
        done = run()
        assert done.returncode == 255 and "ost key verification failed" in done.stderr
        remember(there.via, Remembered(state=PINNED, key=plain(sshd.host_key)))


def test_who_is_reached_through_the_head() -> None:
    def rows(*addresses: str) -> list[dict[str, object]]:
        plain_row = {
            "group": "main", "host_key": "", "directory": "/n", "python": "/p", "user_bin": "/b", "gcs_port": 1, "dashboard_port": 2,
            "agent_port": 3, "cpus": 1.0, "memory_mb": 1, "accelerators": {},
        }  # fmt: skip
        return [
            {**plain_row, "id": f"i-{rank}", "name": f"main-{rank}", "rank": rank, "ip": f"10.0.0.{rank}", "address": address}
            for rank, address in enumerate(addresses)
        ]

    def via(*addresses: str) -> list[str | None]:
        return [found.via.name if found.via else None for found in nodes_in({"nodes": rows(*addresses)})]

    assert via("198.51.100.1", "", "") == [None, "main-0", "main-0"]
    assert via("198.51.100.1", "198.51.100.2") == [None, None]
    assert via("", "") == [None, None], "all are reached from where the network is"
