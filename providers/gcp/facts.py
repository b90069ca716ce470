"""GCP: its catalog part from the collected facts.

Prices of machines with GPUs are those of the whole machine. TPU slices are counted in chips. Many newer families are known per
region only; their zone is None, unless `zones.py` knows it. Zones that there are not (`us-east1-a`, `us-central1-d`), which an older
table of machine types lists, are left out.

Disk tiers: `low` pd-standard, `medium` pd-balanced, `high` and `best` pd-ssd. There is no `ultra`: pd-extreme charges for at least
10,000 IOPS beside its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import ANY_REGION, AddressRate, CatalogPart, DiskRate, GatewayRate, Rates, StorageRate, TransferRule
from ..base import ZoneNames
from ..facts import Facts, Reading, Row, flat, machine_types, offers, span, steps
from ..snapshot import build_part
from .zones import ZONES, zones_of

PROVIDER = "gcp"
OPENS = frozenset({"gs"})
"""Schemes of the stores that its machines open with their own identity (`storage.py`)."""
ZONE_NAMES = ZoneNames(
    form=r"{region}-[a-z0-9]+",
    words="A zone at Google is called by its region and a letter, as `{region}-a`.",
    show="gcloud compute zones list --filter=region:{region}",
)
"""docs.cloud.google.com/compute/docs/regions-zones; zones for AI have more than a letter (`us-central1-ai1a`)."""
REFERENCE = "us-central1"
DISK_GB = Decimal(256)
"""GiB of a root disk where a task names none."""
# The parts of a G4's GPU are those of its CPUs: g4-standard-48 has 48 and one whole device.
_READING = Reading(
    unlisted=FrozenMap(
        {
            "a3-edgegpu-8g-nolssd": ("H100", "8"),
            "a3-ultragpu-8g-nolssd": ("H200", "8"),
            "a4x-highgpu-4g": ("GB200", "4"),
            "a4x-maxgpu-4g-metal": ("GB300", "4"),
            "g4-standard-6": ("RTXPRO6000", "0.125"),
            "g4-standard-12": ("RTXPRO6000", "0.25"),
            "g4-standard-24": ("RTXPRO6000", "0.5"),
        }
    ),
    no_local_disk=True,
    zones=zones_of,
)
_CONTINENTS = FrozenMap(
    {
        "africa": "africa",
        "asia": "asia",
        "australia": "oceania",
        "europe": "europe",
        "me": "middle-east",
        "northamerica": "north-america",
        "southamerica": "south-america",
        "us": "north-america",
    }
)
_SAME_CONTINENT = (
    ("north-america", "continent:northamerica/us"),
    ("europe", "continent:europe"),
    ("asia", "continent:asia"),
    ("south-america", "continent:southamerica"),
    ("oceania", "continent:australia"),
)
_INTERNET = (
    ("internet:asia", "internet (Asia excl. China, incl. HK)"),
    ("internet:china", "internet (China excl. HK)"),
    ("internet:oceania", "internet (Australia)"),
    ("internet", "internet (worldwide excl. Asia/China/Australia)"),
)
_FAR = "asia-southeast2"
"""Jakarta pays Australia's price to and from everywhere."""

NOTES = (
    "The newest families (C3, C4, N4 and others) are known per region only, without zones.",
    "A machine with H200, B200, GB200 or GB300 has no known price.",
    "Seven machine types have the accelerators that their names tell; the tables have none for them.",
    "Prices of TPU v5e are of 2024-12, and some of TPU v5p follow from a larger slice; both are marked as estimates.",
    "CPUs and memory of most TPU hosts are not known.",
    "Prices to the internet are known up to 1 TB (China, Australia) and 10 TB (Asia) a month, on the premium tier.",
    "Prices of disks and object storage are those of us-central1; elsewhere they are estimates.",
)


def continent(region: str) -> str:
    """Raises KeyError for a region whose first word is new."""
    return _CONTINENTS[region.partition("-")[0]]


def part(facts: Facts) -> CatalogPart:
    types = machine_types(facts, _READING)
    rows = offers(facts, types, _READING)
    regions = sorted({row.region for row in rows})
    rates = Rates(
        continents=FrozenMap({region: continent(region) for region in regions}),
        transfers=tuple(_transfers(facts, regions)),
        disks=tuple(_disks(facts)),
        storages=(
            StorageRate(
                region=ANY_REGION,
                name="GCS Standard",
                steps=flat("0.020"),
                price_source="cloud.google.com/storage/pricing-examples; cloud.google.com/storage/pricing (us-central1)",
                as_of="2022-12-30",
            ),
        ),
        addresses=(
            AddressRate(
                region=ANY_REGION,
                hourly=Decimal("0.005"),
                spot_hourly=Decimal("0.0025"),
                price_source="cocalc google-cloud/compute-cost.ts, after cloud.google.com/vpc/network-pricing#ipaddress",
                as_of="2024",
            ),
        ),
        gateways=(
            GatewayRate(
                region=ANY_REGION,
                # Its own address; machines are charged one by one until a gateway serves many.
                hourly=Decimal("0.005"),
                per_machine_hourly=Decimal("0.0014"),
                most_machines=32,
                many_hourly=Decimal("0.044"),
                per_gb=Decimal("0.045"),
                price_source="cloud.google.com/nat/pricing; its external IPv4 address as any other",
                as_of="2024-02-01",
            ),
        ),
        disk_gb=DISK_GB,
        schemes=("gs",),
        reference_region=REFERENCE,
    )
    return build_part(
        PROVIDER, types, rows, rates, sells_spot=True, as_of=span(rows), notes=NOTES, zones=ZONES, zone_needed=True
    )


def _transfers(facts: Facts, regions: list[str]) -> Iterator[TransferRule]:
    """The far regions first: what they cost does not depend on which continent they share."""
    inside = {(row["src_region"], row["dst_region_or_scope"]): row for row in facts.egress if row["dst_cloud"] == PROVIDER}
    yield _rule(ANY_REGION, "other-zone", inside["", "same-region-cross-zone"])
    far = inside["", "to/from australia or asia-southeast2"]
    for continent_name, label in _SAME_CONTINENT:
        if continent_name == "oceania":
            yield _rule("continent:oceania", "same-continent", inside[label, "other-region same-continent"])
    yield _rule("continent:oceania", "other-region", far)
    yield _rule(_FAR, "other-region", far)
    for region in regions:
        if region == _FAR or continent(region) == "oceania":
            yield _rule(ANY_REGION, region, far)
    for continent_name, label in _SAME_CONTINENT:
        if continent_name != "oceania":
            yield _rule(f"continent:{continent_name}", "same-continent", inside[label, "other-region same-continent"])
    # No source names a price inside the Middle East; the one between continents is the nearest that is known.
    other = inside["", "other continent (default)"]
    yield _rule("continent:middle-east", "same-continent", other, estimated=True)
    yield _rule(ANY_REGION, "other-region", other)
    for destination, scope in _INTERNET:
        found = [row for row in facts.egress if row["dst_cloud"] == scope]
        yield TransferRule(
            source=ANY_REGION,
            destination=destination,
            steps=steps(found),
            price_source=found[0]["source"],
            as_of=found[0]["as_of"],
        )


def _rule(source: str, destination: str, row: Row, *, estimated: bool = False) -> TransferRule:
    return TransferRule(
        source=source,
        destination=destination,
        steps=steps([row]),
        price_source=row["source"],
        as_of=row["as_of"],
        estimated=estimated,
    )


def _disks(facts: Facts) -> Iterator[DiskRate]:
    listed = {row["disk_type"]: row for row in facts.disks}
    for tier, name in (("low", "pd-standard"), ("medium", "pd-balanced"), ("high", "pd-ssd"), ("best", "pd-ssd")):
        row = listed[name]
        yield DiskRate(
            region=ANY_REGION,
            tier=tier,
            name=name,
            per_gb=Decimal(row["price"]),
            price_source=row["source"],
            as_of=row["as_of"],
        )
