"""IR values survive being written and read; whatever else is read ends in one exception."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from skyc.compiler.artifact.codec import Damaged, decode, encode, json_schema
from skyc.compiler.ir import (
    ChangeSet,
    FrozenMap,
    JobPlan,
    PlacementPlan,
    PolicyResult,
    ResourceAddress,
    ResourceGraph,
    Secret,
    SpecPath,
    SynthManifest,
    TaskGraph,
)
from skyc.compiler.ir.resources import ResourceNode
from tests.artifact.values import values_of

KINDS: tuple[type[Any], ...] = (PlacementPlan, ResourceGraph, ChangeSet, TaskGraph, JobPlan, PolicyResult, SynthManifest)
quick = settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@quick
@given(data=st.data())
def test_what_is_written_is_read_back(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(values_of(kind))
    text = encode(value)
    found = decode(kind, text)
    assert found == value
    assert encode(found) == text
    Draft202012Validator(json_schema(kind)).validate(json.loads(text))


def node(**arguments: Any) -> ResourceNode:
    return ResourceNode(address=ResourceAddress("a", "b"), origin=SpecPath(), arguments=FrozenMap(arguments))


def test_amounts_keep_their_digits_and_secrets_are_refused() -> None:
    assert str(decode(ResourceNode, encode(node(x=Decimal("1.50")))).arguments["x"]) == "1.50"
    with pytest.raises(TypeError, match="Secret is not written"):
        encode(node(x=Secret("hunter2")))


@quick
@given(data=st.data())
def test_damage_is_one_exception(data: st.DataObject) -> None:
    """Cut, with bytes changed, or with any JSON at any place."""
    text = bytearray(encode(data.draw(values_of(PlacementPlan))))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(PlacementPlan, bytes(text[: data.draw(st.integers(0, len(text)))]))
    except Damaged as failure:
        assert len(str(failure)) < 300


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x": 1.5}',
        '{"$ref": {"type": "a"}}',
        '{"x": {"$ref": {"type": "a", "name": "b", "attribute": 1}}}',
        '{"x": {"$ref": {"type": "a", "name": "b", "attribute": "c", "step": true}}}',
        '{"x": {"$decimal": "NaN"}}',
        '{"x": {"$decimal": "no"}}',
        '{"x": {"$joined": [1]}}',
        '{"x": {"$other": 1}}',
        '{"x": {"$ref": 1, "y": 2}}',
        "[]",
        "null",
        '{"x": ' + "[" * 5000 + "]" * 5000 + "}",
    ],
)
def test_odd_values_are_refused(arguments: str) -> None:
    text = f'{{"address": {{"type": "a", "name": "b"}}, "origin": {{"steps": []}}, "arguments": {arguments}}}'
    with pytest.raises(Damaged):
        decode(ResourceNode, text.encode())


def test_an_amount_that_is_no_number_is_refused() -> None:
    good = json.loads(encode(node(x=1)))
    assert decode(ResourceNode, json.dumps({**good, "later": 1}).encode()) == node(x=1), "a format may grow"
    placement = '{"name": "x", "count": "sNaN"}'
    from skyc.compiler.ir import Accelerator

    with pytest.raises(Damaged, match="no number"):
        decode(Accelerator, placement.encode())
