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
from tests.backend.conftest import until
from tests.lengths import LONG, takes_minutes
from tests.rented.machines import BRIDGE_ADDRESS, Machines, machines, stock
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

    def __init__(self, folder: Path, endpoint: str, state: str = "") -> None:
        """`state`: the lines of config.yaml that say where states are kept."""
        self.folder, self.home = folder / "project", folder / "home"
        self.folder.mkdir(parents=True)
        self.home.mkdir()
        (self.home / "config.yaml").write_text(f"access: {{ssh_from: [198.51.100.0/24]}}\n{state}")
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


def instances(ec2: Any) -> list[dict[str, Any]]:
    return [row for found in ec2.describe_instances()["Reservations"] for row in found["Instances"]]


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
        # Only the head has a public address, and the other machine is reached through it.
        assert [row["PrivateIpAddress"] for row in instances(ec2) if "PublicIpAddress" in row] == ["10.64.16.10"]
        assert skyc("ssh", "hello", "1", "--", "echo from ${SSH_CONNECTION%% *}") == "from 10.64.16.10\n"
        if LONG:
            # AWS takes the worker away, as it does with spot machines: the next apply makes another, and only that one is logged in to.
            worker = next(
                row for row in instances(ec2) if row["PrivateIpAddress"] != "10.64.16.10" and row["State"]["Name"] == "running"
            )
            ec2.terminate_instances(InstanceIds=[worker["InstanceId"]])
            assert "gone" in skyc("status", "hello")
            again = skyc("apply", "-y", "--rerun", "task.yaml", PASSWORD="opensesame")
            assert "logging in to 1 new machine" in again and "hello from rank 1 of 2" in again
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


WITH_DATA = """\
name: learn
resources: {infra: aws/us-east-1/use1-az1, instance_type: t3.large}
file_mounts: {data: "s3://team-data/in?endpoint=ENDPOINT"}
storage: {saved: {uri: "s3://team-out/saved?endpoint=ENDPOINT"}}
checkpoint: {path: ckpt, storage: saved, every: 1m}
run: |
  if [ -f ckpt/step ]; then
    echo "goes on at $(cat ckpt/step) with $(cat data/deep/file)"
  else
    mkdir -p ckpt; echo 41 > ckpt/step
    python -c 'import skyc; skyc.checkpoint()'
    exit 9
  fi
"""


@takes_minutes
@pytest.mark.ray
@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("machines")
def test_data_and_checkpoints_in_buckets(tmp_path: Path, account: Any, moto: str, machines: Machines) -> None:
    """A machine reads and writes S3 with its own role's credentials, and another machine goes on from what it saved."""
    from moto.server import ThreadedMotoServer

    ec2, s3 = account("ec2"), account("s3")
    for bucket in ("team-data", "team-out"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="team-data", Key="in/deep/file", Body=b"what was copied")
    # The same account, at an address that machines reach.
    server = ThreadedMotoServer(ip_address=BRIDGE_ADDRESS, port=0, verbose=False)
    server.start()
    skyc = Cli(tmp_path, moto)
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    (skyc.folder / "task.yaml").write_text(WITH_DATA.replace("ENDPOINT", endpoint))
    try:
        with BootingCloud(ec2, machines).running():
            assert "exit code 9" in skyc("apply", "-y", "task.yaml", status=1)
            names = [row["Key"] for row in s3.list_objects_v2(Bucket="team-out")["Contents"]]
            assert any(name.startswith("saved/checkpoints/learn/") for name in names)
            machine = next(row for row in instances(ec2) if row["State"]["Name"] == "running")
            ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
            assert "goes on at 41 with what was copied" in skyc("apply", "-y", "task.yaml")
            skyc("destroy", "-y", "learn")
    finally:
        server.stop()
    assert not machines.running


def addresses(ec2: Any) -> dict[str, str | None]:
    """Machine → public address, of those that run; None where it has none."""
    return {row["InstanceId"]: row.get("PublicIpAddress") for row in instances(ec2) if row["State"]["Name"] == "running"}


@takes_minutes
@pytest.mark.ray
@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("machines")
def test_stopped_by_one_and_started_by_another(tmp_path: Path, account: Any, moto: str, machines: Machines) -> None:
    """Two homes share a backend. Machines really go down and boot from their disks, at other addresses; Ray comes up again by itself."""
    ec2 = account("ec2")
    account("s3").create_bucket(Bucket="team-states")
    state = f"state: {{uri: s3://team-states/all, region: us-east-1, endpoint: {moto}}}\n"
    first, second = Cli(tmp_path / "first", moto, state), Cli(tmp_path / "second", moto, state)
    (first.folder / "task.yaml").write_text(TASK)
    (first.folder / "data.txt").write_text("some data")
    with BootingCloud(ec2, machines).running() as cloud:
        try:
            first("apply", "-y", "task.yaml", PASSWORD="opensesame")
            before = addresses(ec2)
            assert len(before) == 2 and second("status", "hello").count("healthy") == 2
            assert "hello from rank 1 of 2" in second("logs", "hello")

            said = first("stop", "hello")
            assert "2 machines stopped; still paid: disks $" in said and "NAT gateway $0.05/h" in said
            until(lambda: not machines.running)
            assert second("status", "hello").count("stopped") >= 2

            # Whoever was never told of it starts them.
            assert "2 machines started" in second("start", "hello")
            after = addresses(ec2)
            assert after.keys() == before.keys() == machines.running.keys()
            # The head has another address, and the other none, now as before.
            assert list(before.values()).count(None) == list(after.values()).count(None) == 1
            assert set(after.values()) & set(before.values()) == {None}
            assert second("status", "hello").count("healthy") == 2
            # The disks are the same ones, and so are the keys they are known by.
            assert second("ssh", "hello", "1", "--", "cat data.txt; whoami") == "some dataskyc\n"
            assert first("ssh", "hello", "1", "--", "cat data.txt; whoami") == "some dataskyc\n"
            # Ray is really up again, on both, and takes work from either home.
            for home in (second, first):
                said = home("exec", "hello", "--", "echo now from $SKYC_NODE_RANK")
                assert "now from 0" in said and "now from 1" in said
            assert "hello from rank 0 of 2" in second("logs", "hello", "hello-1-1")
        except AssertionError as failure:
            logs = [machine.log() for machine in machines.running.values()]
            raise AssertionError("\n".join([str(failure), *cloud.failures, *logs])) from failure
        finally:
            first("destroy", "-y", "hello")
    assert not machines.running
