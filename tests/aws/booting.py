"""A pretended AWS whose machines boot: moto for the account, namespaces of this machine for the machines (`tests/rented/machines.py`).

What moto says is running is booted with its own user data, at its own addresses; what is terminated is powered off. What was stopped boots
from its disk when it is started, at the addresses it has then. There are no security
groups between them: what those say is tested elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rented.machines import Machines


class BootingCloud:
    """`failures`: what went wrong in the thread that boots, to be shown by the test."""

    def __init__(self, ec2: Any, machines: Machines) -> None:
        self.ec2, self.machines = ec2, machines
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._booted: set[str] = set()
        self._disks: dict[str, Path] = {}
        """Of machines that are stopped."""

    @contextlib.contextmanager
    def running(self) -> Iterator[BootingCloud]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(30)

    def _watch(self) -> None:
        while not self._ended.wait(0.3):
            try:
                self._look()
            except Exception as failure:
                self.failures.append(repr(failure))
        self._look()

    def _look(self) -> None:
        rows = [row for found in self.ec2.describe_instances()["Reservations"] for row in found["Instances"]]
        for row in rows:
            name, state = row["InstanceId"], row["State"]["Name"]
            if state == "running" and name not in self._booted:
                self._booted.add(name)
                given = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"]
                (key,) = self.ec2.describe_key_pairs(KeyNames=[row["KeyName"]], IncludePublicKey=True)["KeyPairs"]
                public = row.get("PublicIpAddress")
                addresses = (row["PrivateIpAddress"], *((public,) if public else ()))
                disk = self._disks.pop(name, None)
                self.machines.boot(name, base64.b64decode(given).decode(), key["PublicKey"], addresses, disk=disk)
            elif state in ("shutting-down", "terminated", "stopping", "stopped") and name in self.machines.running:
                disk = self.machines.power_off(name)
                if state.startswith("stop"):
                    self._booted.discard(name)
                    self._disks[name] = disk
