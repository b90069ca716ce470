"""What a review is about beside the placement and the changes: the rules that were held against a plan, and what names it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .addresses import SpecPath
from .frozen import FrozenMap


class PolicyEffect(enum.Enum):
    """What a rule does that is not met."""

    DENY = "deny"
    """Nothing is applied; exit code 3."""
    WARN = "warn"
    APPROVE = "approve"
    """Somebody the rule names has to approve; until then nothing is applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """One rule held against one plan."""

    rule: str
    """Its name, a slug: `spot-in-prod`."""
    effect: PolicyEffect
    met: bool
    message: str = ""
    """What was found, one sentence with the amounts; empty where the rule is met."""
    source: str = ""
    """Where the rule stands, for people: `policy.yaml:12`."""
    origin: SpecPath | None = None
    """The line of the task file that it hits."""
    approvers: tuple[str, ...] = ()
    """Who may approve, as patterns of what somebody calls themselves; empty: anybody."""
    approved: str | None = None
    """Who approved what the rule asks approval for; None: nobody yet."""

    @property
    def blocks(self) -> bool:
        """Whether nothing may be applied because of it."""
        return not self.met and (
            self.effect is PolicyEffect.DENY or (self.effect is PolicyEffect.APPROVE and not self.approved)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """Names of what is reviewed, hexadecimal. Equal for equal plans, whatever the clock, comments or commit."""

    compiled: str
    """The compiler's: needs no state and no account. Places, machines, images, price ceilings, envelope, Terraform code."""
    changes: str | None = None
    """With what Terraform would do to the state there is. None where nothing was compared."""


class Exposure(enum.Enum):
    """What everybody gets who is not logged in anywhere."""

    REACH = "reach"
    """A connection from any address."""
    DATA = "data"
    """Reading what is stored."""
    ADDRESS = "address"
    """An address that can be reached from outside; firewalls still hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """An attribute that can open a resource to everybody. Paths are dotted, without the positions in lists."""

    exposure: Exposure
    path: str = ""
    """Empty: the resource itself is the opening."""
    values: frozenset[str] = frozenset()
    """Texts (or `true`) that open it; for REACH also every range that is a good part of the world. Empty, and not REACH: any value."""
    when: FrozenMap[str] = field(default_factory=FrozenMap)
    """Path → the text it has to have too. What a plan does not tell is taken to be so."""
    unless: FrozenMap[str] = field(default_factory=FrozenMap)
    """Path → the text, or `*` for any, with which it opens nothing. What a plan does not tell is no text."""
    ports: tuple[str, ...] = ()
    """Paths of the ports it opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What changes of one resource type mean to a reviewer. Said by the target, which knows its own words."""

    openings: tuple[Opening, ...] = ()
    grants: tuple[str, ...] = ()
    """Paths that together say which right is given, and to whom: a new value is a new right."""
    policies: tuple[str, ...] = ()
    """Paths of JSON documents with statements that allow actions on resources."""
    data: str = ""
    """What dies with it, in words: `root disk`. Empty: nothing but itself."""
    size: str = ""
    """Path of that data's size in GB."""
    says: tuple[str, ...] = ()
    """Paths that say what a new one is, in the order in which they are read; its other attributes are counted. Empty: the first ones."""


Meanings = FrozenMap[Meaning]
"""Terraform type → what its changes mean. A type that is not in it means nothing special."""
