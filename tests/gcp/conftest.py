"""Graphs as the compiler makes them for Google Cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import Diagnostic, SourceFile, has_errors
from skyc.compiler.ir import DeploymentId, FrozenMap, NodeRuntime, ResourceGraph
from skyc.compiler.pipeline import CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.providers.base import Access
from skyc.providers.gcp.provider import GcpProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMmZNUzMPo2ZQHHzPcCOSbs4vSo2KPNpqsk4PTQaWc7 skyc"
ACCESS = Access(ssh_from=("203.0.113.7/32",), login_key=KEY, host_key="the one-time key\n", host_key_public=KEY)


def said(text: str, home: Path, **options: Any) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
    """The one graph of a task at Google Cloud, and what was said. Machine and zone should be named: prices change."""
    made, diagnostics = _compiled(text, home, **options)
    return (made[0] if made else None), diagnostics


def graphs(text: str, home: Path, **options: Any) -> tuple[ResourceGraph, ...]:
    """All of them, buckets first."""
    made, diagnostics = _compiled(text, home, **options)
    assert not has_errors(diagnostics), diagnostics
    return made


def _compiled(text: str, home: Path, **options: Any) -> tuple[tuple[ResourceGraph, ...], tuple[Diagnostic, ...]]:
    access = options.pop("access", ACCESS)
    made = compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={"gcp": GcpProvider()},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: access,
            **options,
        ),
        until="lower",
    )
    return made.graphs or (), made.diagnostics


def compiled(text: str, home: Path, **options: Any) -> ResourceGraph:
    graph, diagnostics = said(text, home, **options)
    assert graph is not None and not has_errors(diagnostics), diagnostics
    return graph


def of_type(graph: ResourceGraph, type_: str) -> dict[str, FrozenMap[Any]]:
    """Name → arguments."""
    return {node.address.name: node.arguments for node in graph.resources if node.address.type == type_}
