"""The target `local`: this machine, shared out into Ray nodes that listen on loopback only."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error, warning
from ...compiler.ir import (
    DeploymentId,
    DriftTable,
    Failure,
    FrozenMap,
    GroupPlacement,
    Rename,
    ResourceGraph,
    Task,
    decimal_text,
)
from ...compiler.ir.catalog import CatalogPart
from ..base import Attachment, Capability, CheckReport, ImageReach, LowerContext, Node, OwnedResource, Transport
from ..bucketless import Bucketless
from ..errors import NO_WORDS, read
from . import catalog, storage
from .lower import TYPE, lower
from .moved import MOVED

DEFINITION = "skyc.providers.local.node:definition"
_SHARED_MEMORY_LEAST = 128 * 1024**2


class LocalProvider(Bucketless):
    """See `providers.base.Provider`."""

    name = catalog.PROVIDER
    opens = frozenset({"file"})
    zone_names = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.LOWER, Capability.RUN, Capability.MULTI_NODE, Capability.THIS_MACHINE})

    def on_request(self, region: str) -> bool:
        return False

    def catalog(self, *, home: Path) -> CatalogPart:
        return catalog.snapshot(catalog.machine(), catalog.price(home))

    def check(self, *, home: Path) -> CheckReport:
        """Facts of this machine, and what a local node would miss on it."""
        machine = catalog.machine()
        diagnostics = tuple(_missing())
        facts = {
            "cpus": str(machine.cpus),
            "memory_gb": decimal_text(machine.memory_gb),
            "accelerators": ", ".join(f"{a.name}:{decimal_text(a.count)}" for a in machine.accelerators) or "none",
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "home": str(home),
        }
        try:
            facts["price_per_hour"] = decimal_text(catalog.price(home).hourly)
        except SkycError as failure:
            diagnostics += failure.diagnostics
        usable = not any(diagnostic.severity.name == "ERROR" for diagnostic in diagnostics)
        return CheckReport(provider=self.name, usable=usable, facts=FrozenMap(facts), diagnostics=diagnostics)

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        return lower(task, placements, context)

    def image_reach(self, image: str) -> ImageReach | None:
        return None

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        """The provider is ours and is tested with what is lowered here."""
        return ()

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        return ()

    @contextlib.contextmanager
    def attach(self, *, home: Path) -> Iterator[tuple[Attachment, ...]]:
        """skyc's own Terraform provider, for the length of the context."""
        from ..tfplugin.attach import attach

        with attach(DEFINITION, home=home) as attachment:
            yield (attachment,)

    def nodes(self, outputs: Mapping[str, Any]) -> tuple[Node, ...]:
        """Nodes by rank. The output of a site that was never applied, or was destroyed, is missing: no nodes."""
        return tuple(sorted((_node(item) for item in outputs.get("nodes") or ()), key=lambda node: node.rank))

    def transport(self, node: Node) -> AbstractContextManager[Transport]:
        from .transport import LocalTransport

        return contextlib.nullcontext(LocalTransport(node))

    def failures(self, diagnostics: Sequence[Diagnostic], region: str = "") -> tuple[Failure, ...]:
        """This machine has no error codes, and no other machine to go to."""
        return read(diagnostics, NO_WORDS)

    def quota_pool(self, placement: GroupPlacement) -> str:
        return NO_WORDS.pool(placement)

    def storage_uri(self, name: str, *, home: Path) -> str:
        return storage.uri(home, name)

    def shell(self, node: Node, command: str | None) -> tuple[str, ...]:
        environment = ("env", f"HOME={node.directory}/home", f"PATH={node.user_bin}:{os.environ.get('PATH', os.defpath)}")
        return (*environment, "-C", f"{node.directory}/workdir", "bash", *(("-c", command) if command is not None else ("-i",)))

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        """Nothing is left to do: Terraform calls a local node made when its Ray answers."""

    def cannot_stop(self, nodes: Sequence[Node], *, lose_local: bool, home: Path) -> tuple[Diagnostic, ...]:
        return (_never_stops(),)

    def stop(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        raise SkycError(_never_stops())

    def start(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        raise SkycError(_never_stops())

    def renames(self) -> tuple[Rename, ...]:
        return MOVED

    def drift_table(self) -> DriftTable:
        from ..drift import table_of

        return table_of(Path(__file__).parent, None)

    def health(self, node: Node, *, home: Path) -> str:
        """`healthy`, `dead: <why>`, or `gone`; `elsewhere` for one of a home that is not on this machine."""
        from . import cluster, lifecycle

        # <home>/deployments/<deployment>/nodes/<name>; the home is another one where a state is shared.
        place = Path(node.directory)
        deployment = DeploymentId(place.parents[1].name)
        its_home = place.parents[3]
        if its_home != home and not its_home.is_dir():
            return "elsewhere"
        try:
            records = lifecycle.find_records(its_home, deployment)
        except lifecycle.NodeError as failure:
            raise _as_error(failure) from failure
        return next((cluster.health(record) for record in records if record.id == node.id), "gone")

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        from . import lifecycle

        try:
            records = lifecycle.find_records(home, deployment)
        except lifecycle.NodeError as failure:
            raise _as_error(failure) from failure
        found = [
            OwnedResource(id=record.id, type=TYPE, name=record.name, deployment=deployment, detail=record.status)
            for record in records
        ]
        found += [
            OwnedResource(
                id=f"bare:{directory.name}", type=TYPE, name=directory.name, deployment=deployment, detail="no record"
            )
            for directory in lifecycle.bare_directories(home, deployment)
        ]
        return tuple(sorted(found, key=lambda resource: resource.id))

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        from . import lifecycle

        try:
            for record in lifecycle.find_records(home, resource.deployment):
                if record.id == resource.id:
                    lifecycle.delete(record)
            for directory in lifecycle.bare_directories(home, resource.deployment):
                if resource.id == f"bare:{directory.name}":
                    lifecycle.remove_bare(directory, home)
        except lifecycle.NodeError as failure:
            raise _as_error(failure) from failure


def _never_stops() -> Diagnostic:
    return error(
        "cannot-stop",
        "Nodes on this machine are not stopped",
        "They are processes here: there is no machine to stop, and nothing to save.",
        hint="`skyc cancel` stops jobs, `skyc destroy` removes the nodes",
    )


def _as_error(failure: Exception) -> SkycError:
    return SkycError(
        error("local-node-stuck", getattr(failure, "summary", "a local node"), getattr(failure, "detail", f"{failure}"))
    )


def _node(item: Mapping[str, Any]) -> Node:
    return Node(
        id=str(item["id"]),
        name=str(item["name"]),
        group=str(item["group"]),
        rank=int(item["rank"]),
        ip=str(item["ip"]),
        directory=str(item["directory"]),
        python=str(item["python_path"]),
        user_bin=str(item["user_bin"]),
        gcs_port=int(item["gcs_port"]),
        dashboard_port=int(item["dashboard_port"]),
        agent_port=int(item["agent_port"]),
        cpus=float(item["cpus"]),
        memory_mb=int(item["memory_mb"]),
        accelerators=FrozenMap({str(name): int(count) for name, count in (item.get("accelerators") or {}).items()}),
        health=str(item["health"]),
    )


def _missing() -> Iterator[Diagnostic]:
    """What a local node needs and this machine lacks."""
    if not sys.platform.startswith("linux"):
        yield error(
            "needs-linux",
            "Local nodes run on Linux only",
            f"This is {sys.platform}. A local node's processes are followed through Linux's process table.",
            hint="choose another `infra`",
        )
        return
    if shutil.which("bash") is None:
        yield error("needs-bash", "bash is missing", "Setup and run commands, and the node's own setup, are bash scripts.")
    try:
        import uv

        uv.find_uv_bin()
    except (ImportError, FileNotFoundError) as failure:
        yield error("needs-uv", "uv is missing", f"Node environments are made with it: {failure}", hint="reinstall skyc")
    try:
        shared = shutil.disk_usage("/dev/shm").free  # noqa: S108
    except OSError:
        shared = 0
    if shared < _SHARED_MEMORY_LEAST:
        yield warning(
            "little-shared-memory",
            "Shared memory is small",
            f"{shared // 1024**2} MiB are free in shared memory; Ray then keeps objects on disk in /tmp, which is slower.",
        )
