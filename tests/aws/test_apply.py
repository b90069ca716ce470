"""The command line from a task file to a job's output on machines at AWS, and back to nothing.

Real: the CLI, Terraform, the released AWS provider, SSH, the bootstrap, Ray, the job. Pretended: the account (moto) and what stands for
machines (`booting.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aws.booting import BootingCloud
from tests.rented.machines import Machines, machines, stock
from tests.simulator.real_provider import mirror

__all__ = ["machines", "stock"]

TASK = """\
name: hello
workdir: .
num_nodes: 2
resources: {infra: aws/us-east-1/use1-az1, instance_type: t3.large}
secrets: {PASSWORD: null}
envs: {GREETING: hello}
setup: echo "set up rank $SKYC_NODE_RANK"
run: |
  echo "$GREETING from rank $SKYC_NODE_RANK of $SKYC_NUM_NODES with ${#PASSWORD} letters, $(cat data.txt)"
"""


class Cli:
    """`skyc` with a home of its own and the pretended account in its environment."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.home = folder / "project", folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        (self.home / "config.yaml").write_text("access: {ssh_from: [198.51.100.0/24]}\n")
        self.environ = {
            **os.environ,
            "SKYC_HOME": str(self.home),
            "SKYC_PROVIDER_MIRROR": str(mirror()),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def __call__(self, *arguments: str, status: int = 0, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "skyc.cli.main", *arguments],
            env={**self.environ, **more},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == status, f"{arguments} → {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.mark.ray
@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("machines")
def test_a_job_on_two_machines(tmp_path: Path, account: Any, moto: str, machines: Machines) -> None:
    ec2 = account("ec2")
    skyc = Cli(tmp_path, moto)
    (skyc.folder / "task.yaml").write_text(TASK)
    (skyc.folder / "data.txt").write_text("some data")
    with BootingCloud(ec2, machines).running() as cloud:
        try:
            said = skyc("apply", "-y", "task.yaml", PASSWORD="opensesame")
        except AssertionError as failure:
            logs = [machine.log() for machine in machines.running.values()]
            raise AssertionError("\n".join([str(failure), *cloud.failures, *logs])) from failure
        for rank in (0, 1):
            assert f"hello from rank {rank} of 2 with 10 letters, some data" in said
        # Again: nothing is to be done, and another job needs no new login.
        assert "logging in" not in skyc("exec", "hello", "--", "echo from $SKYC_NODE_RANK")
        assert skyc("status", "hello").count("healthy") == 2
        assert skyc("ssh", "hello", "1", "--", "cat data.txt; whoami") == "some dataskyc\n"
        skyc("destroy", "-y", "hello")
    assert not machines.running
    assert not [
        row
        for found in ec2.describe_instances()["Reservations"]
        for row in found["Instances"]
        if row["State"]["Name"] != "terminated"
    ]
    text = "\n".join(path.read_text(errors="replace") for path in skyc.home.rglob("*") if path.is_file())
    assert "opensesame" not in text
