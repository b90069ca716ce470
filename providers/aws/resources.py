"""What every resource of a site shares: its provider's configuration, tags, and where it came from in the user's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, ProviderRequirement, Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import LowerContext
from ..rented.names import MADE_BY_PLAN, site_name, tags
from ..schemas.load import load_schema

RETRIES = 4
"""Of the provider, per call. Its own default of 25 would hide a lack of capacity for many minutes (DESIGN D14)."""
OFFLINE: FrozenMap[Value] = FrozenMap(
    {
        "access_key": "offline",
        "secret_key": "offline",
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_region_validation": True,
        "skip_requesting_account_id": True,
    }
)
"""For a plan that asks nobody. These are no credentials of anybody's."""


USE_TAG = "skyc-use"
NAT = "nat"
"""Value of USE_TAG on an address that is a NAT gateway's, so that nobody reaches a machine there: a plan does not tell otherwise whose it
is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One task in one region."""

    context: LowerContext
    region: str
    origin: SpecPath
    """For what serves the whole task."""

    @property
    def name(self) -> str:
        """Unique in the account and region, and short enough for everything but buckets and identities."""
        return site_name(self.context, 100)

    def tagged(
        self,
        type_: str,
        name: str,
        arguments: Mapping[str, Value],
        *,
        label: str = "",
        labels: Mapping[str, str] | None = None,
        origin: SpecPath | None = None,
        after: tuple[ResourceAddress, ...] = (),
    ) -> ResourceNode:
        """A resource with the deployment's tags. `label`: its `Name`; `labels`: the user's own, which never replace ours;
        `after`: what must exist before it besides what it refers to."""
        own = tags(self.context, label or self.name)
        together: dict[str, Value] = {**(labels or {}), **own}
        return ResourceNode(
            address=ResourceAddress(type_, name),
            origin=origin or self.origin,
            arguments=FrozenMap({**arguments, "tags": FrozenMap(together)}),
            depends_on=after,
            ignore_changes=MADE_BY_PLAN if self.context.plan else (),
        )

    def untagged(self, type_: str, name: str, arguments: Mapping[str, Value]) -> ResourceNode:
        """A resource that has no tags and goes with what it refers to."""
        return ResourceNode(address=ResourceAddress(type_, name), origin=self.origin, arguments=FrozenMap(arguments))


def ref(node: ResourceNode, attribute: str = "id") -> Ref:
    return Ref(node.address, attribute)


def requirement(site: Site) -> ProviderRequirement:
    """The AWS provider, at the version whose schema skyc checks against. What is emitted, 5.100.0 accepts too."""
    schema = load_schema("aws")
    config: dict[str, Value] = {"region": site.region, "max_retries": RETRIES}
    if site.context.offline:
        config |= OFFLINE
    return ProviderRequirement(name="aws", source=schema.source, version=schema.version, config=FrozenMap(config))
