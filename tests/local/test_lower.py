"""Lowering to `skyc_node`, and what the resource makes of it before anything runs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Severity
from skyc.compiler.ir import FrozenMap, Market, NodeRuntime, Ref, ResourceGraph, SiteId, SpecPath, canonical
from skyc.providers.base import LowerContext
from skyc.providers.conformance import DEPLOYMENT
from skyc.providers.local import lower as lowering
from skyc.providers.local.client import LocalProvider
from skyc.providers.local.node import SCHEMA, NodeResource
from skyc.providers.tfplugin.resource import UNKNOWN

from .test_conformance import TestLocal as Local


def lowered(num_nodes: int = 1, home: str = "/home/me/.skyc", **request: Any) -> tuple[ResourceGraph | None, Any]:
    suite = Local()
    task = suite.example_task(Path("/"), **request)
    task = replace(task, groups=tuple(replace(group, num_nodes=num_nodes) for group in task.groups))
    placements = suite._placements(LocalProvider().catalog(home=Path(home)), task)
    context = LowerContext(deployment=DEPLOYMENT, site=SiteId("sample.local"), home=home, runtime=NodeRuntime(python="3.11"))
    return lowering.lower(task, placements, context)


def test_a_field_in_no_table_or_in_two_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lowering.check_tables() == ()
    monkeypatch.setattr(lowering, "SUPPORTED", lowering.SUPPORTED - {"cpus"} | {"image_id", "invented"})
    assert lowering.check_tables() == ("cpus", "image_id", "invented")


def test_the_module_is_the_same_in_every_home() -> None:
    here, _ = lowered(home="/home/me/.skyc")
    there, _ = lowered(home="/srv/other")
    assert here is not None and there is not None
    assert canonical(here) == canonical(there)
    assert b"/home/me" not in canonical(here)


def test_workers_hang_on_their_head() -> None:
    graph, said = lowered(3)
    assert graph is not None and said == ()
    head, *workers = graph.resources
    assert [node.arguments["rank"] for node in graph.resources] == [0, 1, 2]
    assert head.arguments["role"] == "head" and "head_life" not in head.arguments
    for worker in workers:
        assert worker.arguments["head_life"] == Ref(head.address, "id")
        assert worker.arguments["head_address"] == Ref(head.address, "address")
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple) and len(nodes) == 3
    for node in nodes:
        assert isinstance(node, FrozenMap) and node["dashboard_port"] == Ref(head.address, "dashboard_port")


def test_everything_lowered_is_an_argument_of_the_resource() -> None:
    graph, _ = lowered(2, labels=FrozenMap({"team": "a"}))
    assert graph is not None
    for node in graph.resources:
        for name in node.arguments:
            assert name in SCHEMA.attributes and not SCHEMA.attributes[name].computed, name
        required = {name for name, attribute in SCHEMA.attributes.items() if attribute.required}
        assert required <= set(node.arguments)
        assert node.arguments["labels"] == FrozenMap(
            {"team": "a", "skyc.io/node": node.arguments["name"], "skyc.io/group": "main"}
        )


@pytest.mark.parametrize(
    ("request_fields", "slug", "refused"),
    [
        ({"image_id": "x"}, "unsupported-here", True),
        ({"market": Market.SPOT}, "unsupported-here", True),
        ({"disk_gb": Decimal(100)}, "ignored-here", False),
        ({"ports": ("80",)}, "ignored-here", False),
        ({"max_hourly_cost": Decimal(1)}, None, False),
    ],
)
def test_what_this_machine_lacks_is_said(request_fields: dict[str, Any], slug: str | None, refused: bool) -> None:
    graph, said = lowered(**request_fields, origin=SpecPath(("resources",)))
    assert [diagnostic.slug for diagnostic in said] == ([slug] if slug else [])
    assert (graph is None) is refused
    assert all(str(diagnostic.subject).startswith("resources.") for diagnostic in said)
    assert all((diagnostic.severity is Severity.ERROR) is refused for diagnostic in said)


def test_a_name_that_leads_elsewhere_is_refused_before_anything_runs() -> None:
    good = {**dict.fromkeys(SCHEMA.attributes), "deployment": "d", "name": "n", "group": "g", "rank": 0, "role": "head",
            "cpus": Decimal(1), "memory_mb": 512, "python": "3.11", "ray": "2.60.0"}  # fmt: skip
    resource = NodeResource()
    assert resource.validate(good) == ()
    for name in ("deployment", "name"):
        for bad in ("", ".", "..", "../x", "a/b", "/etc", "A", "a\n", "a\x00"):
            assert [path for _, path in resource.validate({**good, name: bad})] == [name], (name, bad)
    assert resource.validate({**good, "name": UNKNOWN}) == ()
    assert {path for _, path in resource.validate({**good, "role": "worker"})} == {"head_address", "head_life"}
    assert [path for _, path in resource.validate({**good, "cpus": Decimal(0)})] == ["cpus"]
