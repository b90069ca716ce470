"""Real engines for the suite: every Terraform found here, and modules of `terraform_data`, which need no network and no init."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.terraform import Engine, Event, Patience, Terraform, find_engine


def environ() -> dict[str, str]:
    return dict(os.environ)


def _engine(name: str) -> Engine | None:
    try:
        return find_engine(name, environ=environ())
    except SkycError:
        return None


@pytest.fixture(scope="session", params=["terraform", "tofu", "embedded"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found = _engine(str(request.param))
    if found is None:
        pytest.skip(f"no {request.param} on this machine")
    return found


@pytest.fixture(scope="session")
def any_engine() -> Engine:
    """The first one present: for what does not depend on the engine."""
    return find_engine(environ=environ())


Module = Mapping[str, Any]


def thing(**arguments: Any) -> dict[str, Any]:
    """A `terraform_data` block. `run`: a shell command that makes its creation slow or failing; `needs`: another's name."""
    block: dict[str, Any] = {key: value for key, value in arguments.items() if key not in ("run", "needs")}
    if "run" in arguments:
        block["provisioner"] = [{"local-exec": {"command": arguments["run"]}}]
    if "needs" in arguments:
        block["depends_on"] = [f"terraform_data.{arguments['needs']}"]
    return block


def module(**things: Any) -> Module:
    return {"resource": {"terraform_data": things}} if things else {}


class Site:
    """A directory with a root module, and drivers for it."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "site"
        self.home = root / "home"
        self.directory.mkdir(parents=True)
        self.events: list[Event] = []

    def write(self, content: Module) -> None:
        (self.directory / "cdk.tf.json").write_text(json.dumps(content))

    def terraform(self, engine: Engine, **options: Any) -> Terraform:
        options.setdefault("environ", environ())
        options.setdefault("on_event", self.events.append)
        options.setdefault("patience", Patience(lock=0, grace=60, read_grace=20))
        return Terraform(engine, self.directory, home=self.home, **options)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
