"""The target `ibm`: IBM Cloud."""

from __future__ import annotations

from ..priced import PricedProvider


class IbmProvider(PricedProvider):
    name = "ibm"
