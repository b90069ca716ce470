"""Graphs as the compiler makes them for Azure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import Diagnostic, SourceFile, has_errors
from skyc.compiler.ir import (
    DeploymentId,
    FrozenMap,
    GroupName,
    GroupPlacement,
    InstanceType,
    Market,
    NodeGroup,
    NodeRuntime,
    NodeShape,
    ResourceGraph,
    ResourceRequest,
    SiteId,
    SpecPath,
    Task,
    TaskId,
)
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.azure.sizes import size_of
from skyc.providers.base import Access, LowerContext

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
ACCOUNTS = {
    name: f"/subscriptions/{SUBSCRIPTION}/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/{name}"
    for name in ("teamdata", "teamout")
}
ACCESS = Access(
    ssh_from=("203.0.113.7/32",),
    login_key=KEY,
    host_key="the one-time key\n",
    host_key_public=KEY,
    storage_accounts=FrozenMap(ACCOUNTS),
)


def said_of(text: str, home: Path, **options: Any) -> tuple[tuple[ResourceGraph, ...], tuple[Diagnostic, ...]]:
    """What is made of a task at Azure, and what is said. The machine should be named: prices change."""
    made = compilation(text, home, **options)
    return made.graphs or (), made.diagnostics


def compilation(text: str, home: Path, *, access: Access = ACCESS, deployment: str = "demo", **options: Any) -> Compilation:
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={"azure": AzureProvider()},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId(deployment),
            access=lambda _: access,
            **options,
        ),
        until="lower",
    )


def compiled(text: str, home: Path, **options: Any) -> ResourceGraph:
    """The one graph of a task."""
    graphs, said = said_of(text, home, **options)
    assert not has_errors(said), said
    (graph,) = graphs
    return graph


def of_type(graph: ResourceGraph, type_: str) -> dict[str, FrozenMap[Any]]:
    return {node.address.name: node.arguments for node in graph.resources if node.address.type == type_}


def changed(graph: ResourceGraph, address: str, **arguments: Any) -> ResourceGraph:
    nodes = tuple(
        replace(node, arguments=FrozenMap({**node.arguments, **arguments})) if str(node.address) == address else node
        for node in graph.resources
    )
    assert nodes != graph.resources, f"there is no {address}, or it is like that already"
    return replace(graph, resources=nodes)


def placed(
    kind: InstanceType,
    *,
    nodes: int = 1,
    network: str | None = None,
    zone: str | None = None,
    market: Market = Market.ON_DEMAND,
    image: str | None = None,
) -> tuple[Task, GroupPlacement]:
    """One node of it, or more, with the best disk it takes."""
    origin = SpecPath(("resources",))
    tier = "best" if size_of(kind.name).premium else "medium"
    request = ResourceRequest(origin=origin, disk_tier=tier, network_tier=network, image_id=image)
    group = NodeGroup(name=GroupName("main"), origin=origin, num_nodes=nodes, requests=(request,), ordered=False, run="true")
    task = Task(id=TaskId("sample"), origin=origin, groups=(group,), setup="", envs=FrozenMap(), secrets=(), workdir=None)
    placement = GroupPlacement(
        task=task.id,
        group=group.name,
        provider="azure",
        region="eastus",
        zone=zone,
        instance_type=kind.name,
        market=market,
        num_nodes=nodes,
        shape=NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators),
        hourly=None,
        hours=Decimal(1),
        lines=(),
    )
    return task, placement


def context(home: Path) -> LowerContext:
    return LowerContext(
        deployment=DeploymentId("demo"),
        site=SiteId("sample.azure-eastus"),
        home=str(home),
        runtime=NodeRuntime(python="3.11"),
        access=ACCESS,
        plan="0123456789ab",
    )
