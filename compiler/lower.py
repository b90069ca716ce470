"""lower: placements become Terraform resources, one graph per site.

Contract: pure, given the providers. A site is a task's placement at one provider and region (DESIGN D6), or the deployment's
buckets in one region. The compiler asks
providers through `providers.base` and never knows one by name. `verify` states what every graph must hold; a failure there is
our bug, not the user's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..providers.base import Access, Capability, LowerContext, NetworkChoice, Provider, chosen_network
from .buckets import Bucket, with_uris
from .diagnostics import Diagnostic, SourceMap, located
from .ir import (
    BUCKET_FACTS,
    DeploymentId,
    FrozenMap,
    GroupPlacement,
    Joined,
    NodeRuntime,
    PlacementPlan,
    Ref,
    ResourceGraph,
    SiteId,
    Task,
    TaskGraph,
    Value,
    holds_storage,
    site_place,
)


class GraphInvariantError(Exception):
    """A provider lowered to a graph that breaks an invariant. A bug of ours: please report it with `--emit=lower`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """What lowering depends on besides the tasks and their placements."""

    providers: Mapping[str, Provider]
    deployment: DeploymentId
    home: str
    runtime: NodeRuntime
    sources: SourceMap
    """The user's lines, for what a provider finds wrong with a graph."""
    access: Callable[[DeploymentId], Access] = lambda deployment: Access()
    """Keys and ranges of a deployment, asked for only when a target needs them."""
    networks: Mapping[tuple[str, str], NetworkChoice] = field(default_factory=dict)
    """(provider, region) → what is said of the machines' network there."""
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    """See `LowerContext.images`."""
    offline: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    """Terraform provider source → version to use instead of the pinned one."""

    def task(
        self, task: Task, placements: tuple[GroupPlacement, ...], buckets: tuple[Bucket, ...], plan: str
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        """One site: a task's placements in one region, as their provider makes them. plan: see `LowerContext.plan`."""
        name, region = placements[0].provider, placements[0].region
        provider = self.providers[name]
        login = self.access(self.deployment) if Capability.LOGIN in provider.capabilities else Access()
        context = self.context(site_id(task, name, region), login, plan, chosen_network(self.networks, provider, region))
        # Rented machines get an identity of their own cloud, and nobody gives that rights at another one: to them it is no place.
        near = tuple(
            bucket for bucket in buckets if bucket.location.provider == name or Capability.LOGIN not in provider.capabilities
        )
        return provider.lower(with_uris(task, near), placements, context)

    def context(self, site: SiteId, access: Access, plan: str, network: NetworkChoice | None = None) -> LowerContext:
        network = network or NetworkChoice()
        return LowerContext(
            deployment=self.deployment,
            site=site,
            home=self.home,
            runtime=self.runtime,
            access=access,
            network=network.existing,
            public=network.public,
            images=self.images,
            plan=plan,
            offline=self.offline,
        )


def lower(
    graph: TaskGraph, plan: PlacementPlan, how: Lowering, *, buckets: tuple[Bucket, ...] = ()
) -> tuple[tuple[ResourceGraph, ...], tuple[Diagnostic, ...]]:
    """One ResourceGraph per region with buckets, then one per (task, provider, region), in task order: the order of an apply."""
    graphs: list[ResourceGraph] = []
    diagnostics: list[Diagnostic] = []
    short = plan.digest[:12]

    def add(provider: Provider, made: tuple[ResourceGraph | None, tuple[Diagnostic, ...]]) -> None:
        lowered, said = made
        # A provider sees no file; it names the field, and the file's place is put in here.
        diagnostics.extend(located(diagnostic, how.sources) for diagnostic in said)
        if lowered is not None:
            verify(lowered)
            diagnostics.extend(provider.check_graph(lowered, how.sources))
            graphs.append(_with_versions(lowered, how.versions))

    for site, here in _bucket_sites(buckets):
        provider, place = how.providers[here[0].location.provider], here[0].location
        storages = tuple(bucket.storage for bucket in here)
        add(provider, provider.lower_storages(storages, place.region, how.context(site, Access(), short)))
    for task in graph.tasks:
        for (name, _), placements in _sites(task, plan):
            add(how.providers[name], how.task(task, placements, buckets, short))
    return tuple(graphs), tuple(dict.fromkeys(diagnostics))


def _bucket_sites(buckets: tuple[Bucket, ...]) -> Iterator[tuple[SiteId, tuple[Bucket, ...]]]:
    for site in sorted({bucket.site for bucket in buckets}):
        yield site, tuple(bucket for bucket in buckets if bucket.site == site)


def _with_versions(graph: ResourceGraph, versions: Mapping[str, str]) -> ResourceGraph:
    needs = tuple(dataclasses.replace(need, version=versions.get(need.source, need.version)) for need in graph.requirements)
    return dataclasses.replace(graph, requirements=needs)


def site_id(task: Task, provider: str, region: str) -> SiteId:
    """`digits.local`, `train.aws-us-east-1`: a file name on every system."""
    return SiteId(f"{task.id}.{site_place(provider, region)}")


def _sites(task: Task, plan: PlacementPlan) -> Iterator[tuple[tuple[str, str], tuple[GroupPlacement, ...]]]:
    mine = [placement for placement in plan.placements if placement.task == task.id]
    for key in sorted({(placement.provider, placement.region) for placement in mine}):
        yield key, tuple(placement for placement in mine if (placement.provider, placement.region) == key)


def verify(graph: ResourceGraph) -> None:
    """Invariants of a ResourceGraph, checked after lowering:

    - addresses are unique and resources are sorted by address, so that equal graphs print equally;
    - every Ref and dependency names a resource of the same graph (a root module has no other) and never itself;
    - each resource type belongs to a required provider, and versions are exact;
    - a move leads from an address that is not in the graph to one of the same type that is;
    - a task's site has the output `nodes`, and a site of buckets `storages` with BUCKET_FACTS of each: the runtime needs them.

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
    for move in graph.moves:
        if str(move.before) in known or str(move.after) not in known or move.before.type != move.after.type:
            raise GraphInvariantError(f"{graph.site}: {move.before} cannot be moved to {move.after}")
    needed = "storages" if holds_storage(graph.site) else "nodes"
    if needed not in graph.outputs:
        raise GraphInvariantError(f"{graph.site}: the output `{needed}` is missing")
    if holds_storage(graph.site):
        _verify_storages(graph)


def _verify_storages(graph: ResourceGraph) -> None:
    said = graph.outputs["storages"]
    rows = said.values() if isinstance(said, FrozenMap) else (None,)
    for row in rows:
        if not isinstance(row, FrozenMap) or tuple(sorted(row)) != BUCKET_FACTS or not isinstance(row["id"], Ref):
            raise GraphInvariantError(
                f"{graph.site}: the output `storages` does not say {', '.join(BUCKET_FACTS)} of each bucket"
            )


def _refs(value: Value) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Joined):
        yield from (part for part in value.parts if isinstance(part, Ref))
    elif isinstance(value, FrozenMap):
        for item in value.values():
            yield from _refs(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs(item)
