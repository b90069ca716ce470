"""IBM Cloud: its catalog part from the collected facts.

The only prices that can be had without an account are a static file of 2023 with two machine types. All other profiles are known
without a region, so they are types that nobody offers until a refresh says where.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import ANY_REGION, AddressRate, CatalogPart, DiskRate, GatewayRate, PriceStep, Rates, TransferRule
from ..base import ZoneNames
from ..facts import Facts, Reading, flat, machine_types, offers, span
from ..snapshot import build_part

PROVIDER = "ibm"
OPENS = frozenset({"cos"})
"""Schemes of the stores that its machines open with their own identity (`storage.py`)."""
ZONE_NAMES = ZoneNames(
    form=r"{region}-[0-9]+",
    words="A zone at IBM is called by its region and a number, as `{region}-1`.",
    show="ibmcloud target -r {region} && ibmcloud is zones",
)
"""cloud.ibm.com/docs/vpc, "Locations for resource deployment"."""
_READING = Reading()
_GB_PER_TB = 1_024
_CONTINENTS = FrozenMap(
    {"au": "oceania", "br": "south-america", "ca": "north-america", "eu": "europe", "jp": "asia", "us": "north-america"}
)
DISK_GB = Decimal(100)
"""Of a task that asks for no size: what IBM's images need."""

NOTES = (
    "Prices are known for bx2-8x32 and gx2-8x64x1v100 only, from a file of 2023; they are marked as estimates.",
    "All other machine types are known without a region, so none of them is offered; `skyc catalog refresh` asks IBM.",
    "Prices of disks, object storage, public addresses, and transfers between zones and regions are not known.",
    "The source of the internet prices gives steps of 50 and 150 GB; IBM counts in TB, and so does this catalog. They are estimates.",
)


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    unknown = "no price known"
    rates = Rates(
        continents=FrozenMap({row.region: _CONTINENTS[row.region.partition("-")[0]] for row in rows}),
        transfers=tuple(_transfers(facts)),
        disks=(
            DiskRate(region=ANY_REGION, tier="medium", name="general-purpose", per_gb=None, price_source=unknown, as_of=""),
        ),
        addresses=(AddressRate(region=ANY_REGION, hourly=None, price_source=unknown, as_of=""),),
        gateways=(GatewayRate(region=ANY_REGION, hourly=None, per_gb=None, price_source=unknown, as_of=""),),
        disk_gb=DISK_GB,
        schemes=("cos",),
    )
    return build_part(PROVIDER, types, rows, rates, sells_spot=False, as_of=span(rows), notes=NOTES)


def _transfers(facts: Facts) -> Iterator[TransferRule]:
    for destination in ("other-zone", "other-region"):
        yield TransferRule(
            source=ANY_REGION, destination=destination, steps=flat(None), price_source="no price known", as_of=""
        )
    tiers = sorted((Decimal(row["tier_from_gb"]), row) for row in facts.egress)
    yield TransferRule(
        source=ANY_REGION,
        destination="internet",
        steps=tuple(PriceStep(above=start * _GB_PER_TB, price=Decimal(row["price_per_gb"])) for start, row in tiers),
        price_source=tiers[0][1]["source"],
        as_of="",
        estimated=True,
    )
