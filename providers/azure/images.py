"""Which image a machine starts from: one of the marketplace's by name, or the user's own.

Contract: pure; nothing is looked up. Version `latest` is resolved by Azure when the machine is made, so a plan needs no read and
the newest security updates are in it; a machine that exists keeps its image. Sources: documentation.ubuntu.com/azure, "Find Ubuntu
images" (offer `ubuntu-24_04-lts`, SKUs `server`, `server-gen1`, `server-arm64`, `cvm`); github.com/Azure/azhpc-images README
(`microsoft-dsvm:ubuntu-hpc`, SKUs `2204`, `2204-v100`, `2204-rocm`, all generation 2) and its issues 398 (no driver for A10) and
406 (V100 has an image of its own); learn.microsoft.com/azure/virtual-machines, azure-hpc-vm-images (the same image is for the H family,
with the driver for InfiniBand) and setup-infiniband (without one there is no RDMA). That Linux images for confidential machines are made
for them alone, and others are not for them: microsoft/lisa#4151.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, Value
from ..base import CONTAINER, NO_CONTAINER, ImageExtent, ImageReach
from .sizes import Size

UBUNTU = "Canonical:ubuntu-24_04-lts:{sku}:latest"
HPC = "microsoft-dsvm:ubuntu-hpc:{sku}:latest"
UBUNTU_GB = 30
HPC_GB = 64
INFINIBAND_SKU = "2204"

_HPC_SKUS = {
    "A100": "2204",
    "A100-80GB": "2204",
    "H100": "2204",
    "H100-NVL": "2204",
    "H200": "2204",
    "MI300X": "2204-rocm",
    "T4": "2204",
    "V100": "2204-v100",
    "V100-32GB": "2204-v100",
}
"""Accelerator → SKU of the image with its driver. A10, M60 and MI25 are shared between machines (GRID, MxGPU) and need a driver that
none of these has."""
_CONFIDENTIAL = re.compile(r"cvm|confidential", re.IGNORECASE)
"""How publishers of the marketplace call images for confidential machines, in the offer or the SKU: Canonical's `cvm`, Red Hat's
`rhel-cvm`."""
_URN = re.compile(r"[\w.\-]+:[\w.\-]+:[\w.\-]+:(?:latest|[\w.\-]+)")
_ID = re.compile(
    r"/subscriptions/[\w\-]+/resourceGroups/[\w.\-()]+/providers/Microsoft\.Compute/(?:images/[\w.\-]+"
    r"|galleries/[\w.]+/images/[\w.\-]+(?:/versions/[\w.]+)?)"
    r"|/(?:communityGalleries|sharedGalleries)/[\w.\-]+/images/[\w.\-]+(?:/versions/[\w.]+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`name`: `publisher:offer:sku:version`, or a resource's id. least_gb: what its own contents need; the user's own is not known.
    trusted: it boots with secure boot and a TPM. Images whose drivers are not signed do not load them then."""

    name: str
    least_gb: int
    trusted: bool = False
    own: bool = False

    @property
    def arguments(self) -> dict[str, Value]:
        if self.name.startswith("/"):
            return {"source_image_id": self.name}
        publisher, offer, sku, version = self.name.split(":")
        reference: dict[str, Value] = {"publisher": publisher, "offer": offer, "sku": sku, "version": version}
        return {"source_image_reference": FrozenMap(reference)}


def reach_of(image: str) -> ImageReach | None:
    """Where machines can start from it. A managed image makes machines in its own region alone; one in a gallery, in the regions it has
    replicas in (learn.microsoft.com, "Create a legacy managed image of a generalized VM in Azure", "Store and share images in an Azure
    Compute Gallery"). A resource's id tells neither."""
    if image.startswith(CONTAINER):
        return None
    if _URN.fullmatch(image):
        return ImageReach(what="an image of the marketplace", extent=ImageExtent.EVERYWHERE)
    if not _ID.fullmatch(image):
        return None
    if "galleries/" in image.lower():
        return ImageReach(what="an image of a gallery", extent=ImageExtent.COPIED)
    return ImageReach(what="a managed image", extent=ImageExtent.ONE, instead="an image of the marketplace")


def image_of(
    wanted: str | None, size: Size, accelerators: Iterable[str], *, named: bool = True, infiniband: bool = False
) -> Image | str:
    """The image for a machine, or why there is none, as a sentence. named: the user named the size; infiniband: the machine is joined with
    others by it."""
    if wanted is not None:
        return _own(wanted, size, named=named)
    names = sorted(set(accelerators))
    strange = [name for name in names if name not in _HPC_SKUS]
    if strange:
        return f"skyc knows no image with a driver for {', '.join(strange)} at Azure; name one with `image_id`."
    if names and size.confidential:
        return f"skyc knows no image with a driver that a confidential machine ({size.name}) boots; name one with `image_id`."
    if names:
        return Image(name=HPC.format(sku=_HPC_SKUS[names[0]]), least_gb=HPC_GB)
    if size.confidential:
        return Image(name=UBUNTU.format(sku="cvm"), least_gb=UBUNTU_GB)
    if infiniband:
        return Image(name=HPC.format(sku=INFINIBAND_SKU), least_gb=HPC_GB)
    if size.arch == "arm64":
        return Image(name=UBUNTU.format(sku="server-arm64"), least_gb=UBUNTU_GB)
    sku = "server" if size.generation == 2 else "server-gen1"
    return Image(name=UBUNTU.format(sku=sku), least_gb=UBUNTU_GB, trusted=size.generation == 2)


def _own(wanted: str, size: Size, *, named: bool) -> Image | str:
    if wanted.startswith(CONTAINER):
        return NO_CONTAINER
    listed = _URN.fullmatch(wanted) is not None
    if not listed and not _ID.fullmatch(wanted):
        return "It must be `publisher:offer:sku:version` of the marketplace, or the id of an image or of a gallery's image."
    if size.confidential and listed and not any(map(_CONFIDENTIAL.search, wanted.split(":")[1:3])):
        return f"{size.name} is a confidential machine. It boots only an image made for one, which by its name {wanted} is not."
    if size.confidential and not listed and not named:
        # What is in a gallery nobody has looked up. Who names the size is taken at their word.
        return f"{size.name} is a confidential machine, and nothing says that the image is made for one."
    return Image(name=wanted, least_gb=UBUNTU_GB, own=True)
