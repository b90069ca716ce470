"""The world of the simulated clouds: one JSON file, which every simulated provider of one home shares.

Invariants
- A change is made under a lock, written beside and renamed: whoever is killed, the file holds the world before or after it.
- Nothing but a change writes: reading a damaged file is an error, never a new world.
- It holds what Terraform said and what was decided, in clear, as a cloud does; its mode is 0600.

`calls.jsonl` beside it has a line for each call that would have reached the cloud, for tests to count.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

FORMAT_VERSION = "1"
FOLDER = "simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldResource:
    """Something that exists. `attributes` are as in Terraform's state, in JSON's types."""

    type: str
    id: str
    attributes: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(slots=True)
class Contents:
    """The world while it is being changed. `faults`: how often each rule of the faults file has struck."""

    seed: str = "0"
    resources: dict[str, WorldResource] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    def of_type(self, type_: str) -> Iterator[WorldResource]:
        return (resource for resource in self.resources.values() if resource.type == type_)

    def find(self, id: object, *types: str) -> WorldResource | None:
        """By id, or by what else clouds accept for one (`self_link`, `name`)."""
        for type_ in types:
            for resource in self.of_type(type_):
                if id in (resource.id, resource.attributes.get("self_link"), resource.attributes.get("name")):
                    return resource
        return None


class World:
    """The world below a home. Cheap to make; holds nothing open between calls."""

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self.path = self.folder / "world.json"
        self.faults_path = self.folder / "faults.yaml"
        self._calls = self.folder / "calls.jsonl"

    @contextmanager
    def changing(self) -> Iterator[Contents]:
        """The contents, to be changed; written when the block ends without an exception. One changer at a time."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contents = self.read()
            yield contents
            self._write(contents)
        finally:
            os.close(lock)

    def read(self) -> Contents:
        """A copy of what is there. Raises ValueError for a file that is not a world."""
        try:
            document = json.loads(self.path.read_text(), parse_float=Decimal)
        except FileNotFoundError:
            return Contents()
        if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"{self.path} is not a world this skyc knows")
        found = [WorldResource(**entry) for entry in document["resources"]]
        return Contents(
            seed=document["seed"],
            resources={resource.key: resource for resource in found},
            faults=document["faults"],
        )

    def resources(self, type_: str | None = None) -> tuple[WorldResource, ...]:
        """Everything there is, sorted by type and id."""
        return tuple(found for _, found in sorted(self.read().resources.items()) if type_ in (None, found.type))

    def change(self, type_: str, id: str, **attributes: Any) -> None:
        """Change a resource behind Terraform's back. Raises KeyError when there is none."""
        with self.changing() as contents:
            found = contents.resources[f"{type_}/{id}"]
            contents.resources[found.key] = WorldResource(type=type_, id=id, attributes={**found.attributes, **attributes})

    def remove(self, type_: str, id: str) -> None:
        """Let a resource vanish. Raises KeyError when there is none."""
        with self.changing() as contents:
            del contents.resources[f"{type_}/{id}"]

    def record(self, call: str, type_: str, id: str | None, outcome: str) -> None:
        """Append to the list of calls. One write, so lines of several providers do not mix."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps({"call": call, "type": type_, "id": id, "outcome": outcome}) + "\n"
        descriptor = os.open(self._calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def calls(self) -> tuple[dict[str, Any], ...]:
        try:
            lines = self._calls.read_text().splitlines()
        except FileNotFoundError:
            return ()
        return tuple(json.loads(line) for line in lines)

    def _write(self, contents: Contents) -> None:
        resources = [
            {"type": resource.type, "id": resource.id, "attributes": dict(resource.attributes)}
            for _, resource in sorted(contents.resources.items())
        ]
        document = {
            "format_version": FORMAT_VERSION,
            "seed": contents.seed,
            "faults": contents.faults,
            "resources": resources,
        }
        # Without indentation, with which Python's encoder is an order slower: a world is written at every call.
        text = json.dumps(document, sort_keys=True, default=_number)
        if self.path.exists() and self.path.read_text() == text:
            return
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        unfinished.replace(self.path)


def _number(value: object) -> Any:
    """Decimals as numbers where JSON's would be exact, else as text, which Terraform's state reads as a number too."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} does not belong in a world")
    return float(value) if Decimal(repr(float(value))) == value else format(value, "f")
