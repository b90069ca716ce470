"""A subnet of a site's own network, and the table that says its way out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ...compiler.ir import ResourceNode, Value
from .resources import Site, ref


def in_order(zones: Iterable[str | None]) -> list[str | None]:
    """Each once, by name; first where AWS chooses the zone."""
    return sorted(set(zones), key=lambda zone: (zone is not None, zone))


def subnet(
    site: Site, vpc: ResourceNode, table: ResourceNode, zone: str | None, within: ipaddress.IPv4Network, name: str
) -> tuple[ResourceNode, ResourceNode]:
    """The subnet, and what joins it to its table."""
    # ForceNew: cidr_block, availability_zone_id. By id, since a zone's name means another place in every account.
    where: dict[str, Value] = {"vpc_id": ref(vpc), "cidr_block": str(within), "map_public_ip_on_launch": False}
    if zone is not None:
        where["availability_zone_id"] = zone
    made = site.tagged("aws_subnet", name, where, label=f"{site.name}-{name}")
    joined: dict[str, Value] = {"subnet_id": ref(made), "route_table_id": ref(table)}
    return made, site.untagged("aws_route_table_association", name, joined)
