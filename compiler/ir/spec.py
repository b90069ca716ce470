"""parse's output: exactly the fields the user wrote, checked for shape and spelling, nothing filled in.

A field the user left out, or left empty, is None. Amounts (`8+`, `32GB`, `5m`) stay text here; resolve turns them into numbers.
Every record has an `origin`; a field's own place is `origin.child(<field name>)`, also for the keys of a mapping.
Fields that are read and checked but whose meaning comes with a later version are kept, unread, in `later`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias, Union

from .addresses import SpecPath
from .frozen import FrozenMap
from .secret import Secret

SpecValue: TypeAlias = Union[bool, int, str, Decimal, Secret, tuple["SpecValue", ...], FrozenMap["SpecValue"], None]  # noqa: UP007
"""Any YAML value, frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorsSpec:
    """`H100:8` as written, one or several. `ordered`: written as a list, so the first that can be had wins."""

    origin: SpecPath
    items: tuple[str, ...]
    ordered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesSpec:
    """`resources:`, or one entry of its `any_of` or `ordered` list."""

    origin: SpecPath
    infra: str | None = None
    cloud: str | None = None
    region: str | None = None
    zone: str | None = None
    cpus: str | None = None
    memory: str | None = None
    accelerators: AcceleratorsSpec | None = None
    instance_type: str | None = None
    use_spot: bool | None = None
    market: str | None = None
    disk_size: str | None = None
    disk_tier: str | None = None
    local_disk: str | None = None
    network_tier: str | None = None
    ports: tuple[str, ...] | None = None
    labels: FrozenMap[str] | None = None
    image_id: str | FrozenMap[str] | None = None
    arch: str | None = None
    max_hourly_cost: Decimal | None = None
    interruption_rate: Decimal | None = None
    any_of: tuple[ResourcesSpec, ...] | None = None
    ordered: tuple[ResourcesSpec, ...] | None = None
    cleared: tuple[str, ...] = ()
    """Fields written as null: in an `any_of` entry this takes back what the base says."""
    later: FrozenMap[SpecValue] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """One entry of `groups:`."""

    origin: SpecPath
    name: str
    num_nodes: int | None = None
    resources: ResourcesSpec | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSpec:
    """One entry of `storage:` (then `name` is its key), or a Storage mapping inside `file_mounts`."""

    origin: SpecPath
    name: str | None = None
    uri: str | None = None
    source: str | tuple[str, ...] | None = None
    store: str | None = None
    mode: str | None = None
    persistent: bool | None = None
    placement: str | None = None
    infra: str | None = None
    size_gb: str | None = None
    keep_days: Decimal | None = None
    later: FrozenMap[SpecValue] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMountSpec:
    """One entry of `file_mounts:`: either `source` (a path or URI) or `storage` (a mapping) is set."""

    origin: SpecPath
    target: str
    source: str | None = None
    storage: StorageSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSpec:
    origin: SpecPath
    path: str | None = None
    storage: str | None = None
    every: str | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinitySpec:
    """`affinity:`. Both map a level (`cloud`, `region`, `zone`) to names of tasks."""

    origin: SpecPath
    same: FrozenMap[tuple[str, ...]] | None = None
    distinct: FrozenMap[tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One document of the file that describes a task."""

    origin: SpecPath
    name: str | None = None
    workdir: str | FrozenMap[SpecValue] | None = None
    num_nodes: int | None = None
    resources: ResourcesSpec | None = None
    groups: tuple[GroupSpec, ...] | None = None
    envs: FrozenMap[str | None] | None = None
    """None as a value: it comes from the environment or the command line."""
    secrets: FrozenMap[Secret | None] | None = None
    file_mounts: tuple[FileMountSpec, ...] | None = None
    storage: tuple[StorageSpec, ...] | None = None
    checkpoint: CheckpointSpec | None = None
    setup: str | None = None
    run: str | None = None
    hours: str | FrozenMap[str] | None = None
    """A mapping: from an accelerator, or `default`, to hours."""
    deadline: str | None = None
    budget: str | None = None
    needs: tuple[str, ...] | None = None
    inputs: FrozenMap[str] | None = None
    outputs: FrozenMap[str] | None = None
    affinity: AffinitySpec | None = None
    traffic: str | None = None
    policy: tuple[str, ...] | None = None
    later: FrozenMap[SpecValue] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderSpec:
    """The first of several documents, when it only names the whole: `name`, and how its tasks run."""

    origin: SpecPath
    name: str | None = None
    execution: str | None = None
    policy: tuple[str, ...] | None = None
    later: FrozenMap[SpecValue] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    """The whole file, in file order. Task `i` has the origin `tasks[i]`; a header's is `header`."""

    documents: tuple[TaskSpec, ...]
    header: HeaderSpec | None = None
