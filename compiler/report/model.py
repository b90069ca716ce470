"""What a reviewer needs to know, gathered once and shown by every format.

Contract: values only, sorted, with every amount as it will be read. Nothing here knows the time of day, so equal changes give equal
bytes. Text of others (names, values) is as it came: `document` makes it harmless.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..ir import Fingerprints, JobPlan, PolicyResult, ResourceChange, SiteId
from .money import Sum


class Tone(enum.Enum):
    """How a plan is to be met, at a glance."""

    CALM = "calm"
    QUIET = "quiet"
    """Nothing changes."""
    CAUTION = "caution"
    FAILED = "failed"
    """It cannot be applied as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A group's placement, before or after. hourly, amount: of all its nodes together."""

    where: str
    machine: str
    """The machine type alone."""
    shape: str
    """What each node gets: `4 CPUs, 16 GiB, 1× T4`."""
    nodes: int
    market: str
    hourly: Sum
    hours: str
    amount: Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """One group as it is and as it will be. before None: it is new, or nobody knows. after None: it goes."""

    task: str
    group: str
    before: Side | None
    after: Side | None
    fallbacks: int

    @property
    def changed(self) -> bool:
        return self.before is not None and self.before != self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackRow:
    """`hourly`: of all nodes of the group together; `worst`: the most that can become, where it is another amount."""

    task: str
    group: str
    where: str
    machine: str
    market: str
    hourly: str
    worst: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternativeRow:
    """A placement that lost. total: of the whole plan with it; extra: what that is more."""

    task: str
    group: str
    where: str
    machine: str
    market: str
    total: str
    extra: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionRow:
    """Offers that were not compared at all, and why."""

    task: str
    group: str
    count: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One priced item. of: whose it is, where there are several."""

    of: str
    kind: str
    label: str
    quantity: str
    unit: str
    unit_price: str
    amount: str
    source: str
    as_of: str
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a plan costs. before: the run as it was applied last; None where that is not known."""

    total: Sum
    before: Sum | None
    worst: Sum
    """When no spot machine is to be had."""
    hourly: Sum
    """While everything is up: machines, their disks and addresses."""
    kept: Sum
    """US dollars a month for what stays after a destroy, by its declared size."""
    keeps: bool
    """Whether anything stays."""
    hours: str
    assumed: bool
    rows: tuple[CostRow, ...]
    prices_of: str
    """Dates of the prices used, `2026-11-23` or `2024-07-01 to 2026-11-23`; empty where none has one."""
    ends: Sum | None = None
    """Of a destroy: what the deployment costs per hour while everything is up, as it was applied last; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One resource's change. site: empty where no other site has this address, so that it says all."""

    site: str
    change: ResourceChange
    says: tuple[str, ...] = ()
    """Paths that say what it is, where it is new (`Meaning.says`)."""

    @property
    def name(self) -> str:
        """The address, with its site where that is needed to tell it from others."""
        return f"{self.site} {self.change.address}".lstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    add: int = 0
    change: int = 0
    destroy: int = 0
    unchanged: int = 0
    moved: int = 0
    imported: int = 0
    forgotten: int = 0

    def __str__(self) -> str:
        rare = [
            (self.moved, "moved"),
            (self.imported, "imported"),
            (self.forgotten, "forgotten"),
            (self.unchanged, "unchanged"),
        ]
        said = [f"{self.add} to add", f"{self.change} to change", f"{self.destroy} to destroy"]
        return " · ".join(said + [f"{count} {word}" for count, word in rare if count])


class Risk(enum.Enum):
    """Why a reader is warned, the gravest first."""

    DESTROY = "destroy"
    REPLACE = "replace"
    FORGET = "forget"
    REACH = "reach"
    DATA = "data"
    IDENTITY = "identity"
    SPOT = "spot-in-production"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One thing nobody may overlook. subjects: Terraform addresses, or a task's group; text goes around them, `{}` stands for them."""

    risk: Risk
    subjects: tuple[str, ...]
    text: str
    detail: str = ""

    @property
    def sentence(self) -> str:
        return self.text.replace("{}", ", ".join(self.subjects), 1) + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole report, ready for a renderer."""

    deployment: str
    environment: str
    """`production` where the task says so, or another name it gives; empty: it says nothing."""
    task_file: str
    destroying: bool
    tone: Tone
    compared: bool
    """False: there was no state to compare with, so nothing is called new or old."""
    unfinished: tuple[SiteId, ...]
    """Sites whose Terraform plan failed half way: what is listed of them is a part."""
    incomplete: tuple[SiteId, ...]
    """Sites where Terraform leaves something for another plan."""
    costs: Costs
    counts: Counts
    cautions: tuple[Caution, ...]
    proof: str
    """What is known about the placement: that it is the best, of how many, when it ends."""
    objective: str
    """`cost` or `time`; empty where nothing is placed, and so nothing is priced."""
    groups: tuple[GroupRow, ...]
    moves: tuple[str, ...]
    """Storages with a place, what keeping them costs and whether they stay, and data that moves."""
    kept: tuple[str, ...]
    """What a destroy leaves, and what keeping it costs."""
    notes: tuple[str, ...]
    alternatives: tuple[AlternativeRow, ...]
    rejections: tuple[RejectionRow, ...]
    fallbacks: tuple[FallbackRow, ...]
    """What is tried, in this order, where there is no capacity: approved with the plan."""
    jobs: tuple[JobPlan, ...]
    policies: tuple[PolicyResult, ...]
    policy_digest: str
    """Names the rules that were held; empty without any."""
    changes: tuple[ChangeRow, ...]
    """The gravest first, then by address."""
    drift: tuple[ChangeRow, ...]
    diagnostics: tuple[Diagnostic, ...]
    """Errors first."""
    fingerprints: Fingerprints | None
    engine: str
    catalog_digest: str

    @property
    def fingerprint(self) -> str:
        """What names the plan as far as it could be made; empty where nothing does."""
        if self.fingerprints is None:
            return ""
        return self.fingerprints.changes or self.fingerprints.compiled
