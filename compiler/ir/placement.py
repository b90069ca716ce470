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


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSnapshot:
    """Everything on offer. Its digest is part of every plan."""

    instance_types: tuple[InstanceType, ...]
    offerings: tuple[Offering, ...]

    @property
    def digest(self) -> str:
        return digest(self)

    def type_of(self, offering: Offering) -> InstanceType:
        for kind in self.instance_types:
            if kind.name == offering.instance_type and kind.provider == offering.provider:
                return kind
        raise KeyError(offering.instance_type)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSet:
    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejection, ...]
    catalog_digest: str


class Objective(enum.Enum):
    COST = "cost"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One priced item: quantity × unit price. `amount` None when the price is unknown; totals then read "at least"."""

    label: str
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    source: str
    as_of: str

    @property
    def amount(self) -> Decimal | None:
        return None if self.unit_price is None else self.quantity * self.unit_price


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
    lines: tuple[CostLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A runner-up, with what it would cost more (None: price unknown)."""

    placement: GroupPlacement
    extra: Decimal | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementPlan:
    """The decision: the IR between optimizer and compiler. Nothing after this point chooses a place again."""

    name: str
    spec_digest: str
    catalog_digest: str
    objective: Objective
    status: str
    """`optimal`, or `feasible` with a gap."""
    total: Decimal | None
    """US dollars for one run; None when any line is unknown."""
    placements: tuple[GroupPlacement, ...]
    fallbacks: tuple[GroupPlacement, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    notes: FrozenMap[str] = field(default_factory=FrozenMap)

    @property
    def digest(self) -> str:
        return digest(self)
