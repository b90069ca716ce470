"""The target `aws`."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from ...compiler.diagnostics import Diagnostic, SkycError, SourceMap, error, warning
from ...compiler.ir import DeploymentId, DriftTable, FrozenMap, GroupPlacement, Rename, ResourceGraph, Storage, Task
from ..base import Capability, CheckReport, ImageReach, LowerContext, OwnedResource
from ..drift import table_of
from ..rented.accounts import asking, cannot_look, empty_regions, made_in, refuse_other, regions_of
from ..rented.buckets import known_mark, not_empty
from ..rented.power import Switch
from ..rented.provider import RENTED, RentedProvider
from ..retry import Schedule, SourceFailure
from .errors import WORDS
from .facts import OPENS, PROVIDER, ZONE_NAMES
from .moved import MOVED
from .regions import on_request

if TYPE_CHECKING:
    from .inventory import Inventory
    from .login import Login

_MADE_IN = re.compile(rb'"arn:aws[a-z-]*:ec2:[a-z0-9-]+:([0-9]{12}):(?:instance|key-pair|security-group|vpc)/')
"""In a state: the account of what skyc makes itself."""


class AwsProvider(RentedProvider):
    name = PROVIDER
    opens = OPENS
    zone_names = ZONE_NAMES
    words = WORDS

    @property
    def capabilities(self) -> frozenset[Capability]:
        return RENTED | {Capability.BUCKET, Capability.HEAD_ADDRESS}

    def check(self, *, home: Path) -> CheckReport:
        """Usable where the login is; who we are at AWS, and where we may be, are facts beside it."""
        from .login import LoginState, login

        priced = super(RentedProvider, self).check(home=home)
        found = login(Schedule(pauses=(1.0,)))
        usable = found.state is LoginState.USABLE and not priced.diagnostics
        facts = {**priced.facts, "state": "plans and runs jobs" if usable else f"login {found.state.value}"}
        asked_for: tuple[str, ...] = ()
        if found.account:
            asked_for = tuple(region for region in found.regions or () if self.on_request(region))
            known = "unknown (ec2:DescribeRegions is denied)" if found.regions is None else str(len(found.regions))
            facts |= {"account": found.account, "who": found.who, "regions": known}
            if found.regions is not None:
                facts["opt-in regions"] = " ".join(asked_for) or "none"
        said = (*priced.diagnostics, *_about(found))
        return CheckReport(provider=self.name, usable=usable, facts=FrozenMap(facts), diagnostics=said, regions=asked_for)

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
        """Credentials, as the AWS tools find them. Without boto3 that is left to Terraform, which looks in the same places."""
        from .client import NO_BOTO3, session_here

        found = session_here()
        if not isinstance(found, str) or found == NO_BOTO3:
            return ()
        return (
            error(
                "not-logged-in",
                "The target cannot be asked from here",
                f"A plan is compared with what exists, and `aws` tells that only to an account. {found}",
                hint="`skyc plan --offline` needs no account: it says whether the result is schema-valid, and compares nothing",
                commands=("aws configure",),
            ),
        )

    def renames(self) -> tuple[Rename, ...]:
        return MOVED

    def drift_table(self) -> DriftTable:
        return table_of(Path(__file__).parent, "aws")

    def observe(self, deployment: DeploymentId, *, home: Path) -> tuple[OwnedResource, ...]:
        """In the regions where the home knows a site of the deployment; elsewhere it made nothing. Raises SkycError when those
        cannot be asked, and with the credentials of another account than the machines were made in: nobody may take that for nothing
        being there."""
        regions = regions_of(deployment, PROVIDER, home)
        if not regions:
            return ()
        with asking(PROVIDER):
            inventory = _inventory()
            made = made_in(_MADE_IN, deployment, PROVIDER, home)
            if made:
                # One that every account has, where there is one: the credentials may not count in another.
                asked = min(regions, key=lambda region: (on_request(region), region))
                here = str(inventory.account.call("sts", asked, "get_caller_identity")["Account"])
                refuse_other(here, made, deployment, PROVIDER, commands=("aws sts get-caller-identity",))
            empty = empty_regions(deployment, PROVIDER, home)
            return inventory.observe(deployment, regions, known_mark(deployment, home), empty=empty)

    def remove(self, resource: OwnedResource, *, home: Path) -> None:
        with asking(PROVIDER):
            try:
                _inventory().remove(resource)
            except SourceFailure as failure:
                if getattr(failure, "code", "") == "BucketNotEmpty":
                    raise SkycError(not_empty(resource, f"aws s3 ls --recursive s3://{resource.id}")) from None
                raise

    def empty(self, resource: OwnedResource, *, home: Path) -> None:
        with asking(PROVIDER):
            _inventory().empty(resource)

    def switch(self, home: Path) -> AbstractContextManager[Switch]:
        from .power import Ec2Switch

        return nullcontext(Ec2Switch(_inventory().account))

    def storage_uri(self, name: str, *, home: Path) -> str:
        from .storage import no_place

        raise SkycError(no_place(name))


def _about(found: Login) -> tuple[Diagnostic, ...]:
    """Why AWS cannot be asked, as a warning: other targets are not concerned."""
    from .login import LoginState

    what, why = "The target cannot be asked from here", f"`{PROVIDER}`: {found.why}"
    match found.state:
        case LoginState.USABLE:
            return ()
        case LoginState.NONE:
            hint = "without an account, `skyc plan --offline` tells whether a task's Terraform is schema-valid"
            return (warning("not-logged-in", what, why, hint=hint),)
        case LoginState.EXPIRED:
            return (warning("login-expired", what, why, hint="log in again: `aws sso login`, or a new session token"),)
        case LoginState.REFUSED:
            hint = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE"
            return (warning("login-refused", what, why, hint=hint),)
        case LoginState.UNREACHABLE:
            return (warning("login-unreachable", what, why, hint="check the network, the proxy and AWS_ENDPOINT_URL"),)
        case never:
            assert_never(never)


def _inventory() -> Inventory:
    """Raises SkycError when the account cannot be asked."""
    return _inventory_in(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=1)
def _inventory_in(environ: tuple[tuple[str, str], ...]) -> Inventory:
    """Kept, because reading what botocore knows of a service takes a second. `environ` is what a session depends on."""
    from .client import Account, session_here
    from .inventory import Inventory

    session = session_here()
    if isinstance(session, str):
        raise SkycError(cannot_look(PROVIDER, session))
    return Inventory(Account(session, Schedule()))
