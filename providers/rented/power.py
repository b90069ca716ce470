"""Stopping rented machines and starting them again, at any cloud that says how its machines are (`Switch`).

Contract: each look decides anew, so that a call can be cut off anywhere and repeated. A machine on its way somewhere is waited for before
it is asked for anything: clouds refuse to start what is still stopping.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...compiler.diagnostics import Diagnostic, SkycError, error
from ..base import Node, OwnedResource
from ..retry import SourceFailure

PAUSE = 3.0
SECONDS = 900.0
"""Large machines take minutes to stop: what is in their memory is written to nothing, but their system ends in order."""


class Power(enum.Enum):
    RUNNING = "running"
    STOPPED = "stopped"
    """Nothing but its disks costs anything."""
    OFF = "off"
    """Shut down from inside, at a cloud that goes on charging for it then."""
    CHANGING = "changing"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """What stopping a machine would mean. `one_time`: it cannot be stopped, only ended. `local`: its disks that lose their data, in
    words; empty: none does."""

    one_time: bool = False
    local: str = ""


class Switch(Protocol):
    """One account. Raises SourceFailure from every method."""

    def power(self, machine: OwnedResource) -> Power: ...

    def stopping(self, machine: OwnedResource) -> Stopping: ...

    def stop(self, machine: OwnedResource) -> None:
        """Ask for it. Returns before it is done."""

    def start(self, machine: OwnedResource) -> None:
        """Ask for it. Returns before it is done."""


Machines = Sequence[tuple[Node, OwnedResource]]


def cannot_stop(switch: Switch, machines: Machines, *, lose_local: bool) -> tuple[Diagnostic, ...]:
    """Raises SourceFailure."""
    asked = [(node, switch.stopping(machine)) for node, machine in machines]
    found = []
    if one_time := [node.name for node, facts in asked if facts.one_time]:
        found.append(
            error(
                "cannot-stop",
                "Spot machines cannot be stopped",
                f"{_these(one_time)}: one-time spot machines. The cloud can only end them, and their disks with them.",
                hint="save what you need, for instance as a checkpoint, and destroy; or write `use_spot: false`",
            )
        )
    if local := [f"{node.name} ({facts.local})" for node, facts in asked if facts.local and not lose_local]:
        found.append(
            error(
                "local-disks-lost",
                "Stopping would lose what is on the machines' own disks",
                f"{_these(local)}: these disks are part of the host, and empty when a machine starts again. The root disk, with the"
                " workdir, the environment and the outputs of jobs, is kept.",
                hint="save what you have put there; `--lose-local-disks` then stops them all the same",
            )
        )
    return tuple(found)


def stop(
    switch: Switch, machines: Machines, tell: Callable[[str], None], pause: Callable[[float], object] = time.sleep
) -> tuple[str, ...]:
    """Names of the nodes that were not stopped yet. Raises SkycError."""
    return _bring_to(Power.STOPPED, switch, switch.stop, machines, tell, pause)


def start(
    switch: Switch, machines: Machines, tell: Callable[[str], None], pause: Callable[[float], object] = time.sleep
) -> tuple[str, ...]:
    """Names of the nodes that did not run. Raises SkycError."""
    return _bring_to(Power.RUNNING, switch, switch.start, machines, tell, pause)


def _bring_to(
    wanted: Power,
    switch: Switch,
    ask: Callable[[OwnedResource], None],
    machines: Machines,
    tell: Callable[[str], None],
    pause: Callable[[float], object],
) -> tuple[str, ...]:
    verb = "stop" if wanted is Power.STOPPED else "start"
    left: Mapping[str, tuple[Node, OwnedResource]] = {node.name: (node, machine) for node, machine in machines}
    others: set[str] = set()
    asked: set[str] = set()
    refused: dict[str, str] = {}
    waited = 0.0
    while True:
        for name, (_, machine) in left.items():
            try:
                power = switch.power(machine)
                if power is Power.GONE:
                    refused[name] = "the machine does not exist any more"
                elif power is not wanted:
                    others.add(name)
                    if power is not Power.CHANGING and name not in asked:
                        ask(machine)
                        asked.add(name)
                    continue
            except SourceFailure as failure:
                # The others are still asked: whatever stops costs less.
                refused[name] = str(failure)
            left = {other: pair for other, pair in left.items() if other != name}
        if not left:
            break
        if waited >= SECONDS:
            refused |= dict.fromkeys(left, f"it was waited for for {SECONDS / 60:.0f} minutes")
            break
        if waited % 30 == 0:
            tell(f"waiting for {len(left)} machine{'s' if len(left) != 1 else ''} to {verb}")
        pause(PAUSE)
        waited += PAUSE
    if refused:
        raise SkycError(_not_done(verb, refused))
    return tuple(node.name for node, _ in machines if node.name in others)


def _these(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _not_done(verb: str, refused: Mapping[str, str]) -> Diagnostic:
    why = "; ".join(f"{name}: {reason}" for name, reason in sorted(refused.items()))
    if verb == "stop":
        return error(
            "not-stopped",
            "Not all machines were stopped",
            f"{why}. What was not stopped goes on costing money.",
            hint="run the command again; `skyc status` says how each one is",
        )
    return error(
        "not-started",
        "Not all machines were started",
        f"{why}. A cloud keeps no place for a stopped machine, so it may have none now. What was not started keeps its disks.",
        hint="run the command again later; or save nothing, destroy and apply, which looks for another place",
    )
