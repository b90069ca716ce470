"""`skyc catalog show`: what is known about prices, and how old it is."""

from __future__ import annotations

import argparse
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from .encode import catalog_document

if TYPE_CHECKING:
    from ..runtime.catalog import CatalogSummary
    from .api import Api
    from .screen import Screen

HEADINGS = ("TARGET", "TYPES", "REGIONS", "OFFERS", "ON DEMAND", "SPOT", "ESTIMATES", "OLDEST", "NEWEST", "ORIGIN", "DIGEST")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", default=False, help="print JSON (skyc.catalog/v1)")


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    parts = api.catalog(home=arguments.home)
    if arguments.json:
        screen.document(catalog_document(parts))
        return 0
    today = datetime.now(UTC).date()
    screen.table(HEADINGS, [_row(part, today) for part in parts])
    for part in parts:
        if part.notes:
            screen.document("".join([f"\n{part.provider}\n", *(f"  {note}\n" for note in part.notes)]))
    return 0


def _row(part: CatalogSummary, today: date) -> tuple[str, ...]:
    return (
        part.provider,
        f"{part.types:,}",
        f"{part.regions:,}",
        f"{part.offers:,}",
        _share(part.on_demand_priced, part.offers),
        _share(part.spot_priced, part.offers) if part.sells_spot else "–",
        _share(part.estimated, part.offers),
        part.oldest or "–",
        _with_age(part.newest, today),
        part.origin,
        part.digest[:12],
    )


def _share(some: int, of: int) -> str:
    """A part is never shown as all, nor something as nothing."""
    if not of:
        return "–"
    percent = round(100 * some / of)
    if some and percent == 0:
        return "<1%"
    return ">99%" if some < of and percent == 100 else f"{percent}%"


def _with_age(newest: str, today: date) -> str:
    """The age is that of a whole date; `2026` could be from yesterday or from January."""
    try:
        days = (today - date.fromisoformat(newest)).days
    except ValueError:
        return newest or "–"
    return f"{newest} ({max(0, days)} day{'s' if days != 1 else ''} ago)"


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
