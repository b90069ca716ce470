"""What the golden files in tests/filetests do not show: invariants, refusals, and what holds for the whole catalog."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.ir import Addresses, FrozenMap, Ref, ResourceGraph, ResourceRequest, SpecPath
from skyc.providers.aws.facts import DISK_GB
from skyc.providers.aws.lower import _ARM, check_graph
from skyc.providers.aws.machines import disk_gb, root_disk
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.aws.storage import _KEY, _on_keys
from skyc.providers.base import NetworkChoice
from skyc.providers.rented.buckets import Place
from skyc.providers.rented.images import Image
from skyc.providers.schemas.references import references
from tests.aws.conftest import compiled

TASK = """\
name: train
resources: {infra: aws/us-east-1/use1-az1, instance_type: m5.xlarge, ports: [8080]}
num_nodes: 2
run: echo hi
"""
S3 = TASK + "file_mounts: {data: s3://team-data/imagenet}\nstorage: {out: {uri: s3://team-out/train}}\n"
IMAGE = Image(id="ami-1", least_gb=8)


def of_type(graph: ResourceGraph, type_: str) -> dict[str, FrozenMap[Any]]:
    return {node.address.name: node.arguments for node in graph.resources if node.address.type == type_}


def changed(graph: ResourceGraph, address: str, **arguments: Any) -> ResourceGraph:
    nodes = tuple(
        replace(node, arguments=FrozenMap({**node.arguments, **arguments})) if str(node.address) == address else node
        for node in graph.resources
    )
    return replace(graph, resources=nodes)


def test_inbound_is_what_was_declared_and_nothing_else(tmp_path: Path) -> None:
    rules = of_type(compiled(TASK, tmp_path), "aws_vpc_security_group_ingress_rule")
    found = {name: (rule.get("cidr_ipv4"), rule.get("from_port"), rule.get("to_port")) for name, rule in rules.items()}
    assert found == {
        "cluster": (None, None, None),
        "ssh-203-0-113-7-32": ("203.0.113.7/32", 22, 22),
        "port-8080": ("0.0.0.0/0", 8080, 8080),
    }
    assert isinstance(rules["cluster"]["referenced_security_group_id"], Ref)


@pytest.mark.parametrize(("first", "last", "protocol"), [(6379, 6379, "tcp"), (1, 65535, "tcp"), (8080, 8080, "-1")])
def test_a_graph_that_opens_ray_is_refused_whoever_made_it(tmp_path: Path, first: int, last: int, protocol: str) -> None:
    address = "aws_vpc_security_group_ingress_rule.port-8080"
    graph = changed(compiled(TASK, tmp_path), address, from_port=first, to_port=last, ip_protocol=protocol)
    assert [found.slug for found in check_graph(graph, None)] == ["port-of-ray"]


def test_a_wrong_attribute_is_found_before_terraform_runs(tmp_path: Path) -> None:
    graph = changed(compiled(TASK, tmp_path), "aws_instance.main-0", instance_typ="m5.large")
    (found,) = AwsProvider().check_graph(graph, None)
    assert found.slug == "schema-unknown-attribute" and found.hint == "did you mean `instance_type`?"


def test_no_other_machine_is_given_the_heads_address(tmp_path: Path) -> None:
    open_ = {("aws", "us-east-1"): NetworkChoice(public=Addresses.ALL)}
    graph = compiled(TASK, tmp_path, networks=open_)
    machines, kept = of_type(graph, "aws_instance"), of_type(graph, "aws_ec2_subnet_cidr_reservation")["head"]
    assert kept["cidr_block"] == f"{machines['main-0']['private_ip']}/32" and kept["reservation_type"] == "explicit"
    assert kept["subnet_id"] == machines["main-0"]["subnet_id"]
    (address,) = [node.address for node in graph.resources if node.arguments is kept]
    assert all(address in node.depends_on for node in graph.resources if node.address.type == "aws_instance")
    alone = compiled(TASK.replace("num_nodes: 2", "num_nodes: 1"), tmp_path)
    assert of_type(alone, "aws_ec2_subnet_cidr_reservation") == {}
    # The head of others without an address has a subnet of its own.
    inside = compiled(TASK, tmp_path)
    assert of_type(inside, "aws_ec2_subnet_cidr_reservation") == {}
    assert len({str(machine["subnet_id"]) for machine in of_type(inside, "aws_instance").values()}) == 2


def test_no_secret_and_no_look_up(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert not any(node.address.type.startswith("data.") for node in graph.resources)
    for name, machine in of_type(graph, "aws_instance").items():
        assert "the one-time key" in str(machine["user_data"]), name
    outputs = [ref for _, ref in references(FrozenMap(graph.outputs))]
    assert {ref.attribute for ref in outputs} == {"id", "private_ip", "public_ip"}
    assert "the one-time key" not in str(graph.outputs)


def test_without_a_bucket_there_is_no_identity(tmp_path: Path) -> None:
    assert not [node for node in compiled(TASK, tmp_path).resources if node.address.type.startswith("aws_iam")]


def test_the_identity_reaches_its_prefixes_and_nothing_else(tmp_path: Path) -> None:
    policy = of_type(compiled(S3, tmp_path), "aws_iam_role_policy")["buckets"]["policy"]
    statements = json.loads(str(policy))["Statement"]
    allowed = {(action, row["Resource"]) for row in statements for action in [row["Action"]] if isinstance(action, str)}
    allowed |= {(action, row["Resource"]) for row in statements if isinstance(row["Action"], list) for action in row["Action"]}
    assert {resource for action, resource in allowed if action == "s3:PutObject"} == {"arn:aws:s3:::team-out/train/*"}
    assert {resource for action, resource in allowed if action == "s3:ListBucket"} == {
        "arn:aws:s3:::team-data",
        "arn:aws:s3:::team-out",
    }
    assert all(row["Effect"] == "Allow" and "*" not in str(row["Action"]) and row["Resource"] != "*" for row in statements)
    assert all("Condition" in row for row in statements if row["Action"] == "s3:ListBucket")


KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def keys_of(given: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """The statements about keys that a task which reads `team-data` and writes `team-out` gets."""
    return [dict(row) for row in _on_keys((Place("team-data", "x", False), Place("team-out", "", True)), given)]


def test_keys_are_given_for_the_buckets_that_are_used_and_as_they_are_used() -> None:
    """In the key's own region, wherever the machines are."""
    assert keys_of({"others": (KEY,)}) == []
    (read,) = keys_of({"team-data": (KEY,)})
    via = {"StringEquals": {"kms:ViaService": ["s3.eu-central-1.amazonaws.com"]}}
    assert read == {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [KEY], "Condition": via}
    (written,) = keys_of({"team-out": (KEY, KEY)})
    assert written == {**read, "Action": ["kms:Decrypt", "kms:GenerateDataKey"]}


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        (KEY, True),
        ("arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab", True),
        ("arn:aws:kms:eu-central-1:111122223333:key/*", False),
        ("arn:aws:kms:*:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", False),
        ("arn:aws:kms:eu-central-1:111122223333:alias/data", False),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", False),
        ("*", False),
    ],
)
def test_only_a_keys_own_arn_is_one(key: str, fits: bool) -> None:
    assert (_KEY.fullmatch(key) is not None) is fits


def test_another_plan_changes_nothing_that_is_compared(tmp_path: Path) -> None:
    """The plan's tag says who made a resource; a new price must not change every resource."""
    for node in compiled(TASK, tmp_path).resources:
        assert ("tags" in node.arguments) == ('tags["skyc-plan"]' in node.ignore_changes), node.address
    template = of_type(compiled(TASK, tmp_path), "aws_launch_template")["main"]
    assert "skyc-plan" not in str(template["tag_specifications"]), "a new version replaces the machines"


def test_offline_holds_nobodys_credentials(tmp_path: Path) -> None:
    (online,) = compiled(TASK, tmp_path).requirements
    (offline,) = compiled(TASK, tmp_path, offline=True).requirements
    assert set(online.config) == {"region", "max_retries"}
    assert offline.config["access_key"] == "offline" and offline.config["skip_credentials_validation"] is True


@pytest.mark.parametrize(
    ("tier", "size", "expected"),
    [
        (None, None, {"volume_type": "gp3", "volume_size": 256}),
        ("low", "100", {"volume_type": "standard", "volume_size": 100}),
        ("medium", "100.5", {"volume_type": "gp3", "volume_size": 101}),
        ("high", "100", {"volume_type": "gp3", "volume_size": 128, "iops": 7000, "throughput": 500}),
        ("best", "100", {"volume_type": "io2", "volume_size": 100, "iops": 2000}),
        ("ultra", "1", {"volume_type": "io2", "volume_size": 8, "iops": 160}),
    ],
)
def test_a_disk_is_what_its_price_is_for(tier: str | None, size: str | None, expected: dict[str, Any]) -> None:
    request = ResourceRequest(origin=SpecPath(), disk_tier=tier, disk_gb=None if size is None else Decimal(size))
    disk = root_disk(request, IMAGE, "m6i.large")
    assert {name: disk[name] for name in disk if name not in ("encrypted", "delete_on_termination")} == expected
    assert disk["encrypted"] == "true"
    assert disk_gb(request, IMAGE) == expected["volume_size"] and DISK_GB == 256


def test_what_a_machine_runs_on_follows_from_its_name(tmp_path: Path) -> None:
    part = AwsProvider().catalog(home=tmp_path)
    for index, name in enumerate(part.offers.types.names):
        kind = part.instance_type(index)
        assert (kind.arch == "arm64") == bool(_ARM.match(name)), name
