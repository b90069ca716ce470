"""The contract between skyc and a target: a provider is one folder behind `Provider`, found through the registry.

Everything a provider does falls into three kinds, kept apart:

- pure: `catalog` facts are read once, `lower` is a function of its arguments;
- read: `nodes`, `observe`, `check` look at the world and change nothing;
- do: `remove` and what goes through a `Transport`.

The suite in `providers/conformance.py` says what every provider must do. A new provider begins by running it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..compiler.diagnostics import Diagnostic, SourceMap, Span
from ..compiler.ir import (
    Addresses,
    DeploymentId,
    DriftTable,
    Failure,
    FrozenMap,
    GroupPlacement,
    NodeRuntime,
    Rename,
    ResourceGraph,
    SiteId,
    Storage,
    Task,
)
from ..compiler.ir.catalog import CatalogPart

LOGIN_USER = "skyc"
"""Whom skyc logs in as, on every machine it makes."""
HEALTHY = "healthy"
UNREACHABLE = "unreachable"
DEAD = "dead"
STOPPED = "stopped"
"""Of a machine that was stopped: it keeps its disks and runs nothing."""


class Capability(enum.Enum):
    """What a target can do. The compiler asks for these and never for a provider by name."""

    LOWER = "lower"
    """Placements become resources. A target without it is priced only: its `lower` refuses."""
    RUN = "run"
    """Its nodes can be reached and a job started on them. Without it a plan can be made and reviewed, and `apply` refuses."""
    LOGIN = "login"
    """Its machines are logged in to over SSH, so lowering needs an `Access`."""
    SPOT = "spot"
    MULTI_NODE = "multi-node"
    OWN_NETWORK = "own-network"
    """Its machines can be put into a network of the user's (`LowerContext.network`)."""
    HEAD_ADDRESS = "head-address"
    """The head alone can have a public address (`Addresses.HEAD`), and has where nobody asks for more."""
    OPEN_PORTS = "open-ports"
    CUSTOM_IMAGE = "custom-image"
    DISK_SIZE = "disk-size"
    KEEPS_ADDRESS = "keeps-address"
    """A stopped machine keeps its public address, which is paid on. Elsewhere it does where its state says so."""
    STOP = "stop"
    """Its machines can be stopped, which keeps their disks, and started again: `cannot_stop`, `stop` and `start` work."""
    BUCKET = "bucket"
    """Storages without a place become buckets there: `lower_storages`, `bucket_uri` and `empty` work."""
    WHOLE_MACHINE = "whole-machine"
    """The node belongs to the task alone: absolute paths outside its own directory may be written."""
    THIS_MACHINE = "this-machine"
    """Its nodes are part of this machine and this home: from another one they can be neither reached nor removed."""


CONTAINER = "docker:"
"""How a container's image begins."""
NO_CONTAINER = "A container image is not a machine image, and skyc runs jobs on the machine itself."


class ImageExtent(enum.Enum):
    """In which regions of its target an image exists."""

    EVERYWHERE = "everywhere"
    COPIED = "copied"
    """In those it was copied to, which its name does not tell."""
    ONE = "one"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReach:
    """What the name of a machine image tells of where machines can start from it."""

    what: str
    """What it is, for a sentence: `an AMI`."""
    extent: ImageExtent
    region: str | None = None
    """Of an image in one region: which, where its name tells."""
    note: str = ""
    """What its name should tell and does not, as a sentence."""
    instead: str = ""
    """What names an image in every region of the target, where something does."""


EVERY_ZONE = "*"
"""Among the subnets of an ExistingNetwork."""
MARK_FILE = "mark"
"""In a deployment's directory below the home: its own id, which stands in names that must be unique in the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may log in to a deployment's machines, the keys of both sides, and what they need to reach what is the user's own.
    One per deployment."""

    ssh_from: tuple[str, ...] = ()
    """CIDR ranges, in file order. Empty: SSH is closed."""
    login_key: str = ""
    """OpenSSH public key. Its private half stays below the home and is never an argument of anything."""
    host_key: str = field(default="", repr=False)
    """OpenSSH private key a machine introduces itself with the first time, and never again: who logs in first replaces it
    before anything secret is sent. It is worth nothing afterwards, which is why user data may hold it."""
    host_key_public: str = ""
    storage_accounts: FrozenMap[str] = field(default_factory=FrozenMap)
    """Name of a storage account → the cloud's own id of it, for clouds whose addresses do not tell it."""
    bucket_keys: FrozenMap[tuple[str, ...]] = field(default_factory=FrozenMap)
    """Bucket of the user's → the cloud's own ids of the keys its objects are encrypted with, for clouds where who reads must have a right
    on the key too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneNames:
    """How a target calls its zones: tells a name that cannot be one from a zone that the catalog does not know yet.

    Both patterns are regular expressions with `{region}` for the region's name.
    """

    form: str
    """What a zone's name looks like."""
    words: str
    """The same in a sentence, with `{region}`."""
    show: str
    """The command that lists a region's zones, with `{region}`."""
    of_account: str | None = None
    """Names of the target's own for zones that skyc does not take: they mean other places in other accounts."""
    without: frozenset[str] = frozenset()
    """Regions that are known to have no zones. One that is neither here nor in the catalog's zones may have some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingNetwork:
    """A network of the user's in one region, to put machines into. Nothing in it is made or changed but a firewall of our own."""

    id: str
    """The provider's id of it: of a VPC, a VNet, …"""
    subnets: FrozenMap[str]
    """Zone → id of the subnet for it; EVERY_ZONE → of one that spans all zones."""
    tags: tuple[str, ...] = ()
    """Marks by which rules of the user's own let in what is needed; then no firewall of ours is made. Few clouds know any."""
    span: Span | None = field(default=None, compare=False)
    """Where the configuration names it, for what is wrong with it."""

    def subnet(self, zone: str | None) -> str | None:
        """The subnet for a zone (None: the provider chooses the zone); None when there is none for it."""
        if zone is None:
            return next(iter(self.subnets.values()))
        return self.subnets.get(zone, self.subnets.get(EVERY_ZONE))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChoice:
    """What config.yaml says of the machines' network in one region. existing: the user's own; None: skyc makes one for each site."""

    existing: ExistingNetwork | None = None
    public: Addresses = Addresses.HEAD


def usual_addresses(able: Collection[Capability]) -> Addresses:
    """Which machines have a public address where nobody says: as few as suffice for logging in. able: what the target can do."""
    return Addresses.HEAD if Capability.HEAD_ADDRESS in able else Addresses.ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerContext:
    """What lowering may know besides the placement. All of it is in the resource graph's digest."""

    deployment: DeploymentId
    site: SiteId
    home: str
    """Absolute path of SKYC_HOME on the machine that runs Terraform."""
    runtime: NodeRuntime
    access: Access = field(default_factory=Access)
    network: ExistingNetwork | None = None
    """The user's own network in the site's region, if one is named."""
    public: Addresses = Addresses.HEAD
    """Which machines get an address outside of the network. NONE only in a network of the user's."""
    images: FrozenMap[str] = field(default_factory=FrozenMap)
    """Machine images that config.yaml names, or the catalog knows: `<target>/<region>`, with `/gpu` for machines with devices → id."""
    plan: str = ""
    """Short id of the placement plan, for the tag that says which plan made a resource."""
    offline: bool = False
    """Terraform may ask nobody: provider configurations hold no real credentials and skip what looks them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a node is logged in to over SSH from this machine. `directory`: absolute; holds the login key and the pinned host keys."""

    deployment: DeploymentId
    directory: str
    user: str
    port: int = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of a cluster as the runtime sees it, read from a site's Terraform outputs."""

    id: str
    """Unique for one life of the node: a replaced node has another."""
    name: str
    group: str
    rank: int
    """Global rank over the task's nodes; the head is rank 0."""
    ip: str
    address: str = ""
    """Where it is reached from outside its network; empty: at `ip`."""
    via: Node | None = None
    """Through which node it is logged in to, at `ip`; None: directly."""
    host_key: str = ""
    """SSH host key (OpenSSH public form) of its first boot; empty where there is no SSH."""
    directory: str
    """Absolute path on the node. Holds `workdir/`, `home/`, `jobs/`, `bundles/`, `token`; all of it goes with the node."""
    python: str
    """Interpreter of the pinned environment that runs Ray and skyc's own code on the node."""
    user_bin: str
    """`bin` directory of the environment that `setup` and `run` use (first on their PATH)."""
    gcs_port: int
    """The head's GCS port, the same value on every node of a cluster."""
    dashboard_port: int
    """The head's dashboard (Jobs API) port."""
    agent_port: int
    """This node's dashboard-agent port; it must answer 401 without the token."""
    cpus: float
    memory_mb: int
    accelerators: FrozenMap[int] = field(default_factory=FrozenMap)
    identity: str = ""
    """Which of the machine's identities is the deployment's, where a machine can have several; empty: the only one, or none."""
    health: str = "healthy"
    """`healthy`, or a short reason (`Provider.health`)."""
    login: Login | None = None
    """Set by the runtime, for a target with `Capability.LOGIN`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished command on a node."""

    returncode: int
    stdout: str
    stderr: str


def is_lost(health: str) -> bool:
    """Whether a node in this health runs nothing any more. One that cannot be reached may well go on with its job."""
    return health != HEALTHY and not health.startswith(UNREACHABLE)


class Transport(Protocol):
    """How the runtime reaches one node: files in, files out, a command, a port. Used as a context manager.

    Every method raises `TransportError` when the node cannot be reached; none leaves a half-written file behind.
    """

    def put_file(self, content: bytes, destination: str, mode: int = 0o600) -> None:
        """Write atomically (temporary name, fsync, rename)."""

    def put_tree(self, source: Path, destination: str, entries: Collection[str] | None = None) -> None:
        """Make `destination` hold the files of `source`. Unchanged files (size and SHA-256) are not sent again; files only
        the destination has are kept. `source` may be one file. `entries`: only these of a directory, as relative paths; a
        directory's ends in `/`, and everything's parents are among them."""

    def get_file(self, source: str) -> bytes:
        """Raises FileNotFoundError."""

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> Completed:
        """Run a program with exactly `env` added to a minimal environment. Raises TimeoutError, and FileNotFoundError for a program
        that is not there: a machine that boots has a directory and no Python yet."""

    def forward(self, port: int) -> AbstractContextManager[int]:
        """A local TCP port that reaches `port` on the node's loopback, for the length of the context."""


class TransportError(Exception):
    """The node could not be reached, with the reason in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedResource:
    """Something in the world that carries a deployment's tag, whether or not a state file knows it."""

    id: str
    """The provider's own id, as Terraform state would hold it in `id`."""
    type: str
    name: str
    deployment: DeploymentId
    detail: str = ""
    node: str = ""
    """A machine's `Node.id`, where `id` is made of names and so comes back with the next machine of that name."""
    storage: str = ""
    """The Storage whose data it holds; empty for what holds none. It is never removed together with data: `empty` comes first."""
    keep: bool = False
    """It outlives the deployment (`persistent`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Whether a target works here, and if not, why and what to do."""

    provider: str
    usable: bool
    facts: FrozenMap[str]
    diagnostics: tuple[Diagnostic, ...] = ()
    regions: tuple[str, ...] = ()
    """Regions that have to be asked for (`Provider.on_request`) and that the account has, as it said now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketProperty:
    """One of the things a bucket must be to hold states. `holds` None: it could not be asked."""

    name: str
    holds: bool | None
    detail: str


class Buckets(Protocol):
    """A module that knows one cloud's buckets, found by the scheme of a URI (`registry.buckets`)."""

    PARTS: int
    """Names between the scheme and the prefix that are the bucket: at Azure `account/container`, two."""

    def create(self, bucket: str, *, region: str | None, endpoint: str | None, key: str | None) -> tuple[str, bool]:
        """Make a bucket that can hold states, or finish one a killed call has begun; do nothing to one that is as it must be. Its
        region (empty where a store needs none), and whether it was made now. `key`: of the cloud's key service, to encrypt with.
        Raises SkycError for one that is somebody else's or lacks something."""

    def properties(self, bucket: str, *, region: str | None, endpoint: str | None) -> tuple[BucketProperty, ...]:
        """How a bucket is, in a fixed order. Raises SkycError when it cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A running Terraform provider of ours: what TF_REATTACH_PROVIDERS needs. `source` e.g. registry.terraform.io/skyc/skyc.

    `lifeline`: write end of a pipe the provider reads. The Terraform run must inherit it, so that the provider outlives a
    killed skyc for as long as Terraform runs, and no longer.
    """

    source: str
    protocol_version: int
    pid: int
    socket: str
    lifeline: int


class Provider(Protocol):
    """A target. Implementations are stateless; construct them with no arguments."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def opens(self) -> frozenset[str]:
        """URI schemes of the places that a job's nodes there read and write, with an identity of the machine's own where a place asks who
        it is: `s3`. With `file`, a `file://` URI names a directory that every node of a site can reach."""

    def on_request(self, region: str) -> bool:
        """Whether an account has this region only where it asked for it, so that nothing is placed there unless it is said to have it.
        Pure; the regions of the catalog are all known."""

    @property
    def zone_names(self) -> ZoneNames | None:
        """How its zones are called; None where only its catalog knows."""

    def catalog(self, *, home: Path) -> CatalogPart:
        """What it offers and what it charges. For an owned machine the facts are read from it; for a cloud, from a file that
        came with skyc or that a refresh wrote. Raises SkycError for one that cannot be used."""

    def check(self, *, home: Path) -> CheckReport: ...

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        """Resources for one task's placements at this provider. Pure: same arguments, same graph. A diagnostic about a field has
        it as its `subject`."""

    def image_reach(self, image: str) -> ImageReach | None:
        """Where machines can start from an image of the user's, told by its name alone; None for what names no image here. Pure."""

    def lower_storages(
        self, storages: tuple[Storage, ...], region: str, context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        """Buckets of a deployment in one region, as a site of their own with the output `storages`. Every `uri` is set, to
        what `bucket_uri` says. Private, encrypted, and of a persistent one protected against destruction. Pure, like `lower`."""

    def bucket_uri(self, name: str, *, region: str, deployment: DeploymentId, mark: str) -> str:
        """The URI of the bucket for a Storage of this name. Pure. `mark`: the deployment's own id, for names that must be unique in
        the world. Only with `Capability.BUCKET`."""

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        """What is wrong with a graph of its own, found offline: against its Terraform providers' schemas, and against what must
        hold of everything it makes. Pure. `sources` gives the user's lines. Nothing, where there is nothing to hold it against."""

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        """Why Terraform could not ask this target now, with what to do: missing credentials, mostly. Quick, and asks nobody."""

    def attach(self, *, home: Path) -> AbstractContextManager[tuple[Attachment, ...]]:
        """Start what its graphs need besides released Terraform providers: skyc's own provider, or nothing."""

    def failures(self, diagnostics: Sequence[Diagnostic], region: str = "") -> tuple[Failure, ...]:
        """What Terraform's errors mean, one each in their order: known by the target's own error codes. Pure. region: of the site;
        empty where that is not known."""

    def quota_pool(self, placement: GroupPlacement) -> str:
        """A name that all machines share that count on one quota of a region. Pure."""

    def storage_uri(self, name: str, *, home: Path) -> str:
        """Where a Storage of this name lies when the task gives no URI and there is no bucket for it. Pure; nothing is made."""

    def nodes(self, outputs: Mapping[str, Any]) -> tuple[Node, ...]:
        """Nodes from a site's Terraform output values, head first."""

    def transport(self, node: Node) -> AbstractContextManager[Transport]: ...

    def shell(self, node: Node, command: str | None) -> tuple[str, ...]:
        """The program, with its arguments, that opens a shell on the node for the user, or runs a command there, in the job's workdir
        and with its environment's programs. Raises SkycError."""

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        """Wait until the Ray of every node answers, and do what is left to do for that on machines that were just made: the first
        login, the token. Quick for nodes that have been up. `tell` hears what is waited for. Raises SkycError."""

    def health(self, node: Node, *, home: Path) -> str:
        """`healthy`, or why not, looked up now: `gone` for a node that does not exist any more, `dead: …` for one that has ended,
        `stopped` for one whose machine is, `unreachable: …` for one nothing is known of, on which a job may go on (`is_lost`)."""

    def cannot_stop(self, nodes: Sequence[Node], *, lose_local: bool, home: Path) -> tuple[Diagnostic, ...]:
        """Why the machines of these nodes may not be stopped, asked now: what cannot stop at all, and, unless `lose_local`, what has
        disks that lose their data. Only with `Capability.STOP`. Raises SkycError when it cannot be asked."""

    def stop(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        """Stop the machines of these nodes and wait until they are; can be cut off anywhere and repeated. Names of the nodes that were
        not stopped yet. Only with `Capability.STOP`. Raises SkycError."""

    def start(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        """Start those of these machines that do not run and wait until they do; `bring_up` is for what comes then. Addresses may be
        others afterwards. Names of the nodes that were started. Only with `Capability.STOP`. Raises SkycError."""

    def renames(self) -> tuple[Rename, ...]:
        """Addresses that an older skyc gave to what `lower` calls otherwise now, the oldest rename first. Pure."""

    def drift_table(self) -> DriftTable:
        """What a change of each attribute of what it emits means, and of each resource that is gone or extra. Pure."""

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """Everything in the world tagged with this deployment, sorted by id."""

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        """Remove one owned resource, whatever state it is in. Removing what is gone is fine. What holds data is removed only
        empty: SkycError (`storage-not-empty`) otherwise."""

    def empty(self, resource: OwnedResource, *, home: Path) -> None:
        """Delete all data that an owned resource with a `storage` holds, old versions and unfinished uploads included. The resource
        stays. Only with `Capability.BUCKET`."""


def chosen_network(said: Mapping[tuple[str, str], NetworkChoice], provider: Provider, region: str) -> NetworkChoice:
    """What holds of the machines' network in a region: what is said of it, by (provider, region), or else what is usual there."""
    found = said.get((provider.name, region))
    return NetworkChoice(public=usual_addresses(provider.capabilities)) if found is None else found
