"""The fast network between machines at AWS: Elastic Fabric Adapters (EFA).

Contract: pure. Which machines have adapters, the interfaces that carry them, and what else they need: a rule, an address, a driver.

The interfaces stand in the launch template, so they come and go with their machine: an adapter cannot be attached to one that runs.
Interfaces that are resources of their own would be 32 for each P5, and would never have an address by themselves. To several interfaces
in one request EC2 gives no public address (EC2 API Reference, InstanceNetworkInterfaceSpecification), so such a machine has an Elastic IP;
one with a single interface has the address that counts on no quota.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...compiler.ir import FrozenMap, ResourceAddress, ResourceNode, SpecPath, Value
from ..rented.cloud_init import UNBOUND_MEMORY, ray_settings
from .resources import Site, ref

_TYPES = """
c5n: 9xlarge 18xlarge metal
c6a m6a r6a: 48xlarge metal
c6gn i4g im4gn: 16xlarge
c6i c6id i4i m6i m6id r6i r6id x2idn x2iedn: 32xlarge metal
c6in m6idn m6in r6idn r6in: 32xlarge=2 metal=2
c7a c7i c8a c9g c9gd i7ie i8g i8ge m7a m7i m8a m9g m9gd r7a r7i r8a r9g r9gd: 48xlarge metal-48xl
c7g c7gd c7gn m7g m7gd r7g r7gd: 16xlarge metal
c8g c8gd m8g m8gd r8g r8gd x8g: 24xlarge 48xlarge metal-24xl metal-48xl
c8gb c8gn m8gb m8gn r8gb r8gn: 16xlarge 24xlarge 48xlarge=2 metal-24xl metal-48xl=2
c8i c8id m8i m8id r8i r8id: 48xlarge 96xlarge metal-48xl metal-96xl
c8ib c8in m8ib m8idb m8idn m8in r8ib r8idb r8idn r8in: 48xlarge 96xlarge=2 metal-48xl metal-96xl=2
dl2q inf1 p3dn vt1: 24xlarge
f2 hpc6a: 48xlarge
g4dn: 8xlarge 12xlarge 16xlarge metal
g5 g6: 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge
g6e: 8xlarge 12xlarge 16xlarge 24xlarge=2 48xlarge=4
g7: 8xlarge 12xlarge 24xlarge 48xlarge=2
g7e: 8xlarge 12xlarge 24xlarge=2 48xlarge=4
gr6: 8xlarge
hpc6id: 32xlarge
hpc7a: 12xlarge=2 24xlarge=2 48xlarge=2 96xlarge=2
hpc7g: 4xlarge 8xlarge 16xlarge
hpc8a: 96xlarge=2
i3en: 12xlarge 24xlarge metal
i7i: 24xlarge 48xlarge metal-48xl
m5dn m5n r5dn r5n: 24xlarge metal
m5zn x2iezn: 12xlarge metal
m8azn x8aedz: 24xlarge metal-24xl
p4d p4de: 24xlarge=4
p5: 4xlarge 48xlarge=32
p5e: 48xlarge=32
p5en p6-b300 trn2u: 48xlarge=16
p6-b200: 48xlarge=8
r7iz: 32xlarge metal-32xl
trn1: 32xlarge=8
trn1n: 32xlarge=16
trn2: 3xlarge 48xlarge=16
u7i-12tb: 224xlarge
u7i-6tb u7i-8tb: 112xlarge
u7in-16tb u7in-24tb u7in-32tb: 224xlarge=2
x8i: 48xlarge 64xlarge 96xlarge metal-48xl metal-96xl
"""
"""Families: their sizes with adapters, and how many those have where it is more than one. EC2's DescribeInstanceTypes (`EfaInfo`,
`NetworkCards`), as moto 5.2 has recorded it; a test compares. The second card of an hpc6id has room for one interface alone, which would
have to be its device 0, as the primary one is; one adapter is used there."""

ADAPTERS: FrozenMap[int] = FrozenMap(
    {
        f"{family}.{size}": int(count or 1)
        for line in _TYPES.split("\n")
        if line
        for families, sizes in [line.split(": ")]
        for family in families.split()
        for size, _, count in (word.partition("=") for word in sizes.split())
    }
)
"""Machine type → how many adapters it has, one on each network card."""
_NOT_ON_THE_FIRST = frozenset({"p6-b300.48xlarge"})
"""Their first network card carries IP alone (`NetworkCards`: its interface types)."""
FREE_ADDRESSES = 5
"""Elastic IP addresses an account has per region unless it asked for more (EC2 user guide, "Elastic IP address quota")."""

PACKAGES = ("ibverbs-providers", "libfabric-bin", "libfabric1")
"""Ubuntu's own, for its plain image: libfabric with the provider `efa`, the library it speaks to the driver with, and `fi_info`. The
driver is part of Ubuntu's kernel for AWS."""
_PATIENT = FrozenMap({"/etc/apt/apt.conf.d/80-skyc": 'Acquire::Retries "10";\n'})
"""Who is not on the internet yet when it first wants a package."""


def interfaces(
    machine: str, subnet: Value, group: Value, *, public: bool, private_ip: str | None = None
) -> tuple[FrozenMap[Value], ...]:
    """`network_interfaces` of the launch template of a machine that has adapters: the first carries IP, and an adapter too where its
    card takes one; the others are adapters alone, one on each further card."""
    count = ADAPTERS[machine]
    plain = machine in _NOT_ON_THE_FIRST
    everywhere: dict[str, Value] = {"subnet_id": subnet, "security_groups": (group,), "delete_on_termination": "true"}
    first: dict[str, Value] = {"device_index": 0, "network_card_index": 0, "interface_type": "interface" if plain else "efa"}
    if private_ip is not None:
        first["private_ip_address"] = private_ip
    if not several(machine):
        first["associate_public_ip_address"] = "true" if public else "false"
    # Device 1 of each further card: the provider takes whatever is device 0 for the primary interface.
    others: list[dict[str, Value]] = [
        {"device_index": 1, "network_card_index": card, "interface_type": "efa-only"}
        for card in range(1, count + 1 if plain else count)
    ]
    return tuple(FrozenMap[Value]({**everywhere, **own}) for own in (first, *others))


def several(machine: str) -> bool:
    """Whether it has more than one interface, so that EC2 gives it no public address."""
    return ADAPTERS[machine] > 1 or machine in _NOT_ON_THE_FIRST


def address(site: Site, node: ResourceNode, label: str, origin: SpecPath, after: tuple[ResourceAddress, ...]) -> ResourceNode:
    """An Elastic IP on a machine's primary interface. It outlives the machine's replacement and its stops."""
    # ForceNew: domain.
    arguments: dict[str, Value] = {"domain": "vpc", "network_interface": ref(node, "primary_network_interface_id")}
    return site.tagged("aws_eip", node.address.name, arguments, label=label, origin=origin, after=after)


def rule(site: Site, group: ResourceNode) -> ResourceNode:
    """Adapters want the group itself named on the way out too; that all addresses are allowed does not do (EC2 user guide, "Get started
    with EFA", step 1)."""
    return site.tagged(
        "aws_vpc_security_group_egress_rule",
        "cluster",
        {
            "security_group_id": ref(group),
            "referenced_security_group_id": ref(group),
            "ip_protocol": "-1",
            "description": "Nodes among themselves",
        },
    )


def packages(*, own: bool, accelerated: bool) -> tuple[str, ...]:
    """What the first boot installs. AWS's Deep Learning images have driver and libraries; an image of the user's is left as it is."""
    return () if own or accelerated else PACKAGES


def files(*, own: bool, accelerated: bool, late: bool) -> FrozenMap[str]:
    """Path → content of what the first boot writes. late: its address, or the network's way out, comes after the machine has started."""
    # A job that asks for the fast network fails loudly where libfabric would take TCP. Elsewhere the driver is not known to be there.
    chosen = ("Environment=FI_PROVIDER=efa",) if accelerated and not own else ()
    patient = _PATIENT if late and packages(own=own, accelerated=accelerated) else {}
    return FrozenMap({**patient, **ray_settings(UNBOUND_MEMORY, *chosen)})


_SIZE = re.compile(r"\d+")


def with_adapters(machine: str) -> Iterator[str]:
    """Sizes of the machine's own family that have adapters, the smallest first."""
    family = machine.partition(".")[0]
    found = [name for name in ADAPTERS if name.partition(".")[0] == family]
    yield from sorted(found, key=lambda name: ("metal" in name, int((_SIZE.search(name.partition(".")[2]) or ["0"])[0])))
