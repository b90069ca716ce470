"""A shared deployment ejected to plain Terraform: the state goes on in the backend, and no home touches it any more."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import skyc
from skyc.compiler.terraform import find_engine
from skyc.providers.simulator import World
from skyc.runtime.storage.base import ConditionalStore
from tests.backend.conftest import Home, MakeHome, machines
from tests.backend.test_real_provider import account
from tests.lengths import takes_minutes
from tests.simulator.real_provider import configuration

__all__ = ["account"]
pytestmark = [pytest.mark.terraform, pytest.mark.timeout(900)]
STATE = "_ejected/train/train.aws-us-east-1.tfstate"


@takes_minutes
@pytest.mark.e2e
def test_one_owner_at_a_time(home: MakeHome, world: World, objects: ConditionalStore, tmp_path: Path) -> None:
    first, second = home("first"), home("second")
    first.apply()
    away = tmp_path / "away"
    assert "would change nothing" in first("eject", "train", "-o", str(away))
    assert objects.get(STATE) == objects.get("train/train.aws-us-east-1.tfstate") == first.state.read_bytes()
    assert not list(away.rglob("*.tfstate"))
    # Lines that every key begins with are no secret.
    login = (first.path / "deployments/train/ssh/login").read_bytes().split(b"\n")[-4]
    assert all(login not in path.read_bytes() for path in away.rglob("*") if path.is_file())
    # The other home learns it from the index, and cannot take it back.
    for mine in (first, second):
        assert "error[deployment-ejected]" in mine("plan", str(mine.write_task("platform")), code=1)
        assert "error[deployment-ejected]" in mine("destroy", "train", "-y", code=1)
    assert "error[ejected-elsewhere]" in second("eject", "train", "--undo", code=1)
    assert len(machines(world)) == 1
    # A state that is another one's is not taken back; the right one is, from the backend.
    kept = objects.get(STATE)
    objects.put(STATE, json.dumps({**json.loads(kept), "lineage": "another"}).encode())
    assert "error[state-not-taken-back]" in first("eject", "train", "--undo", code=1)
    objects.put(STATE, json.dumps({**json.loads(kept), "serial": json.loads(kept)["serial"] + 3}).encode())
    assert "skyc's again" in first("eject", "train", "--undo")
    assert "1 to change · 0 to destroy" in second("plan", str(second.write_task("platform")))


@takes_minutes
@pytest.mark.fault
def test_with_the_released_provider_and_no_skyc(account: Any, tmp_path: Path) -> None:
    """The provider's lock file is there, the state in the bucket, and Terraform alone finds nothing to change."""
    made = skyc.backend_create("s3://ejected-states/team")
    path = tmp_path / "first"
    path.mkdir(mode=0o700)
    # Plain Terraform is told of the server in the code, as for any that is not AWS's.
    where = f"?region=us-east-1&endpoint={os.environ['AWS_ENDPOINT_URL']}"
    (path / "config.yaml").write_text(f"state: {made.uri}{where}\naccess: {{ssh_from: [198.51.100.0/24]}}\n")
    first = Home(path, None)
    first.apply()
    first("eject", "train", "-o", str(tmp_path / "away"))
    folder = tmp_path / "away" / "train.aws-us-east-1"
    assert 'provider "registry.terraform.io/hashicorp/aws"' in (folder / ".terraform.lock.hcl").read_text()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "SKYC_", "PYTHON"))}
    environ |= {"TF_CLI_CONFIG_FILE": str(configuration(tmp_path)), "CHECKPOINT_DISABLE": "1"}
    for words in (("init",), ("plan", "-detailed-exitcode"), ("fmt", "-check")):
        argv = [*find_engine(environ=os.environ).argv, *words, *(["-no-color"] if words[0] != "fmt" else [])]
        done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    first("eject", "train", "--undo")
    assert "Destroying..." in first("destroy", "train", "-y")
