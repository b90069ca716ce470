"""Lambda's part of the catalog: its instance types and their prices, which are the same everywhere.

Protocol: https://cloud.lambda.ai/api/v1/docs (`GET /instance-types`, bearer key). The answer names only regions that have
machines free right now, so the regions of the part before stand, and those named are added. Lambda sells no spot machines.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ...compiler.ir import Accelerator
from ...compiler.ir.accelerators import device
from ...compiler.ir.catalog import CatalogPart
from ..http import Request, endpoint
from ..refresh import MissingCredentials, Refreshed, Settings, key_from, money, objects, part_of, wanted
from ..retry import BadAnswer
from ..snapshot import OfferRow, TypeRow, offer_rows, type_rows

PROVIDER = "lambda"
URL = "https://cloud.lambdalabs.com/api/v1"
SOURCE = "Lambda instance types"
_GPU = re.compile(r"gpu_(\d+)x_([a-z0-9]+)(_.*)?")
ARM = frozenset({"gh200"})


def refresh(settings: Settings, before: CatalogPart | None) -> Refreshed:
    """See `providers/refresh.py`."""
    key = key_from(settings.environ, "LAMBDA_API_KEY")
    if key is None:
        raise MissingCredentials(
            "Lambda's price list needs an API key, and LAMBDA_API_KEY is not set.",
            "Make a key at https://cloud.lambda.ai/api-keys and put it into LAMBDA_API_KEY.",
        )
    base = endpoint(settings.environ, "SKYC_LAMBDA_URL", URL)
    settings.tell(PROVIDER, 0, 1, "instance types")
    answer = settings.http.json(
        Request(url=f"{base}/instance-types", secret_headers={"Authorization": ("Bearer ", key)}),
    )
    entries: dict[str, dict[str, Any]] = part_of(answer, "data", dict)
    settings.tell(PROVIDER, 1, 1, "instance types")
    types = {row.name: row for row in type_rows(before)} if before else {}
    types |= {
        name: _described(name, part_of(entry, "instance_type", dict)) for name, entry in entries.items() if name not in types
    }
    old = offer_rows(before) if before else ()
    return Refreshed(types=tuple(types.values()), offers=_offers(settings, old, types, entries), sells_spot=False)


def _offers(
    settings: Settings, old: tuple[OfferRow, ...], types: dict[str, TypeRow], entries: dict[str, dict[str, Any]]
) -> tuple[OfferRow, ...]:
    places: dict[tuple[str, str], OfferRow] = {(row.type[0], row.region): row for row in old}
    named = {(name, part_of(place, "name", str)) for name, entry in entries.items() for place in _free(entry)}
    regions = wanted(settings, {region for _, region in (*places, *named)})
    kept = [row for row in old if row.region not in regions]
    made = []
    for name, region in {*places, *named}:
        if region not in regions or name not in entries:
            continue
        row = places.get((name, region)) or OfferRow(
            type=types[name].key, region=region, zone=None, on_demand=None, source=SOURCE, as_of=settings.today
        )
        price = _price(part_of(entries[name], "instance_type", dict))
        made.append(replace(row, on_demand=price, spot=None, source=SOURCE, as_of=settings.today, estimated=False))
    return (*kept, *made)


def _free(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return objects(entry, "regions_with_capacity_available")


def _price(kind: dict[str, Any]) -> Decimal | None:
    cents = money(kind.get("price_cents_per_hour"))
    return None if cents is None else cents / 100


def _described(name: str, kind: dict[str, Any]) -> TypeRow:
    specs = part_of(kind, "specs", dict)
    return TypeRow(
        name=name,
        cpus=money(specs.get("vcpus")),
        memory_gb=money(specs.get("memory_gib")),
        accelerators=_accelerators(name, specs),
        arch="arm64" if any(chip in name for chip in ARM) else "x86_64",
        local_disk_gb=money(specs.get("storage_gib")),
    )


def _accelerators(name: str, specs: dict[str, Any]) -> tuple[Accelerator, ...]:
    match = _GPU.fullmatch(name)
    count = money(specs.get("gpus")) or (Decimal(match[1]) if match else Decimal(0))
    if not count:
        return ()
    if match is None:
        raise BadAnswer("an instance type has GPUs and a name that does not say which")
    chip, form = match[2], match[3] or ""
    # The name's own pieces, longest first: `gpu_8x_a100_80gb_sxm4`, `gpu_8x_h100_sxm5`, `gpu_1x_gh200`.
    for spelling in (chip + form, *(chip + piece for piece in form.split("_")), chip):
        known = device(spelling)
        if known is not None:
            return (Accelerator(name=known.name, count=count, memory_gb=known.memory_gb),)
    return (Accelerator(name=chip.upper(), count=count),)
