"""`skyc eject` as a user runs it, on this machine: plain Terraform, without the command, plans to no change; and the way back."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from skyc.compiler.terraform import find_engine
from tests.lengths import takes_minutes

from .conftest import Skyc

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("e2e")]

TASK = "name: left\nresources: {cpus: 1, memory: 1, infra: local}\nhours: 0.01\nsecrets: {TOKEN: }\nrun: echo hello\n"
SECRET = "hunter2-hunter2"


def without_skyc(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A shell in which no command, path or variable of skyc's is."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        ["sh", "-ec", script], cwd=directory, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@takes_minutes
def test_a_deployment_goes_and_comes_back(skyc: Skyc, tmp_path: Path) -> None:
    task = skyc.task("left", TASK)
    skyc.environ["TOKEN"] = SECRET
    skyc("apply", task, "-y")
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").write_text("")
    assert "directory-in-use" in skyc("eject", "left", "-o", str(used), code=1).err

    # A plan writes the module: what is only planned is not what exists.
    skyc("plan", skyc.task("left", TASK.replace("memory: 1,", "memory: 1.5,")))
    refused = skyc("eject", "left", "-o", str(tmp_path / "away"), code=1)
    assert "error[eject-would-change]" in refused.err and "skyc_node.main-0 (delete and create)" in refused.err
    assert not list(tmp_path.glob("*away*"))
    skyc("plan", skyc.task("left", TASK))

    dry = skyc("eject", "left", "-o", str(tmp_path / "dry"), "--dry-run")
    assert "as before" in dry.out

    away = tmp_path / "away we go"
    made = json.loads(skyc("eject", "left", "-o", str(away), "--json").out)
    assert made["recorded"] and [site["resources"] for site in made["sites"]] == [1]
    assert {path.name for path in away.iterdir()} == {".gitignore", "README.md", "environment.sh", "left.local", "mirror"}
    assert {path.stat().st_mode & 0o077 for path in away.glob("left.local/*")} == {0}
    for path in away.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    token = next(skyc.home.glob("deployments/left/nodes/*/token")).read_bytes().strip()
    assert all(token not in path.read_bytes() for path in away.rglob("*") if path.is_file())

    terraform = shlex.join(find_engine(environ=os.environ).argv)
    steps = f". ./environment.sh; cd left.local; {terraform} init -no-color; {terraform} plan -no-color -detailed-exitcode"
    planned = without_skyc(away, steps)
    assert planned.returncode == 0, planned.stdout + planned.stderr

    for words in (("plan", task), ("apply", task, "-y"), ("destroy", "left", "-y")):
        assert "error[deployment-ejected]" in skyc(*words, code=1).err
    assert skyc("exec", "left", "--", "echo", "still here").out == "still here\n"
    assert skyc.json("status", "left")["deployments"][0]["state"] == "ejected"

    assert "skyc's again" in skyc("eject", "left", "--undo").out
    assert "0 to add · 0 to change · 0 to destroy" in skyc("plan", task).out
    assert "not-ejected" in skyc("eject", "left", "--undo", code=1).err

    # Gone by plain Terraform, it is closed by skyc.
    skyc("eject", "left", "-o", str(tmp_path / "again"))
    gone = without_skyc(
        tmp_path / "again",
        f". ./environment.sh; cd left.local; {terraform} init -no-color; {terraform} destroy -auto-approve -no-color",
    )
    assert gone.returncode == 0, gone.stdout + gone.stderr
    skyc("destroy", "left", "-y")
    assert skyc.json("status")["deployments"] == []
