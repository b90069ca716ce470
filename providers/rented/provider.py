"""What every target has whose machines are rented: nodes from outputs, SSH to reach them, and a health that asks twice.

A folder of a cloud's adds what to make (`lower`) and how to find it again (`observe`, `remove`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any

from ...compiler.diagnostics import SkycError
from ...compiler.ir import DeploymentId, FrozenMap
from .. import doors
from ..base import DEAD, HEALTHY, UNREACHABLE, Capability, CheckReport, Node, Transport, TransportError
from ..priced import PricedProvider
from ..tokens import token_of
from .nodes import nodes_in

RENTED = frozenset(
    {
        Capability.LOWER,
        Capability.LOGIN,
        Capability.RUN,
        Capability.SPOT,
        Capability.MULTI_NODE,
        Capability.DISK_SIZE,
        Capability.OPEN_PORTS,
        Capability.CUSTOM_IMAGE,
    }
)
"""What all of them can do."""
RESTART_SECONDS = 12.0
"""systemd starts a Ray that ended again after five seconds."""


class RentedProvider(PricedProvider):
    def __init__(self) -> None:
        self._look = Lock()
        self._seen: tuple[tuple[DeploymentId, Path], float, frozenset[str] | SkycError] | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return RENTED

    def check(self, *, home: Path) -> CheckReport:
        """Usable where Terraform could ask it now."""
        priced = super().check(home=home)
        missing = self.ready(home=home)
        facts = {**priced.facts, "state": "no credentials" if missing else "plans and runs jobs"}
        usable = not missing and not priced.diagnostics
        return CheckReport(
            provider=self.name, usable=usable, facts=FrozenMap(facts), diagnostics=(*priced.diagnostics, *missing)
        )

    def nodes(self, outputs: Mapping[str, Any]) -> tuple[Node, ...]:
        return nodes_in(outputs)

    def transport(self, node: Node) -> AbstractContextManager[Transport]:
        from ..ssh.transport import transport

        return transport(node)

    def shell(self, node: Node, command: str | None) -> tuple[str, ...]:
        from ..ssh.shell import shell

        return shell(node, command)

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        """Raises SkycError, naming the node and what its own log says."""
        from .first_login import bring_up

        login = nodes[0].login
        assert login is not None, "rented nodes are logged in to"
        deployment = login.deployment

        def exists(node: Node) -> bool:
            there = self._there(deployment, home)
            return isinstance(there, SkycError) or node.id in there

        bring_up(nodes, token=token_of(home, deployment), tell=tell, exists=exists)

    def health(self, node: Node, *, home: Path) -> str:
        """Asks the node, and the cloud when the node does not answer: only the cloud can say that a machine is gone. One that was not
        brought up yet is not dead: the next apply does that."""
        from ..ssh.host_keys import remembered

        known = remembered(node)
        if known is None or not known.ready:
            return self._silent(node, home, "it has not been brought up yet")
        try:
            with self.transport(node) as transport:
                deadline = time.monotonic() + RESTART_SECONDS
                while time.monotonic() < deadline:
                    with transport.forward(node.agent_port) as port:
                        status = doors.asked(port, *doors.AGENT)
                    if status == 401:
                        return HEALTHY
                    time.sleep(1.0)
                if status == doors.SILENT:
                    # A job can keep a machine so busy that nothing else gets its turn, and that is no reason to end the job.
                    return f"{UNREACHABLE}: its Ray is there and too busy to answer"
                return f"{DEAD}: its Ray does not answer"
        except TransportError as failure:
            return self._silent(node, home, str(failure))

    def _silent(self, node: Node, home: Path, why: str) -> str:
        assert node.login is not None, "rented nodes are logged in to"
        there = self._there(node.login.deployment, home)
        if isinstance(there, SkycError):
            return f"{UNREACHABLE}: {why}; {there.diagnostics[0].detail}"
        return f"{UNREACHABLE}: {why}" if node.id in there else "gone"

    def _there(self, deployment: DeploymentId, home: Path) -> frozenset[str] | SkycError:
        """Ids of the machines the cloud knows, from a look that began after this call did. Nodes are asked about all at once, and one look
        answers for all that wait: a look is many requests, and clouds limit how many they take."""
        wanted = time.monotonic()
        with self._look:
            if self._seen is not None and self._seen[0] == (deployment, home) and self._seen[1] >= wanted:
                return self._seen[2]
            began = time.monotonic()
            found: frozenset[str] | SkycError
            try:
                found = frozenset(item.node or item.id for item in self.observe(deployment, home=home))
            except SkycError as failure:
                found = failure
            self._seen = ((deployment, home), began, found)
            return found
