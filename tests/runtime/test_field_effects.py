"""What changing a field does: every field has an answer, and answers agree with what is known of the clouds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import skyc
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.effects import Change, Effect, effect_of
from skyc.compiler.field_paths import canonical, field_paths, written
from skyc.compiler.ir import (
    DeploymentId,
    FrozenMap,
    ProviderRequirement,
    Ref,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    SiteId,
    SpecPath,
    Value,
)
from skyc.compiler.schema import json_schema
from skyc.providers.registry import forces_new, names
from skyc.runtime.field_effects import JOB_ONLY, NOT_MADE, NOT_YET, FieldEffect
from skyc.runtime.field_probes import PROBES, TARGETS


def answers(field: str) -> dict[str, FieldEffect]:
    return {answer.where: answer for answer in skyc.explain_field(field)}


def test_every_field_has_values_to_try() -> None:
    """Every leaf of the field table, the way the JSON Schema has it, and no more."""
    for entry in field_paths():
        assert entry.later is not None or canonical(entry.path) in PROBES, entry.path
    known = {entry.path for entry in field_paths() if entry.later is None}
    assert set(PROBES) <= known
    definitions = json_schema()["$defs"]
    tops = {entry.path.split(".")[0] for entry in field_paths() if not entry.path.startswith("header.")}
    assert tops == set(definitions["task"]["properties"])
    inner = {entry.path.split(".")[1] for entry in field_paths() if entry.path.startswith("resources.")}
    assert inner == set(definitions["resources"]["properties"])


def test_targets_are_those_with_machines() -> None:
    assert {target.name for target in TARGETS} == set(names()) - {"jarvislabs", "lambda", "runpod"}


def test_paths_as_people_write_them() -> None:
    assert written("storage.corpus.size_gb") == "storage.NAME.size_gb"
    assert written("resources.any_of[0].cpus") == "resources.any_of.cpus"
    assert canonical("groups.NAME.resources.ordered.gpus") == "resources.accelerators"
    assert canonical("file_mounts.PATH.mode") == "storage.NAME.mode"


@pytest.mark.parametrize(
    ("field", "effects"),
    [
        ("run", {"aws": JOB_ONLY, "azure": JOB_ONLY, "gcp": JOB_ONLY, "ibm": JOB_ONLY, "local": JOB_ONLY, "owned": NOT_MADE}),
        # AWS starts machines from a template, and another version of it is another machine (seen with the released provider).
        (
            "resources.disk_size",
            {"aws": "replaces all nodes", "azure": "in place", "gcp": "replaces all nodes", "ibm": "in place"},
        ),
        ("resources.ports", {"aws": "in place", "azure": "in place", "gcp": "in place", "local": "not to be had there"}),
        ("resources.image_id", {"azure": "replaces all nodes", "local": "not to be had there"}),
        ("resources.infra", {"aws": "moves", "local": "moves"}),
        ("num_nodes", {"aws": "adds or removes nodes", "local": "adds or removes nodes"}),
        ("name", {"gcp": "another deployment"}),
        ("storage.NAME.infra", {"aws": "refused"}),
    ],
)
def test_known_answers(field: str, effects: dict[str, str]) -> None:
    found = answers(field)
    assert {where: found[where].effect for where in effects} == effects


def test_an_answer_names_what_decides_and_what_goes() -> None:
    aws = answers("resources.disk_size")["aws"]
    assert "replace aws_instance.main-0 (launch_template.version)" in aws.causes
    assert "update aws_launch_template.main (block_device_mappings.ebs.volume_size)" in aws.causes
    assert aws.lost[0] == "disks and local data of those nodes" and aws.job
    assert answers("storage.NAME.infra")["aws"].detail.startswith("storage-elsewhere: ")
    assert [answer.effect for answer in skyc.explain_field("service.replicas")] == [NOT_YET]


def test_a_users_own_task(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: mine\nresources: {infra: gcp/us-central1, instance_type: n2-standard-4, disk_size: 100}\n"
        "checkpoint: {path: ckpt}\nrun: echo\n"
    )
    before = task.read_text()
    (found,) = skyc.explain_field("resources.disk_size", task, value="300", home=tmp_path / "home")
    assert (found.before, found.after, found.effect) == ("100", "300", "replaces all nodes")
    assert found.stays == ("checkpoints",)
    (found,) = skyc.explain_field("resources.disk_size", task, home=tmp_path / "home")
    assert found.after == "200", "the first value that is another one"
    (found,) = skyc.explain_field("resources.disk_size", task, value="nonsense", home=tmp_path / "home")
    assert found.effect == "refused" and found.detail.startswith("bad-value")
    assert task.read_text() == before and not list((tmp_path / "home" / "deployments").rglob("*.tf.json"))


def test_a_field_nobody_knows() -> None:
    with pytest.raises(SkycError) as caught:
        skyc.explain_field("resources.dsk_size")
    assert caught.value.diagnostics[0].hint == "did you mean `resources.disk_size`?"
    with pytest.raises(SkycError) as caught:
        skyc.explain_field("resources")
    assert "holds fields of its own" in caught.value.diagnostics[0].detail


# The comparison itself.


def node(type_: str, name: str, **arguments: Value) -> ResourceNode:
    return ResourceNode(address=ResourceAddress(type_, name), origin=SpecPath(()), arguments=FrozenMap(arguments))


def graph(*resources: ResourceNode, machines: tuple[str, ...] = ("a", "b")) -> ResourceGraph:
    rows: tuple[Value, ...] = tuple(
        FrozenMap[Value]({"id": Ref(ResourceAddress("x_machine", name), "id")}) for name in machines
    )
    return ResourceGraph(
        deployment=DeploymentId("d"),
        site=SiteId("t.x"),
        provider="x",
        requirements=(ProviderRequirement(name="x", source="x/x/x", version="1"),),
        resources=resources,
        outputs=FrozenMap({"nodes": rows}),
    )


def forces(type_: str, path: str) -> bool:
    return path in ("net", "disk.kind")


NET = node("x_net", "n", range="10.0.0.0/8", size=1)
HERE = Ref(NET.address, "id")
A, B = (
    node("x_machine", name, net=HERE, disk=FrozenMap({"kind": "slow", "gb": 1}), tags=FrozenMap({"t": "1"})) for name in "ab"
)


def changed(base: ResourceNode, **arguments: Value) -> ResourceNode:
    return replace(base, arguments=FrozenMap({**base.arguments, **arguments}))


def test_effects_of_graphs() -> None:
    before = (graph(NET, A, B),)

    def effect(
        *resources: ResourceNode, machines: tuple[str, ...] = ("a", "b")
    ) -> tuple[Effect, list[tuple[str, str, tuple[str, ...]]]]:
        found = effect_of(before, (graph(*resources, machines=machines),), forces)
        return found.effect, [(row.address, row.change.value, row.causes) for row in found.touched]

    assert effect(NET, A, B) == (Effect.NOTHING, [])
    assert effect(NET, changed(A, tags=FrozenMap({"t": "2"})), B) == (Effect.IN_PLACE, [("x_machine.a", "update", ("tags.t",))])
    fast = changed(A, disk=FrozenMap({"kind": "fast", "gb": 2}))
    assert effect(NET, fast, B) == (Effect.SOME_NODES, [("x_machine.a", "replace", ("disk.kind",))])
    assert effect(NET, A, machines=("a",))[0] is Effect.MORE_NODES
    # What a network is replaced for replaces what is in it.
    moved = changed(NET, net="other")
    assert effect(moved, A, B) == (
        Effect.EVERYTHING,
        [("x_machine.a", "replace", ("net",)), ("x_machine.b", "replace", ("net",)), ("x_net.n", "replace", ("net",))],
    )
    assert effect(changed(NET, size=2), A, B) == (Effect.IN_PLACE, [("x_net.n", "update", ("size",))])


def test_what_counts_only_at_first_and_what_replaces_by_choice() -> None:
    ignoring = replace(A, ignore_changes=('tags["t"]',))
    found = effect_of((graph(NET, ignoring, B),), (graph(NET, changed(ignoring, tags=FrozenMap({"t": "9"})), B),), forces)
    assert found.effect is Effect.NOTHING
    chosen = changed(A, text="one", text_replace_on_change=True)
    found = effect_of((graph(NET, chosen, B),), (graph(NET, changed(chosen, text="two"), B),), forces)
    assert [(row.change, row.causes) for row in found.touched] == [(Change.REPLACE, ("text",))]


def test_sites_and_deployments() -> None:
    here = graph(NET, A, B)
    assert effect_of((here,), (replace(here, site=SiteId("t.y")),), forces).effect is Effect.MOVES
    assert effect_of((here,), (replace(here, deployment=DeploymentId("e")),), forces).effect is Effect.ANOTHER


def test_schemas_are_asked() -> None:
    assert forces_new("google_compute_instance", "boot_disk.initialize_params.size")
    assert not forces_new("azurerm_linux_virtual_machine", "os_disk.disk_size_gb")
    assert forces_new("skyc_node", "cpus") and not forces_new("skyc_node", "rank")
    assert forces_new("acme_thing", "anything"), "what is not known is said as the worst"
