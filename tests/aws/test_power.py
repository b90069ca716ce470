"""Machines at a pretended EC2 (moto) are stopped and started; what cannot stop, or would lose data, says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import is_lost
from tests.aws.test_inventory import place, tagged
from tests.rented.nodes import is_ready, node_of


def run(ec2: Any, deployment: str, type_: str = "t3.micro", **more: Any) -> str:
    rows = ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        ImageId="ami-12c6146b",
        InstanceType=type_,
        TagSpecifications=tagged("instance", deployment),
        **more,
    )
    return str(rows["Instances"][0]["InstanceId"])


def state(ec2: Any, id_: str) -> str:
    (found,) = ec2.describe_instances(InstanceIds=[id_])["Reservations"]
    return str(found["Instances"][0]["State"]["Name"])


def test_stopped_seen_and_started_again(tmp_path: Path, account: Any) -> None:
    ec2, name = account("ec2"), f"stop-{uuid4().hex[:8]}"
    place(tmp_path, name)
    provider = AwsProvider()
    nodes = [node_of(tmp_path, run(ec2, name), name, rank=rank) for rank in (0, 1)]
    assert provider.cannot_stop(nodes, lose_local=False, home=tmp_path) == ()
    assert provider.health(nodes[0], home=tmp_path).startswith("unreachable")

    assert provider.stop(nodes, home=tmp_path, tell=print) == ("train-main-0", "train-main-1")
    assert [state(ec2, node.id) for node in nodes] == ["stopped", "stopped"]
    assert [provider.health(node, home=tmp_path) for node in nodes] == ["stopped", "stopped"]
    assert is_lost("stopped")
    assert not any(is_ready(node) for node in nodes), "nobody would wait for its Ray"
    # Repeated, and after one of two.
    assert provider.stop(nodes, home=tmp_path, tell=print) == ()
    ec2.start_instances(InstanceIds=[nodes[0].id])
    assert provider.start(nodes, home=tmp_path, tell=print) == ("train-main-1",)
    assert [state(ec2, node.id) for node in nodes] == ["running", "running"]

    ec2.terminate_instances(InstanceIds=[nodes[1].id])
    with pytest.raises(SkycError) as refused:
        provider.start(nodes, home=tmp_path, tell=print)
    assert refused.value.diagnostics[0].slug == "machines-gone"
    assert "train-main-1" in refused.value.diagnostics[0].detail


def test_nobody_waits_for_one_that_is_stopped(tmp_path: Path, account: Any) -> None:
    ec2, name = account("ec2"), f"stop-{uuid4().hex[:8]}"
    place(tmp_path, name)
    provider = AwsProvider()
    node = node_of(tmp_path, run(ec2, name), name)
    provider.stop([node], home=tmp_path, tell=print)
    with pytest.raises(SkycError) as refused:
        provider.bring_up([node], home=tmp_path, tell=print)
    assert refused.value.diagnostics[0].slug == "machines-stopped"
    assert refused.value.diagnostics[0].commands == (f"skyc start {name}",)


def test_spot_and_local_disks_are_refused(tmp_path: Path, account: Any) -> None:
    ec2, name = account("ec2"), f"stop-{uuid4().hex[:8]}"
    place(tmp_path, name)
    provider = AwsProvider()
    spot = node_of(tmp_path, run(ec2, name, InstanceMarketOptions={"MarketType": "spot"}), name)
    full = node_of(tmp_path, run(ec2, name, "g5.xlarge"), name, rank=1)
    said = provider.cannot_stop([spot, full], lose_local=False, home=tmp_path)
    assert [item.slug for item in said] == ["cannot-stop", "local-disks-lost"]
    assert "train-main-0" in said[0].detail and "train-main-1" not in said[0].detail
    assert "train-main-1 (250 GB instance store)" in said[1].detail
    assert [item.slug for item in provider.cannot_stop([spot, full], lose_local=True, home=tmp_path)] == ["cannot-stop"]


def test_what_is_refused_is_said_and_the_others_stop(tmp_path: Path, account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from skyc.providers.aws.client import Answered
    from skyc.providers.aws.power import Ec2Switch

    ec2, name = account("ec2"), f"stop-{uuid4().hex[:8]}"
    place(tmp_path, name)
    provider = AwsProvider()
    nodes = [node_of(tmp_path, run(ec2, name), name, rank=rank) for rank in (0, 1)]
    stop = Ec2Switch.stop

    def once(switch: Ec2Switch, machine: Any) -> None:
        if machine.id == nodes[0].id:
            raise Answered("EC2 stop_instances in us-east-1 was refused (UnauthorizedOperation)", "UnauthorizedOperation")
        stop(switch, machine)

    monkeypatch.setattr(Ec2Switch, "stop", once)
    with pytest.raises(SkycError) as refused:
        provider.stop(nodes, home=tmp_path, tell=print)
    (said,) = refused.value.diagnostics
    assert said.slug == "not-stopped" and "train-main-0: EC2" in said.detail and "train-main-1" not in said.detail
    assert [state(ec2, node.id) for node in nodes] == ["running", "stopped"]
