"""What a policy's restriction rules out of a part, as columns. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ir import CatalogPart
from .ir.catalog import UNKNOWN
from .ir.restriction import Restriction

if TYPE_CHECKING:
    from numpy.typing import NDArray


def barred_types(restriction: Restriction, part: CatalogPart) -> NDArray[Any]:
    """Machine type → whether it is ruled out, by its name or an accelerator of it."""
    import numpy

    types = part.offers.types
    devices: dict[int, list[str]] = {}
    for row, name in zip(types.device_type.tolist(), types.device_name.tolist(), strict=True):
        devices.setdefault(row, []).append(types.accelerators[name])
    barred = (not restriction.machine(name, tuple(devices.get(row, ()))) for row, name in enumerate(types.names))
    return numpy.fromiter(barred, dtype=bool, count=len(types.names))


def barred_prices(restriction: Restriction, prices: NDArray[Any]) -> NDArray[Any]:
    """Offer → whether it is ruled out because nobody knows its price."""
    import numpy

    if restriction.unknown_price:
        return numpy.zeros(len(prices), dtype=bool)
    unknown: NDArray[Any] = prices == UNKNOWN
    return unknown
