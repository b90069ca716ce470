"""The JSON of a plan is what its schema says, and the schema misses nothing of it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.report.plans import BROKEN, report, site

from skyc.compiler.diagnostics import Diagnostic, Severity, Span, diagnostic_object, warning
from skyc.compiler.report import Report, render_json, schema

SCHEMA = schema()
PLANS = {
    "everything": report(),
    "failed": report(diagnostics=BROKEN),
    "first": report(before=None, fingerprints=None, policies=(), diagnostics=()),
    "destroy": report(placement=None, before=None, destroying=True, kept=("data at s3://x",)),
    "destroy-priced": report(placement=None, destroying=True),
    "not-compared": report(changes=()),
    "nothing": report(changes=(site(),), jobs=()),
}


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(item) for name, item in schema.items()}
    return {**inner, "additionalProperties": False} if inner.get("type") == "object" else inner


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_a_plan_is_as_the_schema_says_and_no_more(plan: Report) -> None:
    Draft202012Validator(closed(deepcopy(SCHEMA))).validate(json.loads(render_json(plan)))


def fields(document: Any, path: str) -> Any:
    for step in path.split("."):
        document = document[int(step)] if step.isdigit() else document[step]
    return document


def test_a_later_version_may_add_and_not_take_away() -> None:
    document = json.loads(render_json(PLANS["everything"]))
    document["later"] = 1
    Draft202012Validator(SCHEMA).validate(document)
    for path, name in (("cost", "per_run"), ("placement.0", "hourly"), ("changes.0", "address"), ("policies.0", "blocks")):
        broken = deepcopy(document)
        del fields(broken, path)[name]
        assert not Draft202012Validator(SCHEMA).is_valid(broken), f"{path}.{name}"


def test_amounts_are_exact_beside_what_is_read() -> None:
    cost = json.loads(render_json(PLANS["everything"]))["cost"]
    assert (cost["per_run"], cost["per_run_before"]) == ("$43.78", "$50.64")
    assert (cost["usd"]["per_run"], cost["usd"]["per_run_before"]) == ("43.776", "50.64")


SPAN = Span(file="a.yaml", line=3, column=5, end_line=3, end_column=9)
SAID = {
    "placed": Diagnostic(
        severity=Severity.ERROR, slug="no-gpu", summary="None", span=SPAN, hint="h", commands=("x",), resource="aws_instance.a"
    ),
    "bare": warning("no-gpu", "None"),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
def test_a_diagnostic_is_as_the_schema_says_and_no_more(said: Diagnostic) -> None:
    Draft202012Validator(closed(deepcopy(SCHEMA["$defs"]["diagnostic"]))).validate(diagnostic_object(said))


def test_a_diagnostic_says_its_place_for_people_and_for_programs() -> None:
    found = diagnostic_object(SAID["placed"])
    assert [found[name] for name in ("place", "file", "line", "column")] == ["a.yaml:3:5", "a.yaml", 3, 5]
    assert (found["resource"], found["commands"]) == ("aws_instance.a", ["x"])


def test_no_document_spells_a_diagnostic_by_itself() -> None:
    root = Path(__file__).parents[2]
    paths = [path for package in ("cli", "compiler", "runtime") for path in (root / package).rglob("*.py")]
    assert [path.name for path in paths if '"slug":' in path.read_text()] == ["diagnostics.py"]
