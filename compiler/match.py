"""Which offers meet one request: every filter applied to every offer, as bits of one number per offer.

Contract: pure. Bit b of an offer's code is set when filter `Filter(b)` rules it out, so an offer with code 0 is a candidate, the
count of each reason is exact, and what a set of requirements excludes together can be read off the histogram of codes. Tests of the
machine run once per machine type (some 4,000), tests of the place once per place (some 400); offers only look both up.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from ..providers.base import Capability
from .barred import barred_prices
from .ir import (
    NO_IMAGES,
    AcceleratorRequest,
    Catalog,
    CatalogPart,
    FrozenMap,
    ImagePlaces,
    InstanceType,
    Market,
    Quota,
    ResourceRequest,
)
from .ir.accelerators import asked, matching
from .ir.catalog import MILLI, NANO, UNKNOWN
from .ir.restriction import UNRESTRICTED, Restriction
from .node_shape import matching_accelerator, node_shape
from .shelves import Shelf, Shelves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .shelves import Sold

FLOOR_CPUS = Decimal(2)
FLOOR_MEMORY_GB = Decimal(4)
"""What a rented machine has at least of what the task does not ask for: Ray and a job do not fit into less. Whoever asks for memory
alone has said enough."""


class Filter(enum.IntEnum):
    """A filter, as a bit number. `reason` is the slug of its rejection, `field` the task file's field it comes from."""

    PLACE = 0
    TYPE = 1
    FEW_CPUS = 2
    OTHER_CPUS = 3
    LITTLE_MEMORY = 4
    OTHER_MEMORY = 5
    ACCELERATOR = 6
    MARKET = 7
    PRICE = 8
    UNKNOWN_PRICE = 9
    ARCH = 10
    LOCAL_DISK = 11
    PORTS = 12
    SMALL = 13
    MACHINES = 14
    QUOTA = 15
    LABELS = 16
    POLICY = 17
    SUBNET = 18
    IMAGE = 19
    CLOSED = 20

    @property
    def reason(self) -> str:
        return _NAMES[self].reason

    @property
    def field(self) -> str:
        return _NAMES[self].field


class _Names(NamedTuple):
    reason: str
    field: str


_NAMES = {
    Filter.PLACE: _Names("other-place", "infra"),
    Filter.TYPE: _Names("other-instance-type", "instance_type"),
    Filter.FEW_CPUS: _Names("too-few-cpus", "cpus"),
    Filter.OTHER_CPUS: _Names("other-cpu-count", "cpus"),
    Filter.LITTLE_MEMORY: _Names("too-little-memory", "memory"),
    Filter.OTHER_MEMORY: _Names("other-memory-size", "memory"),
    Filter.ACCELERATOR: _Names("no-such-accelerator", "accelerators"),
    Filter.MARKET: _Names("other-market", "use_spot"),
    Filter.PRICE: _Names("too-dear", "max_hourly_cost"),
    Filter.UNKNOWN_PRICE: _Names("unknown-price", "max_hourly_cost"),
    Filter.ARCH: _Names("other-arch", "arch"),
    Filter.LOCAL_DISK: _Names("no-local-disk", "local_disk"),
    Filter.PORTS: _Names("cannot-open-ports", "ports"),
    Filter.SMALL: _Names("too-small-for-ray", "cpus"),
    Filter.MACHINES: _Names("too-few-machines", "num_nodes"),
    Filter.QUOTA: _Names("over-quota", "num_nodes"),
    Filter.LABELS: _Names("label-not-met", "labels"),
    Filter.POLICY: _Names("against-policy", "policy"),
    Filter.SUBNET: _Names("no-subnet", "infra"),
    Filter.IMAGE: _Names("no-image-there", "image_id"),
    Filter.CLOSED: _Names("region-not-enabled", "infra"),
}


_BITS = tuple((rule, 1 << rule) for rule in Filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many nodes share a divisible machine: the task's; how many machines of one type are needed: the group's."""

    task_nodes: int
    group_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codes:
    """The codes of one part's offers, per market. A market that the part does not sell is empty."""

    part: int
    on_demand: NDArray[Any]
    spot: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Match:
    """One request against the whole catalog: candidates as columns in the written order, and codes for the rest.

    part, row, spot, hourly: see `Options`. counts: offers per bit. examples: the first offer each bit rules out.
    """

    part: NDArray[Any]
    row: NDArray[Any]
    spot: NDArray[Any]
    hourly: NDArray[Any]
    counts: Mapping[Filter, int]
    examples: Mapping[Filter, tuple[int, int, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """The rejections of a match while its parts are gone through."""

    counts: dict[Filter, int] = field(default_factory=dict)
    examples: dict[Filter, tuple[int, int, bool]] = field(default_factory=dict)

    def add(self, rule: Filter, count: int, example: tuple[int, int, bool]) -> None:
        self.counts[rule] = self.counts.get(rule, 0) + count
        self.examples.setdefault(rule, example)


def match(
    request: ResourceRequest,
    catalog: Catalog,
    size: Size,
    capabilities: Mapping[str, frozenset[Capability]],
    shelves: Shelves | None = None,
    restriction: Restriction = UNRESTRICTED,
) -> Match:
    """Apply every filter to every offer. `capabilities`: what each provider can do; one that is not listed can do everything.

    shelves: the catalog's, when several requests are matched. restriction: what a policy leaves of the offers.
    """
    shelves = shelves or Shelves(catalog)
    tally = _Tally()
    sold: list[Sold] = []
    for index, shelf in enumerate(shelves.parts):
        can = capabilities.get(shelf.part.provider, frozenset(Capability))
        # Codes of types and places are looked up only where each filter is about one of the two.
        by_offer = shelf.counted or shelf.quotas or request.max_hourly_cost is not None or not restriction.of_places_alone
        if by_offer:
            sold.append(_looked_through(_codes(request, shelf, index, size, can, restriction), tally))
        else:
            sold.append(_looked_up(request, shelf, index, size, can, tally, restriction))
    found = shelves.columns(sold)
    return Match(
        part=found.part, row=found.row, spot=found.spot, hourly=found.hourly, counts=tally.counts, examples=tally.examples
    )


def _looked_through(codes: Codes, tally: _Tally) -> Sold:
    """The fitting offers of a part and which of them are spot, from the code of every offer."""
    import numpy

    fitting, market = [], []
    for is_spot, values in ((False, codes.on_demand), (True, codes.spot)):
        good = numpy.flatnonzero(values == 0)
        fitting.append(good)
        market.append(numpy.full(len(good), is_spot))
        _count(values, is_spot, codes.part, tally)
    found, spot = numpy.concatenate(fitting), numpy.concatenate(market)
    # The written order puts on-demand before spot within one offer.
    order = numpy.argsort(found * 2 + spot, kind="stable") if len(fitting[1]) else slice(None)
    return found[order], spot[order]


def _looked_up(
    request: ResourceRequest,
    shelf: Shelf,
    index: int,
    size: Size,
    capabilities: frozenset[Capability],
    tally: _Tally,
    restriction: Restriction,
) -> Sold:
    """The same from the codes of types and places alone: no other filter rules out anything in this part."""
    import numpy

    offers = shelf.part.offers
    types, places = _type_codes(request, shelf, size), _place_codes(request, shelf, capabilities, restriction)
    ruled_out: list[tuple[Filter, int, tuple[int, int, bool]]] = []
    for codes, weights, first in (
        (types, shelf.of_type, shelf.first_of_types),
        (places, shelf.at_place, shelf.first_at_places),
    ):
        seen = int(numpy.bitwise_or.reduce(codes)) if len(codes) else 0
        for rule, bit in _BITS:
            if not seen & bit:
                continue
            ruled = codes & bit != 0
            if count := int(weights[ruled].sum()):
                # The first market's example stands, and only one is shown.
                known = tally.examples.get(rule)
                ruled_out.append((rule, count, known or (index, first(numpy.flatnonzero(ruled & (weights > 0))), False)))
    sold = (False, True) if offers.sells_spot else (False,)
    for is_spot in sold:
        for rule, count, example in ruled_out:
            tally.add(rule, count, example)
        if request.market is (Market.ON_DEMAND if is_spot else Market.SPOT) and len(offers.type):
            tally.add(Filter.MARKET, len(offers.type), (index, 0, is_spot))
    return shelf.rows(types == 0, places == 0, request.market)


def _count(values: NDArray[Any], spot: bool, part: int, tally: _Tally) -> None:
    import numpy

    histogram = numpy.bincount(values)
    seen = numpy.flatnonzero(histogram)
    some = int(numpy.bitwise_or.reduce(seen)) if len(seen) else 0
    for rule, bit in _BITS:
        if some & bit:
            first = int(numpy.argmax(values & bit != 0))
            tally.add(rule, int(histogram[seen[seen & bit != 0]].sum()), (part, first, spot))


def codes_of(
    request: ResourceRequest,
    catalog: Catalog,
    size: Size,
    capabilities: Mapping[str, frozenset[Capability]],
    restriction: Restriction = UNRESTRICTED,
    images: ImagePlaces = NO_IMAGES,
) -> tuple[Codes, ...]:
    """The codes of every offer, part by part. images: where machines can start from the images that requests name."""
    return tuple(
        _codes(request, shelf, index, size, capabilities.get(shelf.part.provider, frozenset(Capability)), restriction)
        for index, shelf in enumerate(Shelves(catalog, images).parts)
    )


def _codes(
    request: ResourceRequest,
    shelf: Shelf,
    index: int,
    size: Size,
    capabilities: frozenset[Capability],
    restriction: Restriction,
) -> Codes:
    import numpy

    offers = shelf.part.offers
    by_place = _place_codes(request, shelf, capabilities, restriction)
    base = _type_codes(request, shelf, size)[offers.type] | by_place[offers.place]
    if not restriction.of_places_alone:
        base |= (shelf.barred_types(restriction) * numpy.int32(1 << Filter.POLICY))[offers.type]
    counted = offers.capacity != UNKNOWN
    if counted.any():
        divisible = offers.types.divisible[offers.type]
        base |= numpy.where(counted & ~divisible & (offers.capacity < size.group_nodes), 1 << Filter.MACHINES, 0)
    on_demand = base | (1 << Filter.MARKET if request.market is Market.SPOT else 0) | _price_codes(request, offers.on_demand)
    on_demand = on_demand | _quota_codes(shelf, size, Market.ON_DEMAND) | _barred(restriction, offers.on_demand)
    if not offers.sells_spot:
        return Codes(part=index, on_demand=on_demand, spot=numpy.zeros(0, dtype=numpy.int32))
    spot = base | (1 << Filter.MARKET if request.market is Market.ON_DEMAND else 0) | _price_codes(request, offers.spot)
    spot = spot | _quota_codes(shelf, size, Market.SPOT) | _barred(restriction, offers.spot)
    return Codes(part=index, on_demand=on_demand, spot=spot if restriction.spot else spot | 1 << Filter.POLICY)


def _barred(restriction: Restriction, prices: NDArray[Any]) -> NDArray[Any]:
    import numpy

    return barred_prices(restriction, prices) * numpy.int32(1 << Filter.POLICY)


def _quota_codes(shelf: Shelf, size: Size, market: Market) -> NDArray[Any]:
    """The bit of offers of which the group's nodes would be more than a quota allows."""
    import numpy

    offers = shelf.part.offers
    codes = numpy.zeros(len(offers.type), dtype=numpy.int32)
    for quota in shelf.quotas:
        if quota.market not in (market, Market.AUTO):
            continue
        there = numpy.array([quota.region in (None, place.region) for place in offers.places], dtype=bool)
        over = quota_amounts(quota, shelf.part) * size.group_nodes > int(quota.limit / MILLI)
        codes[there[offers.place] & over[offers.type]] = 1 << Filter.QUOTA
    return codes


def quota_amounts(quota: Quota, part: CatalogPart) -> NDArray[Any]:
    """Thousandths of what a quota counts, per machine type."""
    import numpy

    types = part.offers.types
    if quota.accelerator is None:
        cpus: NDArray[Any] = types.cpus.astype(numpy.int64)
        if quota.families:
            cpus[[not _counted(name, quota.families) for name in types.names]] = 0
        return cpus
    names = matching(quota.accelerator)
    counted = numpy.isin(types.device_name, [index for index, known in enumerate(types.accelerators) if known in names])
    amounts: NDArray[Any] = numpy.zeros(len(types.names), dtype=numpy.int64)
    numpy.add.at(amounts, types.device_type[counted], types.device_count[counted])
    return amounts


def _counted(name: str, families: tuple[str, ...]) -> bool:
    letters = name[: len(name) - len(name.lstrip("abcdefghijklmnopqrstuvwxyz-"))]
    return any(name.startswith(family) if family[-1].isdigit() else letters == family for family in families)


def _place_codes(
    request: ResourceRequest, shelf: Shelf, capabilities: frozenset[Capability], restriction: Restriction
) -> NDArray[Any]:
    """The bits that depend on the place and the provider alone, per place."""
    import numpy

    can = not request.ports or Capability.OPEN_PORTS in capabilities
    codes: NDArray[Any] = shelf.elsewhere(request.infra) * numpy.int32(1 << Filter.PLACE)
    if restriction.bars:
        codes = codes | shelf.barred(restriction, request.infra) * numpy.int32(1 << Filter.POLICY)
    # Of a zone that the task names, lowering says where in the configuration its subnet is missing.
    if shelf.without_subnet is not None and request.infra.zone is None:
        codes = codes | shelf.without_subnet * numpy.int32(1 << Filter.SUBNET)
    if (without_image := shelf.without_image(request.image_id)) is not None:
        codes = codes | without_image * numpy.int32(1 << Filter.IMAGE)
    if (not_enabled := shelf.not_enabled(request)) is not None:
        codes = codes | not_enabled * numpy.int32(1 << Filter.CLOSED)
    return codes if can else codes | 1 << Filter.PORTS


def _price_codes(request: ResourceRequest, prices: NDArray[Any]) -> NDArray[Any]:
    import numpy

    if request.max_hourly_cost is None:
        return numpy.int32(0)  # type: ignore[return-value]
    ceiling = int(request.max_hourly_cost / NANO)
    # A price nobody knows cannot be shown to be below a ceiling.
    return numpy.where(prices == UNKNOWN, 1 << Filter.UNKNOWN_PRICE, numpy.where(prices > ceiling, 1 << Filter.PRICE, 0))


def _type_codes(request: ResourceRequest, shelf: Shelf, size: Size) -> NDArray[Any]:
    """The bits that depend on the machine type alone, per type."""
    import numpy

    part = shelf.part
    types = part.offers.types
    codes = numpy.zeros(len(types.names), dtype=numpy.int32)

    def rule_out(rule: Filter, failing: NDArray[Any]) -> None:
        codes[failing] |= 1 << rule

    if request.instance_type is not None:
        rule_out(Filter.TYPE, numpy.array([name != request.instance_type for name in types.names], dtype=bool))
    if request.cpus is not None:
        wanted = int(request.cpus.amount / MILLI)
        rule_out(Filter.FEW_CPUS, types.cpus < wanted)
        if request.cpus.exact:
            rule_out(Filter.OTHER_CPUS, types.cpus > wanted)
    if request.memory_gb is not None:
        wanted = int(request.memory_gb.amount / MILLI)
        rule_out(Filter.LITTLE_MEMORY, types.memory < wanted)
        if request.memory_gb.exact:
            rule_out(Filter.OTHER_MEMORY, types.memory > wanted)
    elif request.memory_per_cpu is not None:
        numerator, denominator = request.memory_per_cpu.amount.as_integer_ratio()
        unknown = (types.cpus == UNKNOWN) | (types.memory == UNKNOWN)
        too_little = types.memory.astype(numpy.int64) * denominator < types.cpus.astype(numpy.int64) * numerator
        rule_out(Filter.LITTLE_MEMORY, too_little | unknown)
    if request.accelerators is not None:
        rule_out(Filter.ACCELERATOR, ~_has_accelerator(request, part))
    any_arch = request.arch is None and (request.instance_type is not None or request.accelerators is not None)
    if not any_arch:
        rule_out(Filter.ARCH, shelf.of_other_arch(request.arch))
    if request.local_disk is not None:
        rule_out(Filter.LOCAL_DISK, types.local_disk < max(1, local_disk_gb(request.local_disk)))
    if request.labels and types.labels is not None:
        rule_out(Filter.LABELS, numpy.array([unmet_label(request, labels) is not None for labels in types.labels], dtype=bool))
    if not (request.memory_gb or request.memory_per_cpu or request.accelerators or request.instance_type):
        rule_out(Filter.SMALL, types.memory < int(FLOOR_MEMORY_GB / MILLI))
        if request.cpus is None:
            rule_out(Filter.SMALL, types.cpus < int(FLOOR_CPUS / MILLI))
    for row in numpy.flatnonzero(types.divisible):
        codes[row] = (codes[row] & ~_SHARED) | _share_code(request, part.instance_type(int(row)), size)
    return codes


_SHARED = sum(
    1 << rule
    for rule in (
        Filter.FEW_CPUS,
        Filter.OTHER_CPUS,
        Filter.LITTLE_MEMORY,
        Filter.OTHER_MEMORY,
        Filter.ACCELERATOR,
        Filter.SMALL,
    )
)
"""What is asked of a node's share and not of the machine, where a machine can be divided."""


def _share_code(request: ResourceRequest, kind: InstanceType, size: Size) -> int:
    """The bits for a divisible machine: all nodes of the task share it, so it is their sum that must fit."""
    shape = node_shape(request, kind, size.task_nodes)
    code = 0
    if shape.cpus < 1 or shape.cpus * size.task_nodes > kind.cpus:
        code |= 1 << Filter.FEW_CPUS
    if shape.memory_gb * size.task_nodes > kind.memory_gb:
        code |= 1 << Filter.LITTLE_MEMORY
    if request.accelerators is not None and matching_accelerator(request, kind) is None:
        code |= 1 << Filter.ACCELERATOR
    return code


def _has_accelerator(request: ResourceRequest, part: CatalogPart) -> NDArray[Any]:
    import numpy

    has = numpy.zeros(len(part.offers.types.names), dtype=bool)
    for wanted in request.accelerators or ():
        has[types_with(part, wanted)] = True
    return has


def types_with(part: CatalogPart, wanted: AcceleratorRequest) -> NDArray[Any]:
    """The machine types that have exactly the accelerators asked for, under any name that means them; rows may repeat."""
    import numpy

    types = part.offers.types
    name, count = asked(wanted.name, wanted.count)
    names = matching(name)
    chosen = [index for index, known in enumerate(types.accelerators) if known in names]
    if not chosen:
        return numpy.zeros(0, dtype=numpy.int32)
    same = numpy.isin(types.device_name, chosen) & (types.device_count == int(count / MILLI))
    rows: NDArray[Any] = types.device_type[same]
    return rows


def unmet_label(request: ResourceRequest, declared: FrozenMap[str]) -> str | None:
    """The first label of a request that a declared machine does not have with that value; None when it has them all."""
    return next((name for name, value in request.labels.items() if declared.get(name) != value), None)


def local_disk_gb(wish: str) -> int:
    """The size in a wish for a disk inside the machine (`nvme:500+`, `300`, `ssd`): GiB, 0 when it names none."""
    number = re.search(r"\d+", wish)
    return int(number.group()) if number else 0


def requirement_field(rule: Filter, request: ResourceRequest) -> str:
    """The field of the request to point at. Without CPUs of its own a share is too small because of `num_nodes`."""
    if rule is Filter.FEW_CPUS and request.cpus is None:
        return "num_nodes"
    if rule is Filter.MARKET and request.market is not Market.SPOT:
        return "market"
    return rule.field
