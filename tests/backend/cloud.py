"""A pretended AWS that two homes share: compiled and planned as AWS is, made by the simulator in one world, found there by tag.

It has machines nobody can log in to: a job that is to start fails, and what was made stays. That is what is tested here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

from skyc.compiler.diagnostics import Diagnostic
from skyc.compiler.ir import DeploymentId
from skyc.compiler.ir.catalog import CatalogPart
from skyc.compiler.terraform import find_engine
from skyc.providers import registry
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Attachment, Capability, Node, OwnedResource, Transport, TransportError
from skyc.providers.rented.power import Power, Stopping, Switch
from skyc.providers.simulator import World, simulate

WORLD = "SKYC_TEST_WORLD"
"""Environment variable: where the world is."""


LOCAL_DISK = "SKYC_TEST_LOCAL_DISK"
"""Environment variable: what the machines lose when they stop."""


class Unreachable:
    """A machine that nobody can log in to."""

    def __getattr__(self, name: str) -> Any:
        raise TransportError("nobody can log in to a pretended machine")

    @contextmanager
    def forward(self, port: int) -> Iterator[int]:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            # Bound and not listening: who connects is refused.
            yield int(nobody.getsockname()[1])


class RealCloud(AwsProvider):
    """AWS itself, but for the machines nobody can log in to: the released provider, and what is found by tag at an endpoint."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.RUN}

    def catalog(self, *, home: Path) -> CatalogPart:
        return AwsProvider().catalog(home=home)

    def transport(self, node: Node) -> AbstractContextManager[Transport]:
        return nullcontext(cast(Transport, Unreachable()))

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        """There is nothing to wait for: nobody can log in."""

    def health(self, node: Node, *, home: Path) -> str:
        return "unknown"


class WorldSwitch:
    """A machine of the world; as at AWS, it comes back with another public address."""

    def __init__(self, world: World) -> None:
        self.world = world

    def power(self, machine: OwnedResource) -> Power:
        found = next((item for item in self.world.resources("aws_instance") if item.id == machine.id), None)
        return Power.GONE if found is None else Power(found.attributes["instance_state"])

    def stopping(self, machine: OwnedResource) -> Stopping:
        return Stopping(local=os.environ.get(LOCAL_DISK, ""))

    def stop(self, machine: OwnedResource) -> None:
        self.world.change("aws_instance", machine.id, instance_state="stopped", public_ip="", associate_public_ip_address=False)

    def start(self, machine: OwnedResource) -> None:
        address = "203.0.113.99"
        self.world.change(
            "aws_instance", machine.id, instance_state="running", public_ip=address, associate_public_ip_address=True
        )


class SharedCloud(RealCloud):
    """Made by the simulator."""

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        return ()

    @contextmanager
    def attach(self, *, home: Path) -> Iterator[tuple[Attachment, ...]]:
        with simulate(("aws",), home=Path(os.environ[WORLD]), registry=find_engine(environ=os.environ).registry) as made:
            yield made

    def health(self, node: Node, *, home: Path) -> str:
        there = {found.id: found for found in World(Path(os.environ[WORLD])).resources("aws_instance")}
        if node.id not in there:
            return "gone"
        return "stopped" if there[node.id].attributes["instance_state"] == "stopped" else "healthy"

    def switch(self, home: Path) -> AbstractContextManager[Switch]:
        return nullcontext(WorldSwitch(World(Path(os.environ[WORLD]))))

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        # As AWS does: only where the home knows a site of the deployment.
        if not any((home / "deployments" / deployment / "sites").glob("*.aws-*")):
            return ()
        found = [
            OwnedResource(id=item.id, type=item.type, name=item.id, deployment=deployment)
            for item in World(Path(os.environ[WORLD])).resources()
            if _tags(item.attributes).get("skyc-deployment") == deployment
        ]
        return tuple(sorted(found, key=lambda item: item.id))

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        """With what is part of it and has no tags of its own, such as a route of a table."""
        with World(Path(os.environ[WORLD])).changing() as contents:
            del contents.resources[f"{resource.type}/{resource.id}"]
            for key, item in tuple(contents.resources.items()):
                if not _tags(item.attributes) and resource.id in item.attributes.values():
                    del contents.resources[key]


def _tags(attributes: Mapping[str, Any]) -> Mapping[str, str]:
    return attributes.get("tags") or {}


def install() -> None:
    """In this process `aws` is one of these: the simulated one where there is a world, else the real one."""
    registry.BUILT_IN["aws"] = f"{__name__}:{'SharedCloud' if os.environ.get(WORLD) else 'RealCloud'}"
