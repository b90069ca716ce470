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
from dataclasses import dataclass

UBUNTU = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-{arch}"
NVIDIA = "projects/ubuntu-os-accelerator-images/global/images/family/ubuntu-accelerator-2404-{arch}-with-nvidia-580"

_DEBIAN_ARCH = {"x86_64": "amd64", "arm64": "arm64"}
_WITHOUT_DRIVER = frozenset({"K80", "P100", "P4", "V100"})
"""Older than Turing."""
_OWN = re.compile(r"projects/[a-z0-9.:-]+/global/images/(family/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`id`: a path as the Compute Engine API takes it. least_gb: what its own contents need; the user's own is not known."""

    id: str
    least_gb: int
    own: bool = False


def image_of(wanted: str | None, arch: str, accelerators: Iterable[str], *, shared: bool = False) -> Image | str:
    """The image for a machine, or why there is none, as a sentence. `shared`: the machine has a part of a device."""
    if wanted is not None:
        if _OWN.fullmatch(wanted):
            return Image(id=wanted, least_gb=10, own=True)
        if wanted.startswith("docker:"):
            return "A container image is not a machine image, and skyc runs jobs on the machine itself."
        return "It must be a path such as `projects/my-project/global/images/my-image`, or with `images/family/my-family`."
    names = tuple(accelerators)
    old = sorted(set(names) & _WITHOUT_DRIVER)
    if old:
        return f"skyc knows no image with a driver for {', '.join(old)}; name one with `image_id`."
    if shared:
        return f"skyc knows no image with the driver for a part of one {', '.join(names)}; name one with `image_id`."
    if names:
        return Image(id=NVIDIA.format(arch=_DEBIAN_ARCH[arch]), least_gb=30)
    return Image(id=UBUNTU.format(arch=_DEBIAN_ARCH[arch]), least_gb=10)
