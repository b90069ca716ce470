"""Which image a machine starts from: a parameter AWS keeps up to date, or the user's own AMI.

Contract: pure; nothing is looked up. A parameter is resolved by EC2 when the machine is made, so a plan needs no read and the
newest security updates are in it; a machine that exists keeps its image. Sources: documentation.ubuntu.com/aws, "Find Ubuntu
images with SSM parameters"; docs.aws.amazon.com/dlami, "Using SSM to find the DLAMI ID" and the release notes' supported instances;
awsdocs-neuron, "Neuron DLAMI" (none for Inf1 since 2.26.1).

The NVIDIA image's kernel modules are the open ones, which know no GPU older than Turing (NVIDIA's driver README, "Open Linux Kernel
Modules"). A part of a GPU (G6f, Gr6f) wants NVIDIA's GRID driver (EC2 user guide, "Install NVIDIA drivers"), which none of these has.

Every image here is Ubuntu, whose root device is `/dev/sda1`. Only a launch template takes a parameter together with the size of the
root disk: for a plain instance the provider would look the image up by that text and fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..base import CONTAINER, NO_CONTAINER, ImageExtent, ImageReach
from ..rented.images import Image, no_driver

UBUNTU = "resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
NVIDIA = "resolve:ssm:/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
NEURON = "resolve:ssm:/aws/service/neuron/dlami/multi-framework/ubuntu-22.04/latest/image_id"
ROOT_DEVICE = "/dev/sda1"

_DEBIAN_ARCH = {"x86_64": "amd64", "arm64": "arm64"}
_NEURON = ("Trainium", "Inferentia")
_OLD = frozenset({"K80", "M60", "V100", "V100-32GB"})
"""Older than Turing."""
_WITHOUT_DRIVER = _OLD | {"AI100", "Gaudi", "Gaudi2", "Gaudi3", "Inferentia", "Radeon Pro V520", "RadeonProV520", "U30"}
_OWN = re.compile(r"ami-[0-9a-f]{8,17}|resolve:ssm:/[\w.\-/:]+")


def reach_of(image: str) -> ImageReach | None:
    """Where machines can start from it. An AMI is tied to its region, and a copy elsewhere has another id (EC2 user guide, "Resource
    locations" and "Copy an AMI"). A parameter is looked up where the machine is started: AWS's own are in every region."""
    if not _OWN.fullmatch(image):
        return None
    if image.startswith("resolve:"):
        return ImageReach(what="a parameter", extent=ImageExtent.EVERYWHERE)
    instead = "`resolve:ssm:/PARAMETER`, which EC2 looks up in the region it starts the machine in"
    return ImageReach(what="an AMI", extent=ImageExtent.ONE, instead=instead)


def image_of(wanted: str | None, arch: str, accelerators: Iterable[str], *, shared: bool = False) -> Image | str:
    """The image for a machine, or why there is none, as a sentence. `shared`: the machine has a part of a device."""
    if wanted is not None:
        if _OWN.fullmatch(wanted):
            return Image(id=wanted, least_gb=8, own=True)
        if wanted.startswith(CONTAINER):
            return NO_CONTAINER
        return "It must be an AMI id such as `ami-0123456789abcdef0`, or `resolve:ssm:` and a parameter that holds one."
    names = tuple(accelerators)
    strange = sorted(set(names) & _WITHOUT_DRIVER)
    if strange:
        return no_driver(strange)
    if shared:
        return f"skyc knows no image with the driver for a part of one {', '.join(names)}; name one with `image_id`."
    if any(name.startswith(_NEURON) for name in names):
        return Image(id=NEURON, least_gb=150)
    if names:
        return Image(id=NVIDIA.format(arch=arch), least_gb=75)
    return Image(id=UBUNTU.format(arch=_DEBIAN_ARCH[arch]), least_gb=8)
