"""The target `jarvislabs`: JarvisLabs."""

from __future__ import annotations

from ..priced import PricedProvider


class JarvisLabsProvider(PricedProvider):
    name = "jarvislabs"
