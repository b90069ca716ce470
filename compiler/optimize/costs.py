"""What one candidate of a group costs and takes, as columns for choosing.

Contract: pure. Columns hold whole nano-dollars as floats (exact below 2**53), of the same rates that the lines for people have (`lines`).
"""

from __future__ import annotations

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
    Market,
    NodeGroup,
    NodeShape,
    Options,
    ResourceRequest,
    Task,
)
from ..ir.accelerators import asked, matching
from ..ir.catalog import RATE, UNKNOWN, CatalogPart
from ..ir.restriction import UNRESTRICTED
from ..match import types_with
from ..node_shape import node_shape
from .atlas import Atlas, nano
from .rates import address_count, address_hourly, disk_hourly, gateway_hourly, is_first

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESTART_HOURS = Decimal("0.1")
"""Assumed hours from an interruption until the job computes again: noticing, another machine, the restore."""
ENDLESS = Decimal(30)
LONGEST_HOURS = Decimal(100_000)
"""A run that is interrupted some e^30 times before it is done is never done; it counts as one of eleven years."""


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
    restriction = found.restrictions.get(task.id, UNRESTRICTED)
    rates = _rates(task, group, options, atlas)
    place = atlas.places_of(options, tuple((request.infra.zone, restriction) for request in group.requests))
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
                address_hourly(part, region, market) if count else Decimal(0) for market in (Market.ON_DEMAND, Market.SPOT)
            )
            saved = 0.0 if address is None or spot is None else float(nano(address) - nano(spot))
            disk, gateway = disk_hourly(request, part, region), gateway_hourly(task, group, catalog, part, region)
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
