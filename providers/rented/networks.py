"""Networks of the user's: what of one can be wrong for a placement, said at the configuration's own line; and the head's address where
skyc does not give it. And which machines have an address outside of their network.

Contract: pure. Nothing is looked up, so ids are checked by their form alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...compiler.diagnostics import Diagnostic, error
from ...compiler.ir import Addresses, Joined, Ref
from ..base import EVERY_ZONE, ExistingNetwork, LowerContext
from .cloud_init import Boot, user_data

UNKNOWN_HEAD = "head.invalid"
"""Stands in user data for an address that the cloud gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdForm:
    """How a cloud names networks and subnets. `words` and `show`: how it looks, and the command that tells it."""

    network: re.Pattern[str]
    subnet: re.Pattern[str]
    words: str
    show: str
    regional: bool = False
    """A subnet spans the zones of its region."""
    tags: bool = False
    """Firewall rules apply by marks that machines carry (`ExistingNetwork.tags`)."""


def has_address(context: LowerContext, *, is_head: bool) -> bool:
    """Whether a machine gets an address outside of its network."""
    return is_head if context.public is Addresses.HEAD else context.public is Addresses.ALL


def needs_way_out(context: LowerContext, nodes: int) -> bool:
    """Whether a network of skyc's own needs a way out for machines without an address. A network of the user's has one already.
    nodes: of the site."""
    return context.network is None and context.public is Addresses.HEAD and nodes > 1


def problems(
    own: ExistingNetwork | None, form: IdForm, provider: str, region: str, zones: Iterable[str | None]
) -> Iterator[Diagnostic]:
    """Why machines in these zones cannot be put into the network; nothing without one."""
    if own is None:
        return
    if not form.network.fullmatch(own.id):
        yield _odd(own, f"`{own.id}` names no network of `{provider}`.", form)
    for subnet in dict.fromkeys(own.subnets.values()):
        if not form.subnet.fullmatch(subnet):
            yield _odd(own, f"`{subnet}` names no subnet of `{provider}`.", form)
    if own.tags and not form.tags:
        yield _odd(own, f"`tags`: firewalls of `{provider}` do not know any, so skyc makes its own.", form)
    if EVERY_ZONE in own.subnets and not form.regional:
        yield _odd(own, f"a subnet of `{provider}` lies in one zone, so `subnets` names one for each.", form)
        return
    for zone in sorted({zone for zone in zones if zone is not None and own.subnet(zone) is None}):
        yield _no_subnet(own, provider, region, zone)


def _odd(own: ExistingNetwork, why: str, form: IdForm) -> Diagnostic:
    return error(
        "bad-network",
        "A network in the configuration cannot be used",
        f"`networks` in config.yaml: {why}",
        span=own.span,
        hint=f"write {form.words}",
        commands=(form.show,),
    )


def _no_subnet(own: ExistingNetwork, provider: str, region: str, zone: str) -> Diagnostic:
    known = ", ".join(f"`{name}`" for name in own.subnets) or "no zone"
    return error(
        "no-subnet",
        "The network has no subnet where the machines go",
        f"`networks` in config.yaml puts machines in {provider}/{region} into {own.id}, which has a subnet for {known},"
        f" and they are placed in `{zone}`. skyc makes no subnet in a network of yours.",
        span=own.span,
        hint=f"add a subnet for `{zone}` there, or name a zone that has one with `infra`",
    )


def told(boot: Boot, head: Ref, *, after: str = "", base64: bool = False) -> Joined:
    """User data that holds the head's address, which is known when Terraform has made it. `boot.head` is UNKNOWN_HEAD. after: more text
    at the end; base64: as some clouds take it."""
    before, rest = (user_data(boot) + after).split(UNKNOWN_HEAD)
    return Joined((before, head, rest), base64=base64)
