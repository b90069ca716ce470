"""Deciding everything a plan left open: what the cloud says of itself, else a plausible value by type and name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..tfplugin.codec import is_unknown
from ..tfplugin.planning import nested_bodies
from ..tfplugin.schema import Block, NestedBlock, Nesting, TypeNotation
from .making import EPOCH, Cloud, Making


def decided(cloud: Cloud, body: Block, making: Making) -> dict[str, Any]:
    """The whole state of what is made: every planned value unchanged, every unknown decided."""
    making = replace(making, id=cloud.identity(making))
    state = _body(body, making.values, making, "")
    for name, attribute in body.attributes.items():
        if not is_unknown(making.values.get(name)):
            continue
        if name == "id":
            state[name] = making.id
            continue
        said = cloud.fact(making, name)
        if said is not None and _fits(attribute.type, said):
            state[name] = said
    return state


def _body(body: Block, values: Mapping[str, Any], making: Making, path: str) -> dict[str, Any]:
    state = dict(values)
    for name, attribute in body.attributes.items():
        if is_unknown(values.get(name)):
            state[name] = _plausible(attribute.type, name, making, f"{path}{name}")
    for name, nesting, nested in nested_bodies(body):
        value = values.get(name)
        if is_unknown(value):
            # A block the provider fills in itself. Where there can be only one, there is one.
            single = isinstance(nested, NestedBlock) and nested.max_items == 1
            value = [_unwritten(nested, making, f"{path}{name}.")] if single else []
        if not value or name in body.attributes:
            continue
        match nesting:
            case Nesting.LIST | Nesting.SET:
                state[name] = [_body(nested, item, making, f"{path}{name}{index}.") for index, item in enumerate(value)]
            case Nesting.MAP:
                state[name] = {key: _body(nested, item, making, f"{path}{name}{key}.") for key, item in value.items()}
            case Nesting.SINGLE | Nesting.GROUP:
                state[name] = _body(nested, value, making, f"{path}{name}.")
    for name, block in body.blocks.items():
        if is_unknown(state.get(name)):
            state[name] = [] if block.nesting in (Nesting.LIST, Nesting.SET) else None
    return state


def _unwritten(body: Block, making: Making, path: str) -> dict[str, Any]:
    """A block nobody wrote: defaults, and what is decided."""
    state: dict[str, Any] = dict.fromkeys((*body.attributes, *body.blocks))
    for name, attribute in body.attributes.items():
        if attribute.default is not None:
            state[name] = attribute.default
        elif attribute.computed or attribute.required:
            state[name] = _plausible(attribute.type, name, making, f"{path}{name}")
    for name, block in body.blocks.items():
        state[name] = [] if block.nesting in (Nesting.LIST, Nesting.SET) else None
    return state


def _plausible(type_: TypeNotation, name: str, making: Making, path: str) -> Any:
    if type_ == "string":
        return _text(name, making, path)
    if isinstance(type_, str):
        return {"number": 0, "bool": False}.get(type_)
    kind: str = type_[0]
    members: Any = type_[1]
    if kind == "object":
        return {key: _plausible(inner, key, making, f"{path}.{key}") for key, inner in members.items()}
    return {} if kind == "map" else []


def _text(name: str, making: Making, path: str) -> str:
    """By the words in an attribute's name. Empty where a name says nothing: clouds leave most things empty."""
    if name.endswith(("_prefix", "_suffix", "_reason")):
        return ""
    if name == "id" or name.endswith("_id"):
        return f"{name.removesuffix('_id').replace('_', '-')}-{making.hex(12, path)}"
    if name == "nat_ip" or ("public" in name and name.endswith(("ip", "ip_address", "address"))):
        return making.public_ip(path)
    if name in ("ip", "address") or name.endswith(("_ip", "_ip_address", "ipv4_address", "network_ip")):
        return making.private_ip(path)
    if name.endswith(("_at", "_time", "_timestamp", "_date")):
        return EPOCH
    if "fingerprint" in name or name.endswith(("etag", "_key", "_string")):
        return making.hex(32, path)
    return ""


def _fits(type_: TypeNotation, value: Any) -> bool:
    """Whether a cloud's fact has the attribute's type: the same name is a text here and a list there."""
    if isinstance(type_, str):
        kinds: dict[str, tuple[type, ...]] = {"string": (str,), "bool": (bool,), "number": (int, float)}
        return isinstance(value, kinds.get(type_, (object,))) and (type_ == "bool") == isinstance(value, bool)
    return isinstance(value, Mapping if type_[0] in ("map", "object") else list)
