"""Values on the wire: nothing is lost between Terraform and Python, and damage is an error with a path."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyc.providers.tfplugin.codec import (
    UNKNOWN,
    CodecError,
    Dynamic,
    Unknown,
    compile_block,
    compile_type,
    number,
    pack,
    parse_state,
    path_text,
    unpack,
)
from skyc.providers.tfplugin.messages import attribute_path
from skyc.providers.tfplugin.schema import Attribute, NestedBlock, Nesting, Schema

PRIMITIVES = st.sampled_from(["string", "number", "bool"])
NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
TYPES: st.SearchStrategy[Any] = st.recursive(
    PRIMITIVES | st.just("dynamic"),
    lambda inner: (
        st.tuples(st.sampled_from(["list", "map", "set"]), inner)
        | st.lists(inner, max_size=3).map(lambda elements: ("tuple", tuple(elements)))
        | st.dictionaries(NAMES, inner, max_size=3).map(lambda members: ("object", members))
    ),
    max_leaves=6,
)
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=30)
    | st.floats(allow_nan=False, allow_infinity=False).map(Decimal)
).map(number)
UNKNOWNS = st.just(UNKNOWN) | st.binary(min_size=1, max_size=9).map(Unknown)


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Any, Any]:
    notation = draw(TYPES)
    return notation, draw(values_of(notation))


def values_of(notation: Any) -> st.SearchStrategy[Any]:
    return st.none() | UNKNOWNS | known_values_of(notation)


def known_values_of(notation: Any) -> st.SearchStrategy[Any]:
    match notation:
        case "string":
            return st.text()
        case "bool":
            return st.booleans()
        case "number":
            return NUMBERS
        case "dynamic":
            return PRIMITIVES.flatmap(lambda inner: values_of(inner).map(lambda value: Dynamic(inner, value)))
        case ("list" | "set", inner):
            return st.lists(values_of(inner), max_size=3)
        case ("map", inner):
            return st.dictionaries(st.text(max_size=5), values_of(inner), max_size=3)
        case ("tuple", elements):
            return st.tuples(*map(values_of, elements)).map(list)
        case ("object", members):
            return st.fixed_dictionaries({name: values_of(inner) for name, inner in members.items()})
        case _:
            raise AssertionError(notation)


def refinements(value: Any) -> list[bytes | None]:
    """Equality of unknowns ignores what is known about them; this does not."""
    if isinstance(value, Unknown):
        return [value.refinement]
    if isinstance(value, Dynamic):
        return refinements(value.value)
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    items = value if isinstance(value, list) else ()
    return [found for item in items for found in refinements(item)]


@given(typed_values())
def test_decoding_undoes_encoding(case: tuple[Any, Any]) -> None:
    notation, value = case
    type_ = compile_type(notation)
    wire = pack(type_, value)
    decoded = unpack(type_, wire)
    assert pack(type_, decoded) == wire
    if "set" not in repr(notation):
        assert decoded == value
        assert refinements(decoded) == refinements(value)


@given(st.lists(st.integers(0, 5) | st.none()), st.randoms(use_true_random=False))
def test_a_set_has_no_order_and_no_duplicates(items: list[int | None], random: Random) -> None:
    type_ = compile_type(("set", "number"))
    shuffled = list(items)
    random.shuffle(shuffled)
    assert pack(type_, items) == pack(type_, shuffled) == pack(type_, set(items))
    decoded = unpack(type_, msgpack.packb(shuffled))
    assert decoded == unpack(type_, pack(type_, items))
    assert len(decoded) == len(set(items))


def test_unknown_elements_of_a_set_may_yet_differ() -> None:
    type_ = compile_type(("set", "string"))
    assert unpack(type_, pack(type_, [UNKNOWN, "a", UNKNOWN, "a"])).count(UNKNOWN) == 2


@given(TYPES, st.binary(max_size=40))
def test_damaged_bytes_are_a_codec_error(notation: Any, raw: bytes) -> None:
    with contextlib.suppress(CodecError):
        unpack(compile_type(notation), raw)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (5, 5),
        (5.0, 5),
        (0.5, 0.5),
        (0.1, "0.1"),
        (Decimal("0.1"), "0.1"),
        (Decimal(2.0**-60), 2.0**-60),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        (Decimal("1e30"), str(10**30)),
    ],
)
def test_numbers_travel_as_terraform_writes_them(value: Any, wire: Any) -> None:
    """One tenth is a decimal in Terraform; sent as the nearest binary fraction it would be another number."""
    packed = pack(compile_type("number"), value)
    assert msgpack.unpackb(packed) == wire
    assert pack(compile_type("number"), unpack(compile_type("number"), packed)) == packed


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), Decimal("1e999999"), True, "5", 10**9999],
    ids=["nan", "infinity", "absurd", "bool", "text", "huge"],
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(CodecError):
        pack(compile_type("number"), value)


def test_a_refined_unknown_keeps_what_is_known_about_it() -> None:
    sent = msgpack.packb(["a", msgpack.ExtType(12, msgpack.packb({1: False, 2: "n-"}))])
    type_ = compile_type(("list", "string"))
    assert pack(type_, unpack(type_, sent)) == sent


SCHEMA = Schema(
    attributes={"name": Attribute(required=True), "size": Attribute(computed=True, type="number")},
    blocks={
        "disk": NestedBlock(attributes={"gb": Attribute(required=True, type="number")}),
        "net": NestedBlock(nesting=Nesting.GROUP, attributes={"ip": Attribute(computed=True)}),
        "rule": NestedBlock(nesting=Nesting.MAP, attributes={"port": Attribute(optional=True, type="number")}),
        "boot": NestedBlock(nesting=Nesting.SINGLE, attributes={"gb": Attribute(optional=True, type="number")}),
    },
)


def test_what_is_left_out_is_null_and_blocks_are_empty() -> None:
    type_ = compile_block(SCHEMA)
    expected: dict[str, object] = {"name": "a", "size": None, "disk": [], "net": {"ip": None}, "rule": {}, "boot": None}
    assert unpack(type_, pack(type_, {"name": "a"})) == expected
    old = parse_state(type_, b'{"name": "a", "gone": [1]}')
    assert unpack(type_, pack(type_, old)) == expected


def test_a_misfit_names_its_place() -> None:
    type_ = compile_block(SCHEMA)
    with pytest.raises(CodecError) as caught:
        pack(type_, {"name": "a", "disk": [{"gb": 1}, {"gb": "two"}]})
    assert str(caught.value) == "disk[1].gb: a number is needed, not str"
    with pytest.raises(CodecError, match="no attribute called nmae"):
        pack(type_, {"nmae": "a"})


@pytest.mark.parametrize("path", [("disk", 0, "gb"), ("tags", "cost.center"), ("tags", 'a"]b'), ("name",), ("tags", "ü x")])
def test_a_path_survives_its_text(path: tuple[str | int, ...]) -> None:
    message = attribute_path(path_text(path))
    assert message is not None
    found = tuple(
        step.element_key_int
        if step.WhichOneof("selector") == "element_key_int"
        else step.attribute_name or step.element_key_string
        for step in message.steps
    )
    assert found == path


@pytest.mark.parametrize("text", ["", ".", "a..b", "[", "a[", "a[x]", ".a", "a b"])
def test_what_is_no_path_is_none(text: str) -> None:
    assert attribute_path(text) is None
