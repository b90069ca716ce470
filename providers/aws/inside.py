"""Subnets that nobody reaches from outside, and the way out of them: a NAT gateway for all, and past it a free one to S3.

Contract: pure. The gateway stands in a subnet without machines, in the head's zone. One for each zone would cost as often, so machines in
another zone pay for the way there: their traffic is packages, and S3 has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...compiler.ir import ResourceAddress, ResourceNode
from .ranges import GATEWAY, inside_range
from .resources import NAT, USE_TAG, Site, ref
from .subnets import in_order, subnet


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    resources: tuple[ResourceNode, ...]
    """All of them."""
    subnets: Mapping[str | None, ResourceNode]
    """Zone → its subnet."""
    joined: tuple[ResourceNode, ...]
    """What a machine that boots there needs beside its subnet. The first boot waits for the way out."""


def inside(site: Site, vpc: ResourceNode, public: ResourceNode, head_zone: str | None, zones: Sequence[str | None]) -> Inside:
    """`public`: the table of the way out that needs public addresses. `zones`: where there are machines without one."""
    front, at_front = subnet(site, vpc, public, head_zone, GATEWAY, "nat")
    # ForceNew: domain.
    address = site.tagged("aws_eip", "nat", {"domain": "vpc"}, label=f"{site.name}-nat", labels={USE_TAG: NAT})
    # It needs the way out itself. ForceNew: allocation_id, subnet_id.
    gateway = site.tagged(
        "aws_nat_gateway",
        "nat",
        {"allocation_id": ref(address, "allocation_id"), "subnet_id": ref(front)},
        label=f"{site.name}-nat",
        after=tuple(sorted((at_front.address, _WAY_OUT), key=str)),
    )
    table = site.tagged("aws_route_table", "inside", {"vpc_id": ref(vpc)}, label=f"{site.name}-inside")
    route = site.untagged(
        "aws_route",
        "inside",
        {"route_table_id": ref(table), "destination_cidr_block": "0.0.0.0/0", "nat_gateway_id": ref(gateway)},
    )
    # Data goes to the region's S3 past the gateway, which is paid by the GB. ForceNew: vpc_id, service_name, vpc_endpoint_type.
    past = site.tagged(
        "aws_vpc_endpoint",
        "s3",
        {
            "vpc_id": ref(vpc),
            "service_name": f"com.amazonaws.{site.region}.s3",
            "vpc_endpoint_type": "Gateway",
            "route_table_ids": (ref(table),),
        },
        label=f"{site.name}-s3",
    )
    found = {zone: subnet(site, vpc, table, zone, inside_range(zone), f"inside-{zone or 'any'}") for zone in in_order(zones)}
    joined = tuple(association for _, association in found.values())
    return Inside(
        resources=(front, at_front, address, gateway, table, route, past, *(made for made, _ in found.values()), *joined),
        subnets={zone: made for zone, (made, _) in found.items()},
        # Not the route: EC2 takes minutes for a gateway, and before that it is known whether there are machines to be had (`gateway_last`).
        joined=(past, *joined),
    )


def gateway_last(resources: Sequence[ResourceNode]) -> list[ResourceNode]:
    """The gateway after the machines: where some are out of stock none is begun, and nothing waits for one to end or to go. They boot
    while it is made."""
    machines = sorted((node.address for node in resources if node.address.type == "aws_instance"), key=str)
    return [
        replace(node, depends_on=(*node.depends_on, *machines)) if node.address.type == "aws_nat_gateway" else node
        for node in resources
    ]


_WAY_OUT = ResourceAddress("aws_route", "out")
