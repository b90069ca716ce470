"""AWS as the simulator plays it, as a target jobs could be started at: what `AwsProvider` lacks for that is pretended here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import Diagnostic
from skyc.compiler.ir import DeploymentId
from skyc.compiler.ir.catalog import CatalogPart
from skyc.compiler.pipeline import Compilation
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import Attachment, Capability, Node, OwnedResource
from skyc.providers.rented.names import DEPLOYMENT_TAG
from skyc.providers.simulator import World, simulate
from skyc.runtime import apply as applying
from skyc.runtime.apply import locked, site_context
from skyc.runtime.planning import Planned, planned, refuse_running
from skyc.runtime.refusals import compiled
from skyc.runtime.request import Request
from skyc.runtime.results import Progress
from skyc.runtime.session import Session
from skyc.runtime.state import StateStore

WITHIN = {
    "aws_subnet": ("subnet_id", ("aws_route_table_association", "aws_ec2_subnet_cidr_reservation")),
    "aws_route_table": ("route_table_id", ("aws_route",)),
    "aws_vpc": ("vpc_id", ("aws_default_security_group",)),
    "aws_iam_role": ("role", ("aws_iam_role_policy",)),
}
"""What goes with a resource, as it does at AWS."""
HELD = {
    "aws_route": "route_table_id",
    "aws_route_table_association": "route_table_id",
    "aws_ec2_subnet_cidr_reservation": "subnet_id",
}
"""Types without tags, and by which argument they are found."""


class SimulatedAws(AwsProvider):
    """`AwsProvider` with the simulator's world in place of an account."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.RUN}

    def catalog(self, *, home: Path) -> CatalogPart:
        # The shipped one lies beside the class that is asked.
        return AwsProvider().catalog(home=home)

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        return ()

    def attach(self, *, home: Path) -> AbstractContextManager[tuple[Attachment, ...]]:
        return simulate(("aws",), home=home)

    def health(self, node: Node, *, home: Path) -> str:
        return "healthy" if any(node.id == found.id for found in World(home).resources("aws_instance")) else "gone"

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        everything = World(home).resources()
        mine = [item for item in everything if (item.attributes.get("tags") or {}).get(DEPLOYMENT_TAG) == deployment]
        # As the real inventory does: what tables and subnets hold has no tags, and would be in the way of its successor.
        holders = {item.id for item in mine if item.type in ("aws_route_table", "aws_subnet")}
        mine += [item for item in everything if item.attributes.get(HELD.get(item.type, "")) in holders]
        found = [
            OwnedResource(id=item.id, type=item.type, name=item.id, deployment=deployment)
            for item in mine
            # Goes with its network, and the real one does not list it either.
            if item.type != "aws_default_security_group"
        ]
        return tuple(sorted(found, key=lambda item: item.id))

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        with World(home).changing() as contents:
            contents.resources.pop(f"{resource.type}/{resource.id}", None)
            name, kinds = WITHIN.get(resource.type, ("", ()))
            for kind in kinds:
                for inner in [item for item in contents.of_type(kind) if item.attributes.get(name) == resource.id]:
                    del contents.resources[inner.key]


@dataclass
class Account:
    """A home whose only target is the pretended AWS, and what was told while something was done with it."""

    home: Path
    session: Session
    told: list[Progress]

    @property
    def world(self) -> World:
        return World(self.home)

    def faults(self, *rules: str) -> None:
        self.world.folder.mkdir(parents=True, exist_ok=True)
        if not rules:
            self.world.faults_path.unlink(missing_ok=True)
            return
        self.world.faults_path.write_text("faults:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules))

    def compiled(self, text: str, name: str = "task") -> tuple[Request, Compilation]:
        path = self.home.parent / f"{name}.yaml"
        path.write_text(text)
        request = Request(path=path, env={}, secrets={})
        return request, compiled(self.session, request)

    def up(self, text: str, name: str = "task") -> Planned:
        """What `apply` does until the machines are there."""
        return make(self.session, *self.compiled(text, name))

    def machines(self, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
        """(zone, type) of every machine there is but those with these ids, sorted."""
        found = []
        for item in self.world.resources("aws_instance"):
            if item.id in without:
                continue
            subnet = self.world.read().find(item.attributes["subnet_id"], "aws_subnet")
            assert subnet is not None, "a machine outside of any network"
            found.append((str(subnet.attributes["availability_zone_id"]), str(item.attributes["instance_type"])))
        return sorted(found)

    def lines(self) -> list[str]:
        return [progress.text for progress in self.told]


def make(session: Session, request: Request, compilation: Compilation) -> Planned:
    """Plan and make, without asking and without a job."""
    deployment = compilation.deployment
    with locked(session, deployment, command="skyc apply", wait=0) as lock_fd:
        context = site_context(session, deployment, lock_fd, compilation)
        with planned(session, request, compilation, context) as plan:
            refuse_running(session, plan)
            return applying._make(session, plan, request) if plan.has_changes else plan


@contextlib.contextmanager
def opened(home: Path, environ: Mapping[str, str] | None = None, **providers: Any) -> Iterator[Account]:
    home.mkdir(mode=0o700, exist_ok=True)
    told: list[Progress] = []
    with StateStore(home) as store:
        session = Session(home=home, store=store, environ=dict(environ or os.environ), on_progress=told.append)
        session.__dict__["providers"] = providers or {"aws": SimulatedAws()}
        yield Account(home=home, session=session, told=told)
