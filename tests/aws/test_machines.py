"""Which machines AWS takes for what a task asks: images with a driver, closeness, names, tags and addresses. Every family of the shipped
catalog is compiled or refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Severity
from skyc.compiler.ir import (
    Accelerator,
    DeploymentId,
    FrozenMap,
    GroupName,
    GroupPlacement,
    InstanceType,
    Market,
    NodeGroup,
    NodeRuntime,
    NodeShape,
    ResourceRequest,
    SiteId,
    SpecPath,
    Task,
    TaskId,
)
from skyc.providers.aws.lower import check_graph, lower
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import LowerContext
from tests.aws.conftest import ACCESS

CONTEXT = LowerContext(
    deployment=DeploymentId("d"),
    site=SiteId("t.aws-us-east-1"),
    home="/h",
    runtime=NodeRuntime(python="3.11"),
    access=ACCESS,
)


def lowered(
    machine: str,
    devices: tuple[Accelerator, ...] = (),
    context: LowerContext = CONTEXT,
    group: str = "main",
    nodes: int = 2,
    **wanted: Any,
) -> Any:
    """What two nodes of a machine type become, or more."""
    request = ResourceRequest(origin=SpecPath(("resources",)), **wanted)
    gang = NodeGroup(
        name=GroupName(group), origin=request.origin, num_nodes=nodes, requests=(request,), ordered=False, run="true"
    )
    task = Task(
        id=TaskId("t"), origin=SpecPath(("name",)), groups=(gang,), setup="", envs=FrozenMap(), secrets=(), workdir=None
    )
    placement = GroupPlacement(
        task=task.id,
        group=gang.name,
        provider="aws",
        region="us-east-1",
        zone="use1-az1",
        instance_type=machine,
        market=Market.ON_DEMAND,
        num_nodes=nodes,
        shape=NodeShape(cpus=Decimal(2), memory_gb=Decimal(4), accelerators=devices),
        hourly=None,
        hours=Decimal(1),
        lines=(),
    )
    return lower(task, (placement,), context)


def types(graph: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in graph.resources:
        found.setdefault(node.address.type, []).append(node.arguments)
    return found


def families(home: Path) -> list[InstanceType]:
    """A machine of each of the catalog's families, whose sizes differ in nothing that counts here."""
    part = AwsProvider().catalog(home=home)
    kinds = (part.instance_type(index) for index in range(len(part.offers.types.names)))
    return list({kind.name.partition(".")[0]: kind for kind in kinds}.values())


def test_every_family_of_the_catalog_is_compiled_or_refused_with_a_reason(tmp_path: Path) -> None:
    refused: dict[str, set[str]] = {}
    for kind in families(tmp_path):
        graph, diagnostics = lowered(kind.name, kind.accelerators, network_tier="best")
        if graph is None:
            (why,) = [found for found in diagnostics if found.severity is Severity.ERROR]
            assert why.slug == "unsupported-here" and "image_id" in why.detail, kind.name
            refused.setdefault(", ".join(device.name for device in kind.accelerators), set()).add(kind.name.partition(".")[0])
            continue
        assert check_graph(graph, None) == (), kind.name
        template = types(graph)["aws_launch_template"][0]
        assert ("dlami" in template["image_id"] or "deeplearning" in template["image_id"]) == bool(kind.accelerators), kind.name
        # The image names its architecture one way, and the cloud's own another.
        assert ("/arm64/" in template["image_id"]) == (kind.arch == "arm64"), kind.name
        close = "aws_placement_group" in types(graph)
        fast = "network_interfaces" in template
        assert [found.slug for found in diagnostics if found.slug in ("ignored-here", "no-fast-network")] == (
            [] if fast else ["no-fast-network"] if close else ["ignored-here"]
        ), kind.name
    assert refused == {
        "": {"c1", "m1", "m2", "t1"},
        "AI100": {"dl2q"},
        "Inferentia": {"inf1"},
        "L4": {"g6f", "gr6f"},
        "V100-32GB": {"p3dn"},
    }, "paravirtual machines; and devices, or parts of one, whose driver is in no image of AWS's"


@pytest.mark.parametrize(
    ("machine", "close"),
    [
        ("p5.48xlarge", True),
        ("m4.large", True),
        ("a1.large", True),
        ("trn1.32xlarge", True),
        ("hpc7g.4xlarge", True),
        ("t3.xlarge", False),
        ("vt1.24xlarge", False),
        ("t4g.small", False),
        ("m7i-flex.large", False),
        ("m3.large", False),
    ],
)
def test_only_machines_a_cluster_placement_group_takes_are_put_into_one(machine: str, close: bool) -> None:
    graph, diagnostics = lowered(machine, network_tier="best")
    assert ("aws_placement_group" in types(graph)) is close
    assert all(("placement_group" in arguments) is close for arguments in types(graph)["aws_instance"])
    assert "ignored-here" not in {found.slug for found in diagnostics} if close else diagnostics[0].slug == "ignored-here"


def test_an_own_image_may_be_for_any_machine() -> None:
    for machine, devices in (("m1.small", ()), ("inf1.xlarge", (Accelerator(name="Inferentia", count=Decimal(1)),))):
        graph, _ = lowered(machine, devices, image_id="ami-0123456789abcdef0")
        assert graph is not None, machine


def test_long_names_stay_within_what_aws_takes() -> None:
    """A launch template's name has at most 125 characters for Terraform's provider."""
    context = replace(CONTEXT, deployment=DeploymentId("d" * 39), site=SiteId(f"{'t' * 39}.aws-ap-southeast-1"))
    graph, _ = lowered("m6i.32xlarge", context=context, group="g" * 39, network_tier="best")
    found = [arguments["name"] for type_ in ("aws_launch_template", "aws_placement_group") for arguments in types(graph)[type_]]
    assert len(found) == 3 and max(map(len, found)) <= 125, found
    assert len(set(found[:2])) == 2, "two templates of one name"


@pytest.mark.parametrize(
    ("machine", "gigabytes", "iops"),
    [("r4.large", 1_600, 32_000), ("r4.large", 4_000, 32_000), ("r5.large", 4_000, 64_000), ("i3.metal", 4_000, 64_000)],
)
def test_a_machine_without_nitro_reaches_half_as_many_iops(machine: str, gigabytes: int, iops: int) -> None:
    graph, _ = lowered(machine, disk_tier="best", disk_gb=Decimal(gigabytes))
    (mapping,) = types(graph)["aws_launch_template"][0]["block_device_mappings"]
    assert (mapping["ebs"]["volume_type"], mapping["ebs"]["iops"]) == ("io2", iops)


def test_more_labels_than_aws_has_tags_are_refused() -> None:
    for count, fits in ((47, True), (48, False)):
        graph, diagnostics = lowered("m5.large", labels=FrozenMap({f"k{index}": "v" for index in range(count)}))
        assert (graph is not None) is fits
        assert ["labels" in found.detail for found in diagnostics] == ([] if fits else [True])


def test_ssh_is_opened_to_addresses_that_can_come() -> None:
    """A rule for IPv6 would open nothing: a VPC of skyc's has none, and it logs in at IPv4 addresses."""
    context = replace(CONTEXT, access=replace(ACCESS, ssh_from=("2001:db8::/48", "203.0.113.7/32")))
    graph, diagnostics = lowered("m5.large", context=context)
    opened = [rule for rule in types(graph)["aws_vpc_security_group_ingress_rule"] if rule.get("from_port") == 22]
    assert [rule["cidr_ipv4"] for rule in opened] == ["203.0.113.7/32"]
    assert ["2001:db8::/48" in found.detail for found in diagnostics if found.slug == "ignored-here"] == [True]
    _, diagnostics = lowered("m5.large", context=replace(CONTEXT, access=replace(ACCESS, ssh_from=("2001:db8::/48",))))
    assert {found.slug for found in diagnostics} == {"ignored-here", "ssh-closed"}
