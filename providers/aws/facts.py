"""AWS: its catalog part from the collected facts.

Zones are zone ids (`use1-az4`): zone names are shuffled per account, so a name means another place for everybody.

Disk tiers: `low` magnetic, `medium` gp3 as it comes, `high` gp3 with 7,000 IOPS and 500 MB/s, `ultra` and `best` io2 with 20 IOPS
per GB. `high` has fixed parts beside its size, so it is a ladder of whole disks; lowering rounds a size up to the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from ..facts import Facts, Reading, Row, flat, machine_types, number, offers, span, steps
from ..snapshot import build_part

PROVIDER = "aws"
OPENS = frozenset({"s3"})
"""Schemes of the stores that its machines open with their own identity (`storage.py`)."""
ZONE_NAMES = ZoneNames(
    form=r"[a-z]+[0-9]+(-[a-z]+[0-9]+)?-az[0-9]+",
    words="AWS gives every account its own names for zones, so skyc takes zone ids, as `use1-az1`: they mean one place for everybody.",
    show="aws ec2 describe-availability-zones --region {region} --query 'AvailabilityZones[].[ZoneName,ZoneId]' --output text",
    of_account=r"{region}(-[a-z]+-[0-9]+)?[a-z]",
)
"""docs.aws.amazon.com/global-infrastructure/latest/regions/az-ids.html, and for local zones (`usw2-lax1-az1`, `us-west-2-lax-1a`)
docs.aws.amazon.com/local-zones/latest/ug/available-local-zones.html."""
REFERENCE = "us-east-1"

# moto gives 512 GiB for each of 16 devices, five times what they are sold with.
_READING = Reading(
    left_out=lambda row: row["instance_type"].startswith("mac"),
    unlisted=FrozenMap({"trn2u.48xlarge": ("Trainium2", "16")}),
    no_local_disk=True,
    unsure_memory=frozenset({"Trainium2"}),
)
_OCEANIA = ("ap-southeast-2", "ap-southeast-4", "ap-southeast-6")
_CONTINENTS = FrozenMap(
    {
        "af": "africa",
        "ap": "asia",
        "ca": "north-america",
        "eu": "europe",
        "il": "middle-east",
        "me": "middle-east",
        "mx": "north-america",
        "sa": "south-america",
        "us": "north-america",
    }
)
_S3_LARGER = (
    PriceStep(above=Decimal(51_200), price=Decimal("0.022")),
    PriceStep(above=Decimal(512_000), price=Decimal("0.021")),
)
"""Above 50 TB and 500 TB; abhishekk-y16/AWS_Complete_Beginners_Guide tier-1-foundational/s3/pricing.md."""
DISK_GB = Decimal(256)
"""Of a task that asks for no size."""
HIGH_SIZES = (*range(32, 2_049, 32), *range(2_560, 16_385, 512))

NOTES = (
    "Most instance families that are newer than 2021 have no known on-demand price outside us-east-1.",
    "Prices of 2021-02 are marked as estimates; where they could be compared with July 2026, 286 of 293 had not changed.",
    "Some prices follow from another size of the same family by the ratio of sizes; they are marked as estimates.",
    "Spot prices per zone are known for 124 pairs of type and region only.",
    "In us-east-1 one spot price of 2025-05 stands for all zones of the region.",
    "Prices of disks and object storage are those of us-east-1; elsewhere they are estimates.",
    "Mac machines are left out: they run no Linux and are rented by the day.",
)


def continent(region: str) -> str:
    """Raises KeyError for a region whose first word is new."""
    return "oceania" if region in _OCEANIA else _CONTINENTS[region.partition("-")[0]]


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    regions = sorted({row.region for row in rows})
    rates = Rates(
        continents=FrozenMap({region: continent(region) for region in regions}),
        transfers=tuple(_transfers(facts, regions)),
        disks=tuple(_disks(facts)),
        storages=tuple(_storages(facts)),
        addresses=(
            AddressRate(
                region=ANY_REGION,
                hourly=Decimal("0.005"),
                price_source="aws.amazon.com/blogs/networking-and-content-delivery, identify-and-optimize-public-ipv4-address-usage;"
                " doit.com/aws-public-ipv4-price-increase-the-complete-guide",
                as_of="2024-02-01",
            ),
        ),
        gateways=(
            GatewayRate(
                region=ANY_REGION,
                # The gateway, and the public address it has.
                hourly=Decimal("0.045") + Decimal("0.005"),
                per_gb=Decimal("0.045"),
                price_source="cloudburn.io/blog/aws-nat-gateway-pricing, US East; its public IPv4 address as any other",
                as_of="2026-02-24",
            ),
        ),
        disk_gb=DISK_GB,
        schemes=("s3",),
        reference_region=REFERENCE,
    )
    return build_part(PROVIDER, types, rows, rates, sells_spot=True, as_of=span(rows), notes=NOTES)


def _transfers(facts: Facts, regions: list[str]) -> Iterator[TransferRule]:
    """Pairs of regions first, then each region's default, then what is unknown.

    Traffic between zones is charged on both sides. Two sources tell the price to the internet; the later one has all steps, so
    the other is used for regions the later one lacks.
    """
    rows = [row for row in facts.egress if row["src_region"] in regions]

    def of(region: str, *, cloud: str, scope: str = "") -> list[Row]:
        return [
            row
            for row in rows
            if row["src_region"] == region and row["dst_cloud"] == cloud and row["dst_region_or_scope"] == scope
        ]

    for region in regions:
        for row in of(region, cloud=PROVIDER, scope="same-region-cross-az"):
            yield _rule(region, "other-zone", row, both_ways=True)
        for other in regions:
            if other != region:
                for row in of(region, cloud=PROVIDER, scope=other):
                    yield _rule(region, other, row)
        for row in of(region, cloud=PROVIDER, scope="other-region (default)"):
            yield _rule(region, "other-region", row)
        found = of(region, cloud="internet")
        newest = [row for row in found if row["as_of"] == max(row["as_of"] for row in found)]
        if newest:
            yield TransferRule(
                source=region,
                destination="internet",
                steps=steps(newest),
                price_source=newest[0]["source"],
                as_of=newest[0]["as_of"],
            )
    yield TransferRule(
        source=ANY_REGION,
        destination="other-zone",
        steps=flat("0.01"),
        price_source="the price of every region it is known for",
        as_of="2024-07-01",
        both_ways=True,
        estimated=True,
    )
    for destination in ("other-region", "internet"):
        yield TransferRule(
            source=ANY_REGION, destination=destination, steps=flat(None), price_source="no price known", as_of=""
        )


def _rule(source: str, destination: str, row: Row, *, both_ways: bool = False) -> TransferRule:
    return TransferRule(
        source=source,
        destination=destination,
        steps=steps([row]),
        price_source=row["source"],
        as_of=row["as_of"],
        both_ways=both_ways,
    )


def _disks(facts: Facts) -> Iterator[DiskRate]:
    listed = {row["disk_type"]: row for row in facts.disks}
    price = {name: number(row["price"]) or Decimal(0) for name, row in listed.items()}

    def rate(
        tier: str, name: str, key: str, per_gb: Decimal | None, ladder: tuple[tuple[Decimal, Decimal], ...] = ()
    ) -> DiskRate:
        return DiskRate(
            region=ANY_REGION,
            tier=tier,
            name=name,
            per_gb=per_gb,
            ladder=ladder,
            price_source=listed[key]["source"],
            as_of=listed[key]["as_of"],
        )

    fixed = 4_000 * price["gp3 IOPS above 3000"] + 375 * price["gp3 throughput above 125MB/s"]
    high = tuple((Decimal(size), size * price["gp3"] + fixed) for size in HIGH_SIZES)
    io2 = price["io2"] + 20 * price["io1/io2 IOPS"]
    yield rate("low", "standard", "standard(magnetic)", price["standard(magnetic)"])
    yield rate("medium", "gp3", "gp3", price["gp3"])
    yield rate("high", "gp3, 7,000 IOPS and 500 MB/s", "gp3", None, high)
    yield rate("ultra", "io2, 20 IOPS per GB", "io2", io2)
    yield rate("best", "io2, 20 IOPS per GB", "io2", io2)


def _storages(facts: Facts) -> Iterator[StorageRate]:
    (row,) = (row for row in facts.storages if row["tier"] == "S3 Standard (first 50TB)")
    yield StorageRate(
        region=ANY_REGION,
        name="S3 Standard",
        steps=(PriceStep(above=Decimal(0), price=Decimal(row["price"])), *_S3_LARGER),
        price_source=row["source"],
        as_of=row["as_of"],
    )
