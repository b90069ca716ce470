"""What follows from a machine size's name: processor, image generation, how it is sold, and what its disk, network and boot can be.

Contract: pure. Names follow `Standard_<family><vCPUs>[-<vCPUs in use>]<features>[_<accelerator or more>][_v<version>]`
(learn.microsoft.com/azure/virtual-machines/vm-naming-conventions): `s` takes Premium disks, `p` is Arm. A size of another form
or family gets what every size has. Sources, in learn.microsoft.com/azure/virtual-machines: generation-2, trusted-launch,
confidential-vm-overview, nvme-overview and the pages of sizes, spot-vms (limitations); and in ../virtual-network:
accelerated-networking-overview. Where a page says that only part of a family has something, none of it gets it: a machine
without it starts, and one that is promised too much does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_NAME = re.compile(r"(?:Standard|Basic)_([A-Z]+)\d+(?:-\d+)?([a-z]*)((?:_(?!v\d)[A-Za-z0-9]+)*)(?:_v(\d+))?(?:_Promo)?")
_FAMILIES = frozenset(
    {
        *("A", "B", "D", "DC", "DS", "E", "EC", "F", "FX", "G", "GS", "HB", "HC", "HX", "L", "M"),
        *("NC", "NCC", "ND", "NP", "NV"),
    }
)
_FIRST_GENERATION = frozenset({"DS", "F", "GS", "L"})
"""Families whose first version takes generation 1 and is not said to take generation 2 in every size."""
_TRUSTED = frozenset({"B", "D", "DS", "E", "F", "FX", "HB", "HC", "HX", "L", "NC", "NV"})
_DISKFUL = frozenset({"HB", "HC", "HX", "L", "ND"})
_SLOW_NETWORK = frozenset({"A", "G", "GS", "NV"})
"""Families without accelerated networking; those with it in some sizes only are in `accelerated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """generation: of the image it boots. confidential: a confidential machine, which boots an image made for it and no other."""

    name: str
    arch: str
    generation: int
    premium: bool
    trusted_launch: bool
    confidential: bool
    family: str = ""
    version: int = 1
    features: str = ""


def size_of(name: str) -> Size:
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in _FAMILIES:
        return Size(name=name, arch="x86_64", generation=2, premium=True, trusted_launch=False, confidential=False)
    family, features, middle, version = match[1], match[2], match[3], int(match[4] or 1)
    arch = "arm64" if "p" in features else "x86_64"
    premium = "s" in features or family in ("DC", "DS", "GS")
    # In DC and EC, AMD's and Intel's newer sizes are confidential machines; SGX enclaves (v2, v3) and `_cc` are ordinary ones.
    confidential = family == "NCC" or (family in ("DC", "EC") and version >= 5 and middle != "_cc")
    generation = 2
    if family == "NP" or (not premium and version < 5) or (version == 1 and family in _FIRST_GENERATION):
        generation = 1
    trusted = generation == 2 and arch == "x86_64" and family in _TRUSTED
    return Size(
        name=name,
        arch=arch,
        generation=generation,
        premium=premium,
        trusted_launch=trusted,
        confidential=confidential,
        family=family,
        version=version,
        features=features,
    )


def sells_spot(name: str) -> bool:
    """B sizes and promotions are never spot machines."""
    match = _NAME.fullmatch(name)
    return not name.endswith("_Promo") and (match is None or match[1] != "B")


_NVME_SINCE = {"D": 6, "E": 6, "F": 6, "FX": 2, "L": 4}
"""Family → its first version whose disks are NVMe. The page of FX v2 tells of NVMe storage and of generation 2 alone, and has no word of
SCSI; where Azure had both, naming NVMe would do no harm, as Canonical's images are marked for it."""


def has_nvme(size: Size) -> bool:
    """Whether its disks, that of the system too, are on an NVMe controller. Azure takes SCSI for a size that is not said to be otherwise
    (kubermatic/machine-controller#1980). Sizes with both are left to that (Ebsv5, but for its largest, E112i, which the page of the
    series says is NVMe only), and so are those whose pages do not tell (M, NC and ND). Confidential ones are left to Azure: their images
    are not among those that enable-nvme-interface lists for NVMe."""
    if size.confidential:
        return False
    if (size.family, size.version) == ("E", 5):
        return {"i", "b"} <= set(size.features)
    return size.version >= _NVME_SINCE.get(size.family, size.version + 1)


def has_infiniband(name: str) -> bool:
    """Whether it has a network interface for RDMA beside the usual one: an `r` among its features (setup-infiniband)."""
    match = _NAME.fullmatch(name)
    return match is not None and "r" in match[2]


def has_local_disk(name: str) -> bool:
    """Whether it has a disk inside the host, which is empty after a stop. Newer sizes say so by a `d`; older ones all have one, and so have
    families made for it. One of another form may have one, so it counts as having it."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in _FAMILIES:
        return True
    family, features, version = match[1], match[2], int(match[4] or 1)
    if "d" in features or family in _DISKFUL:
        return True
    return version <= 3 and (family, version) not in (("B", 2), ("M", 3))


def accelerated(size: Size, cpus: Decimal) -> bool:
    """Whether the network interface may be a virtual function of the host's (SR-IOV). One CPU is never enough."""
    family, version = size.family, size.version
    if not family or size.confidential or cpus < 2:
        return False
    if family in _SLOW_NETWORK and (family, version) != ("NV", 5):
        return False
    if family in ("D", "DS", "L") and version == 1:
        return False
    if family == "B" and version == 1:
        # B12ms, B16ms and B20ms.
        return cpus >= 12
    if (family, version) in (("DC", 2), ("NC", 3)):
        # Of NC version 3 the sizes with a T4 have it, and those with V100 have not.
        return "_T4_" in size.name
    if (family, version) in (("D", 3), ("E", 3), ("F", 2), ("L", 2)) or (family == "M" and version <= 2):
        # Sizes with hyperthreads begin at four.
        return cpus >= 4
    return True
