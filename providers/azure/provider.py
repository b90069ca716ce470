"""The target `azure`: Microsoft Azure."""

from __future__ import annotations

from ..priced import PricedProvider
from .errors import WORDS


class AzureProvider(PricedProvider):
    name = "azure"
    words = WORDS
