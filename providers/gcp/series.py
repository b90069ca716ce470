"""What Google's machine series differ in: their processors, the disks they boot from, how they are sold, whether they can be moved
while they run, and whether they can be put close together.

Sources: docs.cloud.google.com/compute/docs "About Persistent Disk", "About Hyperdisk Balanced" (machine series support),
"Placement policies overview", "Live migration process during maintenance events" (limitations), "Spot VMs" (limitations); AI
Hypercomputer's "Compact placement policy and workload policy overview" and "GPU machine types" (how each may be provisioned);
the machine families of GKE's cluster autoscaler, as Google publishes it. Where they disagree, only what all of them allow is
used. Only Hyperdisk Balanced is both a Hyperdisk and a boot disk.

A series that is not here is newer than this file: such machines have had Hyperdisk alone since C4.
"""

from __future__ import annotations

from ...compiler.ir import FrozenMap

_ANY = ("pd-standard", "pd-balanced", "pd-ssd")
_SOLID = ("pd-balanced", "pd-ssd")
_HYPERDISK = ("hyperdisk-balanced",)

BOOT_DISKS: FrozenMap[tuple[str, ...]] = FrozenMap(
    {
        "a2": _ANY,
        "a3": _SOLID,
        "a3-ultragpu": _HYPERDISK,
        "a4": _HYPERDISK,
        "a4x": _HYPERDISK,
        "c2": _ANY,
        "c2d": _ANY,
        "c3": _SOLID,
        "c3d": _SOLID,
        "c4": _HYPERDISK,
        "c4a": _HYPERDISK,
        "c4d": _HYPERDISK,
        "c4n": _HYPERDISK,
        "e2": _ANY,
        "f1": _ANY,
        "g1": _ANY,
        "g2": _SOLID,
        "g4": _HYPERDISK,
        "h3": ("pd-balanced",),
        "h4d": _HYPERDISK,
        "m1": _ANY,
        "m2": _ANY,
        "m3": _SOLID,
        "m4": _HYPERDISK,
        "m4n": _HYPERDISK,
        "n1": _ANY,
        "n2": _ANY,
        "n2d": _ANY,
        "n4": _HYPERDISK,
        "n4a": _HYPERDISK,
        "n4d": _HYPERDISK,
        "t2a": _ANY,
        "t2d": _ANY,
        "x4": _HYPERDISK,
        "z3": _SOLID,
    }
)
"""Series, or series and class where classes differ → what its machines boot from, of the types the catalog prices and Hyperdisk."""
COMPACT = frozenset(
    {"a2", "a3", "a4", "a4x", "c2", "c2d", "c3", "c3d", "c4", "c4d", "c4n", "g2", "g4", "h3", "h4d", "m4", "n2", "n2d"}
)
"""Series that a compact placement policy takes."""
ARM = frozenset({"a4x", "c4a", "n4a", "t2a"})
"""A test holds this against the whole catalog."""
NEVER_MOVED = frozenset({"h3", "h4d"})
"""Series without live migration, beside what has accelerators or is metal. Z3 has it in some sizes, which Google knows by their type."""
_SMALL_A3 = frozenset({"a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"})


SHARED_CORE = frozenset({"e2-medium", "e2-micro", "e2-small", "f1-micro", "g1-small"})
"""Machines that have a part of a core ("Machine families", shared-core machine types)."""
RDMA = "RDMA over eight network cards"
FAST_NETWORKS: FrozenMap[str] = FrozenMap(
    {
        "a3-edgegpu": "several network cards",
        "a3-highgpu-8g": "GPUDirect-TCPX over four network cards",
        "a3-megagpu": "GPUDirect-TCPXO over eight network cards",
        "a3-ultragpu": RDMA,
        "a4-highgpu": RDMA,
    }
)
"""What such machines have between their GPUs beside their first network card, by the beginning of their names ("GPU machine types",
"Networking and GPU machines"). A4X, which is to be had by reservation alone, is not among them."""


def fast_network(machine_type: str) -> str:
    """The network between the GPUs of such machines, of which skyc makes none; empty where Google has none."""
    return next((what for name, what in FAST_NETWORKS.items() if f"{machine_type}-".startswith(f"{name}-")), "")


def not_sold(machine_type: str, *, spot: bool) -> str:
    """Why Google sells no such machine this way, as a sentence; empty where it does."""
    if series(machine_type) == "a4x":
        return f"{machine_type} is to be had by reservation alone, and skyc cannot name one yet."
    if spot:
        return f"Google sells no bare metal as spot, and {machine_type} is." if is_metal(machine_type) else ""
    if machine_type in _SMALL_A3:
        return f"Google sells {machine_type} as spot or by flex start alone."
    if series(machine_type) == "a4" or machine_type.startswith("a3-ultragpu"):
        return f"Google sells {machine_type} as spot, by reservation or by flex start, and skyc can only do the first yet."
    return ""


def series(machine_type: str) -> str:
    return machine_type.partition("-")[0]


def boot_disks(machine_type: str) -> tuple[str, ...]:
    if is_metal(machine_type):
        return _HYPERDISK
    exact = BOOT_DISKS.get("-".join(machine_type.split("-")[:2]))
    return exact or BOOT_DISKS.get(series(machine_type), _HYPERDISK)


def is_metal(machine_type: str) -> bool:
    """The whole server, without Google's hypervisor."""
    return machine_type.endswith("-metal")


def is_tpu(machine_type: str) -> bool:
    """A slice of TPUs, which another API makes (`tpu.googleapis.com`)."""
    return machine_type.startswith("tpu-")
