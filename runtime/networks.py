"""The user's own networks, from `networks:` in `<home>/config.yaml`: machines in a region that is named there go into that network.

    networks:
      aws:
        us-east-1:
          vpc: vpc-0123456789abcdef0
          subnets: {use1-az1: subnet-0123456789abcdef0, use1-az4: subnet-0fedcba9876543210}

What a cloud calls its network may be written: `vpc`, `vnet` or `network`. Ids are used as they are; nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..compiler.diagnostics import SkycError, error
from ..compiler.ir import FrozenMap
from ..providers.base import ExistingNetwork
from .access import read_config

NAMES = ("network", "vnet", "vpc")


def read_networks(home: Path) -> Mapping[tuple[str, str], ExistingNetwork]:
    """(provider, region) → the network. Raises SkycError for what cannot be read."""
    given = read_config(home).get("networks")
    if given is None:
        return {}
    found = {}
    for provider, regions in _mapping(given, "networks").items():
        for region, row in _mapping(regions, f"networks.{provider}").items():
            found[provider, region] = _network(row, f"networks.{provider}.{region}")
    return found


def _network(row: Any, where: str) -> ExistingNetwork:
    fields = _mapping(row, where)
    odd = sorted(set(fields) - {*NAMES, "subnets"})
    if odd:
        _refuse(where, f"`{odd[0]}` is no field of a network.")
    ids = [fields[name] for name in NAMES if name in fields]
    if len(ids) != 1:
        _refuse(where, "Exactly one of `vpc`, `vnet` and `network` names it.")
    subnets = _mapping(fields.get("subnets"), f"{where}.subnets")
    if not subnets:
        _refuse(where, "It names no subnet.")
    for place, value in ((where, ids[0]), *((f"{where}.subnets.{zone}", value) for zone, value in subnets.items())):
        if not isinstance(value, str) or not value:
            _refuse(place, f"{value!r} is no id.")
    return ExistingNetwork(id=ids[0], subnets=FrozenMap(subnets))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        _refuse(where, "A mapping of names is expected there.")
    return value


def _refuse(where: str, why: str) -> NoReturn:
    raise SkycError(
        error(
            "bad-network",
            "A network in the configuration cannot be read",
            f"`{where}` in config.yaml: {why}",
            hint="write `networks: {aws: {us-east-1: {vpc: vpc-…, subnets: {use1-az1: subnet-…}}}}`",
        )
    )
