"""Machines at IBM's VPC are looked at, stopped and started.

Protocol: cloud.ibm.com/apidocs/vpc (`instances/ID`, its `status` and `disks`; `instances/ID/actions`). Instance storage (`disks`)
loses its data.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base import OwnedResource
from ..rented.power import Power, Stopping
from .client import Account

_POWER = {"running": Power.RUNNING, "stopped": Power.STOPPED, "deleting": Power.GONE}
"""IBM's name of a status; every other one is on its way."""


@dataclass(frozen=True, slots=True)
class VpcSwitch:
    account: Account

    def power(self, machine: OwnedResource) -> Power:
        row = self.account.row(machine.detail, f"instances/{machine.id}")
        return Power.GONE if row is None else _POWER.get(str(row.get("status")), Power.CHANGING)

    def stopping(self, machine: OwnedResource) -> Stopping:
        row = self.account.row(machine.detail, f"instances/{machine.id}") or {}
        size = sum(int(disk.get("size", 0)) for disk in row.get("disks") or ())
        return Stopping(local=f"{size} GB instance storage" if size else "")

    def stop(self, machine: OwnedResource) -> None:
        self.account.act(machine.detail, f"instances/{machine.id}", "stop")

    def start(self, machine: OwnedResource) -> None:
        self.account.act(machine.detail, f"instances/{machine.id}", "start")
