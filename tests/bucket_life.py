"""The whole life of a deployment's buckets, through skyc's own commands: made, found again, kept by a destroy, emptied and purged.

Terraform and every command are real. The cloud is two fakes that are one: skyc's simulator of the Terraform provider makes the buckets,
and a fake of the cloud's API, which has its list of buckets from the simulator's world, says what is there and what is in it. Machines
are left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import DeploymentId, holds_storage
from skyc.compiler.terraform import find_engine
from skyc.providers.base import Attachment, Provider
from skyc.providers.local.client import LocalProvider
from skyc.providers.simulator import World, simulate
from skyc.runtime import inspect
from skyc.runtime.apply import _make, locked, site_context
from skyc.runtime.destroy import destroy
from skyc.runtime.planning import planned
from skyc.runtime.plans import plan_result
from skyc.runtime.refusals import compiled
from skyc.runtime.request import Request
from skyc.runtime.results import DestroyOutcome, Plan
from skyc.runtime.session import Session, open_session
from skyc.runtime.sites import site_directory

DEMO = DeploymentId("demo")


class Agreeing:
    """Says yes to a plan, and keeps it."""

    plan: Plan

    def __call__(self, plan: Plan) -> bool:
        self.plan = plan
        return True


@contextmanager
def session_with(provider: Provider, terraform: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session in which the provider's Terraform provider is the simulated one."""

    def attach(self: Provider, *, home: Path) -> AbstractContextManager[tuple[Attachment, ...]]:
        return simulate((terraform,), home=home, registry=find_engine(environ=os.environ).registry)

    monkeypatch.setattr(type(provider), "attach", attach)
    with open_session(home) as session:
        # Where a cached property keeps its value.
        session.__dict__["providers"] = {provider.name: provider, "local": LocalProvider()}
        yield session


def make(session: Session, text: str) -> tuple[dict[str, str], str]:
    """Apply the buckets of a task: address → action, and the report."""
    path = session.home.parent / "task.yaml"
    path.write_text(text)
    request = Request(path=path, env={}, secrets={})
    whole = compiled(session, request)
    assert whole.graphs is not None and whole.synthesized is not None
    kept = [pair for pair in zip(whole.graphs, whole.synthesized, strict=True) if holds_storage(pair[0].site)]
    part = replace(whole, graphs=tuple(graph for graph, _ in kept), synthesized=tuple(made for _, made in kept))
    with locked(session, DEMO, command="test", wait=0) as lock_fd:
        context = site_context(session, DEMO, lock_fd, part)
        with planned(session, request, part, context) as plan:
            changes = {
                change.address: change.action.value
                for site in plan.changes
                for change in site.changes
                if change.action.value != "no-op"
            }
            report = plan_result(plan).report("text")
            _make(session, plan, request)
    return changes, report


def whole_life(session: Session, provider: str, infra: str, scheme: str, data: dict[str, dict[str, bytes]], type_: str) -> None:
    """`data`: what is in each bucket, by the name below the scheme, as the fake keeps it. `type_`: the resource that is the bucket."""
    head = f"name: demo\nresources: {{{infra}}}\nrun: echo hi\n"
    text = f"{head}storage:\n  out: {{size_gb: 100}}\n  Scratch_1: {{persistent: false}}\n"
    changes, report = make(session, text)
    assert set(changes.values()) == {"create"}
    assert f"storage out at {provider}/" in report and "stays after a destroy" in report and "goes with" in report
    seen = {item.storage: item for item in session.provider(provider).observe(DEMO, home=session.home) if item.type == type_}
    label = next(name for name in seen if name != "out")
    assert (seen["out"].keep, seen[label].keep, len(seen)) == (True, False, 2)
    assert f"{type_}.out" in changes and make(session, text)[0] == {}, "what was made is not what was asked for"
    (known,) = inspect.status(session, None, refresh=False)
    uris = {storage.name: storage.uri for storage in known.storages}
    places_of = {name: uri.removeprefix(scheme).partition("?")[0] for name, uri in uris.items()}
    out, scratch = places_of["out"], places_of["Scratch_1"]
    data[out] = {"a/b": b"data", "c": b"more"}
    data[scratch] = {"x": b"gone soon"}

    shown = Agreeing()
    result = destroy(session, "demo", confirm=shown)
    assert result.outcome is DestroyOutcome.DESTROYED
    assert [(kept.name, kept.uri) for kept in result.kept] == [("out", uris["out"])]
    deleted = {change.address for site in shown.plan.changes for change in site.changes if change.action.value == "delete"}
    assert deleted and not any(address.endswith(".out") for address in deleted)
    assert data[out] == {"a/b": b"data", "c": b"more"} and not data[scratch]
    world = World(session.home)
    assert [row.attributes["id"] for row in world.resources(type_)] == [seen["out"].id]

    # The next apply finds it again, also of a file that does not name it any more.
    changes, report = make(session, head)
    assert changes == {} and "the file does not name it any more" in report
    (status,) = inspect.status(session, None, refresh=False)
    module = site_directory(session.home, DEMO, status.sites[0].site) / "cdk.tf.json"
    assert json.loads(module.read_text())["resource"][type_]["out"]["lifecycle"]["prevent_destroy"] is True
    assert data[out], "an apply has deleted data"

    result = destroy(session, "demo", confirm=None, purge=True)
    assert result.kept == () and not data[out] and not world.resources()
    assert not module.exists()


def attributes(session: Session, type_: str) -> list[dict[str, Any]]:
    return [dict(row.attributes) for row in World(session.home).resources(type_)]
