"""Real Terraform in a scratch directory, with the note provider attached or found through a mirror."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skyc.providers.base import Attachment
from skyc.providers.tfplugin.attach import attach, reattach_env

DEFINITION = "note_provider:definition"
HEADER = 'terraform {\n  required_providers {\n    skyc = { source = "registry.terraform.io/skyc/skyc" }\n  }\n}\n'


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@dataclass
class Workspace:
    """A root module, and the engine run in it."""

    engine: str
    directory: Path
    home: Path
    environment: dict[str, str]
    attachment: Attachment | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def notes(self) -> Path:
        return self.home / "notes"

    @property
    def gate(self) -> Path:
        """Creates wait for this file. It appears at the latest when the test ends, so that no provider is left waiting."""
        return self.directory / "gate"

    @property
    def log(self) -> str:
        return (self.home / "logs" / "provider.log").read_text()

    def configure(self, body: str) -> None:
        (self.directory / "main.tf").write_text(f"{HEADER}{body}")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Run in the background, in its own session, output to files: `out` and `err` in the directory."""
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            process = subprocess.Popen(
                [self.engine, *arguments],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=(self.attachment.lifeline,) if self.attachment else (),
            )
        self.started.append(process)
        return process

    def run(self, *arguments: str, expect: int = 0) -> str:
        process = self.start(*arguments)
        code = process.wait(120)
        output = self.output()
        assert code == expect, f"{arguments} ended with {code}:\n{output}"
        return output

    def output(self) -> str:
        return (self.directory / "out").read_text() + (self.directory / "err").read_text()

    def apply(self, *arguments: str, expect: int = 0) -> str:
        return self.run("apply", "-auto-approve", "-no-color", "-input=false", *arguments, expect=expect)

    def plan(self, *arguments: str, expect: int = 0) -> str:
        return self.run("plan", "-detailed-exitcode", "-no-color", "-input=false", *arguments, expect=expect)

    def state(self) -> dict[str, dict[str, Any]]:
        """Attributes by address; `tainted` among them."""
        path = self.directory / "terraform.tfstate"
        if not path.exists():
            return {}
        found: dict[str, dict[str, Any]] = {}
        for resource in json.loads(path.read_text())["resources"]:
            for instance in resource["instances"]:
                key = f"[{instance['index_key']}]" if "index_key" in instance else ""
                tainted = instance.get("status") == "tainted"
                found[f"{resource['type']}.{resource['name']}{key}"] = {**instance["attributes"], "tainted": tainted}
        return found

    def wait_for_started(self, *names: str) -> None:
        wait_until(lambda: all((self.notes / f"{name}.started").exists() for name in names))


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace with nothing attached."""
    engine = shutil.which("tofu") or shutil.which("terraform")
    if engine is None:
        pytest.skip("no terraform or tofu on PATH")
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))))
    home, directory = tmp_path / "home", tmp_path / "root"
    home.mkdir()
    directory.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "SKYC_HOME": str(home), "SKYC_PYTHON": sys.executable}
    workspace = Workspace(engine, directory, home, environment)
    try:
        yield workspace
    finally:
        workspace.gate.touch()
        for process in workspace.started:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def attached(bare: Workspace) -> Iterator[Workspace]:
    with attach(DEFINITION, home=bare.home) as attachment:
        bare.attachment = attachment
        bare.environment["TF_REATTACH_PROVIDERS"] = reattach_env([attachment])
        try:
            yield bare
        finally:
            bare.gate.touch()
