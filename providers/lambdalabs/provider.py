"""The target `lambda`: Lambda."""

from __future__ import annotations

from ..priced import PricedProvider


class LambdaProvider(PricedProvider):
    name = "lambda"
