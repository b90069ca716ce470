"""Graphs as the compiler makes them for IBM."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import SourceFile, has_errors
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
from skyc.providers.base import Access, LowerContext
from skyc.providers.ibm.provider import IbmProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
ACCESS = Access(ssh_from=("203.0.113.7/32",), login_key=KEY, host_key="the one-time key\n", host_key_public=KEY)
IMAGE = "r000-00000000-0000-4000-a000-000000000001"
GPU_IMAGE = "r000-00000000-0000-4000-a000-000000000002"
IMAGES = FrozenMap({"ibm/us-south": IMAGE, "ibm/us-south/gpu": GPU_IMAGE})
REGIONS = ("au-syd", "br-sao", "ca-tor", "eu-de", "eu-gb", "jp-osa", "jp-tok", "us-east", "us-south")

TASK = """\
name: train
resources: {infra: ibm/us-south/us-south-1, instance_type: bx2-8x32, ports: [8080]}
num_nodes: 2
run: echo hi
"""


def compilation(text: str, home: Path, *, access: Access = ACCESS, deployment: str = "demo", **options: Any) -> Compilation:
    """A task at IBM, as far as lowering. Machine and zone should be named: prices change."""
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={"ibm": IbmProvider()},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId(deployment),
            access=lambda _: access,
            **{"images": IMAGES, **options},
        ),
        until="lower",
    )


def compiled(text: str, home: Path, **options: Any) -> ResourceGraph:
    """The one graph of a task that can be compiled."""
    made = compilation(text, home, **options)
    assert not has_errors(made.diagnostics), made.diagnostics
    assert made.graphs is not None
    (graph,) = made.graphs
    return graph


def slugs(text: str, home: Path, **options: Any) -> list[str]:
    return [found.slug for found in compilation(text, home, **options).diagnostics]


def of_type(graph: ResourceGraph, type_: str) -> dict[str, FrozenMap[Any]]:
    return {node.address.name: node.arguments for node in graph.resources if node.address.type == type_}


def changed(graph: ResourceGraph, address: str, **arguments: Any) -> ResourceGraph:
    """The graph with some arguments of one resource replaced; None takes one away."""
    assert any(str(node.address) == address for node in graph.resources), address
    nodes = tuple(
        replace(
            node,
            arguments=FrozenMap({key: value for key, value in {**node.arguments, **arguments}.items() if value is not None}),
        )
        if str(node.address) == address
        else node
        for node in graph.resources
    )
    return replace(graph, resources=nodes)


# Machines by their placement, which no price stands in the way of


def context(region: str) -> LowerContext:
    return LowerContext(
        deployment=DeploymentId("demo"),
        site=SiteId(f"train.ibm-{region}"),
        home="/home/me/.skyc",
        runtime=NodeRuntime(python="3.11"),
        access=ACCESS,
        images=FrozenMap({f"ibm/{region}": IMAGE, f"ibm/{region}/gpu": GPU_IMAGE}),
    )


def placed(kind: InstanceType, region: str, market: Market = Market.ON_DEMAND) -> tuple[Task, GroupPlacement]:
    origin = SpecPath(("resources",))
    group = NodeGroup(
        name=GroupName("main"),
        origin=origin,
        num_nodes=2,
        requests=(ResourceRequest(origin=origin),),
        ordered=False,
        run="true",
    )
    task = Task(
        id=TaskId("train"),
        origin=SpecPath(("name",)),
        groups=(group,),
        setup="",
        envs=FrozenMap(),
        secrets=(),
        workdir=None,
    )
    shape = NodeShape(cpus=kind.cpus, memory_gb=kind.memory_gb, accelerators=kind.accelerators)
    placement = GroupPlacement(
        task=task.id,
        group=group.name,
        provider="ibm",
        region=region,
        zone=f"{region}-1",
        instance_type=kind.name,
        market=market,
        num_nodes=2,
        shape=shape,
        hourly=None,
        hours=Decimal(1),
        lines=(),
    )
    return task, placement
