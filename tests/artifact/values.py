"""Any value of a frozen type of the IR, for Hypothesis: built from the type's own annotations."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st

from skyc.compiler.ir import FrozenMap, Joined, Ref, ResourceAddress

T = TypeVar("T")
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
# `$` begins what the codec writes for what is no text: names of a user's may begin so too.
NAMES = st.one_of(TEXT, st.sampled_from(["$ref", "$map", "$decimal", "$joined", "$", "${x}", "a"]))
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6)
REFS = st.builds(Ref, st.builds(ResourceAddress, TEXT, TEXT), TEXT, st.none() | st.integers(0, 9))
SCALARS = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), TEXT, AMOUNTS, REFS, st.none())
VALUES = st.recursive(
    SCALARS | st.builds(lambda parts: Joined(tuple(parts)), st.lists(TEXT | REFS, max_size=3)),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(NAMES, inner, max_size=3).map(FrozenMap),
    max_leaves=6,
)


def _maps(kind: Any) -> st.SearchStrategy[FrozenMap[Any]]:
    (items,) = get_args(kind) or (str,)
    scalars: dict[Any, st.SearchStrategy[Any]] = {str: TEXT, int: st.integers(-9, 9), bool: st.booleans()}
    return st.dictionaries(NAMES, scalars.get(items, VALUES), max_size=3).map(FrozenMap)


st.register_type_strategy(FrozenMap, _maps)
st.register_type_strategy(Decimal, AMOUNTS)
st.register_type_strategy(str, TEXT)
# What msgspec reads as a number has 64 bits.
st.register_type_strategy(int, st.integers(-(2**53), 2**53))


def _tuples(kind: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    """Short ones: what goes wrong with a record goes wrong with the first of its kind."""
    items = get_args(kind)
    if items and items[-1] is ...:
        return st.lists(st.from_type(items[0]), max_size=1).map(tuple)
    return st.tuples(*(st.from_type(item) for item in items))


st.register_type_strategy(tuple, _tuples)


def values_of(kind: type[T]) -> st.SearchStrategy[T]:
    return st.from_type(kind)
