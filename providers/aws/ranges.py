"""Where in a site's network everything lies. Every range follows from a zone alone: another zone coming into use moves no subnet, since a
new range replaces it.

    10.64.0.0/16    ranges 0 to 7     a zone's machines, or the head
                    ranges 8 to 14    a zone's machines beside a head that alone has a public address
                    range 15          the NAT gateway, in a subnet without machines, so that it takes nobody's address
"""

from __future__ import annotations

import ipaddress
import re

CIDR = ipaddress.IPv4Network("10.64.0.0/16")
"""Of every site. Sites are not joined, so they may share it."""
_SUBNETS = tuple(CIDR.subnets(new_prefix=20))
_INSIDE = 8
"""The first range of subnets without a way in. No zone of AWS has a number above 6."""
GATEWAY = next(_SUBNETS[15].subnets(new_prefix=28))
"""The smallest that AWS makes."""
_FIRST_HOST = 10
"""AWS keeps the first four addresses of a subnet."""


def zone_number(zone: str | None) -> int:
    """The number at the end of a zone id (`use1-az4` → 4); 0 when AWS chooses the zone."""
    match = re.search(r"-az(\d+)$", zone or "")
    return int(match[1]) if match else 0


def zone_range(zone: str | None) -> ipaddress.IPv4Network:
    return _SUBNETS[zone_number(zone) % len(_SUBNETS)]


def inside_range(zone: str | None) -> ipaddress.IPv4Network:
    """Of a zone's machines that have no public address, where the head has one."""
    return _SUBNETS[_INSIDE + zone_number(zone) % 7]


def head_address(zone: str | None) -> str:
    """The head's address, fixed so that every other machine knows it before anything exists, and a new head has it again."""
    return str(zone_range(zone)[_FIRST_HOST])
