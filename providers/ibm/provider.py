"""The target `ibm`: IBM Cloud (VPC)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error
from ...compiler.ir import DeploymentId, DriftTable, GroupPlacement, Rename, ResourceGraph, Storage, Task
from ..base import Capability, ImageReach, LowerContext, OwnedResource
from ..drift import table_of
from ..rented.accounts import asking, cannot_look, made_in, refuse_other, regions_of
from ..rented.buckets import known_mark, not_empty
from ..rented.power import Switch
from ..rented.provider import RENTED, RentedProvider
from .errors import WORDS
from .facts import OPENS, PROVIDER
from .moved import MOVED

if TYPE_CHECKING:
    from .inventory import Inventory

_MADE_IN = re.compile(rb'"crn:v1:[a-z-]+:[a-z]+:is:[a-z0-9-]+:a/([0-9a-f]+)::(?:instance|vpc):')
"""In a state: the account of what skyc makes itself. An image may be another's."""


class IbmProvider(RentedProvider):
    name = PROVIDER
    opens = OPENS
    words = WORDS

    @property
    def capabilities(self) -> frozenset[Capability]:
        # Spot machines are sold to select customers, and without a published price.
        return (RENTED - {Capability.SPOT}) | {Capability.BUCKET, Capability.HEAD_ADDRESS, Capability.KEEPS_ADDRESS}

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

        return bucket_uri(name, region=region, deployment=deployment, mark=mark)

    def check_graph(self, graph: ResourceGraph, sources: SourceMap | None) -> tuple[Diagnostic, ...]:
        from .lower import check_graph

        return check_graph(graph, sources)

    def ready(self, *, home: Path) -> tuple[Diagnostic, ...]:
        """Whether there is a key. Whether IBM accepts it, Terraform finds out."""
        from .client import KEYS

        if any(os.environ.get(name) for name in KEYS):
            return ()
        return (
            error(
                "not-logged-in",
                "The target cannot be asked from here",
                f"A plan is compared with what exists, and `{PROVIDER}` tells that only to an account. {_NO_KEY}",
                hint="`skyc plan --offline` needs no account: it says whether the result is schema-valid, and compares nothing",
                commands=("export IC_API_KEY=…",),
            ),
        )

    def renames(self) -> tuple[Rename, ...]:
        return MOVED

    def drift_table(self) -> DriftTable:
        return table_of(Path(__file__).parent, "ibm")

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """In the regions where the home knows a site of the deployment; elsewhere it made nothing. Raises SkycError when those
        cannot be asked, and with a key of another account than the machines were made in: nobody may take that for nothing being
        there."""
        regions = regions_of(deployment, PROVIDER, home)
        if not regions:
            return ()
        with asking(PROVIDER), _inventory() as inventory:
            made = made_in(_MADE_IN, deployment, PROVIDER, home)
            if made:
                refuse_other(inventory.account.id, made, deployment, PROVIDER, commands=("ibmcloud account show",))
            return inventory.observe(deployment, regions, known_mark(deployment, home))

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        from .objects import NotEmpty

        with asking(PROVIDER), _inventory() as inventory:
            try:
                inventory.remove(resource)
            except NotEmpty:
                show = f"ibmcloud cos objects --bucket {resource.name} --region {resource.detail}"
                raise SkycError(not_empty(resource, show)) from None

    def empty(self, resource: OwnedResource, *, home: Path) -> None:
        with asking(PROVIDER), _inventory() as inventory:
            inventory.empty(resource)

    @contextmanager
    def switch(self, home: Path) -> Iterator[Switch]:
        from .power import VpcSwitch

        with _inventory() as inventory:
            yield VpcSwitch(inventory.account)

    def storage_uri(self, name: str, *, home: Path) -> str:
        from .storage import no_place

        raise SkycError(no_place(name))


_NO_KEY = "There is no API key: set IC_API_KEY, which `ibmcloud iam api-key-create` makes."


def _inventory() -> Inventory:
    """Raises SkycError without a key, SourceFailure for one that IBM does not accept."""
    from .client import Account
    from .inventory import Inventory

    account = Account.open(os.environ)
    if account is None:
        raise SkycError(cannot_look(PROVIDER, _NO_KEY))
    return Inventory(account)
