"""Every example at every cloud, as far as its Terraform: the root modules a reviewer would read, without starting Node.

An example is put where a cloud has machines for it (`PLACES`), by machine and zone, so that no price changes what is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from skyc.compiler.buckets import MARK, place_buckets
from skyc.compiler.candidates import candidates
from skyc.compiler.diagnostics import Diagnostic, SourceFile, has_errors
from skyc.compiler.ir import Addresses, DeploymentId, Infra, NodeGroup, ResourceGraph, ResourceRequest, Task, TaskGraph
from skyc.compiler.lower import Lowering, lower
from skyc.compiler.optimize import optimize
from skyc.compiler.parse import parse
from skyc.compiler.pipeline import capabilities_of
from skyc.compiler.resolve import EnvOverrides, resolve
from skyc.compiler.synth import site_json
from skyc.providers.base import NetworkChoice
from tests.filetests.stage_runners import ACCESS, HOME, IMAGES, MACHINES, PROVIDERS, RUNTIME

EXAMPLES = Path(__file__).parents[2] / "examples"
NO_TASKS = ("ci",)
"""Folders whose YAML is somebody else's."""
CLOUDS = ("aws", "azure", "gcp", "ibm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where examples go at a cloud, and on which machines: a small one, one of 16 CPUs, one with eight devices."""

    region: str
    zone: str | None
    small: str
    large: str
    devices: str


PLACES = {
    "aws": Place(region="us-east-1", zone="use1-az1", small="m5.large", large="m5.4xlarge", devices="p4d.24xlarge"),
    "azure": Place(
        region="eastus", zone=None, small="Standard_D2s_v5", large="Standard_D16s_v5", devices="Standard_ND96asr_v4"
    ),
    "gcp": Place(
        region="us-central1", zone="us-central1-a", small="n2-standard-2", large="n2-standard-16", devices="a2-highgpu-8g"
    ),
    "ibm": Place(region="us-south", zone="us-south-1", small="bx2-8x32", large="bx2-8x32", devices="gx2-8x64x1v100"),
}


def names() -> tuple[str, ...]:
    """The examples, as paths below their folder."""
    found = (path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.yaml"))
    return tuple(sorted(str(path) for path in found if path.parts[0] not in NO_TASKS))


@cache
def lowered(
    example: str, cloud: str, public: Addresses = Addresses.HEAD
) -> tuple[tuple[ResourceGraph, ...], tuple[Diagnostic, ...]]:
    """An example's graphs at a cloud, buckets first; none with the errors where it cannot be made there."""
    source = SourceFile(path=example, text=(EXAMPLES / example).read_text())
    spec, sources, said = parse(source)
    assert spec is not None, said
    path = EXAMPLES / example
    resolved, said = resolve(spec, sources, stem=path.stem, directory=path.parent, overrides=EnvOverrides.of())
    assert resolved is not None, said
    graph = _placed(resolved.graph, cloud)
    catalog, deployment = MACHINES[cloud], DeploymentId(graph.name)
    found, said = candidates(graph, catalog, sources, capabilities_of(PROVIDERS))
    if has_errors(said):
        return (), said
    plan, said = optimize(graph, found, sources, targets=capabilities_of(PROVIDERS))
    if plan is None or has_errors(said):
        return (), said
    how = Lowering(
        providers=PROVIDERS,
        deployment=deployment,
        home=HOME,
        runtime=RUNTIME,
        sources=sources,
        access=lambda _: ACCESS,
        images=IMAGES,
        networks={(cloud, PLACES[cloud].region): NetworkChoice(public=public)},
    )
    buckets = place_buckets(graph, plan, PROVIDERS, catalog, deployment=deployment, mark=MARK)
    graphs, said = lower(graph, plan, how, buckets=buckets)
    return (() if has_errors(said) else graphs), said


def _placed(graph: TaskGraph, cloud: str) -> TaskGraph:
    return replace(graph, tasks=tuple(_task(task, cloud) for task in graph.tasks))


def _task(task: Task, cloud: str) -> Task:
    def group(item: NodeGroup) -> NodeGroup:
        return replace(item, requests=tuple(_request(request, PLACES[cloud], cloud) for request in item.requests))

    return replace(task, groups=tuple(group(item) for item in task.groups))


def _request(request: ResourceRequest, place: Place, cloud: str) -> ResourceRequest:
    infra = Infra(provider=cloud, region=place.region, zone=place.zone)
    if request.accelerators:
        return replace(request, infra=infra, instance_type=place.devices)
    many = request.cpus is not None and request.cpus.amount >= 16
    return replace(request, infra=infra, instance_type=place.large if many else place.small, cpus=None, memory_gb=None)


def modules(example: str, cloud: str, public: Addresses = Addresses.HEAD) -> Iterator[tuple[str, dict[str, Any]]]:
    """Site → its root module, as synth writes it (`test_golden` compares)."""
    for graph in lowered(example, cloud, public)[0]:
        site = json.loads(site_json(graph))
        resources: dict[str, dict[str, Any]] = {}
        for made in site["resources"]:
            body = resources.setdefault(made["type"], {}).setdefault(made["name"], {})
            for path, value in made["overrides"]:
                *above, last = path.split(".")
                inner = body
                for step in above:
                    inner = inner.setdefault(step, {})
                inner[last] = value
        required = {need["name"]: {"source": need["source"], "version": need["version"]} for need in site["providers"]}
        yield (
            str(graph.site),
            {
                "output": {name: {"value": value} for name, value in site["outputs"]},
                "provider": {need["name"]: [need["config"]] for need in site["providers"]},
                "resource": resources,
                "terraform": {"required_providers": required},
            },
        )
