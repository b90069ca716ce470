"""A site whose head alone has a public address: where everything lies, who waits for what, and that it can be made, grown and removed."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses, DeploymentId, FrozenMap, ResourceGraph
from skyc.compiler.synth import synth
from skyc.compiler.terraform import Terraform, find_engine, state_ids
from skyc.providers.aws.client import Account
from skyc.providers.aws.inventory import Inventory
from skyc.providers.aws.lower import check_graph
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.aws.ranges import GATEWAY, head_address, inside_range, zone_range
from skyc.providers.base import NetworkChoice
from skyc.providers.retry import Schedule
from skyc.runtime.mirror import with_mirror
from tests.aws.conftest import at, compiled
from tests.lengths import takes_minutes
from tests.simulator.conftest import opened
from tests.simulator.real_provider import SOURCE, mirror, version

TASK = """\
name: train
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge, ports: [8080]}
num_nodes: 2
run: echo hi
"""
GROUPS = """\
name: train
groups:
  first: {num_nodes: 1, resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge}}
  second: {num_nodes: 2, resources: {infra: aws/us-east-1/use1-az4, instance_type: m5.xlarge}}
run: echo hi
"""
OPEN = {("aws", "us-east-1"): NetworkChoice(public=Addresses.ALL)}


def resources(graph: ResourceGraph) -> dict[str, FrozenMap[Any]]:
    return {str(node.address): node.arguments for node in graph.resources}


def waits(graph: ResourceGraph, address: str) -> set[str]:
    (node,) = [node for node in graph.resources if str(node.address) == address]
    return {str(other) for other in node.depends_on}


def test_every_range_is_its_own() -> None:
    """Of the zones that there are. A range that moved would replace the subnet, and what is in it."""
    places = AwsProvider().catalog(home=Path("/nowhere")).offers.places
    zones = sorted({place.zone for place in places if place.zone is not None})
    assert len(zones) > 50
    for region in {place.region for place in places}:
        here = [place.zone for place in places if place.region == region]
        ranges = [GATEWAY, *(zone_range(zone) for zone in here), *(inside_range(zone) for zone in here)]
        assert not any(one.overlaps(other) for index, one in enumerate(ranges) for other in ranges[:index]), region
    assert (zone_range("use1-az4"), inside_range("use1-az4")) == (
        ipaddress.IPv4Network("10.64.64.0/20"),
        ipaddress.IPv4Network("10.64.192.0/20"),
    )


def test_the_head_alone_has_one_and_the_others_a_way_out(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    found, usual = resources(graph), resources(compiled(TASK, tmp_path, networks=OPEN))
    head, other = found["aws_instance.main-0"], found["aws_instance.main-1"]
    assert (head["associate_public_ip_address"], other["associate_public_ip_address"]) == (True, False)
    assert "# no public address" in str(other["user_data"]) and "# no public address" not in str(head["user_data"])
    # The head is where it always is, so the first boots name the same address.
    assert head["private_ip"] == usual["aws_instance.main-0"]["private_ip"] == head_address("use1-az1")
    assert head["subnet_id"] == usual["aws_instance.main-0"]["subnet_id"]
    assert str(other["subnet_id"]) == "${aws_subnet.inside-use1-az1.id}"
    tables = {
        name: str(row["route_table_id"]) for name, row in found.items() if name.startswith("aws_route_table_association.")
    }
    assert tables == {
        "aws_route_table_association.use1-az1": "${aws_route_table.out.id}",
        "aws_route_table_association.nat": "${aws_route_table.out.id}",
        "aws_route_table_association.inside-use1-az1": "${aws_route_table.inside.id}",
    }
    assert str(found["aws_route.inside"]["nat_gateway_id"]) == "${aws_nat_gateway.nat.id}"
    assert found["aws_vpc_endpoint.s3"]["service_name"] == "com.amazonaws.us-east-1.s3"
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple)
    rows = [str(row["address"]) for row in nodes if isinstance(row, FrozenMap)]
    assert rows == ["${aws_instance.main-0.public_ip}", ""]
    assert check_graph(graph, None) == ()


def test_the_gateway_waits_for_the_machines(tmp_path: Path) -> None:
    """EC2 takes minutes to make one, and a shortage is to be known before."""
    graph = compiled(TASK, tmp_path)
    own = {"aws_route_table_association.inside-use1-az1", "aws_vpc_endpoint.s3"}
    assert not own & waits(graph, "aws_instance.main-0")
    assert waits(graph, "aws_instance.main-1") == own | waits(graph, "aws_instance.main-0")
    before = {"aws_route.out", "aws_route_table_association.nat", "aws_instance.main-0", "aws_instance.main-1"}
    assert waits(graph, "aws_nat_gateway.nat") == before


def test_groups_lie_where_they_are_placed(tmp_path: Path) -> None:
    found = resources(compiled(GROUPS, tmp_path))
    assert {name for name in found if name.startswith("aws_subnet.")} == {
        "aws_subnet.use1-az1", "aws_subnet.nat", "aws_subnet.inside-use1-az4",
    }  # fmt: skip
    public = [found[f"aws_instance.{name}"]["associate_public_ip_address"] for name in ("first-0", "second-0", "second-1")]
    assert public == [True, False, False]


def test_a_head_alone_is_made_as_ever_and_growing_moves_nothing(tmp_path: Path) -> None:
    one = compiled(TASK.replace("num_nodes: 2", "num_nodes: 1"), tmp_path)
    usual = compiled(TASK.replace("num_nodes: 2", "num_nodes: 1"), tmp_path, networks=OPEN)
    plain = {name: str(row).partition("skyc-plan")[0] for name, row in resources(one).items()}
    assert plain == {name: str(row).partition("skyc-plan")[0] for name, row in resources(usual).items()}
    grown = resources(compiled(TASK, tmp_path))
    assert all(str(grown[name]).partition("skyc-plan")[0] == row for name, row in plain.items())


@pytest.mark.terraform
def test_terraform_makes_grows_and_shrinks_it(tmp_path: Path) -> None:
    with opened(("aws",), tmp_path, tmp_path / "cache") as site:
        site.write(compiled(TASK.replace("num_nodes: 2", "num_nodes: 1"), tmp_path, offline=True))
        assert site.apply().ok
        (before,) = AwsProvider().nodes(site.terraform.outputs())
        site.write(compiled(TASK, tmp_path, offline=True))
        assert site.apply().ok
        head, other = AwsProvider().nodes(site.terraform.outputs())
        assert (head.id, head.via) == (before.id, None) and head.address
        assert other.via == head and not other.address
        assert site.changes() == {}


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(600)
def test_the_released_provider_makes_it_and_nothing_is_left(tmp_path: Path, account: Any) -> None:
    import boto3

    directory, versions = tmp_path / "site", FrozenMap({SOURCE: version()})
    directory.mkdir()
    deployment = DeploymentId("inside")
    graph = compiled(TASK, tmp_path, deployment=str(deployment), versions=versions)
    _, text = synth(at(graph), cache=tmp_path / "cache")
    (directory / "cdk.tf.json").write_text(text)
    environ = with_mirror({**os.environ, "SKYC_PROVIDER_MIRROR": str(mirror())}, tmp_path, only=True)
    terraform = Terraform(find_engine(environ=os.environ), directory, home=tmp_path, environ=environ)
    run = terraform.plan()
    assert run.plan_file is not None, run.diagnostics
    done = terraform.apply(run.plan_file)
    assert done.ok, done.diagnostics
    again = terraform.plan()
    assert again.ok and not again.has_changes, again.diagnostics
    head, other = AwsProvider().nodes(terraform.outputs())
    assert head.ip == "10.64.16.10" and head.address and other.via == head
    assert ipaddress.ip_address(other.ip) in inside_range("use1-az1")

    inventory = Inventory(Account(boto3.Session(), Schedule(pauses=(0.1,))), pause=lambda seconds: None)
    seen = inventory.observe(deployment, ("us-east-1",))
    assert {"aws_nat_gateway", "aws_eip", "aws_vpc_endpoint"} <= {item.type for item in seen}
    assert {item.id for item in seen} <= state_ids(directory / "terraform.tfstate")
    ended = terraform.plan(destroy=True)
    assert ended.plan_file is not None and terraform.apply(ended.plan_file).ok
    assert inventory.observe(deployment, ("us-east-1",)) == ()
