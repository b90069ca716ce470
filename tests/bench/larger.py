"""The shipped catalog several times over, for growth curves: every region again under new names, at slightly other prices.

Other prices, because copies at equal ones would be dominated at once and nothing would be measured.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy

from skyc.compiler.ir import FrozenMap
from skyc.compiler.ir.catalog import UNKNOWN, AddressRate, CatalogPart, DiskRate, Place, Rates, StorageRate, TransferRule
from skyc.providers.build_catalog import FOLDERS
from skyc.providers.snapshot import encode, read_part
from skyc.providers.stored import CATALOG_FILE, refreshed_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROVIDERS = Path(__file__).resolve().parents[2] / "providers"
STEP = 7
"""How many thousandths the prices of one copy and the next are apart, up and down in turn."""
Rate = TypeVar("Rate", DiskRate, StorageRate, AddressRate)


def write(home: Path, times: int) -> int:
    """Put a catalog `times` the size where a refresh would. Returns how many offers it has, each market counted."""
    offers = 0
    for provider, folder in FOLDERS:
        part = replicated(read_part(PROVIDERS / folder / CATALOG_FILE), times)
        place = refreshed_path(home, provider)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode(part))
        offers += len(part.offers.type) * (2 if part.offers.sells_spot else 1)
    return offers


def replicated(part: CatalogPart, times: int) -> CatalogPart:
    """The part with `times` as many regions. With 1 it is as it was."""
    old = part.offers
    places = sorted(
        ((_named(place.region, copy), _named(place.zone, copy) if place.zone else "", copy, number))
        for copy in range(times)
        for number, place in enumerate(old.places)
    )
    first = numpy.searchsorted(old.place, numpy.arange(len(old.places) + 1))
    pieces = [numpy.arange(first[number], first[number + 1]) for _, _, _, number in places]
    rows = numpy.concatenate(pieces) if pieces else numpy.zeros(0, dtype=numpy.int64)
    copies = numpy.repeat([copy for _, _, copy, _ in places], [len(piece) for piece in pieces])
    offers = dataclasses.replace(
        old,
        places=tuple(Place(region=region, zone=zone or None) for region, zone, _, _ in places),
        place=numpy.repeat(numpy.arange(len(places), dtype=old.place.dtype), [len(piece) for piece in pieces]),
        on_demand=_priced(old.on_demand[rows], copies),
        spot=_priced(old.spot[rows], copies),
        **{name: getattr(old, name)[rows] for name in ("type", "source", "estimated", "interruptions", "capacity")},
    )
    return dataclasses.replace(part, offers=offers, rates=_rates(part.rates, times))


def _named(name: str, copy: int) -> str:
    return f"{name}-copy{copy}" if copy else name


def _priced(prices: NDArray[Any], copies: NDArray[Any]) -> NDArray[Any]:
    thousandths = 1000 + STEP * ((copies + 1) // 2) * numpy.where(copies % 2, 1, -1)
    return numpy.where(prices == UNKNOWN, UNKNOWN, prices * thousandths // 1000)


def _rates(rates: Rates, times: int) -> Rates:
    def again(items: tuple[Rate, ...]) -> tuple[Rate, ...]:
        return tuple(
            dataclasses.replace(item, region=_named(item.region, copy))
            for copy in range(times)
            for item in items
            if copy == 0 or item.region != "*"
        )

    return dataclasses.replace(
        rates,
        continents=FrozenMap(
            {_named(region, copy): continent for region, continent in rates.continents.items() for copy in range(times)}
        ),
        transfers=_transfers(rates, times),
        disks=again(rates.disks),
        storages=again(rates.storages),
        addresses=again(rates.addresses),
    )


def _transfers(rates: Rates, times: int) -> tuple[TransferRule, ...]:
    """Rules between named regions hold within a copy; across copies the provider's general ones do."""
    rules = []
    for rule in rates.transfers:
        for copy in range(times):
            source, destination = (
                _named(name, copy) if name in rates.continents else name for name in (rule.source, rule.destination)
            )
            if copy == 0 or (source, destination) != (rule.source, rule.destination):
                rules.append(dataclasses.replace(rule, source=source, destination=destination))
    return tuple(rules)
