"""What a deployment has is found by its tag and removed without a state, in whatever order it is listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import DeploymentId
from skyc.providers.base import OwnedResource
from skyc.providers.ibm.client import Account
from skyc.providers.ibm.inventory import Inventory
from skyc.providers.ibm.provider import IbmProvider
from skyc.providers.retry import Schedule, SourceFailure
from tests.ibm.fake_cloud import ACCOUNT, KEY, REGION, FakeCloud, serving

LEFT = DeploymentId("left")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    with serving() as cloud:
        for name in ("IAM", "VPC", "TAGS", "RESOURCES", "COS"):
            monkeypatch.setenv(f"SKYC_IBM_{name}_URL", cloud.url)
        monkeypatch.setenv("IC_API_KEY", KEY)
        yield cloud


@pytest.fixture
def inventory(cloud: FakeCloud) -> Iterator[Inventory]:
    import os

    account = Account.open(os.environ, Schedule(pauses=()))
    assert account is not None
    with Inventory(account, pause=lambda _: None) as opened:
        yield opened


@dataclass(frozen=True)
class Left:
    vpc: str
    interface: str
    machine: str
    address: str


def leave(cloud: FakeCloud, deployment: str, *, tagged: bool = True) -> Left:
    """What a Terraform run that was killed could leave. `tagged`: of what lies in the network; IBM attaches tags afterwards."""
    mine = (f"skyc-deployment:{deployment}", f"skyc-site:train.ibm-{REGION}")
    inside = mine if tagged else ()
    name = f"skyc-{deployment}"
    vpc = cloud.add("vpcs", name, mine)
    here: dict[str, Any] = {"vpc": {"id": vpc}}
    own = cloud.add("security_groups", f"{name}-closed", **here), cloud.add("network_acls", f"{name}-closed", **here)
    cloud.rows["vpcs"][vpc] |= {"default_security_group": {"id": own[0]}, "default_network_acl": {"id": own[1]}}
    acl = cloud.add("network_acls", f"{name}-nodes", inside, **here)
    group = cloud.add("security_groups", f"{name}-nodes", inside, **here)
    gateway = cloud.add("public_gateways", f"{name}-{REGION}-1-out", inside, **here)
    cloud.add("floating_ips", f"{name}-{REGION}-1-out", inside, target={"id": gateway})
    subnet = cloud.add("subnets", f"{name}-{REGION}-1", inside, **here, network_acl={"id": acl}, public_gateway={"id": gateway})
    interface = cloud.add(
        "virtual_network_interfaces",
        f"{name}-0",
        inside,
        **here,
        subnet={"id": subnet},
        security_groups=[{"id": group}],
    )
    attached = {"network_attachments": [{"virtual_network_interface": {"id": interface}}]}
    machine = cloud.add("instances", f"{name}-0", inside, **here, **attached)
    address = cloud.add("floating_ips", f"{name}-0", inside, target={"id": interface})
    cloud.add("volumes", f"{name}-boot", mine, volume_attachments=[])
    cloud.add("volumes", f"{name}-in-use", mine, volume_attachments=[{"id": "some"}])
    cloud.add_profile(name, f"skyc-deployment:{deployment} skyc-site:train.ibm-{REGION}")
    return Left(vpc, interface, machine, address)


ALL = [
    "ibm_iam_trusted_profile",
    "ibm_is_floating_ip",
    "ibm_is_floating_ip",
    "ibm_is_instance",
    "ibm_is_network_acl",
    "ibm_is_public_gateway",
    "ibm_is_security_group",
    "ibm_is_subnet",
    "ibm_is_virtual_network_interface",
    "ibm_is_volume",
    "ibm_is_vpc",
]


def join(cloud: FakeCloud, deployment: str, *, tagged: bool = True) -> Left:
    """What a deployment has in a network of the user's. `tagged`: of what lies in its security group."""
    mine = (f"skyc-deployment:{deployment}", f"skyc-site:train.ibm-{REGION}")
    inside = mine if tagged else ()
    name = f"skyc-{deployment}"
    vpc = cloud.add("vpcs", "company")
    here: dict[str, Any] = {"vpc": {"id": vpc}}
    own = cloud.add("security_groups", "company-default", **here), cloud.add("network_acls", "company-default", **here)
    cloud.rows["vpcs"][vpc] |= {"default_security_group": {"id": own[0]}, "default_network_acl": {"id": own[1]}}
    subnet = cloud.add("subnets", "training", **here, network_acl={"id": own[1]})
    theirs = cloud.add("virtual_network_interfaces", "db", **here, subnet={"id": subnet}, security_groups=[{"id": own[0]}])
    cloud.add("instances", "db", **here, network_attachments=[{"virtual_network_interface": {"id": theirs}}])
    group = cloud.add("security_groups", f"{name}-nodes", mine, **here)
    groups = {"subnet": {"id": subnet}, "security_groups": [{"id": group}]}
    interface = cloud.add("virtual_network_interfaces", f"{name}-0", inside, **here, **groups)
    attached = {"network_attachments": [{"virtual_network_interface": {"id": interface}}]}
    machine = cloud.add("instances", f"{name}-0", inside, **here, **attached)
    return Left(vpc, interface, machine, cloud.add("floating_ips", f"{name}-0", inside, target={"id": interface}))


@pytest.mark.parametrize("backwards", [False, True], ids=["as-listed", "backwards"])
@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "killed-before-its-tags"])
def test_what_is_ours_in_a_network_of_the_users_goes_and_the_network_stays(
    cloud: FakeCloud, inventory: Inventory, backwards: bool, tagged: bool
) -> None:
    left = join(cloud, "left", tagged=tagged)
    before = {id_ for rows in cloud.rows.values() for id_ in rows}
    found = inventory.observe(LEFT, (REGION,))
    assert {left.interface, left.machine, left.address} < {item.id for item in found} and len(found) == 4
    for item in sorted(found, key=lambda item: item.id, reverse=backwards):
        inventory.remove(item)
    assert inventory.observe(LEFT, (REGION,)) == ()
    assert before - {id_ for rows in cloud.rows.values() for id_ in rows} == {item.id for item in found}


def test_what_somebody_has_put_into_our_group_is_not_removed(cloud: FakeCloud, inventory: Inventory) -> None:
    left = join(cloud, "left")
    (group,) = [item for item in inventory.observe(LEFT, (REGION,)) if item.type == "ibm_is_security_group"]
    (theirs,) = [row for row in cloud.rows["virtual_network_interfaces"].values() if row["name"] == "db"]
    theirs["security_groups"].append({"id": group.id})
    assert theirs["id"] not in {item.id for item in inventory.observe(LEFT, (REGION,))}
    with pytest.raises(SourceFailure, match="db uses what is the deployment's"):
        inventory.remove(group)
    assert theirs["id"] in cloud.rows["virtual_network_interfaces"] and left.vpc in cloud.rows["vpcs"]


@pytest.mark.parametrize("backwards", [False, True], ids=["as-listed", "backwards"])
@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "killed-before-its-tags"])
def test_what_is_left_is_found_and_removed(cloud: FakeCloud, inventory: Inventory, backwards: bool, tagged: bool) -> None:
    leave(cloud, "left", tagged=tagged)
    leave(cloud, "left-other")
    found = inventory.observe(LEFT, (REGION,))
    assert sorted(item.type for item in found) == ALL
    assert {item.detail for item in found} == {REGION}
    others = inventory.observe(DeploymentId("left-other"), (REGION,))
    assert len(others) == len(ALL) and not {item.id for item in others} & {item.id for item in found}
    for item in sorted(found, key=lambda item: item.id, reverse=backwards):
        inventory.remove(item)
        inventory.remove(item)
    assert inventory.observe(LEFT, (REGION,)) == ()
    assert inventory.observe(DeploymentId("left-other"), (REGION,)) == others
    assert len(cloud.policies) == 2, "policies of a profile go with it, and no others"


@pytest.mark.parametrize("type_", sorted({name for name in ALL if name.startswith("ibm_is_")} - {"ibm_is_vpc"}))
def test_one_thing_takes_only_what_hangs_on_it(cloud: FakeCloud, inventory: Inventory, type_: str) -> None:
    leave(cloud, "left")
    found = inventory.observe(LEFT, (REGION,))
    # Of two addresses the first is the public gateway's, which never lets go of it.
    one = next(item for item in found if item.type == type_)
    inventory.remove(one)
    left = inventory.observe(LEFT, (REGION,))
    gone = {item.type for item in found if item not in left}
    on_it = {
        "ibm_is_floating_ip": {"ibm_is_public_gateway"},
        "ibm_is_virtual_network_interface": {"ibm_is_instance"},
    }
    on_it["ibm_is_security_group"] = on_it["ibm_is_subnet"] = {"ibm_is_virtual_network_interface", "ibm_is_instance"}
    on_it["ibm_is_network_acl"] = on_it["ibm_is_subnet"] | {"ibm_is_subnet"}
    assert gone == {type_} | on_it.get(type_, set())


def test_what_does_not_go_is_said(cloud: FakeCloud, inventory: Inventory) -> None:
    left = leave(cloud, "left")
    machine = OwnedResource(id=left.machine, type="ibm_is_instance", name="n", deployment=LEFT, detail=REGION)
    cloud.ending[left.machine] = 10_000
    with pytest.raises(SourceFailure, match="still there after 600 s"):
        replace(inventory, pause=lambda _: None).remove(machine)


def test_a_tag_of_another_key_is_no_tag_of_ours(cloud: FakeCloud, inventory: Inventory) -> None:
    cloud.add("vpcs", "skyc-left", ("deployment:left", "skyc-deployment:left-2"))
    cloud.add_profile("skyc-left", "somebody's, about skyc-deployment:left-2")
    assert inventory.observe(LEFT, (REGION,)) == ()


def test_everything_of_the_users_is_left_alone(cloud: FakeCloud, inventory: Inventory) -> None:
    """A network of the user's own, whatever its name, and what lies in it."""
    vpc = cloud.add("vpcs", "skyc-left-of-mine", ("team:research",))
    cloud.add("subnets", "skyc-left", vpc={"id": vpc})
    cloud.add("instances", "skyc-left-0", vpc={"id": vpc})
    assert inventory.observe(LEFT, (REGION,)) == ()


def place(home: Path) -> None:
    (home / "deployments" / LEFT / "sites" / f"train.ibm-{REGION}").mkdir(parents=True)


def test_the_provider_asks_where_the_home_knows_a_site(tmp_path: Path, cloud: FakeCloud) -> None:
    leave(cloud, "left")
    assert IbmProvider().observe(LEFT, home=tmp_path) == () and not cloud.asked
    place(tmp_path)
    found = IbmProvider().observe(LEFT, home=tmp_path)
    assert sorted(item.type for item in found) == ALL
    (volume,) = [item for item in found if item.type == "ibm_is_volume"]
    IbmProvider().remove(volume, home=tmp_path)
    IbmProvider().remove(volume, home=tmp_path)
    assert volume.id not in cloud.rows["volumes"]


def test_without_a_key_nobody_says_that_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IC_API_KEY", "IBMCLOUD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    place(tmp_path)
    resource = OwnedResource(id="r006-1", type="ibm_is_vpc", name="n", deployment=LEFT, detail=REGION)
    with pytest.raises(SkycError) as observed:
        IbmProvider().observe(LEFT, home=tmp_path)
    with pytest.raises(SkycError) as removed:
        IbmProvider().remove(resource, home=tmp_path)
    assert [caught.value.diagnostics[0].slug for caught in (observed, removed)] == ["cannot-observe"] * 2
    assert [found.slug for found in IbmProvider().ready(home=tmp_path)] == ["not-logged-in"]


def test_a_key_that_is_refused_is_no_empty_cloud(tmp_path: Path, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path)
    monkeypatch.setattr("tests.ibm.fake_cloud.TOKEN", "another")
    assert IbmProvider().ready(home=tmp_path) == (), "whether IBM takes the key, only IBM knows"
    monkeypatch.setattr(FakeCloud, "answer", lambda *_: (401, {}))
    with pytest.raises(SkycError) as observed:
        IbmProvider().observe(LEFT, home=tmp_path)
    (said,) = observed.value.diagnostics
    assert said.slug == "cannot-observe" and "401" in said.detail and KEY not in said.detail


@pytest.mark.parametrize("link", ["https://elsewhere.example/v1/vpcs?start=2", "{url}/v1/vpcs?start=0", 7])
def test_a_page_that_leads_astray_is_not_followed(
    cloud: FakeCloud, inventory: Inventory, link: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To another server, which would get the token; to a page that was read; to nothing."""
    to = {"href": link.format(url=cloud.url) if isinstance(link, str) else link}
    monkeypatch.setattr(FakeCloud, "_vpc", lambda *_: (200, {"vpcs": [], "next": to}))
    with pytest.raises(SourceFailure):
        inventory.observe(LEFT, (REGION,))
    assert len(cloud.asked) < 5


def test_with_a_key_of_another_account_nothing_is_called_gone(cloud: FakeCloud, tmp_path: Path) -> None:
    """A destroy would be done at once there, and the machines would run on in the other."""
    left = leave(cloud, "left")
    site = tmp_path / "deployments" / "left" / "sites" / f"train.ibm-{REGION}"
    site.mkdir(parents=True)
    state = site / "terraform.tfstate"

    def made_in(account: str) -> None:
        crn = f"crn:v1:bluemix:public:is:{REGION}:a/{account}::vpc:{left.vpc}"
        state.write_text(f'{{"resources": [{{"instances": [{{"attributes": {{"crn": "{crn}"}}}}]}}]}}')

    made_in(ACCOUNT)
    assert left.vpc in {found.id for found in IbmProvider().observe(LEFT, home=tmp_path)}
    made_in("b" * 32)
    with pytest.raises(SkycError) as failure:
        IbmProvider().observe(LEFT, home=tmp_path)
    assert failure.value.diagnostics[0].slug == "other-account"


def test_a_bucket_is_never_removed_with_data_in_it(tmp_path: Path, cloud: FakeCloud) -> None:
    mark = "0123456789"
    mine = (f"skyc-deployment:{LEFT}", f"skyc-site:_storage.ibm-{REGION}", "skyc-storage:out")
    name = f"skyc-left-out-{mark}"
    crn = cloud.add_storage(name, mine, name)
    cloud.add_storage("skyc-left-out-9999999999", mine, "skyc-left-out-9999999999")
    cloud.add_storage(f"skyc-theirs-{mark}", ("team:research",), f"skyc-theirs-{mark}")
    cloud.add_storage(f"skyc-other-{mark}", ("skyc-deployment:left-2", "skyc-storage:out"), f"skyc-other-{mark}")
    place(tmp_path)
    provider = IbmProvider()
    assert provider.observe(LEFT, home=tmp_path) == (), "without a mark no bucket was ever made here"
    (tmp_path / "deployments" / LEFT / "mark").write_text(mark)
    # Neither another home's bucket, whose mark is another, nor one without the tag.
    instance, bucket = provider.observe(LEFT, home=tmp_path)
    assert (instance.id, bucket.id) == (crn, f"{crn.removesuffix('::')}:bucket:{name}:meta:rl:{REGION}:public")
    assert {(item.storage, item.keep, item.detail) for item in (instance, bucket)} == {("out", True, REGION)}
    before = {name: dict(held) for name, held in cloud.data.items()}
    for item in (instance, bucket):
        with pytest.raises(SkycError) as refused:
            provider.remove(item, home=tmp_path)
        assert refused.value.diagnostics[0].slug == "storage-not-empty"
    assert cloud.data == before and all(row["state"] == "active" for row in cloud.instances.values())
    for item in (instance, bucket):
        provider.empty(item, home=tmp_path)
    assert not cloud.data[name] and not cloud.uploads[name]
    for item in (bucket, bucket, instance, instance):
        provider.remove(item, home=tmp_path)
    for item in (instance, bucket):
        provider.empty(item, home=tmp_path)
    assert provider.observe(LEFT, home=tmp_path) == ()
    assert {other: held for other, held in cloud.data.items() if other != name} == {
        other: held for other, held in before.items() if other != name
    }


def test_data_stays_where_no_tag_says_otherwise(tmp_path: Path, cloud: FakeCloud) -> None:
    place(tmp_path)
    (tmp_path / "deployments" / LEFT / "mark").write_text("0123456789")
    cloud.add_storage("skyc-left-a-0123456789", (f"skyc-deployment:{LEFT}",))
    cloud.add_storage("skyc-left-b-0123456789", (f"skyc-deployment:{LEFT}", "skyc-keep:no"))
    found = IbmProvider().observe(LEFT, home=tmp_path)
    assert {item.name: item.keep for item in found} == {"skyc-left-a-0123456789": True, "skyc-left-b-0123456789": False}
