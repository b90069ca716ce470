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

from ...compiler.ir import FrozenMap
from ..base import CONTAINER, NO_CONTAINER, ImageExtent, ImageReach
from .facts import PROVIDER

_ID = re.compile(r"r\d{3}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""A region's number and a UUID."""
_REGIONS = FrozenMap(
    {
        "r006": "us-south",
        "r010": "eu-de",
        "r014": "us-east",
        "r018": "eu-gb",
        "r022": "jp-tok",
        "r026": "au-syd",
        "r034": "jp-osa",
        "r038": "ca-tor",
        "r042": "br-sao",
        "r050": "eu-es",
    }
)
"""How ids begin → the region. No table of IBM's documentation is known to have it; it is read off lists of one image in each region,
IBM's own (github.com/IBM/ibm-spectrum-scale-ibm-cloud-schematics, `image_map.tf`) and a vendor's (github.com/rackware-automation/
RackWareSWIFT-IBM-BYOL, `image-map.tf`), which agree. Newer regions (ca-mon, in-che, in-mum) are in neither."""
LIST = "ibmcloud is images --visibility public --status available"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoImage:
    """Why there is no image, as a sentence, and what to do."""

    why: str
    hint: str


def reach_of(image: str) -> ImageReach | None:
    """Where machines can start from it: in the region whose number it begins with."""
    if not _ID.fullmatch(image):
        return None
    number = image.partition("-")[0]
    note = "" if number in _REGIONS else f"`{number}` is the number of a region that skyc does not know."
    return ImageReach(what="an image of IBM's", extent=ImageExtent.ONE, region=_REGIONS.get(number), note=note)


def _elsewhere(image: str, region: str) -> str:
    """Why an image cannot be used in a region, as the end of a sentence; empty where nothing is known against it."""
    reach = reach_of(image)
    there = reach.region if reach is not None else None
    return "" if there in (None, region) else f"is an image of {there}, which its first four characters say"


def image_of(wanted: str | None, region: str, has_devices: bool, images: Mapping[str, str]) -> str | NoImage:
    """The image's id. `images`: those config.yaml names or the catalog knows (`LowerContext.images`)."""
    if wanted is not None:
        if why := _elsewhere(wanted, region):
            return NoImage(why=f"`{wanted}` {why}; the machine is in {region}.", hint=f"name an image of {region}")
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
    if why := _elsewhere(found, region):
        return NoImage(why=f"`images.ibm.{place}` in config.yaml {why}.", hint=f"name an image of {region} there")
    return found
