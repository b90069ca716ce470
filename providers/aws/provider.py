"""The target `aws`. Machines can be planned, made by Terraform and removed; starting jobs on them comes later (`Capability.RUN`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error
from ...compiler.ir import DeploymentId, FrozenMap, GroupPlacement, ResourceGraph, Task
from ..base import Capability, CheckReport, LowerContext, Node, OwnedResource
from ..priced import PricedProvider
from ..retry import Schedule, SourceFailure
from .errors import WORDS
from .facts import PROVIDER

if TYPE_CHECKING:
    from .inventory import Inventory


class AwsProvider(PricedProvider):
    name = PROVIDER
    words = WORDS

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(
            {
                Capability.LOWER,
                Capability.LOGIN,
                Capability.SPOT,
                Capability.MULTI_NODE,
                Capability.DISK_SIZE,
                Capability.OPEN_PORTS,
                Capability.CUSTOM_IMAGE,
            }
        )

    def check(self, *, home: Path) -> CheckReport:
        """Not usable for jobs yet; whether a plan could ask AWS is a fact beside it."""
        priced = super().check(home=home)
        facts = {**priced.facts, "state": "plans, starts no jobs yet"}
        return CheckReport(provider=self.name, usable=False, facts=FrozenMap(facts), diagnostics=priced.diagnostics)

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        from .lower import lower

        return lower(task, placements, context)

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        from .lower import check_graph

        return check_graph(graph, sources)

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        """Credentials, as the AWS tools find them. Without boto3 that is left to Terraform, which looks in the same places."""
        from .client import NO_BOTO3, session_here

        found = session_here()
        if not isinstance(found, str) or found == NO_BOTO3:
            return ()
        return (
            error(
                "not-logged-in",
                "The target cannot be asked from here",
                f"A plan is compared with what exists, and `aws` tells that only to an account. {found}",
                hint="`skyc plan --offline` needs no account: it says whether the result is schema-valid, and compares nothing",
                commands=("aws configure",),
            ),
        )

    def nodes(self, outputs: Mapping[str, Any]) -> tuple[Node, ...]:
        """Raises nothing for a site without outputs: it has no nodes."""
        found = [Node(**{**row, "accelerators": FrozenMap(row["accelerators"])}) for row in outputs.get("nodes") or ()]
        return tuple(sorted(found, key=lambda node: node.rank))

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """In the regions where the home knows a site of the deployment; elsewhere it made nothing. Raises SkycError when those
        cannot be asked: nobody may take that for nothing being there."""
        regions = _regions(deployment, home)
        if not regions:
            return ()
        try:
            return _inventory().observe(deployment, regions)
        except SourceFailure as failure:
            raise SkycError(_not_asked(failure)) from None

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        try:
            _inventory().remove(resource)
        except SourceFailure as failure:
            raise SkycError(_not_asked(failure)) from None

    def storage_uri(self, name: str, *, home: Path) -> str:
        from .storage import no_place

        raise SkycError(no_place(name))


def _regions(deployment: DeploymentId, home: Path) -> tuple[str, ...]:
    """From the names of the deployment's site folders: `train.aws-us-east-1`."""
    mark = f".{PROVIDER}-"
    folders = (home / "deployments" / deployment / "sites").glob(f"*{mark}*")
    return tuple(sorted({folder.name.partition(mark)[2] for folder in folders}))


def _inventory() -> Inventory:
    """Raises SkycError when the account cannot be asked."""
    return _inventory_in(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=1)
def _inventory_in(environ: tuple[tuple[str, str], ...]) -> Inventory:
    """Kept, because reading what botocore knows of a service takes a second. `environ` is what a session depends on."""
    from .client import Account, session_here
    from .inventory import Inventory

    session = session_here()
    if isinstance(session, str):
        raise SkycError(_cannot_look(session))
    return Inventory(Account(session, Schedule()))


def _cannot_look(why: str) -> Diagnostic:
    return error(
        "cannot-observe",
        "What exists at a target cannot be seen",
        f"The deployment has, or had, machines at `{PROVIDER}`. {why} Whether something is left there is not known.",
        hint="set the credentials up, then run the command again",
    )


def _not_asked(failure: SourceFailure) -> Diagnostic:
    return _cannot_look(f"{str(failure)[:1].upper()}{str(failure)[1:]}.")
