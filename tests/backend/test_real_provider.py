"""Two homes with the released AWS provider, against one pretended account (moto) that holds the machines and the bucket.

Needs the provider in a mirror (SKYC_PROVIDER_MIRROR); counted as skipped otherwise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skyc
from tests.aws.moto_repairs import repair
from tests.backend.conftest import Home, _heed_conditions, terraforms, until
from tests.lengths import takes_minutes
from tests.simulator.real_provider import mirror

pytestmark = [pytest.mark.terraform, pytest.mark.fault, pytest.mark.timeout(900)]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client factory of an empty account."""
    import boto3
    from moto.server import ThreadedMotoServer

    mirror()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_PROFILE", "TF_CLI_CONFIG_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.MonkeyPatch.context() as patch:
        repair(patch)
        _heed_conditions(patch)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        yield lambda service: boto3.client(service, region_name="us-east-1")
        server.stop()


def machines(account: Any) -> set[str]:
    found = account("ec2").describe_instances(Filters=[{"Name": "tag:skyc-deployment", "Values": ["train"]}])["Reservations"]
    rows = [row for reservation in found for row in reservation["Instances"]]
    return {row["InstanceId"] for row in rows if row["State"]["Name"] not in ("terminated", "shutting-down")}


@takes_minutes
def test_one_home_is_killed_and_lost_and_another_goes_on(account: Any, tmp_path: Path) -> None:
    made = skyc.backend_create("s3://real-states/team")

    def home(name: str) -> Home:
        path = tmp_path / name
        path.mkdir(mode=0o700)
        (path / "config.yaml").write_text(made.setting)
        return Home(path, None)

    first, second = home("first"), home("second")
    process = first.start("apply", str(first.write_task()), "-y", "--detach")
    until(lambda: machines(account), 300)
    process.kill()
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
    for pid in terraforms(first):
        os.kill(pid, 9)
    until(lambda: not terraforms(first))
    # Gone with its state: only the index says where to look, and tags what there is. Its lock stays, or nobody could know that it
    # is dead, and would have to wait.
    shutil.rmtree(first.path / "deployments/train/sites")
    (first.path / "state.db").unlink()

    second.apply()
    assert len(machines(account)) == 1
    # A third that never saw the module destroys with the real provider.
    third = home("third")
    assert "train-main-0" in third("status", "train")
    out = third("destroy", "train", "-y")
    assert "Destroying..." in out, out
    assert machines(account) == set()
    left = account("ec2").describe_vpcs(Filters=[{"Name": "tag:skyc-deployment", "Values": ["train"]}])["Vpcs"]
    assert left == []
