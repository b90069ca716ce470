"""A site's network: its own VPC, one subnet per zone in use, a way out, and a firewall that is closed by default. Or the user's own
network, in which only the firewall is made. Where the head alone has a public address, the others have subnets of their own, whose way
out is a NAT gateway (`inside.py`).

Contract: pure. Inbound are only SSH from the declared ranges, the ports the task declares, and the cluster itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...compiler.ir import Addresses, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import ExistingNetwork
from ..rented.networks import IdForm
from ..rented.ports import SSH, PortRange, ipv4
from .inside import inside
from .ranges import CIDR, head_address, zone_range
from .resources import Site, ref
from .subnets import in_order, subnet


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    subnets: dict[str | None, Value]
    """Zone → the id of the subnet for its machines, but the head where that has a public address alone."""
    head_subnet: Value
    fixed: bool
    """The ranges are skyc's, so the head has an address that is known before anything exists."""
    public: Addresses
    """Which machines have an address outside of it."""
    group: ResourceNode
    """The nodes' security group."""
    way_out: tuple[ResourceAddress, ...]
    """What must be there before a machine boots, which fetches packages and takes an address, and go after it: a gateway cannot be taken
    from a network with public addresses in use."""
    inside: tuple[ResourceAddress, ...] = ()
    """What besides must be there before a machine without a public address boots."""

    def is_public(self, *, head: bool) -> bool:
        """Whether a machine, the head or another, has an address outside of it."""
        return self.public is Addresses.ALL or (head and self.public is Addresses.HEAD)


FORM = IdForm(
    network=re.compile(r"vpc-[0-9a-f]+"),
    subnet=re.compile(r"subnet-[0-9a-f]+"),
    words="`vpc: vpc-…` and `subnets: {use1-az1: subnet-…}`, by zone id",
    show="aws ec2 describe-subnets --query 'Subnets[].[VpcId,SubnetId,AvailabilityZoneId]'",
)


def existing(
    site: Site, own: ExistingNetwork, zones: Sequence[str | None], ports: Sequence[tuple[PortRange, SpecPath]]
) -> Network:
    """The user's network: its ids as they are, no look-up, and a security group of ours."""
    group = _group(site, own.id)
    rules = tuple(_rules(site, group, ports))
    return Network(
        resources=(group, *rules),
        subnets={zone: own.subnet(zone) for zone in zones},
        fixed=False,
        head_subnet=own.subnet(zones[0]),
        public=site.context.public,
        group=group,
        way_out=_egress(rules),
    )


def _group(site: Site, vpc: Value) -> ResourceNode:
    # ForceNew: name, description, vpc_id.
    return site.tagged(
        "aws_security_group",
        "nodes",
        {"name": f"{site.name}-nodes", "description": "Nodes of a skyc cluster", "vpc_id": vpc},
        label=f"{site.name}-nodes",
    )


def _egress(nodes: Sequence[ResourceNode]) -> tuple[ResourceAddress, ...]:
    return tuple(sorted((node.address for node in nodes if "ingress" not in node.address.type), key=str))


def network(
    site: Site,
    zones: Sequence[str | None],
    ports: Sequence[tuple[PortRange, SpecPath]],
    *,
    others: Sequence[str | None] = (),
) -> Network:
    """`zones`: of the groups, the head's first. `ports`: what the task opens, each with the place in its file. `others`: zones of the
    machines beside the head; with none, nobody could take its address."""
    if site.context.network is not None:
        return existing(site, site.context.network, zones, ports)
    # ForceNew: cidr_block.
    vpc = site.tagged("aws_vpc", "site", {"cidr_block": str(CIDR)})
    gateway = site.tagged("aws_internet_gateway", "out", {"vpc_id": ref(vpc)})
    table = site.tagged("aws_route_table", "out", {"vpc_id": ref(vpc)})
    # Without arguments it loses the rules AWS gives it: what is put into no group on purpose reaches nothing.
    closed = site.tagged("aws_default_security_group", "closed", {"vpc_id": ref(vpc)}, label=f"{site.name}-default")
    route = site.untagged(
        "aws_route",
        "out",
        {"route_table_id": ref(table), "destination_cidr_block": "0.0.0.0/0", "gateway_id": ref(gateway)},
    )
    group = _group(site, ref(vpc))
    subnets: dict[str | None, ResourceNode] = {}
    joined: list[ResourceNode] = []
    head_only = site.context.public is Addresses.HEAD
    for zone in in_order(zones[:1] if head_only else zones):
        subnets[zone], association = subnet(site, vpc, table, zone, zone_range(zone), zone or "any")
        joined.append(association)
    head_subnet = subnets[zones[0]]
    way = inside(site, vpc, table, zones[0], others) if head_only and others else None
    rules = tuple(_rules(site, group, ports))
    # Alone in its subnet nobody takes the head's address.
    kept = () if head_only or not others else (_kept_for_head(site, head_subnet, zones[0]),)
    made = (vpc, gateway, table, closed, route, group, *subnets.values(), *joined, *kept, *rules)
    if way is not None:
        made, subnets = (*made, *way.resources), dict(way.subnets)
    return Network(
        resources=made,
        subnets={zone: ref(found) for zone, found in subnets.items()},
        head_subnet=ref(head_subnet),
        fixed=True,
        public=site.context.public,
        group=group,
        way_out=_egress((route, *joined, *kept, *rules)),
        inside=_egress(way.joined) if way is not None else (),
    )


def _kept_for_head(site: Site, subnet: ResourceNode, zone: str | None) -> ResourceNode:
    """EC2 gives no other machine the head's address: not the ones made beside it, nor one that is made while a lost head is away."""
    # ForceNew: all of them.
    return site.untagged(
        "aws_ec2_subnet_cidr_reservation",
        "head",
        {
            "subnet_id": ref(subnet),
            "cidr_block": f"{head_address(zone)}/32",
            "reservation_type": "explicit",
        },
    )


def _rules(site: Site, group: ResourceNode, ports: Sequence[tuple[PortRange, SpecPath]]) -> Iterator[ResourceNode]:
    """Each rule a resource of its own: a change shows as that rule, and no two plans fight over a list."""
    inbound, outbound = "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule"
    here: dict[str, Value] = {"security_group_id": ref(group)}
    yield site.tagged(
        inbound,
        "cluster",
        {**here, "referenced_security_group_id": ref(group), "ip_protocol": "-1", "description": "Nodes among themselves"},
    )
    yield site.tagged(
        outbound,
        "all",
        {**here, "cidr_ipv4": "0.0.0.0/0", "ip_protocol": "-1", "description": "Packages, data, AWS"},
    )
    for text in ipv4(site.context.access.ssh_from):
        yield site.tagged(
            inbound, "ssh-" + re.sub(r"[^0-9]+", "-", text), {**here, **_open(SSH, SSH, text), "description": "SSH"}
        )
    for range_, origin in ports:
        yield site.tagged(
            inbound,
            f"port-{range_}",
            {**here, **_open(range_.first, range_.last, "0.0.0.0/0"), "description": "Declared by the task"},
            origin=origin,
        )


def _open(first: int, last: int, source: str) -> dict[str, Value]:
    return {"ip_protocol": "tcp", "from_port": first, "to_port": last, "cidr_ipv4": source}
