"""The contract between skyc and a target: a provider is one folder behind `Provider`, found through the registry.

Everything a provider does falls into three kinds, kept apart:

- pure: `catalog` facts are read once, `lower` is a function of its arguments;
- read: `nodes`, `observe`, `check` look at the world and change nothing;
- do: `remove` and what goes through a `Transport`.

The suite in `providers/conformance.py` says what every provider must do. A new provider begins by running it.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..compiler.diagnostics import Diagnostic, SourceMap
from ..compiler.ir import (
    DeploymentId,
    Failure,
    FrozenMap,
    GroupPlacement,
    NodeRuntime,
    ResourceGraph,
    SiteId,
    Task,
)
from ..compiler.ir.catalog import CatalogPart


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
    OPEN_PORTS = "open-ports"
    CUSTOM_IMAGE = "custom-image"
    DISK_SIZE = "disk-size"
    OBJECT_MOUNT = "object-mount"
    FILE_STORE = "file-store"
    """`file://` URIs name a directory every node of a site can reach."""
    WHOLE_MACHINE = "whole-machine"
    """The node belongs to the task alone: absolute paths outside its own directory may be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may log in to a deployment's machines, and the keys of both sides. One per deployment."""

    ssh_from: tuple[str, ...] = ()
    """CIDR ranges, in file order. Empty: SSH is closed."""
    login_key: str = ""
    """OpenSSH public key. Its private half stays below the home and is never an argument of anything."""
    host_key: str = field(default="", repr=False)
    """OpenSSH private key a machine introduces itself with the first time, and never again: who logs in first replaces it
    before anything secret is sent. It is worth nothing afterwards, which is why user data may hold it."""
    host_key_public: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerContext:
    """What lowering may know besides the placement. All of it is in the resource graph's digest."""

    deployment: DeploymentId
    site: SiteId
    home: str
    """Absolute path of SKYC_HOME on the machine that runs Terraform."""
    runtime: NodeRuntime
    access: Access = field(default_factory=Access)
    plan: str = ""
    """Short id of the placement plan, for the tag that says which plan made a resource."""
    offline: bool = False
    """Terraform may ask nobody: provider configurations hold no real credentials and skip what looks them up."""


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
    health: str = "healthy"
    """`healthy`, or a short reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished command on a node."""

    returncode: int
    stdout: str
    stderr: str


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
        """Run a program with exactly `env` added to a minimal environment. Raises TimeoutError."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Whether a target works here, and if not, why and what to do."""

    provider: str
    usable: bool
    facts: FrozenMap[str]
    diagnostics: tuple[Diagnostic, ...] = ()


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

    def catalog(self, *, home: Path) -> CatalogPart:
        """What it offers and what it charges. For an owned machine the facts are read from it; for a cloud, from a file that
        came with skyc or that a refresh wrote. Raises SkycError for one that cannot be used."""

    def check(self, *, home: Path) -> CheckReport: ...

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        """Resources for one task's placements at this provider. Pure: same arguments, same graph. A diagnostic about a field has
        it as its `subject`."""

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        """What is wrong with a graph of its own, found offline: against its Terraform providers' schemas, and against what must
        hold of everything it makes. Pure. `sources` gives the user's lines. Nothing, where there is nothing to hold it against."""

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        """Why Terraform could not ask this target now, with what to do: missing credentials, mostly. Quick, and asks nobody."""

    def attach(self, *, home: Path) -> AbstractContextManager[tuple[Attachment, ...]]:
        """Start what its graphs need besides released Terraform providers: skyc's own provider, or nothing."""

    def failures(self, diagnostics: Sequence[Diagnostic]) -> tuple[Failure, ...]:
        """What Terraform's errors mean, one each in their order: known by the target's own error codes. Pure."""

    def quota_pool(self, placement: GroupPlacement) -> str:
        """A name that all machines share that count on one quota of a region. Pure."""

    def storage_uri(self, name: str, *, home: Path) -> str:
        """Where a Storage of this name lies when the task gives no URI. Pure; nothing is made."""

    def nodes(self, outputs: Mapping[str, Any]) -> tuple[Node, ...]:
        """Nodes from a site's Terraform output values, head first."""

    def transport(self, node: Node) -> AbstractContextManager[Transport]: ...

    def health(self, node: Node, *, home: Path) -> str:
        """`healthy`, or why not, looked up now. For a node that does not exist any more: `gone`."""

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """Everything in the world tagged with this deployment, sorted by id."""

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        """Remove one owned resource, whatever state it is in. Removing what is gone is fine."""
