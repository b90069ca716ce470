"""Drift: what somebody, or something, changed in the world since skyc applied it, and what a change means.

A `DriftTable` is data a target brings: for every attribute of every type it emits, the class of a change of it. Paths are names
joined by dots; positions in lists are left out, and a path stands for everything below it unless something below has a line of its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal

from .addresses import SiteId, SpecPath
from .changes import ValueKind
from .frozen import FrozenMap


class DriftClass(enum.Enum):
    """What a drift is about, the gravest first."""

    SECURITY = "security"
    """Who can reach, read or do something."""
    UNCLASSIFIED = "unclassified"
    """Nobody has said what it means. It is treated as security is: nothing is harmless because nobody knows it."""
    BROKEN = "broken"
    """Nodes may not work, or not find each other."""
    COST = "cost"
    """What is paid, and for how long."""
    BENIGN = "benign"
    """Nothing depends on it."""


class DriftKind(enum.Enum):
    """What happened."""

    CHANGED = "changed"
    """An attribute has another value."""
    GONE = "gone"
    """A resource is not there any more."""
    EXTRA = "extra"
    """A resource carries the deployment's tag and is in none of its states."""
    UNDONE = "undone"
    """An apply or a repair did not end: the state says what is there, and the code says otherwise."""
    NODE = "node"
    """A machine is there and its node does not work."""


class RateKind(enum.Enum):
    """What an attribute's value is a quantity of, for the catalog's prices."""

    MACHINE = "machine"
    """A machine type."""
    DISK = "disk"
    """A root disk's size in GiB."""


WHOLE = "(gone)"
EXTRA = "(extra)"
"""In `TypeDrift.why`, beside paths: sentences about a resource that is gone, and about one that nobody made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeDrift:
    """What drift of one resource type means.

    gone, extra: the class of one that is not there any more, and of one that is in no state. rest: of what has no line; None: it has no
    class. why: path → half a sentence. fields: path → the field of a task's `resources` that it came from. rates: path → what it is a
    quantity of. mirrors: path → the path whose changes it repeats.
    """

    name: str
    gone: DriftClass
    extra: DriftClass
    classes: FrozenMap[DriftClass]
    rest: DriftClass | None = None
    why: FrozenMap[str] = field(default_factory=FrozenMap)
    fields: FrozenMap[str] = field(default_factory=FrozenMap)
    rates: FrozenMap[RateKind] = field(default_factory=FrozenMap)
    mirrors: FrozenMap[str] = field(default_factory=FrozenMap)
    filled: FrozenMap[str] = field(default_factory=FrozenMap)
    """Name at the top → the type whose resources put elements into the list, or give what stands there: what ours did is no drift."""
    settles: frozenset[str] = frozenset()
    """Names at the top that the cloud says only after the resource was made, when something of ours uses it."""
    repairs: FrozenMap[str] = field(default_factory=FrozenMap)
    """Path → what a repair does about it, where it does more than to set a value back."""
    facts: frozenset[str] = frozenset()
    """Names at the top that only the cloud sets."""
    chosen: frozenset[str] = frozenset()
    """Names at the top that the module may set, and that stay as they are where it does not: Terraform puts none of them back by
    itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTable:
    """Everything a target says about drift of what it emits."""

    types: FrozenMap[TypeDrift] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One thing that is not as it was applied.

    path: of the attribute, as `AttributeChange` has it; empty for a whole resource. before, after: canonical JSON text, None where absent
    or not KNOWN; of a node its health, as plain text. repair, adopt: what either would do, as a sentence. place: `task.yaml:3`, the line
    it came from, as it was when it was applied. field: the line of the task file that would say the new value, empty where no field does.
    hourly: what it costs more by the hour, US dollars; less than zero where it costs less; None: it has no price, or nobody knows it.
    """

    site: SiteId
    address: str
    type: str
    kind: DriftKind
    drift: DriftClass
    why: str
    repair: str
    adopt: str
    path: str = ""
    before: str | None = None
    after: str | None = None
    value: ValueKind = ValueKind.KNOWN
    origin: SpecPath | None = None
    place: str = ""
    field: str = ""
    hourly: Decimal | None = None

    @property
    def matters(self) -> bool:
        return self.drift is not DriftClass.BENIGN
