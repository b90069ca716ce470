"""What a run in a real account may do, from its environment: nothing, until somebody has said each of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

CLOUDS = ("aws", "gcp", "azure", "ibm")


class Refused(Exception):
    """The run does not begin; nothing was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`most`: US dollars one hour may cost at worst. `ssh_from`: the CIDR range SSH is opened to."""

    cloud: str
    most: Decimal
    ssh_from: str


def settings(cloud: str, environ: Mapping[str, str]) -> Settings:
    """Raises Refused, which says what is missing."""
    if cloud not in CLOUDS:
        raise Refused(f"There is no cloud {cloud!r}: {', '.join(CLOUDS)}.")
    if environ.get("SKYC_E2E") != cloud:
        raise Refused(f"This rents a machine at {cloud} and costs money. Set SKYC_E2E={cloud} if you mean that.")
    given = environ.get("SKYC_E2E_MAX_USD", "")
    try:
        most = Decimal(given)
    except InvalidOperation:
        most = Decimal("NaN")
    if not (most.is_finite() and most > 0):
        raise Refused(f"SKYC_E2E_MAX_USD is {given!r}: set it to the most US dollars one hour may cost, such as 0.50.")
    ssh_from = environ.get("SKYC_E2E_SSH_FROM", "")
    if not ssh_from:
        raise Refused("SKYC_E2E_SSH_FROM names nobody who may log in: set it to your own address, such as 203.0.113.7/32.")
    return Settings(cloud=cloud, most=most, ssh_from=ssh_from)
