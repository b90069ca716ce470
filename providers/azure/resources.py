"""What every resource of a site shares: its resource group, its provider's configuration, tags, and where it came from in the
user's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, ProviderRequirement, Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import LowerContext
from ..rented.names import MADE_BY_PLAN, site_name, tags
from ..schemas.load import load_schema

GROUP = ResourceAddress("azurerm_resource_group", "site")
NOBODY = "00000000-0000-0000-0000-000000000000"
"""A subscription that nobody has."""
FEATURES: FrozenMap[Value] = FrozenMap(
    {
        # A group that holds what no plan has shown is not deleted with it. Leftovers of a run that was killed carry the deployment's
        # tag and are removed by it before.
        "resource_group": FrozenMap[Value]({"prevent_deletion_if_contains_resources": True}),
        "virtual_machine": FrozenMap[Value]({"delete_os_disk_on_deletion": True, "skip_shutdown_and_force_delete": False}),
    }
)
FEATURES_OF_STORAGE: FrozenMap[Value] = FrozenMap(
    {
        "resource_group": FEATURES["resource_group"],
        # Queues and static websites are not ours, and to ask for them takes a role for data.
        "storage": FrozenMap[Value]({"data_plane_available": False}),
    }
)
REGISTERED = ("Microsoft.Compute", "Microsoft.ManagedIdentity", "Microsoft.Network")
"""Resource providers the subscription must have registered: those in use, where the Terraform provider's default is dozens."""
REGISTERED_OF_STORAGE = ("Microsoft.Storage",)
OFFLINE: FrozenMap[Value] = FrozenMap({"subscription_id": NOBODY, "use_cli": False})
"""For a plan that asks nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One task in one region."""

    context: LowerContext
    region: str
    origin: SpecPath
    """For what serves the whole task."""

    @property
    def name(self) -> str:
        """Of the resource group, and unique in the subscription. Azure takes 90 characters."""
        return site_name(self.context, 90)

    def group(self) -> ResourceNode:
        """The site's resource group. It holds all else, so that what is left of a site can be seen, and go, in one piece."""
        return self.tagged(GROUP, {"name": self.name, "location": self.region}, {}, self.origin, ())

    def placed(
        self,
        type_: str,
        name: str,
        arguments: Mapping[str, Value],
        *,
        labels: Mapping[str, str] | None = None,
        origin: SpecPath | None = None,
        after: tuple[ResourceAddress, ...] = (),
    ) -> ResourceNode:
        """A resource in the site's group and region, with the deployment's tags. `labels`: the user's own, which never replace
        ours; `after`: what must exist before it besides what it refers to."""
        here: dict[str, Value] = {"resource_group_name": Ref(GROUP, "name"), "location": self.region, **arguments}
        return self.tagged(ResourceAddress(type_, name), here, labels or {}, origin or self.origin, after)

    def tagged(
        self,
        address: ResourceAddress,
        arguments: Mapping[str, Value],
        labels: Mapping[str, str],
        origin: SpecPath,
        after: tuple[ResourceAddress, ...],
    ) -> ResourceNode:
        """A resource with the deployment's tags, wherever it lies."""
        together: dict[str, Value] = {**labels, **own_tags(self.context)}
        return ResourceNode(
            address=address,
            origin=origin,
            arguments=FrozenMap({**arguments, "tags": FrozenMap(together)}),
            depends_on=after,
            ignore_changes=MADE_BY_PLAN if self.context.plan else (),
        )

    def untagged(
        self,
        type_: str,
        name: str,
        arguments: Mapping[str, Value],
        *,
        origin: SpecPath | None = None,
        after: tuple[ResourceAddress, ...] = (),
    ) -> ResourceNode:
        """A resource that has no tags and goes with what it refers to."""
        address = ResourceAddress(type_, name)
        return ResourceNode(address=address, origin=origin or self.origin, arguments=FrozenMap(arguments), depends_on=after)


def own_tags(context: LowerContext) -> dict[str, str]:
    """Without a `Name`: here everything has one of its own."""
    return {key: value for key, value in tags(context, "").items() if key != "Name"}


def ref(node: ResourceNode, attribute: str = "id") -> Ref:
    return Ref(node.address, attribute)


def requirement(site: Site, *, for_storage: bool = False) -> ProviderRequirement:
    """The azurerm provider, at the version whose schema skyc checks against. The subscription comes from ARM_SUBSCRIPTION_ID when
    Terraform runs: a plan is the same for everybody."""
    schema = load_schema("azurerm")
    features = FEATURES_OF_STORAGE if for_storage else FEATURES
    config: dict[str, Value] = {"features": features, "resource_provider_registrations": "none"}
    if for_storage:
        # Accounts of ours have no keys.
        config["storage_use_azuread"] = True
    if site.context.offline:
        config |= OFFLINE
    else:
        config["resource_providers_to_register"] = REGISTERED_OF_STORAGE if for_storage else REGISTERED
    return ProviderRequirement(name="azurerm", source=schema.source, version=schema.version, config=FrozenMap(config))
