"""The JSON Schema accepts what the parser accepts, and refuses the mistakes an editor should show while typing."""

import json

import pytest

from skyc.compiler.diagnostics import SourceFile
from skyc.compiler.parse import fields, parse
from skyc.compiler.schema import json_schema

from ..filetest import discover, read
from .documents import schema_errors


def accepted(text: str) -> bool:
    return parse(SourceFile(path="task.yaml", text=text))[0] is not None


ACCEPTED = [test for test in map(read, discover()) if accepted(test.text)]


def test_it_accepts_what_the_parser_accepts() -> None:
    assert len(ACCEPTED) >= 15
    for test in ACCEPTED:
        assert schema_errors(test.text) == [], test.path.name


@pytest.mark.parametrize(
    "text",
    [
        "nmae: x",
        "run: [echo]",
        "num_nodes: 0",
        'num_nodes: "2"',
        "resources: {cpus: many}",
        "resources: {memory: 32 gigabytes}",
        "resources: {use_spot: maybe}",
        "resources: {disk_tier: fastest}",
        "resources: {any_of: [{acelerators: H100}]}",
        "envs: [A]",
        "envs: {2FAST: x}",
        "checkpoint: {path: x, every: 5 minutes}",
        "storage: {a: {mode: SOMEHOW}}",
        "storage: {a: {keep_days: 0}}",
        "storage: {a: {placement: here}}",
        "inputs: {/data: 3}",
        "inputs: {data: }",
        "outputs: [data]",
        "hours: {8xH100: 3}",
        "hours: {H100: soon}",
        "affinity: {same: {planet: b}}",
        "affinity: {same: [b]}",
        "traffic: lots",
        "resources: {interruption_rate: -1}",
        "- run: echo",
    ],
)
def test_it_refuses_what_the_parser_refuses(text: str) -> None:
    assert not accepted(text)
    assert schema_errors(text)


def test_every_field_has_a_sentence() -> None:
    properties = json_schema()["$defs"]["task"]["properties"]
    shown = {field.name for field in fields.TASK.fields if not field.name.startswith("_")}
    assert set(properties) == shown
    assert all(row["description"].endswith(".") for row in properties.values())


def test_it_is_the_same_each_time_and_nobody_elses_object() -> None:
    first = json_schema()
    text = json.dumps(first)
    first["$defs"].clear()
    assert json.dumps(json_schema()) == text
