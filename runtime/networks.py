"""The user's own networks, from `networks:` in `<home>/config.yaml`: machines in a region that is named there go into that network.

    networks:
      aws:
        us-east-1:
          vpc: vpc-0123456789abcdef0
          subnets: {use1-az1: subnet-0123456789abcdef0, use1-az4: subnet-0fedcba9876543210}
      gcp:
        us-central1:
          network: projects/net-host/global/networks/shared
          subnet: projects/net-host/regions/us-central1/subnetworks/training
          public: false

What a cloud calls its network may be written: `vpc`, `vnet` or `network`. `subnet` is for clouds whose subnets span a region's zones.
`public: false`: machines get no address outside of the network. `tags` (gcp): network tags by which rules of the user's own let in
what is needed, instead of a firewall of ours. Ids are used as they are; nothing is looked up. A mistake has its line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..compiler.diagnostics import SkycError, Span, error
from ..compiler.ir import FrozenMap
from ..compiler.parse import read_source
from ..compiler.parse.nearest import nearest
from ..compiler.parse.nodes import Mapping as MappingNode
from ..compiler.parse.nodes import Node, Scalar, Sequence, compose
from ..providers.base import EVERY_ZONE, Capability, ExistingNetwork, Provider
from .access import CONFIG

NAMES = ("network", "vnet", "vpc")
FIELDS = (*NAMES, "public", "subnet", "subnets", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A value of the file: where its name stands, and what it is called from the top (`networks.aws.us-east-1`)."""

    name: str
    path: str
    span: Span
    node: Node


def read_networks(home: Path, providers: Mapping[str, Provider]) -> Mapping[tuple[str, str], ExistingNetwork]:
    """(provider, region) → the network. Raises SkycError for what cannot be read, and for a target or region that there is not."""
    path = home / CONFIG
    if not path.exists():
        return {}
    source, said = read_source(path)
    if source is None:
        detail = said[0].detail
        raise SkycError(error("bad-config", "The configuration file cannot be read", detail, hint="correct or remove it"))
    # What else is wrong with the file is said by who reads that.
    documents, _ = compose(source)
    top = next((node for node in documents or () if node is not None), None)
    found: dict[tuple[str, str], ExistingNetwork] = {}
    for key, value in top.entries if isinstance(top, MappingNode) else ():
        if key.text != "networks" or (isinstance(value, Scalar) and value.is_null):
            continue
        for target in _entries(_Entry(name="networks", path="networks", span=key.span, node=value)):
            regions = _regions(target, providers, home)
            for region in _entries(target):
                if region.name not in regions:
                    _refuse(region, f"`{target.name}` has no region of this name.", _meant(region.name, regions))
                found[target.name, region.name] = _network(region)
    return found


def _regions(target: _Entry, providers: Mapping[str, Provider], home: Path) -> frozenset[str]:
    """The regions of a target that puts machines into networks of the user's."""
    able = sorted(name for name, provider in providers.items() if Capability.OWN_NETWORK in provider.capabilities)
    if target.name not in able:
        who = ", ".join(f"`{name}`" for name in able) or "no target"
        _refuse(target, f"No machines are put into networks of yours there; {who} can.", _meant(target.name, able))
    return frozenset(place.region for place in providers[target.name].catalog(home=home).offers.places)


def _network(region: _Entry) -> ExistingNetwork:
    fields = {entry.name: entry for entry in _entries(region)}
    for name, entry in fields.items():
        if name not in FIELDS:
            _refuse(entry, f"`{name}` is no field of a network.", _meant(name, FIELDS))
    ids = [fields[name] for name in NAMES if name in fields]
    if len(ids) != 1:
        _refuse(region, "Exactly one of `vpc`, `vnet` and `network` names it.")
    if "subnet" in fields and "subnets" in fields:
        _refuse(fields["subnet"], "`subnet` serves every zone and `subnets` one each: only one of them can be said.")
    subnets = {EVERY_ZONE: _text(fields["subnet"])} if "subnet" in fields else {}
    if "subnets" in fields:
        subnets = {entry.name: _text(entry) for entry in _entries(fields["subnets"])}
    if not subnets:
        _refuse(region, "It names no subnet.")
    return ExistingNetwork(
        id=_text(ids[0]),
        subnets=FrozenMap(subnets),
        public="public" not in fields or _said(fields["public"]),
        tags=_texts(fields["tags"]) if "tags" in fields else (),
        span=region.span,
    )


def _entries(above: _Entry) -> list[_Entry]:
    node = above.node
    if not isinstance(node, MappingNode):
        _refuse(above, "A mapping of names is expected there.")
    return [_Entry(name=key.text, path=f"{above.path}.{key.text}", span=key.span, node=value) for key, value in node.entries]


def _text(entry: _Entry) -> str:
    node = entry.node
    if not isinstance(node, Scalar) or node.tag != "str" or not node.text:
        _refuse(entry, "It is no id.")
    return node.text


def _texts(entry: _Entry) -> tuple[str, ...]:
    node = entry.node
    items = node.items if isinstance(node, Sequence) else [node]
    return tuple(_text(_Entry(name=entry.name, path=entry.path, span=entry.span, node=item)) for item in items)


def _said(entry: _Entry) -> bool:
    node = entry.node
    if not isinstance(node, Scalar) or node.tag != "bool":
        _refuse(entry, "It is `true` or `false`.")
    return node.text.lower() in ("true", "yes", "on")


def _meant(word: str, known: Collection[str]) -> str | None:
    close = nearest(word, known)
    return None if close is None else f"did you mean `{close}`?"


def _refuse(entry: _Entry, why: str, hint: str | None = None) -> NoReturn:
    raise SkycError(
        error(
            "bad-network",
            "A network in the configuration cannot be read",
            f"`{entry.path}` in config.yaml: {why}",
            span=entry.span,
            hint=hint or "write `networks: {aws: {us-east-1: {vpc: vpc-…, subnets: {use1-az1: subnet-…}}}}`",
        )
    )
