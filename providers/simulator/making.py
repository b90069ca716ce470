"""What is being made, and the deterministic facts a cloud decides about it.

Same world, same values, same bytes: everything comes from a SHA-256 over seed, type, what Terraform gave, and how many equal
ones there are already. Terraform does not tell a provider the address, so of resources that are equal in every argument the
first to arrive is the first; skyc's always differ, in their name or tags.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..tfplugin.codec import is_unknown
from .world import Contents

EPOCH = "2026-01-01T00:00:00Z"
"""When everything in a simulated world was made."""
ROOT = "$root"
"""Beside the attributes in the world: what its facts were made from. No Terraform attribute can have this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """A resource about to exist. `values` are the planned ones, with unknown where the cloud decides."""

    type: str
    values: Mapping[str, Any]
    config: Mapping[str, Any]
    """The provider's own configuration."""
    world: Contents
    root: str
    """Hexadecimal digest that all its facts come from."""
    id: str = ""

    def known(self, name: str) -> Any:
        """A given value, or None where it is not given or not known."""
        value = self.values.get(name)
        return None if is_unknown(value) else value

    def text(self, name: str, otherwise: str = "") -> str:
        value = self.known(name)
        return value if isinstance(value, str) and value else otherwise

    def setting(self, name: str, otherwise: str) -> str:
        """A text of the provider's configuration."""
        value = self.config.get(name)
        return value if isinstance(value, str) and value else otherwise

    def hex(self, length: int, salt: str = "") -> str:
        """Hexadecimal digits. At most 64."""
        return hashlib.sha256(f"{self.root}|{salt}".encode()).hexdigest()[:length]

    def number(self, limit: int, salt: str = "") -> int:
        """0 ≤ number < limit."""
        return int(self.hex(15, salt), 16) % limit

    def uuid(self, salt: str = "") -> str:
        text = self.hex(32, salt)
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def private_ip(self, salt: str = "") -> str:
        return f"10.{self.number(256, salt + 'a')}.{self.number(256, salt + 'b')}.{4 + self.number(250, salt + 'c')}"

    def public_ip(self, salt: str = "") -> str:
        """In the range kept for benchmarks (RFC 2544): nobody answers there."""
        return f"198.{18 + self.number(2, salt + 'a')}.{self.number(256, salt + 'b')}.{1 + self.number(254, salt + 'c')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error in the cloud's own words."""

    summary: str
    detail: str = ""
    attribute: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What differs between clouds. Functions are pure."""

    name: str
    machines: frozenset[str]
    """Types that need capacity."""
    identity: Callable[[Making], str]
    """The `id` of what is made."""
    fact: Callable[[Making, str], Any]
    """The value of a top-level computed attribute, by name; None where nothing special is known."""
    zones: Callable[[Making], tuple[str, ...]]
    """Names of the place it is made in, any of which a fault may use."""
    size: Callable[[Making], str]
    """The machine's type, in the cloud's word."""
    refuse: Callable[[str, Making, str], Refusal]
    """The error for a fault that refuses (`faults.py`), `exists` or `in-use`. The last argument is the permission that is
    missing, or the id of what uses it, or ""."""
    at_plan: Callable[[str, dict[str, Any]], None]
    """Fill in what the provider knows at plan already."""
    holders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Type → types that keep one of it from being deleted while they use it."""
    newer: frozenset[str] = frozenset()
    """Types made with the newer framework, which does not share the older SDK's habits at plan."""
    adopts: frozenset[str] = frozenset()
    """Types whose create takes over what is there already."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Type → its attribute that an update of anything else counts up, so that it is not known at plan."""
    stopped: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Type → attributes of a machine that was stopped, not deleted."""


def root_of(world: Contents, type_: str, values: Mapping[str, Any]) -> str:
    """The digest of what is made, with how often its like exists already."""
    said = json.dumps(_known(values), sort_keys=True, default=str)
    for count in range(len(world.resources) + 1):
        root = hashlib.sha256(f"{world.seed}|{type_}|{said}|{count}".encode()).hexdigest()
        if all(resource.attributes.get("$root") != root for resource in world.of_type(type_)):
            return root
    raise AssertionError("more equal resources than resources")


def _known(value: Any) -> Any:
    if is_unknown(value):
        return None
    if isinstance(value, Mapping):
        return {key: _known(item) for key, item in value.items()}
    return [_known(item) for item in value] if isinstance(value, list | tuple) else value
