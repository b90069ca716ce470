"""Google's price list: CPUs, memory, GPUs and local disks are products of their own; a machine costs the sum of its parts.

Protocol: https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list. A SKU is told apart by its description
("N2 Instance Core running in Americas"), its market also by `category.usageType`. Commitments, reservations, DWS and calendar
mode have descriptions of their own and are passed over, and so is a SKU whose description and usage type name different markets:
such mistakes are in the list, and a spot price taken for on-demand would win every comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..refresh import Prices, money
from ..snapshot import TypeRow

HOURS_PER_MONTH = Decimal(730)
"""Google's own factor between a month's price and an hour's."""

FAMILIES = {
    "a2-highgpu": "A2 Instance",
    "a2-megagpu": "A2 Instance",
    "a2-ultragpu": "A2 Instance",
    "a3-highgpu": "A3 Instance",
    "a3-megagpu": "A3Plus Instance",
    "c2": "Compute optimized",
    "c2d": "C2D AMD Instance",
    "c3": "C3 Instance",
    "c3d": "C3D Instance",
    "c4": "C4 Instance",
    "c4a": "C4A Arm Instance",
    "c4d": "C4D Instance",
    "e2": "E2 Instance",
    "g2": "G2 Instance",
    "h3": "H3 Instance",
    "n1": "N1 Predefined Instance",
    "n2": "N2 Instance",
    "n2d": "N2D AMD Instance",
    "n4": "N4 Instance",
    "t2a": "T2A Arm Instance",
    "t2d": "T2D AMD Instance",
}
"""Machine family → how the list calls it, before " Core" and " Ram". Families that are not here keep their prices."""

GPUS = {
    "A100": ("Nvidia Tesla A100 GPU",),
    "A100-80GB": ("Nvidia Tesla A100 80GB GPU", "Nvidia A100 80GB GPU"),
    "H100": ("Nvidia H100 80GB GPU", "Nvidia H100 GPU"),
    "H100-MEGA": ("Nvidia H100 80GB Mega GPU", "Nvidia H100 80GB Plus GPU"),
    "L4": ("Nvidia L4 GPU",),
    "P100": ("Nvidia Tesla P100 GPU",),
    "P4": ("Nvidia Tesla P4 GPU",),
    "T4": ("Nvidia Tesla T4 GPU",),
    "V100": ("Nvidia Tesla V100 GPU",),
}
LOCAL_DISK = "SSD backed Local Storage"
SHARED_CORES = {"e2-micro": Decimal("0.25"), "e2-small": Decimal("0.5"), "e2-medium": Decimal(1)}
"""Machines that are billed for fewer CPUs than they show."""
DISK_INSIDE = ("a2-ultragpu", "a3-highgpu", "a3-megagpu")
"""Families whose machines come with local disks. A type of theirs without a known size cannot be priced."""
DISK_OF_THEIR_OWN = ("c4", "c4a", "c4d")
"""Families whose local disks are another product than `LOCAL_DISK`."""

_PLACE = re.compile(
    r"(?P<spot>(?:spot )?preemptible )?(?P<what>.+?)(?P<attached> attached to (?:spot )?preemptible vms)?(?: running)?(?: in .+)?",
    re.IGNORECASE,
)
_OTHER_TERMS = re.compile(r"\b(commitment|dws|calendar|reserv|sole tenancy)", re.IGNORECASE)
_UNITS = {"h": Decimal(1), "GiBy.h": Decimal(1), "GiBy.mo": 1 / HOURS_PER_MONTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPrices:
    """US dollars per hour for one unit (a CPU, a GiB, a GPU), by (what, region, spot). None: the list contradicts itself."""

    known: dict[tuple[str, str, bool], Decimal | None]

    def find(self, names: Iterable[str], region: str, *, spot: bool) -> Decimal | None:
        """The price under the first of the names the list uses; None if unknown."""
        for name in names:
            key = (name.lower(), region, spot)
            if key in self.known:
                return self.known[key]
        return None


def part_prices(skus: Iterable[dict[str, Any]]) -> PartPrices:
    """What can be read of the list. SKUs in an unknown form are passed over: there are thousands of other products in it."""
    found: dict[tuple[str, str, bool], set[Decimal]] = {}
    for sku in skus:
        read = _read(sku)
        if read is None:
            continue
        what, spot, price = read
        regions = sku.get("serviceRegions")
        for region in regions if isinstance(regions, list) else ():
            found.setdefault((what, str(region), spot), set()).add(price)
    return PartPrices(known={key: min(prices) if len(prices) == 1 else None for key, prices in found.items()})


def _read(sku: dict[str, Any]) -> tuple[str, bool, Decimal] | None:
    """(what in lower case, spot, price per hour), or None for another product."""
    category, description = sku.get("category"), sku.get("description")
    if not isinstance(category, dict) or not isinstance(description, str):
        return None
    match = _PLACE.fullmatch(description)
    if match is None or _OTHER_TERMS.search(description):
        return None
    what = match["what"].lower()
    spot = bool(match["spot"] or match["attached"])
    usage = category.get("usageType")
    # Local disks of spot machines are listed as OnDemand: there the description alone decides.
    if usage not in ("OnDemand", "Preemptible") or (what != LOCAL_DISK.lower() and spot != (usage == "Preemptible")):
        return None
    price = _unit_price(sku)
    return None if price is None else (what, spot, price)


def _unit_price(sku: dict[str, Any]) -> Decimal | None:
    try:
        expression = sku["pricingInfo"][0]["pricingExpression"]
        unit = _UNITS[expression["usageUnit"]]
        # The first tier can be a free allowance.
        for rate in expression["tieredRates"]:
            amount = rate["unitPrice"]
            if amount.get("currencyCode", "USD") != "USD":
                return None
            whole, nanos = money(amount.get("units", "0")), money(amount.get("nanos", 0))
            if whole is None or nanos is None:
                return None
            price = whole + nanos * Decimal("1e-9")
            if price > 0:
                return price * unit
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    return None


def machine_price(kind: TypeRow, region: str, prices: PartPrices) -> Prices | None:
    """What a machine costs in a region: the sum of its parts. None: it cannot be told (the family is not known here, a part has
    no price, or the list says on-demand is cheaper than spot). A spot price alone may be unknown."""
    on_demand = _sum(kind, region, prices, spot=False)
    if on_demand is None:
        return None
    spot = _sum(kind, region, prices, spot=True)
    if spot is not None and spot > on_demand:
        return None
    return Prices(on_demand=on_demand, spot=spot)


def _sum(kind: TypeRow, region: str, prices: PartPrices, *, spot: bool) -> Decimal | None:
    words = kind.name.split("-")
    series, family = words[0], "-".join(words[:2])
    called = FAMILIES.get(family) or FAMILIES.get(series)
    if called is None or kind.cpus is None or kind.memory_gb is None:
        return None
    disk = kind.local_disk_gb or Decimal(0)
    inside = family in DISK_INSIDE or kind.name.endswith("lssd")
    if (inside and not disk) or (disk and series in DISK_OF_THEIR_OWN) or "metal" in words:
        return None
    parts = [
        ((f"{called} Core",), SHARED_CORES.get(kind.name, kind.cpus)),
        ((f"{called} Ram",), kind.memory_gb),
        *((GPUS.get(device.name, ()), device.count) for device in kind.accelerators),
        *([((LOCAL_DISK,), disk)] if disk else []),
    ]
    total = Decimal(0)
    for names, count in parts:
        price = prices.find(names, region, spot=spot)
        if price is None:
            return None
        total += price * count
    return total
