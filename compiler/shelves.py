"""Which offers of a provider are of some machine types at some places, and how many, without looking at every offer for every request.

Contract: exact, and nothing but a memory of the part: `Shelf` counts a part's offers per type and per place once, so that what a request
excludes is a sum over some thousand types instead of a pass over a hundred thousand offers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .barred import barred_types
from .ir import NO_IMAGES, Catalog, CatalogPart, FrozenMap, ImageByPlace, ImagePlaces, Infra, Market, Quota, ResourceRequest
from .ir.catalog import UNKNOWN
from .ir.restriction import Restriction
from .zones import zones_for

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Sold: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
    """Rows of offers, and which of them are meant as spot."""

SMALL = 64
FEW = 8
"""Types with less than one in so many offers are gathered one by one; for more a pass over all offers is quicker."""


def inside(infra: Infra, provider: str, region: str, zone: str | None, zones: tuple[str, ...] = ()) -> bool:
    """Whether a place is within what is asked for; a part that is not asked for allows any. zones: of the region, for a place whose zone
    nobody has said: it stands for each of them."""
    if zone is None and infra.zone in zones:
        zone = infra.zone
    asked = ((infra.provider, provider), (infra.region, region), (infra.zone, zone))
    return all(want is None or want == have for want, have in asked)


def names_region(request: ResourceRequest, part: CatalogPart, region: str) -> bool:
    """Whether a request names a region: itself, by a zone of it, or by an image for it. Who does knows that the account has it."""
    infra, image = request.infra, request.image_id
    if infra.provider not in (None, part.provider):
        return False
    if isinstance(image, ImageByPlace) and (region in image.images or f"{part.provider}/{region}" in image.images):
        return True
    if infra.region is not None or infra.zone is None:
        return infra.region == region
    listed = any(place.region == region and place.zone == infra.zone for place in part.offers.places)
    return listed or infra.zone in part.zones.get(region, ())


@dataclass(frozen=True, kw_only=True, eq=False)
class Shelf:
    """One part's offers, counted."""

    part: CatalogPart
    quotas: tuple[Quota, ...] = ()
    """What the user's account there may have: where there are any, each offer is looked at."""
    zones: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    """Of the catalog (`Catalog.zones`)."""
    images: ImagePlaces = field(default_factory=dict)
    """Where machines can start from the images that requests name."""
    closed: tuple[str, ...] = ()
    """Of the catalog (`Catalog.closed`)."""
    _rows: dict[tuple[bytes, bytes, Market], Sold] = field(default_factory=dict)
    _other_arch: dict[str | None, NDArray[Any]] = field(default_factory=dict)
    _elsewhere: dict[Infra, NDArray[Any]] = field(default_factory=dict)
    _without_image: dict[str | ImageByPlace, NDArray[Any]] = field(default_factory=dict)
    _not_enabled: dict[tuple[str | None, ImageByPlace | None], NDArray[Any]] = field(default_factory=dict)
    _barred: dict[tuple[Restriction, str | None], NDArray[Any]] = field(default_factory=dict)
    _barred_types: dict[Restriction, NDArray[Any]] = field(default_factory=dict)

    @cached_property
    def counted(self) -> bool:
        """Whether somebody counts the machines: such parts are small, and each offer is looked at."""
        return bool((self.part.offers.capacity != UNKNOWN).any())

    def elsewhere(self, infra: Infra) -> NDArray[Any]:
        """Place → whether it is outside of what is asked for."""
        import numpy

        if infra not in self._elsewhere:
            places, zones = self.part.offers.places, self.part.zones
            outside = (
                not inside(infra, self.part.provider, place.region, place.zone, zones.get(place.region, ())) for place in places
            )
            self._elsewhere[infra] = numpy.fromiter(outside, dtype=bool, count=len(places))
        return self._elsewhere[infra]

    def barred(self, restriction: Restriction, infra: Infra) -> NDArray[Any]:
        """Place → whether a policy rules it out: every zone that would be taken for what is asked for."""
        import numpy

        key = (restriction, infra.zone)
        if key not in self._barred:
            part = self.part
            outside = (
                not any(
                    restriction.place(part.provider, place.region, zone)
                    for zone in zones_for(
                        part, place.region, place.zone, infra, self.zones.get(f"{part.provider}/{place.region}")
                    )
                )
                for place in part.offers.places
            )
            self._barred[key] = numpy.fromiter(outside, dtype=bool, count=len(part.offers.places))
        return self._barred[key]

    def barred_types(self, restriction: Restriction) -> NDArray[Any]:
        """Type → whether a policy rules it out."""
        if restriction not in self._barred_types:
            self._barred_types[restriction] = barred_types(restriction, self.part)
        return self._barred_types[restriction]

    @cached_property
    def without_subnet(self) -> NDArray[Any] | None:
        """Place → whether the user's network there has no subnet in its zone; None where there is no such network. A place whose zone
        nobody has said is without where none of the region's zones has one, and may have one where the provider chooses."""
        import numpy

        if not any(name.startswith(f"{self.part.provider}/") for name in self.zones):
            return None
        closed = []
        for place in self.part.offers.places:
            known = self.zones.get(f"{self.part.provider}/{place.region}")
            needed = self.part.zones.get(place.region, ()) if self.part.zone_needed else ()
            those = needed if place.zone is None else (place.zone,)
            closed.append(known is not None and bool(those) and not any(zone in known for zone in those))
        return numpy.array(closed, dtype=bool)

    def without_image(self, image: str | ImageByPlace | None) -> NDArray[Any] | None:
        """Place → whether no machine there can start from an image; None for one that nothing is said of."""
        import numpy

        if image is None or image not in self.images:
            return None
        if image not in self._without_image:
            there = self.images[image].get(self.part.provider, frozenset())
            lacking = (there is not None and place.region not in there for place in self.part.offers.places)
            self._without_image[image] = numpy.fromiter(lacking, dtype=bool, count=len(self.part.offers.places))
        return self._without_image[image]

    def not_enabled(self, request: ResourceRequest) -> NDArray[Any] | None:
        """Place → whether its region is closed to the account and the request does not name it; None where none is."""
        import numpy

        if not self.closed or request.infra.region is not None:
            return None
        key = (request.infra.zone, request.image_id if isinstance(request.image_id, ImageByPlace) else None)
        if key not in self._not_enabled:
            names = (place.partition("/")[2] for place in self.closed)
            shut = {name for name in names if not names_region(request, self.part, name)}
            rows = (place.region in shut for place in self.part.offers.places)
            self._not_enabled[key] = numpy.fromiter(rows, dtype=bool, count=len(self.part.offers.places))
        return self._not_enabled[key]

    def of_other_arch(self, arch: str | None) -> NDArray[Any]:
        """Type → whether it is of another processor architecture; x86_64 without one, except for a machine the user knows."""
        import numpy

        if arch not in self._other_arch:
            types = self.part.offers.types
            wanted = [index for index, name in enumerate(types.archs) if name == (arch or "x86_64")]
            other = ~numpy.isin(types.arch, wanted)
            self._other_arch[arch] = other if arch is not None else other & ~types.divisible
        return self._other_arch[arch]

    @cached_property
    def of_type(self) -> NDArray[Any]:
        """Type → how many offers it has."""
        import numpy

        return numpy.bincount(self.part.offers.type, minlength=len(self.part.offers.types.names))

    @cached_property
    def at_place(self) -> NDArray[Any]:
        """Place → how many offers are there."""
        import numpy

        return numpy.bincount(self.part.offers.place, minlength=len(self.part.offers.places))

    @cached_property
    def _by_type(self) -> NDArray[Any]:
        """Rows of offers, those of one type together and in the written order."""
        import numpy

        return numpy.argsort(self.part.offers.type, kind="stable")

    @cached_property
    def _starts(self) -> NDArray[Any]:
        import numpy

        return numpy.concatenate([[0], numpy.cumsum(self.of_type)])

    def first_of_types(self, chosen: NDArray[Any]) -> int:
        """The first offer of any of some types (indices of types that have offers)."""
        return int(self._by_type[self._starts[chosen]].min())

    def first_at_places(self, chosen: NDArray[Any]) -> int:
        """The first offer at any of some places (indices of places that have offers)."""
        import numpy

        return int(numpy.isin(self.part.offers.place, chosen).argmax())

    def rows(self, types: NDArray[Any], places: NDArray[Any], market: Market) -> Sold:
        """The offers of types and at places given by masks in a market, and which of them are spot, in the written order.

        Equal questions get the same arrays.
        """
        import numpy

        key = (types.tobytes(), places.tobytes(), market)
        if key not in self._rows:
            rows = self._find(types, places)
            if market is Market.SPOT and not self.part.offers.sells_spot:
                rows = rows[:0]
            if market is Market.AUTO and self.part.offers.sells_spot:
                # The written order puts on-demand before spot within one offer.
                self._rows[key] = numpy.repeat(rows, 2), numpy.tile(numpy.array([False, True]), len(rows))
            else:
                self._rows[key] = rows, numpy.full(len(rows), market is Market.SPOT)
        return self._rows[key]

    def _find(self, types: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
        import numpy

        offers = self.part.offers
        chosen = numpy.flatnonzero(types)
        if self.of_type[chosen].sum() * FEW < len(offers.type):
            pieces = [self._by_type[self._starts[kind] : self._starts[kind + 1]] for kind in chosen.tolist()]
            found = numpy.sort(numpy.concatenate(pieces)) if pieces else numpy.zeros(0, dtype=numpy.int64)
            return found if places.all() else found[places[offers.place[found]]]
        mask = types[offers.type]
        return numpy.flatnonzero(mask if places.all() else mask & places[offers.place])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Offers as columns: see `Options`."""

    part: NDArray[Any]
    row: NDArray[Any]
    spot: NDArray[Any]
    hourly: NDArray[Any]


class Shelves:
    """All parts of a catalog, shared by all requests of a compilation."""

    def __init__(self, catalog: Catalog, images: ImagePlaces = NO_IMAGES) -> None:
        self.parts = tuple(
            Shelf(
                part=part,
                quotas=tuple(quota for quota in catalog.quotas if quota.provider == part.provider),
                zones=catalog.zones,
                images=images,
                closed=tuple(place for place in catalog.closed if place.startswith(f"{part.provider}/")),
            )
            for part in catalog.parts
        )
        self._known: dict[tuple[object, ...], tuple[Columns, list[Sold]]] = {}

    def columns(self, sold: list[Sold]) -> Columns:
        """The offers of each part as one. Of a thousand different requests many are met by the same offers, and these share columns."""
        # Small arrays are compared; of large ones a shelf has one each, which is kept here so that its id means it.
        key = tuple((*map(id, each),) if len(each[0]) > SMALL else (each[0].tobytes(), each[1].tobytes()) for each in sold)
        if key not in self._known:
            self._known[key] = self._columns(sold), sold
        return self._known[key][0]

    def _columns(self, sold: list[Sold]) -> Columns:
        import numpy

        parts = [numpy.full(len(rows), index, dtype=numpy.int16) for index, (rows, _) in enumerate(sold)]
        prices = []
        for shelf, (rows, spot) in zip(self.parts, sold, strict=True):
            offers = shelf.part.offers
            on_demand = offers.on_demand[rows]
            prices.append(numpy.where(spot, offers.spot[rows], on_demand) if spot.any() else on_demand)
        if not parts:
            empty = numpy.zeros(0, dtype=numpy.int64)
            return Columns(part=empty.astype(numpy.int16), row=empty, spot=empty.astype(bool), hourly=empty)
        return Columns(
            part=numpy.concatenate(parts),
            row=numpy.concatenate([rows for rows, _ in sold]),
            spot=numpy.concatenate([spot for _, spot in sold]),
            hourly=numpy.concatenate(prices),
        )
