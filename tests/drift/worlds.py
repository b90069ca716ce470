"""The four clouds as the simulator plays them, as targets that drift can be looked for at: one world, and providers that are started once.

What is pretended of a provider is what needs an account: credentials, the inventory (by tag, as the real ones do) and the nodes' health.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyc.compiler.diagnostics import Diagnostic
from skyc.compiler.ir import DeploymentId
from skyc.compiler.ir.catalog import CatalogPart
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.azure.provider import AzureProvider
from skyc.providers.base import Attachment, Capability, Node, OwnedResource
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.ibm.provider import IbmProvider
from skyc.providers.rented.names import DEPLOYMENT_TAG
from skyc.providers.rented.provider import RentedProvider
from skyc.providers.simulator import World, simulate
from tests.failover.pretended import Account, opened

TERRAFORM_NAMES = {"aws": "aws", "azure": "azurerm", "gcp": "google", "ibm": "ibm"}
REAL: dict[str, type[RentedProvider]] = {"aws": AwsProvider, "azure": AzureProvider, "gcp": GcpProvider, "ibm": IbmProvider}

TASKS = {
    "aws": "{infra: aws/us-east-1/use1-az1, instance_type: t3.large, labels: {team: research}, ports: 8080}",
    "azure": "{infra: azure/eastus, instance_type: Standard_D4s_v3, labels: {team: research}, ports: 8080}",
    "gcp": "{infra: gcp/us-central1/us-central1-a, instance_type: n2-standard-4, labels: {team: research}, ports: 8080}",
    "ibm": "{infra: ibm/us-south/us-south-1, instance_type: bx2-8x32, labels: {team: research}, ports: 8080}",
}
ACCOUNT = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/data/providers/Microsoft.Storage/storageAccounts"
CONFIG = f"""\
access:
  ssh_from: [203.0.113.7/32]
  storage_accounts: {{teamdata: {ACCOUNT}/teamdata}}
images: {{ibm: {{us-south: r006-00000000-0000-4000-a000-000000000001}}}}
"""
STORES = {"aws": "s3://team-data/x", "azure": "az://teamdata/imagenet/x", "gcp": "gs://team-data/x", "ibm": "cos://team-data/x"}


def task(cloud: str) -> str:
    """A task with rights to a bucket, a port, labels: every kind of resource that a site has."""
    return f"name: train\nresources: {TASKS[cloud]}\nfile_mounts: {{data: {STORES[cloud]}}}\nrun: echo hi\n"


@dataclass
class Clouds:
    """Simulated providers that run, and the home of their world."""

    home: Path
    attachments: Mapping[str, Attachment]
    healths: dict[str, str] = field(default_factory=dict)
    """Node name → what it is said to be, where it is not healthy."""
    started: list[str] = field(default_factory=list)

    @property
    def world(self) -> World:
        return World(self.home)

    def provider(self, cloud: str) -> RentedProvider:
        real = REAL[cloud]
        made: RentedProvider = type(f"Simulated{real.__name__}", (_Simulated, real), {"clouds": self, "real": real})()
        return made


class _Simulated:
    """What is pretended, laid over a real provider."""

    clouds: Clouds
    real: type[RentedProvider]
    name: str

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.real().capabilities

    def catalog(self, *, home: Path) -> CatalogPart:
        # The shipped one lies beside the class that is asked.
        return self.real().catalog(home=home)

    def drift_table(self) -> Any:
        return self.real().drift_table()

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        return ()

    def attach(self, *, home: Path) -> AbstractContextManager[tuple[Attachment, ...]]:
        return nullcontext((self.clouds.attachments[self.name],))

    def health(self, node: Node, *, home: Path) -> str:
        return self.clouds.healths.get(node.name, "healthy")

    def start(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
        asleep = [node.name for node in nodes if self.clouds.healths.get(node.name) == "stopped"]
        for name in asleep:
            del self.clouds.healths[name]
        self.clouds.started.extend(asleep)
        return tuple(asleep)

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        """There is nothing to wait for."""

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        prefix = TERRAFORM_NAMES[self.name]
        found = [
            OwnedResource(id=item.id, type=item.type, name=str(item.attributes.get("name") or item.id), deployment=deployment)
            for item in self.clouds.world.resources()
            if item.type.startswith(f"{prefix}_") and deployment in _tagged(item.attributes) and "bucket" not in item.type
        ]
        return tuple(sorted(found, key=lambda item: item.id))

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        self.clouds.world.remove(resource.type, resource.id)


def _tagged(attributes: Mapping[str, Any]) -> str:
    """The deployment a resource says it belongs to, in whatever a cloud has for that."""
    for name in ("tags", "labels", "effective_labels"):
        tags = attributes.get(name)
        if isinstance(tags, Mapping) and DEPLOYMENT_TAG in tags:
            return str(tags[DEPLOYMENT_TAG])
        if isinstance(tags, list):
            return " ".join(str(tag).removeprefix(f"{DEPLOYMENT_TAG}:") for tag in tags if str(tag).startswith(DEPLOYMENT_TAG))
    return ""


@contextmanager
def clouds(home: Path, names: Sequence[str] = tuple(TERRAFORM_NAMES.values())) -> Iterator[Clouds]:
    home.mkdir(exist_ok=True)
    with simulate(names, home=home) as made:
        by_target = {
            target: attachment
            for target, name in TERRAFORM_NAMES.items()
            for attachment in made
            if attachment.source.endswith(f"/{name}")
        }
        yield Clouds(home, by_target)


@contextmanager
def deployed(simulated: Clouds, cloud: str, home: Path) -> Iterator[Account]:
    """A home with the deployment `train` made at one of the clouds, whose world is the simulated one."""
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "config.yaml").write_text(CONFIG)
    simulated.healths.clear()
    simulated.started.clear()
    with opened(home, None, **{cloud: simulated.provider(cloud)}) as account:
        account.up(task(cloud))
        yield account
