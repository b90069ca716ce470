"""Offers of the catalog, filtered and sorted.

Contract: `find` is pure over the parts it is given and works on their columns; only the offers that are shown become values. Zones of
one region with one price are one offer. A price that is not known matches no ceiling and sorts last; it is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from ..compiler.diagnostics import Diagnostic, SkycError, error
from ..compiler.ir import Accelerator, Bound
from ..compiler.ir.accelerators import asked, canonical, close, matching
from ..compiler.ir.catalog import MILLI, NANO, UNKNOWN, CatalogPart, Place, amount, dollars
from ..compiler.parse import amounts, nearest

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Mask = NDArray[numpy.bool_]
    Keys = NDArray[numpy.int64]

T = TypeVar("T")

MARKETS = ("any", "on-demand", "spot")
SORTS = ("price", "spot", "name", "memory", "cpus")
ARCHS = ("x86_64", "arm64", "s390x")
_LAST = 2**62
"""Sorts after every price."""
_LARGEST_TABLE = 2**32
"""More machine types than a part can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A machine type in one region, in every zone where it has this price. US dollars per hour; None: not known.

    interruption_rate: expected spot interruptions per node-hour. capacity: how many exist, where somebody counts them.
    """

    provider: str
    region: str
    zones: tuple[str, ...]
    instance_type: str
    cpus: Decimal | None
    memory_gb: Decimal | None
    accelerators: tuple[Accelerator, ...]
    arch: str
    local_disk_gb: Decimal | None
    on_demand: Decimal | None
    spot: Decimal | None
    sells_spot: bool
    """Whether there is a spot market at all."""
    estimated: bool
    source: str
    as_of: str
    interruption_rate: Decimal | None
    capacity: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferList:
    """`total` offers match; `offers` are the first of them."""

    offers: tuple[Offer, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAccelerator:
    """count None: any number of them."""

    name: str
    count: Bound | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferQuery:
    """What is asked for. Empty tuples and None: no restriction. `places`: per name of region or zone."""

    accelerators: tuple[WantedAccelerator, ...] = ()
    cpus: Bound | None = None
    memory_gb: Bound | None = None
    memory_per_cpu: Bound | None = None
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    market: str = "any"
    max_price: Decimal | None = None
    arch: str | None = None
    estimates: bool = True
    sort: str = "price"
    best_region: bool = False
    """Each machine type once per provider, in the first of its regions in the order asked for."""
    limit: int | None = 20


def query(
    *,
    accelerator: Sequence[str] = (),
    cpus: str | None = None,
    memory: str | None = None,
    region: Sequence[str] = (),
    zone: Sequence[str] = (),
    market: str = "any",
    max_price: str | Decimal | None = None,
    arch: str | None = None,
    estimates: bool = True,
    sort: str = "price",
    best_region: bool = False,
    limit: int | None = 20,
) -> OfferQuery:
    """A query from texts. Raises SkycError for one that cannot be read."""
    exact, ratio = _read("memory", memory, amounts.read_memory) or (None, None)
    for name, value, known in (("market", market, MARKETS), ("sort", sort, SORTS), ("arch", arch, (*ARCHS, None))):
        if value not in known:
            raise SkycError(_unreadable(name, str(value), f"It is none of {', '.join(word for word in known if word)}."))
    return OfferQuery(
        accelerators=tuple(_accelerator(text) for text in accelerator),
        cpus=_read("cpus", cpus, amounts.read_bound),
        memory_gb=exact,
        memory_per_cpu=ratio,
        regions=tuple(region),
        zones=tuple(zone),
        market=market,
        max_price=_read("max_price", None if max_price is None else str(max_price), amounts.read_money),
        arch=arch,
        estimates=estimates,
        sort=sort,
        best_region=best_region,
        limit=limit,
    )


def _read(name: str, text: str | None, reader: Callable[[str], T]) -> T | None:
    if text is None:
        return None
    try:
        return reader(text)
    except amounts.Misread as misread:
        raise SkycError(_unreadable(name, text, misread.reason, misread.hint)) from None


def _unreadable(name: str, text: str, reason: str, hint: str | None = None) -> Diagnostic:
    return error("bad-value", "A value cannot be read", f"`{name}` is `{text}`. {reason}", hint=hint)


def _accelerator(text: str) -> WantedAccelerator:
    """`A100` (any number), `A100:8`, `A100:4+`, `tpu-v4-8`."""
    name, colon, count = text.strip().partition(":")
    if not name or (colon and not count.strip()):
        raise SkycError(_unreadable("accelerator", text, "It is no accelerator.", "write `A100`, `A100:8` or `A100:4+`"))
    bound = _read("accelerator", count if colon else None, amounts.read_bound)
    known, number = asked(name, Decimal(1) if bound is None else bound.amount)
    if bound is None and canonical(name) is None and known != name:
        bound = Bound(amount=number, exact=True)
    return WantedAccelerator(name=known, count=None if bound is None else Bound(amount=number, exact=bound.exact))


def find(parts: Sequence[CatalogPart], wanted: OfferQuery) -> OfferList:
    """The offers that match, in the order asked for; ties by provider, region and type. Raises SkycError for a name that
    occurs nowhere: an empty list would look like an answer."""
    import numpy

    _check_names(parts, wanted)
    tables = [_Matches.of(part, wanted) for part in parts]
    sizes = [len(table.first) for table in tables]
    which = numpy.repeat(numpy.arange(len(tables)), sizes)
    position = numpy.arange(sum(sizes)) - numpy.repeat(numpy.cumsum([0, *sizes])[:-1], sizes)
    keys = numpy.concatenate([numpy.zeros(0, dtype=numpy.int64), *(table.keys for table in tables)])
    order = numpy.argsort(keys, kind="stable")
    if wanted.sort == "name":
        order = order[numpy.argsort(_names(tables)[order], kind="stable")]
    if wanted.best_region:
        kinds = [table.part.offers.type[table.rows[table.first]].astype(numpy.int64) for table in tables]
        machine = which * _LARGEST_TABLE + numpy.concatenate([numpy.zeros(0, dtype=numpy.int64), *kinds])
        _, first = numpy.unique(machine[order], return_index=True)
        order = order[numpy.sort(first)]
    shown = order if wanted.limit is None else order[: wanted.limit]
    return OfferList(offers=tuple(tables[int(which[row])].offer(int(position[row])) for row in shown), total=len(order))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Matches:
    """The matching offers of one part, zones of one price together. Row i stands for `rows[first[i] : end[i]]`."""

    part: CatalogPart
    rows: Keys
    first: Keys
    end: Keys
    keys: Keys
    """What they are sorted by, ascending."""

    @classmethod
    def of(cls, part: CatalogPart, wanted: OfferQuery) -> _Matches:
        import numpy

        offers = part.offers
        (rows,) = numpy.nonzero(_offer_mask(part, wanted))
        regions = sorted({place.region for place in offers.places})
        region_of = numpy.array([regions.index(place.region) for place in offers.places], dtype=numpy.int64)
        where = region_of[offers.place[rows]] * (len(offers.types.names) + 1) + offers.type[rows]
        facts = (where, offers.on_demand[rows], offers.spot[rows], offers.source[rows], offers.estimated[rows])
        order = numpy.lexsort(facts[::-1])
        rows = rows[order]
        starts = numpy.zeros(len(rows), dtype=bool)
        if len(rows):
            starts[0] = True
            for fact in facts:
                ordered = fact[order]
                starts[1:] |= ordered[1:] != ordered[:-1]
        (first,) = numpy.nonzero(starts)
        end = numpy.append(first[1:], len(rows))
        return cls(part=part, rows=rows, first=first, end=end, keys=_sort_keys(part, wanted, rows[first]))

    def offer(self, position: int) -> Offer:
        part, offers, types = self.part, self.part.offers, self.part.offers.types
        members = self.rows[self.first[position] : self.end[position]]
        row = int(members[0])
        kind = int(offers.type[row])
        source, as_of = offers.sources[int(offers.source[row])]
        zones = {offers.places[int(offers.place[member])].zone for member in members}
        capacity, rate = int(offers.capacity[row]), int(offers.interruptions[row])
        return Offer(
            provider=part.provider,
            region=offers.places[int(offers.place[row])].region,
            zones=tuple(sorted(zone for zone in zones if zone is not None)),
            instance_type=types.names[kind],
            cpus=amount(int(types.cpus[kind])),
            memory_gb=amount(int(types.memory[kind])),
            accelerators=types.devices(kind),
            arch=types.archs[int(types.arch[kind])],
            local_disk_gb=None if types.local_disk[kind] == UNKNOWN else Decimal(int(types.local_disk[kind])),
            on_demand=dollars(int(offers.on_demand[row])),
            spot=dollars(int(offers.spot[row])),
            sells_spot=offers.sells_spot,
            estimated=bool(offers.estimated[row]),
            source=source,
            as_of=as_of,
            interruption_rate=None if rate == UNKNOWN else Decimal(rate) / 10**6,
            capacity=None if capacity == UNKNOWN else capacity,
        )


def _names(tables: Sequence[_Matches]) -> Any:
    import numpy

    return numpy.array(
        [
            table.part.offers.types.names[kind]
            for table in tables
            for kind in table.part.offers.type[table.rows[table.first]].tolist()
        ]
    )


def _sort_keys(part: CatalogPart, wanted: OfferQuery, rows: Keys) -> Keys:
    """By price, the price of the market asked for, or the lower one when both count."""
    import numpy

    offers, types = part.offers, part.offers.types
    if wanted.sort == "name":
        return numpy.zeros(len(rows), dtype=numpy.int64)
    if wanted.sort in ("cpus", "memory"):
        column = types.cpus if wanted.sort == "cpus" else types.memory
        values = column[offers.type[rows]].astype(numpy.int64)
    else:
        values = _price(part, "spot" if wanted.sort == "spot" else wanted.market)[rows]
    return numpy.where(values == UNKNOWN, _LAST, values)


def _price(part: CatalogPart, market: str) -> Keys:
    """Nano-dollars per hour in a market; UNKNOWN where it is not known."""
    import numpy

    offers = part.offers
    if market == "on-demand":
        return offers.on_demand.astype(numpy.int64)
    if market == "spot":
        return offers.spot.astype(numpy.int64)
    both = numpy.minimum(offers.on_demand, offers.spot)
    return numpy.where(both == UNKNOWN, numpy.maximum(offers.on_demand, offers.spot), both).astype(numpy.int64)


def _offer_mask(part: CatalogPart, wanted: OfferQuery) -> Mask:
    import numpy

    offers = part.offers
    mask: Mask = _type_mask(part, wanted)[offers.type]
    if wanted.regions or wanted.zones:
        inside = [
            (not wanted.regions or place.region in wanted.regions)
            and (not wanted.zones or not set(wanted.zones).isdisjoint(_zones_of(part, place)))
            for place in offers.places
        ]
        mask &= numpy.array(inside, dtype=bool)[offers.place]
    if wanted.market == "spot" and not offers.sells_spot:
        mask &= False
    if wanted.max_price is not None:
        price = _price(part, wanted.market)
        mask &= (price != UNKNOWN) & (price <= int(wanted.max_price / NANO))
    if not wanted.estimates:
        mask &= ~offers.estimated
    return mask


def _zones_of(part: CatalogPart, place: Place) -> tuple[str, ...]:
    """The zones an offer may be in: its own, or all of the region's where nobody has said."""
    return part.zones.get(place.region, ()) if place.zone is None else (place.zone,)


def _type_mask(part: CatalogPart, wanted: OfferQuery) -> Mask:
    """Which machine types match. Of a divisible one a smaller share can be had, so there an amount is the least."""
    import numpy

    types = part.offers.types
    mask: Mask = numpy.ones(len(types.names), dtype=bool)
    for bound, column in ((wanted.cpus, types.cpus), (wanted.memory_gb, types.memory)):
        if bound is not None:
            mask &= _allowed(bound, column, types.divisible)
    if wanted.memory_per_cpu is not None:
        known = (types.memory != UNKNOWN) & (types.cpus != UNKNOWN)
        least = float(wanted.memory_per_cpu.amount)
        mask &= known & (types.memory >= types.cpus * least)
    if wanted.arch is not None:
        mask &= numpy.array([arch == wanted.arch for arch in types.archs], dtype=bool)[types.arch]
    if wanted.accelerators:
        mask &= _accelerator_mask(part, wanted.accelerators)
    return mask


def _accelerator_mask(part: CatalogPart, wanted: Iterable[WantedAccelerator]) -> Mask:
    import numpy

    types = part.offers.types
    mask: Mask = numpy.zeros(len(types.names), dtype=bool)
    for one in wanted:
        names = {name.lower() for name in matching(one.name)}
        meant = numpy.array([name.lower() in names for name in types.accelerators], dtype=bool)[types.device_name]
        if one.count is not None:
            meant &= _allowed(one.count, types.device_count, types.divisible[types.device_type])
        mask[types.device_type[meant]] = True
    return mask


def _allowed(bound: Bound, column: Any, divisible: Any) -> Mask:
    least = int((bound.amount / MILLI).to_integral_value())
    enough: Mask = column >= least
    return (enough & divisible) | (column == least) if bound.exact else enough


def _check_names(parts: Sequence[CatalogPart], wanted: OfferQuery) -> None:
    """Raises SkycError for an accelerator, region or zone that no part knows."""
    on_offer = {name.lower() for part in parts for name in part.offers.types.accelerators}
    for one in wanted.accelerators:
        if canonical(one.name) is None and one.name.lower() not in on_offer:
            likely = close(one.name)
            raise SkycError(
                error(
                    "unknown-accelerator",
                    "An accelerator is not known",
                    f"No provider has an accelerator called `{one.name}`.",
                    hint=f"did you mean `{likely}`?" if likely else "`skyc offers --sort name` lists what there is",
                )
            )
    regions = {place.region for part in parts for place in part.offers.places}
    zones = {zone for part in parts for place in part.offers.places for zone in _zones_of(part, place)}
    for kind, names, known in (("region", wanted.regions, regions), ("zone", wanted.zones, zones)):
        for name in names:
            if name not in known:
                likely = nearest(name, known)
                raise SkycError(
                    error(
                        "unknown-place",
                        "A region or zone is not known",
                        f"No provider that is asked has a {kind} called `{name}`.",
                        hint=f"did you mean `{likely}`?" if likely else "`skyc catalog show` lists the providers",
                    )
                )
