"""The target `gcp`: Google Cloud."""

from __future__ import annotations

from ..priced import PricedProvider
from .errors import WORDS


class GcpProvider(PricedProvider):
    name = "gcp"
    words = WORDS
