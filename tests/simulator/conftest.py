"""Real Terraform against simulated clouds: a scratch site per test, through skyc's own driver."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import ResourceGraph
from skyc.compiler.synth import synth
from skyc.compiler.terraform import ApplyRun, Terraform, find_engine, state_ids
from skyc.providers.base import Attachment
from skyc.providers.simulator import World, simulate


@dataclass
class Site:
    """A root module, and Terraform with simulated providers attached."""

    directory: Path
    home: Path
    cache: Path
    attachments: tuple[Attachment, ...]

    @property
    def world(self) -> World:
        return World(self.home)

    @property
    def terraform(self) -> Terraform:
        engine = find_engine(environ=os.environ)
        return Terraform(engine, self.directory, home=self.home, environ=os.environ, reattach=self.attachments)

    def write(self, graph: ResourceGraph) -> None:
        _, text = synth(graph, cache=self.cache)
        (self.directory / "cdk.tf.json").write_text(text)

    def faults(self, text: str) -> None:
        self.world.folder.mkdir(parents=True, exist_ok=True)
        self.world.faults_path.write_text(text)

    def plan(self, **options: Any) -> dict[str, Any]:
        run = self.terraform.plan(**options)
        assert run.ok, run.diagnostics
        assert run.plan_file is not None
        return dict(self.terraform.show(run.plan_file))

    def changes(self, **options: Any) -> dict[str, list[str]]:
        """Address → actions, without what stays."""
        found = self.plan(**options)["resource_changes"]
        return {change["address"]: change["change"]["actions"] for change in found if change["change"]["actions"] != ["no-op"]}

    def apply(self, **options: Any) -> ApplyRun:
        run = self.terraform.plan(**options)
        assert run.ok, run.diagnostics
        assert run.plan_file is not None
        return self.terraform.apply(run.plan_file)

    def ids(self) -> set[str]:
        return set(state_ids(self.directory / "terraform.tfstate"))


def said(run: ApplyRun) -> str:
    return "\n".join(f"{found.summary}\n{found.detail}" for found in run.diagnostics)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesis starts Node; equal graphs share it."""
    return tmp_path_factory.mktemp("synth")


@contextmanager
def opened(names: tuple[str, ...], folder: Path, cache: Path) -> Iterator[Site]:
    directory, home = folder / "site", folder / "home"
    directory.mkdir()
    home.mkdir()
    with simulate(names, home=home, registry=find_engine(environ=os.environ).registry) as attachments:
        yield Site(directory, home, cache, attachments)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """All clouds, started once: starting Python would be most of a test's time."""
    with opened(("aws", "azurerm", "google", "ibm"), tmp_path_factory.mktemp("simulated"), cache) as site:
        yield site


def emptied(served: Site) -> Site:
    """A fresh world and state with the providers that run already."""
    shutil.rmtree(served.world.folder, ignore_errors=True)
    shutil.rmtree(served.directory)
    served.directory.mkdir()
    return served


@pytest.fixture
def site(served: Site) -> Site:
    return emptied(served)
