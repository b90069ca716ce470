"""JarvisLabs' part of the catalog: prices per GPU and of CPU machines, by region.

Protocol: `GET /misc/server_meta` of https://backendprod.jarvislabs.net with a bearer key, as the service's own Python client
uses it; it has no public description. Its virtual machines have no spot market.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ...compiler.ir.catalog import CatalogPart
from ..http import Request, endpoint
from ..refresh import (
    MissingCredentials,
    Prices,
    Refreshed,
    Repricing,
    Settings,
    accelerator,
    key_from,
    money,
    objects,
    part_of,
    wanted,
)
from ..snapshot import OfferRow, TypeRow, offer_rows, type_rows

PROVIDER = "jarvislabs"
URL = "https://backendprod.jarvislabs.net"
SOURCE = "JarvisLabs server list"
REGIONS = {"india-01": "IN1", "india-noida-01": "IN2", "europe-01": "EU1"}
"""The API's name of a region → the one its users see."""
COUNTS = (1, 2, 4, 8)
MOST_GPUS = 8
_GPU_TYPE = re.compile(r"(\d+)x_(.+)_(\d+)V_(\d+)G")
_CPU_TYPE = re.compile(r"CPU_(\d+)V_(\d+)G")


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    key = key_from(settings.environ, "JL_API_KEY", "JARVISLABS_API_KEY")
    if key is None:
        raise MissingCredentials(
            "JarvisLabs' price list needs an API key, and JL_API_KEY is not set.",
            "Make a key at https://jarvislabs.ai/settings/api-keys and put it into JL_API_KEY.",
        )
    base = endpoint(settings.environ, "SKYC_JARVISLABS_URL", URL)
    settings.tell(PROVIDER, 0, 1, "servers")
    answer = settings.http.json(Request(url=f"{base}/misc/server_meta", secret_headers={"Authorization": ("Bearer ", key)}))
    settings.tell(PROVIDER, 1, 1, "servers")
    gpus, cpus = _gpu_servers(answer), _cpu_prices(answer)
    old = offer_rows(before) if before else ()
    regions = wanted(settings, {*(row.region for row in old), *(region for region, _ in gpus)})
    made = Repricing(source=SOURCE, today=settings.today)
    known: set[tuple[str, str]] = set()
    for row in old:
        gpu, cpu = _GPU_TYPE.fullmatch(row.type[0]), _CPU_TYPE.fullmatch(row.type[0])
        if gpu:
            known.add((row.region, gpu[2]))
        if row.region not in regions or (gpu is None and cpu is None):
            made.keep(row)
            continue
        price = (
            _times(gpus.get((row.region, gpu[2])), int(gpu[1]))
            if gpu
            else cpus.get((row.region, int(cpu[1]), int(cpu[2])))
            if cpu
            else None
        )
        # What the list does not name is not sold there now.
        if price is not None:
            made.price(row, Prices(on_demand=price))
    types = list(type_rows(before)) if before else []
    for place in sorted(gpus.keys() - known):
        if place[0] in regions:
            _add(place, gpus[place], types, made)
    return Refreshed(types=tuple(dict.fromkeys(types)), offers=tuple(made.rows), sells_spot=False)


def _gpu_servers(answer: object) -> dict[tuple[str, str], dict[str, Any]]:
    """(region, GPU) → the row of its virtual machines. Rows for containers are another product."""
    return {
        (REGIONS[row["region"]], row["gpu_type"]): row
        for row in objects(answer, "server_meta")
        if row.get("workload_type") in ("vm", None)
        and str(row.get("region")) in REGIONS
        and isinstance(row.get("gpu_type"), str)
        and " " not in row["gpu_type"]
    }


def _cpu_prices(answer: object) -> dict[tuple[str, int, int], Decimal]:
    """(region, CPUs, GiB) → price."""
    meta = answer.get("cpu_meta") if isinstance(answer, dict) else None
    found: dict[tuple[str, int, int], Decimal] = {}
    for row in objects(meta, "combinations") if meta else ():
        cpus, memory, price = money(row.get("vcpus")), money(row.get("ram_gb")), money(row.get("price"))
        if cpus is None or memory is None or price is None:
            continue
        for region in part_of(row, "regions", dict):
            if region in REGIONS:
                found[REGIONS[region], int(cpus), int(memory)] = price
    return found


def _times(row: dict[str, Any] | None, count: int) -> Decimal | None:
    one = money(row.get("price_per_hour")) if row else None
    return None if one is None else one * count


def _add(place: tuple[str, str], row: dict[str, Any], types: list[TypeRow], made: Repricing) -> None:
    """Machines of a GPU that the part before does not have at this place, named as its others are."""
    region, gpu = place
    cpus, memory, vram = money(row.get("cpus_per_gpu")), money(row.get("ram_per_gpu")), money(row.get("vram"))
    price = _times(row, 1)
    if cpus is None or memory is None or price is None:
        return
    for count in COUNTS:
        if count > (money(row.get("num_gpus")) or MOST_GPUS):
            return
        kind = TypeRow(
            name=f"{count}x_{gpu}_{int(cpus) * count}V_{int(memory) * count}G",
            cpus=cpus * count,
            memory_gb=memory * count,
            accelerators=(accelerator(gpu, Decimal(count), vram),),
        )
        types.append(kind)
        new = OfferRow(type=kind.key, region=region, zone=None, on_demand=None, source=SOURCE, as_of=made.today)
        made.price(new, Prices(on_demand=price * count))
