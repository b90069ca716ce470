"""What all clouds say of machine images: what one is, and why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`id`: as the cloud's API takes it. least_gb: what its own contents need; the user's own is not known."""

    id: str
    least_gb: int
    own: bool = False


def no_driver(accelerators: Iterable[str]) -> str:
    """Why there is no image for a machine with these devices."""
    return f"skyc knows no image with a driver for {', '.join(accelerators)}; name one with `image_id`."
