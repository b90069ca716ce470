"""Provider schemas as values: what one released Terraform provider accepts, of the types skyc emits.

A `TypeSchema` is a body as `providers.tfplugin` serves it, and beside it what no Terraform schema says: enums, blocks the
provider fills in itself, and rules between fields. Paths are names joined by dots (`root_block_device.volume_size`): positions
in lists and sets are left out, since every element obeys the same rules.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ...compiler.ir import FrozenMap
from ..tfplugin.schema import Schema

Scalar = str | int | bool


class RuleKind(enum.Enum):
    """What a rule demands of its `names`."""

    EXACTLY_ONE = "exactly_one_of"
    AT_LEAST_ONE = "at_least_one_of"
    CONFLICTS = "conflicts"
    """At most one of them is set."""
    REQUIRES = "requires"
    """When the first is set, so are the others."""
    WHEN = "when"
    """Where `when` holds, all of them are set, and `equal` holds too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule between the fields of one body. `within` is the path of the block it is about; "" is the resource itself."""

    kind: RuleKind
    names: tuple[str, ...] = ()
    within: str = ""
    when: FrozenMap[Scalar] = field(default_factory=FrozenMap)
    equal: FrozenMap[Scalar] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSchema:
    """One resource type. `enums`: path → the values the provider accepts, in its own spelling."""

    name: str
    body: Schema
    enums: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    computed_blocks: frozenset[str] = frozenset()
    """Names of blocks that the provider fills in when none is written: they are unknown in the plan of a create."""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSchema:
    """One Terraform provider. `version` is its released version; `made_from` names the wheel or documentation read.

    `digest` is the SHA-256 of the schema file and its overlay: equal digests check and simulate alike.
    """

    name: str
    source: str
    version: str
    made_from: str
    digest: str
    provider: Schema
    types: FrozenMap[TypeSchema]
