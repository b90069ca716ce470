"""The copy of what was applied last: what a plan, another home or a repair that is cut off does to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import SkycError, Span
from skyc.compiler.ir import (
    DeploymentId,
    FrozenMap,
    ResourceAddress,
    ResourceGraph,
    ResourceNode,
    SiteId,
    SpecPath,
)
from skyc.runtime.applied import keep_applied, name_for_now, name_no_more, read_applied

MODULE = '{"resource": {"aws_vpc": {"site": {"cidr_block": "10.0.0.0/16"}}}}'
OTHER = '{"resource": {"aws_vpc": {"site": {"cidr_block": "10.1.0.0/16"}}}}'
GRAPH = ResourceGraph(
    deployment=DeploymentId("train"),
    site=SiteId("train.aws-us-east-1"),
    provider="aws",
    requirements=(),
    resources=(
        ResourceNode(
            address=ResourceAddress("aws_vpc", "site"), origin=SpecPath(("tasks", 0, "resources")), arguments=FrozenMap()
        ),
    ),
    outputs=FrozenMap(),
)


def applied(folder: Path, text: str = MODULE) -> None:
    (folder / "cdk.tf.json").write_text(text)
    keep_applied(folder, GRAPH, lambda address: Span(file="/x/task.yaml", line=3, column=1, end_line=3, end_column=9))


def text_of(folder: Path, shared: str = "") -> str:
    found = read_applied(folder, shared)
    assert found is not None
    return found.text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_plan_that_is_not_applied_changes_nothing(tmp_path: Path) -> None:
    assert read_applied(tmp_path) is None
    applied(tmp_path)
    (tmp_path / "cdk.tf.json").write_text(OTHER)
    found = read_applied(tmp_path)
    assert found is not None and found.text == MODULE
    resource = found.resources["aws_vpc.site"]
    assert (str(resource.origin), resource.place) == ("tasks[0].resources", "task.yaml:3")
    assert resource.arguments["cidr_block"] == "10.0.0.0/16"


def test_what_another_home_applied_is_the_last_one(tmp_path: Path) -> None:
    applied(tmp_path)
    (tmp_path / "cdk.tf.json").write_text(OTHER)
    assert text_of(tmp_path, digest(OTHER)) == OTHER and text_of(tmp_path, digest(MODULE)) == MODULE
    found = read_applied(tmp_path, digest(OTHER))
    assert found is not None and found.resources["aws_vpc.site"].place == "", "the lines here are not those of its task"


def test_without_a_copy_it_is_the_module_in_place(tmp_path: Path) -> None:
    (tmp_path / "cdk.tf.json").write_text(OTHER)
    assert text_of(tmp_path) == OTHER


def test_a_repair_that_is_cut_off_keeps_what_it_named(tmp_path: Path) -> None:
    applied(tmp_path)
    named = MODULE.replace("}}}}", ', "enable_dns_support": true}}}}'.replace("}}}}", "}}}}"))
    name_for_now(tmp_path, named)
    name_for_now(tmp_path, named)
    # Also where the backend calls the plain one the last: it is what the named one was made from.
    assert text_of(tmp_path) == text_of(tmp_path, digest(MODULE)) == named
    name_no_more(tmp_path)
    name_no_more(tmp_path)
    assert text_of(tmp_path) == MODULE
    name_for_now(tmp_path, named)
    applied(tmp_path, OTHER)
    assert text_of(tmp_path) == OTHER, "an apply is the last word"


def test_a_damaged_copy_is_said(tmp_path: Path) -> None:
    applied(tmp_path)
    (tmp_path / "applied" / "cdk.tf.json").write_text("{")
    with pytest.raises(SkycError) as refused:
        read_applied(tmp_path)
    assert refused.value.diagnostics[0].slug == "module-damaged"
