"""Change sets: from plans real engines made here, and from hand-made JSON for what they do not easily make."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.compiler.changeset import change_set
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import (
    Action,
    AttributeChange,
    ChangeSet,
    DeploymentId,
    FrozenMap,
    ResourceAddress,
    ResourceChange,
    ResourceGraph,
    ResourceNode,
    SiteId,
    SpecPath,
    ValueKind,
)
from skyc.compiler.terraform import Engine, checked

from .conftest import Site, module, thing

SITE = SiteId("t.local")
ENGINE = Engine(name="terraform", version="1.12.0", argv=("terraform",))
ORIGIN = SpecPath(("tasks", 0, "resources"))


def graph(*names: str) -> ResourceGraph:
    return ResourceGraph(
        deployment=DeploymentId("t"),
        site=SITE,
        provider="local",
        requirements=(),
        resources=tuple(
            ResourceNode(address=ResourceAddress("terraform_data", name), origin=ORIGIN, arguments=FrozenMap())
            for name in names
        ),
        outputs=FrozenMap(),
    )


def shown(change: ResourceChange) -> list[str]:
    """One line for each attribute: path, before → after, and its marks."""
    return [f"{a.path} {a.before} → {a.after} {a.kind.value}{' !' if a.forces_replacement else ''}" for a in change.attributes]


def planned(site: Site, engine: Engine, *, apply: bool = False, **options: Any) -> ChangeSet:
    """The change set of a real plan, which is applied afterwards if wanted."""
    terraform = site.terraform(engine)
    plan = checked(terraform.plan(**options))
    assert plan.plan_file is not None
    found = change_set(terraform.show(plan.plan_file), site=SITE, graph=graph("a", "b"), engine=engine)
    assert found.has_changes == plan.has_changes
    if apply:
        checked(terraform.apply(plan.plan_file))
    return found


@pytest.mark.terraform
def test_real_plans(engine: Engine, site: Site) -> None:
    a = thing(input={"ports": ["80"], "tags": {"x.y": "1"}}, triggers_replace=["1"])
    b = thing(input="${terraform_data.a.id}")
    site.write({**module(a=a, b=b, c=thing()), "output": {"out": {"value": "${terraform_data.a.id}"}}})
    first = planned(site, engine, apply=True)
    assert [(c.address, c.action, c.origin) for c in first.changes] == [
        ("terraform_data.a", Action.CREATE, ORIGIN),
        ("terraform_data.b", Action.CREATE, ORIGIN),
        ("terraform_data.c", Action.CREATE, None),
    ]
    assert shown(first.changes[0]) == [
        "id None → None unknown",
        'input.ports None → ["80"] known',
        'input.tags["x.y"] None → "1" known',
        "output None → None unknown",
        'triggers_replace None → ["1"] known',
    ]
    assert first.outputs == ("out",) and first.complete and not first.errored and first.drift == ()
    assert (first.engine, first.engine_version) == (engine.name, engine.version)

    same = planned(site, engine)
    assert {c.action for c in same.changes} == {Action.NO_OP} and not same.has_changes and same.outputs == ()

    a["input"] = {"ports": ["80", "443"], "tags": {"x.y": "1"}}
    a["triggers_replace"] = ["2"]
    site.write({**module(a=a, b=b), "output": {"out": {"value": "${terraform_data.a.id}"}}})
    second = planned(site, engine)
    assert [(c.address, c.action, c.reason) for c in second.changes] == [
        ("terraform_data.a", Action.REPLACE, "replace_because_cannot_update"),
        ("terraform_data.b", Action.UPDATE, None),
        ("terraform_data.c", Action.DELETE, "delete_because_no_resource_config"),
    ]
    lines = shown(second.changes[0])
    assert 'triggers_replace ["1"] → ["2"] known !' in lines and 'input.ports ["80"] → ["80","443"] known' in lines
    assert [line.split()[0] for line in lines if line.endswith("!")] == ["triggers_replace"]
    assert any(line.startswith("id ") and line.endswith("→ None unknown") for line in lines)
    away = planned(site, engine, destroy=True)
    assert away.count(Action.DELETE) == 3


@pytest.mark.terraform
def test_a_move_an_output_and_something_forgotten_are_changes(engine: Engine, site: Site) -> None:
    site.write(module(a=thing(input="x"), gone=thing(input="y")))
    planned(site, engine, apply=True)
    site.write(
        {
            **module(b=thing(input="x")),
            "moved": [{"from": "terraform_data.a", "to": "terraform_data.b"}],
            "removed": [{"from": "terraform_data.gone", "lifecycle": [{"destroy": False}]}],
        }
    )
    found = planned(site, engine, apply=True)
    assert [(c.address, c.action, c.previous_address, c.attributes) for c in found.changes] == [
        ("terraform_data.b", Action.NO_OP, "terraform_data.a", ()),
        ("terraform_data.gone", Action.FORGET, None, ()),
    ]
    site.write({**module(b=thing(input="x")), "output": {"late": {"value": "x"}}})
    only_output = planned(site, engine)
    assert only_output.outputs == ("late",) and only_output.has_changes


@pytest.mark.terraform
def test_no_sensitive_value_is_kept(engine: Engine, site: Site) -> None:
    variables = {"marked": {"default": "hunter2-marked", "sensitive": True}, "plain": {"default": "hunter2-plain"}}
    both = {"one": "${var.marked}", "two": "${var.plain}", "three": "fine"}
    site.write({**module(a=thing(input=both)), "variable": variables})
    terraform = site.terraform(engine)
    plan = checked(terraform.plan())
    assert plan.plan_file is not None
    json_plan = terraform.show(plan.plan_file)
    assert "hunter2" in json.dumps(json_plan), "the plan's JSON holds them in clear; else this test shows nothing"
    found = change_set(json_plan, site=SITE, graph=None, engine=engine, secrets=("hunter2-plain",))
    assert "hunter2" not in repr(found)
    assert {a.kind for a in found.changes[0].attributes if a.path.startswith("input")} >= {ValueKind.SECRET}
    checked(terraform.apply(plan.plan_file))
    # The provider drops the mark from `output`; the value is recognised all the same.
    away = checked(terraform.plan(destroy=True))
    assert away.plan_file is not None
    gone = change_set(
        terraform.show(away.plan_file), site=SITE, graph=None, engine=engine, secrets=("hunter2-plain", "hunter2-marked")
    )
    assert "hunter2" not in repr(gone) and gone.count(Action.DELETE) == 1


def entry(address: str = "t.a", *, actions: list[str], **change: Any) -> dict[str, Any]:
    top: dict[str, Any] = {
        name: change.pop(name) for name in ("action_reason", "previous_address", "deposed") if name in change
    }
    return {
        "address": address,
        "type": address.split(".")[0],
        "mode": "managed",
        **top,
        "change": {"actions": actions, **change},
    }


def plan_of(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"format_version": "1.2", "resource_changes": list(entries), **more}


def one(change: dict[str, Any], *, secrets: tuple[str, ...] = ()) -> ResourceChange:
    (found,) = change_set(plan_of(change), site=SITE, graph=None, engine=ENGINE, secrets=secrets).changes
    return found


def test_orders_and_actions() -> None:
    found = change_set(
        plan_of(
            entry("t.z", actions=["create", "delete"], before={"a": 1}, after={"a": 2}),
            entry("t.b", actions=["delete"], before={"a": 1}, after=None, deposed="0ab1"),
            entry("t.a", actions=["create", "forget"], before={"a": 1}, after={"a": 2}),
            entry("t.i", actions=["no-op"], before={"a": 1}, after={"a": 1}, importing={"id": "i-1"}),
        ),
        site=SITE,
        graph=None,
        engine=ENGINE,
    )
    assert [(c.address, c.action, c.reason, c.importing) for c in found.changes] == [
        ("t.a", Action.CREATE, None, None),
        ("t.a", Action.FORGET, None, None),
        ("t.b", Action.DELETE, "deposed", None),
        ("t.i", Action.NO_OP, None, "i-1"),
        ("t.z", Action.CREATE_BEFORE_DESTROY, None, None),
    ]
    assert found.has_changes


def test_nested_values_unknowns_and_marks() -> None:
    change = one(
        entry(
            actions=["delete", "create"],
            before={"disk": [{"size": 10, "key": "old"}], "tags": None, "flag": 1, "same": {"x": [1]}, "gone": "x"},
            after={"disk": [{"size": 20, "key": "new"}, {"size": 5}], "tags": {"a": "b"}, "flag": True, "same": {"x": [1]}},
            after_unknown={"disk": [{}, {"id": True}], "ip": True, "same": {"x": [False]}},
            before_sensitive={"disk": [{"key": True}]},
            after_sensitive={"disk": [{"key": True}]},
            replace_paths=[["disk", 0, "size"]],
        )
    )
    assert shown(change) == [
        "disk.0.key None → None secret",
        "disk.0.size 10 → 20 known !",
        "disk.1.id None → None unknown",
        "disk.1.size None → 5 known",
        "flag 1 → true known",
        'gone "x" → None known',
        "ip None → None unknown",
        'tags.a None → "b" known',
    ]


def test_a_mark_inside_a_value_of_another_shape_holds_for_all_of_it() -> None:
    change = one(
        entry(
            actions=["update"],
            before={"v": {"inner": "hunter2"}},
            after={"v": "plain"},
            before_sensitive={"v": {"inner": True}},
            after_sensitive={},
        )
    )
    assert shown(change) == ["v None → None secret"]


def test_drift_is_what_matters_and_no_more() -> None:
    drifted = [
        entry("t.a", actions=["update"], before={"ip": "1", "noise": "x"}, after={"ip": "2", "noise": "y"}),
        entry("t.n[0]", actions=["update"], before={"ip": "1"}, after={"ip": "3"}),
        entry("t.other", actions=["update"], before={"x": 1}, after={"x": 2}),
        entry("t.lost", actions=["delete"], before={"x": 1}, after=None),
    ]
    relevant = [{"resource": "t.a", "attribute": ["ip"]}, {"resource": "t.n", "attribute": ["ip"]}]
    plan = plan_of(resource_drift=drifted, relevant_attributes=relevant)
    found = change_set(plan, site=SITE, graph=None, engine=ENGINE).drift
    assert [(c.address, [a.path for a in c.attributes]) for c in found] == [
        ("t.a", ["ip"]),
        ("t.lost", ["x"]),
        ("t.n[0]", ["ip"]),
    ]
    everything = change_set(plan, site=SITE, graph=None, engine=ENGINE, refresh_only=True).drift
    assert len(everything) == 4
    # A plan without changes depends on nothing, and Terraform leaves the field out.
    quiet = change_set(plan_of(resource_drift=drifted), site=SITE, graph=None, engine=ENGINE).drift
    assert [change.address for change in quiet] == ["t.lost"]
    # What led to a replacement, or is set back, is said.
    changes = [
        entry("t.a", actions=["update"], before={"ip": "2"}, after={"ip": "1"}),
        entry("t.other", actions=["delete", "create"], before={"x": 2}, after={"x": 1}),
    ]
    answered = change_set(plan_of(*changes, resource_drift=drifted), site=SITE, graph=None, engine=ENGINE).drift
    assert [(c.address, [a.path for a in c.attributes]) for c in answered] == [
        ("t.a", ["ip"]),
        ("t.lost", ["x"]),
        ("t.other", ["x"]),
    ]
    secret = {**drifted[0], "change": {**drifted[0]["change"], "before_sensitive": {"ip": True}}}
    hidden = change_set(plan_of(resource_drift=[secret], relevant_attributes=relevant), site=SITE, graph=None, engine=ENGINE)
    assert hidden.drift[0].attributes == (
        AttributeChange(path="ip", before=None, after=None, kind=ValueKind.SECRET, forces_replacement=False),
    )


@pytest.mark.parametrize(
    ("fields", "errored", "complete"),
    [
        ({}, False, True),
        ({"errored": True}, True, False),
        ({"deferred_changes": [{}]}, False, False),
        ({"complete": False}, False, False),
        ({"errored": False, "complete": True, "applyable": True, "from_the_future": {}}, False, True),
    ],
)
def test_what_opentofu_leaves_out_is_worked_out(fields: dict[str, Any], errored: bool, complete: bool) -> None:
    found = change_set(plan_of(**fields), site=SITE, graph=None, engine=ENGINE)
    assert (found.errored, found.complete) == (errored, complete)


@pytest.mark.parametrize("plan", [{"format_version": "2.0"}, {}, plan_of(entry(actions=["delete", "explode"]))])
def test_what_cannot_be_read_is_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(SkycError) as raised:
        change_set(plan, site=SITE, graph=None, engine=ENGINE)
    assert raised.value.diagnostics[0].slug == "plan-not-readable"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@given(before=OBJECTS, after=OBJECTS)
def test_every_difference_and_nothing_else(before: dict[str, Any], after: dict[str, Any]) -> None:
    change = one(entry(actions=["update"], before=before, after=after))
    assert len({a.path for a in change.attributes}) == len(change.attributes)
    assert all(a.before != a.after for a in change.attributes)
    assert bool(change.attributes) == (set_values(before) != set_values(after))
    assert one(entry(actions=["update"], before=before, after=before)).attributes == ()


def set_values(value: Any) -> Any:
    """Without what is not set: null and absent are one to a reader. The type is kept, because 1 is not true."""
    if isinstance(value, dict):
        kept = {key: set_values(item) for key, item in value.items() if item is not None}
        return ("object", sorted(kept.items()))
    if isinstance(value, list):
        return ("list", [set_values(item) for item in value])
    return (type(value).__name__, value)


@given(value=VALUES)
def test_a_marked_value_is_nowhere(value: Any) -> None:
    planted = {"a": [value, {"deep": "hunter2hunter2"}]}
    change = one(entry(actions=["create"], before=None, after=planted, after_sensitive={"a": [False, {"deep": True}]}))
    assert "hunter2" not in repr(change)
    by_value = one(entry(actions=["create"], before=None, after=planted), secrets=("hunter2hunter2",))
    assert "hunter2" not in repr(by_value)


def test_thousand_resources_are_no_burden() -> None:
    entries = [
        entry(f"t.n{i}", actions=["create"], before=None, after={"x": str(Decimal(i)), "y": [1, 2]}) for i in range(1000)
    ]
    found = change_set(plan_of(*entries), site=SITE, graph=None, engine=ENGINE)
    assert found.count(Action.CREATE) == 1000 and found.changes == tuple(sorted(found.changes, key=lambda c: c.address))
