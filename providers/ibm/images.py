"""Which image a machine starts from: one the user names, for a task or for all, else the newest the catalog knows.

Contract: pure; nothing is looked up here. An image of IBM's has another id in every region and another for every update, the provider
takes the id alone, and no name stands for the newest one. So the id has to come from somewhere: the task (`image_id`), config.yaml
(`images`), or a catalog that was refreshed with a key. Images with a GPU's driver are named apart, and by the user alone, since
IBM's own Ubuntu images have none. Source: cloud.ibm.com/docs/vpc, "x86 virtual server images" and "Managing GPUs"; the
documentation of `ibm_is_instance`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..rented.images import CONTAINER, NO_CONTAINER
from .facts import PROVIDER

_ID = re.compile(r"r\d{3}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""A region's number and a UUID."""
LIST = "ibmcloud is images --visibility public --status available"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoImage:
    """Why there is no image, as a sentence, and what to do."""

    why: str
    hint: str


def image_of(wanted: str | None, region: str, has_devices: bool, images: Mapping[str, str]) -> str | NoImage:
    """The image's id. `images`: those config.yaml names or the catalog knows (`LowerContext.images`)."""
    if wanted is not None:
        if _ID.fullmatch(wanted):
            return wanted
        if wanted.startswith(CONTAINER):
            return NoImage(
                why=NO_CONTAINER,
                hint="name an image's id",
            )
        return NoImage(
            why=f"{wanted!r} is no image's id; one looks like `r006-14140f94-fcc4-11e9-96e7-a72723715315`.",
            hint="take the id from the list of images in the region",
        )
    place = f"{region}/gpu" if has_devices else region
    found = images.get(f"{PROVIDER}/{place}")
    if found is None:
        which = "an Ubuntu image with the device's driver" if has_devices else "an Ubuntu image"
        return NoImage(
            why=f"IBM's images have another id in every region, and none is known for {place}. Planning looks nothing up.",
            hint=f"name {which}: `image_id` in the task, or `images: {{ibm: {{{place}: IMAGE_ID}}}}` in config.yaml below skyc's home"
            + ("" if has_devices else "; with a key, a refresh of the catalog finds IBM's newest"),
        )
    if not _ID.fullmatch(found):
        return NoImage(
            why=f"`images.ibm.{place}` in config.yaml is {found!r}, which is no image's id.",
            hint="take the id from the list of images in the region",
        )
    return found
