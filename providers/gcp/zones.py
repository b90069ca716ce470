"""Google's zones: which a region has, and in which of them machines are that the price tables know by region alone.

Sources: docs.cloud.google.com/compute/docs/regions-zones, "Regions and zones" (zones of a region), for Bangkok (`asia-southeast3`) after
its rule that a region has three; docs.cloud.google.com/tpu/docs/regions-zones, "TPU regions and zones" (`us-central2`, AI zones).
`SOLD` is of Google's list of machine types per zone (`compute.machineTypes.aggregatedList`), as skypilot-catalog v8/gcp@006059e0
has it. What is not in `SOLD` may be in any zone of its region.
"""

from __future__ import annotations

from ...compiler.ir import FrozenMap

_USUAL = "abc"
_OTHERS = {"europe-west1": "bcd", "us-central1": "abcf", "us-central2": "b", "us-east1": "bcd"}
_REGIONS = (
    *("africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3", "asia-south1"),
    *("asia-south2", "asia-southeast1", "asia-southeast2", "asia-southeast3", "australia-southeast1", "australia-southeast2"),
    *("europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west10"),
    *("europe-west12", "europe-west2", "europe-west3", "europe-west4", "europe-west6", "europe-west8", "europe-west9"),
    *("me-central1", "me-central2", "me-west1", "northamerica-northeast1", "northamerica-northeast2", "northamerica-south1"),
    *(
        "southamerica-east1",
        "southamerica-west1",
        "us-central1",
        "us-central2",
        "us-east1",
        "us-east4",
        "us-east5",
        "us-south1",
    ),
    *("us-west1", "us-west2", "us-west3", "us-west4"),
)
ZONES: FrozenMap[tuple[str, ...]] = FrozenMap(
    {region: tuple(f"{region}-{letter}" for letter in _OTHERS.get(region, _USUAL)) for region in _REGIONS}
)
"""Region → its zones."""
AI_ZONES = frozenset({"us-central1-ai1a", "us-south1-ai1b"})
"""Further zones, for accelerators: nothing is put there that is not known to be there."""

_SOLD = {
    "a3-edgegpu": (
        "asia-northeast1-b asia-northeast3-ac asia-south1-c asia-southeast1-bc europe-west2-b europe-west3-ac europe-west4-bc"
        " europe-west9-c northamerica-northeast2-c us-central1-abc us-east4-abc us-east5-a us-west1-ab us-west4-a"
    ),
    "a3-megagpu": "asia-east1-c asia-northeast1-b asia-southeast1-bc europe-north1-c",
    "a4-highgpu": (
        "asia-northeast1-b asia-southeast1-b europe-north1-b europe-west4-b us-central1-b us-east1-b us-east4-b us-south1-b us-west2-c"
        " us-west3-bc"
    ),
    "g2-standard": (
        "asia-east1-abc asia-northeast1-abc asia-northeast3-ab europe-west1-bc europe-west2-ab europe-west3-ab europe-west6-bc"
        " me-central2-ac northamerica-northeast1-bc northamerica-northeast2-ab us-west4-ac"
    ),
}
SOLD: FrozenMap[tuple[str, ...]] = FrozenMap(
    {
        f"{kind} {region}": tuple(f"{region}-{letter}" for letter in letters)
        for kind, places in _SOLD.items()
        for region, letters in (place.rsplit("-", 1) for place in places.split())
    }
)
"""`<series>-<class> <region>` → the zones that have such machines."""


def is_zone(region: str, zone: str) -> bool:
    """Whether there is such a zone. Of a region that is not known here, nobody can say that there is not."""
    return region not in ZONES or zone in ZONES[region] or (zone in AI_ZONES and zone.startswith(f"{region}-"))


def zones_of(machine_type: str, region: str, listed: tuple[str, ...]) -> tuple[str | None, ...]:
    """The zones of an offer whose source lists these: those of them that there are, else what is known here, else None for the region."""
    there = tuple(zone for zone in listed if is_zone(region, zone))
    kind = "-".join(machine_type.split("-")[:2])
    return there or SOLD.get(f"{kind} {region}") or (None,)
