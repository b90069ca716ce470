"""The target `gcp`: Google Cloud."""

from __future__ import annotations

from ..priced import PricedProvider


class GcpProvider(PricedProvider):
    name = "gcp"
