"""What rules of a policy leave of the offers, as data that `candidates` filters by.

Contract: pure. A `Bar` is one rule; the same bar later checks the placements that were made, so that the filter and the check cannot
say different things. Patterns are the shell's (`eu-*`, `p?.large`), and a `!` in front takes away what the others allow; a list of `!`
alone allows everything else. Letters count as they are written.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field

Patterns = tuple[str, ...]


def matches(patterns: Patterns, name: str) -> bool:
    """Whether a list of patterns allows a name."""
    allowed = [pattern for pattern in patterns if not pattern.startswith("!")]
    refused = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in refused):
        return False
    return not allowed or any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rule that lets some offers through. None: whatever it is."""

    rule: str
    source: str
    """Where the rule stands, for people: `policy.yaml:12`."""
    clouds: Patterns | None = None
    regions: Patterns | None = None
    zones: Patterns | None = None
    machines: Patterns | None = None
    accelerators: Patterns | None = None
    spot: bool = True
    """False: interruptible machines are ruled out."""
    unknown_price: bool = True
    """False: so is what nobody knows the price of."""

    def place(self, provider: str, region: str, zone: str | None, *, zones: bool = True) -> str | None:
        """What is wrong with a place; None when it is allowed. A zone that the provider chooses cannot be shown to be allowed; zones
        False: for what lies in a region and in no zone of it."""
        if self.clouds is not None and not matches(self.clouds, provider):
            return f"{provider} is not among the clouds allowed: {_listed(self.clouds)}"
        if self.regions is not None and not matches(self.regions, region):
            return f"{provider}/{region} is not among the regions allowed: {_listed(self.regions)}"
        if zones and self.zones is not None and (zone is None or not matches(self.zones, zone)):
            where = f"{provider}/{region}/{zone}" if zone else f"{provider}/{region}, whose zone the provider chooses,"
            return f"{where} is not among the zones allowed: {_listed(self.zones)}"
        return None

    def machine(self, name: str, accelerators: Iterable[str]) -> str | None:
        """What is wrong with a machine type. One without accelerators has none that could be forbidden."""
        if self.machines is not None and not matches(self.machines, name):
            return f"{name} is not among the machines allowed: {_listed(self.machines)}"
        for device in accelerators:
            if self.accelerators is not None and not matches(self.accelerators, device):
                return f"{device} is not among the accelerators allowed: {_listed(self.accelerators)}"
        return None

    def objection(
        self,
        *,
        provider: str,
        region: str,
        zone: str | None,
        machine: str,
        accelerators: Iterable[str],
        spot: bool,
        priced: bool,
    ) -> str | None:
        """What is wrong with an offer, without a full stop; None when the rule lets it through."""
        said = self.place(provider, region, zone) or self.machine(machine, accelerators)
        if said is not None:
            return said
        if spot and not self.spot:
            return f"{machine} at {provider}/{region} is a spot machine"
        if not priced and not self.unknown_price:
            return f"nobody knows what {machine} costs at {provider}/{region}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """The bars that a task's offers have to pass, all of them."""

    bars: tuple[Bar, ...] = field(default=())

    @property
    def of_places_alone(self) -> bool:
        """Whether no bar looks at anything but the place."""
        return all(bar.machines is None and bar.accelerators is None and bar.spot and bar.unknown_price for bar in self.bars)

    @property
    def spot(self) -> bool:
        return all(bar.spot for bar in self.bars)

    @property
    def unknown_price(self) -> bool:
        return all(bar.unknown_price for bar in self.bars)

    def place(self, provider: str, region: str, zone: str | None, *, zones: bool = True) -> bool:
        return all(bar.place(provider, region, zone, zones=zones) is None for bar in self.bars)

    def machine(self, name: str, accelerators: tuple[str, ...]) -> bool:
        return all(bar.machine(name, accelerators) is None for bar in self.bars)


UNRESTRICTED = Restriction()


def _listed(patterns: Patterns) -> str:
    return ", ".join(f"`{pattern}`" for pattern in patterns)
