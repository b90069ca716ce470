"""The contract of a resource type: what one has to say and do to be managed by Terraform through skyc's provider.

A `ResourceType` is stateless and its methods run on many threads at once. Values are mappings with exactly the names of the
schema; a name left out of a returned mapping means null (for list, set and map blocks: none). Python values: str, bool, int,
float (Decimal where a float would lose digits), list for lists, tuples and sets, dict for maps and objects, None for null,
`UNKNOWN` for what is decided at apply (planning only), `Dynamic` in attributes of dynamic type.

Failing: raise `ResourceError`. A create that fails after something came to exist gives it as `partial`: Terraform then keeps
it as tainted and replaces it next time. Any other exception is taken for a defect; its traceback goes to the provider's log.

Stopping: when the user interrupts Terraform, `context.stopping` is set and running calls go on. Their results land in state,
so returning a finished resource is always right. A create that stops early must undo what it made, then raise `Cancelled`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .codec import UNKNOWN, Dynamic, Unknown, is_unknown
from .planning import changed_force_new, plan_computed
from .schema import STRING, Attribute, Schema

__all__ = [
    "PROVIDER_SCHEMA",
    "UNKNOWN",
    "CallContext",
    "Cancelled",
    "Dynamic",
    "Planned",
    "ProviderDefinition",
    "ResourceBase",
    "ResourceError",
    "ResourceType",
    "Unknown",
    "Values",
    "is_unknown",
]

Values = Mapping[str, Any]


class ResourceError(Exception):
    """A failure the user can act on.

    `attribute` is a path in the configuration (`name`, `disk[0].size`, `tags["team"]`) that Terraform shows with the line it
    stands on. `partial` is the state to keep although the call failed: tainted after a create, updated after an update.
    """

    def __init__(self, summary: str, detail: str = "", attribute: str | None = None, partial: Values | None = None) -> None:
        super().__init__(f"{summary}: {detail}" if detail else summary)
        self.summary = summary
        self.detail = detail
        self.attribute = attribute
        self.partial = partial


class Cancelled(Exception):
    """The call stopped early because `stopping` was set, and left nothing behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What a call may know besides its arguments."""

    stopping: threading.Event
    """Set when Terraform was interrupted, or when the provider was told to end."""
    home: Path
    """SKYC_HOME: the provider's `home` argument, or the environment's SKYC_HOME, or ~/.skyc."""
    config: Values = field(default_factory=dict)
    """The provider's own configuration; empty before there is one. Values may be unknown while planning."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned new state. `requires_replace`: paths whose change cannot be made in place."""

    values: Values
    requires_replace: tuple[str, ...] = ()


class ResourceType(Protocol):
    """One kind of resource. See the module's docstring for values, failures and stopping."""

    @property
    def schema(self) -> Schema: ...

    @property
    def type_name(self) -> str:
        """As written in Terraform: `skyc_node`."""

    def validate(self, config: Values) -> tuple[tuple[str, str | None], ...]:
        """Mistakes as (message, attribute path or None). Runs without the provider's configuration; values may be unknown."""

    def plan(self, prior: Values | None, proposed: dict[str, Any]) -> Planned:
        """The state that apply will reach. `prior` None: to be created. Pure; values may be unknown.

        `proposed` is the configuration with defaults filled in and, for computed attributes, the prior values (None on create).
        What the configuration sets must come back unchanged. Terraform asks again with `prior` None when it replaces.
        """

    def create(self, planned: Values, context: CallContext) -> Values:
        """Make it and return its whole state: planned values unchanged, every UNKNOWN decided."""

    def read(self, state: Values, context: CallContext) -> Values | None:
        """The state as it is in the world now; None when it is gone. Changes nothing."""

    def update(self, prior: Values, planned: Values, context: CallContext) -> Values:
        """Change it in place and return its whole state. When it raises without `partial`, the prior state is kept."""

    def delete(self, state: Values, context: CallContext) -> None:
        """Remove it. What is already gone is fine. When it raises, it stays in state."""

    def import_state(self, id: str, context: CallContext) -> Values:
        """State of an existing resource from its id; Terraform calls `read` with it next."""


class ResourceBase:
    """Defaults for a `ResourceType`: a sound `plan`, no validation beyond the schema, nothing to update, no import."""

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    @property
    def type_name(self) -> str:
        raise NotImplementedError

    def validate(self, config: Values) -> tuple[tuple[str, str | None], ...]:
        return ()

    def plan(self, prior: Values | None, proposed: dict[str, Any]) -> Planned:
        """Computed attributes are unknown on create and keep their prior values on update; a changed `force_new` replaces."""
        planned = plan_computed(self.schema, prior, proposed)
        return Planned(planned, changed_force_new(self.schema, prior, planned) if prior is not None else ())

    def update(self, prior: Values, planned: Values, context: CallContext) -> Values:
        raise ResourceError(
            f"{self.type_name} cannot be changed in place",
            "Its schema lets a value change without replacing it, but there is no such operation: a defect of the provider.",
        )

    def import_state(self, id: str, context: CallContext) -> Values:
        raise ResourceError(
            f"{self.type_name} cannot be imported", "There is no way to find one from an id. Let Terraform create it instead."
        )


PROVIDER_SCHEMA = Schema(
    description="skyc's own resources.",
    attributes={"home": Attribute(type=STRING, optional=True, description="SKYC_HOME for this provider; default: ~/.skyc.")},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDefinition:
    """What a server serves. `source` is the full address Terraform knows the provider by.

    `legacy_type_system` asks Terraform to be as lenient as it is with providers made with the older SDK, which plan whole
    blocks as unknown. Only a provider that must behave like one of those sets it: it also hides mistakes.
    """

    resources: tuple[ResourceType, ...]
    source: str = "registry.terraform.io/skyc/skyc"
    version: str = "0.1.0"
    schema: Schema = field(default=PROVIDER_SCHEMA)
    legacy_type_system: bool = False
