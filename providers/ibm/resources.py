"""What every resource of a site shares: its provider's configuration, names, tags, and where it came from in the user's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, ProviderRequirement, Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import LowerContext
from ..rented.labels import one_text
from ..rented.names import DEPLOYMENT_TAG, SITE_TAG, site_name
from ..schemas.load import load_schema

RETRIES = 4
"""Of the provider, per call. Its own default of 10 would hide a lack of capacity for many minutes (DESIGN D14)."""
OFFLINE: FrozenMap[Value] = FrozenMap({"ibmcloud_api_key": "offline"})
"""For a plan that asks nobody. This is no key of anybody's."""
NAME_LIMIT = 63
"""Characters of a VPC resource's name: lower-case letters, digits and hyphens, beginning with a letter."""
OUR_TAGS = (DEPLOYMENT_TAG, SITE_TAG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One task in one region."""

    context: LowerContext
    region: str
    origin: SpecPath
    """For what serves the whole task."""

    @property
    def name(self) -> str:
        """Unique in the account and region: most names are, at IBM, unique in the region."""
        return site_name(self.context, NAME_LIMIT)

    def named(self, *parts: str) -> str:
        """The site's name with what tells its resources apart."""
        return site_name(self.context, NAME_LIMIT, *parts)

    @property
    def tags(self) -> tuple[str, ...]:
        """What IBM keeps of a tag is one lower-case text. The plan that made a resource is not among them: tags are one set here,
        of which Terraform cannot leave a single one out when it compares."""
        return tuple(map(one_text, OUR_TAGS, (self.context.deployment, self.context.site)))

    def tagged(
        self,
        type_: str,
        name: str,
        arguments: Mapping[str, Value],
        *,
        labels: Iterable[str] = (),
        origin: SpecPath | None = None,
        after: tuple[ResourceAddress, ...] = (),
    ) -> ResourceNode:
        """A resource with the deployment's tags. `labels`: the user's own, as tags; `after`: what must exist before it besides what
        it refers to."""
        return ResourceNode(
            address=ResourceAddress(type_, name),
            origin=origin or self.origin,
            arguments=FrozenMap({**arguments, "tags": tuple(sorted({*self.tags, *labels}))}),
            depends_on=after,
        )

    def untagged(
        self, type_: str, name: str, arguments: Mapping[str, Value], *, origin: SpecPath | None = None
    ) -> ResourceNode:
        """A resource that has no tags and goes with what it refers to."""
        return ResourceNode(address=ResourceAddress(type_, name), origin=origin or self.origin, arguments=FrozenMap(arguments))


def ref(node: ResourceNode, attribute: str = "id") -> Ref:
    return Ref(node.address, attribute)


def requirement(site: Site) -> ProviderRequirement:
    """The IBM provider, at the version whose schema skyc checks against. The key is not here: the provider takes it from IC_API_KEY
    when Terraform runs."""
    schema = load_schema("ibm")
    config: dict[str, Value] = {"region": site.region, "max_retries": RETRIES}
    if site.context.offline:
        config |= OFFLINE
    return ProviderRequirement(name="ibm", source=schema.source, version=schema.version, config=FrozenMap(config))
