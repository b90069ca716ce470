"""What every target has whose machines are rented: nodes from outputs, SSH to reach them, and a health that asks twice.

A folder of a cloud's adds what to make (`lower`) and how to find it again (`observe`, `remove`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from ...compiler.diagnostics import Diagnostic, Severity, SkycError, error
from ...compiler.ir import DeploymentId, FrozenMap
from .. import doors
from ..base import (
    DEAD,
    HEALTHY,
    STOPPED,
    UNREACHABLE,
    Capability,
    CheckReport,
    Node,
    OwnedResource,
    Transport,
    TransportError,
)
from ..priced import PricedProvider
from ..retry import SourceFailure
from ..tokens import token_of
from .nodes import nodes_in
from .power import Power, Switch

RENTED = frozenset(
    {
        Capability.LOWER,
        Capability.LOGIN,
        Capability.RUN,
        Capability.SPOT,
        Capability.MULTI_NODE,
        Capability.DISK_SIZE,
        Capability.OPEN_PORTS,
        Capability.OWN_NETWORK,
        Capability.CUSTOM_IMAGE,
        Capability.STOP,
    }
)
"""What all of them can do."""
RESTART_SECONDS = 12.0
"""systemd starts a Ray that ended again after five seconds."""


class RentedProvider(PricedProvider):
    def __init__(self) -> None:
        self._look = Lock()
        self._seen: tuple[tuple[DeploymentId, Path], float, Mapping[str, OwnedResource] | SkycError] | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return RENTED

    def check(self, *, home: Path) -> CheckReport:
        """Usable where Terraform could ask it now."""
        priced = super().check(home=home)
        missing = self.ready(home=home)
        facts = {**priced.facts, "state": "no credentials" if missing else "plans and runs jobs"}
        usable = not missing and not priced.diagnostics
        # Whoever does not use this target has nothing to mend.
        said = [replace(diagnostic, severity=Severity.WARNING) for diagnostic in missing]
        return CheckReport(provider=self.name, usable=usable, facts=FrozenMap(facts), diagnostics=(*priced.diagnostics, *said))

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
        self._refuse_stopped([node for node in nodes if _was_brought_down(node)], home)
        deployment = login.deployment

        def exists(node: Node) -> bool:
            there = self._there(deployment, home)
            return isinstance(there, SkycError) or node.id in there

        bring_up(nodes, token=token_of(home, deployment), tell=tell, exists=exists)

    def switch(self, home: Path) -> AbstractContextManager[Switch]:
        """The account, to stop and start machines with. Raises SkycError, SourceFailure."""
        raise NotImplementedError

    def cannot_stop(self, nodes: Sequence[Node], *, lose_local: bool, home: Path) -> tuple[Diagnostic, ...]:
        from .power import cannot_stop

        with self._switching(home) as switch:
            return cannot_stop(switch, self._machines(nodes, home), lose_local=lose_local)

    def stop(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        from .power import stop

        with self._switching(home) as switch:
            machines = self._machines(nodes, home)
            _brought_down(nodes)
            return stop(switch, machines, tell)

    def start(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        from .power import start

        with self._switching(home) as switch:
            machines = self._machines(nodes, home)
            # Those that somebody stopped otherwise too: their Ray is to be waited for, wherever this is cut off.
            _brought_down([node for node, machine in machines if switch.power(machine) is not Power.RUNNING])
            return start(switch, machines, tell)

    def _refuse_stopped(self, nodes: Sequence[Node], home: Path) -> None:
        """Nobody waits minutes for a machine that does not run. One nothing is known of is waited for. Raises SkycError."""
        stopped: list[str] = []
        with suppress(SkycError):
            if nodes:
                with self._switching(home) as switch:
                    off = (Power.STOPPED, Power.OFF)
                    stopped = [node.name for node, machine in self._machines(nodes, home) if switch.power(machine) in off]
        if stopped:
            login = nodes[0].login
            assert login is not None, "rented nodes are logged in to"
            raise SkycError(_are_stopped(stopped, login.deployment))

    @contextmanager
    def _switching(self, home: Path) -> Iterator[Switch]:
        try:
            with self.switch(home) as switch:
                yield switch
        except SourceFailure as failure:
            raise SkycError(_not_asked(self.name, failure)) from None

    def _machines(self, nodes: Sequence[Node], home: Path) -> list[tuple[Node, OwnedResource]]:
        """Each node with its machine. Raises SkycError when one is not there."""
        login = nodes[0].login
        assert login is not None, "rented nodes are logged in to"
        there = {item.node or item.id: item for item in self.observe(login.deployment, home=home)}
        missing = [node.name for node in nodes if node.id not in there]
        if missing:
            raise SkycError(_machines_gone(missing, login.deployment))
        return [(node, there[node.id]) for node in nodes]

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
        machine = there.get(node.id)
        if machine is None:
            return "gone"
        try:
            with self._switching(home) as switch:
                if switch.power(machine) in (Power.STOPPED, Power.OFF):
                    return STOPPED
        except SkycError as failure:
            return f"{UNREACHABLE}: {why}; {failure.diagnostics[0].detail}"
        return f"{UNREACHABLE}: {why}"

    def _there(self, deployment: DeploymentId, home: Path) -> Mapping[str, OwnedResource] | SkycError:
        """What the cloud knows, by `Node.id`, from a look that began after this call did. Nodes are asked about all at once, and one look
        answers for all that wait: a look is many requests, and clouds limit how many they take."""
        wanted = time.monotonic()
        with self._look:
            if self._seen is not None and self._seen[0] == (deployment, home) and self._seen[1] >= wanted:
                return self._seen[2]
            began = time.monotonic()
            found: Mapping[str, OwnedResource] | SkycError
            try:
                found = {item.node or item.id: item for item in self.observe(deployment, home=home)}
            except SkycError as failure:
                found = failure
            self._seen = ((deployment, home), began, found)
            return found


def _brought_down(nodes: Sequence[Node]) -> None:
    """Their Ray is to be waited for again. The pinned host keys stay."""
    from ..ssh.host_keys import remember, remembered

    for node in nodes:
        known = remembered(node)
        if known is not None and known.ready:
            remember(node, replace(known, ready=False))


def _was_brought_down(node: Node) -> bool:
    from ..ssh.host_keys import PINNED, remembered

    known = remembered(node)
    return known is not None and known.state == PINNED and not known.ready


def _are_stopped(names: Sequence[str], deployment: str) -> Diagnostic:
    return error(
        "machines-stopped",
        "Machines of the deployment are stopped",
        f"{', '.join(names)}: nothing runs there until they are started.",
        hint="start them; an apply does that too",
        commands=(f"skyc start {deployment}",),
    )


def _machines_gone(names: Sequence[str], deployment: str) -> Diagnostic:
    return error(
        "machines-gone",
        "Machines of the deployment do not exist any more",
        f"{', '.join(names)}: the cloud knows no such machine.",
        hint="apply again, which makes them anew",
        commands=(f"skyc status {deployment}",),
    )


def _not_asked(name: str, failure: SourceFailure) -> Diagnostic:
    return error(
        "cannot-switch",
        "The target does not say how its machines are",
        f"`{name}`: {failure}. Nothing more was stopped or started.",
        hint="see that the account may look at, stop and start machines, then run the command again",
    )
