"""Virtual machines at Azure are looked at, deallocated and started.

Protocol: learn.microsoft.com/rest/api/compute/virtual-machines (`instanceView`, `deallocate`, `start`). One that is only shut down
(`PowerState/stopped`) goes on costing money; only a deallocated one is stopped here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..base import OwnedResource
from ..rented.power import Power, Stopping
from .client import Arm
from .sizes import has_local_disk

_POWER = {
    "powerstate/running": Power.RUNNING,
    "powerstate/deallocated": Power.STOPPED,
    "powerstate/stopped": Power.OFF,
}
"""Azure's code of a state; every other one, or none, is on its way."""


@dataclass(frozen=True, slots=True)
class AzureSwitch:
    """`temporary`: size of a machine in lower-case letters → GiB of its temporary disk, 0 for none; a size the catalog knows
    nothing of is told by its name."""

    arm: Arm
    temporary: dict[str, int]

    def power(self, machine: OwnedResource) -> Power:
        found = self.arm.get(machine.id, options=(("$expand", "instanceView"),))
        if found is None:
            return Power.GONE
        codes = [str(row.get("code", "")).lower() for row in _inner(found, "properties", "instanceView").get("statuses", ())]
        return next((_POWER[code] for code in codes if code in _POWER), Power.CHANGING)

    def stopping(self, machine: OwnedResource) -> Stopping:
        found = self.arm.get(machine.id) or {}
        size = str(_inner(found, "properties", "hardwareProfile").get("vmSize", ""))
        held = self.temporary.get(size.lower())
        if held is None:
            return Stopping(local="temporary disk" if has_local_disk(size) else "")
        return Stopping(local=f"{held} GiB temporary disk" if held else "")

    def stop(self, machine: OwnedResource) -> None:
        self.arm.act(machine.id, "deallocate")

    def start(self, machine: OwnedResource) -> None:
        self.arm.act(machine.id, "start")


def _inner(row: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        found = row.get(name)
        row = found if isinstance(found, dict) else {}
    return row
