"""What a rented machine does when it boots, as cloud-init user data: the same bootstrap every node runs, and a unit for Ray.

Contract: pure. The text holds no token and no secret of the user's. It holds a one-time SSH host key (`base.Access.host_key`).

Ray starts when the token is there: a path unit waits for the file, which skyc brings over SSH after it has replaced the host
key. Until then nothing of Ray listens. systemd ends Ray with its whole control group; `ray stop` would kill by process name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from ...compiler.ir import FrozenMap, NodeRuntime
from ..base import LOGIN_USER, Access
from ..environments import Environments, packages_of, render, template
from . import ports

USER = LOGIN_USER
ROOT = Path("/var/lib/skyc")
BOOTED = str(ROOT / "booted")
"""Holds the exit status of the first boot, once that is over."""
BOOT_LOG = str(ROOT / "boot.log")
UNIT = "skyc-ray"
LIMIT = 16_000
"""Bytes of user data. EC2 takes 16 KiB, the least of the clouds."""

UV_VERSION = "0.13.9"
_FILES = "https://files.pythonhosted.org/packages"
UV_WHEELS = {
    "x86_64": (
        f"{_FILES}/3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f/"
        f"uv-{UV_VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    "arm64": (
        f"{_FILES}/fe/2f/51a5de367c602592c018a42a23d57fba5f2689fe6c3bf025dcf043b39c61/"
        f"uv-{UV_VERSION}-py3-none-manylinux_2_28_aarch64.whl",
        "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
    ),
}
"""Architecture → (address, SHA-256) of uv's wheel, as uv.lock has them; a test compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One machine's first boot. `head`: the head's address inside the network; None on the head itself."""

    node: str
    arch: str
    runtime: NodeRuntime
    access: Access
    head: str | None
    cpus: int
    gpus: int
    opens: frozenset[str]
    """Schemes of the stores it opens (`Provider.opens`)."""
    late: bool = False
    """Its public address, or its network's way out, comes after it has started."""
    login_key: str = ""
    """For clouds whose own way of bringing a login key depends on settings of the account."""
    files: FrozenMap[str] = field(default_factory=FrozenMap)
    """Path → content: settings of the cloud's own software on the machine."""
    packages: tuple[str, ...] = ()
    """Of the image's own distribution, installed before anything of ours runs. One that cannot be had does not stop the boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where everything of a node is, on every rented machine."""

    directory: Path
    runtime: Path
    user: Path

    @property
    def python(self) -> str:
        return str(self.runtime / "bin" / "python")

    @property
    def user_bin(self) -> str:
        return str(self.user / "bin")


def places(node: str, runtime: NodeRuntime, opens: frozenset[str]) -> Places:
    """Fixed by the node's name and the pinned versions, so that a plan can say them. opens: schemes of the stores it has clients for."""
    directory = ROOT / "nodes" / node
    text = json.dumps([runtime.python, packages_of(runtime.ray, opens)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Places(directory=directory, runtime=ROOT / "runtimes" / digest, user=directory / "env")


def ray_settings(*lines: str) -> FrozenMap[str]:
    """For `Boot.files`: more settings of the unit in which Ray runs, and with it every job."""
    return FrozenMap({f"/etc/systemd/system/{UNIT}.service.d/target.conf": "\n".join(("[Service]", *lines, ""))})


UNBOUND_MEMORY = "LimitMEMLOCK=infinity"
"""What an adapter for RDMA reads and writes is locked in memory, of which a service may lock little."""


def user_data(boot: Boot) -> str:
    """A `#cloud-config` document. Raises ValueError for one that no cloud would take."""
    where = places(boot.node, boot.runtime, boot.opens)
    environments = Environments(
        uv=str(ROOT / "uv"),
        interpreter=boot.runtime.python,
        runtime=where.runtime,
        user=where.user,
        packages=packages_of(boot.runtime.ray, boot.opens),
        downloads=True,
    )
    wheel, sha256 = UV_WHEELS[boot.arch]
    text = template("cloud-init.yaml.j2").render(
        user=USER,
        root=str(ROOT),
        booted=BOOTED,
        boot_log=BOOT_LOG,
        unit=UNIT,
        directory=str(where.directory),
        runtime=str(where.runtime),
        node=boot.node,
        wheel=wheel,
        sha256=sha256,
        script=render(environments),
        ray=_ray_command(boot, where),
        host_key=boot.access.host_key,
        host_key_public=boot.access.host_key_public,
        login_key=boot.login_key,
        files=boot.files,
        packages=boot.packages,
        late=boot.late,
    )
    if len(text.encode()) > LIMIT:
        raise ValueError(f"{len(text.encode())} bytes of user data, and {LIMIT} are allowed")
    return text


def _ray_command(boot: Boot, where: Places) -> str:
    """`ray start`, in words no shell reads: systemd splits at spaces, and no word holds one."""
    given: dict[str, object] = {
        "num-cpus": boot.cpus,
        "num-gpus": boot.gpus,
        "labels": f"skyc.io/node={boot.node}",
        "node-manager-port": ports.NODE_MANAGER,
        "object-manager-port": ports.OBJECT_MANAGER,
        "runtime-env-agent-port": ports.RUNTIME_ENV_AGENT,
        "dashboard-agent-grpc-port": ports.AGENT_GRPC,
        "dashboard-agent-listen-port": ports.AGENT,
        "metrics-export-port": ports.METRICS,
        "min-worker-port": ports.WORKERS.first,
        "max-worker-port": ports.WORKERS.last,
    }
    if boot.head is None:
        given |= {"port": ports.GCS, "dashboard-host": "127.0.0.1", "dashboard-port": ports.DASHBOARD}
        given |= {"ray-client-server-port": ports.CLIENT}
    else:
        given["address"] = f"{boot.head}:{ports.GCS}"
    flags = " ".join(f"--{name}={value}" for name, value in given.items())
    head = " --head" if boot.head is None else ""
    return f"{where.runtime}/bin/ray start --block{head} --disable-usage-stats {flags}"
