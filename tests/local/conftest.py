"""Nodes for these tests, and what makes it safe to test their removal.

Every test works in its own scratch directory. What a test leaves running is ended through its marker of a life in a home of
this session, never by a name.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from skyc.compiler.ir import FrozenMap, NodeRuntime
from skyc.providers.local import lifecycle
from skyc.providers.local.node import NodeResource
from skyc.providers.local.record import NodeRecord, boot_id, new_life_id, save, write_atomically, write_owner
from skyc.providers.local.trees import TEMP_ROOT, new_temp_dir
from skyc.providers.tfplugin.resource import UNKNOWN, CallContext

DEPLOYMENT = "tests"


@pytest.fixture(autouse=True)
def _in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a relative path leads to is here."""
    scratch = tmp_path / "cwd"
    scratch.mkdir()
    monkeypatch.chdir(scratch)


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One unpacked Ray for all homes of the session."""
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    return place


def record_of(home: Path, /, name: str = "n0", **changes: Any) -> NodeRecord:
    """A head with one CPU, in a life of its own."""
    fields: dict[str, Any] = {
        "id": new_life_id(),
        "home": str(home),
        "deployment": DEPLOYMENT,
        "name": name,
        "group": "main",
        "rank": 0,
        "role": "head",
        "cpus": Decimal(1),
        "memory_mb": 600,
        "accelerators": FrozenMap(),
        "labels": FrozenMap({"skyc.io/node": name}),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "ray": NodeRuntime(python="3.11").ray,
        "head_address": None,
        "head_life": None,
        "temp_dir": new_temp_dir(),
        "boot": boot_id(),
    }
    return NodeRecord(**{**fields, **changes})


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.02)
    return value


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class World:
    """A home with real nodes in it, seen without the provider's own eyes."""

    home: Path
    deployment: str = DEPLOYMENT
    resource: NodeResource = field(default_factory=NodeResource)
    temp_dirs: set[Path] = field(default_factory=set)
    lives: set[str] = field(default_factory=set)

    @property
    def context(self) -> CallContext:
        return CallContext(stopping=threading.Event(), home=self.home)

    def directory(self, name: str) -> Path:
        return self.home / "deployments" / self.deployment / "nodes" / name

    def plan(self, name: str, head: dict[str, Any] | None = None) -> dict[str, Any]:
        """The planned values of a node that is to be created, as Terraform would give them."""
        record = record_of(self.home, name, rank=1 if head else 0)
        proposed: dict[str, Any] = dict.fromkeys(self.resource.schema.attributes)
        for attribute in ("deployment", "name", "group", "rank", "cpus", "memory_mb", "python", "ray"):
            proposed[attribute] = getattr(record, attribute)
        proposed |= {"role": "worker" if head else "head", "labels": dict(record.labels), "accelerators": {}}
        if head:
            proposed |= {"head_address": head["address"], "head_life": head["id"]}
        assert self.resource.validate(proposed) == ()
        return dict(self.resource.plan(None, proposed).values)

    def create(self, name: str, head: dict[str, Any] | None = None) -> dict[str, Any]:
        planned = self.plan(name, head)
        state = dict(self.resource.create(planned, self.context))
        assert UNKNOWN not in state.values(), "something is still undecided after create"
        assert {key: state[key] for key in planned if planned[key] is not UNKNOWN} == {
            key: value for key, value in planned.items() if value is not UNKNOWN
        }
        self.note()
        return state

    def read(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.resource.read(state, self.context)
        return None if found is None else dict(found)

    def note(self) -> None:
        """Remember the places and lives that exist now."""
        for record in lifecycle.find_records(self.home, self.deployment):
            self.temp_dirs.add(Path(record.temp_dir))
            self.lives.add(record.id)

    def processes(self) -> list[psutil.Process]:
        """Every living process with a life's marker, or that names the home or a temporary directory ever seen."""
        markers = [f"SKYC_NODE_LIFE={life}".encode() for life in self.lives]
        places = [os.fsencode(place) for place in (self.home, *self.temp_dirs)]
        found = []
        for process in psutil.process_iter():
            folder = Path(f"/proc/{process.pid}")
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                words = (folder / "cmdline").read_bytes() + b"\0" + os.fsencode((folder / "cwd").readlink())
            except OSError:
                continue
            mine = any(marker in environ for marker in markers) or any(place in words for place in places)
            if mine and process.pid != os.getpid() and is_running(process.pid):
                found.append(process)
        return found

    def leftovers(self) -> tuple[str, ...]:
        """What still exists of any node, as texts."""
        left = [f"process {process.pid}" for process in self.processes()]
        left += [str(place) for place in self.temp_dirs if place.exists()]
        for file in TEMP_ROOT.glob("skyc-*/owner.json"):
            # Another test's may go between the listing and the reading.
            with suppress(OSError):
                left += [str(file)] if str(self.home) in file.read_text() else []
        left += [str(entry) for entry in self.home.glob("deployments/*/nodes/*")]
        left += [str(entry) for entry in self.home.glob("deployments/*/nodes/.*")]
        return tuple(left)


@pytest.fixture
def world(home: Path, runtimes: Path) -> Iterator[World]:
    """An empty home. Nodes a failed test leaves are removed."""
    (home / "runtimes").symlink_to(runtimes)
    world = World(home)
    try:
        yield world
    finally:
        world.note()
        try:
            for record in lifecycle.find_records(home, DEPLOYMENT):
                lifecycle.delete(record)
        finally:
            for process in world.processes():
                process.send_signal(signal.SIGKILL)


def pretend(record: NodeRecord) -> NodeRecord:
    """The files of a node that runs nothing."""
    record.directory.mkdir(mode=0o700, parents=True)
    save(record)
    Path(record.temp_dir).mkdir(mode=0o700)
    write_owner(record)
    write_atomically(record.directory / "token", b"token")
    return record
