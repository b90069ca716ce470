"""What one candidate of a group costs and takes, as columns for choosing and as cost lines for people.

Contract: pure. Both forms follow the same formulas: columns hold whole nano-dollars as floats (exact below 2**53), lines are Decimal.
A month is 730 hours, as the providers' own price lists count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..ir import (
    Accelerator,
    Candidate,
    CandidateSet,
    Catalog,
    CostLine,
    Market,
    NodeGroup,
    NodeShape,
    Options,
    ResourceRequest,
    Task,
)
from ..ir.accelerators import asked, matching
from ..ir.catalog import ANY_REGION, NANO, RATE, UNKNOWN, AddressRate, CatalogPart, DiskRate
from ..match import types_with
from ..node_shape import node_shape
from .atlas import Atlas, nano

if TYPE_CHECKING:
    from numpy.typing import NDArray

MONTH = Decimal(730)
"""Hours in a month of a price list."""
RESTART_HOURS = Decimal("0.1")
"""Assumed hours from an interruption until the job computes again: noticing, another machine, the restore."""
ENDLESS = Decimal(30)
LONGEST_HOURS = Decimal(100_000)
"""A run that is interrupted some e^30 times before it is done is never done; it counts as one of eleven years."""
DEFAULT_TIER = "medium"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """What a node-hour of each candidate costs with its disk and address.

    known: nano-dollars of the prices that are known; unknown: how many are not, None where all are. starts: the first rows of the
    candidates of one request at one provider, which stand together, and the end of all.
    """

    known: NDArray[Any]
    unknown: NDArray[Any] | None
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choices:
    """A group's candidates with what each costs over its whole run.

    dear: nano-dollars for all nodes when no spot machine is to be had, None where none is spot; hours: how long the machines run; place:
    number in the atlas; rank: the task's own order of preference (0 first). Rows as in `options`.
    """

    options: Options
    rates: Rates
    node_hours: NDArray[Any] | float
    """Of all nodes: one number, or one for each row."""
    dear: NDArray[Any] | None
    hours: NDArray[Any]
    place: NDArray[Any]
    rank: NDArray[Any]
    penalty: float

    def __len__(self) -> int:
        return len(self.place)

    def costs(self) -> NDArray[Any]:
        """Nano-dollars for all nodes. Made anew each time: kept for a thousand tasks they would fill the memory, which costs more."""
        return _run_cost(self.rates, self.node_hours, self.penalty)

    def worst(self) -> NDArray[Any]:
        """The same when no spot machine is to be had."""
        return self.costs() if self.dear is None else self.dear


def choices(task: Task, group: NodeGroup, found: CandidateSet, options: Options, atlas: Atlas) -> Choices:
    """Costs, hours, places and ranks of all candidates of a group."""
    import numpy

    count = len(options)
    rates, place = _rates(group, options, atlas), atlas.places_of(options)
    spots = bool(options.spot.any())
    # Columns of one number take no room: a file may hold a thousand tasks with a hundred thousand candidates each.
    hours = numpy.broadcast_to(numpy.float64(task.hours), count)
    calm = hours
    varied = spots or bool(task.hours_on)
    if varied:
        hours, calm = hours.copy(), hours.copy()
    ordered = group.ordered or any(request.accelerators_ordered for request in group.requests)
    rank = numpy.zeros(count, dtype=numpy.int32) if ordered else numpy.broadcast_to(numpy.int32(0), count)
    for first, end in pairwise(rates.starts) if varied or ordered else ():
        rows = slice(first, end)
        part, request = found.catalog.parts[int(options.part[first])], group.requests[int(options.request[first])]
        offer, spot = options.row[rows], options.spot[rows]
        if task.hours_on:
            calm[rows] = hours[rows] = _calm_column(task, request, part)[part.offers.type[offer]]
        if spot.any():
            hours[rows] = _hours_column(task, group, request, part, offer, spot, calm[rows])
        if ordered:
            rank[rows] = _ranks(task, group, request, int(options.request[first]), part)[part.offers.type[offer]]
    node_hours = (hours if varied else numpy.float64(task.hours)) * group.num_nodes
    dear = None
    if spots:
        cost = _run_cost(rates, node_hours, atlas.penalty)
        calmly = _run_cost(_on_demand(group, options, atlas), calm * group.num_nodes, atlas.penalty)
        dear = numpy.where(options.spot, numpy.maximum(calmly, cost), cost)
    if ordered:
        # What cannot be had takes no place in the order; so ranks stay small.
        rank = numpy.unique(rank, return_inverse=True)[1].reshape(-1).astype(numpy.int32)
    return Choices(
        options=options,
        rates=rates,
        node_hours=node_hours,
        dear=dear,
        hours=hours,
        place=place,
        rank=rank,
        penalty=atlas.penalty,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """Nano-dollars per node-hour for disk and address, per place of a part, and how many of the two have an unknown price."""

    known: NDArray[Any]
    unknown: NDArray[Any] | None
    """None: all are known."""
    saved: NDArray[Any] | None
    """What a spot machine pays less for them; None: nothing anywhere."""


def _run_cost(rates: Rates, node_hours: NDArray[Any] | float, penalty: float) -> NDArray[Any]:
    """Nano-dollars for some node-hours of each candidate; `penalty` once for each unknown price."""
    import numpy

    cost: NDArray[Any] = rates.known * node_hours
    numpy.rint(cost, out=cost)
    return cost if rates.unknown is None else cost + rates.unknown * penalty


def _rates(group: NodeGroup, options: Options, atlas: Atlas) -> Rates:
    """Made once for all groups that share their columns and want the same disks and addresses, however long they run."""
    import numpy

    key = (id(options.row), *((request.disk_tier, request.disk_gb) for request in group.requests))
    if key not in atlas.rates:
        keys = options.request.astype(numpy.int64) * len(atlas.catalog.parts) + options.part
        inner = (numpy.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist()
        starts = (0, *inner, len(options)) if len(options) else ()
        # With the options, so that the id stays theirs.
        atlas.rates[key] = _with_beside(group, options, atlas, options.hourly, starts, options.spot), options
    made: Rates = atlas.rates[key][0]
    return made


def _on_demand(group: NodeGroup, options: Options, atlas: Atlas) -> Rates:
    """The same with every spot machine at its on-demand price."""
    import numpy

    starts = _rates(group, options, atlas).starts
    offers = [(atlas.catalog.parts[int(options.part[first])].offers, options.row[first:end]) for first, end in pairwise(starts)]
    hourly = numpy.concatenate([part.on_demand[rows] for part, rows in offers])
    return _with_beside(group, options, atlas, hourly, starts, numpy.zeros(len(options), dtype=bool))


def _with_beside(
    group: NodeGroup, options: Options, atlas: Atlas, hourly: NDArray[Any], starts: tuple[int, ...], spot: NDArray[Any]
) -> Rates:
    """Machines at `hourly` with disk and address. spot: which pay the address of a spot machine."""
    import numpy

    unknown = (hourly == UNKNOWN).astype(numpy.int8)
    known = numpy.where(unknown, 0.0, hourly)
    for first, end in pairwise(starts):
        index = int(options.part[first])
        beside = _beside_of(group.requests[int(options.request[first])], atlas, index)
        here = atlas.catalog.parts[index].offers.place[options.row[first:end]]
        saved = beside.saved[here] * spot[first:end] if beside.saved is not None else 0.0
        known[first:end] += beside.known[here] - saved
        if beside.unknown is not None:
            unknown[first:end] += beside.unknown[here].astype(numpy.int8)
    return Rates(known=known, unknown=unknown if unknown.any() else None, starts=starts)


def _beside_of(request: ResourceRequest, atlas: Atlas, index: int) -> Beside:
    """Made once for all requests that want the same disk and address."""
    import numpy

    key = index, request.disk_tier, request.disk_gb
    if key not in atlas.beside:
        known, unknown, saved = numpy.ascontiguousarray(_beside_rows(request, atlas.catalog, atlas.catalog.parts[index]).T)
        atlas.beside[key] = Beside(
            known=known, unknown=unknown if unknown.any() else None, saved=saved if saved.any() else None
        )
    made: Beside = atlas.beside[key]
    return made


def _beside_rows(request: ResourceRequest, catalog: Catalog, part: CatalogPart) -> NDArray[Any]:
    """Per place: nano-dollars per node-hour for disk and address, how many of the two have an unknown price, and what a spot machine
    pays less."""
    import numpy

    known: dict[str, tuple[float, float, float]] = {}
    values = []
    for place in part.offers.places:
        if place.region not in known:
            address = _address_hourly(catalog, part, place.region, Market.ON_DEMAND)
            spot = _address_hourly(catalog, part, place.region, Market.SPOT)
            hourly = [_disk_hourly(request, part, place.region), address]
            known[place.region] = (
                sum(nano(price) for price in hourly if price is not None),
                float(hourly.count(None)),
                0.0 if address is None or spot is None else float(nano(address) - nano(spot)),
            )
        values.append(known[place.region])
    return numpy.array(values).reshape(-1, 3)


def disk_gb(request: ResourceRequest, part: CatalogPart) -> Decimal:
    """GiB of disk that are charged per node; 0 where machines have their own."""
    return Decimal(0) if part.rates.disk_gb is None else request.disk_gb or part.rates.disk_gb


def _disk_hourly(request: ResourceRequest, part: CatalogPart, region: str) -> Decimal | None:
    size = disk_gb(request, part)
    if not size:
        return Decimal(0)
    rate = disk_rate(request, part, region)
    monthly = None if rate is None else disk_monthly(rate, size)
    return None if monthly is None else per_hour(monthly)


def per_hour(monthly: Decimal) -> Decimal:
    """A monthly price per hour, to the nano-dollar: columns and lines then hold the same number."""
    return (monthly / MONTH).quantize(NANO)


def disk_rate(request: ResourceRequest, part: CatalogPart, region: str) -> DiskRate | None:
    tier = request.disk_tier or DEFAULT_TIER
    rates = [rate for rate in part.rates.disks if rate.tier == tier]
    return next((rate for name in (region, ANY_REGION) for rate in rates if rate.region == name), None)


def disk_monthly(rate: DiskRate, size_gb: Decimal) -> Decimal | None:
    """US dollars per month; None when unknown, or when no disk of the ladder is large enough."""
    if rate.per_gb is not None:
        return rate.per_gb * size_gb
    return next((price for size, price in rate.ladder if size >= size_gb), None)


def _address_hourly(catalog: Catalog, part: CatalogPart, region: str, market: Market) -> Decimal | None:
    rate = address_rate(catalog, part, region)
    return Decimal(0) if rate is None else rate.at(market)


def address_rate(catalog: Catalog, part: CatalogPart, region: str) -> AddressRate | None:
    """The rate of the public address every node has, whether ports are opened or not: SSH comes in through it and packages come
    through it. None where the user's own network there gives none (`Catalog.private`), or addresses cost nothing."""
    if f"{part.provider}/{region}" in catalog.private:
        return None
    return next((rate for name in (region, ANY_REGION) for rate in part.rates.addresses if rate.region == name), None)


def _calm_column(task: Task, request: ResourceRequest, part: CatalogPart) -> NDArray[Any]:
    """Per machine type the hours without interruptions."""
    import numpy

    hours = numpy.full(len(part.offers.types.names), float(task.hours))
    for expected in task.hours_on:
        hours[types_with(part, expected.accelerator)] = float(expected.hours)
    for row in numpy.flatnonzero(part.offers.types.divisible) if task.hours_on else ():
        # Of a machine that is shared out a node has what it asks for.
        hours[row] = float(calm_hours(task, node_shape(request, part.instance_type(int(row)), task.num_nodes)))
    return hours


def _hours_column(
    task: Task,
    group: NodeGroup,
    request: ResourceRequest,
    part: CatalogPart,
    offer: NDArray[Any],
    spot: NDArray[Any],
    calm: NDArray[Any],
) -> NDArray[Any]:
    import numpy

    hours = calm.copy()
    rates = part.offers.interruptions[offer].astype(float) * float(RATE)
    if request.interruption_rate is not None:
        rates = numpy.full(len(offer), float(request.interruption_rate))
    interrupted = spot & (rates > 0)
    if interrupted.any():
        pairs = numpy.stack([hours[interrupted], rates[interrupted]], axis=1)
        distinct, inverse = numpy.unique(pairs, axis=0, return_inverse=True)
        expected_hours = [
            float(interrupted_hours(Decimal(repr(h)), Decimal(repr(r)), group.num_nodes, checkpoint_hours(task)))
            for h, r in distinct.tolist()
        ]
        hours[interrupted] = numpy.array(expected_hours)[inverse.reshape(-1)]
    return hours


def checkpoint_hours(task: Task) -> Decimal | None:
    return None if task.checkpoint is None else Decimal(task.checkpoint.every_seconds) / 3600


def interrupted_hours(hours: Decimal, rate: Decimal, nodes: int, every: Decimal | None) -> Decimal:
    """Expected hours until `hours` of work are done when each of `nodes` is interrupted `rate` times per hour.

    Any node's interruption stops all. Without checkpoints (`every` None) all is done again; with them, what came after the newest.
    The formula is Daly's for exponential failures, e^(R·L) · (e^(τ·L) − 1) / L · hours/τ, with L the rate of the whole group, τ the
    work between checkpoints and R the restart (J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart
    dumps", 2006, equation 12 with no cost of writing).
    """
    together = rate * nodes
    if together == 0 or hours == 0:
        return hours
    step = min(every, hours) if every else hours
    if (RESTART_HOURS + step) * together > ENDLESS:
        return max(hours, LONGEST_HOURS)
    segment = (RESTART_HOURS * together).exp() * ((step * together).exp() - 1) / together
    return min((segment * hours / step).quantize(Decimal("1e-6")), max(hours, LONGEST_HOURS))


def _ranks(task: Task, group: NodeGroup, request: ResourceRequest, index: int, part: CatalogPart) -> NDArray[Any]:
    """The task's own order, per machine type: first by request where requests are ordered, then by accelerator where those are."""
    import numpy

    ranks = numpy.full(len(part.offers.types.names), index * 1000 if group.ordered else 0)
    if request.accelerators_ordered:
        first = int(ranks[0])
        for position, wanted in reversed(list(enumerate(request.accelerators or ()))):
            ranks[types_with(part, wanted)] = first + position
        for row in numpy.flatnonzero(part.offers.types.divisible):
            given = node_shape(request, part.instance_type(int(row)), task.num_nodes).accelerators
            ranks[row] = first + _position(request, given)
    return ranks


def _position(request: ResourceRequest, given: tuple[Accelerator, ...]) -> int:
    """Which of the accelerators asked for a node gets; 0 when it gets none, and so is no candidate."""
    for position, wanted in enumerate(request.accelerators or ()):
        name, count = asked(wanted.name, wanted.count)
        if any(device.name in matching(name) and device.count == count for device in given):
            return position
    return 0


def calm_hours(task: Task, shape: NodeShape) -> Decimal:
    """The hours a task takes on such nodes without interruptions."""
    hours = task.hours
    for expected in task.hours_on:
        name, count = asked(expected.accelerator.name, expected.accelerator.count)
        if any(device.name in matching(name) and device.count == count for device in shape.accelerators):
            hours = expected.hours
    return hours


def expected_hours(task: Task, group: NodeGroup, request: ResourceRequest, part: CatalogPart, candidate: Candidate) -> Decimal:
    """The hours one candidate's machines run."""
    hours = calm_hours(task, candidate.shape)
    if candidate.offering.market is not Market.SPOT:
        return hours
    rate = request.interruption_rate if request.interruption_rate is not None else candidate.offering.interruption_rate
    return hours if rate is None else interrupted_hours(hours, rate, group.num_nodes, checkpoint_hours(task))


def cost_lines(
    group: NodeGroup, request: ResourceRequest, catalog: Catalog, candidate: Candidate, hours: Decimal
) -> tuple[CostLine, ...]:
    """What a candidate costs over its run: machines, then disks, then addresses."""
    offering = candidate.offering
    part = catalog.part(offering.provider)
    node_hours = hours * group.num_nodes
    lines = [
        CostLine(
            kind="compute",
            label=f"compute, {offering.market.value}",
            quantity=node_hours,
            unit="h",
            unit_price=offering.hourly,
            source=offering.price_source,
            as_of=offering.as_of,
            estimated=offering.estimated,
        )
    ]
    size = disk_gb(request, part)
    if size:
        rate = disk_rate(request, part, offering.region)
        monthly = None if rate is None else disk_monthly(rate, size)
        lines.append(
            CostLine(
                kind="disk",
                label="disk" if rate is None else f"disk, {size.normalize():f} GiB {rate.name}",
                quantity=node_hours,
                unit="h",
                unit_price=None if monthly is None else per_hour(monthly),
                source="no price is known" if rate is None else rate.price_source,
                as_of="" if rate is None else rate.as_of,
                estimated=rate is not None and _elsewhere(part, rate.region, offering.region),
            )
        )
    address = address_rate(catalog, part, offering.region)
    if address is not None:
        price = address.at(offering.market)
        lines.append(
            CostLine(
                kind="address",
                label="public address",
                quantity=node_hours,
                unit="h",
                unit_price=price,
                dearer_price=address.hourly if price != address.hourly else None,
                source=address.price_source,
                as_of=address.as_of,
                estimated=_elsewhere(part, address.region, offering.region),
            )
        )
    return tuple(lines)


def _elsewhere(part: CatalogPart, rate_region: str, region: str) -> bool:
    """Whether a rate is another region's, taken as an estimate."""
    reference = part.rates.reference_region
    return rate_region == ANY_REGION and reference is not None and reference != region


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; None as soon as one is unknown."""
    result = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        result += amount
    return result


__all__ = [
    "MONTH",
    "Choices",
    "calm_hours",
    "checkpoint_hours",
    "choices",
    "cost_lines",
    "expected_hours",
    "interrupted_hours",
    "total",
]
