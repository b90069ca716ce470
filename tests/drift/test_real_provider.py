"""Drift with the released AWS provider and a pretended account: what somebody does with boto3 is found, put back, and then gone.

Needs the provider in a mirror (SKYC_PROVIDER_MIRROR). The machines are moto's: nobody logs in to them, and that is all that is pretended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DriftClass
from skyc.providers.base import HEALTHY, STOPPED, Node
from skyc.providers.rented.power import Power
from skyc.runtime.drift import drift
from skyc.runtime.mend import adopt, repair
from skyc.runtime.results import Drift, MendOutcome
from tests.aws.runnable import RunnableAws, environment
from tests.failover.pretended import opened
from tests.lengths import takes_minutes

TASK = """\
name: life
resources: {infra: aws/us-east-1/use1-az1, instance_type: g5.xlarge, disk_size: 100, ports: 8080, labels: {team: research}}
num_nodes: 2
file_mounts: {data: s3://team-data/imagenet}
run: echo hi
"""


class Unentered(RunnableAws):
    """AWS whose machines are asked of EC2 alone."""

    def health(self, node: Node, *, home: Path) -> str:
        assert node.login is not None
        there = self._there(node.login.deployment, home)
        if isinstance(there, SkycError):
            raise there
        if node.id not in there:
            return "gone"
        with self.switch(home) as switch:
            return STOPPED if switch.power(there[node.id]) in (Power.STOPPED, Power.OFF) else HEALTHY

    def bring_up(self, nodes: Sequence[Node], *, home: Path, tell: Callable[[str], None]) -> None:
        """Nobody can log in."""


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(1800)
def test_what_is_done_by_hand_is_found_and_put_back(
    tmp_path: Path, account: Any, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = environment(moto)
    for name in ("SKYC_PROVIDER_MIRROR",):
        monkeypatch.setenv(name, environ[name])
    with opened(tmp_path / "home", environ, aws=Unentered()) as made:
        made.up(TASK)

        def look() -> Drift:
            (found,) = drift(made.session, "life", wait=0)
            assert not found.failed, found.diagnostics
            return found

        def mended() -> Drift:
            done = repair(made.session, "life", only=(), confirm=None, wait=0)
            assert done.outcome is MendOutcome.DONE, [row.address + row.path for row in done.left]
            return look()

        # What the module's own rules, routes and policies put into lists is no drift.
        assert [(row.address, row.path, row.drift) for row in look().rows if row.matters] == []

        ec2 = account("ec2")
        mine = [{"Name": "tag:skyc-deployment", "Values": ["life"]}]
        (group,) = [
            row for row in ec2.describe_security_groups(Filters=mine)["SecurityGroups"] if row["GroupName"] != "default"
        ]
        machines = sorted(
            (row["PrivateIpAddress"] != "10.64.16.10", row["InstanceId"])
            for found in ec2.describe_instances(Filters=mine)["Reservations"]
            for row in found["Instances"]
        )
        (_, first), (_, second) = machines

        # Open a group to the world: a rule that no code names.
        world = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[world])
        found = look()
        assert [(row.address, row.path, row.drift) for row in found.rows if row.matters] == [
            ("aws_security_group.nodes", "ingress", DriftClass.SECURITY)
        ]
        assert "6379" in str(found.rows[0].after) and "0.0.0.0/0" in str(found.rows[0].after)
        assert look().report() == found.report()
        assert not mended().matters()
        opened_to = [
            (rule.get("FromPort"), row["CidrIp"])
            for rule in ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]["IpPermissions"]
            for row in rule["IpRanges"]
        ]
        assert (6379, "0.0.0.0/0") not in opened_to and (8080, "0.0.0.0/0") in opened_to, "ours are still there"

        # Take one of ours away; a tag of somebody's, and one of ours.
        ours = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[ours])
        ec2.create_tags(Resources=[first], Tags=[{"Key": "note", "Value": "mine"}, {"Key": "team", "Value": "other"}])
        rows = {(row.address, row.path): row.drift for row in look().rows}
        assert rows["aws_vpc_security_group_ingress_rule.port-8080", ""] is DriftClass.BROKEN
        assert rows["aws_instance.main-0", "tags.note"] is DriftClass.BENIGN
        assert rows["aws_instance.main-0", "tags.team"] is DriftClass.COST, "costs are told apart by it"
        assert not mended().matters()

        # Stop one machine, and end the other.
        ec2.stop_instances(InstanceIds=[first])
        ec2.terminate_instances(InstanceIds=[second])
        rows = {(row.address, row.path): row.drift for row in look().rows if row.matters}
        assert rows["aws_instance.main-1", ""] is DriftClass.BROKEN
        assert {drift for (address, _), drift in rows.items() if address == "aws_instance.main-0"} == {DriftClass.BROKEN}
        assert not mended().matters()
        states = [
            row["State"]["Name"] for found in ec2.describe_instances(Filters=mine)["Reservations"] for row in found["Instances"]
        ]
        assert sorted(states) == ["running", "running", "terminated"]

        # A larger machine and its disk are dearer, and can be taken over.
        ec2.stop_instances(InstanceIds=[first])
        ec2.modify_instance_attribute(InstanceId=first, InstanceType={"Value": "g5.2xlarge"})
        ec2.start_instances(InstanceIds=[first])
        (row,) = [row for row in look().rows if row.drift is DriftClass.COST]
        assert (row.path, row.field) == ("instance_type", "resources.instance_type: g5.2xlarge")
        assert row.hourly is not None and row.hourly > 0
        taken = adopt(made.session, "life", only=(), security=False, confirm=None, wait=0)
        assert taken.fields == ("task.yaml:2  resources.instance_type: g5.2xlarge",)
        assert not look().matters()
