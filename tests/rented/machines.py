"""Machines that are namespaces of this one: what a cloud would boot, for tests that log in, install and run Ray for real.

A fake of the machine and its image, named one; sshd, sudo, the bootstrap, Ray and everything skyc does are real. Needs root, and sshd,
sudo and iproute2. All machines hang on one bridge and reach each other at their private addresses, and this machine reaches them
at either.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skyc.compiler.ir import NodeRuntime
from skyc.providers.environments import Environments, packages_of, render
from skyc.providers.rented.cloud_init import ROOT, places

BRIDGE = "skyc-test"
STORES = frozenset({"s3"})
"""What the machines have clients for."""
BRIDGE_ADDRESS = "10.64.255.254"
INIT = Path(__file__).with_name("machine_init.py")


def missing() -> str:
    """Why no machine can be pretended here, or nothing."""
    absent = [name for name in ("sshd", "sudo", "ip", "unshare", "useradd") if shutil.which(name, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    if os.geteuid() != 0:
        return "only root can make namespaces"
    return "" if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0 else "no namespaces here"


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass
class Machine:
    """One running machine."""

    name: str
    addresses: tuple[str, ...]
    process: subprocess.Popen[bytes]
    folder: Path
    """Its disk, and what it says."""
    net: str

    def log(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")


@dataclass
class Machines:
    """All of a test's machines. `stock`: what every machine finds in its image already, so that no test downloads Ray."""

    folder: Path
    stock: Path
    running: dict[str, Machine] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def boot(
        self, name: str, user_data: str, authorized_key: str, addresses: tuple[str, ...], *, disk: Path | None = None
    ) -> Machine:
        """`addresses`: the private one first. `disk`: the folder of a machine that was powered off, which boots again with what is there;
        what runs then is what was enabled, and nothing of its user data."""
        # The kernel takes a moment to take a network away: every machine has names of its own.
        number = secrets.token_hex(3)
        folder = disk or self.folder / number
        folder.mkdir(exist_ok=True)
        net, ours, theirs = f"{BRIDGE}-{number}", f"skv{number}a", f"skv{number}b"
        _ip("netns", "add", net)
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        _ip("link", "set", theirs, "netns", net)
        _ip("link", "set", ours, "master", BRIDGE, "up")
        _ip("-n", net, "link", "set", "lo", "up")
        _ip("-n", net, "addr", "add", "169.254.169.254/32", "dev", "lo")
        _ip("-n", net, "link", "set", theirs, "up")
        _ip("-n", net, "addr", "add", f"{addresses[0]}/16", "dev", theirs)
        for address in addresses[1:]:
            _ip("-n", net, "addr", "add", f"{address}/32", "dev", theirs)
            _ip("route", "replace", f"{address}/32", "dev", BRIDGE)
        # Nothing answers there; a source address is found by it all the same.
        _ip("-n", net, "route", "add", "default", "via", BRIDGE_ADDRESS)
        # Names of this machine's folders → where they are seen, and → where copies of them are.
        mounts = {str(self.stock / "runtimes"): f"{ROOT}/runtimes"}
        copies = {str(self.stock / "cache"): f"{ROOT}/cache", str(self.stock / "uv"): f"{ROOT}/uv"}
        spec = {
            "user_data": user_data,
            "authorized_key": authorized_key,
            "mounts": mounts,
            "copies": copies,
            "environment": {
                "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
                "UV_OFFLINE": "1",
            },
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        command = ["ip", "netns", "exec", net, "unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        with (folder / "console.log").open("ab") as console:
            process = subprocess.Popen(
                [*command, sys.executable, str(INIT), str(folder), str(folder / "spec.json")],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        machine = Machine(name=name, addresses=addresses, process=process, folder=folder, net=net)
        with self._guard:
            self.running[name] = machine
        return machine

    def power_off(self, name: str) -> Path:
        """At once, with everything on it. Its disk."""
        with self._guard:
            machine = self.running.pop(name)
        machine.process.kill()
        machine.process.wait()
        for address in machine.addresses[1:]:
            subprocess.run(["ip", "route", "del", f"{address}/32", "dev", BRIDGE], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", machine.net], check=False, capture_output=True)
        return machine.folder

    def close(self) -> None:
        for name in list(self.running):
            self.power_off(name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def stock_image(folder: Path, runtime: NodeRuntime) -> None:
    """The pinned runtime where the bootstrap would make it, uv, and uv's cache with what an empty environment needs."""
    import uv

    where = places("any", runtime, STORES)
    program = uv.find_uv_bin()
    subprocess.run(
        [program, "venv", "--quiet", "--seed", "--python", sys.executable, str(folder / "empty")],
        env={**os.environ, "UV_CACHE_DIR": str(folder / "cache")},
        check=True,
    )
    shutil.copy(program, folder / "uv")
    environments = Environments(
        uv=program,
        interpreter=str(Path(sys._base_executable).resolve()),  # type: ignore[attr-defined]
        runtime=folder / "runtimes" / where.runtime.name,
        user=folder / "nodes" / "any" / "env",
        packages=packages_of(runtime.ray, STORES),
    )
    script = folder / "bootstrap.sh"
    script.write_text(render(environments))
    subprocess.run(["bash", str(script)], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["chmod", "-R", "a+rX", str(folder / "runtimes")], check=True)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    stock_image(folder, NodeRuntime(python=f"{sys.version_info.major}.{sys.version_info.minor}"))
    return folder


@pytest.fixture
def machines(tmp_path: Path, stock: Path) -> Iterator[Machines]:
    why = missing()
    if why:
        pytest.skip(why)
    folder = tmp_path / "machines"
    folder.mkdir()
    with _alone():
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{BRIDGE_ADDRESS}/16", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        made = Machines(folder=folder, stock=stock)
        try:
            yield made
        finally:
            made.close()
            subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """The bridge and its addresses are this computer's: tests of another checkout would take them away from ours."""
    with (Path(tempfile.gettempdir()) / f"{BRIDGE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
