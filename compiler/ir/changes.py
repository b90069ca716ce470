"""Terraform's plan, as far as a reviewer and `apply` need it. Made only from `show -json` (its order is stable)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from .addresses import SiteId, SpecPath


class Action(enum.Enum):
    NO_OP = "no-op"
    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    """Delete, then create."""
    CREATE_BEFORE_DESTROY = "create-before-destroy"
    FORGET = "forget"


class ValueKind(enum.Enum):
    KNOWN = "known"
    UNKNOWN = "unknown"
    """Known after apply."""
    SECRET = "secret"  # noqa: S105
    """Sensitive: text is never kept, only that it changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeChange:
    """One attribute (dotted path) before and after, as canonical JSON text; None where absent or not KNOWN."""

    path: str
    before: str | None
    after: str | None
    kind: ValueKind
    forces_replacement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    address: str
    type: str
    action: Action
    reason: str | None
    """Terraform's `action_reason`, e.g. `replace_because_cannot_update`."""
    attributes: tuple[AttributeChange, ...]
    origin: SpecPath | None = None
    previous_address: str | None = None
    importing: str | None = None
    """Id of what exists already and is taken into the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Changes of one site, sorted by address. `drift` holds what changed outside Terraform, filtered to what matters."""

    site: SiteId
    engine: str
    engine_version: str
    changes: tuple[ResourceChange, ...]
    drift: tuple[ResourceChange, ...] = ()
    outputs: tuple[str, ...] = ()
    """Names of the outputs that change, sorted."""
    errored: bool = False
    complete: bool = True

    def count(self, action: Action) -> int:
        return sum(1 for change in self.changes if change.action is action)

    @property
    def has_changes(self) -> bool:
        """Whether an apply would do anything, be it only writing down a move, an import or an output."""
        return bool(self.outputs) or any(
            change.action not in (Action.NO_OP, Action.READ) or change.previous_address or change.importing
            for change in self.changes
        )


JsonObject = dict[str, Any]
"""Data that came from, or goes to, a JSON file. Lives only inside codecs."""
