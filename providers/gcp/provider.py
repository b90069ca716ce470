"""The target `gcp`: Google Cloud."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error
from ...compiler.ir import DeploymentId, DriftTable, GroupPlacement, Rename, ResourceGraph, SiteId, Storage, Task, holds_storage
from ..base import Capability, ImageReach, LowerContext, OwnedResource
from ..drift import table_of
from ..rented.accounts import asking, cannot_look, regions_of, sites_of
from ..rented.buckets import known_mark, not_empty
from ..rented.power import Switch
from ..rented.provider import RENTED, RentedProvider
from .errors import WORDS
from .facts import OPENS, PROVIDER
from .moved import MOVED

if TYPE_CHECKING:
    from .inventory import Inventory

_IN_PROJECT = re.compile(
    rb'"id": *"projects/([a-z][a-z0-9.:-]*)/(?:zones/[^/"]+/instances|regions/[^/"]+/(?:addresses|subnetworks)|global/networks)/'
)
"""In a state: the id of something skyc made."""
_BUCKETS_IN = re.compile(rb'"project": *"([a-z][a-z0-9.:-]*)"')
"""The project of a bucket, whose id does not tell it."""
_RULES_IN = re.compile(rb'"network": *"(?:https://[^/"]+/compute/v1/)?projects/([a-z][a-z0-9.:-]*)/global/networks/')
"""In a state or a module: the project of a network that something names by its path."""
FILE_NAME = "cdk.tf.json"
"""Of a site's module."""
CONFLICT = 409
"""How Cloud Storage refuses to remove a bucket that is not empty."""


class GcpProvider(RentedProvider):
    name = PROVIDER
    opens = OPENS
    words = WORDS

    @property
    def capabilities(self) -> frozenset[Capability]:
        return RENTED | {Capability.BUCKET, Capability.HEAD_ADDRESS}

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
        """Credentials and a project, where the Terraform provider looks for them."""
        from .client import has_login, project_of

        hint = "`skyc plan --offline` needs no account: it says whether the result is schema-valid, and compares nothing"
        missing = "A plan is compared with what exists, and `gcp` tells that only to an account."
        found = []
        if not has_login(os.environ):
            found.append(
                error(
                    "not-logged-in",
                    "The target cannot be asked from here",
                    f"{missing} There are no Google credentials.",
                    hint=hint,
                    commands=("gcloud auth application-default login",),
                )
            )
        if project_of(os.environ) is None:
            found.append(
                error(
                    "no-project",
                    "The target does not know in which project",
                    "Everything at `gcp` is in a project, and the environment names none. It is not part of the task file, so that a"
                    " task can be planned in another one.",
                    hint=hint,
                    commands=("export GOOGLE_CLOUD_PROJECT=my-project",),
                )
            )
        return tuple(found)

    def renames(self) -> tuple[Rename, ...]:
        return MOVED

    def drift_table(self) -> DriftTable:
        return table_of(Path(__file__).parent, "google")

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """In the regions where the home knows a site of the deployment; elsewhere it made nothing. In the environment's project, and in
        those the sites' states name. Raises SkycError when they cannot be asked: nobody may take that for nothing being there."""
        sites = sites_of(deployment, PROVIDER, home)
        if not sites:
            return ()
        projects = _projects(sites)
        if not projects:
            raise SkycError(cannot_look(PROVIDER, "GOOGLE_CLOUD_PROJECT is not set, and no state names a project."))
        regions = regions_of(deployment, PROVIDER, home)
        with _inventory() as inventory:
            return inventory.observe(
                deployment,
                projects,
                regions,
                known_mark(deployment, home),
                shared=_network_projects(sites),
                sites=[site.name for site in sites],
            )

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        from ..http import Answered

        with _inventory() as inventory:
            try:
                inventory.remove(resource)
            except Answered as answer:
                if resource.storage and answer.status == CONFLICT:
                    raise SkycError(not_empty(resource, f"gcloud storage ls --recursive gs://{resource.id}")) from None
                raise

    def empty(self, resource: OwnedResource, *, home: Path) -> None:
        with _inventory() as inventory:
            inventory.empty(resource)

    @contextmanager
    def switch(self, home: Path) -> Iterator[Switch]:
        from .power import GoogleSwitch

        with _inventory() as inventory:
            yield GoogleSwitch(inventory.cloud)

    def storage_uri(self, name: str, *, home: Path) -> str:
        from .storage import no_place

        raise SkycError(no_place(name))


def _projects(sites: Iterable[Path]) -> set[str]:
    """The environment may name another project today than when the machines were made; the states then still name theirs."""
    from .client import project_of

    here = project_of(os.environ)
    found = {here} if here is not None else set()
    for site in sites:
        for state in sorted(site.glob("terraform.tfstate*")):
            try:
                text = state.read_bytes()
            except OSError:
                continue
            # A machine's site may also name the project of a network that is the user's, where nothing but rules is ours.
            pattern = _BUCKETS_IN if holds_storage(SiteId(site.name)) else _IN_PROJECT
            found |= {project.decode() for project in pattern.findall(text)}
    return found


def _network_projects(sites: Iterable[Path]) -> set[str]:
    """Projects of networks of the user's that firewall rules were, or may have been, made in: a module says so before anything is."""
    found: set[str] = set()
    for site in sites:
        for file in (*sorted(site.glob("terraform.tfstate*")), site / FILE_NAME):
            try:
                found |= {project.decode() for project in _RULES_IN.findall(file.read_bytes())}
            except OSError:
                continue
    return found


@contextmanager
def _inventory() -> Iterator[Inventory]:
    """Raises SkycError for whatever keeps the account from being asked."""
    from ..http import Http
    from ..refresh import MissingCredentials
    from .client import connect
    from .inventory import Inventory

    try:
        with asking(PROVIDER), Http() as http:
            yield Inventory(connect(os.environ, http))
    except MissingCredentials:
        raise SkycError(
            cannot_look(
                PROVIDER,
                "There are no Google credentials that skyc reads: it needs application-default credentials (`gcloud auth"
                " application-default login`, or a service account's file) or GOOGLE_OAUTH_ACCESS_TOKEN.",
            )
        ) from None
