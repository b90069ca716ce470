"""Which image a machine boots from: a family Google keeps up to date, or the user's own image.

Contract: pure; nothing is looked up here. Compute Engine resolves a family to its newest image when the machine is made, so the newest
security updates are in it, and a machine that exists keeps its disk.

Sources: cloud.google.com/compute/docs/images/os-details (project `ubuntu-os-cloud`, families per architecture), and
cloud.google.com/ai-hypercomputer/docs/images (project `ubuntu-os-accelerator-images`: Ubuntu with NVIDIA's driver; the family names
the driver's branch). One family serves Blackwell as well, so its kernel modules are NVIDIA's open ones, which know no GPU older than
Turing (NVIDIA's driver README, "Open Linux Kernel Modules"). A part of a GPU (the smaller G4) wants NVIDIA's driver for virtual GPUs,
which these images do not have (cloud.google.com/compute/docs/gpus/install-grid-drivers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..base import CONTAINER, NO_CONTAINER, ImageExtent, ImageReach
from ..rented.images import Image, no_driver

UBUNTU = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-{arch}"
NVIDIA = "projects/ubuntu-os-accelerator-images/global/images/family/ubuntu-accelerator-2404-{arch}-with-nvidia-580"

_DEBIAN_ARCH = {"x86_64": "amd64", "arm64": "arm64"}
_WITHOUT_DRIVER = frozenset({"K80", "P100", "P4", "V100"})
"""Older than Turing."""
_OWN = re.compile(r"projects/[a-z0-9.:-]+/global/images/(family/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def reach_of(image: str) -> ImageReach | None:
    """Where machines can start from it: images are global (cloud.google.com/compute/docs/regions-zones/global-regional-zonal-resources)."""
    return ImageReach(what="an image of Google's", extent=ImageExtent.EVERYWHERE) if _OWN.fullmatch(image) else None


def image_of(wanted: str | None, arch: str, accelerators: Iterable[str], *, shared: bool = False) -> Image | str:
    """The image for a machine, or why there is none, as a sentence. `shared`: the machine has a part of a device."""
    if wanted is not None:
        if _OWN.fullmatch(wanted):
            return Image(id=wanted, least_gb=10, own=True)
        if wanted.startswith(CONTAINER):
            return NO_CONTAINER
        return "It must be a path such as `projects/my-project/global/images/my-image`, or with `images/family/my-family`."
    names = tuple(accelerators)
    old = sorted(set(names) & _WITHOUT_DRIVER)
    if old:
        return no_driver(old)
    if shared:
        return f"skyc knows no image with the driver for a part of one {', '.join(names)}; name one with `image_id`."
    if names:
        return Image(id=NVIDIA.format(arch=_DEBIAN_ARCH[arch]), least_gb=30)
    return Image(id=UBUNTU.format(arch=_DEBIAN_ARCH[arch]), least_gb=10)
