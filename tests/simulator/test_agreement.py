"""The offline check and Terraform agree: what one refuses of a module's shape, the other refuses too, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from skyc.compiler.ir import FrozenMap, ResourceAddress, ResourceGraph
from skyc.providers.schemas import check, load_schema
from tests.schemas import graphs
from tests.schemas.graphs import ref, value
from tests.schemas.test_check import BAD

from .conftest import Site

pytestmark = pytest.mark.terraform

INSTANCE = "aws_instance.node"

GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    # Terraform converts these; the check must not be stricter.
    "number as text": (INSTANCE, {"root_block_device": {"volume_size": "8"}}),
    "text as number": (INSTANCE, {"ami": 5}),
    "bool as text": (INSTANCE, {"monitoring": "true"}),
    "number in a map": (INSTANCE, {"tags": {"count": 5}}),
    "bool as string": (INSTANCE, {"iam_instance_profile": True}),
    "one block in a list": (INSTANCE, {"root_block_device": [{"volume_size": 8}]}),
    "no block": (INSTANCE, {"root_block_device": []}),
    "reference to a number": (INSTANCE, {"cpu_options": {"core_count": ref("aws_launch_template.none", "latest_version")}}),
    "reference into a block": (INSTANCE, {"ami": ref("aws_launch_template.none", "metadata_options[0].http_tokens")}),
    "reference to a set": (INSTANCE, {"secondary_private_ips": ref("aws_vpc_endpoint.none", "subnet_ids")}),
}

AT_PLAN = "aws_instance.list-for-a-string"
"""Terraform sees the type of a reference to a resource only when it plans; the check need not wait."""

HELPERS: dict[str, dict[str, Any]] = {
    "aws_launch_template.none": {"name": "none"},
    "aws_vpc_endpoint.none": {"vpc_id": ref("aws_vpc.net"), "service_name": "s3"},
}


def variants() -> ResourceGraph:
    """A resource per case, each with one mistake or one oddity, beside what they refer to."""
    base = graphs.graph("aws", "6.69.1", graphs.AWS_CONFIG, {**graphs.AWS_RESOURCES, **HELPERS})
    nodes = list(base.resources)
    cases = {case: (address, arguments) for case, (address, arguments, _, _) in BAD.items()} | GOOD
    for case, (address, arguments) in cases.items():
        (original,) = (node for node in base.resources if str(node.address) == address)
        kept = FrozenMap({**original.arguments, **{name: value(item) for name, item in arguments.items()}})
        named = ResourceAddress(original.address.type, re.sub(r"\W", "-", case))
        nodes.append(replace(original, address=named, arguments=kept))
    return replace(base, resources=tuple(sorted(nodes, key=lambda node: str(node.address))))


def test_they_refuse_the_same(site: Site) -> None:
    graph = variants()
    ours = {found.detail.partition(": ")[0] for found in check(graph, [load_schema("aws")])}
    site.write(graph)
    run = site.terraform.validate()
    theirs = {found.group(0) for said in run.diagnostics for found in re.finditer(r"\baws_\w+\.[\w-]+", _address(said.detail))}
    assert theirs | {AT_PLAN} == ours
    assert len(ours) == len(BAD)


def _address(detail: str) -> str:
    """The line that names the resource."""
    return next((line for line in detail.splitlines() if line.startswith("Resource: ")), "")
