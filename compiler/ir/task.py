"""resolve's output: what is to run, with defaults filled in and units fixed. No provider is named by the type."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal

from .addresses import GroupName, SpecPath, TaskId
from .frozen import FrozenMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A wanted amount. `exact` means that amount and no other; otherwise at least that amount (`8+`)."""

    amount: Decimal
    exact: bool = False

    def allows(self, value: Decimal) -> bool:
        return value == self.amount if self.exact else value >= self.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorRequest:
    """`H100:8`: a canonical accelerator name and a count (fractions exist, hence Decimal)."""

    name: str
    count: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Infra:
    """Where: provider/region/zone, each None for "any". Names are checked against the providers' own lists, later."""

    provider: str | None = None
    region: str | None = None
    zone: str | None = None

    def __str__(self) -> str:
        return "/".join(part or "*" for part in (self.provider, self.region, self.zone)).rstrip("/*") or "*"


class Market(enum.Enum):
    ON_DEMAND = "on-demand"
    SPOT = "spot"
    AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageByPlace:
    """An image for each place: `provider/region`, a region's name, or a provider's, which stands for every region of it.

    The narrower word wins. Where nothing is said there is no image, and so no machine.
    """

    images: FrozenMap[str]

    def at(self, provider: str, region: str) -> str | None:
        """The image that is written for a region; None where none is."""
        keys = (f"{provider}/{region}", region, provider)
        return next((self.images[key] for key in keys if key in self.images), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequest:
    """One acceptable kind of machine. A group lists one or more of these.

    memory_gb and memory_per_cpu are GiB; disk_gb is GiB; ports are TCP ports as `80` or `8000-8010`.
    accelerators: None for "none asked"; several are alternatives, tried in order when `accelerators_ordered`.
    """

    origin: SpecPath
    infra: Infra = field(default_factory=Infra)
    cpus: Bound | None = None
    memory_gb: Bound | None = None
    memory_per_cpu: Bound | None = None
    accelerators: tuple[AcceleratorRequest, ...] | None = None
    accelerators_ordered: bool = False
    instance_type: str | None = None
    market: Market = Market.ON_DEMAND
    disk_gb: Decimal | None = None
    disk_tier: str | None = None
    local_disk: str | None = None
    network_tier: str | None = None
    image_id: str | ImageByPlace | None = None
    ports: tuple[str, ...] = ()
    labels: FrozenMap[str] = field(default_factory=FrozenMap)
    arch: str | None = None
    """`x86_64` or `arm64`. None: x86_64, unless an accelerator or a machine type is named, or the machine is the user's own."""
    max_hourly_cost: Decimal | None = None
    interruption_rate: Decimal | None = None
    """Expected interruptions per node-hour on spot, as the user knows them; None: take the catalog's, if it has one."""

    def image_at(self, provider: str, region: str) -> str | None:
        """The image of the user's for machines in a region; None: the target's own."""
        return self.image_id.at(provider, region) if isinstance(self.image_id, ImageByPlace) else self.image_id


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """`num_nodes` equal machines that start together. `run` starts on every one of them or on none."""

    name: GroupName
    origin: SpecPath
    num_nodes: int
    requests: tuple[ResourceRequest, ...]
    ordered: bool
    """True: the first request that can be met wins. False: the cheapest over all of them."""
    run: str
    """Shell text (bash), possibly empty."""


class MountMode(enum.Enum):
    COPY = "COPY"
    MOUNT = "MOUNT"
    MOUNT_CACHED = "MOUNT_CACHED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A named place for data. `uri` None: skyc chooses (on a local target, a directory below its home)."""

    name: str
    origin: SpecPath
    uri: str | None
    source: str | None = None
    persistent: bool = True
    size_gb: Decimal | None = None
    infra: Infra = field(default_factory=Infra)
    """Where it is, as far as the user says; with `auto`, where it may be."""
    auto: bool = False
    """`placement: auto`: the optimizer chooses the place together with the tasks'."""
    keep_days: Decimal | None = None
    """How long the data stays, for its price; None: as long as the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFlow:
    """Data a task reads or writes, once per run.

    key: a URI, the name of a Storage of the file, or a name of its own for data that goes straight from task to task.
    """

    key: str
    storage: str | None
    """The Storage that `key` names or whose URI it lies in."""
    gb: Decimal
    origin: SpecPath


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursOn:
    """Expected run time on machines with this accelerator; `Task.hours` is for all others."""

    accelerator: AcceleratorRequest
    hours: Decimal


class AffinityLevel(enum.Enum):
    PROVIDER = "cloud"
    REGION = "region"
    ZONE = "zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """This task and `task` run at the same place of a level, or (`same` False) at different ones."""

    level: AffinityLevel
    same: bool
    task: TaskId
    origin: SpecPath


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMount:
    """Something that must be at `target` on every node before `setup`.

    target: as the user wrote it: relative to the workdir, below `~`, or absolute.
    source: a local path (absolute after resolve) or a `scheme://` URI; None when `storage` names a Storage.
    """

    target: str
    origin: SpecPath
    source: str | None
    storage: str | None = None
    mode: MountMode = MountMode.COPY


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """`path`: a directory relative to the workdir (or below `~`, or absolute). `every_seconds` between snapshots."""

    origin: SpecPath
    path: str
    storage: str
    every_seconds: int
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One unit of work: its groups, environment and data."""

    id: TaskId
    origin: SpecPath
    groups: tuple[NodeGroup, ...]
    setup: str
    envs: FrozenMap[str]
    secrets: tuple[str, ...]
    """Names only. Values live in `SecretValues`, outside every IR, and never reach a digest or a printer."""
    workdir: str | None
    """Absolute path of the local directory to sync, or None."""
    file_mounts: tuple[FileMount, ...] = ()
    storages: tuple[Storage, ...] = ()
    checkpoint: CheckpointPolicy | None = None
    hours: Decimal = Decimal(1)
    """Expected run time in hours; `hours_assumed` says that the user gave none and the default of 1 stands."""
    hours_assumed: bool = True
    hours_on: tuple[HoursOn, ...] = ()
    deadline: str | None = None
    """As written, normalized: `6h` from the start, or an absolute time."""
    deadline_hours: Decimal | None = None
    """A deadline relative to the start, in hours; None without one, and for an absolute time."""
    budget: Decimal | None = None
    """Most US dollars this task may cost in the worst case."""
    needs: tuple[TaskId, ...] = ()
    inputs: tuple[DataFlow, ...] = ()
    outputs: tuple[DataFlow, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    traffic_gb: Decimal | None = None
    """GB its groups exchange with each other over the run; None: unknown."""

    @property
    def num_nodes(self) -> int:
        return sum(group.num_nodes for group in self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGraph:
    """All tasks of one file, topologically sorted (ties in file order)."""

    name: str
    """The suggested deployment name: the first task's name, else the file's stem."""
    tasks: tuple[Task, ...]
