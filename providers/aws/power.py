"""Machines at EC2 are looked at, stopped and started.

Permissions: `ec2:DescribeInstances`, `ec2:DescribeInstanceTypes`, `ec2:StopInstances`, `ec2:StartInstances`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..base import OwnedResource
from ..rented.power import Power, Stopping
from .client import Account, Answered

_POWER = {
    "running": Power.RUNNING,
    "stopped": Power.STOPPED,
    "shutting-down": Power.GONE,
    "terminated": Power.GONE,
}
"""EC2's name of a state; every other one is on its way."""


@dataclass(frozen=True, slots=True)
class Ec2Switch:
    account: Account

    def power(self, machine: OwnedResource) -> Power:
        row = self._row(machine)
        return Power.GONE if row is None else _POWER.get(row["State"]["Name"], Power.CHANGING)

    def stopping(self, machine: OwnedResource) -> Stopping:
        row = self._row(machine)
        if row is None:
            return Stopping()
        answer = self.account.call("ec2", machine.detail, "describe_instance_types", InstanceTypes=[row["InstanceType"]])
        found = answer["InstanceTypes"][0] if answer["InstanceTypes"] else {}
        size = (found.get("InstanceStorageInfo") or {}).get("TotalSizeInGB")
        local = "" if not found.get("InstanceStorageSupported") else f"{size} GB instance store" if size else "instance store"
        return Stopping(one_time=row.get("InstanceLifecycle") == "spot", local=local)

    def stop(self, machine: OwnedResource) -> None:
        self.account.call("ec2", machine.detail, "stop_instances", InstanceIds=[machine.id])

    def start(self, machine: OwnedResource) -> None:
        self.account.call("ec2", machine.detail, "start_instances", InstanceIds=[machine.id])

    def _row(self, machine: OwnedResource) -> dict[str, Any] | None:
        try:
            answer = self.account.call("ec2", machine.detail, "describe_instances", InstanceIds=[machine.id])
        except Answered as refusal:
            if refusal.code == "InvalidInstanceID.NotFound":
                return None
            raise
        return next((row for found in answer["Reservations"] for row in found["Instances"]), None)
