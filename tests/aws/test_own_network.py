"""Machines in a network of the user's: its ids as they are, and nothing in it is made but a security group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError, SourceFile
from skyc.compiler.ir import DeploymentId, FrozenMap, Joined, NodeRuntime, Ref, ResourceGraph
from skyc.compiler.pipeline import CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.compiler.synth import terraform_value
from skyc.providers.aws.lower import check_graph
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import ExistingNetwork
from skyc.runtime.networks import read_networks
from tests.aws.conftest import ACCESS, compiled
from tests.simulator.conftest import opened

TASK = """\
name: train
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge, ports: [8080]}
num_nodes: 2
run: echo hi
"""
OWN = ExistingNetwork(id="vpc-0aa", subnets=FrozenMap({"use1-az1": "subnet-0a1", "use1-az4": "subnet-0a4"}))
NETWORKS = {("aws", "us-east-1"): OWN}


def resources(graph: ResourceGraph) -> dict[str, FrozenMap[Any]]:
    return {str(node.address): node.arguments for node in graph.resources}


def test_only_the_firewall_is_made(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path, networks=NETWORKS)
    found = resources(graph)
    assert {address.partition(".")[0] for address in found} == {
        "aws_instance",
        "aws_key_pair",
        "aws_launch_template",
        "aws_security_group",
        "aws_vpc_security_group_egress_rule",
        "aws_vpc_security_group_ingress_rule",
    }
    assert found["aws_security_group.nodes"]["vpc_id"] == "vpc-0aa"
    assert {found[f"aws_instance.main-{index}"]["subnet_id"] for index in (0, 1)} == {"subnet-0a1"}
    assert check_graph(graph, None) == ()


def test_the_others_learn_the_heads_address_when_it_has_one(tmp_path: Path) -> None:
    found = resources(compiled(TASK, tmp_path, networks=NETWORKS))
    assert "private_ip" not in found["aws_instance.main-0"]
    assert "--address" not in found["aws_instance.main-0"]["user_data"]
    text = found["aws_instance.main-1"]["user_data"]
    assert isinstance(text, Joined) and [str(part) for part in text.parts if isinstance(part, Ref)] == [
        "${aws_instance.main-0.private_ip}"
    ]
    assert "--address=${aws_instance.main-0.private_ip}:6379" in terraform_value(text)
    # Everything else is as in a network of skyc's.
    usual = str(resources(compiled(TASK, tmp_path))["aws_instance.main-1"]["user_data"])
    assert str(text).replace("${aws_instance.main-0.private_ip}", "10.64.16.10") == usual


def test_other_regions_have_networks_of_their_own(tmp_path: Path) -> None:
    elsewhere = {("aws", "eu-west-1"): OWN, ("gcp", "us-east-1"): OWN}
    assert resources(compiled(TASK, tmp_path, networks=elsewhere)) == resources(compiled(TASK, tmp_path))


def test_a_zone_without_a_subnet_is_said(tmp_path: Path) -> None:
    made = compile_source(
        SourceFile(path="task.yaml", text=TASK.replace("use1-az1", "use1-az2")),
        CompileOptions(
            providers={"aws": AwsProvider()},
            home=tmp_path,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: ACCESS,
            networks=NETWORKS,
        ),
        until="lower",
    )
    (said,) = [item for item in made.diagnostics if item.slug == "no-subnet"]
    assert "`use1-az1`, `use1-az4`" in said.detail and "`use1-az2`" in said.detail


@pytest.mark.terraform
def test_terraform_makes_it(tmp_path: Path) -> None:
    with opened(("aws",), tmp_path, tmp_path / "cache") as site:
        site.write(compiled(TASK, tmp_path, offline=True, networks=NETWORKS))
        assert site.apply().ok
        nodes = AwsProvider().nodes(site.terraform.outputs())
        assert [node.rank for node in nodes] == [0, 1] and nodes[0].ip
        assert site.changes() == {}


CONFIG = """\
networks:
  aws:
    us-east-1:
      vpc: vpc-0aa
      subnets: {use1-az1: subnet-0a1, use1-az4: subnet-0a4}
"""


def test_networks_are_read_from_the_configuration(tmp_path: Path) -> None:
    assert read_networks(tmp_path) == {}
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert read_networks(tmp_path) == NETWORKS


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("networks: [aws]", "`networks`"),
        ("networks: {aws: {us-east-1: vpc-1}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {vpc: vpc-1}}}", "`networks.aws.us-east-1.subnets`"),
        ("networks: {aws: {us-east-1: {vpc: vpc-1, subnets: {}}}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {subnets: {a: b}}}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {vpc: v, vnet: w, subnets: {a: b}}}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {vpc: v, subnets: {a: 7}}}}", "`networks.aws.us-east-1.subnets.a`"),
        ("networks: {aws: {us-east-1: {vpc: v, subnet: {a: b}}}}", "`subnet` is no field"),
    ],
)
def test_what_is_no_network_is_said(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "config.yaml").write_text(text + "\n")
    with pytest.raises(SkycError) as caught:
        read_networks(tmp_path)
    (said,) = caught.value.diagnostics
    assert said.slug == "bad-network" and where in said.detail
