"""Graphs as the compiler makes them for IBM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import SourceFile, has_errors
from skyc.compiler.ir import DeploymentId, FrozenMap, NodeRuntime, ResourceGraph
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.base import Access
from skyc.providers.ibm.provider import IbmProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
ACCESS = Access(ssh_from=("203.0.113.7/32",), login_key=KEY, host_key="the one-time key\n", host_key_public=KEY)
IMAGE = "r006-00000000-0000-4000-a000-000000000001"
GPU_IMAGE = "r006-00000000-0000-4000-a000-000000000002"
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
