"""The target `owned`: hosts the user declares. They are priced like everything else; reaching them over SSH comes later."""

from __future__ import annotations

from pathlib import Path

from ...compiler.diagnostics import Diagnostic, Severity, SkycError
from ...compiler.ir import FrozenMap
from ...compiler.ir.catalog import CatalogPart
from ..base import CheckReport
from ..priced import STATE, PricedProvider
from .machines import PROVIDER, Machine, host_keys_of, part_of, read_machines


class OwnedProvider(PricedProvider):
    name = PROVIDER

    def catalog(self, *, home: Path) -> CatalogPart:
        """Raises SkycError for machines that are declared wrongly: a host that is silently missing would cost money elsewhere."""
        machines, said = read_machines(home)
        mistakes = _errors(said)
        if mistakes:
            raise SkycError(*mistakes)
        return part_of(machines)

    def host_keys(self, *, home: Path) -> FrozenMap[tuple[str, ...]]:
        """Machine → fingerprints of the host keys that are declared for it. Raises SkycError like `catalog`."""
        machines, said = read_machines(home)
        mistakes = _errors(said)
        if mistakes:
            raise SkycError(*mistakes)
        return host_keys_of(machines)

    def check(self, *, home: Path) -> CheckReport:
        machines, said = read_machines(home)
        count = str(_count(machines)) if not _errors(said) else "not known"
        facts = FrozenMap({"state": STATE, "machines": count})
        return CheckReport(provider=self.name, usable=False, facts=facts, diagnostics=said)


def _errors(said: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    return tuple(diagnostic for diagnostic in said if diagnostic.severity is Severity.ERROR)


def _count(machines: tuple[Machine, ...]) -> int:
    return sum(machine.count or 1 for machine in machines)
