"""The compiled Terraform in the hands of the released AWS provider, against a pretended account: a whole life in one story.

Needs the provider in a mirror (SKYC_PROVIDER_MIRROR); counted as skipped otherwise. moto's placement groups are
fakes (`moto_gangs`). What it does otherwise than EC2 is in `moto_repairs`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.changeset import change_set
from skyc.compiler.ir import DeploymentId, FrozenMap, SiteId
from skyc.compiler.report.cautions import cautions_of
from skyc.compiler.report.changes import change_rows
from skyc.compiler.synth import synth
from skyc.compiler.terraform import ApplyRun, Terraform, find_engine, state_ids
from skyc.providers.aws.client import Account
from skyc.providers.aws.inventory import Inventory
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.registry import meanings
from skyc.providers.retry import Schedule
from skyc.runtime.mirror import with_mirror
from tests.aws.conftest import at, compiled
from tests.lengths import takes_minutes
from tests.simulator.real_provider import SOURCE, mirror, version

TASK = """\
name: train
resources:
  infra: aws/us-east-1/use1-az1
  instance_type: g5.xlarge
  ports: 8080
  labels: {team: TEAM}
num_nodes: 2
file_mounts: {data: s3://team-data/imagenet}
storage: {out: {uri: s3://team-out/train}}
run: echo hi
"""
DEMO = DeploymentId("life")
"""Of this story alone: the pretended account is shared."""


class Site:
    """A root module in the hands of the real provider."""

    def __init__(self, folder: Path) -> None:
        self.home, self.directory = folder, folder / "site"
        self.directory.mkdir()

    def write(self, team: str, task: str = TASK, deployment: DeploymentId = DEMO) -> None:
        versions = FrozenMap({SOURCE: version()})
        graph = compiled(task.replace("TEAM", team), self.home, deployment=str(deployment), versions=versions)
        _, text = synth(at(graph), cache=self.home / "cache")
        (self.directory / "cdk.tf.json").write_text(text)

    @property
    def terraform(self) -> Terraform:
        environ = with_mirror({**os.environ, "SKYC_PROVIDER_MIRROR": str(mirror())}, self.home, only=True)
        return Terraform(find_engine(environ=os.environ), self.directory, home=self.home, environ=environ)

    def plan(self, **options: Any) -> tuple[Path, dict[str, list[str]], dict[str, Any]]:
        """The plan file, address → actions without what stays, and everything."""
        run = self.terraform.plan(**options)
        assert run.ok, run.diagnostics
        assert run.plan_file is not None
        shown = dict(self.terraform.show(run.plan_file))
        rows = {row["address"]: row["change"]["actions"] for row in shown["resource_changes"]}
        return run.plan_file, {address: actions for address, actions in rows.items() if actions != ["no-op"]}, shown

    def apply(self, plan_file: Path) -> ApplyRun:
        run = self.terraform.apply(plan_file)
        assert run.ok, run.diagnostics
        return run


@pytest.mark.terraform
@pytest.mark.timeout(600)
def test_a_whole_life(tmp_path: Path, account: Any) -> None:
    import boto3

    mirror()
    site = Site(tmp_path)
    inventory = Inventory(Account(boto3.Session(), Schedule(pauses=(0.1,))))
    site.write("research")
    file, changes, shown = site.plan()
    assert set(map(tuple, changes.values())) == {("create",)}
    said = _cautions(shown)
    assert "lets everybody in: aws_vpc_security_group_ingress_rule.port-8080 (port 8080)" in said
    assert "gives a public address: aws_instance.main-0" in said
    assert any("s3:PutObject" in line and "arn:aws:s3:::team-out/train/*" in line for line in said), said
    assert not any("ssh" in line or "egress" in line or "public:" in line for line in said)
    site.apply(file)

    nodes = AwsProvider().nodes(site.terraform.outputs())
    assert [(node.name, node.rank, node.cpus, dict(node.accelerators)) for node in nodes] == [
        ("train-main-0", 0, 4, {"A10G": 1}),
        ("train-main-1", 1, 4, {"A10G": 1}),
    ]
    assert nodes[0].ip == "10.64.16.10" and nodes[0].address and nodes[1].via == nodes[0] and not nodes[1].address

    # What is found by tag is what the state holds, under the same ids: nothing known would be taken for an orphan.
    seen = inventory.observe(DEMO, ("us-east-1",))
    assert {item.id for item in seen} <= state_ids(site.directory / "terraform.tfstate")
    assert {node.id for node in nodes} <= {item.id for item in seen}
    assert {"aws_vpc", "aws_iam_role", "aws_key_pair", "aws_launch_template"} <= {item.type for item in seen}
    assert inventory.observe(DeploymentId("other"), ("us-east-1",)) == ()

    # A label changes in place, what somebody changed by hand is seen and put right, and nothing else is to be done again.
    ec2 = account("ec2")
    groups = ec2.describe_security_groups(Filters=[{"Name": "tag:skyc-deployment", "Values": [str(DEMO)]}])["SecurityGroups"]
    (group,) = [row for row in groups if row["GroupName"] != "default"]
    ec2.create_tags(Resources=[group["GroupId"]], Tags=[{"Key": "skyc-site", "Value": "somebody"}])
    site.write("platform")
    file, changes, shown = site.plan()
    assert changes == {
        "aws_instance.main-0": ["update"],
        "aws_instance.main-1": ["update"],
        "aws_security_group.nodes": ["update"],
    }
    drifted = _drifted(shown)
    # The NAT gateway took it.
    assert drifted.pop("aws_eip.nat") == {"association_id", "network_interface", "private_dns", "private_ip"}
    assert drifted == {"aws_security_group.nodes": {"tags", "tags_all"}}
    site.apply(file)

    assert "the one-time key" not in str(site.terraform.outputs())
    file, changes, shown = site.plan(destroy=True)
    assert set(map(tuple, changes.values())) == {("delete",)}
    said = _cautions(shown)
    assert sum(line.startswith("destroys aws_instance.main-") and " GB root disk" in line for line in said) == 2, said
    assert sum("resources that hold no data" in line for line in said) == 1
    site.apply(file)
    assert inventory.observe(DEMO, ("us-east-1",)) == ()


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("machine", "cards"), [("c7i.48xlarge", 1), ("p4d.24xlarge", 4)])
def test_machines_with_adapters(tmp_path: Path, account: Any, machine: str, cards: int) -> None:
    """As EC2 takes them: interfaces in the template alone, no address by itself for several (`moto_repairs` refuses the rest)."""
    import boto3

    mirror()
    site, ec2, mine = Site(tmp_path), account("ec2"), DeploymentId(f"fast-{cards}")
    fast = f"name: train\nresources:\n  infra: aws/us-east-1/use1-az1\n  instance_type: {machine}\n  network_tier: best\n"
    fast += "  labels: {team: TEAM}\nnum_nodes: 2\nrun: echo hi\n"
    inventory = Inventory(Account(boto3.Session(), Schedule(pauses=(0.1,))), pause=lambda seconds: None)
    site.write("research", fast, mine)
    file, _, shown = site.plan()
    gives = "aws_launch_template.main_head" if cards == 1 else "aws_eip.main-0"
    assert f"gives a public address: {gives}" in _cautions(shown)
    site.apply(file)
    nodes = AwsProvider().nodes(site.terraform.outputs())
    assert nodes[0].ip == "10.64.16.10" and [bool(node.address) for node in nodes] == [True, False]
    for node in nodes:
        here = [{"Name": "attachment.instance-id", "Values": [node.id]}]
        found = ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"]
        assert sorted(row["InterfaceType"] for row in found) == ["efa", *["efa-only"] * (cards - 1)]
        assert all({"Key": "skyc-deployment", "Value": str(mine)} in row["TagSet"] for row in found)
        (primary,) = [row for row in found if row["InterfaceType"] == "efa"]
        assert primary["PrivateIpAddress"] == node.ip and primary.get("Association", {}).get("PublicIp", "") == node.address
    # All that is found by tag is in the state, and nothing is to be done again: not after the state has seen the addresses, nor while
    # the machines are stopped and after they were.
    seen = inventory.observe(mine, ("us-east-1",))
    assert {item.id for item in seen} <= state_ids(site.directory / "terraform.tfstate")
    assert site.plan()[1] == {}
    machines = [node.id for node in nodes]
    ec2.stop_instances(InstanceIds=machines)
    assert site.plan()[1] == {}
    ec2.start_instances(InstanceIds=machines)
    assert site.plan()[1] == {}
    # A machine that is gone comes back alone, at its addresses; its interfaces went with it.
    ec2.terminate_instances(InstanceIds=machines[:1])
    late = {} if cards == 1 else {"aws_eip.main-0": ["update"]}
    file, changes, _ = site.plan()
    assert changes == {"aws_instance.main-0": ["create"], **late}
    site.apply(file)
    again = AwsProvider().nodes(site.terraform.outputs())
    assert again[0].id != nodes[0].id and again[1].id == nodes[1].id and again[0].ip == nodes[0].ip
    assert cards == 1 or [node.address for node in again] == [node.address for node in nodes], "an Elastic IP stays"
    ours = [{"Name": "tag:skyc-deployment", "Values": [str(mine)]}]
    assert len(ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"]) == 2 * cards
    site.apply(site.plan(destroy=True)[0])
    assert inventory.observe(mine, ("us-east-1",)) == ()
    left = ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"], ec2.describe_addresses(Filters=ours)["Addresses"]
    assert left == ([], [])


def _cautions(shown: dict[str, Any]) -> list[str]:
    """What a report warns of, from what Terraform itself says."""
    changes = change_set(shown, site=SiteId("train"), graph=None, engine=find_engine(environ=os.environ))
    return [caution.sentence for caution in cautions_of(change_rows((changes,)), (), meanings(), environment="")]


COMPUTED = frozenset({"egress", "ingress", "inline_policy", "route", "security_group_names"})
"""What other resources of the module put there, and a first refresh finds: it says nothing about the world."""


def _drifted(shown: dict[str, Any]) -> dict[str, set[str]]:
    """Address → arguments that were changed outside Terraform."""
    found = {}
    for row in shown["resource_drift"]:
        before, after = row["change"]["before"], row["change"]["after"]
        names = {name for name in before if before[name] != after.get(name)} - COMPUTED
        # A template without groups says null and then an empty list.
        names -= {name for name in names if not before[name] and not after.get(name)}
        if names:
            found[row["address"]] = names
    return found
