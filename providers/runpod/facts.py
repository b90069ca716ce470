"""RunPod: its catalog part from the collected facts.

A region is a country and a zone a data centre. RunPod calls a rented container a pod; its price is per GPU times their number.
Community machines are run by others in no stated place, so they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import ANY_REGION, CatalogPart, DiskRate, Rates, TransferRule
from ..facts import Facts, Reading, Row, flat, machine_types, offers, span, steps
from ..snapshot import build_part

PROVIDER = "runpod"
_CONTINENTS = FrozenMap(
    {
        "AU": "oceania",
        "CA": "north-america",
        "IN": "asia",
        "JP": "asia",
        "SG": "asia",
        "US": "north-america",
        **dict.fromkeys(("CZ", "DK", "FR", "IS", "NL", "NO", "RO", "SE"), "europe"),
    }
)

NOTES = (
    "Community machines are listed as types but not offered: they are in no stated place and their prices are of 2023.",
    "Prices of the RTX A6000 are of 2023 and 2024 and marked as estimates.",
    "Memory is at least what is listed: the source gives the GPUs' memory for it.",
    "MI300X and B200 are missing.",
)


def _device(row: Row) -> str:
    """RunPod sells the A100-80GB in two forms at two prices and calls the PCIe one by the plain name."""
    return "A100-80GB-PCIE" if row["accelerator"] == "A100-80GB" else row["accelerator"]


_READING = Reading(device=_device)


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    (disk,) = (row for row in facts.disks if row["disk_type"] == "container disk (running)")
    rates = Rates(
        continents=FrozenMap({row.region: _CONTINENTS[row.region] for row in rows}),
        transfers=tuple(_transfers(facts)),
        disks=tuple(
            DiskRate(
                region=ANY_REGION,
                tier=tier,
                name="container disk",
                per_gb=Decimal(disk["price"]),
                price_source=disk["source"],
                as_of=disk["as_of"],
            )
            for tier in ("medium", "best")
        ),
        disk_gb=Decimal(50),
    )
    return build_part(PROVIDER, types, rows, rates, sells_spot=True, as_of=span(rows), notes=NOTES)


def _transfers(facts: Facts) -> Iterator[TransferRule]:
    """RunPod says that it charges for no traffic at all, so its zones and regions are free as well."""
    (row,) = facts.egress
    for destination in ("other-zone", "other-region", "internet"):
        yield TransferRule(
            source=ANY_REGION,
            destination=destination,
            steps=steps([row]) if destination == "internet" else flat("0"),
            price_source=row["source"],
            as_of=row["as_of"],
        )
