"""This machine as a catalog: one divisible instance type, one offering.

Contract: `machine()` reads the facts, `snapshot(machine, price)` is pure. Amounts are rounded down to what stays equal from one
call to the next, so the catalog's digest changes only when the machine does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from pathlib import Path

from ...compiler.diagnostics import SkycError, error
from ...compiler.ir import Accelerator
from ...compiler.ir.accelerators import from_driver
from ...compiler.ir.catalog import CatalogPart, PriceStep, Rates, StorageRate, TransferRule
from ..snapshot import OfferRow, TypeRow, build_part

PROVIDER = "local"
REGION = "local"
INSTANCE_TYPE = "this-machine"
FREE = "this machine: free unless config says otherwise"

_NOTHING = (PriceStep(above=Decimal(0), price=Decimal(0)),)
_OWN = "the owner's own network and disk"
RATES = Rates(
    transfers=(TransferRule(source="*", destination="internet", steps=_NOTHING, price_source=_OWN, as_of="undated"),),
    storages=(StorageRate(region="*", name="directory", steps=_NOTHING, price_source=_OWN, as_of="undated"),),
    schemes=("file",),
    reachable=False,
    reference_region=REGION,
)
"""Beside the machine nothing is charged: its disk and its network are the owner's, who pays for them anyway."""

_GIB = Decimal(1024**3)
_TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine has. `memory_gb` in GiB, rounded down to 0.1; `devices` are GPU indices per accelerator name."""

    cpus: int
    memory_gb: Decimal
    arch: str
    accelerators: tuple[Accelerator, ...] = ()
    devices: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per hour for the whole machine, and who says so."""

    hourly: Decimal
    source: str


def snapshot(machine: Machine, price: Price) -> CatalogPart:
    """The catalog of a machine. Pure."""
    kind = TypeRow(
        name=INSTANCE_TYPE,
        cpus=Decimal(machine.cpus),
        memory_gb=machine.memory_gb,
        accelerators=machine.accelerators,
        arch=machine.arch,
        local_disk_gb=None,
        divisible=True,
    )
    offer = OfferRow(
        type=kind.key,
        region=REGION,
        zone=None,
        on_demand=price.hourly,
        source=price.source,
        as_of="undated",
        capacity=1,
    )
    return build_part(PROVIDER, (kind,), (offer,), RATES, sells_spot=False, as_of="now")


def machine() -> Machine:
    """Facts of this machine: CPUs this process may use, memory within its control group, NVIDIA devices."""
    found = _nvidia_devices()
    names = sorted({name for _, name, _ in found})
    accelerators = tuple(
        Accelerator(
            name=name,
            count=Decimal(sum(1 for _, other, _ in found if other == name)),
            memory_gb=min(memory for _, other, memory in found if other == name),
        )
        for name in names
    )
    return Machine(
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=(Decimal(_memory_bytes()) / _GIB).quantize(_TENTH, ROUND_DOWN),
        arch=os.uname().machine,
        accelerators=accelerators,
        devices=tuple((name, tuple(index for index, other, _ in found if other == name)) for name in names),
    )


def price(home: Path) -> Price:
    """The owner's price from `<home>/config.yaml`, key `local.price_per_hour`; without one, nothing.

    Raises SkycError when the file or the value cannot be read: a price that is silently 0 would make every comparison wrong.
    """
    import yaml

    path = home / "config.yaml"
    try:
        # BaseLoader keeps scalars as written, so that no float comes between the file and the Decimal.
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except FileNotFoundError:
        return Price(hourly=Decimal(0), source=FREE)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise SkycError(
            error(
                "bad-config", "The configuration file cannot be read", f"{path}: {failure}", hint="correct or remove the file"
            )
        ) from failure
    section = config.get("local") if isinstance(config, dict) else None
    text = section.get("price_per_hour") if isinstance(section, dict) else None
    if text is None:
        return Price(hourly=Decimal(0), source=FREE)
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise SkycError(
            error(
                "bad-price",
                "The price of this machine is not an amount of US dollars",
                f"`local.price_per_hour` in {path} is {text!r}. It must be a number that is zero or more.",
                hint="write it as `price_per_hour: 0.25`",
            )
        )
    return Price(hourly=amount, source=f"{path.name}: local.price_per_hour")


def _memory_bytes() -> int:
    """Physical memory, or the limit of the control group this process is in when that is smaller."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_cgroup_limits(Path("/"))])


def _cgroup_limits(root: Path) -> list[int]:
    """Memory limits of this process's control group and all its parents (versions 1 and 2), below `root`."""
    limits: list[int] = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return limits
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        here = base / path.lstrip("/")
        for folder in (here, *here.parents):
            if folder != base and base not in folder.parents:
                break
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            # "max", and version 1's huge number for "no limit", are no limits.
            if text.isdigit() and int(text) < 2**60:
                limits.append(int(text))
    return limits


def _nvidia_devices() -> list[tuple[int, str, Decimal]]:
    """(index, canonical name, GiB) of each NVIDIA device, in index order; empty without a working driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    devices: list[tuple[int, str, Decimal]] = []
    for line in answer.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[0].isdigit() and parts[2].isdigit():
            memory = (Decimal(parts[2]) / 1024).to_integral_value()
            devices.append((int(parts[0]), from_driver(parts[1], memory), memory))
    return sorted(devices)
