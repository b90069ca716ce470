"""A site's network: its own, with one subnet and a firewall that is closed by default.

Contract: pure. Inbound are only SSH from the declared ranges, the ports the task declares, and the subnet's own addresses.

The rules are few on purpose. Each has a priority that no other rule of the group may have at any time, so a rule per range or port
would need priorities that move when a list changes, and Azure refuses two that meet on the way. A rule here holds a whole list.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...compiler.diagnostics import Diagnostic, warning
from ...compiler.ir import Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..rented.ports import SSH, PortRange
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
INTERNET = "Internet"
"""Azure's word for all addresses outside of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    subnet: ResourceNode
    firewall: tuple[ResourceAddress, ...]
    """What must be there before an interface is, and go after it."""


def network(site: Site, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    """`ports`: what the task opens, each with the place in its file, sorted."""
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
        },
    )
    firewall = site.placed("azurerm_network_security_group", "nodes", {"name": "nodes"})
    rules = tuple(_rules(site, firewall, ports))
    association = site.untagged(
        "azurerm_subnet_network_security_group_association",
        "nodes",
        {"subnet_id": ref(subnet), "network_security_group_id": ref(firewall)},
        # Never in force without the rule that closes it.
        after=tuple(rule.address for rule in rules if rule.arguments["access"] == "Deny"),
    )
    return Network(
        resources=(net, subnet, firewall, *rules, association),
        subnet=subnet,
        firewall=tuple(sorted((association.address, *(rule.address for rule in rules)), key=str)),
    )


def _rules(site: Site, firewall: ResourceNode, ports: Sequence[tuple[PortRange, SpecPath]]) -> Iterator[ResourceNode]:
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
    to_nodes: dict[str, Value] = {"destination_address_prefix": str(SUBNET)}
    yield rule("cluster", CLUSTER, "Nodes among themselves", None, source_address_prefix=str(SUBNET), **anywhere, **to_nodes)
    ranges = ssh_ranges(site.context.access.ssh_from)
    if ranges:
        port = str(SSH)
        opened: dict[str, Value] = {"protocol": "Tcp", "destination_port_range": port}
        # Said in the word that reviewers' tools look for.
        everything = ranges == ("0.0.0.0/0",)
        opened |= {"source_address_prefix": INTERNET} if everything else {"source_address_prefixes": ranges}
        yield rule("ssh", OPEN_SSH, "SSH", None, **opened, **to_nodes)
    if ports:
        opened = {
            "protocol": "Tcp",
            "source_address_prefix": INTERNET,
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
    wanted = [network for network in map(ipaddress.ip_network, ssh_from) if isinstance(network, ipaddress.IPv4Network)]
    return tuple(map(str, ipaddress.collapse_addresses(wanted)))


def left_out(ssh_from: Iterable[str], target: str) -> Iterator[Diagnostic]:
    """Ranges from which nobody can come."""
    found = [text for text in ssh_from if ":" in text]
    if found:
        detail = f"`access.ssh_from` on `{target}`: machines there have IPv4 addresses only, so {', '.join(found)} is left out."
        yield warning("ignored-here", "The target ignores this field", detail)


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
