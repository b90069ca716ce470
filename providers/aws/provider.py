"""The target `aws`: Amazon Web Services."""

from __future__ import annotations

from ..priced import PricedProvider


class AwsProvider(PricedProvider):
    name = "aws"
