"""Plans derived from a schema, where a real engine would need one resource type for each case."""

from __future__ import annotations

from typing import Any

import pytest

from skyc.providers.tfplugin.codec import UNKNOWN, compile_block, pack, unpack
from skyc.providers.tfplugin.planning import changed_force_new, plan_computed, set_facts, with_defaults
from skyc.providers.tfplugin.schema import Attribute, NestedAttributes, NestedBlock, Nesting, Schema

MEMBERS = {
    "key": Attribute(required=True),
    "mode": Attribute(optional=True, default="fast"),
    "kind": Attribute(optional=True, force_new=True),
    "fact": Attribute(computed=True),
}
SCHEMA = Schema(
    attributes={
        "name": Attribute(required=True, force_new=True),
        "id": Attribute(computed=True),
        "inner": Attribute(optional=True, nested=NestedAttributes(attributes=MEMBERS, nesting=Nesting.MAP)),
    },
    blocks={
        "item": NestedBlock(attributes=MEMBERS),
        "member": NestedBlock(attributes=MEMBERS, nesting=Nesting.SET),
        "single": NestedBlock(attributes=MEMBERS, nesting=Nesting.SINGLE),
    },
)


def values(**given: Any) -> dict[str, Any]:
    """A complete value of SCHEMA, as Terraform would send it."""
    type_ = compile_block(SCHEMA)
    complete: dict[str, Any] = unpack(type_, pack(type_, {"name": "n", **given}))
    return complete


def test_a_default_returns_when_the_configuration_drops_the_value() -> None:
    """Terraform proposes the prior value for what is not configured; only the configuration tells them apart."""
    config = values(item=[{"key": "a"}], inner={"x": {"key": "a"}}, single={"key": "a"})
    kept = values(
        item=[{"key": "a", "mode": "slow"}], inner={"x": {"key": "a", "mode": "slow"}}, single={"key": "a", "mode": "slow"}
    )
    filled = with_defaults(SCHEMA, config, kept)
    assert filled["item"][0]["mode"] == filled["inner"]["x"]["mode"] == filled["single"]["mode"] == "fast"
    assert with_defaults(SCHEMA, kept, kept) == kept


def test_computed_values_are_unknown_only_where_something_is_new() -> None:
    created = plan_computed(SCHEMA, None, values(item=[{"key": "a"}]))
    assert created["id"] is UNKNOWN
    assert created["item"][0]["fact"] is UNKNOWN

    prior = values(
        id="i", item=[{"key": "a", "fact": "f"}], member=[{"key": "m", "fact": "f"}], inner={"x": {"key": "x", "fact": None}}
    )
    assert plan_computed(SCHEMA, prior, prior) == prior
    grown = values(
        id="i",
        item=[{"key": "a", "fact": "f"}, {"key": "b"}],
        member=[{"key": "m", "fact": "f"}, {"key": "o"}],
        inner={"x": {"key": "x"}, "y": {"key": "y"}},
    )
    planned = plan_computed(SCHEMA, prior, grown)
    assert planned["id"] == "i"
    assert [item["fact"] for item in planned["item"]] == ["f", UNKNOWN]
    assert {member["key"]: member["fact"] for member in planned["member"]} == {"m": "f", "o": UNKNOWN}
    assert planned["inner"]["x"]["fact"] is None
    assert planned["inner"]["y"]["fact"] is UNKNOWN


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({}, {}, ()),
        ({}, {"name": "other"}, ("name",)),
        ({}, {"name": UNKNOWN}, ("name",)),
        ({"item": [{"key": "a"}]}, {"item": [{"key": "b"}]}, ()),
        ({"item": [{"key": "a"}]}, {"item": [{"key": "a", "kind": "k"}]}, ("item[0].kind",)),
        ({"item": [{"key": "a"}]}, {"item": [{"key": "a"}, {"key": "b", "kind": "k"}]}, ("item[1].kind",)),
        ({"item": [{"key": "a", "kind": "k"}]}, {"item": UNKNOWN}, ("item",)),
        ({"inner": {"x": {"key": "a", "kind": "k"}}}, {"inner": {"x": {"key": "a"}}}, ("inner.x.kind",)),
        ({"member": [{"key": "a", "kind": "k"}]}, {"member": [{"key": "b", "kind": "k"}]}, ()),
        ({"member": [{"key": "a", "kind": "k"}]}, {"member": [{"key": "a", "kind": "l"}]}, ("member",)),
        ({"single": {"key": "a", "kind": "k"}}, {}, ("single.kind",)),
    ],
)
def test_what_forces_replacement(before: dict[str, Any], after: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert changed_force_new(SCHEMA, values(**before), values(**after)) == paths


def test_facts_in_a_configuration_are_found_at_any_depth() -> None:
    config = values(id="i", item=[{"key": "a"}, {"key": "b", "fact": "f"}], inner={"x": {"key": "k", "fact": "f"}})
    assert sorted(set_facts(SCHEMA, config), key=repr) == [("id",), ("inner", "x", "fact"), ("item", 1, "fact")]


@pytest.mark.parametrize(
    "flags", [{}, {"required": True, "computed": True}, {"required": True, "optional": True}, {"computed": True, "default": 1}]
)
def test_contradictory_attributes_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attribute"):
        Attribute(**flags)
