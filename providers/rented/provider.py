"""What every target has whose machines are rented: nodes from outputs, SSH to reach them, and a health that asks twice.

A folder of a cloud's adds what to make (`lower`) and how to find it again (`observe`, `remove`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ...compiler.diagnostics import SkycError
from ...compiler.ir import FrozenMap
from .. import doors
from ..base import HEALTHY, UNREACHABLE, Capability, CheckReport, Node, Transport, TransportError
from ..priced import PricedProvider
from ..tokens import token_of

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
        """Raises nothing for a site without outputs: it has no nodes."""
        found = [Node(**{**row, "accelerators": FrozenMap(row["accelerators"])}) for row in outputs.get("nodes") or ()]
        return tuple(sorted(found, key=lambda node: node.rank))

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
        bring_up(nodes, token=token_of(home, login.deployment), tell=tell)

    def health(self, node: Node, *, home: Path) -> str:
        """Asks the node, and the cloud when the node does not answer: only the cloud can say that a machine is gone."""
        try:
            with self.transport(node) as transport:
                deadline = time.monotonic() + RESTART_SECONDS
                while time.monotonic() < deadline:
                    with transport.forward(node.agent_port) as port:
                        if doors.http_status(port, *doors.AGENT) == 401:
                            return HEALTHY
                    time.sleep(1.0)
                return "dead: its Ray does not answer"
        except TransportError as failure:
            return self._silent(node, home, str(failure))

    def _silent(self, node: Node, home: Path, why: str) -> str:
        assert node.login is not None, "rented nodes are logged in to"
        try:
            there = self.observe(node.login.deployment, home=home)
        except SkycError as failure:
            return f"{UNREACHABLE}: {why}; {failure.diagnostics[0].detail}"
        return f"{UNREACHABLE}: {why}" if any(item.id == node.id for item in there) else "gone"
