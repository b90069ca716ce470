"""What every resource of a site shares: its provider's configuration, labels or a description, and where it came from.

Google labels machines, disks and buckets, and neither networks nor firewall rules, accounts or policies: those say in their
description whose they are, and `inventory` finds them by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, ProviderRequirement, Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import LowerContext
from ..rented.names import DEPLOYMENT_TAG, PLAN_TAG, SITE_TAG, description, short, site_name
from ..schemas.load import load_schema
from .zones import ZONES

MOST_NAME = 63
"""Characters of a name (RFC 1035), and of a label."""
REQUEST_TIMEOUT = "60s"
"""Of the provider, per request with its retries, half of its own default. A lack of capacity is no failed request: it ends the
operation, which is never retried, so it arrives within seconds whatever stands here."""
OFFLINE: FrozenMap[Value] = FrozenMap({"access_token": "offline", "project": "offline"})
"""For a plan that asks nobody. These are no credentials of anybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One task in one region."""

    context: LowerContext
    region: str
    origin: SpecPath
    """For what serves the whole task."""

    def called(self, what: str = "") -> str:
        """A name that is unique in the project: most names at Google are."""
        return site_name(self.context, MOST_NAME, *((what,) if what else ()))

    def lasting_labels(self) -> dict[str, Value]:
        """The labels that never change while a resource lives."""
        return {DEPLOYMENT_TAG: str(self.context.deployment), SITE_TAG: short(str(self.context.site), MOST_NAME)}

    def labelled(
        self, type_: str, name: str, arguments: Mapping[str, Value], *, labels: Mapping[str, str], origin: SpecPath
    ) -> ResourceNode:
        """A resource with the deployment's labels. `labels`: the user's own, which never replace ours."""
        plan: dict[str, Value] = {PLAN_TAG: self.context.plan} if self.context.plan else {}
        together: dict[str, Value] = {**labels, **self.lasting_labels(), **plan}
        return ResourceNode(
            address=ResourceAddress(type_, name),
            origin=origin,
            arguments=FrozenMap({**arguments, "labels": FrozenMap(together)}),
            # A new price makes a new plan, and must not change every resource.
            ignore_changes=(f'labels["{PLAN_TAG}"]',) if plan else (),
        )

    def described(
        self, type_: str, name: str, arguments: Mapping[str, Value], *, origin: SpecPath | None = None
    ) -> ResourceNode:
        """A resource that has no labels."""
        return ResourceNode(
            address=ResourceAddress(type_, name),
            origin=origin or self.origin,
            arguments=FrozenMap({**arguments, "description": description(self.context)}),
        )

    def plain(self, type_: str, name: str, arguments: Mapping[str, Value]) -> ResourceNode:
        """A resource that has neither and goes with what it refers to."""
        return ResourceNode(address=ResourceAddress(type_, name), origin=self.origin, arguments=FrozenMap(arguments))


def zone_of(region: str, zone: str | None) -> str:
    """The zone of a placement. The compiler names one wherever the region is known (`CatalogPart.zone_needed`), and Google makes no
    machine without."""
    return zone or next(iter(ZONES.get(region, ())), f"{region}-a")


def ref(node: ResourceNode, attribute: str = "id") -> Ref:
    return Ref(node.address, attribute)


def requirement(site: Site) -> ProviderRequirement:
    """The Google provider, at the version whose schema skyc checks against. The project is not here: the provider takes it from the
    environment (`GOOGLE_CLOUD_PROJECT`) when Terraform runs, and Terraform's plan holds it, resource by resource."""
    schema = load_schema("google")
    config: dict[str, Value] = {"region": site.region, "request_timeout": REQUEST_TIMEOUT}
    if site.context.offline:
        config |= OFFLINE
    return ProviderRequirement(name="google", source=schema.source, version=schema.version, config=FrozenMap(config))
