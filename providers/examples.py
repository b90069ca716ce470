"""Targets as they are for everyone: in place of this machine, and of machines somebody owns, made-up ones stand.

For what must not depend on where it is worked out, such as a page of the documentation.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from ..compiler.ir import FrozenMap, SpecPath
from ..compiler.ir.catalog import CatalogPart
from .local.catalog import Machine, Price, snapshot
from .local.client import LocalProvider
from .owned.machines import Machine as OwnMachine
from .owned.machines import part_of
from .owned.provider import OwnedProvider

_CPUS, _MEMORY = Decimal(16), Decimal(64)


class ExampleMachine(LocalProvider):
    """This machine, if it had 16 CPUs and 64 GiB."""

    def catalog(self, *, home: Path) -> CatalogPart:
        return snapshot(Machine(cpus=int(_CPUS), memory_gb=_MEMORY, arch="x86_64"), Price(hourly=Decimal(0), source="example"))


class ExampleOwned(OwnedProvider):
    """Four hosts of 16 CPUs and 64 GiB."""

    def catalog(self, *, home: Path) -> CatalogPart:
        labels = FrozenMap({"team": "research"})
        host = OwnMachine(origin=SpecPath(("machines", 0)), name="host", cpus=_CPUS, memory="64", count=4, labels=labels)
        return part_of((host,))
