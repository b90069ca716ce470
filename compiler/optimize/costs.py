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
    Addresses,
    Candidate,
    CandidateSet,
    Catalog,
    CostLine,
    FrozenMap,
    GroupPlacement,
    Market,
    NodeGroup,
    NodeShape,
    Options,
    ResourceRequest,
    Task,
)
from ..ir.accelerators import asked, matching
from ..ir.catalog import ANY_REGION, NANO, RATE, UNKNOWN, AddressRate, CatalogPart, DiskRate, GatewayRate
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

    known: nano-dollars of the prices that are known; once: the same of what the group has once, per hour, None where there is nothing;
    unknown: how many are not known, None where all are. starts: the first rows of the
    candidates of one request at one provider, which stand together, and the end of all.
    """

    known: NDArray[Any]
    once: NDArray[Any] | None
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
        return _run_cost(self.rates, self.node_hours, self.hours, self.penalty)

    def worst(self) -> NDArray[Any]:
        """The same when no spot machine is to be had."""
        return self.costs() if self.dear is None else self.dear


def choices(task: Task, group: NodeGroup, found: CandidateSet, options: Options, atlas: Atlas) -> Choices:
    """Costs, hours, places and ranks of all candidates of a group."""
    import numpy

    count = len(options)
    rates, place = _rates(task, group, options, atlas), atlas.places_of(options)
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
        cost = _run_cost(rates, node_hours, hours, atlas.penalty)
        calmly = _run_cost(_on_demand(task, group, options, atlas), calm * group.num_nodes, calm, atlas.penalty)
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
    """Nano-dollars for what stands beside the machines, per place of a part, and how many of its prices are unknown.

    known, saved: per node-hour; once, once_saved: per hour for the group, of the head's address and the gateway.
    """

    known: NDArray[Any]
    unknown: NDArray[Any] | None
    """None: all are known."""
    saved: NDArray[Any] | None
    """What a spot machine pays less for it; None: nothing anywhere."""
    once: NDArray[Any] | None
    """None: nothing anywhere."""
    once_saved: NDArray[Any] | None


def _run_cost(rates: Rates, node_hours: NDArray[Any] | float, hours: NDArray[Any] | float, penalty: float) -> NDArray[Any]:
    """Nano-dollars for some node-hours of each candidate, and some hours of its group; `penalty` once for each unknown price."""
    import numpy

    cost: NDArray[Any] = rates.known * node_hours
    if rates.once is not None:
        cost += rates.once * hours
    numpy.rint(cost, out=cost)
    return cost if rates.unknown is None else cost + rates.unknown * penalty


def _rates(task: Task, group: NodeGroup, options: Options, atlas: Atlas) -> Rates:
    """Made once for all groups that share their columns and want the same disks and addresses, however long they run."""
    import numpy

    key = (id(options.row), _whole(task, group, atlas), *((request.disk_tier, request.disk_gb) for request in group.requests))
    if key not in atlas.rates:
        keys = options.request.astype(numpy.int64) * len(atlas.catalog.parts) + options.part
        inner = (numpy.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist()
        starts = (0, *inner, len(options)) if len(options) else ()
        # With the options, so that the id stays theirs.
        atlas.rates[key] = _with_beside(task, group, options, atlas, options.hourly, starts, options.spot), options
    made: Rates = atlas.rates[key][0]
    return made


def _on_demand(task: Task, group: NodeGroup, options: Options, atlas: Atlas) -> Rates:
    """The same with every spot machine at its on-demand price."""
    import numpy

    starts = _rates(task, group, options, atlas).starts
    offers = [(atlas.catalog.parts[int(options.part[first])].offers, options.row[first:end]) for first, end in pairwise(starts)]
    hourly = numpy.concatenate([part.on_demand[rows] for part, rows in offers])
    return _with_beside(task, group, options, atlas, hourly, starts, numpy.zeros(len(options), dtype=bool))


def _whole(task: Task, group: NodeGroup, atlas: Atlas) -> tuple[bool, int] | None:
    """What of the task a group's prices depend on: nothing, unless a head is somewhere not like the others."""
    return (is_first(task, group), task.num_nodes) if atlas.catalog.addresses else None


def _with_beside(
    task: Task,
    group: NodeGroup,
    options: Options,
    atlas: Atlas,
    hourly: NDArray[Any],
    starts: tuple[int, ...],
    spot: NDArray[Any],
) -> Rates:
    """Machines at `hourly` with disk and address. spot: which pay the address of a spot machine."""
    import numpy

    unknown = (hourly == UNKNOWN).astype(numpy.int8)
    known = numpy.where(unknown, 0.0, hourly)
    once = numpy.zeros(len(options)) if atlas.catalog.addresses else None
    for first, end in pairwise(starts):
        index = int(options.part[first])
        beside = _beside_of(task, group, group.requests[int(options.request[first])], atlas, index)
        here = atlas.catalog.parts[index].offers.place[options.row[first:end]]
        saved = beside.saved[here] * spot[first:end] if beside.saved is not None else 0.0
        known[first:end] += beside.known[here] - saved
        if once is not None and beside.once is not None:
            once[first:end] = beside.once[here]
            if beside.once_saved is not None:
                once[first:end] -= beside.once_saved[here] * spot[first:end]
        if beside.unknown is not None:
            unknown[first:end] += beside.unknown[here].astype(numpy.int8)
    return Rates(known=known, once=once, unknown=unknown if unknown.any() else None, starts=starts)


def _beside_of(task: Task, group: NodeGroup, request: ResourceRequest, atlas: Atlas, index: int) -> Beside:
    """Made once for all requests that want the same disk and addresses."""
    import numpy

    key = index, request.disk_tier, request.disk_gb, _whole(task, group, atlas)
    if key not in atlas.beside:
        rows = _beside_rows(task, group, request, atlas.catalog, atlas.catalog.parts[index])
        known, *others = numpy.ascontiguousarray(rows.T)
        unknown, saved, once, once_saved = (column if column.any() else None for column in others)
        atlas.beside[key] = Beside(known=known, unknown=unknown, saved=saved, once=once, once_saved=once_saved)
    made: Beside = atlas.beside[key]
    return made


def _beside_rows(task: Task, group: NodeGroup, request: ResourceRequest, catalog: Catalog, part: CatalogPart) -> NDArray[Any]:
    """Per place the columns of `Beside`, in its order: known, unknown, saved, once, once_saved."""
    import numpy

    known: dict[str, tuple[float, ...]] = {}
    values = []
    for place in part.offers.places:
        region = place.region
        if region not in known:
            count = address_count(task, group, catalog, part, region)
            address, spot = (
                _address_hourly(part, region, market) if count else Decimal(0) for market in (Market.ON_DEMAND, Market.SPOT)
            )
            saved = 0.0 if address is None or spot is None else float(nano(address) - nano(spot))
            disk, gateway = _disk_hourly(request, part, region), _gateway_hourly(task, group, catalog, part, region)
            each = catalog.public(part.provider, region) is not Addresses.HEAD
            known[region] = (
                nano(disk or Decimal(0)) + (nano(address or Decimal(0)) if each else 0.0),
                float((disk, address, gateway).count(None)),
                saved if each else 0.0,
                nano(gateway or Decimal(0)) + (0.0 if each else nano(address or Decimal(0))),
                0.0 if each else saved,
            )
        values.append(known[region])
    return numpy.array(values).reshape(-1, 5)


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


def _address_hourly(part: CatalogPart, region: str, market: Market) -> Decimal | None:
    rate = address_rate(part, region)
    return Decimal(0) if rate is None else rate.at(market)


def address_rate(part: CatalogPart, region: str) -> AddressRate | None:
    """The rate of a public address; None where it costs nothing."""
    return next((rate for name in (region, ANY_REGION) for rate in part.rates.addresses if rate.region == name), None)


def is_first(task: Task, group: NodeGroup) -> bool:
    """Whether the head is one of its nodes."""
    return group.name == task.groups[0].name


def address_count(task: Task, group: NodeGroup, catalog: Catalog, part: CatalogPart, region: str) -> int:
    """How many of a group's machines have a public address, whether ports are opened or not: SSH comes in through it and packages come
    through it."""
    found = catalog.public(part.provider, region)
    if found is Addresses.HEAD:
        return 1 if is_first(task, group) else 0
    return group.num_nodes if found is Addresses.ALL else 0


def gateway_rate(task: Task, group: NodeGroup, catalog: Catalog, part: CatalogPart, region: str) -> GatewayRate | None:
    """The rate of the NAT gateway that a task's site makes there; None where it makes none. It is counted with the head's group."""
    alone = task.num_nodes == 1 or not is_first(task, group)
    if alone or catalog.public(part.provider, region) is not Addresses.HEAD or f"{part.provider}/{region}" in catalog.owned:
        return None
    rates = part.rates.gateways
    return next((rate for name in (region, ANY_REGION) for rate in rates if rate.region == name), UNPRICED)


UNPRICED = GatewayRate(region=ANY_REGION, hourly=None, per_gb=None, price_source="no price is known", as_of="")


def _gateway_hourly(task: Task, group: NodeGroup, catalog: Catalog, part: CatalogPart, region: str) -> Decimal | None:
    rate = gateway_rate(task, group, catalog, part, region)
    return Decimal(0) if rate is None else rate.of(task.num_nodes - 1)


def gateway_notes(catalog: Catalog, placements: Iterable[GroupPlacement]) -> FrozenMap[str]:
    """What the price of a NAT gateway leaves out: the data through it, which nobody has said the amount of."""
    found = {(item.provider, item.region) for item in placements for line in item.lines if line.kind == "gateway"}
    said = []
    for provider, region in sorted(found):
        part = catalog.part(provider)
        rate = next((rate for name in (region, ANY_REGION) for rate in part.rates.gateways if rate.region == name), UNPRICED)
        price = "a price that is not known" if rate.per_gb is None else f"${rate.per_gb.normalize():f}"
        said.append(f"{price} at {provider}/{region}")
    if not said:
        return FrozenMap()
    return FrozenMap(
        {
            "gateway": f"data through a NAT gateway costs extra, per GB {', '.join(said)}; it is in no price, as its amount is not known"
        }
    )


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
    task: Task, group: NodeGroup, request: ResourceRequest, catalog: Catalog, candidate: Candidate, hours: Decimal
) -> tuple[CostLine, ...]:
    """What a candidate costs over its run: machines, then disks, then addresses, then the site's gateway."""
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
    address, count = address_rate(part, offering.region), address_count(task, group, catalog, part, offering.region)
    if address is not None and count:
        price = address.at(offering.market)
        lines.append(
            CostLine(
                kind="address",
                label="public address",
                quantity=hours * count,
                unit="h",
                unit_price=price,
                dearer_price=address.hourly if price != address.hourly else None,
                source=address.price_source,
                as_of=address.as_of,
                estimated=_elsewhere(part, address.region, offering.region),
            )
        )
    gateway = gateway_rate(task, group, catalog, part, offering.region)
    if gateway is not None:
        lines.append(
            CostLine(
                kind="gateway",
                label="NAT gateway",
                quantity=hours,
                unit="h",
                unit_price=gateway.of(task.num_nodes - 1),
                source=gateway.price_source,
                as_of=gateway.as_of,
                estimated=_elsewhere(part, gateway.region, offering.region),
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
    "gateway_notes",
    "interrupted_hours",
    "total",
]
