"""What a review is about beside the placement and the changes: the rules that were held against a plan, and what names it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .addresses import SpecPath


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
