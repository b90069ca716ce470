"""What the golden files in tests/filetests do not show: decisions one by one, refusals, and what holds for the whole catalog."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyc.compiler.diagnostics import has_errors
from skyc.compiler.ir import FrozenMap, Market, Ref, ResourceRequest, SpecPath
from skyc.providers.ibm.facts import DISK_GB
from skyc.providers.ibm.images import NoImage, image_of
from skyc.providers.ibm.lower import check_graph, lower
from skyc.providers.ibm.machines import boot_volume, disk_gb
from skyc.providers.ibm.network import head_address, zone_range
from skyc.providers.ibm.provider import IbmProvider
from skyc.providers.ibm.resources import Site
from skyc.providers.schemas.references import references
from tests.ibm.conftest import (
    ACCESS,
    GPU_IMAGE,
    IMAGE,
    IMAGES,
    KEY,
    REGIONS,
    TASK,
    changed,
    compilation,
    compiled,
    context,
    of_type,
    placed,
    slugs,
)

COS = TASK + "file_mounts: {data: cos://team-data/imagenet}\nstorage: {out: {uri: cos://team-out/train}}\n"
RULE = "ibm_is_security_group_rule"


def test_inbound_is_what_was_declared_and_nothing_else(tmp_path: Path) -> None:
    rules = of_type(compiled(TASK, tmp_path), RULE)
    found = {name: (rule["remote"], rule.get("port_min"), rule.get("port_max")) for name, rule in rules.items()}
    assert isinstance(found.pop("cluster")[0], Ref)
    assert found == {
        "all-out": ("0.0.0.0/0", None, None),
        "ssh-203-0-113-7-32": ("203.0.113.7/32", 22, 22),
        "port-8080": ("0.0.0.0/0", 8080, 8080),
    }
    assert [name for name, rule in rules.items() if rule["direction"] == "outbound"] == ["all-out"]


def test_without_a_range_nobody_gets_in(tmp_path: Path) -> None:
    access = replace(ACCESS, ssh_from=())
    rules = of_type(compiled(TASK, tmp_path, access=access), RULE)
    assert not [name for name in rules if name.startswith("ssh")]
    assert "ssh-closed" in slugs(TASK, tmp_path, access=access)


def test_ipv6_is_left_out_and_said(tmp_path: Path) -> None:
    access = replace(ACCESS, ssh_from=("2001:db8::/32", "198.51.100.0/24"))
    rules = of_type(compiled(TASK, tmp_path, access=access), RULE)
    assert [rule["remote"] for name, rule in rules.items() if name.startswith("ssh")] == ["198.51.100.0/24"]
    assert "ignored-here" in slugs(TASK, tmp_path, access=access)
    assert {"ignored-here", "ssh-closed"} <= set(slugs(TASK, tmp_path, access=replace(ACCESS, ssh_from=("2001:db8::/32",))))


@pytest.mark.parametrize(
    "arguments",
    [
        {"port_min": 6379, "port_max": 6379},
        {"port_min": 1, "port_max": 65535},
        {"protocol": "any"},
        {"protocol": "udp"},
        {"port_max": None},
        {"port_min": 52365, "port_max": 52365, "remote": "10.0.0.0/8"},
        {"port_min": 8265, "port_max": 8265, "remote": None},
        {"port_min": 8265, "port_max": 8265, "remote": "r006-group-of-somebody"},
    ],
)
def test_a_graph_that_opens_ray_is_refused_whoever_made_it(tmp_path: Path, arguments: dict[str, Any]) -> None:
    graph = changed(compiled(TASK, tmp_path), f"{RULE}.port-8080", **arguments)
    assert "port-of-ray" in [found.slug for found in check_graph(graph, None)]


def test_the_cluster_rule_and_outbound_open_nothing(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert check_graph(graph, None) == ()
    turned = changed(graph, f"{RULE}.all-out", direction="inbound")
    assert [found.slug for found in check_graph(turned, None)] == ["port-of-ray"]


def test_a_wrong_attribute_is_found_before_terraform_runs(tmp_path: Path) -> None:
    graph = changed(compiled(TASK, tmp_path), "ibm_is_instance.main-0", profil="bx2-8x32")
    (found,) = IbmProvider().check_graph(graph, None)
    assert found.slug == "schema-unknown-attribute" and found.hint == "did you mean `profile`?"


def test_two_interfaces_of_one_machine_do_not_go_together(tmp_path: Path) -> None:
    both = FrozenMap({"subnet": "x"})
    graph = changed(compiled(TASK, tmp_path), "ibm_is_instance.main-0", primary_network_interface=both)
    assert [found.slug for found in check_graph(graph, None)] == ["schema-rule"]


def test_no_secret_and_no_look_up(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert not any(node.address.type.startswith("data.") for node in graph.resources)
    for name, machine in of_type(graph, "ibm_is_instance").items():
        assert "the one-time key" in str(machine["user_data"]), name
    outputs = [ref for _, ref in references(FrozenMap(graph.outputs))]
    assert {(ref.address.type, ref.attribute) for ref in outputs} == {
        ("ibm_is_instance", "id"),
        ("ibm_is_floating_ip", "address"),
        ("ibm_is_virtual_network_interface", "primary_ip[0].address"),
    }
    assert "the one-time key" not in str(graph.outputs)


def test_offline_holds_nobodys_key(tmp_path: Path) -> None:
    (online,) = compiled(TASK, tmp_path).requirements
    (offline,) = compiled(TASK, tmp_path, offline=True).requirements
    assert dict(online.config) == {"region": "us-south", "max_retries": 4}
    assert offline.config["ibmcloud_api_key"] == "offline"


def test_the_login_key_comes_with_the_first_boot_alone(tmp_path: Path) -> None:
    """IBM refuses a key it has in the region, so two sites of a deployment could not both make one."""
    graph = compiled(TASK, tmp_path)
    assert not of_type(graph, "ibm_is_ssh_key")
    for machine in of_type(graph, "ibm_is_instance").values():
        document = yaml.safe_load(str(machine["user_data"]))
        assert document["ssh_authorized_keys"] == [KEY] and "keys" not in machine


def test_addresses_are_there_before_the_machine_and_the_heads_is_kept_for_it(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    nodes = {str(node.address): node for node in graph.resources}
    for index in (0, 1):
        machine = nodes[f"ibm_is_instance.main-{index}"]
        before = {str(address) for address in machine.depends_on}
        way = "ibm_is_floating_ip.main-0" if index == 0 else "ibm_is_subnet_public_gateway_attachment.us-south-1"
        assert {way, f"{RULE}.all-out"} <= before
    head, other = (nodes[f"ibm_is_virtual_network_interface.main-{index}"] for index in (0, 1))
    assert head.arguments["primary_ip"]["address"] == "10.64.16.10"  # type: ignore[index,call-overload]
    assert "address" not in other.arguments["primary_ip"]  # type: ignore[operator]
    assert [str(address) for address in other.depends_on] == ["ibm_is_virtual_network_interface.main-0"]
    assert head.depends_on == ()
    assert "--address=10.64.16.10:6379" in str(nodes["ibm_is_instance.main-1"].arguments["user_data"])


def test_a_range_follows_from_its_zone_alone() -> None:
    assert [str(zone_range(f"us-south-{number}")) for number in (1, 2, 3)] == [
        "10.64.16.0/20",
        "10.64.32.0/20",
        "10.64.48.0/20",
    ]
    assert zone_range("eu-de-2") == zone_range("us-south-2") and head_address("us-south-3") == "10.64.48.10"


def test_without_a_bucket_there_is_no_identity(tmp_path: Path) -> None:
    graph = compiled(TASK, tmp_path)
    assert not [node for node in graph.resources if node.address.type.startswith("ibm_iam")]
    assert "default_trusted_profile_target" not in of_type(graph, "ibm_is_instance")["main-0"]


def test_the_identity_reaches_its_prefixes_and_nothing_else(tmp_path: Path) -> None:
    graph = compiled(COS, tmp_path)
    policies = of_type(graph, "ibm_iam_trusted_profile_policy")
    assert set(policies) == {"read_team-data_imagenet", "write_team-out_train"}
    read, write = policies["read_team-data_imagenet"], policies["write_team-out_train"]
    assert read["roles"] == ("Object Lister", "Object Reader")
    assert set(write["roles"]) - set(read["roles"]) == {"Object Deleter", "Object Writer"}
    paths = [condition["value"] for condition in read["rule_conditions"]]
    assert paths == [("imagenet", "imagenet/*"), ("imagenet/*",)]
    assert [condition["value"] for condition in write["rule_conditions"]] == [("train/*",), ("train/*",)]
    (profile,) = of_type(graph, "ibm_iam_trusted_profile").values()
    assert "skyc-deployment:demo" in str(profile["description"]).split()
    for node in graph.resources:
        if node.address.type == "ibm_is_instance":
            assert str(node.arguments["default_trusted_profile_target"]) == "${ibm_iam_trusted_profile.nodes.id}"
            assert {"ibm_iam_trusted_profile_policy.write_team-out_train"} <= {str(address) for address in node.depends_on}


def test_no_two_places_share_a_policy(tmp_path: Path) -> None:
    """However alike they look once slashes and dots are gone."""
    uris = ("a-b/c", "a/b-c", "a-b-c", "a.b/c", "a-b/c.d", "a-b/c/d", "a-b/C", "a-b/c_d", "x" * 60 + "/" + "y" * 60)
    mounts = "".join(f"  d{index}: cos://{uri}\n" for index, uri in enumerate(uris))
    policies = of_type(compiled(f"{TASK}file_mounts:\n{mounts}", tmp_path), "ibm_iam_trusted_profile_policy")
    assert len(policies) == len(uris)


def test_a_whole_bucket_has_no_condition(tmp_path: Path) -> None:
    (policy,) = of_type(
        compiled(TASK + "storage: {out: {uri: cos://team-out}}\n", tmp_path), "ibm_iam_trusted_profile_policy"
    ).values()
    assert "rule_conditions" not in policy and "pattern" not in policy


def test_tags_are_single_texts_without_case_and_of_one_deployment(tmp_path: Path) -> None:
    labelled = TASK.replace("ports: [8080]", "labels: {Team: Research, alone: ''}")
    graph = compiled(labelled, tmp_path)
    ours = ("skyc-deployment:demo", "skyc-site:train.ibm-us-south")
    assert of_type(graph, "ibm_is_instance")["main-0"]["tags"] == ("alone", *ours, "team:research")
    assert of_type(graph, "ibm_is_vpc")["site"]["tags"] == ours


@pytest.mark.parametrize("label", ["skyc-deployment: other", "SKYC-SITE: x"])
def test_a_label_of_skycs_own_is_refused(tmp_path: Path, label: str) -> None:
    made = compilation(TASK.replace("ports: [8080]", f"labels: {{{label}}}"), tmp_path)
    assert [found.slug for found in made.diagnostics if has_errors((found,))] == ["unsupported-here"]


@pytest.mark.parametrize(
    ("tier", "size", "expected"),
    [
        (None, None, ("general-purpose", 100)),
        ("low", "100", ("general-purpose", 100)),
        ("medium", "100.5", ("general-purpose", 101)),
        ("high", "120", ("5iops-tier", 120)),
        ("ultra", "250", ("10iops-tier", 250)),
        ("best", "20", ("10iops-tier", 100)),
    ],
)
def test_a_disk_is_what_its_price_is_for(tier: str | None, size: str | None, expected: tuple[str, int]) -> None:
    request = ResourceRequest(origin=SpecPath(), disk_tier=tier, disk_gb=None if size is None else Decimal(size))
    site = Site(context=context("us-south"), region="us-south", origin=SpecPath())
    disk = boot_volume(site, request, "main-0")
    assert (disk["profile"], disk["size"]) == expected and disk["auto_delete_volume"] is True
    assert disk_gb(request) == expected[1] and DISK_GB == 100


def test_a_disk_ibm_does_not_have_is_refused_and_a_small_one_raised(tmp_path: Path) -> None:
    assert "disk-raised" in slugs(TASK.replace("ports: [8080]", "disk_size: 20"), tmp_path)
    assert "unsupported-here" in slugs(TASK.replace("ports: [8080]", "disk_size: 251"), tmp_path)


def test_an_image_is_the_tasks_or_the_regions_and_never_a_guess(tmp_path: Path) -> None:
    own = "r006-99999999-0000-4000-a000-000000000009"
    images = {"ibm/us-south": IMAGE, "ibm/us-south/gpu": GPU_IMAGE, "ibm/eu-de": "ubuntu-24-04"}
    assert image_of(None, "us-south", False, images) == IMAGE
    assert image_of(None, "us-south", True, images) == GPU_IMAGE
    assert image_of(own, "us-south", True, images) == own
    for wanted, region, devices in (
        ("ubuntu", "us-south", False),
        ("docker:ubuntu", "us-south", False),
        (None, "us-east", False),
        (None, "eu-de", False),
        (None, "eu-de", True),
    ):
        found = image_of(wanted, region, devices, images)
        assert isinstance(found, NoImage) and found.hint, (wanted, region, devices)
    assert "own-image" in slugs(TASK.replace("ports: [8080]", f"image_id: {own}"), tmp_path)
    made = compilation(TASK, tmp_path, images=FrozenMap())
    (said,) = [found for found in made.diagnostics if has_errors((found,))]
    assert said.slug == "no-image" and said.commands == (
        "skyc catalog refresh --cloud ibm",
        "ibmcloud target -r us-south",
        "ibmcloud is images --visibility public --status available",
    )


def test_the_catalogs_image_is_taken_where_the_user_names_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(IbmProvider().catalog(home=tmp_path), images=FrozenMap({"us-south": GPU_IMAGE}))
    monkeypatch.setattr(IbmProvider, "catalog", lambda self, *, home: known)
    for images, taken in ((FrozenMap(), GPU_IMAGE), (IMAGES, IMAGE)):
        graph = compiled(TASK, tmp_path, images=images)
        assert of_type(graph, "ibm_is_instance")["main-0"]["image"] == taken


def test_a_faster_network_is_ignored_aloud(tmp_path: Path) -> None:
    assert "ignored-here" in slugs(TASK.replace("ports: [8080]", "network_tier: best"), tmp_path)


# The whole catalog


def test_every_machine_of_the_catalog_is_lowered_or_has_a_reason(tmp_path: Path) -> None:
    part = IbmProvider().catalog(home=tmp_path)
    refused = set()
    for index in range(len(part.offers.types.names)):
        kind = part.instance_type(index)
        task, placement = placed(kind, "us-south")
        graph, said = lower(task, (placement,), context("us-south"))
        if graph is None:
            refused.add(kind.arch)
            assert [found.slug for found in said if has_errors((found,))] == ["unsupported-here"], kind.name
            continue
        assert kind.arch == "x86_64", f"{kind.name} would get the bootstrap of another processor"
        assert check_graph(graph, None) == (), kind.name
        machine = of_type(graph, "ibm_is_instance")["main-0"]
        assert machine["image"] == (GPU_IMAGE if kind.accelerators else IMAGE)
    assert refused == {"s390x"}, "Ray has no build for IBM Z"


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_is_lowered(tmp_path: Path, region: str) -> None:
    part = IbmProvider().catalog(home=tmp_path)
    kind = part.instance_type(int(part.offers.type[0]))
    task, placement = placed(kind, region)
    graph, _ = lower(task, (replace(placement, zone=None),), context(region))
    assert graph is not None
    assert check_graph(graph, None) == ()
    assert set(of_type(graph, "ibm_is_subnet")) == {f"{region}-1"}


def test_spot_machines_are_refused(tmp_path: Path) -> None:
    part = IbmProvider().catalog(home=tmp_path)
    task, placement = placed(part.instance_type(int(part.offers.type[0])), "us-south", Market.SPOT)
    graph, said = lower(task, (placement,), context("us-south"))
    assert graph is None and "unsupported-here" in [found.slug for found in said]


def test_names_are_ibms_however_long_ours_are(tmp_path: Path) -> None:
    long = TASK.replace("name: train", "name: a-task-with-a-name-as-long-as-they-come")
    graph = compiled(long, tmp_path, deployment="a-deployment-with-a-name-that-is-39-long")
    names: dict[str, list[str]] = {}
    for node in graph.resources:
        if "name" in node.arguments:
            names.setdefault(node.address.type, []).append(str(node.arguments["name"]))
    for type_, given in names.items():
        assert len(set(given)) == len(given), f"{type_}: two share a name"
        assert all(len(name) <= 63 and name[0].isalpha() and name[-1].isalnum() for name in given), given
