"""A small real resource to drive the provider framework with: `skyc_note` is a file below the provider's home.

`gate` holds a create back until that path exists, so a test decides when a create ends. `fault` makes calls fail.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from skyc.providers.tfplugin.resource import (
    UNKNOWN,
    CallContext,
    Planned,
    ProviderDefinition,
    ResourceBase,
    ResourceError,
    Values,
    is_unknown,
)
from skyc.providers.tfplugin.schema import NUMBER, Attribute, NestedBlock, Nesting, Schema, list_of, map_of, object_of, set_of

SCHEMA = Schema(
    version=1,
    description="A note.",
    attributes={
        "name": Attribute(required=True, force_new=True),
        "content": Attribute(optional=True, default="empty"),
        "secret": Attribute(optional=True, sensitive=True),
        "labels": Attribute(optional=True, type=map_of("string")),
        "tags": Attribute(optional=True, type=set_of("string")),
        "weights": Attribute(optional=True, type=list_of(NUMBER)),
        "any": Attribute(optional=True, type="dynamic"),
        "places": Attribute(optional=True, type=list_of(object_of({"city": "string", "rank": "number"}))),
        "gate": Attribute(optional=True),
        "fault": Attribute(optional=True),
        "id": Attribute(computed=True),
        "size": Attribute(computed=True, type=NUMBER),
        "mood": Attribute(optional=True, computed=True),
    },
    blocks={
        "line": NestedBlock(
            attributes={
                "text": Attribute(required=True),
                "font": Attribute(optional=True, force_new=True),
                "digest": Attribute(computed=True),
            }
        ),
        "cover": NestedBlock(nesting=Nesting.SINGLE, attributes={"color": Attribute(optional=True, default="blue")}),
        "stamp": NestedBlock(nesting=Nesting.SET, attributes={"ink": Attribute(required=True)}),
    },
)


class Note(ResourceBase):
    @property
    def schema(self) -> Schema:
        return SCHEMA

    @property
    def type_name(self) -> str:
        return "skyc_note"

    def validate(self, config: Values) -> tuple[tuple[str, str | None], ...]:
        lines = [] if is_unknown(config["line"]) else config["line"]
        return tuple(
            ("A line must not be empty.", f"line[{index}].text") for index, line in enumerate(lines) if line["text"] == ""
        )

    def plan(self, prior: Values | None, proposed: dict[str, Any]) -> Planned:
        planned = super().plan(prior, proposed)
        if prior is None or prior["content"] == planned.values["content"]:
            return planned
        return Planned({**planned.values, "size": UNKNOWN}, planned.requires_replace)

    def create(self, planned: Values, context: CallContext) -> Values:
        file = self.file(context, planned["name"])
        file.parent.mkdir(parents=True, exist_ok=True)
        if planned["fault"] == "before":
            raise ResourceError("No paper left", "Buy some.", "fault")
        if planned["gate"]:
            (file.parent / f"{planned['name']}.started").touch()
            while not Path(planned["gate"]).exists():
                time.sleep(0.005)
            if context.stopping.is_set():
                (file.parent / f"{planned['name']}.stopping").touch()
        state = self.write(planned, context)
        if planned["fault"] == "partial":
            raise ResourceError("The ink ran dry", "Half a note was written.", partial=state)
        if planned["fault"] == "defect":
            raise RuntimeError("nobody thought of this")
        if planned["fault"] == "misfit":
            return {**state, "size": "large"}
        return state

    def read(self, state: Values, context: CallContext) -> Values | None:
        file = self.file(context, state["name"])
        if not file.exists():
            return None
        found = json.loads(file.read_text())
        return {**state, "content": found["content"], "size": len(found["content"]), "mood": state["mood"] or "calm"}

    def update(self, prior: Values, planned: Values, context: CallContext) -> Values:
        return self.write(planned, context)

    def delete(self, state: Values, context: CallContext) -> None:
        if state["fault"] == "keep":
            raise ResourceError("The note is glued to the wall")
        self.file(context, state["name"]).unlink(missing_ok=True)

    def import_state(self, id: str, context: CallContext) -> Values:
        if not self.file(context, id).exists():
            raise ResourceError("There is no such note", f"No file is called {id!r}.")
        return {"name": id, "id": id}

    def write(self, planned: Values, context: CallContext) -> Values:
        lines = [{**line, "digest": hashlib.sha256(line["text"].encode()).hexdigest()} for line in planned["line"]]
        content = planned["content"]
        self.file(context, planned["name"]).write_text(json.dumps({"content": content, "lines": lines}))
        mood = "calm" if is_unknown(planned["mood"]) else planned["mood"]
        return {**planned, "line": lines, "id": planned["name"], "size": len(content), "mood": mood}

    @staticmethod
    def file(context: CallContext, name: str) -> Path:
        return context.home / "notes" / name


def definition() -> ProviderDefinition:
    return ProviderDefinition(resources=(Note(),))
