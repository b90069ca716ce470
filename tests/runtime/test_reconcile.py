"""What is an orphan: ids are compared together with their types."""

from __future__ import annotations

import pytest

from skyc.compiler.ir import DeploymentId
from skyc.providers.base import OwnedResource
from skyc.runtime.reconcile import orphans


@pytest.mark.parametrize(
    ("known", "there", "expected"),
    [
        ({"i-1": {"machine"}}, ["machine i-1", "machine i-2"], ["machine i-2"]),
        # Names are ids: the profile's reply was lost, its role is in the state.
        ({"x": {"role"}}, ["role x", "profile x"], ["profile x"]),
        ({"x": {"role", "key"}}, ["role x", "profile x", "key x"], ["profile x"]),
        ({"x": {"role", "profile"}}, ["role x", "profile x"], []),
        # The provider lists it under a name of its own.
        ({"sgr-1": {"ingress_rule"}}, ["rule sgr-1"], []),
        # The role of the state has vanished: what is left under its name may be meant, until a refresh has said so.
        ({"x": {"role"}}, ["profile x"], []),
        ({}, ["role x", "profile x"], ["role x", "profile x"]),
    ],
)
def test_orphans(known: dict[str, set[str]], there: list[str], expected: list[str]) -> None:
    deployment = DeploymentId("d")
    observed = tuple(
        OwnedResource(type=type_, id=id_, name=id_, deployment=deployment) for type_, id_ in (text.split() for text in there)
    )
    found = orphans(observed, {id_: frozenset(types) for id_, types in known.items()})
    assert [f"{item.type} {item.id}" for item in found] == expected
