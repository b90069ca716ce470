"""JarvisLabs: its catalog part from the collected facts. It has two regions, no zones, and no spot market for machines."""

from __future__ import annotations

from decimal import Decimal

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import ANY_REGION, CatalogPart, DiskRate, Rates, TransferRule
from ..facts import Facts, Reading, flat, machine_types, offers, span
from ..snapshot import build_part

PROVIDER = "jarvislabs"
_READING = Reading()

NOTES = ("What JarvisLabs charges for storage and for traffic is not known.",)


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    rates = Rates(
        # IN1 and IN2 are in India.
        continents=FrozenMap({row.region: "asia" for row in rows}),
        transfers=tuple(
            TransferRule(source=ANY_REGION, destination=destination, steps=flat(None), price_source="no price known", as_of="")
            for destination in ("other-region", "internet")
        ),
        disks=(
            DiskRate(region=ANY_REGION, tier="medium", name="storage", per_gb=None, price_source="no price known", as_of=""),
        ),
        disk_gb=Decimal(100),
    )
    return build_part(PROVIDER, types, rows, rates, sells_spot=False, as_of=span(rows), notes=NOTES)
