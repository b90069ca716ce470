"""The suite every provider must pass, on this machine: through the resource's own create, as Terraform would call it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import FrozenMap, Ref, ResourceGraph, Value
from skyc.providers.base import Provider
from skyc.providers.conformance import ProviderConformance
from skyc.providers.local.client import LocalProvider

from .conftest import World


class TestLocal(ProviderConformance):
    @pytest.fixture(autouse=True)
    def _world(self, tmp_path: Path, runtimes: Path) -> None:
        (tmp_path / "runtimes").symlink_to(runtimes)
        self.world = World(tmp_path, deployment="conformance")

    def make_provider(self) -> Provider:
        return LocalProvider()

    def bring_up(self, graph: ResourceGraph, home: Path) -> Mapping[str, Any]:
        states: dict[str, dict[str, Any]] = {}

        def decided(value: Value) -> Any:
            if isinstance(value, Ref):
                return states[str(value.address)][value.attribute]
            if isinstance(value, FrozenMap):
                return {name: decided(item) for name, item in value.items()}
            return [decided(item) for item in value] if isinstance(value, tuple) else value

        resource = self.world.resource
        # Sorted by address, the head's comes first.
        for node in graph.resources:
            given = {**dict.fromkeys(resource.schema.attributes), **{name: decided(v) for name, v in node.arguments.items()}}
            assert resource.validate(given) == ()
            planned = resource.plan(None, given).values
            states[str(node.address)] = dict(resource.create(planned, self.world.context))
            self.world.note()
        return {name: decided(value) for name, value in graph.outputs.items()}

    def leftovers(self, home: Path) -> tuple[str, ...]:
        return self.world.leftovers()

    test_a_whole_life = pytest.mark.ray(pytest.mark.xdist_group("local-ray")(ProviderConformance.test_a_whole_life))
