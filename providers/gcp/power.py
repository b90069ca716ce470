"""Machines at Compute Engine are looked at, stopped and started.

Protocol: cloud.google.com/compute/docs/reference/rest/v1/instances (`get`, `stop`, `start`; `status`). A stopped machine is called
TERMINATED there. Spot machines can be stopped as others can; local SSDs (disks of type SCRATCH) lose their data.
Permissions: `compute.instances.get`, `stop` and `start`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base import OwnedResource
from ..rented.power import Power, Stopping
from .client import Cloud

_POWER = {"RUNNING": Power.RUNNING, "TERMINATED": Power.STOPPED}
"""Google's name of a state; every other one is on its way."""


@dataclass(frozen=True, slots=True)
class GoogleSwitch:
    cloud: Cloud

    def power(self, machine: OwnedResource) -> Power:
        row = self.cloud.row(machine.id)
        return Power.GONE if row is None else _POWER.get(str(row.get("status")), Power.CHANGING)

    def stopping(self, machine: OwnedResource) -> Stopping:
        size = self._local_gb(machine)
        return Stopping(local=f"{size} GB local SSD" if size else "")

    def stop(self, machine: OwnedResource) -> None:
        # Without the word, Google refuses a machine with local SSDs; whether it may be stopped was asked before.
        self.cloud.act(machine.id, "stop", {"discardLocalSsd": "true"} if self._local_gb(machine) else {})

    def start(self, machine: OwnedResource) -> None:
        self.cloud.act(machine.id, "start", {})

    def _local_gb(self, machine: OwnedResource) -> int:
        disks = (self.cloud.row(machine.id) or {}).get("disks", ())
        return sum(int(disk.get("diskSizeGb", 375)) for disk in disks if disk.get("type") == "SCRATCH")
