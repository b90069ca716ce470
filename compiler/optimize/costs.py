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
class Choices:
    """A group's candidates with what each costs over its whole run.

    cost: nano-dollars for all nodes; worst: the same when no spot machine is to be had; hours: how long the machines run; place:
    number in the atlas; rank: the task's own order of preference (0 first). Rows as in `options`.
    """

    options: Options
    cost: NDArray[Any]
    worst: NDArray[Any]
    hours: NDArray[Any]
    place: NDArray[Any]
    rank: NDArray[Any]


def choices(task: Task, group: NodeGroup, found: CandidateSet, options: Options, atlas: Atlas) -> Choices:
    """Costs, hours, places and ranks of all candidates of a group."""
    import numpy

    count = len(options)
    cost, place = numpy.zeros(count), atlas.places_of(options)
    worst = numpy.zeros(count) if options.spot.any() else cost
    # Columns of one number take no room: a file may hold a thousand tasks with a hundred thousand candidates each.
    hours = numpy.broadcast_to(numpy.float64(task.hours), count)
    if task.hours_on or worst is not cost:
        hours = hours.copy()
    ordered = group.ordered or any(request.accelerators_ordered for request in group.requests)
    rank = numpy.zeros(count, dtype=numpy.int32) if ordered else numpy.broadcast_to(numpy.int32(0), count)
    keys = options.request.astype(numpy.int64) * len(found.catalog.parts) + options.part
    # Candidates of one request at one provider stand together.
    starts = [0, *(numpy.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), count] if count else []
    for first, end in pairwise(starts):
        rows = slice(first, end)
        index = int(options.part[first])
        part, request = found.catalog.parts[index], group.requests[int(options.request[first])]
        offer, spot = options.row[rows], options.spot[rows]
        here = part.offers.place[offer]
        calm = _calm_column(task, request, part)[part.offers.type[offer]] if task.hours_on else hours[rows].copy()
        if spot.any():
            hours[rows] = _hours_column(task, group, request, part, offer, spot, calm)
        elif task.hours_on:
            hours[rows] = calm
        if ordered:
            rank[rows] = _ranks(task, group, request, int(options.request[first]), part)[part.offers.type[offer]]
        beside = _beside_of(task, group, request, atlas, index)
        cost[rows] = _run_cost(options.hourly[rows], beside, here, hours[rows], atlas.penalty, spot)
        if worst is not cost:
            worst[rows] = cost[rows]
            if spot.any():
                dear = _run_cost(part.offers.on_demand[offer], beside, here, calm, atlas.penalty)
                worst[rows] = numpy.where(spot, numpy.maximum(dear, cost[rows]), cost[rows])
    if ordered:
        # What cannot be had takes no place in the order; so ranks stay small.
        rank = numpy.unique(rank, return_inverse=True)[1].reshape(-1).astype(numpy.int32)
    return Choices(options=options, cost=cost, worst=worst, hours=hours, place=place, rank=rank)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """Nano-dollars per hour for what all machines of a group have beside themselves, per place of a part, and how many of the prices are
    unknown."""

    nodes: int
    known: NDArray[Any]
    unknown: NDArray[Any] | None
    """None: all are known."""
    saved: NDArray[Any] | None
    """What spot machines pay less for it; None: nothing anywhere."""


def _run_cost(
    hourly: NDArray[Any],
    beside: Beside,
    place: NDArray[Any],
    hours: NDArray[Any],
    penalty: float,
    spot: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Nano-dollars for some hours of a group's machines at places; `penalty` once for each unknown price. spot: which rows are spot
    machines, None for none."""
    import numpy

    missing = hourly == UNKNOWN
    some = bool(missing.any())
    known = (numpy.where(missing, 0.0, hourly) if some else hourly) * float(beside.nodes) + beside.known[place]
    if beside.saved is not None and spot is not None:
        known -= beside.saved[place] * spot
    cost: NDArray[Any] = numpy.rint(known * hours)
    if beside.unknown is not None:
        cost += (missing + beside.unknown[place]) * penalty
    elif some:
        cost += missing * penalty
    return cost


def _beside_of(task: Task, group: NodeGroup, request: ResourceRequest, atlas: Atlas, index: int) -> Beside:
    """Made once for all groups of one size that want the same disk and addresses."""
    import numpy

    first = is_first(task, group)
    # How many nodes the task has counts only where a head is not like the others.
    whole = (first, task.num_nodes) if atlas.catalog.addresses else ()
    key = index, request.disk_tier, request.disk_gb, group.num_nodes, whole
    if key not in atlas.beside:
        rows = _beside_rows(task, group, request, atlas.catalog, atlas.catalog.parts[index])
        known, unknown, saved = numpy.ascontiguousarray(rows.T)
        atlas.beside[key] = Beside(
            nodes=group.num_nodes,
            known=known,
            unknown=unknown if unknown.any() else None,
            saved=saved if saved.any() else None,
        )
    made: Beside = atlas.beside[key]
    return made


def _beside_rows(task: Task, group: NodeGroup, request: ResourceRequest, catalog: Catalog, part: CatalogPart) -> NDArray[Any]:
    """Per place: nano-dollars per hour for disks, addresses and the gateway, how many of these have an unknown price, and what spot
    machines pay less."""
    import numpy

    known: dict[str, tuple[float, float, float]] = {}
    values = []
    for place in part.offers.places:
        if place.region not in known:
            count = address_count(task, group, catalog, part, place.region)
            address = _address_hourly(part, place.region, Market.ON_DEMAND) if count else Decimal(0)
            spot = _address_hourly(part, place.region, Market.SPOT) if count else Decimal(0)
            hourly = [
                (_disk_hourly(request, part, place.region), group.num_nodes),
                (address, count),
                (_gateway_hourly(task, group, catalog, part, place.region), 1),
            ]
            known[place.region] = (
                sum(nano(price) * units for price, units in hourly if price is not None),
                float(sum(price is None for price, _ in hourly)),
                0.0 if address is None or spot is None else float(nano(address) - nano(spot)) * count,
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
