"""What the tests of all clouds ask of a graph whose head alone has a public address."""

from __future__ import annotations

from typing import Any

from skyc.compiler.ir import FrozenMap, ResourceGraph


def bare(graph: ResourceGraph) -> dict[str, Any]:
    """Address → arguments, without tags and labels, one of which is the plan's: another price is another plan."""
    return {
        str(node.address): {name: value for name, value in node.arguments.items() if name not in ("labels", "tags")}
        for node in graph.resources
    }


def addresses(graph: ResourceGraph) -> list[bool]:
    """Of each node of the output, head first: whether it has one."""
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple)
    return [row["address"] != "" for row in nodes if isinstance(row, FrozenMap)]
