"""The target `runpod`: RunPod."""

from __future__ import annotations

from ..priced import PricedProvider


class RunPodProvider(PricedProvider):
    name = "runpod"
