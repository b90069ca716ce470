"""A fake of Terraform with a fake of the AWS provider, in this process, for hundreds of runs in seconds.

It plans and applies as Terraform does, as far as failover can tell: what depends on a failed resource is left out and the rest is made;
what was made is in the state; a plan refreshes first. Its world, its faults and its words are the simulator's own. The scenarios of
`test_scenarios` run with it and with the real Terraform, which is how it is known to be like it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from skyc.compiler.diagnostics import Diagnostic
from skyc.compiler.ir import FrozenMap, ResourceGraph, SynthManifest, canonical
from skyc.compiler.scrub import Scrubber
from skyc.compiler.terraform import ApplyRun, Engine, PlanRun
from skyc.compiler.terraform_stream import diagnostic_of
from skyc.providers.simulator.clouds.aws import AWS
from skyc.providers.simulator.faults import Fault, FaultKind, read_faults, striking
from skyc.providers.simulator.holders import holder
from skyc.providers.simulator.making import Making, Refusal, root_of
from skyc.providers.simulator.world import Contents, World, WorldResource
from tests.failover.pretended import SimulatedAws

REPLACED_BY = frozenset({"aws_ec2_subnet_cidr_reservation", "aws_instance", "aws_nat_gateway", "aws_subnet"})
"""Types that another argument replaces; all others are updated."""
REFUSALS = {
    FaultKind.NO_CAPACITY: "no-capacity",
    FaultKind.NOT_SOLD: "not-sold",
    FaultKind.NO_REGION: "no-region",
    FaultKind.UNKNOWN_CALLER: "unknown-caller",
    FaultKind.QUOTA: "quota",
    FaultKind.THROTTLED: "throttled",
    FaultKind.DENIED: "denied",
    FaultKind.ADDRESS_IN_USE: "address-in-use",
}
Row = dict[str, Any]

tick: Callable[[], None] = lambda: None  # noqa: E731 - a value that tests which kill replace
"""Called wherever a kill would matter."""


def fake_synth(graph: ResourceGraph, *, cache: Path) -> tuple[SynthManifest, str]:
    manifest = SynthManifest(site=graph.site, graph_digest=graph.digest, files=FrozenMap(), tool_versions=FrozenMap())
    return manifest, canonical(graph).decode()


def install(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("skyc.compiler.pipeline.synth", fake_synth)
    patch.setattr("skyc.runtime.sites.Terraform", FakeTerraform)
    patch.setattr(SimulatedAws, "attach", lambda self, home: contextlib.nullcontext(()))


class FakeTerraform:
    """See `compiler.terraform.Terraform`."""

    def __init__(self, engine: Engine, directory: Path, *, home: Path, **other: Any) -> None:
        self.engine, self.directory, self.home = engine, directory, home
        self._world = World(home)
        self._state_file = directory / "terraform.tfstate"

    # Commands

    def plan(self, *, destroy: bool = False, refresh: bool = True, replace: Sequence[str] = ()) -> PlanRun:
        assert not replace, "no node of these tests is dead and still there"
        state = self._state()
        if refresh:
            with self._world.changing() as contents:
                state = self._refreshed(contents)
        wanted = {} if destroy else self._module()
        changes = dict(_changes(wanted, state["resources"]))
        number = next(i for i in itertools.count() if not (self.directory / f"plan-{i}").exists())
        file = self.directory / f"plan-{number}"
        file.write_text(json.dumps({"changes": changes, "destroy": destroy}))
        found = bool(changes)
        return PlanRun(returncode=2 if found else 0, **_ended(()), plan_file=file, has_changes=found)

    def show(self, plan_file: Path) -> Row:
        plan = json.loads(plan_file.read_text())
        rows = [
            {
                "address": address,
                "type": address.partition(".")[0],
                "change": {"actions": actions, "before": {}, "after": {}, "after_unknown": {}},
            }
            for address, actions in plan["changes"].items()
        ]
        return {"format_version": "1.2", "resource_changes": rows}

    def apply(self, plan_file: Path) -> ApplyRun:
        plan = json.loads(plan_file.read_text())
        wanted = {} if plan["destroy"] else self._module()
        said: list[Diagnostic] = []
        gone = [address for address, actions in plan["changes"].items() if "delete" in actions]
        kept = self._delete(gone, said)
        self._create(wanted, plan["changes"], kept, said)
        if not said and wanted:
            self._save(outputs=True)
        return ApplyRun(returncode=1 if said else 0, **_ended(tuple(said)), finished=not said)

    # The state

    def _state(self) -> Row:
        if self._state_file.exists():
            found: Row = json.loads(self._state_file.read_text())
            blocks = found.pop("resources")
            found["resources"] = {f"{b['type']}.{b['name']}": b["instances"][0] for b in blocks}
            return found
        return {"version": 4, "lineage": str(uuid4()), "serial": 0, "outputs": {}, "resources": {}}

    def _save(self, state: Row | None = None, *, outputs: bool = False) -> None:
        state = state or self._state()
        if outputs:
            state["outputs"] = {"nodes": {"value": self._nodes(state), "type": "string"}}
        blocks = []
        for address, instance in sorted(state["resources"].items()):
            type_, _, name = address.partition(".")
            blocks.append({"mode": "managed", "type": type_, "name": name, "instances": [instance]})
        document = {**state, "serial": state["serial"] + 1, "resources": blocks}
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.replace(self._state_file)

    def _nodes(self, state: Row) -> list[Row]:
        ids = {address: instance["attributes"] for address, instance in state["resources"].items()}
        rows: list[Row] = _resolved(self._graph()["outputs"]["nodes"], ids)
        return rows

    def _refreshed(self, contents: Contents) -> Row:
        state = self._state()
        there = {
            address: instance
            for address, instance in state["resources"].items()
            if f"{address.partition('.')[0]}/{instance['attributes']['id']}" in contents.resources
        }
        if there != state["resources"]:
            state["resources"] = there
            self._save(state)
        return state

    def _graph(self) -> Row:
        found: Row = json.loads((self.directory / "cdk.tf.json").read_text())
        return found

    def _module(self) -> dict[str, Row]:
        return {_address(row): row for row in self._graph()["resources"]}

    # Changing the world

    def _delete(self, addresses: list[str], said: list[Diagnostic]) -> set[str]:
        """The addresses that could not be deleted."""
        left = set(addresses)
        while True:
            state = self._state()
            # What depends on nothing that goes is last, as Terraform has it.
            held = {name for address in left for name in state["resources"][address]["dependencies"]}
            free = sorted(left - held)
            if not free:
                return left
            for address in free:
                tick()
                if not self._deleted(address, said):
                    return left
                tick()
                state = self._state()
                del state["resources"][address]
                self._save(state)
                left.discard(address)

    def _deleted(self, address: str, said: list[Diagnostic]) -> bool:
        type_ = address.partition(".")[0]
        attributes = self._state()["resources"][address]["attributes"]
        with self._world.changing() as contents:
            key = f"{type_}/{attributes['id']}"
            found = contents.resources.get(key)
            if found is None:
                return True
            making = Making(type=type_, values=attributes, config={}, world=contents, root="0" * 64, id=attributes["id"])
            user = holder(AWS, contents, found)
            struck = [fault for fault in self._struck(contents, "delete", making) if fault.kind in REFUSALS]
            if user is not None or struck:
                refusal = AWS.refuse("in-use" if user else REFUSALS[struck[0].kind], making, user.id if user else "")
                said.append(_said(address, refusal))
                return False
            del contents.resources[key]
        return True

    def _create(self, wanted: dict[str, Row], changes: Mapping[str, list[str]], kept: set[str], said: list[Diagnostic]) -> None:
        failed = set(kept)
        for address in _in_order(wanted):
            if failed & _needs(wanted[address]):
                failed.add(address)
            elif address in changes and address not in failed:
                tick()
                if not self._made(address, wanted[address], changes[address], said):
                    failed.add(address)
                tick()

    def _made(self, address: str, row: Row, actions: list[str], said: list[Diagnostic]) -> bool:
        state = self._state()
        ids = {name: instance["attributes"] for name, instance in state["resources"].items()}
        values = _resolved(row["arguments"], ids)
        attributes = {**values, "$raw": json.dumps(row["arguments"], sort_keys=True)}
        instance = {"attributes": attributes, "dependencies": sorted(_needs(row))}
        type_ = address.partition(".")[0]
        if actions == ["update"]:
            attributes["id"] = ids[address]["id"]
            refusal = None
        else:
            with self._world.changing() as contents:
                refusal = self._made_in(contents, type_, values, attributes, instance)
        tick()
        if refusal is not None:
            said.append(_said(address, refusal))
        if "id" in attributes:
            state["resources"][address] = instance
            self._save(state)
        return refusal is None

    def _made_in(self, contents: Contents, type_: str, values: Row, attributes: Row, instance: Row) -> Refusal | None:
        """Make it in the world, unless a fault strikes. What Terraform comes to know is put into `attributes` and `instance`."""
        root = root_of(contents, type_, values)
        making = Making(type=type_, values=values, config={"region": self._region()}, world=contents, root=root)
        id_ = AWS.identity(making)
        struck = next((fault for fault in self._struck(contents, "create", making) if fault.kind is not FaultKind.SLOW), None)
        if struck is None and f"{type_}/{id_}" in contents.resources and type_ not in AWS.adopts:
            return AWS.refuse("exists", making, "")
        if struck is not None and struck.kind in REFUSALS and not struck.leaves:
            return AWS.refuse(REFUSALS[struck.kind], making, struck.permission)
        made = WorldResource(type=type_, id=id_, attributes={**values, "id": id_, "$root": root})
        contents.resources[made.key] = made
        if struck is None:
            attributes["id"] = id_
            return None
        if struck.kind is FaultKind.ERROR_AFTER_CREATE:
            attributes["id"], instance["status"] = id_, "tainted"
            return Refusal(summary=f"waiting for {type_} ({id_}) create: unexpected state 'failed', wanted target 'available'")
        if struck.kind is FaultKind.REPLY_LOST:
            return Refusal(summary=f"creating {type_}: request send failed: read: connection reset by peer")
        return AWS.refuse(REFUSALS[struck.kind], making, struck.permission)

    def _region(self) -> str:
        (need,) = self._graph()["requirements"]
        return str(need["config"]["region"])

    def _struck(self, contents: Contents, call: str, making: Making) -> tuple[Fault, ...]:
        return striking(read_faults(self._world.faults_path), contents, call, AWS, making)


def _ended(said: tuple[Diagnostic, ...]) -> Row:
    return {"diagnostics": said, "interrupted": False, "killed": False, "timed_out": False, "seconds": 0.0}


def _said(address: str, refusal: Refusal) -> Diagnostic:
    found = {"severity": "error", "summary": refusal.summary, "detail": refusal.detail, "address": address}
    return diagnostic_of(found, scrubber=Scrubber(()))


def _address(row: Row) -> str:
    return str(row["address"])


def _changes(wanted: dict[str, Row], known: dict[str, Row]) -> Iterator[tuple[str, list[str]]]:
    fresh: set[str] = set()
    for address in _in_order(wanted):
        row, type_ = wanted[address], address.partition(".")[0]
        if address not in known:
            fresh.add(address)
            yield address, ["create"]
            continue
        same = _without_plan(known[address]["attributes"]["$raw"]) == _without_plan(json.dumps(row["arguments"]))
        # Its arguments are not known before what they name is there. What it only waits for changes nothing of it.
        moved = type_ in REPLACED_BY and bool(_named(row) & fresh)
        if known[address].get("status") == "tainted" or (type_ in REPLACED_BY and not same) or moved:
            fresh.add(address)
            yield address, ["delete", "create"]
        elif not same:
            yield address, ["update"]
    for address in sorted(known.keys() - wanted.keys()):
        yield address, ["delete"]


def _without_plan(raw: str) -> Row:
    """Arguments without the tag that is not brought up to date."""
    found: Row = json.loads(raw)
    found.get("tags", {}).pop("skyc-plan", None)
    return found


def _needs(row: Row) -> set[str]:
    return set(row["depends_on"]) | _named(row)


def _named(row: Row) -> set[str]:
    return {text.rpartition(".")[0] for text in _refs(row["arguments"])}


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"$ref"}:
            yield value["$ref"]
        else:
            yield from (text for item in value.values() for text in _refs(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _refs(item))


def _in_order(rows: dict[str, Row]) -> list[str]:
    """What is needed comes first; equal ones by address."""
    done: list[str] = []
    while len(done) < len(rows):
        done += sorted(name for name in rows.keys() - set(done) if _needs(rows[name]) <= set(done))
    return done


def _resolved(value: Any, ids: Mapping[str, Row]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$ref"}:
            address, _, attribute = value["$ref"].rpartition(".")
            return ids.get(address, {}).get(attribute, ids.get(address, {}).get("id"))
        return {key: _resolved(item, ids) for key, item in value.items()}
    return [_resolved(item, ids) for item in value] if isinstance(value, list) else value
