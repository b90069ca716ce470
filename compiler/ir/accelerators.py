"""Accelerators: one name per device for all providers, and what a request for a name is met by.

Contract: pure and without dependencies. `DEVICES` is the only table; everything else here reads it.

A **device** has one canonical name and one amount of memory: `A100` has 40 GB and `A100-80GB` is another device, as in every price
list. A **variant** is the same chip with the same memory in another form or behind another interconnect (`H100-SXM`, `H100-PCIE`,
`H100-MEGA`). Variants keep names of their own, since their prices differ, and a request for the device is met by all of them; a
request for a variant is met by that variant alone. A provider's plain `H100` does not say which form it is.

Memory is as sold, in GB. What a driver or an API reports is some percent less (22.35 GiB for the A10G's 24 GB), so catalogs hold
the sold amount, and no request is refused over the difference.

TPUs are counted in chips, whatever their name counts: `tpu-v4-8` has 8 cores and so 4 chips, `tpu-v5litepod-8` has 8 chips.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One row. memory_gb: per device, as sold. variant_of: the device a request for which this one meets too."""

    name: str
    memory_gb: Decimal
    aliases: tuple[str, ...] = ()
    """Other spellings, compared without case, spaces, `-` and `_`."""
    variant_of: str | None = None
    cores_per_chip: int = 0
    """For TPUs whose pod names count cores; 1 where they count chips; 0 for everything else."""


def _device(name: str, memory: str, *aliases: str, variant_of: str | None = None, cores_per_chip: int = 0) -> Device:
    return Device(name=name, memory_gb=Decimal(memory), aliases=aliases, variant_of=variant_of, cores_per_chip=cores_per_chip)


DEVICES: tuple[Device, ...] = (
    _device("A10", "24"),
    _device("A100", "40", "A100-40GB", "A100-40"),
    _device("A100-PCIE", "40", "A100-PCIE-40GB", variant_of="A100"),
    _device("A100-SXM", "40", "A100-SXM4", "A100-SXM4-40GB", "A100-SXM-40GB", variant_of="A100"),
    _device("A100-80GB", "80", "A100-80"),
    _device("A100-80GB-PCIE", "80", "A100-PCIE-80GB", variant_of="A100-80GB"),
    _device("A100-80GB-SXM", "80", "A100-SXM4-80GB", "A100-SXM-80GB", "A100-80GB-SXM4", variant_of="A100-80GB"),
    _device("A10G", "24"),
    _device("A16", "16"),
    _device("A2", "16"),
    _device("A30", "24"),
    _device("A40", "48"),
    _device("AI100", "16", "Qualcomm AI100", "Cloud-AI-100"),
    _device("B200", "180", "B200-180GB", "B200-SXM"),
    _device("B300", "288", "B300-SXM"),
    _device("GB200", "186"),
    _device("GB300", "288"),
    _device("GH200", "96", "GH200-480GB"),
    _device("Gaudi", "32", "Gaudi HL-205"),
    _device("Gaudi2", "96"),
    _device("Gaudi3", "128"),
    _device("H100", "80", "H100-80GB", "H100-80"),
    _device("H100-MEGA", "80", "H100-MEGA-80GB", variant_of="H100"),
    _device("H100-PCIE", "80", "H100-PCIE-80GB", variant_of="H100"),
    _device("H100-SXM", "80", "H100-80GB-HBM3", "H100-SXM5", "H100-SXM5-80GB", variant_of="H100"),
    _device("H100-NVL", "94", "H100-94GB"),
    _device("H200", "141", "H200-141GB"),
    _device("H200-SXM", "141", "H200-SXM5", variant_of="H200"),
    _device("H200-NVL", "141", variant_of="H200"),
    _device("Inferentia", "8", "Inferentia1"),
    _device("Inferentia2", "32"),
    _device("K80", "12"),
    _device("L4", "24"),
    _device("L40", "48"),
    _device("L40S", "48"),
    _device("M60", "8"),
    _device("MI25", "16"),
    _device("MI210", "64"),
    _device("MI250", "128"),
    _device("MI300X", "192"),
    _device("MI325X", "256"),
    _device("P100", "16"),
    _device("P4", "8"),
    _device("RTX2080Ti", "11", "2080Ti"),
    _device("RTX3080", "10", "3080"),
    _device("RTX3090", "24", "3090"),
    _device("RTX4000-Ada", "20", "RTX-4000-Ada-Generation"),
    _device("RTX4080", "16", "4080"),
    _device("RTX4090", "24", "4090"),
    _device("RTX5080", "16", "5080"),
    _device("RTX5090", "32", "5090"),
    _device("RTX6000", "24", "Quadro-RTX-6000"),
    _device("RTX6000-Ada", "48", "RTX-6000-Ada-Generation", "RTX-ADA-6000", "RTX6000Ada"),
    _device("RTXA2000", "6", "A2000"),
    _device("RTXA4000", "16", "A4000"),
    _device("RTXA4500", "20", "A4500"),
    _device("RTXA5000", "24", "A5000"),
    _device("RTXA6000", "48", "A6000"),
    _device("RTXPRO4500", "32", "RTX-PRO-4500-Blackwell"),
    _device("RTXPRO6000", "96", "RTX-PRO-6000-Blackwell", "RTX-PRO-6000-Blackwell-Server-Edition"),
    _device("T4", "16"),
    _device("T4G", "16"),
    _device("Trainium", "32", "Trainium1", "Trn1"),
    _device("Trainium2", "96", "Trn2"),
    _device("V100", "16", "V100-16GB"),
    _device("V100-32GB", "32", "V100-32"),
    _device("V520", "8", "Radeon-Pro-V520"),
    _device("V620", "32"),
    _device("V710", "28"),
    _device("tpu-v2", "16", cores_per_chip=2),
    _device("tpu-v3", "32", cores_per_chip=2),
    _device("tpu-v4", "32", "v4", cores_per_chip=2),
    _device("tpu-v5litepod", "16", "tpu-v5e", "v5e", "v5litepod", cores_per_chip=1),
    _device("tpu-v5p", "95", "v5p", cores_per_chip=2),
    _device("tpu-v6e", "32", "v6e", "tpu-trillium", cores_per_chip=1),
)
"""Sorted by family. Names follow SkyPilot's where it has one, so that its task files read unchanged."""

_BY_NAME = {device.name: device for device in DEVICES}


def _key(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text).lower()


_SPELLINGS = {_key(spelling): device.name for device in DEVICES for spelling in (device.name, *device.aliases)}
_MAKERS = re.compile(r"\b(NVIDIA|Tesla|GeForce|Quadro|AMD|Instinct|Radeon|GPU|Graphics|Device)\b", re.IGNORECASE)
_FORMS = re.compile(r"(?i)SXM\d*|PCI-?E|HBM\d\w*|\d+\s*GB")


def canonical(text: str) -> str | None:
    """The canonical name for a spelling; None for a device the table does not know."""
    return _SPELLINGS.get(_key(text))


def device(text: str) -> Device | None:
    """The row for a spelling; None for one the table does not know."""
    name = canonical(text)
    return None if name is None else _BY_NAME[name]


def asked(text: str, count: Decimal) -> tuple[str, Decimal]:
    """What `text:count` asks for, as canonical name and devices. An unknown name comes back as it was written.

    A TPU name with a size is a whole slice: `tpu-v5litepod-16` asks for 16 chips, `tpu-v4-8` for 4; its count is of slices.
    """
    name = canonical(text)
    if name is not None:
        return name, count
    family, dash, size = text.rpartition("-")
    found = device(family) if dash and size.isdigit() else None
    if found is None or not found.cores_per_chip:
        return text, count
    return found.name, count * int(size) / found.cores_per_chip


def matching(text: str) -> tuple[str, ...]:
    """Every canonical name that meets a request for `text`, sorted: the device itself and its variants.

    An unknown name is met by itself only, so that owners may name devices of their own.
    """
    name = canonical(text)
    if name is None:
        return (text,)
    return tuple(sorted({name, *(device.name for device in DEVICES if device.variant_of == name)}))


def close(text: str) -> str | None:
    """The canonical name a misspelt one probably means."""
    found = difflib.get_close_matches(_key(text), sorted(_SPELLINGS), n=1, cutoff=0.75)
    return _SPELLINGS[found[0]] if found else None


def from_driver(product: str, memory_gb: Decimal) -> str:
    """The canonical device for a driver's product text: `NVIDIA A100-SXM4-80GB` is an `A100-80GB`, `Tesla T4` a `T4`.

    The form is dropped: on a machine one owns it makes no price. memory_gb (GiB, as reported) tells an 80 GB A100 whose product
    text does not say so.
    """
    text = _MAKERS.sub(" ", product).strip()
    words = [word for word in re.split(r"[\s-]+", text) if word and not _FORMS.fullmatch(word)]
    name = "-".join(words) or product.strip()
    found = device(name)
    if found is None:
        return name
    larger = _BY_NAME.get(f"{found.name}-{'80' if found.name == 'A100' else '32'}GB")
    return larger.name if larger is not None and memory_gb > found.memory_gb * Decimal("1.2") else found.name
