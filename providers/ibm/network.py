"""A site's network: its own VPC, one subnet per zone in use, two firewalls that are closed by default, and public gateways where machines
have no addresses. Or the user's own VPC, in which only the security group is made.

Contract: pure. The security group, which knows connections, admits SSH from the declared ranges, the ports the task declares, and
the nodes among themselves. The subnets' network ACL knows single packets only: it repeats that, and has to admit what may be an
answer, which is anything to a port above 1023. The VPC's own default group and ACL lose all their rules, so that what is put into
them reaches nothing.

IBM's VPC speaks IPv4 only. SSH has to come in, so machines have floating IPs, and what has one reaches the internet through it. Where the
head alone has one, a public gateway on the subnet of every zone with others leads these out; buckets are reached beside it, at their
endpoint within IBM's network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import ExistingNetwork
from ..rented.networks import IdForm, needs_way_out
from ..rented.ports import SSH, PortRange, ipv4
from .resources import Site, ref

CIDR = ipaddress.IPv4Network("10.64.0.0/16")
"""Of every site. Sites are not joined, so they may share it."""
_SUBNETS = tuple(CIDR.subnets(new_prefix=20))
_FIRST_HOST = 10
"""IBM keeps the first four addresses of a subnet, and the last."""
EVERYWHERE = "0.0.0.0/0"
_ANSWERS = PortRange(1024, 65535)


FORM = IdForm(
    network=re.compile(r"(?:r[0-9]{3}-)?[0-9a-f-]{36}"),
    # Most begin with the number of their zone.
    subnet=re.compile(r"(?:[0-9a-z]{4}-)?[0-9a-f-]{36}"),
    words="`vpc: r006-…` and `subnets: {us-south-1: 0717-…}`",
    show="ibmcloud is subnets --output JSON",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    vpc: Value
    subnets: dict[str, Value]
    """Zone → the id of its subnet."""
    fixed: bool
    """The ranges are skyc's, so the head has an address that is known before anything exists."""
    group: ResourceNode
    """The nodes' security group."""
    way_out: tuple[ResourceAddress, ...]
    """What must be there before a machine boots, which fetches packages, and go after it."""


def zone_of(region: str, zone: str | None) -> str:
    """A subnet has a zone. Every region of several zones numbers them from 1, so that one stands for "any"."""
    return zone or f"{region}-1"


def zone_range(zone: str) -> ipaddress.IPv4Network:
    """A subnet's range follows from its zone alone (`us-south-2` → the third of 16): another zone coming into use moves none."""
    match = re.search(r"-(\d+)$", zone)
    return _SUBNETS[(int(match[1]) if match else 0) % len(_SUBNETS)]


def head_address(zone: str) -> str:
    """The head's address, fixed so that every other machine knows it before anything exists, and a new head has it again."""
    return str(zone_range(zone)[_FIRST_HOST])


def network(site: Site, zones: Sequence[str], ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    """`zones`: each node's, the head's first. `ports`: what the task opens, each with the place in its file."""
    own = site.context.network
    return _own(site, zones, ports) if own is None else _existing(site, own, zones, ports)


def _existing(site: Site, own: ExistingNetwork, zones: Sequence[str], ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    group = site.tagged("ibm_is_security_group", "nodes", {"name": site.named("nodes"), "vpc": own.id})
    rules = tuple(_rules(site, group, ports))
    return Network(
        resources=(group, *rules),
        vpc=own.id,
        subnets={zone: own.subnet(zone) for zone in zones},
        fixed=False,
        group=group,
        way_out=_outbound(rules),
    )


def _outbound(rules: Sequence[ResourceNode]) -> tuple[ResourceAddress, ...]:
    return tuple(sorted((rule.address for rule in rules if rule.arguments["direction"] == "outbound"), key=str))


def _own(site: Site, zones: Sequence[str], ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    # ForceNew: address_prefix_management.
    vpc = site.tagged(
        "ibm_is_vpc",
        "site",
        {
            "name": site.name,
            # No prefixes of IBM's choice: each zone gets one of ours below.
            "address_prefix_management": "manual",
            # Taken when the VPC is made, and only then.
            "no_sg_acl_rules": True,
            "default_security_group_name": site.named("closed"),
            "default_network_acl_name": site.named("closed"),
        },
    )
    # ForceNew: vpc.
    acl = site.tagged(
        "ibm_is_network_acl",
        "nodes",
        {"name": site.named("nodes"), "vpc": ref(vpc), "rules": tuple(_packets(site, [range_ for range_, _ in ports]))},
    )
    group = site.tagged("ibm_is_security_group", "nodes", {"name": site.named("nodes"), "vpc": ref(vpc)})
    prefixes: list[ResourceNode] = []
    subnets: dict[str, ResourceNode] = {}
    for zone in sorted(set(zones)):
        # ForceNew: vpc, zone, cidr.
        where: dict[str, Value] = {"name": zone, "vpc": ref(vpc), "zone": zone, "cidr": str(zone_range(zone))}
        prefix = site.untagged("ibm_is_vpc_address_prefix", zone, where)
        prefixes.append(prefix)
        # ForceNew: vpc, zone, ipv4_cidr_block. The range by reference: it must be the VPC's before a subnet can have it.
        subnets[zone] = site.tagged(
            "ibm_is_subnet",
            zone,
            {
                "name": site.named(zone),
                "vpc": ref(vpc),
                "zone": zone,
                "ipv4_cidr_block": ref(prefix, "cidr"),
                "network_acl": ref(acl),
            },
        )
    rules = tuple(_rules(site, group, ports))
    others = sorted(set(zones[1:])) if needs_way_out(site.context, len(zones)) else []
    gateways = [node for zone in others for node in _way_out(site, vpc, subnets[zone], zone)]
    attached = tuple(node.address for node in gateways if node.address.type == "ibm_is_subnet_public_gateway_attachment")
    return Network(
        resources=(vpc, acl, group, *prefixes, *subnets.values(), *rules, *gateways),
        vpc=ref(vpc),
        subnets={zone: ref(subnet) for zone, subnet in subnets.items()},
        fixed=True,
        group=group,
        way_out=_outbound(rules) + attached,
    )


def _way_out(site: Site, vpc: ResourceNode, subnet: ResourceNode, zone: str) -> Iterator[ResourceNode]:
    """A public gateway and the subnet's going out through it. Its address is a resource too: IBM does not say that one it gives itself goes
    with the gateway. The subnet does not name the gateway: the provider leaves it where it is when the name goes, and IBM removes none that
    is somewhere. ForceNew: vpc, zone; subnet."""
    called = site.named(zone, "out")
    address = site.tagged("ibm_is_floating_ip", f"out-{zone}", {"name": called, "zone": zone})
    outside: Value = FrozenMap[Value]({"id": ref(address)})
    gateway = site.tagged(
        "ibm_is_public_gateway", zone, {"name": called, "vpc": ref(vpc), "zone": zone, "floating_ip": outside}
    )
    yield from (address, gateway)
    yield site.untagged(
        "ibm_is_subnet_public_gateway_attachment", zone, {"subnet": ref(subnet), "public_gateway": ref(gateway)}
    )


def _rules(site: Site, group: ResourceNode, ports: Sequence[tuple[PortRange, SpecPath]]) -> Iterator[ResourceNode]:
    """Each rule a resource of its own: a change shows as that rule, and no two plans fight over a list."""

    def rule(name: str, direction: str, origin: SpecPath | None = None, **arguments: Value) -> ResourceNode:
        # ForceNew: group.
        given: dict[str, Value] = {"group": ref(group), "name": name, "direction": direction, **arguments}
        return site.untagged("ibm_is_security_group_rule", name, given, origin=origin)

    # Nodes among themselves; and packages, data, IBM.
    yield rule("cluster", "inbound", remote=ref(group), protocol="any")
    yield rule("all-out", "outbound", remote=EVERYWHERE, protocol="any")
    for text in ipv4(site.context.access.ssh_from):
        name = "ssh-" + re.sub(r"[^0-9]+", "-", text)
        yield rule(name, "inbound", remote=text, protocol="tcp", port_min=SSH, port_max=SSH)
    for range_, origin in ports:
        name = f"port-{range_}"
        yield rule(name, "inbound", origin, remote=EVERYWHERE, protocol="tcp", port_min=range_.first, port_max=range_.last)


def _packets(site: Site, ports: Sequence[PortRange]) -> Iterator[FrozenMap[Value]]:
    """The ACL's rules, the first that fits counts; what fits none is dropped."""

    def allow(name: str, direction: str, source: str, protocol: str, range_: PortRange | None = None) -> FrozenMap[Value]:
        row: dict[str, Value] = {
            "name": name,
            "action": "allow",
            "direction": direction,
            "source": source,
            "destination": EVERYWHERE,
            "protocol": protocol,
        }
        if range_ is not None:
            row |= {"port_min": range_.first, "port_max": range_.last}
        return FrozenMap(row)

    yield allow("out", "outbound", EVERYWHERE, "any")
    yield allow("cluster", "inbound", str(CIDR), "any")
    yield allow("answers-tcp", "inbound", EVERYWHERE, "tcp", _ANSWERS)
    yield allow("answers-udp", "inbound", EVERYWHERE, "udp", _ANSWERS)
    # "Fragmentation needed": without it large packets vanish on some ways.
    yield FrozenMap[Value]({**allow("too-large", "inbound", EVERYWHERE, "icmp"), "type": 3})
    for text in ipv4(site.context.access.ssh_from):
        yield allow("ssh-" + re.sub(r"[^0-9]+", "-", text), "inbound", text, "tcp", PortRange(SSH, SSH))
    for range_ in ports:
        # What lies above is admitted already.
        if range_.first < _ANSWERS.first:
            yield allow(f"port-{range_}", "inbound", EVERYWHERE, "tcp", range_)
