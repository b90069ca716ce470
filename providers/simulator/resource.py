"""One resource type of a simulated provider: plans as the schema and overlay say, and lives in the world."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NoReturn

from ..schemas.model import TypeSchema
from ..schemas.rules import broken_rules, values_at
from ..tfplugin.codec import UNKNOWN, compile_block, is_unknown
from ..tfplugin.planning import changed_force_new, plan_computed
from ..tfplugin.resource import CallContext, Planned, ResourceBase, ResourceError, Values
from ..tfplugin.schema import Block, Nesting, Schema
from .facts import decided
from .faults import Fault, FaultKind, FaultsFileError, read_faults, striking
from .holders import holder
from .making import ROOT, Cloud, Making, Refusal, root_of
from .world import Contents, World, WorldResource

TICK = 0.02
REFUSED = {
    FaultKind.NO_CAPACITY: "no-capacity",
    FaultKind.NOT_SOLD: "not-sold",
    FaultKind.NO_REGION: "no-region",
    FaultKind.UNKNOWN_CALLER: "unknown-caller",
    FaultKind.QUOTA: "quota",
    FaultKind.THROTTLED: "throttled",
    FaultKind.DENIED: "denied",
    FaultKind.ADDRESS_IN_USE: "address-in-use",
}


class SimulatedResource(ResourceBase):
    """See `ResourceType` for the contract of the methods."""

    def __init__(self, type_: TypeSchema, cloud: Cloud) -> None:
        self._type = type_
        self._cloud = cloud
        self._wire = compile_block(type_.body)

    @property
    def schema(self) -> Schema:
        return self._type.body

    @property
    def type_name(self) -> str:
        return self._type.name

    def validate(self, config: Values) -> tuple[tuple[str, str | None], ...]:
        """Enums and rules; everything else is in the schema, and Terraform checks it itself."""
        found: list[tuple[str, str | None]] = []
        for path, accepted in self._type.enums.items():
            for value in values_at(config, tuple(path.split("."))):
                if not is_unknown(value) and str(value) not in accepted:
                    choices = " ".join(f'"{choice}"' for choice in accepted)
                    # Inside blocks the elements' positions are not known here; the path leads to the first name.
                    found.append((f"expected {path} to be one of [{choices}], got {value}", path.partition(".")[0]))
        found += [(sentence, path.partition(".")[0]) for path, sentence in broken_rules(self._type, config)]
        return tuple(found)

    def plan(self, prior: Values | None, proposed: dict[str, Any]) -> Planned:
        planned = plan_computed(self.schema, prior, proposed)
        if self.type_name not in self._cloud.newer:
            planned = whole_sets(self.schema, planned)
        for name in self._type.computed_blocks:
            if not planned.get(name):
                planned[name] = UNKNOWN if prior is None else prior.get(name)
        self._cloud.at_plan(self.type_name, planned)
        counted = self._cloud.versions.get(self.type_name)
        if counted is not None and prior is not None and any(planned.get(name) != prior.get(name) for name in planned):
            planned[counted] = UNKNOWN
        return Planned(planned, changed_force_new(self.schema, prior, planned) if prior is not None else ())

    def create(self, planned: Values, context: CallContext) -> Values:
        world = World(context.home)
        with world.changing() as contents:
            making = self._making(contents, planned, context)
            struck = self._struck("create", making, world)
        self._hinder("create", struck, making, world)
        with world.changing() as contents:
            making = self._making(contents, planned, context)
            state = decided(self._cloud, self.schema, making)
            id = str(state.get("id") or making.hex(16))
            if f"{self.type_name}/{id}" in contents.resources and self.type_name not in self._cloud.adopts:
                self._refuse("create", self._cloud.refuse("exists", making, ""), world, id)
            made = WorldResource(type=self.type_name, id=id, attributes={**state, ROOT: making.root})
            contents.resources[made.key] = made
        return self._answered(struck, state, making, world, id)

    def read(self, state: Values, context: CallContext) -> Values | None:
        world = World(context.home)
        id = str(state.get("id"))
        with world.changing() as contents:
            found = contents.resources.get(f"{self.type_name}/{id}")
            if found is None:
                return None
            making = self._making(contents, found.attributes, context, id=id)
            struck = self._struck("read", making, world)
            for fault in struck:
                if fault.kind is FaultKind.PREEMPTED and found is not None:
                    found = self._preempt(contents.resources, found, fault)
        self._hinder("read", struck, making, world)
        return self._state(found) if found is not None else None

    def update(self, prior: Values, planned: Values, context: CallContext) -> Values:
        world = World(context.home)
        id = str(prior.get("id"))
        with world.changing() as contents:
            making = self._making(contents, planned, context, id=id)
            struck = self._struck("update", making, world)
        self._hinder("update", struck, making, world)
        with world.changing() as contents:
            found = contents.resources.get(f"{self.type_name}/{id}")
            if found is None:
                raise ResourceError(f"updating {self.type_name} ({id}): not found", "It was removed since the last refresh.")
            state = decided(self._cloud, self.schema, self._making(contents, planned, context, id=id))
            state["id"] = prior.get("id")
            counted = self._cloud.versions.get(self.type_name)
            if counted is not None and is_unknown(planned.get(counted)):
                state[counted] = (prior.get(counted) or 0) + 1
            attributes = {**state, ROOT: found.attributes.get(ROOT)}
            contents.resources[found.key] = WorldResource(type=self.type_name, id=id, attributes=attributes)
        world.record("update", self.type_name, id, "done")
        return state

    def delete(self, state: Values, context: CallContext) -> None:
        world = World(context.home)
        id = str(state.get("id"))
        with world.changing() as contents:
            struck = self._struck("delete", making := self._making(contents, state, context, id=id), world)
        self._hinder("delete", struck, making, world)
        with world.changing() as contents:
            found = contents.resources.get(f"{self.type_name}/{id}")
            user = holder(self._cloud, contents, found) if found is not None else None
            if user is not None:
                self._refuse("delete", self._cloud.refuse("in-use", making, user.id), world, id)
            contents.resources.pop(f"{self.type_name}/{id}", None)
        world.record("delete", self.type_name, id, "done")

    def import_state(self, id: str, context: CallContext) -> Values:
        found = World(context.home).read().resources.get(f"{self.type_name}/{id}")
        if found is None:
            raise ResourceError("Cannot import non-existent remote object", f"There is no {self.type_name} with the id {id}.")
        return self._state(found)

    # What the calls are made of.

    def _making(self, contents: Contents, values: Values, context: CallContext, id: str = "") -> Making:
        root = root_of(contents, self.type_name, values)
        return Making(type=self.type_name, values=values, config=context.config, world=contents, root=root, id=id)

    def _state(self, found: WorldResource) -> dict[str, Any]:
        """A resource of the world as a value: whatever a hand wrote there has to fit the schema."""
        state: dict[str, Any] = self._wire.from_json(found.attributes, ())
        return state

    def _struck(self, call: str, making: Making, world: World) -> tuple[Fault, ...]:
        try:
            faults = read_faults(world.faults_path)
        except FaultsFileError as wrong:
            raise ResourceError("The simulator's faults cannot be read", str(wrong)) from wrong
        return striking(faults, making.world, call, self._cloud, making)

    def _hinder(self, call: str, struck: tuple[Fault, ...], making: Making, world: World) -> None:
        """Wait, or refuse: what happens before anything is changed."""
        for fault in struck:
            if fault.kind is FaultKind.SLOW and not fault.late:
                _wait(fault)
            elif fault.kind in REFUSED and not (fault.leaves and call == "create"):
                refusal = self._cloud.refuse(REFUSED[fault.kind], making, fault.permission)
                self._refuse(call, refusal, world, making.id or None)

    def _refuse(self, call: str, refusal: Refusal, world: World, id: str | None) -> NoReturn:
        world.record(call, self.type_name, id, refusal.summary)
        raise ResourceError(refusal.summary, refusal.detail, refusal.attribute)

    def _answered(self, struck: tuple[Fault, ...], state: dict[str, Any], making: Making, world: World, id: str) -> Values:
        """What comes back of a create whose resource exists."""
        for fault in struck:
            if fault.kind is FaultKind.SLOW and fault.late:
                _wait(fault)
            elif fault.kind in REFUSED:
                refusal = self._cloud.refuse(REFUSED[fault.kind], making, fault.permission)
                self._refuse("create", refusal, world, id)
            elif fault.kind is FaultKind.REPLY_LOST:
                world.record("create", self.type_name, id, "reply lost")
                raise ResourceError(
                    f"creating {self.type_name}: request send failed: read: connection reset by peer",
                    "The request may have been carried out.",
                )
            elif fault.kind is FaultKind.ERROR_AFTER_CREATE:
                world.record("create", self.type_name, id, "failed after it was made")
                raise ResourceError(
                    f"waiting for {self.type_name} ({id}) create: unexpected state 'failed', wanted target 'available'",
                    partial=state,
                )
        world.record("create", self.type_name, id, "done")
        return state

    def _preempt(self, resources: dict[str, WorldResource], found: WorldResource, fault: Fault) -> WorldResource | None:
        if fault.effect == "vanish":
            del resources[found.key]
            return None
        stopped: Mapping[str, Any] = self._cloud.stopped.get(self.type_name, {})
        changed = WorldResource(type=found.type, id=found.id, attributes={**found.attributes, **stopped})
        resources[found.key] = changed
        return changed


def whole_sets(body: Block, values: Values) -> dict[str, Any]:
    """The older SDK's habit: a set with an element that is not known yet is not known at all."""
    planned = dict(values)
    for name, attribute in body.attributes.items():
        value = values.get(name)
        if attribute.type[0] == "set" and isinstance(value, list) and any(is_unknown(item) for item in value):
            planned[name] = UNKNOWN
    for name, block in body.blocks.items():
        value = values.get(name)
        if block.nesting is Nesting.LIST and isinstance(value, list):
            planned[name] = [whole_sets(block, item) if isinstance(item, Mapping) else item for item in value]
    return planned


def _wait(fault: Fault) -> None:
    """As long as the rule says. An interrupt does not shorten it: a cloud's own work goes on too."""
    deadline = time.monotonic() + fault.seconds
    while time.monotonic() < deadline or (fault.until is not None and not fault.until.exists()):
        time.sleep(TICK)
