"""A policy as values: rules, what each of them asks for, and to which tasks it applies.

Everything is hashable and says nothing of clocks or files but where it was written. A rule's `check` is a closed union: who
evaluates, prints or restricts by it matches over it, so that mypy reports a kind that one of them forgot.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias, Union

from ..diagnostics import SourceFile, Span
from ..ir import FrozenMap, PolicyEffect, SpecPath, canonical
from ..ir.restriction import Patterns


class Thing(enum.Enum):
    """What `forbid` can forbid."""

    PUBLIC_INGRESS = "public-ingress"
    """A port that anybody can reach: declared by the task, or SSH from everywhere."""
    SPOT = "spot"
    SPOT_WITHOUT_CHECKPOINT = "spot-without-checkpoint"
    UNKNOWN_PRICE = "unknown-price"
    REPLACE_NODES = "replace-nodes"
    DESTROY_NODES = "destroy-nodes"
    DESTROY_STORAGE = "destroy-storage"
    DESTROY = "destroy"
    """`skyc destroy`; no plan of a task file is one."""
    PURGE = "purge"
    """`skyc destroy --purge`: what is kept otherwise goes too."""

    @property
    def of_destroys(self) -> bool:
        """Whether it is a command of its own, which no plan of a task file is."""
        return self in (Thing.DESTROY, Thing.PURGE)

    @property
    def of_changes(self) -> bool:
        """Whether it can be told only by comparing with what is there."""
        return self in (Thing.REPLACE_NODES, Thing.DESTROY_NODES, Thing.DESTROY_STORAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Where and on what tasks may run; None: anywhere, on anything. Holds for every fallback and every bucket too."""

    clouds: Patterns | None = None
    regions: Patterns | None = None
    zones: Patterns | None = None
    machines: Patterns | None = None
    accelerators: Patterns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Max:
    """Most that the tasks together may take, in the worst case. Money is US dollars; None: no limit."""

    per_run: Decimal | None = None
    per_month: Decimal | None = None
    """What stays after the run: buckets, and machines of tasks without an end."""
    hourly: Decimal | None = None
    """All machines at once."""
    nodes: int | None = None
    hours: Decimal | None = None
    """Of each task by itself: its expected run time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbid:
    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """labels: name → patterns one of which the value must match. fields: of the task file, that must be given."""

    labels: FrozenMap[Patterns] = field(default_factory=FrozenMap)
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A Python function that an installed package offers under the entry-point group `skyc.policies`."""

    name: str
    version: str = ""
    """Of the package, when it was found; empty when it is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rego:
    """Rego rules in a directory beside the policy file. modules: file → text, when they were read."""

    directory: str
    modules: FrozenMap[str] = field(default_factory=FrozenMap)


Check: TypeAlias = Union[Allow, Max, Forbid, Require, Plugin, Rego]  # noqa: UP007


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Tasks, by everything that is given here together. Empty: all."""

    tasks: Patterns = ()
    deployments: Patterns = ()
    labels: FrozenMap[Patterns] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. span: where it stands in its file; line: that line's text, for messages."""

    name: str
    check: Check
    effect: PolicyEffect = PolicyEffect.DENY
    reason: str = ""
    """Why it exists, in its author's words."""
    approvers: Patterns = ()
    """Who may approve, as patterns of what a person calls themselves; empty: anybody."""
    when: Selector = field(default_factory=Selector)
    unless: Selector | None = None
    """`except:` in the file."""
    span: Span
    origin: SpecPath

    @property
    def source(self) -> str:
        return f"{self.span.file}:{self.span.line}"

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but where it stands."""
        return (
            self.name,
            type(self.check).__name__,
            self.check,
            self.effect,
            self.reason,
            self.approvers,
            self.when,
            self.unless,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy file."""

    source: SourceFile
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """All policies that hold for a plan. Rule names are unique over all of them. Rules only add up: none takes another away."""

    policies: tuple[Policy, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for policy in self.policies for rule in policy.rules)

    @property
    def digest(self) -> str:
        """SHA-256 over what the rules mean, in whatever order and with whatever comments they are written; empty without rules."""
        if not self.rules:
            return ""
        rows = sorted(canonical(rule.meaning) for rule in self.rules)
        return hashlib.sha256(b"\n".join(rows)).hexdigest()


NO_POLICY = PolicySet()
