"""The target `aws`. Machines can be planned, made by Terraform and removed; starting jobs on them comes later (`Capability.RUN`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error
from ...compiler.ir import FrozenMap, GroupPlacement, ResourceGraph, Task
from ..base import Capability, CheckReport, LowerContext, Node
from ..priced import PricedProvider
from .facts import PROVIDER


class AwsProvider(PricedProvider):
    name = PROVIDER

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

    def storage_uri(self, name: str, *, home: Path) -> str:
        from .storage import no_place

        raise SkycError(no_place(name))
