"""A site's network: a VPC of its own with one subnetwork, and a firewall that is closed by default.

Contract: pure. Inbound are only SSH from the declared ranges, the ports the task declares, and the cluster itself; a VPC of one's own
has no other rule, and lets everything out. Rules apply by network tag: nothing but the site's machines is in its network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, ResourceNode, SpecPath, Value
from ..rented.ports import SSH, PortRange
from .resources import Site, ref

CIDR = ipaddress.IPv4Network("10.64.0.0/20")
"""Of every site. A subnetwork spans its region's zones. Sites are not joined, so they may share it."""
HEAD_ADDRESS = str(CIDR[-16])
"""Fixed, so that every other machine knows it before anything exists, and a new head has it again. Google gives addresses from the
low end of the range, so that no other machine of the site takes it first; the last two are Google's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    subnetwork: ResourceNode
    tag: str
    """The nodes' network tag."""


def network(site: Site, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    """`ports`: what the task opens, each with the place in its file."""
    # ForceNew: name, description. Automatic subnetworks would be one in every region of the world.
    vpc = site.described(
        "google_compute_network",
        "site",
        {"name": site.called(), "auto_create_subnetworks": False, "routing_mode": "REGIONAL"},
    )
    # ForceNew: name, network, region, description.
    subnetwork = site.described(
        "google_compute_subnetwork",
        "nodes",
        {
            "name": site.called(),
            "network": ref(vpc),
            "region": site.region,
            "ip_cidr_range": str(CIDR),
            "stack_type": "IPV4_ONLY",
            # Buckets are reached without leaving Google's network.
            "private_ip_google_access": True,
        },
    )
    tag = site.called("node")
    rules = tuple(_rules(site, vpc, tag, ports))
    return Network(resources=(vpc, subnetwork, *rules), subnetwork=subnetwork, tag=tag)


def ssh_ranges(ssh_from: Sequence[str]) -> tuple[str, ...]:
    """The declared ranges that can reach machines with IPv4 addresses."""
    return tuple(dict.fromkeys(text for text in ssh_from if ":" not in text))


def _rules(site: Site, vpc: ResourceNode, tag: str, ports: Sequence[tuple[PortRange, SpecPath]]) -> Iterator[ResourceNode]:
    yield _rule(site, vpc, tag, "cluster", {"source_tags": (tag,), "allow": _allowed("all")})
    ranges = ssh_ranges(site.context.access.ssh_from)
    if ranges:
        yield _rule(site, vpc, tag, "ssh", {"source_ranges": ranges, "allow": _allowed("tcp", str(SSH))})
    for range_, origin in ports:
        opened: dict[str, Value] = {"source_ranges": ("0.0.0.0/0",), "allow": _allowed("tcp", str(range_))}
        yield _rule(site, vpc, tag, f"port-{range_}", opened, origin)


def _rule(
    site: Site, vpc: ResourceNode, tag: str, what: str, arguments: dict[str, Value], origin: SpecPath | None = None
) -> ResourceNode:
    # ForceNew: name, network, direction.
    common: dict[str, Value] = {
        "name": site.called(what),
        "network": ref(vpc),
        "direction": "INGRESS",
        "target_tags": (tag,),
    }
    return site.described("google_compute_firewall", what, {**common, **arguments}, origin=origin)


def _allowed(protocol: str, *ports: str) -> Value:
    given: dict[str, Value] = {"protocol": protocol}
    if ports:
        given["ports"] = ports
    return (FrozenMap[Value](given),)
