"""The JSON of a plan is what its schema says, and the schema misses nothing of it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.report.plans import BROKEN, report, site

from skyc.compiler.report import Report, render_json, schema

SCHEMA = schema()
PLANS = {
    "everything": report(),
    "failed": report(diagnostics=BROKEN),
    "first": report(before=None, fingerprints=None, policies=(), diagnostics=()),
    "destroy": report(placement=None, before=None, destroying=True, kept=("data at s3://x",)),
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
