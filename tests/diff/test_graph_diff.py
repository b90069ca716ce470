"""Change sets made of two resource graphs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from skyc.compiler.graph_diff import graph_changes
from skyc.compiler.ir import (
    Action,
    DeploymentId,
    FrozenMap,
    Joined,
    ProviderRequirement,
    Ref,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    SiteId,
    SpecPath,
    Value,
    ValueKind,
)
from skyc.providers.registry import forces_new


def at(name: str) -> ResourceAddress:
    return ResourceAddress("cloud_vm", name)


def node(called: str, *, ignore: tuple[str, ...] = (), **arguments: Value) -> ResourceNode:
    return ResourceNode(
        address=at(called), origin=SpecPath(("tasks", 0)), arguments=FrozenMap(arguments), ignore_changes=ignore
    )


def site(*nodes: ResourceNode, name: str = "train.cloud") -> ResourceGraph:
    return ResourceGraph(
        deployment=DeploymentId("train"),
        site=SiteId(name),
        provider="cloud",
        requirements=(ProviderRequirement(name="cloud", source="x/cloud", version="1.0.0"),),
        resources=tuple(sorted(nodes, key=lambda item: str(item.address))),
        outputs=FrozenMap({"nodes": ()}),
    )


def forces(type_: str, path: str) -> bool:
    return path in ("image", "disk.type", "network_id")


def actions(before: ResourceGraph | None, after: ResourceGraph | None) -> dict[str, Action]:
    sides = [() if side is None else (side,) for side in (before, after)]
    return {change.address: change.action for found in graph_changes(*sides, forces=forces) for change in found.changes}


def test_equal_graphs_differ_in_nothing() -> None:
    graph = site(node("a", image="1"), node("b", tags=FrozenMap({"x": "y"})))
    assert graph_changes((graph,), (graph,), forces=forces) == ()


def test_what_is_made_changed_and_gone() -> None:
    before = site(node("kept", size="s"), node("gone"), node("same", size="s"))
    after = site(node("kept", size="l"), node("new", size="s"), node("same", size="s"))
    assert actions(before, after) == {
        "cloud_vm.kept": Action.UPDATE,
        "cloud_vm.gone": Action.DELETE,
        "cloud_vm.new": Action.CREATE,
    }
    (found,) = graph_changes((before,), (after,), forces=forces)
    (kept,) = (change for change in found.changes if change.address == "cloud_vm.kept")
    ((path, was, becomes),) = ((a.path, a.before, a.after) for a in kept.attributes)
    assert (path, was, becomes) == ("size", '"s"', '"l"')
    assert kept.origin == SpecPath(("tasks", 0))


def test_what_forces_a_replacement_is_marked_below_positions_too() -> None:
    before = site(node("a", disk=(FrozenMap({"type": "ssd", "gb": 1}),)))
    after = site(node("a", disk=(FrozenMap({"type": "hdd", "gb": 2}),)))
    (found,) = graph_changes((before,), (after,), forces=forces)
    assert found.changes[0].action is Action.REPLACE
    assert {a.path: a.forces_replacement for a in found.changes[0].attributes} == {"disk.0.gb": False, "disk.0.type": True}
    # Where nothing forces it, nothing is called replaced.
    (found,) = graph_changes((before,), (after,))
    assert found.changes[0].action is Action.UPDATE


@pytest.mark.parametrize("value", [Ref(at("net"), "id"), Joined(("x-", Ref(at("net"), "id")))], ids=["ref", "joined"])
def test_a_reference_that_comes_or_goes_is_a_change_of_its_argument(value: Value) -> None:
    without, with_one = site(node("net"), node("vm")), site(node("net"), node("vm", network_id=value))
    for before, after in ((without, with_one), (with_one, without)):
        (found,) = graph_changes((before,), (after,), forces=forces)
        (change,) = found.changes
        (attribute,) = change.attributes
        assert (change.action, attribute.path, attribute.forces_replacement) == (Action.REPLACE, "network_id", True)
        assert "${cloud_vm.net.id}" in f"{attribute.before} {attribute.after}"


def test_who_refers_to_a_replaced_resource_in_a_forcing_argument_is_replaced_with_it() -> None:
    def built(image: str) -> ResourceGraph:
        return site(
            node("net", image=image, name="n"),
            node("vm", network_id=Ref(at("net"), "id")),
            node("rule", target=Joined(("to ", Ref(at("vm"), "ip"))), network=Ref(at("net"), "name")),
            node("far", network_id=Ref(at("other"), "id")),
            node("other"),
        )

    before, after = built("1"), built("2")
    assert actions(before, after) == {
        "cloud_vm.net": Action.REPLACE,
        "cloud_vm.vm": Action.REPLACE,
        "cloud_vm.rule": Action.UPDATE,
    }
    (found,) = graph_changes((before,), (after,), forces=forces)
    changes = {change.address: change for change in found.changes}
    (attribute,) = changes["cloud_vm.vm"].attributes
    assert (attribute.kind, attribute.forces_replacement) == (ValueKind.UNKNOWN, True)
    # `name` is given and stays: only what the new resource will tell is unknown.
    assert [a.path for a in changes["cloud_vm.rule"].attributes] == ["target"]


def test_a_version_of_what_changes_in_place_is_not_known() -> None:
    def built(size: str) -> ResourceGraph:
        return site(
            node("template", size=size),
            node("vm", image=Ref(at("template"), "latest_version"), name=Ref(at("template"), "id")),
            node("alias", size=Ref(at("template"), "size")),
            node("ignoring", ignore=("image",), image=Ref(at("template"), "latest_version")),
        )

    assert actions(built("s"), built("s")) == {}
    assert actions(built("s"), built("l")) == {"cloud_vm.template": Action.UPDATE, "cloud_vm.vm": Action.REPLACE}
    (found,) = graph_changes((built("s"),), (built("l"),), forces=forces)
    (vm,) = (change for change in found.changes if change.address == "cloud_vm.vm")
    assert [(a.path, a.kind, a.forces_replacement) for a in vm.attributes] == [("image", ValueKind.UNKNOWN, True)]


def test_a_given_argument_is_unknown_where_what_it_is_made_of_is() -> None:
    def built(image: str) -> ResourceGraph:
        return site(
            node("net", image=image),
            node("rule", name=Joined(("to-", Ref(at("net"), "id")))),
            node("vm", network_id=Ref(at("rule"), "name")),
        )

    assert actions(built("1"), built("2")) == {
        "cloud_vm.net": Action.REPLACE,
        "cloud_vm.rule": Action.UPDATE,
        "cloud_vm.vm": Action.REPLACE,
    }


def test_a_resource_may_say_itself_that_an_argument_replaces_it() -> None:
    def built(data: str, replaces: bool) -> ResourceGraph:
        return site(node("a", user_data=data, user_data_replace_on_change=replaces))

    assert actions(built("1", False), built("2", False)) == {"cloud_vm.a": Action.UPDATE}
    assert actions(built("1", True), built("2", True)) == {"cloud_vm.a": Action.REPLACE}
    (found,) = graph_changes((built("1", True),), (built("2", True),), forces=forces)
    assert [(a.path, a.forces_replacement) for a in found.changes[0].attributes] == [("user_data", True)]


def test_what_counts_only_when_made_is_no_difference() -> None:
    ignore = ('tags["plan"]', 'labels["x y"]', "boot")
    before = site(
        node("a", ignore=ignore, tags=FrozenMap({"plan": "1"}), labels=FrozenMap({"x y": "1"}), boot=(FrozenMap({"i": 1}),))
    )
    after = site(
        node("a", ignore=ignore, tags=FrozenMap({"plan": "2"}), labels=FrozenMap({"x y": "2"}), boot=(FrozenMap({"i": 2}),))
    )
    assert graph_changes((before,), (after,), forces=lambda type_, path: True) == ()
    (found,) = graph_changes((), (after,))
    assert [a.path for a in found.changes[0].attributes] == []


def test_a_site_that_moves_is_destroyed_and_made() -> None:
    here, there = site(node("a"), name="train.cloud-north"), site(node("a"), name="train.cloud-south")
    found = graph_changes((here,), (there,))
    assert [(item.site, item.changes[0].action) for item in found] == [
        ("train.cloud-north", Action.DELETE),
        ("train.cloud-south", Action.CREATE),
    ]


def test_order_changes_nothing() -> None:
    before = [site(node("a", image=str(n)), node("b"), name=f"t.r{n}") for n in range(4)]
    after = [site(node("a", image=str(n + n % 2)), node("c"), name=f"t.r{n}") for n in range(1, 5)]
    expected = graph_changes(before, after, forces=forces)
    chance = random.Random(7)
    for _ in range(100):
        chance.shuffle(before)
        chance.shuffle(after)
        assert graph_changes(before, after, forces=forces) == expected


def test_swapping_the_sides_swaps_making_and_destroying() -> None:
    one, other = site(node("a"), node("b", size="s")), site(node("b", size="l"), node("c"))
    there, back = actions(one, other), actions(other, one)
    opposite = {Action.CREATE: Action.DELETE, Action.DELETE: Action.CREATE}
    assert back == {address: opposite.get(action, action) for address, action in there.items()}


@pytest.mark.parametrize(
    ("type_", "path", "forced"),
    [
        ("aws_instance", "ami", True),
        ("aws_instance", "instance_type", False),
        ("aws_instance", "root_block_device.encrypted", True),
        ("aws_instance", "root_block_device.volume_size", False),
        ("aws_instance", "tags.Name", False),
        ("google_compute_instance", "boot_disk", True),
        ("azurerm_linux_virtual_machine", "location", True),
        ("ibm_is_instance", "zone", True),
        ("skyc_node", "cpus", True),
        ("skyc_node", "rank", False),
        ("aws_instance", "no_such_thing.at_all", False),
        # What is not known is said as the worst.
        ("aws_no_such_type", "ami", True),
        ("cloud_vm", "image", True),
    ],
)
def test_schemas_say_what_replaces(type_: str, path: str, forced: bool) -> None:
    assert forces_new(type_, path) is forced


def test_an_update_of_nothing_that_counts_is_left_out() -> None:
    before = site(node("a", ignore=("boot",), boot="1", size="s"))
    assert actions(before, replace(before, resources=(node("a", ignore=("boot",), boot="2", size="s"),))) == {}
