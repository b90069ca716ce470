"""Offers as rows for a person. Apart from the other tables, so that listing prices loads nothing about jobs and reports."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from ..compiler.ir import decimal_text

if TYPE_CHECKING:
    from ..runtime.offers import Offer

OFFER_HEADINGS = ("TARGET", "REGION", "ZONES", "TYPE", "ACCELERATORS", "CPUS", "MEMORY", "ON DEMAND", "SPOT", "DATED")


def offer_rows(offers: Iterable[Offer]) -> list[tuple[str, ...]]:
    """A price that is an estimate has a `~` before it; one that is not known is `?`, and `–` where there is no spot market.

    A date may say more than fits; `--json` has all of it.
    """
    return [
        (
            offer.provider,
            offer.region,
            _zones(offer.zones),
            offer.instance_type,
            ", ".join(f"{device.name}:{decimal_text(device.count)}" for device in offer.accelerators) or "–",
            _amount(offer.cpus),
            f"{_amount(offer.memory_gb)} GiB",
            hourly(offer.on_demand, estimated=offer.estimated),
            hourly(offer.spot, estimated=offer.estimated) if offer.sells_spot else "–",
            offer.as_of.partition(";")[0].partition(" (")[0] or "–",
        )
        for offer in offers
    ]


def hourly(price: Decimal | None, *, estimated: bool = False) -> str:
    """`$3.67`, `$0.0058`, `~$0.10`: at least cents, at most four digits where they hold the price."""
    if price is None:
        return "?"
    short = price.quantize(Decimal("0.0001"))
    text = decimal_text(short or price)
    whole, _, part = text.partition(".")
    return f"{'~' if estimated else ''}${int(whole):,}.{part:0<2}"


def _zones(zones: tuple[str, ...]) -> str:
    return ", ".join(zones) if 0 < len(zones) <= 2 else f"{len(zones)} zones" if zones else "–"


def _amount(value: Decimal | None) -> str:
    return "?" if value is None else decimal_text(value)
