"""The public calls about the catalog: what is on offer, and how much of it is known. Re-exported by `skyc` itself, lazily.

A module of its own, because neither call needs a session, a state store or the compiler's passes: listing prices is something one
does many times in a row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir.catalog import UNKNOWN, CatalogPart
from ..compiler.parse import nearest
from ..providers.registry import load, names
from ..providers.stored import refreshed_path
from .offers import OfferList, find, query
from .state import home_directory

Home = Path | str | None


def offers(
    *,
    accelerator: str | Sequence[str] = (),
    cpus: str | int | None = None,
    memory: str | int | None = None,
    cloud: str | Sequence[str] = (),
    region: str | Sequence[str] = (),
    zone: str | Sequence[str] = (),
    market: str = "any",
    max_price: str | Decimal | None = None,
    arch: str | None = None,
    estimates: bool = True,
    sort: str = "price",
    best_region: bool = False,
    limit: int | None = 20,
    home: Home = None,
) -> OfferList:
    """The catalog's offers that match, cheapest first. Amounts are as in a task file: `8` is exactly 8, `8+` at least 8.

    accelerator: `A100` (any number of them), `A100:8`, `A100:4+`; one of several is enough. estimates: False leaves out prices that
    are derived or old. best_region: each machine type once per provider, in its cheapest region. limit: None for all.
    """
    wanted = query(
        accelerator=_several(accelerator),
        cpus=None if cpus is None else str(cpus),
        memory=None if memory is None else str(memory),
        region=_several(region),
        zone=_several(zone),
        market=market,
        max_price=max_price,
        arch=arch,
        estimates=estimates,
        sort=sort,
        best_region=best_region,
        limit=limit,
    )
    return find(parts_of(home_directory(home), _several(cloud)), wanted)


def catalog(*, home: Home = None) -> tuple[CatalogSummary, ...]:
    """How much each provider's part of the catalog knows, and how old it is."""
    place = home_directory(home)
    return tuple(summary(part, refreshed=refreshed_path(place, part.provider)) for part in parts_of(place, ()))


def _several(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSummary:
    """One provider's part in figures. `types` counts those on offer; oldest and newest are dates as given, empty if none is."""

    provider: str
    types: int
    regions: int
    offers: int
    on_demand_priced: int
    spot_priced: int
    estimated: int
    sells_spot: bool
    oldest: str
    newest: str
    origin: str
    """`shipped`, `refreshed`, or `declared` for machines whose facts are read here."""
    digest: str
    notes: tuple[str, ...]


def summary(part: CatalogPart, *, refreshed: Path) -> CatalogSummary:
    """`refreshed`: where a refresh would have put this part."""
    import numpy

    offers = part.offers
    dates = re.findall(r"20\d\d(?:-\d\d(?:-\d\d)?)?", part.as_of)
    origin = "shipped"
    if part.as_of == "now":
        origin = "declared"
    elif refreshed.is_file() and hashlib.sha256(refreshed.read_bytes()).hexdigest() == part.digest:
        origin = "refreshed"
    return CatalogSummary(
        provider=part.provider,
        types=len(numpy.unique(offers.type)),
        regions=len({place.region for place in offers.places}),
        offers=len(offers.type),
        on_demand_priced=int((offers.on_demand != UNKNOWN).sum()),
        spot_priced=int((offers.spot != UNKNOWN).sum()),
        estimated=int(offers.estimated.sum()),
        sells_spot=offers.sells_spot,
        oldest=dates[0] if dates else "",
        newest=dates[-1] if dates else "",
        origin=origin,
        digest=part.digest,
        notes=part.notes,
    )


def parts_of(home: Path, wanted: Sequence[str]) -> tuple[CatalogPart, ...]:
    """The parts of the providers named, or of all. Raises SkycError for an unknown name, or a part that cannot be used."""
    known = names()
    for name in wanted:
        if name not in known:
            close = nearest(name, known)
            raise SkycError(
                error(
                    "unknown-target",
                    "There is no such target",
                    f"`{name}` is none of {', '.join(known)}.",
                    hint=f"did you mean `{close}`?" if close else None,
                )
            )
    try:
        return tuple(load(name).catalog(home=home) for name in known if not wanted or name in wanted)
    except SkycError:
        # Loaded here alone: prices are listed many times in a row.
        from .configuration import all_mistakes

        with all_mistakes(home, {name: load(name) for name in known}):
            raise
