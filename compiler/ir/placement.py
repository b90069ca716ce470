"""Catalog, candidates and the optimizer's answer. Money is Decimal US dollars; None is "unknown", never zero."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal

from .addresses import GroupName, SpecPath, TaskId
from .frozen import FrozenMap, digest
from .task import Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """`count` equal devices; memory_gb per device, GiB, None if unknown."""

    name: str
    count: Decimal
    memory_gb: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """What a machine is. `divisible`: it can be shared out into several smaller nodes (an owned host can, a VM cannot)."""

    name: str
    provider: str
    cpus: Decimal
    memory_gb: Decimal
    accelerators: tuple[Accelerator, ...] = ()
    arch: str = "x86_64"
    divisible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offering:
    """Where and how an instance type can be had, and for how much. `capacity`: how many exist, None for "not known"."""

    instance_type: str
    provider: str
    region: str
    zone: str | None
    market: Market
    hourly: Decimal | None
    price_source: str
    as_of: str
    capacity: int | None = None
    estimated: bool = False
    """The price is derived or old enough to be doubted."""
    interruption_rate: Decimal | None = None
    """Expected spot interruptions per node-hour; None: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """What one node gets: all of the machine, or its share of a divisible one."""

    cpus: Decimal
    memory_gb: Decimal
    accelerators: tuple[Accelerator, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An offering that meets every requirement of a group."""

    task: TaskId
    group: GroupName
    request: int
    """Index of the group's request it meets."""
    offering: Offering
    shape: NodeShape
    num_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why offerings were left out: one row per (group, reason), with how many it cost and one example."""

    task: TaskId
    group: GroupName
    reason: str
    """A slug: `too-few-cpus`, `no-such-accelerator`, …"""
    detail: str
    """A full sentence with the numbers."""
    requirement: SpecPath
    count: int


class Objective(enum.Enum):
    COST = "cost"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateList:
    """A group's candidates as people read them: how many, and the cheapest ones."""

    task: TaskId
    group: GroupName
    count: int
    cheapest: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateReport:
    """What the candidates stage found, for `--emit=candidates`."""

    groups: tuple[CandidateList, ...]
    rejections: tuple[Rejection, ...]
    catalog_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One priced item: quantity × unit price. `amount` None when the price is unknown; totals then read "at least".

    kind: `compute`, `disk`, `address`, `gateway`, `storage` or `transfer`. estimated: the price is derived, old, or another region's.
    """

    kind: str
    label: str
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    source: str
    as_of: str
    estimated: bool = False
    steps: tuple[tuple[Decimal, Decimal], ...] = ()
    """For a price in steps: (quantity, unit price) of each step; `unit_price` is then their average."""
    dearer_price: Decimal | None = None
    """What it costs beside an on-demand machine, where a spot one is charged less."""

    @property
    def amount(self) -> Decimal | None:
        if self.steps:
            return sum((quantity * price for quantity, price in self.steps), Decimal(0))
        return None if self.unit_price is None else self.quantity * self.unit_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place at a provider. `zone` None: the provider chooses, has no zones, or the thing belongs to a region."""

    provider: str
    region: str
    zone: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.provider, self.region, self.zone) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlacement:
    """Where one group goes."""

    task: TaskId
    group: GroupName
    provider: str
    region: str
    zone: str | None
    instance_type: str
    market: Market
    num_nodes: int
    shape: NodeShape
    hourly: Decimal | None
    """US dollars per hour for one node."""
    hours: Decimal
    """Expected hours its machines run, interruptions included where their rate is known."""
    lines: tuple[CostLine, ...]
    worst_hourly: Decimal | None = None
    """The most one node-hour can cost: for spot the on-demand price of the same machine, None when that is unknown."""
    request: int = 0
    """Index of the group's request it meets."""

    @property
    def location(self) -> Location:
        return Location(provider=self.provider, region=self.region, zone=self.zone)

    def units(self, line: CostLine) -> int:
        """How many of what a line is about there are at any time: one for each node, or one for the group."""
        return self.num_nodes if line.quantity == self.lines[0].quantity else 1

    @property
    def beside_worst(self) -> Decimal:
        """US dollars per hour for what all its machines have beside themselves, were they on-demand ones. What is not known counts
        nothing."""
        prices = ((line, line.unit_price if line.dearer_price is None else line.dearer_price) for line in self.lines[1:])
        return sum((price * self.units(line) for line, price in prices if price is not None), Decimal(0))

    @property
    def group_worst_hourly(self) -> Decimal | None:
        """The most that an hour of all its machines costs, with what they have beside themselves; None where a machine's price is
        unknown."""
        return None if self.worst_hourly is None else self.worst_hourly * self.num_nodes + self.beside_worst


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePlacement:
    """Where a Storage lies. `location` None: the task file does not say, and nothing can be priced."""

    name: str
    uri: str | None
    location: Location | None
    chosen: bool
    """The optimizer chose it (`placement: auto`)."""
    lines: tuple[CostLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Data that moves once per run. hours: expected duration at the assumed bandwidth of the pair."""

    source: str
    """The task or Storage it comes from."""
    destination: str
    gb: Decimal
    hours: Decimal
    line: CostLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A runner-up, with what the whole plan would cost more with it (None: a price is unknown)."""

    placement: GroupPlacement
    extra: Decimal | None
    reason: str
    extra_hours: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How the answer was found and what is proven about it.

    status: `optimal`, or `feasible` when time ran out. bound: no plan can be better than this. value and bound are US dollars
    for the cost objective and hours for time; unknown prices are left out of both. method: `independent` (no term joins two
    choices), `elimination` (dynamic programming) or `integer program`.
    """

    status: str
    method: str
    value: Decimal
    bound: Decimal
    choices: int
    """How many offers the groups had to choose from, together."""

    @property
    def gap(self) -> Decimal:
        """Relative distance of value and bound; 0 when proven optimal."""
        return Decimal(0) if self.value <= self.bound else (self.value - self.bound) / max(abs(self.value), Decimal("1e-9"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementPlan:
    """The decision: the IR between optimizer and compiler. Nothing after this point chooses a place again."""

    name: str
    spec_digest: str
    catalog_digest: str
    objective: Objective
    proof: Proof
    total: Decimal | None
    """US dollars for one run; None when any line is unknown."""
    worst_case: Decimal | None
    """US dollars when no spot machine is to be had; None when any line is unknown."""
    finish_hours: Decimal
    """Expected hours from the start to the end of the last task, transfers included."""
    placements: tuple[GroupPlacement, ...]
    storages: tuple[StoragePlacement, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    fallbacks: tuple[GroupPlacement, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    notes: FrozenMap[str] = field(default_factory=FrozenMap)

    @property
    def digest(self) -> str:
        return digest(self)

    @property
    def status(self) -> str:
        return self.proof.status

    @property
    def places(self) -> tuple[tuple[str, ...], ...]:
        """Where each group goes, on which machine and market."""
        return tuple(
            (item.task, item.group, str(item.location), item.instance_type, item.market.value) for item in self.placements
        )

    @property
    def lines(self) -> tuple[CostLine, ...]:
        """Every cost line: machines, then storages, then transfers."""
        return (
            *(line for placement in self.placements for line in placement.lines),
            *(line for storage in self.storages for line in storage.lines),
            *(transfer.line for transfer in self.transfers),
        )
