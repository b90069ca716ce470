"""lower: placements become Terraform resources, one graph per site.

Contract: pure, given the providers. A site is a task's placement at one provider and region (DESIGN D6). The compiler asks
providers through `providers.base` and never knows one by name. `verify` states what every graph must hold; a failure there is
our bug, not the user's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from ..providers.base import Access, Capability, LowerContext, Provider
from .diagnostics import Diagnostic, SourceMap, located
from .ir import (
    DeploymentId,
    FrozenMap,
    GroupPlacement,
    NodeRuntime,
    PlacementPlan,
    Ref,
    ResourceGraph,
    SiteId,
    Task,
    TaskGraph,
    Value,
)


class GraphInvariantError(Exception):
    """A provider lowered to a graph that breaks an invariant. A bug of ours: please report it with `--emit=lower`."""


def lower(
    graph: TaskGraph,
    plan: PlacementPlan,
    providers: Mapping[str, Provider],
    *,
    deployment: DeploymentId,
    home: str,
    runtime: NodeRuntime,
    sources: SourceMap,
    access: Callable[[DeploymentId], Access] = lambda deployment: Access(),
    images: FrozenMap[str] | None = None,
    offline: bool = False,
    versions: Mapping[str, str] | None = None,
) -> tuple[tuple[ResourceGraph, ...], tuple[Diagnostic, ...]]:
    """One ResourceGraph per (task, provider, region), in task order.

    sources: the user's lines, for what a provider finds wrong with a graph. access: keys and ranges of a deployment, asked for
    only when a target needs them. images: `LowerContext.images`. versions: Terraform
    provider source → version to use instead of the pinned one.
    """
    graphs: list[ResourceGraph] = []
    diagnostics: list[Diagnostic] = []
    access_of = cache(access)
    for task in graph.tasks:
        for (provider_name, region), placements in _sites(task, plan):
            provider = providers[provider_name]
            context = LowerContext(
                deployment=deployment,
                site=site_id(task, provider_name, region),
                home=home,
                runtime=runtime,
                access=access_of(deployment) if Capability.LOGIN in provider.capabilities else Access(),
                images=images or FrozenMap(),
                plan=plan.digest[:12],
                offline=offline,
            )
            lowered, said = provider.lower(task, placements, context)
            # A provider sees no file; it names the field, and the file's place is put in here.
            diagnostics += [located(diagnostic, sources) for diagnostic in said]
            if lowered is not None:
                verify(lowered)
                diagnostics += provider.check_graph(lowered, sources)
                graphs.append(_with_versions(lowered, versions or {}))
    return tuple(graphs), tuple(dict.fromkeys(diagnostics))


def _with_versions(graph: ResourceGraph, versions: Mapping[str, str]) -> ResourceGraph:
    needs = tuple(dataclasses.replace(need, version=versions.get(need.source, need.version)) for need in graph.requirements)
    return dataclasses.replace(graph, requirements=needs)


def site_id(task: Task, provider: str, region: str) -> SiteId:
    """`digits.local`, `train.aws-us-east-1`: a file name on every system."""
    place = provider if provider == region else f"{provider}-{region}"
    return SiteId(f"{task.id}.{place}")


def _sites(task: Task, plan: PlacementPlan) -> Iterator[tuple[tuple[str, str], tuple[GroupPlacement, ...]]]:
    mine = [placement for placement in plan.placements if placement.task == task.id]
    for key in sorted({(placement.provider, placement.region) for placement in mine}):
        yield key, tuple(placement for placement in mine if (placement.provider, placement.region) == key)


def verify(graph: ResourceGraph) -> None:
    """Invariants of a ResourceGraph, checked after lowering:

    - addresses are unique and resources are sorted by address, so that equal graphs print equally;
    - every Ref and dependency names a resource of the same graph (a root module has no other) and never itself;
    - each resource type belongs to a required provider, and versions are exact;
    - the output `nodes` exists: the runtime needs it.

    Raises GraphInvariantError.
    """
    addresses = [str(node.address) for node in graph.resources]
    if len(set(addresses)) != len(addresses):
        raise GraphInvariantError(f"{graph.site}: two resources share an address")
    if addresses != sorted(addresses):
        raise GraphInvariantError(f"{graph.site}: resources are not sorted by address")
    known = set(addresses)
    for node in graph.resources:
        for ref in _refs(node.arguments):
            if str(ref.address) not in known or ref.address == node.address:
                raise GraphInvariantError(f"{graph.site}: {node.address} refers to {ref}, which this graph cannot resolve")
        for dependency in node.depends_on:
            if str(dependency) not in known:
                raise GraphInvariantError(f"{graph.site}: {node.address} depends on {dependency}, which is not in this graph")
        if not any(node.address.type.startswith(f"{need.name}_") for need in graph.requirements):
            raise GraphInvariantError(f"{graph.site}: no required provider serves {node.address.type}")
    for need in graph.requirements:
        if not need.version or need.version[0] not in "0123456789":
            raise GraphInvariantError(f"{graph.site}: provider {need.source} is not pinned to one version")
    if "nodes" not in graph.outputs:
        raise GraphInvariantError(f"{graph.site}: the output `nodes` is missing")


def _refs(value: Value) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, FrozenMap):
        for item in value.values():
            yield from _refs(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs(item)
