"""A site's network: its own, with one subnet, a firewall that is closed by default, and a NAT gateway where machines have no addresses.
Or the user's own network, in which nothing is made: the firewall is put on each machine's interface, beside what the subnet has.

Contract: pure. Inbound are only SSH from the declared ranges, the ports the task declares, and the machines themselves: the subnet's own
addresses, or in a network of the user's, which is shared, the members of an application security group.

The rules are few on purpose. Each has a priority that no other rule of the group may have at any time, so a rule per range or port
would need priorities that move when a list changes, and Azure refuses two that meet on the way. A rule here holds a whole list.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import EVERY_ZONE, ExistingNetwork
from ..rented.networks import IdForm, has_address, needs_way_out
from ..rented.ports import SSH, PortRange, ipv4
from .resources import GROUP, Site, ref

CIDR = "10.64.0.0/16"
"""Of every site. Sites are not joined, so they may share it."""
SUBNET = ipaddress.IPv4Network("10.64.0.0/20")
"""A subnet spans all zones of its region."""
HEAD = str(SUBNET[-2])
"""The head's address, fixed so that every other machine knows it before anything exists, and a new head has it again. Azure gives out
addresses from the low end, so a worker that is made first never takes this one."""
CLUSTER, OPEN_SSH, OPEN_PORTS, CLOSED = 100, 200, 300, 4096
"""Priorities; 4096 is the last, before Azure's own rules."""
OUT_ADDRESS = "out"
"""Name of the NAT gateway's address. A machine's ends in `-ip`."""
INTERNET = "Internet"
"""Azure's word for all addresses outside of the network."""


_VNET = r"/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+"
FORM = IdForm(
    network=re.compile(_VNET, re.IGNORECASE),
    subnet=re.compile(rf"{_VNET}/subnets/[^/]+", re.IGNORECASE),
    words="`vnet: /subscriptions/…/virtualNetworks/NAME` and `subnet: /subscriptions/…/virtualNetworks/NAME/subnets/NAME`",
    show="az network vnet list --query '[].subnets[].id'",
    regional=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joins:
    """What an interface in a network of the user's belongs to, each by an association of its own."""

    firewall: ResourceNode
    members: ResourceNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    subnets: FrozenMap[Value]
    """Zone → its subnet; EVERY_ZONE: of all that are not named."""
    firewall: tuple[ResourceAddress, ...]
    """What must be there before an interface is, and go after it."""
    way_out: tuple[ResourceAddress, ...] = ()
    """What must be there before a machine boots, which fetches packages, and go after it."""
    joins: Joins | None = None
    """None: the firewall is the subnet's, and the head's address is HEAD."""

    def subnet(self, zone: str | None) -> Value:
        return self.subnets.get(zone or EVERY_ZONE, next(iter(self.subnets.values())))


def network(site: Site, nodes: int, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    """`ports`: what the task opens, each with the place in its file, sorted. `nodes`: how many the site has."""
    own = site.context.network
    return _own(site, nodes, ports) if own is None else _existing(site, own, ports)


def strangers(own: ExistingNetwork) -> Iterator[str]:
    """Subnets of the user's that are not the network's."""
    for subnet in dict.fromkeys(own.subnets.values()):
        if FORM.subnet.fullmatch(subnet) and not subnet.lower().startswith(f"{own.id.lower()}/subnets/"):
            yield f"{subnet} is no subnet of {own.id}."


def _existing(site: Site, own: ExistingNetwork, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    members = site.placed("azurerm_application_security_group", "nodes", {"name": "members"})
    firewall = site.placed("azurerm_network_security_group", "nodes", {"name": "nodes"})
    inside: Value = (ref(members),)
    nodes = _Nodes(
        source={"source_application_security_group_ids": inside},
        destination={"destination_application_security_group_ids": inside},
        # Azure's word for the internet leaves out what comes through a peering or a gateway, as it does where no address is public.
        everybody=INTERNET if has_address(site.context, is_head=True) else "*",
    )
    rules = tuple(_rules(site, firewall, nodes, ports))
    return Network(
        resources=(members, firewall, *rules),
        subnets=FrozenMap(own.subnets),
        firewall=tuple(sorted((rule.address for rule in rules), key=str)),
        joins=Joins(firewall=firewall, members=members),
    )


def _own(site: Site, nodes: int, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    leads_out = needs_way_out(site.context, nodes)
    # Blob storage, beside the NAT gateway, which is paid by what goes through it. Only what is in the region goes this way.
    near: dict[str, Value] = {"service_endpoints": ("Microsoft.Storage",)} if leads_out else {}
    # ForceNew of all here: name, resource_group_name, location.
    net = site.placed("azurerm_virtual_network", "site", {"name": "network", "address_space": (CIDR,)})
    subnet = site.untagged(
        "azurerm_subnet",
        "nodes",
        {
            "name": "nodes",
            "resource_group_name": Ref(GROUP, "name"),
            "virtual_network_name": ref(net, "name"),
            "address_prefixes": (str(SUBNET),),
            # A machine whose address was forgotten reaches nothing, where Azure would lend it one of nobody's.
            "default_outbound_access_enabled": False,
            **near,
        },
    )
    firewall = site.placed("azurerm_network_security_group", "nodes", {"name": "nodes"})
    rules = tuple(_rules(site, firewall, OF_SUBNET, ports))
    association = site.untagged(
        "azurerm_subnet_network_security_group_association",
        "nodes",
        {"subnet_id": ref(subnet), "network_security_group_id": ref(firewall)},
        # Never in force without the rule that closes it.
        after=tuple(rule.address for rule in rules if rule.arguments["access"] == "Deny"),
    )
    way_out = tuple(_way_out(site, subnet)) if leads_out else ()
    return Network(
        resources=(net, subnet, firewall, *rules, association, *way_out),
        subnets=FrozenMap[Value]({EVERY_ZONE: ref(subnet)}),
        firewall=tuple(sorted((association.address, *(rule.address for rule in rules)), key=str)),
        way_out=tuple(node.address for node in way_out if node.address.type.endswith("_association")),
    )


def _way_out(site: Site, subnet: ResourceNode) -> Iterator[ResourceNode]:
    """A NAT gateway with an address of its own. All machines of the subnet go out through it, the head too, whose own address is then for
    who comes in (learn.microsoft.com/azure/nat-gateway/nat-overview). It has no zone: one for each zone would need a subnet for each, and
    machines without a zone have none to name; Azure then puts it into a zone of its choice."""
    # ForceNew: name, sku, zones.
    address = site.placed("azurerm_public_ip", "out", {"name": OUT_ADDRESS, "sku": "Standard", "allocation_method": "Static"})
    gateway = site.placed("azurerm_nat_gateway", "out", {"name": "out", "sku_name": "Standard"})
    addressed = site.untagged(
        "azurerm_nat_gateway_public_ip_association",
        "out",
        {"nat_gateway_id": ref(gateway), "public_ip_address_id": ref(address)},
    )
    served = site.untagged(
        "azurerm_subnet_nat_gateway_association",
        "out",
        {"subnet_id": ref(subnet), "nat_gateway_id": ref(gateway)},
        # A gateway without an address would lead nowhere.
        after=(addressed.address,),
    )
    yield from (address, gateway, addressed, served)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """How rules say "the machines", as the source and as the destination, and "everybody"."""

    source: dict[str, Value]
    destination: dict[str, Value]
    everybody: str = INTERNET


OF_SUBNET = _Nodes(
    source={"source_address_prefix": str(SUBNET)},
    destination={"destination_address_prefix": str(SUBNET)},
)


def _rules(
    site: Site, firewall: ResourceNode, nodes: _Nodes, ports: Sequence[tuple[PortRange, SpecPath]]
) -> Iterator[ResourceNode]:
    def rule(name: str, priority: int, said: str, origin: SpecPath | None = None, **arguments: Value) -> ResourceNode:
        everything: dict[str, Value] = {
            "name": name,
            "resource_group_name": Ref(GROUP, "name"),
            "network_security_group_name": ref(firewall, "name"),
            "priority": priority,
            "direction": "Inbound",
            "access": "Allow",
            "source_port_range": "*",
            "description": said,
        }
        return site.untagged("azurerm_network_security_rule", name, {**everything, **arguments}, origin=origin)

    anywhere: dict[str, Value] = {"protocol": "*", "destination_port_range": "*"}
    to_nodes = nodes.destination
    yield rule("cluster", CLUSTER, "Nodes among themselves", None, **nodes.source, **anywhere, **to_nodes)
    ranges = ssh_ranges(site.context.access.ssh_from)
    if ranges:
        port = str(SSH)
        opened: dict[str, Value] = {"protocol": "Tcp", "destination_port_range": port}
        # Said in the word that reviewers' tools look for.
        everything = ranges == ("0.0.0.0/0",)
        opened |= {"source_address_prefix": nodes.everybody} if everything else {"source_address_prefixes": ranges}
        yield rule("ssh", OPEN_SSH, "SSH", None, **opened, **to_nodes)
    if ports:
        opened = {
            "protocol": "Tcp",
            "source_address_prefix": nodes.everybody,
            "destination_port_ranges": tuple(map(str, _joined(range_ for range_, _ in ports))),
        }
        yield rule("ports", OPEN_PORTS, "Declared by the task", ports[0][1], **opened, **to_nodes)
    # Azure's own last rules let in whatever has joined the network by then, and its load balancers.
    yield rule(
        "closed",
        CLOSED,
        "Everything else",
        None,
        access="Deny",
        source_address_prefix="*",
        destination_address_prefix="*",
        **anywhere,
    )


def ssh_ranges(ssh_from: Iterable[str]) -> tuple[str, ...]:
    """The IPv4 ranges, sorted and joined where they meet: Azure takes no two in one rule that overlap."""
    return tuple(map(str, ipaddress.collapse_addresses(map(ipaddress.IPv4Network, ipv4(ssh_from)))))


def _joined(ranges: Iterable[PortRange]) -> Iterator[PortRange]:
    """Sorted, none overlapping or touching another."""
    held: PortRange | None = None
    for range_ in sorted(ranges):
        if held is not None and range_.first <= held.last + 1:
            held = PortRange(held.first, max(held.last, range_.last))
            continue
        if held is not None:
            yield held
        held = range_
    if held is not None:
        yield held
