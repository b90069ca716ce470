"""The target `azure`: Microsoft Azure."""

from __future__ import annotations

from ..priced import PricedProvider


class AzureProvider(PricedProvider):
    name = "azure"
