"""Buckets: which Storages of a file skyc makes a place for, and where each of them is.

Contract: pure. A Storage that names no URI gets a bucket where one of these is true, in this order: it has one already; the task
file or the optimizer says a place; a task that uses it runs at a target that has buckets. Everywhere else the target of its task
says where it lies (`Provider.storage_uri`). What has a bucket stays where it is: data is never moved by a new price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from ..providers.base import Capability, Provider
from .diagnostics import Diagnostic, SourceMap, error
from .ir import (
    Catalog,
    DataFlow,
    DeploymentId,
    Infra,
    Location,
    PlacementPlan,
    SiteId,
    SpecPath,
    Storage,
    Task,
    TaskGraph,
    storage_site,
)
from .ir.catalog import ANY_REGION

MARK = "0000000000"
"""The deployment's mark where nothing is ever made: offline plans and tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBucket:
    """A bucket the deployment has already. `persistent`: it outlives the deployment."""

    name: str
    """Of its Storage."""
    provider: str
    region: str
    persistent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A Storage for which skyc makes a place. `storage.uri` says which."""

    storage: Storage
    location: Location
    gb_month: Decimal | None = None
    """US dollars for a GB kept a month, in the first step of the price; None: unknown."""
    named: bool = True
    """The task file still names it. A persistent one that it does not name any more stays."""

    @property
    def site(self) -> SiteId:
        return storage_site(self.location.provider, self.location.region)

    @property
    def monthly(self) -> Decimal | None:
        """US dollars a month for its declared size; None when the size or the price is unknown."""
        size = self.storage.size_gb
        return None if size is None or self.gb_month is None else size * self.gb_month


def settled(graph: TaskGraph, known: tuple[KnownBucket, ...], sources: SourceMap) -> tuple[TaskGraph, tuple[Diagnostic, ...]]:
    """The graph with every Storage that has a bucket bound to its place, for the optimizer. A file that now says another place
    is an error: skyc moves no data."""
    where = {bucket.name: bucket for bucket in known}
    said: dict[str, Diagnostic] = {}

    def bound(storage: Storage) -> Storage:
        bucket = where.get(storage.name)
        if bucket is None or storage.uri is not None:
            return storage
        wanted = storage.infra
        if wanted.provider not in (None, bucket.provider) or wanted.region not in (None, bucket.region):
            said[storage.name] = _moved(storage, bucket, sources)
            return storage
        return replace(storage, auto=False, infra=Infra(provider=bucket.provider, region=bucket.region))

    tasks = tuple(replace(task, storages=tuple(bound(storage) for storage in task.storages)) for task in graph.tasks)
    return replace(graph, tasks=tasks), tuple(said.values())


def following(graph: TaskGraph, plan: PlacementPlan, providers: Mapping[str, Provider], sources: SourceMap) -> TaskGraph:
    """The graph with every Storage that has no place of its own bound to where its task goes; itself where there is none."""
    placed = {item.name for item in plan.storages if item.location is not None}
    found = [
        (storage, _location(storage, graph, plan, providers)) for storage in _storages(graph) if storage.name not in placed
    ]
    known = tuple(
        KnownBucket(name=storage.name, provider=where.provider, region=where.region, persistent=storage.persistent)
        for storage, where in found
        if where is not None
    )
    return settled(graph, known, sources)[0] if known else graph


def _moved(storage: Storage, bucket: KnownBucket, sources: SourceMap) -> Diagnostic:
    path = storage.origin.child("infra")
    return error(
        "storage-elsewhere",
        "A Storage lies at another place already",
        f"The data of `{storage.name}` is at {bucket.provider}/{bucket.region}, and the file puts it at {storage.infra}."
        " skyc moves no data between places.",
        span=sources.find(path),
        hint="give the Storage another name, copy what you need, and destroy the old one; or put the old place back",
    )


def place_buckets(
    graph: TaskGraph,
    plan: PlacementPlan,
    providers: Mapping[str, Provider],
    catalog: Catalog,
    *,
    deployment: DeploymentId,
    mark: str | Callable[[DeploymentId], str],
    known: tuple[KnownBucket, ...] = (),
) -> tuple[Bucket, ...]:
    """Every bucket of the deployment, by name. mark: the deployment's own id in names that must be unique in the world, or who
    knows it; asked only when there is a bucket."""
    found: dict[str, Bucket] = {}

    def add(storage: Storage, location: Location, *, named: bool) -> None:
        own = mark if isinstance(mark, str) else mark(deployment)
        provider = providers[location.provider]
        uri = provider.bucket_uri(storage.name, region=location.region, deployment=deployment, mark=own)
        price = gb_month(catalog, location)
        found[storage.name] = Bucket(storage=replace(storage, uri=uri), location=location, gb_month=price, named=named)

    for storage in _storages(graph):
        location = _location(storage, graph, plan, providers)
        if location is not None:
            add(storage, location, named=True)
    for bucket in known:
        if bucket.name not in found and bucket.persistent and bucket.provider in providers:
            # The file's own, since it has no line any more.
            gone = Storage(name=bucket.name, origin=SpecPath(), uri=None, persistent=True)
            add(gone, Location(provider=bucket.provider, region=bucket.region), named=False)
    return tuple(found[name] for name in sorted(found))


def _storages(graph: TaskGraph) -> Iterator[Storage]:
    """Each Storage without a URI once. It is persistent unless every task that has it says otherwise."""
    everywhere = [storage for task in graph.tasks for storage in task.storages if storage.uri is None]
    for name in dict.fromkeys(storage.name for storage in everywhere):
        same = [storage for storage in everywhere if storage.name == name]
        yield replace(same[0], persistent=any(storage.persistent for storage in same))


def _location(storage: Storage, graph: TaskGraph, plan: PlacementPlan, providers: Mapping[str, Provider]) -> Location | None:
    said = next((item.location for item in plan.storages if item.name == storage.name), None)
    if said is not None:
        return said if _has_buckets(said.provider, providers) else None
    if storage.auto or storage.infra.provider is not None:
        return None
    users = [task for task in graph.tasks if any(item.name == storage.name for item in task.storages)]
    for task in users:
        head = next(placement for placement in plan.placements if placement.task == task.id)
        if _has_buckets(head.provider, providers):
            return Location(provider=head.provider, region=head.region)
    return None


def _has_buckets(provider: str, providers: Mapping[str, Provider]) -> bool:
    return provider in providers and Capability.BUCKET in providers[provider].capabilities


def gb_month(catalog: Catalog, location: Location) -> Decimal | None:
    part = next((part for part in catalog.parts if part.provider == location.provider), None)
    rates = {rate.region: rate for rate in part.rates.storages} if part is not None else {}
    rate = rates.get(location.region) or rates.get(ANY_REGION)
    return rate.steps[0].price if rate is not None and rate.steps else None


def with_uris(task: Task, buckets: tuple[Bucket, ...]) -> Task:
    """The task with the URI of every bucket it uses, as what is read and written too."""
    uris = {bucket.storage.name: bucket.storage.uri for bucket in buckets}

    def flow(item: DataFlow) -> DataFlow:
        uri = uris.get(item.storage or "")
        return replace(item, key=uri) if uri is not None and item.key == item.storage else item

    return replace(
        task,
        storages=tuple(replace(storage, uri=storage.uri or uris.get(storage.name)) for storage in task.storages),
        inputs=tuple(flow(item) for item in task.inputs),
        outputs=tuple(flow(item) for item in task.outputs),
    )
