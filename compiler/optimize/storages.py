"""Storages as the choice sees them: where they are, where they may be put, and what keeping their data costs.

Contract: pure. A Storage is at a place the task file says, at one that is assumed because only its provider is known, or open
(`placement: auto`); one nobody can place moves nothing and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..ir import CandidateSet, Location, Storage, TaskGraph
from ..ir.catalog import ANY_REGION, CatalogPart, StorageRate
from ..shelves import names_region
from .atlas import Atlas, nano, stepped
from .problem import Variable
from .rates import MONTH

DAY_HOURS = Decimal(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePlace:
    """A Storage and where it is. place: number in the atlas; None: the optimizer chooses (`storage.auto`), or nobody knows."""

    storage: Storage
    place: int | None
    assumed: bool = False
    """The task file does not say the region: the provider's reference region is taken."""


def storages_of(graph: TaskGraph, found: CandidateSet, atlas: Atlas) -> dict[str, StoragePlace]:
    """Every Storage of the file by name, and every place that inputs and outputs name by URI alone."""
    known: dict[str, StoragePlace] = {}
    for task in graph.tasks:
        for storage in task.storages:
            known.setdefault(storage.name, _place_storage(storage, found, atlas))
        for flow in (*task.inputs, *task.outputs):
            if flow.storage is None and "://" in flow.key:
                storage = Storage(name=flow.key, origin=flow.origin, uri=flow.key)
                known.setdefault(flow.key, _place_storage(storage, found, atlas))
    return known


def _place_storage(storage: Storage, found: CandidateSet, atlas: Atlas) -> StoragePlace:
    if storage.auto:
        return StoragePlace(storage=storage, place=None)
    scheme = (storage.uri or "").partition("://")[0]
    part = next((part for part in found.catalog.parts if scheme and scheme in part.rates.schemes), None)
    if storage.infra.provider is not None:
        part = next((part for part in found.catalog.parts if part.provider == storage.infra.provider), None)
    if part is None:
        return StoragePlace(storage=storage, place=None)
    if not part.rates.reachable:
        # A directory on the machine itself: it is where the task is, and nothing is moved or paid.
        return StoragePlace(storage=storage, place=None)
    region = storage.infra.region or part.rates.reference_region
    number = None if region is None else atlas.numbers.get(Location(provider=part.provider, region=region))
    return StoragePlace(storage=storage, place=number, assumed=storage.infra.region is None and number is not None)


def storage_rate(part: CatalogPart, region: str) -> StorageRate | None:
    """The price of keeping data in a region; None when the provider keeps none."""
    return next((rate for name in (region, ANY_REGION) for rate in part.rates.storages if rate.region == name), None)


def storage_months(graph: TaskGraph, storage: Storage) -> Decimal:
    """How long a Storage's data is paid for: its `keep_days`, else as long as its tasks run."""
    if storage.keep_days is not None:
        return storage.keep_days * DAY_HOURS / MONTH
    users = [task.hours for task in graph.tasks if any(item.name == storage.name for item in task.storages)]
    return max(users, default=Decimal(0)) / MONTH


def storage_price(graph: TaskGraph, storage: Storage, part: CatalogPart, region: str) -> Decimal | None:
    """US dollars for keeping a Storage; None when its price is unknown. Nothing is counted for an unknown size."""
    rate = storage_rate(part, region)
    size = storage.size_gb
    if size is None:
        return Decimal(0)
    if rate is None:
        return None
    monthly = Decimal(0)
    for quantity, price in stepped(rate.steps, size):
        if price is None:
            return None
        monthly += quantity * price
    return monthly * storage_months(graph, storage)


def storage_variable(graph: TaskGraph, storage: Storage, found: CandidateSet, atlas: Atlas, *, limits: int) -> Variable:
    """A Storage that may be put in any region whose provider keeps data. limits: how many there are; it uses nothing of any."""
    import numpy

    places, costs = [], []
    users = [task.id for task in graph.tasks if any(item.name == storage.name for item in task.storages)]
    groups = [group for task in graph.tasks if task.id in users for group in task.groups]
    requests = list(dict.fromkeys(request for group in groups for request in group.requests))
    limits_of_users = [found.restrictions[name] for name in users if name in found.restrictions]
    for number, region in enumerate(atlas.regions):
        part = found.catalog.parts[region.part]
        wanted = storage.infra.provider in (None, part.provider) and storage.infra.region in (None, region.name)
        # What a policy says of places holds for the data too. Data lies in no zone.
        wanted = wanted and all(item.place(part.provider, region.name, None, zones=False) for item in limits_of_users)
        # As for machines: a closed region is taken where it is named, also by a task that uses the data.
        if f"{part.provider}/{region.name}" in found.catalog.closed:
            named = storage.infra.region is not None or any(names_region(request, part, region.name) for request in requests)
            wanted = wanted and named
        if wanted and part.rates.storages:
            price = storage_price(graph, storage, part, region.name)
            places.append(atlas.region_place(number))
            costs.append(atlas.penalty if price is None else nano(price))
    cost = numpy.array(costs)
    return Variable(
        name=f"storage {storage.name}",
        place=numpy.array(places, dtype=numpy.int32),
        cost=cost,
        worst=cost,
        hours=numpy.zeros(len(cost)),
        moves=numpy.zeros(len(cost)),
        row=numpy.arange(len(cost)),
        rank=numpy.zeros(len(cost), dtype=numpy.int32),
        region=atlas.region_of[numpy.array(places, dtype=numpy.int32)],
        use=numpy.zeros((len(cost), limits), dtype=numpy.int64),
    )
