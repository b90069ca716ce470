"""Where a provider's part of the catalog comes from: the file that came with skyc, or one that a refresh wrote.

Contract: a refreshed part `<home>/catalog/<provider>.skyc` stands instead of the shipped one unless the shipped one has newer
prices, as it can after skyc itself was updated. Which zones regions have is taken from the shipped one where the refreshed one does
not say it, as one that an older skyc wrote does not; its digest stays that of its file. A refreshed part that cannot be trusted is
refused with the command that mends it: falling back in silence would answer with other prices than the user believes to see.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir.catalog import UNKNOWN, CatalogPart
from .snapshot import decode, read_part

if TYPE_CHECKING:
    from ..compiler.ir.catalog import Column, Flags

CATALOG_FILE = "catalog.skyc"
"""In a cloud's folder: the part that came with skyc."""
_DATE = re.compile(r"20\d\d(?:-\d\d(?:-\d\d)?)?")


def refreshed_path(home: Path, provider: str) -> Path:
    """Where a refresh puts a provider's part."""
    return home / "catalog" / f"{provider}.skyc"


def stored_part(provider: str, shipped: Path, *, home: Path) -> CatalogPart:
    """The part that counts. Raises SkycError for a refreshed part that is damaged, unreadable or another provider's."""
    path = refreshed_path(home, provider)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return read_part(shipped)
    except OSError as failure:
        raise _refused(path, f"It cannot be read: {failure.strerror}.") from failure
    try:
        refreshed = decode(content, name=str(path))
    except SkycError as failure:
        raise _refused(path, failure.diagnostics[0].detail) from failure
    problem = _problem(refreshed, provider)
    if problem is not None:
        raise _refused(path, problem)
    ours = read_part(shipped)
    if _newest(ours) > _newest(refreshed):
        return ours
    return refreshed if refreshed.zones or not ours.zones else _with_zones(refreshed, ours)


def _with_zones(refreshed: CatalogPart, ours: CatalogPart) -> CatalogPart:
    """A refreshed part with our zones, and without offers in zones that a region has not."""
    import numpy

    offers, known = refreshed.offers, set(ours.offers.places)
    there = numpy.array(
        [p in known or p.zone is None or p.zone in ours.zones.get(p.region, (p.zone,)) for p in offers.places], dtype=bool
    )
    rows = there[offers.place]
    offers = replace(
        offers,
        places=tuple(place for place, good in zip(offers.places, there, strict=True) if good),
        place=(numpy.cumsum(there) - 1)[offers.place[rows]].astype(offers.place.dtype),
        type=offers.type[rows],
        on_demand=offers.on_demand[rows],
        spot=offers.spot[rows],
        source=offers.source[rows],
        estimated=offers.estimated[rows],
        interruptions=offers.interruptions[rows],
        capacity=offers.capacity[rows],
    )
    return replace(refreshed, offers=offers, zones=ours.zones, zone_needed=ours.zone_needed)


def _newest(part: CatalogPart) -> str:
    return max(_DATE.findall(part.as_of), default="")


def _problem(part: CatalogPart, provider: str) -> str | None:
    """What a reader of columns could trip over, in a sentence; None for a part that hangs together."""
    types, offers = part.offers.types, part.offers
    ranges = (
        (offers.type, len(types.names)),
        (offers.place, len(offers.places)),
        (offers.source, len(offers.sources)),
        (types.arch, len(types.archs)),
        (types.device_type, len(types.names)),
        (types.device_name, len(types.accelerators)),
    )
    if part.provider != provider:
        return f"It holds the offers of `{part.provider}`."
    if any(len({len(column) for column in columns}) != 1 for columns in _tables(part)) or len(types.cpus) != len(types.names):
        return "Its columns differ in length."
    if any(len(column) and (column.min() < 0 or column.max() >= size) for column, size in ranges):
        return "A row of it names something that the file does not hold."
    known = [column for column in (offers.on_demand, offers.spot) if len(column)]
    if any(((column != UNKNOWN) & (column <= 0)).any() for column in known):
        return "A price in it is zero or less."
    if ((offers.on_demand != UNKNOWN) & (offers.spot > offers.on_demand)).any():
        return "A spot price in it is above the on-demand price."
    return None


def _tables(part: CatalogPart) -> tuple[tuple[Column | Flags, ...], ...]:
    """The columns that describe the same rows: of types, of their devices, of offers."""
    types, offers = part.offers.types, part.offers
    return (
        (types.cpus, types.memory, types.arch, types.local_disk, types.divisible),
        (types.device_type, types.device_name, types.device_count, types.device_memory),
        (
            *(offers.type, offers.place, offers.on_demand, offers.spot, offers.source, offers.estimated),
            *(offers.interruptions, offers.capacity),
        ),
    )


def _refused(path: Path, problem: str) -> SkycError:
    return SkycError(
        error(
            "bad-catalog",
            "A refreshed catalog cannot be used",
            f"{path}: {problem}",
            hint="refresh it, or remove the file to use the catalog that came with skyc",
            commands=("skyc catalog refresh",),
        )
    )
