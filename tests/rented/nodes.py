"""A node as a site's outputs name it, logged in to from a home of the test's own."""

from __future__ import annotations

from pathlib import Path

from skyc.compiler.ir import DeploymentId
from skyc.providers.base import Login, Node
from skyc.providers.ssh.host_keys import PINNED, Remembered, remember, remembered

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7"


def node_of(home: Path, id_: str, deployment: str, *, rank: int = 0) -> Node:
    """It has been brought up. Nobody answers at its address."""
    node = Node(
        id=id_,
        name=f"train-main-{rank}",
        group="main",
        rank=rank,
        ip="127.0.0.1",
        address="127.0.0.1",
        host_key=KEY,
        directory="/var/lib/skyc/nodes/train-main-0",
        python="/python",
        user_bin="/bin",
        gcs_port=1,
        dashboard_port=2,
        agent_port=3,
        cpus=1.0,
        memory_mb=1024,
        login=Login(deployment=DeploymentId(deployment), directory=str(home / "ssh"), user="skyc", port=1),
    )
    remember(node, Remembered(state=PINNED, key=KEY, ready=True))
    return node


def is_ready(node: Node) -> bool:
    known = remembered(node)
    assert known is not None and known.key == KEY, "the pinned key was lost"
    return known.ready
