"""The target `azure`: Microsoft Azure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error
from ...compiler.ir import DeploymentId, DriftTable, GroupPlacement, Rename, ResourceGraph, Storage, Task
from ..base import Capability, ImageReach, LowerContext, OwnedResource
from ..drift import table_of
from ..rented.accounts import asking, cannot_look, sites_of
from ..rented.buckets import known_mark, not_empty
from ..rented.power import Switch
from ..rented.provider import RENTED, RentedProvider
from .errors import WORDS
from .facts import OPENS, PROVIDER
from .moved import MOVED

if TYPE_CHECKING:
    from .inventory import Inventory

_MADE_IN = re.compile(r"/subscriptions/([0-9a-f-]{36})/resourceGroups/skyc", re.IGNORECASE)
"""Where a state says that something of skyc's is."""


class AzureProvider(RentedProvider):
    name = PROVIDER
    opens = OPENS
    words = WORDS

    @property
    def capabilities(self) -> frozenset[Capability]:
        return RENTED | {Capability.BUCKET, Capability.HEAD_ADDRESS, Capability.KEEPS_ADDRESS}

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        from .lower import lower

        return lower(task, placements, context)

    def image_reach(self, image: str) -> ImageReach | None:
        from .images import reach_of

        return reach_of(image)

    def lower_storages(
        self, storages: tuple[Storage, ...], region: str, context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        from .buckets import lower_storages

        return lower_storages(storages, region, context)

    def bucket_uri(self, name: str, *, region: str, deployment: DeploymentId, mark: str) -> str:
        from .buckets import bucket_uri

        return bucket_uri(name, deployment=deployment, mark=mark)

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        from .lower import check_graph

        return check_graph(graph, sources)

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        """Subscription and credentials, where Terraform looks for them."""
        from .credentials import missing

        why = missing(os.environ)
        if why is None:
            return ()
        return (
            error(
                "not-logged-in",
                "The target cannot be asked from here",
                f"A plan is compared with what exists, and `azure` tells that only to an account. {why}",
                hint="`skyc plan --offline` needs no account: it says whether the result is schema-valid, and compares nothing",
                commands=("az login", "export ARM_SUBSCRIPTION_ID=$(az account show --query id --output tsv)"),
            ),
        )

    def renames(self) -> tuple[Rename, ...]:
        return MOVED

    def drift_table(self) -> DriftTable:
        return table_of(Path(__file__).parent, "azurerm")

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """In the subscription Terraform works in, and in those where a state of the deployment says that something is. Raises
        SkycError when these cannot be asked: nobody may take that for nothing being there."""
        sites = sites_of(deployment, PROVIDER, home)
        if not sites:
            return ()
        subscriptions = _subscriptions(sites)
        if not subscriptions:
            raise SkycError(cannot_look(PROVIDER, "ARM_SUBSCRIPTION_ID is not set."))
        with asking(PROVIDER), _inventory() as inventory:
            return inventory.observe(deployment, subscriptions, known_mark(deployment, home))

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        from .inventory import HoldsData

        with asking(PROVIDER), _inventory() as inventory:
            try:
                inventory.remove(resource)
            except HoldsData:
                show = f"az storage container list --auth-mode login --account-name {resource.name}"
                raise SkycError(not_empty(resource, show)) from None

    def empty(self, resource: OwnedResource, *, home: Path) -> None:
        with asking(PROVIDER), _inventory() as inventory:
            inventory.empty(resource)

    @contextmanager
    def switch(self, home: Path) -> Iterator[Switch]:
        from .power import AzureSwitch

        types = self.catalog(home=home).offers.types
        held = {name.lower(): int(size) for name, size in zip(types.names, types.local_disk, strict=True) if size >= 0}
        with _inventory() as inventory:
            yield AzureSwitch(inventory.arm, held)

    def storage_uri(self, name: str, *, home: Path) -> str:
        from .storage import no_place

        raise SkycError(no_place(name))


def _subscriptions(sites: Iterable[Path]) -> tuple[str, ...]:
    """Whoever has changed ARM_SUBSCRIPTION_ID since would otherwise hear that nothing is left."""
    from .credentials import subscription

    now = subscription(os.environ)
    found = {now.lower()} if now else set()
    for site in sites:
        try:
            text = (site / "terraform.tfstate").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found |= {match.lower() for match in _MADE_IN.findall(text)}
    return tuple(sorted(found))


@contextmanager
def _inventory() -> Iterator[Inventory]:
    from ..http import Http
    from .client import Arm
    from .inventory import Inventory

    with Http() as http:
        yield Inventory(Arm(http, os.environ))
