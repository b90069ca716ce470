"""lower's output and synth's: Terraform resources as values, each with the spec path it came from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from decimal import Decimal
from typing import TypeAlias, Union

from .addresses import DeploymentId, ResourceAddress, SiteId, SpecPath
from .frozen import FrozenMap, digest, plain


@dataclass(frozen=True, slots=True)
class Ref:
    """ "Decided at apply": an attribute of another resource. Prints as the Terraform expression."""

    address: ResourceAddress
    attribute: str
    step: int | None = None
    """Only this step of a text that is a path (`/0-is-empty/1/2`), where a cloud tells something in an id and nowhere else."""

    def __str__(self) -> str:
        return f"${{{self._expression}}}"

    def __canonical__(self) -> dict[str, str]:
        return {"$ref": self._expression}

    @property
    def _expression(self) -> str:
        whole = f"{self.address}.{self.attribute}"
        return whole if self.step is None else f'split("/", {whole})[{self.step}]'


@dataclass(frozen=True, slots=True)
class Joined:
    """Text that holds what is decided at apply. Prints as the Terraform template."""

    parts: tuple[str | Ref, ...]
    base64: bool = False
    """Written so, as some clouds take what a machine boots with: only Terraform can, when it knows all of it."""

    def __str__(self) -> str:
        text = "".join(str(part) for part in self.parts)
        return f"base64({text})" if self.base64 else text

    def __canonical__(self) -> dict[str, object]:
        parts = [part.__canonical__() if isinstance(part, Ref) else part for part in self.parts]
        return {"$joined-base64" if self.base64 else "$joined": parts}


Value: TypeAlias = Union[bool, int, str, Decimal, Ref, Joined, tuple["Value", ...], FrozenMap["Value"], None]  # noqa: UP007
"""What a resource argument can be. None is "not set". There is no secret here: secrets never pass through Terraform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequirement:
    """A Terraform provider: local name, registry source, exact version, and its configuration block."""

    name: str
    source: str
    version: str
    config: FrozenMap[Value] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceNode:
    address: ResourceAddress
    origin: SpecPath
    arguments: FrozenMap[Value]
    depends_on: tuple[ResourceAddress, ...] = ()
    prevent_destroy: bool = False
    ignore_changes: tuple[str, ...] = ()
    """Arguments, as Terraform writes them (`tags["x"]`), that count only when the resource is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """An address that skyc gave until a version, and what it gives since. Patterns: `aws_instance.{group}-{index}`, where `{index}` is a
    number; every name in braces of `after` stands in `before`. Both are of one resource type."""

    since: str
    """The version of skyc that first said `after`."""
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Something in the state that lies under another address now."""

    before: ResourceAddress
    after: ResourceAddress


BUCKET_FACTS = ("id", "persistent", "uri")
"""What the output `storages` says of a bucket. `id` refers to the resource, so that nothing is said of one that was not made."""


def storage_label(name: str) -> str:
    """A Storage's name as the name of its resources, and of a bucket: lower-case letters, digits and hyphens, a letter first. Two
    names never share one."""
    if re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name):
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"s-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceGraph:
    """One site: one root module and one state (DESIGN D6). Resources are sorted by address, outputs by name.

    A task's site has the output `nodes`: a list of objects its provider turns into `Node`s, head first. A site of buckets has the
    output `storages` instead: Storage name → what its bucket is (`BUCKET_FACTS`), once it exists. Resources of one Storage
    alone are named by `storage_label`.
    """

    deployment: DeploymentId
    site: SiteId
    provider: str
    """The skyc provider that lowered it and that understands its outputs."""
    requirements: tuple[ProviderRequirement, ...]
    resources: tuple[ResourceNode, ...]
    outputs: FrozenMap[Value]
    moves: tuple[Move, ...] = ()
    """What its state holds under addresses of an older skyc."""

    @property
    def digest(self) -> str:
        return digest(self)

    def __canonical__(self) -> dict[str, object]:
        # Without moves a graph has the digest it had before there were any.
        fields = {item.name: plain(getattr(self, item.name)) for item in dataclass_fields(self)}
        return fields if self.moves else {name: value for name, value in fields.items() if name != "moves"}

    def origin_of(self, address: str) -> SpecPath | None:
        """The spec path a Terraform address came from, or None for one that is not ours."""
        for node in self.resources:
            if str(node.address) == address:
                return node.origin
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthManifest:
    """What synth wrote for a site: file name → SHA-256, and what made it."""

    site: SiteId
    graph_digest: str
    files: FrozenMap[str]
    tool_versions: FrozenMap[str]
