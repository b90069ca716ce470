"""RunPod's part of the catalog: prices per GPU, secure and community cloud, for the machine types and places of the part before.

Protocol: https://docs.runpod.io/sdks/graphql/manage-pods (`gpuTypes`; prices need no key, RUNPOD_API_KEY is sent if set). A
machine of n GPUs costs n times one. A GPU without a price is not sold now, and its offers go. Spot prices that equal on-demand
stand for "no market" and count as unknown.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ...compiler.ir import Secret
from ...compiler.ir.catalog import CatalogPart
from ..http import Request, endpoint
from ..refresh import Prices, Refreshed, Repricing, Settings, key_from, money, needed, objects, part_of, wanted
from ..retry import BadAnswer
from ..snapshot import offer_rows, type_rows

PROVIDER = "runpod"
URL = "https://api.runpod.io"
SOURCE = "RunPod GPU types"
QUERY = "{ gpuTypes { id memoryInGb securePrice communityPrice secureSpotPrice communitySpotPrice } }"
GPUS = {
    "AMD Instinct MI300X OAM": ("MI300X",),
    "NVIDIA A100 80GB PCIe": ("A100-80GB",),
    "NVIDIA A100-SXM4-80GB": ("A100-80GB-SXM",),
    "NVIDIA A30": ("A30",),
    "NVIDIA A40": ("A40",),
    "NVIDIA B200": ("B200",),
    "NVIDIA GeForce RTX 3090": ("RTX3090",),
    "NVIDIA GeForce RTX 4090": ("RTX4090",),
    "NVIDIA H100 80GB HBM3": ("H100-SXM", "H100-80GB-HBM3"),
    "NVIDIA H100 NVL": ("H100-NVL",),
    "NVIDIA H100 PCIe": ("H100",),
    "NVIDIA H200": ("H200-SXM",),
    "NVIDIA L4": ("L4",),
    "NVIDIA L40": ("L40",),
    "NVIDIA L40S": ("L40S",),
    "NVIDIA RTX 6000 Ada Generation": ("RTX6000-Ada",),
    "NVIDIA RTX A4000": ("RTXA4000",),
    "NVIDIA RTX A5000": ("RTXA5000",),
    "NVIDIA RTX A6000": ("RTXA6000",),
}
"""RunPod's id of a GPU → what it is called in the names of our machine types."""
_NAME = re.compile(r"(\d+)x_(.+)_(SECURE|COMMUNITY)")


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    before = needed(before, PROVIDER)
    base = endpoint(settings.environ, "SKYC_RUNPOD_URL", URL)
    key = key_from(settings.environ, "RUNPOD_API_KEY")
    old = offer_rows(before)
    regions = wanted(settings, (row.region for row in old))
    settings.tell(PROVIDER, 0, 1, "GPU types")
    gpus = _gpus(settings, base, key)
    settings.tell(PROVIDER, 1, 1, "GPU types")
    called = {name: gpu for gpu, names in GPUS.items() for name in names}
    made = Repricing(source=SOURCE, today=settings.today)
    for row in old:
        match = _NAME.fullmatch(row.type[0])
        # Offers without a region are of the community cloud, which is nowhere in particular.
        asked = row.region in regions or (not row.region and settings.regions is None)
        if not asked or match is None or match[2] not in called:
            made.keep(row)
            continue
        prices = _prices(gpus.get(called[match[2]], {}), int(match[1]), match[3].lower())
        if prices.on_demand is not None:
            made.price(row, prices)
    strangers = sorted(gpus.keys() - GPUS.keys())
    gaps = [f"{len(strangers)} GPUs RunPod names are left out, because nothing here says what machines they come in."]
    return Refreshed(
        types=type_rows(before),
        offers=tuple(made.rows),
        sells_spot=before.offers.sells_spot,
        gaps=tuple(gaps if strangers else ()),
    )


def _gpus(settings: Settings, base: str, key: Secret | None) -> dict[str, dict[str, Any]]:
    answer = settings.http.json(
        Request(
            url=f"{base}/graphql",
            method="POST",
            body={"query": QUERY},
            secret_headers={"Authorization": ("Bearer ", key)} if key else {},
        )
    )
    if isinstance(answer, dict) and answer.get("errors"):
        raise BadAnswer("RunPod did not accept the query")
    return {part_of(row, "id", str): row for row in objects(part_of(answer, "data", dict), "gpuTypes")}


def _prices(gpu: dict[str, Any], count: int, cloud: str) -> Prices:
    def price(name: str) -> Decimal | None:
        one = money(gpu.get(name))
        return one * count if one is not None and one > 0 else None

    on_demand, spot = price(f"{cloud}Price"), price(f"{cloud}SpotPrice")
    return Prices(on_demand=on_demand, spot=None if spot == on_demand else spot)
