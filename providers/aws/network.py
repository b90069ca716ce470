"""A site's network: its own VPC, one subnet per zone in use, a way out, and a firewall that is closed by default. Or the user's own
network, in which only the firewall is made.

Contract: pure. Inbound are only SSH from the declared ranges, the ports the task declares, and the cluster itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...compiler.ir import Addresses, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import ExistingNetwork
from ..rented.networks import IdForm
from ..rented.ports import SSH, PortRange
from .resources import Site, ref

CIDR = ipaddress.IPv4Network("10.64.0.0/16")
"""Of every site. Sites are not joined, so they may share it."""
_SUBNETS = tuple(CIDR.subnets(new_prefix=20))
_FIRST_HOST = 10
"""AWS keeps the first four addresses of a subnet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    subnets: dict[str | None, Value]
    """Zone → the id of its subnet."""
    fixed: bool
    """The ranges are skyc's, so the head has an address that is known before anything exists."""
    public: bool
    """Machines have an address outside of it."""
    group: ResourceNode
    """The nodes' security group."""
    way_out: tuple[ResourceAddress, ...]
    """What must be there before a machine boots, which fetches packages and takes an address, and go after it: a gateway cannot be taken
    from a network with public addresses in use."""


def zone_number(zone: str | None) -> int:
    """The number at the end of a zone id (`use1-az4` → 4); 0 when AWS chooses the zone.

    A subnet's range follows from its zone alone: another zone coming into use moves no subnet, since a new range replaces it.
    """
    match = re.search(r"-az(\d+)$", zone or "")
    return int(match[1]) if match else 0


def zone_range(zone: str | None) -> ipaddress.IPv4Network:
    return _SUBNETS[zone_number(zone) % len(_SUBNETS)]


def head_address(zone: str | None) -> str:
    """The head's address, fixed so that every other machine knows it before anything exists, and a new head has it again."""
    return str(zone_range(zone)[_FIRST_HOST])


def ssh_ranges(ssh_from: Sequence[str]) -> tuple[str, ...]:
    """The declared ranges that can reach machines, each once: skyc comes to their IPv4 addresses, and a VPC of its own has no others."""
    return tuple(dict.fromkeys(text for text in ssh_from if ":" not in text))


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
        public=site.context.public is not Addresses.NONE,
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
    site: Site, zones: Sequence[str | None], ports: Sequence[tuple[PortRange, SpecPath]], *, alone: bool = False
) -> Network:
    """`zones`: of the groups, the head's first. `ports`: what the task opens, each with the place in its file. `alone`: the head is the
    only machine, so that nobody could take its address."""
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
    for zone in sorted(set(zones), key=lambda zone: (zone is not None, zone)):
        # ForceNew: cidr_block, availability_zone_id. By id, since a zone's name means another place in every account.
        where: dict[str, Value] = {"vpc_id": ref(vpc), "cidr_block": str(zone_range(zone)), "map_public_ip_on_launch": False}
        if zone is not None:
            where["availability_zone_id"] = zone
        label = zone or "any"
        subnets[zone] = site.tagged("aws_subnet", label, where, label=f"{site.name}-{label}")
        association: dict[str, Value] = {"subnet_id": ref(subnets[zone]), "route_table_id": ref(table)}
        joined.append(site.untagged("aws_route_table_association", label, association))
    rules = tuple(_rules(site, group, ports))
    kept = () if alone else (_kept_for_head(site, subnets[zones[0]], zones[0]),)
    return Network(
        resources=(vpc, gateway, table, closed, route, group, *subnets.values(), *joined, *kept, *rules),
        subnets={zone: ref(subnet) for zone, subnet in subnets.items()},
        fixed=True,
        public=True,
        group=group,
        way_out=_egress((route, *joined, *kept, *rules)),
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
    for text in ssh_ranges(site.context.access.ssh_from):
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
