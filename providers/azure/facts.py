"""Azure: its catalog part from the collected facts.

Which zones sell which machine is not known, so every zone is None; a task may name one of those a region has (`zones.py`). Disks
are sold in whole sizes: `low` is Standard HDD, `medium` Standard SSD, `high` and `best` Premium SSD.
There is no `ultra`: an Ultra disk charges for IOPS and throughput beside its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import (
    ANY_REGION,
    AddressRate,
    CatalogPart,
    DiskRate,
    GatewayRate,
    PriceStep,
    Rates,
    StorageRate,
    TransferRule,
)
from ..base import ZoneNames
from ..facts import Facts, Reading, Row, flat, machine_types, offers, span, steps
from ..snapshot import build_part
from .zones import WITHOUT, ZONES

PROVIDER = "azure"
OPENS = frozenset({"az"})
"""Schemes of the stores that its machines open with their own identity (`storage.py`)."""
ZONE_NAMES = ZoneNames(
    form=r"{region}-[0-9]+",
    words="skyc calls zones at Azure by region and number, as `{region}-1`.",
    show="az vm list-skus --location {region} --zone --output table",
    without=WITHOUT,
)
"""Azure has numbers alone, which mean other places in other subscriptions:
learn.microsoft.com/azure/reliability/availability-zones-overview."""
REFERENCE = "eastus"
_READING = Reading(left_out=lambda row: row["accelerator"] != "" and row["accelerator_count"] == "")
_REGIONS: FrozenMap[tuple[str, ...]] = FrozenMap(
    {
        "africa": ("southafricanorth", "southafricawest"),
        "asia": (
            *("centralindia", "eastasia", "indonesiacentral", "japaneast", "japanwest", "jioindiacentral", "jioindiawest"),
            *("koreacentral", "koreasouth", "malaysiawest", "southeastasia", "southindia", "westindia"),
        ),
        "europe": (
            *("austriaeast", "francecentral", "francesouth", "germanynorth", "germanywestcentral", "italynorth", "northeurope"),
            *("norwayeast", "norwaywest", "polandcentral", "spaincentral", "swedencentral", "swedensouth", "switzerlandnorth"),
            *("switzerlandwest", "uksouth", "ukwest", "westeurope"),
        ),
        "middle-east": ("israelcentral", "qatarcentral", "uaecentral", "uaenorth"),
        "north-america": (
            *("canadacentral", "canadaeast", "centralus", "eastus", "eastus2", "mexicocentral", "northcentralus"),
            *("southcentralus", "westcentralus", "westus", "westus2", "westus3"),
        ),
        "oceania": (*("australiacentral", "australiacentral2", "australiaeast", "australiasoutheast", "newzealandnorth"),),
        "south-america": ("brazilsouth", "brazilsoutheast", "chilecentral"),
    }
)
_OTHER_CONTINENT = FrozenMap(
    {
        "africa": "0.08",
        "asia": "0.08",
        "europe": "0.05",
        "middle-east": "0.08",
        "north-america": "0.05",
        "oceania": "0.08",
        "south-america": "0.16",
    }
)
"""skyplane azure_cloud_provider.py, `get_transfer_cost`, below 10 TB."""
DISK_SIZES = (32, 64, 128, 256, 512, 1_024, 2_048, 4_096)
"""GiB a managed disk is sold in; a size between two is paid as the larger."""
DISK_GB = Decimal(256)
"""Of a task that asks for no size."""
_LADDERS = (
    ("low", "Standard HDD", ("1.54", "3.01", "5.89", "11.33", "21.76", "40.96", "77.83", "143.36")),
    ("medium", "Standard SSD", ("2.40", "4.80", "9.60", "19.20", "38.40", "76.80", "153.60", "307.20")),
    ("high", "Premium SSD", ("5.28", "10.21", "19.71", "38.02", "73.22", "135.17", "259.05", "495.57")),
    ("best", "Premium SSD", ("5.28", "10.21", "19.71", "38.02", "73.22", "135.17", "259.05", "495.57")),
)
"""List prices in eastus as public cost tools quote them. `_disks` checks them against every size the collected facts have."""
_DISK_SOURCE = "eastus list prices as public cost tools quote them; seven sizes equal infracost azure managed_disk_test.golden"
_STANDARD = "StorageV2.Standard.LRS.Hot Capacity"

NOTES = (
    "Spot prices are not known.",
    "Which zones sell which machine is not known.",
    "Eleven machine types with a part of an A10, V620 or V710 are left out, since how large that part is is not known.",
    "Newer machine types (v7, RTX PRO 6000, GB200) are missing.",
    "Object storage has westus's price and disks have eastus's; elsewhere they are estimates.",
    "Prices to the internet above 10 TB a month are known for eastus; in the rest of North America and in Europe they are estimates.",
)


def continent(region: str) -> str:
    """Raises KeyError for a region that is new."""
    for name, regions in _REGIONS.items():
        if region in regions:
            return name
    raise KeyError(region)


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    regions = sorted({row.region for row in rows})
    rates = Rates(
        continents=FrozenMap({region: continent(region) for region in regions}),
        transfers=tuple(_transfers(facts)),
        disks=tuple(_disks(facts)),
        storages=tuple(_storages(facts)),
        addresses=(
            AddressRate(
                region=ANY_REGION,
                hourly=Decimal("0.005"),
                price_source="c3x.dev/resources/azure/azurerm_public_ip (Standard); getstratolens.com AZF-0004",
                as_of="2026-07-01",
            ),
        ),
        gateways=(
            GatewayRate(
                region=ANY_REGION,
                # The gateway, and the public address it has.
                hourly=Decimal("0.045") + Decimal("0.005"),
                per_gb=Decimal("0.045"),
                price_source="c3x.dev/resources/azure/azurerm_nat_gateway; its public IPv4 address as any other",
                as_of="2026-07-01",
            ),
        ),
        disk_gb=DISK_GB,
        schemes=("az", "https"),
        reference_region=REFERENCE,
    )
    return build_part(PROVIDER, types, rows, rates, sells_spot=True, as_of=span(rows), notes=NOTES, zones=ZONES)


def _transfers(facts: Facts) -> Iterator[TransferRule]:
    yield TransferRule(
        source=ANY_REGION,
        destination="other-zone",
        steps=flat("0"),
        price_source="blog.vjirovsky.cz/azure-may-2024-cost-storage (Microsoft charges nothing between zones)",
        as_of="2024-05-31",
    )
    internet: dict[str, list[Row]] = {}
    for row in facts.egress:
        if row["dst_cloud"] == "internet":
            internet.setdefault(row["src_region"], []).append(row)
        else:
            yield TransferRule(
                source=row["src_region"],
                destination="same-continent",
                steps=steps([row]),
                price_source=row["source"],
                as_of=row["as_of"],
            )
    for name, price in _OTHER_CONTINENT.items():
        yield TransferRule(
            source=f"continent:{name}",
            destination="other-region",
            steps=flat(price),
            price_source="skyplane azure_cloud_provider.py (<10TB tier)",
            as_of="2024-01",
        )
    reference = TransferRule(
        source=REFERENCE,
        destination="internet",
        steps=steps(internet[REFERENCE]),
        price_source=internet[REFERENCE][0]["source"],
        as_of=internet[REFERENCE][0]["as_of"],
    )
    yield reference
    for source, rows in internet.items():
        if source == REFERENCE:
            continue
        known = steps(rows)
        if known[0].price == reference.steps[1].price:
            # The first step is the reference's own, so its further steps are the best that is known.
            yield replace(reference, source=source, estimated=True)
        else:
            yield TransferRule(
                source=source, destination="internet", steps=known, price_source=rows[0]["source"], as_of=rows[0]["as_of"]
            )


def _disks(facts: Facts) -> Iterator[DiskRate]:
    """Raises ValueError where a ladder and the collected facts differ."""
    for tier, name, prices in _LADDERS:
        ladder = tuple((Decimal(size), Decimal(price)) for size, price in zip(DISK_SIZES, prices, strict=True))
        for row in facts.disks:
            if row["disk_type"].startswith(name) and (Decimal(row["size_gib"]), Decimal(row["price"])) not in ladder:
                raise ValueError(f"{row['disk_type']} costs {row['price']}, which is not in the ladder")
        yield DiskRate(
            region=ANY_REGION, tier=tier, name=name, per_gb=None, ladder=ladder, price_source=_DISK_SOURCE, as_of="2024-07-01"
        )


def _storages(facts: Facts) -> Iterator[StorageRate]:
    """The known region first, then the same prices for the others."""
    rows = {row["tier"]: row for row in facts.storages}
    tiers = (("first 50TB", 0), ("next 450TB", 51_200), ("over 500TB", 512_000))
    made = tuple(
        PriceStep(above=Decimal(above), price=Decimal(rows[f"{_STANDARD} ({words})"]["price"])) for words, above in tiers
    )
    first = rows[f"{_STANDARD} (first 50TB)"]
    for region in (first["region"], ANY_REGION):
        yield StorageRate(region=region, name="Blob, hot, LRS", steps=made, price_source=first["source"], as_of=first["as_of"])
