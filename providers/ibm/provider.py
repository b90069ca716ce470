"""The target `ibm`: IBM Cloud."""

from __future__ import annotations

from ..priced import PricedProvider
from .errors import WORDS


class IbmProvider(PricedProvider):
    name = "ibm"
    words = WORDS
