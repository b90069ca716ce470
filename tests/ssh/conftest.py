"""A real sshd on loopback, whose machine is this one: what a rented machine's sshd does, without root where that is possible."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from skyc.compiler.ir import DeploymentId
from skyc.providers.base import Login, Node
from skyc.providers.ssh.host_keys import PINNED, Remembered, plain, remember

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Sshd:
    """One server. `folder` holds its host key; `keys` is what a deployment's folder for SSH is."""

    folder: Path
    keys: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def host_key(self) -> str:
        return (self.folder / "host.pub").read_text()

    def start(self) -> None:
        assert SSHD is not None
        config = self.folder / "config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile {self.folder}/pid\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nPasswordAuthentication no\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            # Its children serve the connections: a machine that goes down takes them along.
            subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=False)
            self.process.kill()
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("sshd is not installed")
    # sshd wants the directory of its privilege separation, and only root can make it.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder, keys = tmp_path / "sshd", tmp_path / "keys"
    folder.mkdir()
    keys.mkdir()
    make_key(folder / "host")
    make_key(keys / "login")
    shutil.copy(keys / "login.pub", folder / "authorized")
    server = Sshd(folder=folder, keys=keys, port=free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def node(sshd: Sshd, tmp_path: Path) -> Node:
    """A node whose first login has been done."""
    known = new_node(sshd, tmp_path)
    remember(known, Remembered(state=PINNED, key=plain(sshd.host_key)))
    return known


def new_node(sshd: Sshd, tmp_path: Path) -> Node:
    """One that nobody has logged in to."""
    directory = tmp_path / "node"
    (directory / "home").mkdir(parents=True, exist_ok=True)
    return Node(
        id="i-0123", name="train-main-0", group="main", rank=0, ip="10.0.0.1", address="127.0.0.1", host_key=sshd.host_key,
        directory=str(directory), python=sys.executable, user_bin="/bin", gcs_port=1, dashboard_port=2, agent_port=3, cpus=1,
        memory_mb=1,
        login=Login(deployment=DeploymentId("demo"), directory=str(sshd.keys), user=getpass.getuser(), port=sshd.port),
    )  # fmt: skip


def elsewhere(node: Node, port: int) -> Node:
    assert node.login is not None
    return replace(node, login=replace(node.login, port=port))
