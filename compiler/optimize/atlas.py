"""Every place of a catalog by number, and what moving data between two of them costs and takes.

Contract: pure, exact. A transfer is priced by the first rule of the sending provider that matches the pair of places; within one zone
(or a region whose zones are not known) it is free. Volumes are priced per transfer, from the first step on: what else an account sends in
a month is not known here, so a price in steps is never too low for one transfer. The matrices hold whole nano-dollars as floats,
which are exact below 2**53 (nine million dollars).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..ir import Catalog, CostLine, Infra, Location, Options
from ..ir.catalog import NANO, CatalogPart, PriceStep, TransferRule
from ..ir.restriction import Restriction
from ..zones import allowed_zones

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Asked: TypeAlias = tuple[str | None, Restriction]
    """What decides where an offer goes whose zone is not known: the zone that its request names, and what a policy leaves."""

PENALTY = 1e14
"""Nano-dollars (100,000 dollars) that an unknown price counts in a choice: it is taken only where nothing known is to be had. Where
what is known can add up to as much, `Atlas.penalty` is larger."""
UNKNOWN_RULE = -1
FREE_RULE = -2

ASSUMED_GBPS = {"zone": Decimal(10), "region": Decimal(10), "provider": Decimal(5), "internet": Decimal(1)}
"""Gigabit per second between two machines: the lower end of what common machine types are given. AWS limits one machine to
5 Gbit/s towards other regions and the internet; a single connection between providers seldom gets more than 1."""
GIGABYTE_BITS = Decimal(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    part: int
    name: str
    continent: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """Places numbered in the written order: first every (provider, region, zone) that has offers, then every region as a whole."""

    catalog: Catalog
    penalty: float = PENALTY
    """What an unknown price counts here."""
    offsets: tuple[int, ...] = field(init=False)
    """First place of each part."""
    regions: tuple[Region, ...] = field(init=False)
    region_of: NDArray[Any] = field(init=False)
    """Place → region number."""
    zone_of: NDArray[Any] = field(init=False)
    """Place → number of its zone, unique over the catalog; -1 without one."""
    part_of: NDArray[Any] = field(init=False)
    """Place → part."""
    locations: tuple[Location, ...] = field(init=False)

    def __post_init__(self) -> None:
        import numpy

        offsets: list[int] = []
        regions: list[Region] = []
        region_of: list[int] = []
        zone_of: list[int] = []
        locations: list[Location] = []
        numbers: dict[tuple[int, str], int] = {}
        for index, part in enumerate(self.catalog.parts):
            offsets.append(len(locations))
            names = [place.region for place in part.offers.places] + list(part.rates.continents)
            for name in sorted(set(names)):
                numbers[index, name] = len(regions)
                regions.append(Region(part=index, name=name, continent=part.rates.continents.get(name)))
            for place in part.offers.places:
                zone_of.append(-1 if place.zone is None else len(locations))
                region_of.append(numbers[index, place.region])
                locations.append(Location(provider=part.provider, region=place.region, zone=place.zone))
        for number, region in enumerate(regions):
            zone_of.append(-1)
            region_of.append(number)
            locations.append(Location(provider=self.catalog.parts[region.part].provider, region=region.name))
        for name, value in (
            ("offsets", tuple(offsets)),
            ("regions", tuple(regions)),
            ("region_of", numpy.array(region_of, dtype=numpy.int32)),
            ("zone_of", numpy.array(zone_of, dtype=numpy.int32)),
            ("part_of", numpy.array([regions[r].part for r in region_of], dtype=numpy.int32)),
            ("locations", tuple(locations)),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def numbers(self) -> dict[Location, int]:
        """Location → number; a region as a whole by its location without zone, also where a place with offers is the same."""
        return {location: number for number, location in enumerate(self.locations)}

    def region_place(self, region: int) -> int:
        """The number of a region as a whole."""
        return len(self.locations) - len(self.regions) + region

    @cached_property
    def rules(self) -> tuple[TransferRule, ...]:
        return tuple(rule for part in self.catalog.parts for rule in part.rates.transfers)

    @cached_property
    def region_rules(self) -> NDArray[Any]:
        """[sending region, receiving region] → rule number. On the diagonal the rule for another region of the same provider."""
        import numpy

        table = numpy.full((len(self.regions), len(self.regions)), UNKNOWN_RULE, dtype=numpy.int32)
        start = 0
        for index, part in enumerate(self.catalog.parts):
            for number, region in enumerate(self.regions):
                if region.part == index:
                    self._fill_row(table[number], region, part, start)
            start += len(part.rates.transfers)
        return table

    def _fill_row(self, row: NDArray[Any], region: Region, part: CatalogPart, start: int) -> None:
        sources = {region.name, f"continent:{region.continent}", "*"}
        mine = [(start + i, rule) for i, rule in enumerate(part.rates.transfers) if rule.source in sources]

        def first(*destinations: str) -> int:
            return next((number for number, rule in mine if rule.destination in destinations), UNKNOWN_RULE)

        outside: dict[str | None, int] = {}
        for other, there in enumerate(self.regions):
            if there.part != region.part:
                if there.continent not in outside:
                    outside[there.continent] = first(f"internet:{there.continent}", "internet")
                row[other] = outside[there.continent]
            else:
                near = ("same-continent",) if there.continent == region.continent and region.continent is not None else ()
                names = (there.name,) if there.name != region.name else ()
                row[other] = first(*names, *near, "other-region")

    @cached_property
    def zone_rules(self) -> NDArray[Any]:
        """Region → the rule between two of its zones."""
        import numpy

        numbers = numpy.full(len(self.regions), UNKNOWN_RULE, dtype=numpy.int32)
        start = 0
        for index, part in enumerate(self.catalog.parts):
            for number, region in enumerate(self.regions):
                if region.part != index:
                    continue
                sources = {region.name, f"continent:{region.continent}", "*"}
                for position, rule in enumerate(part.rates.transfers):
                    if rule.destination == "other-zone" and rule.source in sources:
                        numbers[number] = start + position
                        break
            start += len(part.rates.transfers)
        return numbers

    def rule_between(self, source: int, destination: int) -> int:
        """The rule number for a pair of places; FREE_RULE within a zone, UNKNOWN_RULE where nobody has said."""
        here, there = int(self.region_of[source]), int(self.region_of[destination])
        if here != there:
            return int(self.region_rules[here, there])
        zones = int(self.zone_of[source]), int(self.zone_of[destination])
        return FREE_RULE if -1 in zones or zones[0] == zones[1] else int(self.zone_rules[here])

    def costs(self, source: NDArray[Any], destination: NDArray[Any], gb: Decimal) -> NDArray[Any]:
        """[source place, destination place] → nano-dollars for `gb`, `penalty` where the price is unknown."""
        import numpy

        if gb <= 0:
            return numpy.zeros((len(source), len(destination)))
        price = self._prices(gb)
        here, there = self.region_of[source], self.region_of[destination]
        # Rule -2 (free) and -1 (unknown) are the last two entries.
        if len(source) * len(destination) > self.region_rules.size:
            costs: NDArray[Any] = price[self.region_rules][numpy.ix_(here, there)]
        else:
            costs = price[self.region_rules[numpy.ix_(here, there)]]
        rows, columns = numpy.nonzero(here[:, None] == there[None, :])
        if len(rows):
            zones = self.zone_of[source][rows], self.zone_of[destination][columns]
            together = (zones[0] == zones[1]) | (zones[0] == -1) | (zones[1] == -1)
            costs[rows, columns] = numpy.where(together, 0.0, price[self.zone_rules[here[rows]]])
        return costs

    def _prices(self, gb: Decimal) -> NDArray[Any]:
        """Nano-dollars for `gb` by each rule, then the free and the unknown one. Rules of equal price steps are priced once."""
        import numpy

        if gb not in self._known_prices:
            distinct = {key: price_of(self.rules[first], gb) for key, first in self._distinct_rules.items()}
            prices = [distinct[rule.steps, rule.both_ways] for rule in self.rules]
            known = [self.penalty if price is None else nano(price) for price in prices]
            self._known_prices[gb] = numpy.array([*known, 0.0, self.penalty])
        return self._known_prices[gb]

    def places_of(self, options: Options, asked: tuple[Asked, ...]) -> NDArray[Any]:
        """The number of every candidate's place, in the zone where it would be planned. asked: of each request. Groups that share their
        columns and ask for the same share this one too."""
        import numpy

        key = id(options.row), asked
        if key not in self._places:
            place = numpy.empty(len(options), dtype=numpy.int32)
            # Candidates of one request at one provider stand together.
            apart = (options.part[1:] != options.part[:-1]) | (options.request[1:] != options.request[:-1])
            for first, end in pairwise([0, *(numpy.flatnonzero(apart) + 1).tolist(), len(options)]):
                if first < end:
                    index = int(options.part[first])
                    settled = self._settled(index, asked[int(options.request[first])])
                    place[first:end] = settled[self.catalog.parts[index].offers.place[options.row[first:end]]]
            # With the options, so that the id stays theirs.
            self._places[key] = place, options
        return self._places[key][0]

    def _settled(self, index: int, asked: Asked) -> NDArray[Any]:
        """Place of a part → its number, or, where offers do not say the zone, that of the one that would be taken, if it has a number."""
        import numpy

        if (index, asked) not in self._in_zones:
            part, first = self.catalog.parts[index], self.offsets[index]
            numbers = numpy.arange(first, first + len(part.offers.places), dtype=numpy.int32)
            for row, place in enumerate(part.offers.places):
                if place.zone is None:
                    zone = allowed_zones(self.catalog, part, place.region, None, Infra(zone=asked[0]), asked[1])[0]
                    numbers[row] = self.zone_place(first + row, zone)
            self._in_zones[index, asked] = numbers
        return self._in_zones[index, asked]

    def zone_place(self, place: int, zone: str | None) -> int:
        """The number of a zone in the region of a place; the place itself where no offer is in that zone by name."""
        return place if zone is None else self.numbers.get(replace(self.locations[place], zone=zone), place)

    @cached_property
    def _in_zones(self) -> dict[tuple[int, Asked], NDArray[Any]]:
        return {}

    @cached_property
    def _places(self) -> dict[tuple[int, tuple[Asked, ...]], tuple[NDArray[Any], Options]]:
        return {}

    @cached_property
    def beside(self) -> dict[object, Any]:
        """A memory for `costs`: what disks and addresses cost at every place, by what is asked for."""
        return {}

    @cached_property
    def rates(self) -> dict[object, Any]:
        """A memory for `costs`: what a node-hour of each candidate costs, by columns and what is asked for beside."""
        return {}

    @cached_property
    def _known_prices(self) -> dict[Decimal, NDArray[Any]]:
        return {}

    @cached_property
    def _distinct_rules(self) -> dict[tuple[tuple[PriceStep, ...], bool], int]:
        """The price steps that occur → the first rule that has them."""
        found: dict[tuple[tuple[PriceStep, ...], bool], int] = {}
        for number, rule in enumerate(self.rules):
            found.setdefault((rule.steps, rule.both_ways), number)
        return found

    def hours(self, source: NDArray[Any], destination: NDArray[Any], gb: Decimal) -> NDArray[Any]:
        """[source place, destination place] → hours that `gb` takes at the assumed bandwidth."""
        import numpy

        here, there = self.region_of[source], self.region_of[destination]
        parts = self.part_of[source][:, None] == self.part_of[destination][None, :]
        same = here[:, None] == there[None, :]
        near, provider, far = (float(transfer_hours(gb, name)) for name in ("region", "provider", "internet"))
        hours: NDArray[Any] = numpy.where(same, near, numpy.where(parts, provider, far))
        return hours

    def distance(self, source: int, destination: int) -> str:
        """The key of ASSUMED_GBPS for a pair of places."""
        if self.region_of[source] == self.region_of[destination]:
            return "region"
        return "provider" if self.part_of[source] == self.part_of[destination] else "internet"

    def line(self, label: str, source: int, destination: int, gb: Decimal) -> CostLine:
        """The cost line of moving `gb`."""
        number = self.rule_between(source, destination)
        if number == FREE_RULE or gb <= 0:
            free = "within one zone or region" if number == FREE_RULE else "nothing moves"
            return CostLine(kind="transfer", label=label, quantity=gb, unit="GB", unit_price=Decimal(0), source=free, as_of="")
        if number == UNKNOWN_RULE:
            return CostLine(
                kind="transfer", label=label, quantity=gb, unit="GB", unit_price=None, source="no price is known", as_of=""
            )
        rule = self.rules[number]
        steps = stepped(rule.steps, gb)
        factor = 2 if rule.both_ways else 1
        known = None if any(price is None for _, price in steps) else sum((q * (p or 0) for q, p in steps), Decimal(0)) * factor
        return CostLine(
            kind="transfer",
            label=label,
            quantity=gb,
            unit="GB",
            unit_price=None if known is None else known / gb,
            source=rule.price_source,
            as_of=rule.as_of,
            estimated=rule.estimated,
            steps=tuple((quantity, (price or Decimal(0)) * factor) for quantity, price in steps) if known is not None else (),
        )


def stepped(steps: tuple[PriceStep, ...], quantity: Decimal) -> tuple[tuple[Decimal, Decimal | None], ...]:
    """A quantity cut up by price steps, ascending: (quantity in the step, its unit price), none empty."""
    cut = []
    for index, step in enumerate(steps):
        until = steps[index + 1].above if index + 1 < len(steps) else quantity
        inside = min(quantity, until) - step.above
        if inside > 0:
            cut.append((inside, step.price))
    return tuple(cut)


def price_of(rule: TransferRule, gb: Decimal) -> Decimal | None:
    """US dollars for one transfer of `gb`; None when a step it needs has no known price."""
    total = Decimal(0)
    for quantity, price in stepped(rule.steps, gb):
        if price is None:
            return None
        total += quantity * price
    return total * 2 if rule.both_ways else total


def nano(amount: Decimal) -> float:
    """US dollars as whole nano-dollars."""
    return float((amount / NANO).to_integral_value())


def transfer_hours(gb: Decimal, distance: str) -> Decimal:
    """Hours to move `gb` at the assumed bandwidth."""
    return gb * GIGABYTE_BITS / ASSUMED_GBPS[distance] / 3600
