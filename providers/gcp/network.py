"""A site's network: a VPC of its own with one subnetwork, a firewall that is closed by default, and Cloud NAT where machines have no
addresses. Or the user's own network, in which only the firewall is made, and an address kept for the head.

Contract: pure. Inbound are only SSH from the declared ranges, the ports the task declares, and the cluster itself; a VPC of skyc's own
has no other rule, and lets everything out. Rules apply by network tag, so in a network of the user's they are about the site's machines
alone. There Google's ready-made rules, and many a company's, let in whatever is in the network: one rule of ours, which counts before
those of the usual priority, denies the rest.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...compiler.ir import FrozenMap, Ref, ResourceAddress, ResourceNode, SpecPath, Value
from ..base import EVERY_ZONE, ExistingNetwork
from ..rented.names import description
from ..rented.networks import IdForm, needs_way_out
from ..rented.ports import SSH, PortRange, ipv4
from .resources import Site, ref

CIDR = ipaddress.IPv4Network("10.64.0.0/20")
"""Of every site. A subnetwork spans its region's zones. Sites are not joined, so they may share it."""
HEAD_ADDRESS = str(CIDR[-16])
"""Fixed, so that every other machine knows it before anything exists, and a new head has it again. Google gives addresses from the
low end of the range, so that no other machine of the site takes it first; the last two are Google's own."""
NAT_PORTS = 1024
"""Connections of one machine to one place at a time. Google's 64 are few for what fetches packages in parallel, since each stays taken
for two minutes after its end; so many leave 63 machines to one address of the NAT."""
OURS, REST = 900, 901
"""Priorities in a network of the user's. A rule that says none has 1000."""
_PROJECT = r"projects/(?P<project>[a-z][a-z0-9.:-]*)"
FORM = IdForm(
    network=re.compile(rf"(?:https://[^/]+/compute/v1/)?{_PROJECT}/global/networks/[a-z0-9-]+"),
    subnet=re.compile(rf"(?:https://[^/]+/compute/v1/)?{_PROJECT}/regions/(?P<region>[a-z0-9-]+)/subnetworks/[a-z0-9-]+"),
    words="`network: projects/PROJECT/global/networks/NAME` and `subnet: projects/PROJECT/regions/REGION/subnetworks/NAME`",
    show="gcloud compute networks subnets list --format='value(network,selfLink)'",
    regional=True,
    tags=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    resources: tuple[ResourceNode, ...]
    subnets: FrozenMap[Value]
    """Zone → its subnetwork; EVERY_ZONE: of all that are not named."""
    head: str | Ref
    """The head's address: known before anything exists, or that of a resource."""
    tags: tuple[str, ...]
    """The nodes' network tags."""
    firewall: tuple[ResourceAddress, ...] = ()
    """What must be there before a machine is, and go after it: in a network with rules of somebody else's."""
    way_out: tuple[ResourceAddress, ...] = ()
    """What must be there before a machine without an address boots, which fetches packages, and go after it."""

    def subnet(self, zone: str | None) -> Value:
        return self.subnets.get(zone or EVERY_ZONE, next(iter(self.subnets.values())))


def network(site: Site, head_zone: str | None, nodes: int, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    """`ports`: what the task opens, each with the place in its file. `head_zone`: where the head is. `nodes`: how many the site has."""
    own = site.context.network
    return _own(site, nodes, ports) if own is None else _existing(site, own, head_zone, ports)


def elsewhere(own: ExistingNetwork, region: str) -> Iterator[str]:
    """Subnetworks of the user's that are no place for machines in this region."""
    network = FORM.network.fullmatch(own.id)
    for subnet in dict.fromkeys(own.subnets.values()):
        found = FORM.subnet.fullmatch(subnet)
        if found is None or network is None:
            continue
        if found["region"] != region:
            yield f"{subnet} is in {found['region']}, and the machines are in {region}."
        elif found["project"] != network["project"]:
            yield f"{subnet} is in another project than the network {own.id}."


def _existing(site: Site, own: ExistingNetwork, head_zone: str | None, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
    found = FORM.network.fullmatch(own.id)
    assert found is not None, "checked before"
    # The head has it before it exists, and a new head has it again. ForceNew: all of it.
    address = site.labelled(
        "google_compute_address",
        "head",
        {
            "name": site.called("head"),
            "region": site.region,
            "address_type": "INTERNAL",
            "subnetwork": own.subnet(head_zone),
            "description": description(site.context),
        },
        labels={},
        origin=site.origin,
    )
    tag = site.called("node")
    # A shared network is another project's, and so are its rules.
    place = _Place(network=own.id, project=found["project"], tag=tag, priority=OURS)
    rules = () if own.tags else (*_rules(site, place, ports), _rest(site, place))
    return Network(
        resources=(address, *rules),
        subnets=FrozenMap(own.subnets),
        head=ref(address, "address"),
        tags=own.tags or (tag,),
        firewall=tuple(sorted((rule.address for rule in rules), key=str)),
    )


def _own(site: Site, nodes: int, ports: Sequence[tuple[PortRange, SpecPath]]) -> Network:
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
    rules = tuple(_rules(site, _Place(network=ref(vpc), tag=tag), ports))
    way_out = tuple(_way_out(site, vpc, subnetwork)) if needs_way_out(site.context, nodes) else ()
    return Network(
        resources=(vpc, subnetwork, *rules, *way_out),
        subnets=FrozenMap[Value]({EVERY_ZONE: ref(subnetwork)}),
        head=HEAD_ADDRESS,
        tags=(tag,),
        way_out=tuple(node.address for node in way_out if node.address.type == "google_compute_router_nat"),
    )


def _way_out(site: Site, vpc: ResourceNode, subnetwork: ResourceNode) -> Iterator[ResourceNode]:
    """Cloud NAT, which is a part of a router. What has an address of its own does not use it, and Google's own services, Cloud Storage
    among them, are reached beside it (`private_ip_google_access`)."""
    # ForceNew: name, network, region.
    router = site.described(
        "google_compute_router", "out", {"name": site.called("out"), "network": ref(vpc), "region": site.region}
    )
    yield router
    # ForceNew: name, router, region.
    yield site.plain(
        "google_compute_router_nat",
        "out",
        {
            "name": site.called("out"),
            "router": ref(router, "name"),
            "region": site.region,
            # As many as the ports below need.
            "nat_ip_allocate_option": "AUTO_ONLY",
            "source_subnetwork_ip_ranges_to_nat": "LIST_OF_SUBNETWORKS",
            "subnetwork": (FrozenMap[Value]({"name": ref(subnetwork), "source_ip_ranges_to_nat": ("PRIMARY_IP_RANGE",)}),),
            "min_ports_per_vm": NAT_PORTS,
            # A port may serve connections to several places at once.
            "enable_endpoint_independent_mapping": False,
            # Connections that found no port, and nothing else: logs are charged by their size.
            "log_config": FrozenMap[Value]({"enable": True, "filter": "ERRORS_ONLY"}),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where rules are made, and for which machines."""

    network: Value
    tag: str
    project: str | None = None
    """None: the one Terraform works in."""
    priority: int | None = None
    """None: as the provider has it."""


def _rules(site: Site, place: _Place, ports: Sequence[tuple[PortRange, SpecPath]]) -> Iterator[ResourceNode]:
    yield _rule(site, place, "cluster", {"source_tags": (place.tag,), "allow": _matching("all")})
    ranges = ipv4(site.context.access.ssh_from)
    if ranges:
        yield _rule(site, place, "ssh", {"source_ranges": ranges, "allow": _matching("tcp", str(SSH))})
    for range_, origin in ports:
        opened: dict[str, Value] = {"source_ranges": ("0.0.0.0/0",), "allow": _matching("tcp", str(range_))}
        yield _rule(site, place, f"port-{range_}", opened, origin)


def _rest(site: Site, place: _Place) -> ResourceNode:
    closed: dict[str, Value] = {"source_ranges": ("0.0.0.0/0",), "deny": _matching("all"), "priority": REST}
    return _rule(site, place, "rest", closed)


def _rule(site: Site, place: _Place, what: str, arguments: dict[str, Value], origin: SpecPath | None = None) -> ResourceNode:
    # ForceNew: name, network, direction, project.
    common: dict[str, Value] = {
        "name": site.called(what),
        "network": place.network,
        "direction": "INGRESS",
        "target_tags": (place.tag,),
    }
    if place.project is not None:
        common["project"] = place.project
    if place.priority is not None:
        common["priority"] = place.priority
    return site.described("google_compute_firewall", what, {**common, **arguments}, origin=origin)


def _matching(protocol: str, *ports: str) -> Value:
    given: dict[str, Value] = {"protocol": protocol}
    if ports:
        given["ports"] = ports
    return (FrozenMap[Value](given),)
