"""Machines in a network of the user's: its ids as they are, and nothing in it is made but a security group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError, SourceFile, Span
from skyc.compiler.ir import Addresses, DeploymentId, FrozenMap, Joined, NodeRuntime, Ref, ResourceGraph
from skyc.compiler.ir.catalog import CatalogPart
from skyc.compiler.pipeline import Compilation, CompileOptions, compile_source
from skyc.compiler.resolve import EnvOverrides
from skyc.compiler.synth import terraform_value
from skyc.providers.aws.lower import check_graph
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.base import EVERY_ZONE, Capability, ExistingNetwork, NetworkChoice, Provider
from skyc.providers.gcp.provider import GcpProvider
from skyc.providers.local.client import LocalProvider
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
NETWORKS = {("aws", "us-east-1"): NetworkChoice(existing=OWN)}
SPAN = Span(file="config.yaml", line=3, column=5, end_line=3, end_column=14)


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
    # Everything else is as in a network of skyc's, where each has an address: nothing waits for a gateway.
    public = {("aws", "us-east-1"): NetworkChoice(public=Addresses.ALL)}
    usual = (
        str(resources(compiled(TASK, tmp_path, networks=public))["aws_instance.main-1"]["user_data"]) + "# no public address\n"
    )
    assert str(text).replace("${aws_instance.main-0.private_ip}", "10.64.16.10") == usual


def test_other_regions_have_networks_of_their_own(tmp_path: Path) -> None:
    elsewhere = {place: NetworkChoice(existing=OWN) for place in (("aws", "eu-west-1"), ("gcp", "us-east-1"))}
    found, usual = (resources(compiled(TASK, tmp_path, networks=networks)) for networks in (elsewhere, {}))
    # Which plan made it stands in the tags, and the networks are part of what a plan was made with.
    without = [{name: str(row).partition("skyc-plan")[0] for name, row in rows.items()} for rows in (found, usual)]
    assert without[0] == without[1]


def compilation(text: str, home: Path, networks: Mapping[tuple[str, str], NetworkChoice]) -> Compilation:
    return compile_source(
        SourceFile(path="task.yaml", text=text),
        CompileOptions(
            providers={"aws": AwsProvider()},
            home=home,
            runtime=NodeRuntime(python="3.11"),
            overrides=EnvOverrides.of(environ={}),
            deployment=DeploymentId("demo"),
            access=lambda _: ACCESS,
            networks=networks,
        ),
        until="lower",
    )


def test_a_zone_without_a_subnet_is_said(tmp_path: Path) -> None:
    networks = {("aws", "us-east-1"): NetworkChoice(existing=replace(OWN, span=SPAN))}
    made = compilation(TASK.replace("use1-az1", "use1-az2"), tmp_path, networks)
    (said,) = [item for item in made.diagnostics if item.slug == "no-subnet"]
    assert "`use1-az1`, `use1-az4`" in said.detail and "`use1-az2`" in said.detail and said.span == SPAN


def test_only_zones_with_a_subnet_are_chosen_and_fallen_back_to(tmp_path: Path) -> None:
    text = TASK.replace("us-east-1/use1-az1", "us-east-1")
    free, held = (compilation(text, tmp_path, networks) for networks in ({}, NETWORKS))
    assert free.placement is not None and held.placement is not None
    zones = {item.zone for item in (*held.placement.placements, *held.placement.fallbacks)}
    others = {item.zone for item in (*free.placement.placements, *free.placement.fallbacks)}
    assert zones and zones <= set(OWN.subnets) and not others <= set(OWN.subnets)
    (row,) = [row for row in held.placement.rejections if row.reason == "no-subnet"]
    assert "aws/us-east-1" in row.detail and row.count > 0
    # Plans are made with what config.yaml says, and say so by their digest.
    assert free.placement.catalog_digest != held.placement.catalog_digest
    other = replace(OWN, subnets=FrozenMap({"use1-az9": "subnet-0a9"}))
    nowhere = compilation(text, tmp_path, {("aws", "us-east-1"): NetworkChoice(existing=other)})
    (said,) = [item for item in nowhere.diagnostics if item.slug == "nothing-fits"]
    assert "no-subnet: `networks` in config.yaml" in said.detail


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
  gcp:
    us-central1: {network: projects/p/global/networks/n, subnet: s, public: false, tags: [a, b]}
"""


def test_without_a_public_address(tmp_path: Path) -> None:
    private = {("aws", "us-east-1"): NetworkChoice(existing=OWN, public=Addresses.NONE)}
    graph = compiled(TASK, tmp_path, networks=private)
    public = {("aws", "us-east-1"): NetworkChoice(existing=OWN, public=Addresses.ALL)}
    found, usual = resources(graph), resources(compiled(TASK, tmp_path, networks=public))
    for index in (0, 1):
        machine = found[f"aws_instance.main-{index}"]
        assert machine["associate_public_ip_address"] is False
        # The provider does not look at that argument again, so the first boot says it, and is another machine's.
        assert machine["user_data"] != usual[f"aws_instance.main-{index}"]["user_data"]
    nodes = graph.outputs["nodes"]
    assert isinstance(nodes, tuple) and [row["address"] for row in nodes if isinstance(row, FrozenMap)] == ["", ""]


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (replace(OWN, id="shared"), "`shared` names no network"),
        (replace(OWN, subnets=FrozenMap({"use1-az1": "training"})), "`training` names no subnet"),
        (replace(OWN, subnets=FrozenMap({EVERY_ZONE: "subnet-0a1"})), "lies in one zone"),
        (replace(OWN, tags=("nodes",)), "do not know any"),
    ],
)
def test_what_is_no_network_of_aws_is_said_at_its_line(tmp_path: Path, own: ExistingNetwork, why: str) -> None:
    made = compilation(TASK, tmp_path, {("aws", "us-east-1"): NetworkChoice(existing=replace(own, span=SPAN))})
    (said,) = [item for item in made.diagnostics if item.slug == "bad-network"]
    assert why in said.detail and said.span == SPAN and made.graphs == ()


class Unable(AwsProvider):
    """Machines go into networks of the user's there, and all of them have an address or none."""

    name = "unable"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities - {Capability.HEAD_ADDRESS}

    def catalog(self, *, home: Path) -> CatalogPart:
        # The shipped one lies beside the class that is asked.
        return AwsProvider().catalog(home=home)


PROVIDERS: dict[str, Provider] = {"aws": AwsProvider(), "gcp": GcpProvider(), "local": LocalProvider(), "unable": Unable()}


def test_networks_are_read_from_the_configuration(tmp_path: Path) -> None:
    assert read_networks(tmp_path, PROVIDERS) == {}
    (tmp_path / "config.yaml").write_text(CONFIG)
    found = read_networks(tmp_path, PROVIDERS)
    assert found == {
        **NETWORKS,
        ("gcp", "us-central1"): NetworkChoice(
            existing=ExistingNetwork(id="projects/p/global/networks/n", subnets=FrozenMap({EVERY_ZONE: "s"}), tags=("a", "b")),
            public=Addresses.NONE,
        ),
    }
    own = found["aws", "us-east-1"].existing
    assert own is not None
    span = own.span
    assert span is not None and (span.line, span.column) == (3, 5)


def test_who_has_a_public_address_is_read_for_a_target_and_for_a_region(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        """\
networks:
  aws:
    public: true
    eu-west-1: {public: head}
    us-east-1: {vpc: vpc-0aa, subnets: {use1-az1: subnet-0a1}}
    us-east-2: {vpc: vpc-0bb, subnets: {use2-az1: subnet-0b1}, public: false}
"""
    )
    found = read_networks(tmp_path, PROVIDERS)
    regions = {place.region for place in AwsProvider().catalog(home=tmp_path).offers.places}
    assert {region for _, region in found} == regions - {"eu-west-1"}
    given = {
        region: (found["aws", region].existing is not None, found["aws", region].public)
        for region in regions & {r for _, r in found}
    }
    assert given.pop("us-east-1") == (True, Addresses.ALL) and given.pop("us-east-2") == (True, Addresses.NONE)
    assert set(given.values()) == {(False, Addresses.ALL)}
    (tmp_path / "config.yaml").write_text("networks: {aws: {public: head, us-east-1: {public: true}}}\n")
    assert read_networks(tmp_path, PROVIDERS) == {("aws", "us-east-1"): NetworkChoice(public=Addresses.ALL)}
    # A target that cannot do better has its own usual.
    (tmp_path / "config.yaml").write_text("networks: {unable: {public: true}}\n")
    assert read_networks(tmp_path, PROVIDERS) == {}
    (tmp_path / "config.yaml").write_text("networks: {unable: {us-east-1: {vpc: vpc-0aa, subnets: {use1-az1: subnet-0a1}}}}\n")
    assert read_networks(tmp_path, PROVIDERS)["unable", "us-east-1"].public is Addresses.ALL


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("networks: [aws]", "`networks`"),
        ("networks: {aws: {us-east-1: vpc-1}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {vpc: vpc-1}}}", "names no subnet"),
        ("networks: {aws: {us-east-1: {vpc: vpc-1, subnets: {}}}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {subnets: {a: b}}}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {vpc: v, vnet: w, subnets: {a: b}}}}", "`networks.aws.us-east-1`"),
        ("networks: {aws: {us-east-1: {vpc: v, subnets: {a: 7}}}}", "`networks.aws.us-east-1.subnets.a`"),
        ("networks: {aws: {us-east-1: {vpc: v, subnet: {a: b}}}}", "`networks.aws.us-east-1.subnet`"),
        ("networks: {aws: {us-east-1: {vpc: v, subnet: s, subnets: {a: b}}}}", "only one of them"),
        ("networks: {aws: {us-east-1: {vpc: v, subnett: s}}}", "`subnett` is no field"),
        ("networks: {aws: {us-east-1: {vpc: v, subnet: s, public: 7}}}", "`true`, `false` or `head`"),
        ("networks: {aws: {us-east-1: {vpc: v, subnet: s, public: haed}}}", "`true`, `false` or `head`"),
        ("networks: {aws: {us-east-1: {public: false}}}", "`networks.aws.us-east-1.public`"),
        ("networks: {aws: {public: false}}", "`networks.aws.public`"),
        ("networks: {aws: {us-east-1: {public: head, tags: [a]}}}", "Exactly one"),
        ("networks: {unable: {public: head}}", "`aws`, `gcp` can give one"),
        ("networks: {aws: {us-esat-1: {vpc: v, subnet: s}}}", "no region"),
        ("networks: {local: {local: {vpc: v, subnet: s}}}", "`aws`, `gcp`, `unable` can"),
    ],
)
def test_what_is_no_network_is_said(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "config.yaml").write_text(text + "\n")
    with pytest.raises(SkycError) as caught:
        read_networks(tmp_path, PROVIDERS)
    (said,) = caught.value.diagnostics
    assert said.slug == "bad-network" and where in said.detail
    assert said.span is not None and said.span.line == 1
    assert "haed" not in text or said.hint == "did you mean `head`?"


@pytest.mark.parametrize(
    ("subnets", "why"),
    [
        ("us-east-1a: subnet-0a1", "`us-east-1a` names a zone of us-east-1. AWS gives every account its own names"),
        ("use1-az1: subnet-0a1, a: subnet-0a2", "`a` is no zone of aws/us-east-1"),
        ("use2-az1: subnet-0a1", "`use2-az1` is a zone of aws/us-east-2"),
        ("use1-az9: subnet-0a1", "knows no zone `use1-az9`"),
        # Beside a zone with machines one without is no mistake: the catalog may not know it.
        ("use1-az1: subnet-0a1, use1-az9: subnet-0a2", ""),
        ("use1-az1: subnet-0a1, use1-bos1-az1: subnet-0a2", ""),
    ],
)
def test_the_zones_of_subnets_are_those_of_the_region(tmp_path: Path, subnets: str, why: str) -> None:
    (tmp_path / "config.yaml").write_text(f"networks:\n  aws:\n    us-east-1: {{vpc: vpc-0aa, subnets: {{{subnets}}}}}\n")
    if not why:
        assert ("aws", "us-east-1") in read_networks(tmp_path, PROVIDERS)
        return
    with pytest.raises(SkycError, match="bad-network") as caught:
        read_networks(tmp_path, PROVIDERS)
    (said,) = caught.value.diagnostics
    assert why in said.detail and said.span is not None and said.span.line == 3
