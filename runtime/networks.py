"""The machines' networks, from `networks:` in `<home>/config.yaml`: machines in a region whose network is named there go into that one, and
`public` says which machines get a public address.

    networks:
      azure: {public: true}
      aws:
        us-west-2: {public: true}
        us-east-1:
          vpc: vpc-0123456789abcdef0
          subnets: {use1-az1: subnet-0123456789abcdef0, use1-az4: subnet-0fedcba9876543210}
      gcp:
        us-central1:
          network: projects/net-host/global/networks/shared
          subnet: projects/net-host/regions/us-central1/subnetworks/training
          public: false

What a cloud calls its network may be written: `vpc`, `vnet` or `network`. `subnet` is for clouds whose subnets span a region's zones.
`public`: `head`, a site's first node alone has an address outside of the network, which holds where nothing is said; `true`, every machine;
`false`, none, which is for networks of the user's, since nobody could reach machines in one that skyc makes. Beside the regions it is said
for all of them, and a region's own word wins. `tags` (gcp): network tags by which rules of the user's own let in what is needed, instead
of a firewall of ours.
Ids are used as they are; nothing is looked up. A mistake has its line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..compiler.diagnostics import Diagnostic, SkycError, Span, error
from ..compiler.ir import Addresses, FrozenMap
from ..compiler.ir.catalog import CatalogPart
from ..compiler.parse.nearest import nearest
from ..compiler.parse.nodes import Mapping as MappingNode
from ..compiler.parse.nodes import Node, Scalar, Sequence
from ..compiler.unknown import Unknown, unknown_region, unknown_zone, zones_of
from ..providers.base import EVERY_ZONE, Capability, ExistingNetwork, NetworkChoice, Provider, ZoneNames, usual_addresses
from .config_entry import config_entry

NAMES = ("network", "vnet", "vpc")
PUBLIC = "public"
FIELDS = (*NAMES, PUBLIC, "subnet", "subnets", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A value of the file: where its name stands, and what it is called from the top (`networks.aws.us-east-1`)."""

    name: str
    path: str
    span: Span
    node: Node


def read_networks(home: Path, providers: Mapping[str, Provider]) -> Mapping[tuple[str, str], NetworkChoice]:
    """(provider, region) → what is said of it, where that is not what holds anyway. Raises SkycError with every value that cannot be read,
    and every target, region or zone that there is not."""
    written = config_entry(home, "networks")
    if written is None or (isinstance(written.value, Scalar) and written.value.is_null):
        return {}
    # What else is wrong with the file is said by who reads that.
    found: dict[tuple[str, str], NetworkChoice] = {}
    mistakes: list[Diagnostic] = []
    for entry in _entries(_Entry(name="networks", path="networks", span=written.key.span, node=written.value)):
        with _kept(mistakes):
            found |= _choices(entry, _target(entry, providers, home), providers, mistakes)
    if mistakes:
        raise SkycError(*dict.fromkeys(mistakes))
    return found


@contextmanager
def _kept(mistakes: list[Diagnostic]) -> Iterator[None]:
    """What is wrong with one entry does not keep the next one from being read."""
    try:
        yield
    except SkycError as failure:
        mistakes += failure.diagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """One that puts machines into networks of the user's, and its part of the catalog, which knows regions and zones."""

    provider: Provider
    part: CatalogPart

    @property
    def zone_names(self) -> dict[str, ZoneNames]:
        said = self.provider.zone_names
        return {} if said is None else {self.provider.name: said}

    def such_as(self, region: str) -> str:
        """A zone of the region, for a hint; nothing where the catalog knows none."""
        known, _ = zones_of(self.part, region)
        return f", such as `{known[0]}`" if known else ""


def _target(entry: _Entry, providers: Mapping[str, Provider], home: Path) -> _Target:
    able = sorted(name for name, provider in providers.items() if Capability.OWN_NETWORK in provider.capabilities)
    if entry.name not in able:
        who = ", ".join(f"`{name}`" for name in able) or "no target"
        _refuse(entry, f"No machines are put into networks of yours there; {who} can.", _meant(entry.name, able))
    return _Target(provider=providers[entry.name], part=providers[entry.name].catalog(home=home))


def _choices(
    above: _Entry, target: _Target, providers: Mapping[str, Provider], mistakes: list[Diagnostic]
) -> dict[tuple[str, str], NetworkChoice]:
    """What is said of a target's regions, where that is not what holds anyway."""
    name, entries = above.name, _entries(above)
    unsaid = usual = usual_addresses(target.provider.capabilities)
    for entry in entries:
        if entry.name == PUBLIC:
            with _kept(mistakes):
                usual = _addresses(entry, name, providers, made=True)
    regions = sorted({place.region for place in target.part.offers.places})
    chosen = {region: NetworkChoice(public=usual) for region in regions}
    for entry in entries:
        if entry.name == PUBLIC:
            continue
        with _kept(mistakes):
            if entry.name not in chosen:
                odd = unknown_region(entry.name, [target.part], target.zone_names)
                _refuse_name(entry, odd or Unknown(why="The catalog knows no region there."))
            chosen[entry.name] = _choice(entry, target, providers, usual, mistakes)
    return {(name, region): choice for region, choice in chosen.items() if choice != NetworkChoice(public=unsaid)}


def _choice(
    region: _Entry, target: _Target, providers: Mapping[str, Provider], usual: Addresses, mistakes: list[Diagnostic]
) -> NetworkChoice:
    """What a region's entry says. usual: what holds where it does not say which machines have an address."""
    fields = {entry.name: entry for entry in _entries(region)}
    made, public = fields.keys() == {PUBLIC}, usual
    if PUBLIC in fields:
        with _kept(mistakes):
            public = _addresses(fields[PUBLIC], target.provider.name, providers, made=made)
    return NetworkChoice(existing=None if made else _network(region, fields, target, mistakes), public=public)


def _network(region: _Entry, fields: Mapping[str, _Entry], target: _Target, mistakes: list[Diagnostic]) -> ExistingNetwork:
    before = len(mistakes)
    for name, entry in fields.items():
        if name not in FIELDS:
            with _kept(mistakes):
                _refuse(entry, f"`{name}` is no field of a network.", _meant(name, FIELDS))
    ids = [fields[name] for name in NAMES if name in fields]
    if len(ids) != 1:
        _refuse(region, "Exactly one of `vpc`, `vnet` and `network` names it.")
    if "subnet" in fields and "subnets" in fields:
        _refuse(fields["subnet"], "`subnet` serves every zone and `subnets` one each: only one of them can be said.")
    subnets = {EVERY_ZONE: _text(fields["subnet"])} if "subnet" in fields else {}
    zones = _entries(fields["subnets"]) if "subnets" in fields else []
    odd = {entry.name: unknown_zone(entry.name, region.name, [target.part], target.zone_names) for entry in zones}
    # A zone that only the catalog does not know, beside one that it does, is one without machines: no reason to stop.
    some = any(found is None for found in odd.values())
    for entry in zones:
        with _kept(mistakes):
            found = odd[entry.name]
            if found is not None and (found.certain or not some):
                _refuse_name(entry, found, f"write the zone that the subnet lies in{target.such_as(region.name)}")
            subnets[entry.name] = _text(entry)
    if not subnets and len(mistakes) == before:
        _refuse(region, "It names no subnet.")
    return ExistingNetwork(
        id=_text(ids[0]),
        subnets=FrozenMap(subnets),
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


def _addresses(entry: _Entry, target: str, providers: Mapping[str, Provider], *, made: bool) -> Addresses:
    """made: it is about networks that skyc makes."""
    node = entry.node
    text = node.text.lower() if isinstance(node, Scalar) else ""
    if isinstance(node, Scalar) and node.tag == "bool":
        if text in ("true", "yes", "on"):
            return Addresses.ALL
        if made:
            why = "No machine of a network that skyc makes would have a public address, and nobody could reach any."
            _refuse(entry, why, f"write `{PUBLIC}: head`, or name a network of yours that you reach")
        return Addresses.NONE
    if text != Addresses.HEAD.value:
        hint = _meant(text, ("true", "false", Addresses.HEAD.value)) or f"write `{PUBLIC}: head`"
        _refuse(
            entry, "It is `true`, `false` or `head`: whether all machines have a public address, none, or the head alone.", hint
        )
    able = sorted(name for name, provider in providers.items() if Capability.HEAD_ADDRESS in provider.capabilities)
    if target not in able:
        who = ", ".join(f"`{name}`" for name in able) or "no target"
        _refuse(
            entry, f"There all machines have a public address or none; {who} can give one to the head alone.", "leave it out"
        )
    return Addresses.HEAD


def _meant(word: str, known: Collection[str]) -> str | None:
    close = nearest(word, known)
    return None if close is None else f"did you mean `{close}`?"


def _refuse_name(entry: _Entry, odd: Unknown, hint: str | None = None) -> NoReturn:
    """hint: in place of one that is for a task."""
    meant = odd.hint if odd.hint is not None and odd.hint.startswith("did you mean") else hint
    _refuse(entry, odd.why, meant or "write the name of a region of that target", odd.commands)


def _refuse(entry: _Entry, why: str, hint: str | None = None, commands: tuple[str, ...] = ()) -> NoReturn:
    raise SkycError(
        error(
            "bad-network",
            "A network in the configuration cannot be read",
            f"`{entry.path}` in config.yaml: {why}",
            span=entry.span,
            hint=hint or "write `networks: {aws: {us-east-1: {vpc: vpc-…, subnets: {use1-az1: subnet-…}}}}`",
            commands=commands,
        )
    )
