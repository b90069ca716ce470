"""Drift in real Terraform's hands, with the clouds simulated: what somebody changes in the world is found, classed, put back, taken over.

The world is a file, so "somebody" is a line of a test. What is proven is Terraform's part and ours, never a cloud's.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import Action, ChangeSet, DriftClass, DriftKind, DriftRow, Rename, ResourceAddress
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.schemas.load import load_schema
from skyc.providers.simulator import World, WorldResource
from skyc.runtime import mend
from skyc.runtime.apply import locked, site_context
from skyc.runtime.drift import drift
from skyc.runtime.mend import adopt, repair
from skyc.runtime.planning import planned
from skyc.runtime.records import DeploymentState
from skyc.runtime.results import Drift, MendOutcome, MendResult, Plan
from tests.drift.worlds import TERRAFORM_NAMES, Clouds, clouds, deployed, task
from tests.failover.pretended import Account
from tests.lengths import takes_minutes

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(500)]
TRAIN = "train"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    with clouds(tmp_path_factory.mktemp("aws") / "world", ("aws",)) as made:
        yield made


@pytest.fixture(scope="module")
def made(aws: Clouds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """One deployment at the simulated AWS for all tests here."""
    with deployed(aws, "aws", tmp_path_factory.mktemp("home") / "home") as found:
        yield found


@pytest.fixture
def account(made: Account, aws: Clouds, tmp_path: Path) -> Iterator[Account]:
    """The deployment, and afterwards as it was: making one takes longer than most tests."""
    store, (record,) = made.session.store, made.session.store.deployments()
    (site,) = store.sites(record.id)
    memory = store.recall(record.id, site.site)
    assert memory is not None
    places = [Path(site.directory), aws.world.folder]
    for number, place in enumerate(places):
        shutil.copytree(place, tmp_path / str(number))
    yield made
    for number, place in enumerate(places):
        shutil.rmtree(place)
        shutil.copytree(tmp_path / str(number), place)
    aws.healths.clear()
    store.remember(record.id, site.site, memory)
    for entry in store.open_entries(record.id):
        store.finish(entry, "undone")
    store.set_deployment_state(record.id, DeploymentState.ACTIVE)


def look(account: Account) -> Drift:
    (found,) = drift(account.session, TRAIN, wait=0)
    assert not found.failed, found.diagnostics
    return found


def put_back(account: Account, *only: str, confirm: Any = None) -> MendResult:
    return repair(account.session, TRAIN, only=only, confirm=confirm, wait=0)


def take_over(account: Account, *only: str, security: bool = False, confirm: Any = None) -> MendResult:
    return adopt(account.session, TRAIN, only=only, security=security, confirm=confirm, wait=0)


def one(world: World, type_: str, word: str = "") -> WorldResource:
    """The resource of a type in whose attributes a word stands."""
    found = [item for item in world.resources(type_) if word in str(dict(item.attributes))]
    return found[0]


def next_plan(account: Account, cloud: str) -> tuple[ChangeSet, ...]:
    """What an apply of the task would do now."""
    request, compilation = account.compiled(task(cloud))
    with locked(account.session, compilation.deployment, command="test", wait=0) as fd:
        context = site_context(account.session, compilation.deployment, fd, compilation)
        with planned(account.session, request, compilation, context) as made:
            return made.changes


@dataclass(frozen=True)
class Change:
    """What somebody does to one attribute. `value` may be made of what it was."""

    drift: DriftClass
    type: str
    word: str
    attribute: str
    value: Any

    def happens(self, world: World) -> None:
        found = one(world, self.type, self.word)
        value = self.value(found.attributes[self.attribute]) if callable(self.value) else self.value
        world.change(found.type, found.id, **{self.attribute: value})


def more(tags: Any) -> Any:
    return [*tags, "note:mine"] if isinstance(tags, list) else {**(tags or {}), "note": "mine"}


CHANGES = {
    "aws": (
        Change(DriftClass.SECURITY, "aws_vpc_security_group_ingress_rule", "203.0.113.7/32", "cidr_ipv4", "0.0.0.0/0"),
        Change(DriftClass.BROKEN, "aws_vpc", "", "enable_dns_support", False),
        Change(DriftClass.COST, "aws_instance", "", "instance_type", "t3.xlarge"),
        Change(DriftClass.BENIGN, "aws_security_group", "", "tags", more),
    ),
    "azure": (
        Change(
            DriftClass.SECURITY, "azurerm_network_security_rule", "203.0.113.7/32", "source_address_prefixes", ["0.0.0.0/0"]
        ),
        Change(DriftClass.BROKEN, "azurerm_virtual_network", "", "dns_servers", ["198.51.100.1"]),
        Change(DriftClass.COST, "azurerm_linux_virtual_machine", "", "size", "Standard_D8s_v3"),
        Change(DriftClass.BENIGN, "azurerm_virtual_network", "", "tags", more),
    ),
    "gcp": (
        Change(DriftClass.SECURITY, "google_compute_firewall", "203.0.113.7/32", "source_ranges", ["0.0.0.0/0"]),
        Change(DriftClass.BROKEN, "google_compute_network", "", "routing_mode", "GLOBAL"),
        Change(DriftClass.COST, "google_compute_instance", "", "machine_type", "n2-standard-8"),
        Change(DriftClass.BENIGN, "google_compute_instance", "", "labels", more),
    ),
    "ibm": (
        Change(DriftClass.SECURITY, "ibm_is_security_group_rule", "203.0.113.7/32", "remote", "0.0.0.0/0"),
        Change(DriftClass.BROKEN, "ibm_is_floating_ip", "", "name", "somebody-elses"),
        Change(DriftClass.COST, "ibm_is_instance", "", "profile", "bx2-16x64"),
        Change(DriftClass.BENIGN, "ibm_is_subnet", "", "tags", more),
    ),
}


def check_classes(account: Account, world: World, cloud: str) -> None:
    """One change of each class: found, the same twice, put back; then again, taken over as far as it may be."""
    assert look(account).rows == ()
    for change in CHANGES[cloud]:
        change.happens(world)
    state = next(account.home.glob("deployments/train/sites/*/terraform.tfstate"))
    before = state.read_bytes()
    found = look(account)
    got = {(row.drift, row.type, row.path.partition(".")[0]) for row in found.rows}
    assert got == {(change.drift, change.type, change.attribute) for change in CHANGES[cloud]}
    assert [row.drift for row in found.rows] == [DriftClass.SECURITY, DriftClass.BROKEN, DriftClass.COST, DriftClass.BENIGN]
    # Looking changes nothing, and looks the same twice.
    assert state.read_bytes() == before and look(account).report() == found.report()
    assert not [path for path in account.home.rglob("*") if path.name == "plan.bin" or path.suffix == ".tfplan"]
    priced = found.rows[2]
    assert priced.place == "task.yaml:2"
    # The catalog has no price of that machine at IBM: then nothing is said.
    assert priced.hourly is None if cloud == "ibm" else priced.hourly is not None and priced.hourly > 0
    if cloud == "aws":
        assert (priced.hourly, priced.field) == (Decimal("0.0832"), "resources.instance_type: t3.xlarge")

    done = put_back(account)
    assert (done.outcome, done.left) == (MendOutcome.DONE, ())
    assert look(account).rows == ()
    assert not any(changes.has_changes for changes in next_plan(account, cloud))

    for change in CHANGES[cloud]:
        change.happens(world)
    with pytest.raises(SkycError) as refused:
        take_over(account)
    assert refused.value.diagnostics[0].slug == "drift-is-security" and refused.value.exit_code == 3
    if cloud == "azure":
        # A machine comes after the rules that close its network, and what it depends on goes with it.
        with pytest.raises(SkycError):
            take_over(account, "cost")
    else:
        taken = take_over(account, "cost")
        assert taken.outcome is MendOutcome.DONE and f"task.yaml:2  {priced.field}" in taken.fields
        assert DriftClass.COST not in {row.drift for row in look(account).rows}
    taken = take_over(account, security=True)
    assert taken.outcome is MendOutcome.DONE and (cloud != "azure" or f"task.yaml:2  {priced.field}" in taken.fields)
    assert look(account).rows == ()
    # Nothing of it is in the code, so an apply would undo what the code says something about.
    undone = {change.address for changes in next_plan(account, cloud) for change in changes.changes if change.attributes}
    assert {row.address for row in found.rows if row.drift in (DriftClass.SECURITY, DriftClass.COST)} <= undone


def test_each_class_at_aws(account: Account, aws: Clouds) -> None:
    check_classes(account, aws.world, "aws")


@takes_minutes
@pytest.mark.parametrize("cloud", ["azure", "gcp", "ibm"])
def test_each_class_elsewhere(cloud: str, tmp_path: Path) -> None:
    with clouds(tmp_path / "world", (TERRAFORM_NAMES[cloud],)) as made, deployed(made, cloud, tmp_path / "home") as account:
        check_classes(account, made.world, cloud)


def test_what_terraform_cannot_see(account: Account, aws: Clouds) -> None:
    """Something that carries the tag and is in no state; a node that does no work; a machine that is gone."""
    volume = {"tags": {"skyc-deployment": TRAIN}, "id": "vpc-0extra", "cidr_block": "10.0.0.0/16"}
    with aws.world.changing() as contents:
        contents.resources["aws_vpc/vpc-0extra"] = WorldResource(type="aws_vpc", id="vpc-0extra", attributes=volume)
    aws.healths["train-main-0"] = "dead: its Ray does not answer"
    rows = look(account).rows
    assert [(row.kind, row.drift) for row in rows] == [
        (DriftKind.NODE, DriftClass.BROKEN),
        (DriftKind.EXTRA, DriftClass.COST),
    ]
    assert rows[0].address == "aws_instance.main-0" and "vpc-0extra" in str(rows[1].after)
    called = len(aws.world.calls())
    shown: list[Plan] = []

    def approve(found: Drift, plan: Plan) -> bool:
        shown.append(plan)
        assert found.rows == rows
        aws.healths.clear()
        return True

    assert put_back(account, confirm=approve).outcome is MendOutcome.DONE
    (change,) = [change for change in shown[0].changes[0].changes if change.action is Action.REPLACE]
    assert change.address == "aws_instance.main-0" and str(change.origin) == "tasks[0].resources"
    # The simulator names a machine made anew as the one before: what tells is that it was made.
    calls = [(row["call"], row["outcome"]) for row in aws.world.calls()[called:] if row["type"] == "aws_instance"]
    assert calls == [("delete", "done"), ("create", "done")] and not aws.world.read().find("vpc-0extra", "aws_vpc")
    assert look(account).rows == ()
    # A machine that is gone is one row, and not a second one about its node.
    aws.world.remove("aws_instance", one(aws.world, "aws_instance").id)
    aws.healths["train-main-0"] = "gone"
    (row,) = look(account).rows
    assert (row.kind, row.drift) == (DriftKind.GONE, DriftClass.BROKEN)
    aws.healths.clear()
    assert put_back(account).outcome is MendOutcome.DONE


@takes_minutes
def test_a_stopped_machine_is_started_and_one_that_skyc_stopped_is_no_drift(account: Account, aws: Clouds) -> None:
    aws.healths["train-main-0"] = "stopped"
    account.session.store.record("machines-stopped", "train-main-0", deployment=account.session.store.deployments()[0].id)
    found = look(account)
    assert [row.drift for row in found.rows] == [DriftClass.BENIGN] and not found.matters()
    account.session.store.record("machines-started", "train-main-0", deployment=account.session.store.deployments()[0].id)
    assert [row.drift for row in look(account).rows] == [DriftClass.BROKEN]
    aws.started.clear()
    assert put_back(account).outcome is MendOutcome.DONE and aws.started == ["train-main-0"]
    aws.healths["train-main-0"] = "unreachable: no route"
    assert put_back(account).outcome is MendOutcome.LEFT, "nothing can be done, and nothing is said to be done"
    aws.healths.clear()


def test_a_rule_added_by_hand_is_put_back_though_no_code_names_it(account: Account, aws: Clouds) -> None:
    """AWS lists a group's rules in an attribute that the code leaves to it: Terraform alone would leave the rule where it is."""
    group = one(aws.world, "aws_security_group")
    rule = {
        "cidr_blocks": ["0.0.0.0/0"],
        "description": "",
        "from_port": 6379,
        "ipv6_cidr_blocks": [],
        "prefix_list_ids": [],
        "protocol": "tcp",
        "security_groups": [],
        "self": False,
        "to_port": 6379,
    }
    before = group.attributes.get("ingress")
    aws.world.change("aws_security_group", group.id, ingress=[rule])
    (row,) = look(account).rows
    assert (row.drift, row.path) == (DriftClass.SECURITY, "ingress") and "0.0.0.0/0" in str(row.after)
    assert not any(changes.has_changes for changes in next_plan(account, "aws")), "the simulator leaves it as AWS does"
    assert put_back(account).outcome is MendOutcome.DONE
    assert one(aws.world, "aws_security_group").attributes.get("ingress") in (before, [])
    assert look(account).rows == () and '"ingress"' not in _module(account)


def _module(account: Account) -> str:
    return next(account.home.glob("deployments/train/sites/*/applied/cdk.tf.json")).read_text()


@takes_minutes
def test_what_cannot_be_put_back_and_is_grave_is_refused(account: Account, aws: Clouds) -> None:
    role = one(aws.world, "aws_iam_role")
    aws.world.change("aws_iam_role", role.id, unique_id="AROAOTHER")
    with pytest.raises(SkycError) as refused:
        put_back(account)
    assert refused.value.diagnostics[0].slug == "drift-not-repairable"
    assert [row.path for row in look(account).rows] == ["unique_id"], "it is still to be seen"
    with pytest.raises(SkycError) as strange:
        take_over(account, "aws_vpc.other")
    assert strange.value.diagnostics[0].slug == "no-such-drift"
    assert take_over(account, "aws_iam_role.nodes", security=True).outcome is MendOutcome.DONE
    assert look(account).rows == ()


class Killed(BaseException):
    """Stands for a process that is gone: nothing catches it."""


@takes_minutes
def test_a_repair_that_fails_or_is_killed_hides_nothing(account: Account, aws: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Terraform takes into the state what it found, also when its apply fails: the next look has to see it all the same."""
    for change in CHANGES["aws"][:2]:
        change.happens(aws.world)
    wanted = {(row.address, row.path) for row in look(account).rows}
    account.home.joinpath("simulator").mkdir(exist_ok=True)
    aws.world.faults_path.write_text("faults:\n- {fault: denied, call: update}\n")
    with pytest.raises(SkycError):
        put_back(account)
    aws.world.faults_path.unlink()
    assert {(row.address, row.path) for row in look(account).rows} == wanted
    assert look(account).rows[0].kind in (DriftKind.CHANGED, DriftKind.UNDONE)

    def killed(*arguments: Any, **more: Any) -> None:
        raise Killed

    for place in ("skyc.runtime.mend.carry_out", "skyc.runtime.sites.remember_state"):
        with monkeypatch.context() as patch:
            patch.setattr(place, killed)
            with pytest.raises(Killed):
                put_back(account)
        record = account.session.store.deployments()[0]
        assert record.state is DeploymentState.APPLYING
    # The second was killed after Terraform had done it: nothing is left to be put back, and the journal is still open.
    assert account.session.store.open_entries(record.id)
    assert look(account).rows == ()
    account.up(task("aws"))
    assert not account.session.store.open_entries(record.id) and look(account).rows == ()


@takes_minutes
def test_declined_does_nothing(account: Account, aws: Clouds) -> None:
    CHANGES["aws"][0].happens(aws.world)
    found = look(account)
    assert put_back(account, confirm=lambda *shown: False).outcome is MendOutcome.DECLINED
    assert take_over(account, security=True, confirm=lambda *shown: False).outcome is MendOutcome.DECLINED
    assert look(account) == found
    put_back(account)


@takes_minutes
def test_only_what_is_named_is_put_back(account: Account, aws: Clouds) -> None:
    for change in CHANGES["aws"][:3]:
        change.happens(aws.world)
    # What it depends on would go with it, so the network comes first here.
    assert put_back(account, "aws_vpc.site").outcome is MendOutcome.DONE
    assert {row.drift for row in look(account).rows} == {DriftClass.SECURITY, DriftClass.COST}
    assert put_back(account, "security").outcome is MendOutcome.DONE
    assert {row.drift for row in look(account).rows} == {DriftClass.COST}


def test_a_cloud_that_does_not_answer_is_an_error(account: Account, aws: Clouds) -> None:
    aws.world.faults_path.write_text("faults:\n- {fault: denied, call: read}\n")
    with pytest.raises(SkycError):
        drift(account.session, TRAIN, wait=0)
    (found,) = drift(account.session, None, wait=0)
    assert found.failed and not found.rows
    aws.world.faults_path.unlink()


def mutations(world: World, cloud: str) -> Iterator[tuple[WorldResource, str, Any]]:
    """Every change of one plain value that a cloud might show, but for identities: those are another resource."""
    types = load_schema(TERRAFORM_NAMES[cloud]).types
    for resource in sorted(world.resources(), key=lambda item: item.key):
        for name, attribute in types[resource.type].body.attributes.items():
            value = resource.attributes.get(name)
            if name in ("id", "name", "instance_tenancy") or attribute.sensitive or attribute.force_new:
                continue
            if isinstance(value, bool):
                yield resource, name, not value
            elif isinstance(value, str) and value and attribute.type == "string":
                yield resource, name, f"{value}x"


def check_any(account: Account, world: World, cloud: str, rounds: int, mend_it: Callable[[tuple[DriftRow, ...]], None]) -> None:
    chance = random.Random(cloud)
    for _ in range(rounds):
        picked = {item[0].key: item for item in chance.sample(list(mutations(world, cloud)), 4)}
        for resource, name, value in picked.values():
            world.change(resource.type, resource.id, **{name: value})
        rows = look(account).rows
        assert {(row.type, row.path) for row in rows} == {(resource.type, name) for resource, name, _ in picked.values()}
        mend_it(rows)
        assert look(account).rows == ()


def mended(account: Account) -> Callable[[tuple[DriftRow, ...]], None]:
    """Put back; what cannot be, and is grave, is taken over when somebody says so."""

    def mend_it(rows: tuple[DriftRow, ...]) -> None:
        try:
            put_back(account)
        except SkycError as refused:
            assert refused.diagnostics[0].slug == "drift-not-repairable"
            hidden = [row.address for row in rows if row.drift in mend.GRAVE]
            take_over(account, *hidden, security=True)
            if look(account).rows:
                put_back(account)

    return mend_it


@takes_minutes
@pytest.mark.parametrize("cloud", list(TERRAFORM_NAMES))
def test_any_change_is_found_put_back_and_taken_over(cloud: str, tmp_path: Path) -> None:
    with clouds(tmp_path / "world", (TERRAFORM_NAMES[cloud],)) as made, deployed(made, cloud, tmp_path / "home") as account:
        check_any(account, made.world, cloud, 12, mended(account))

        def taken(rows: tuple[DriftRow, ...]) -> None:
            take_over(account, security=True)
            changed = {
                change.address for changes in next_plan(account, cloud) for change in changes.changes if change.attributes
            }
            written = [row.address for row in rows if "sets it back" in row.adopt and row.repair == "is set back"]
            assert set(written) <= changed | ignored(account)

        check_any(account, made.world, cloud, 4, taken)


def ignored(account: Account) -> set[str]:
    """Addresses with attributes that count only when the resource is made."""
    import json

    resources = json.loads(_module(account))["resource"]
    return {
        f"{type_}.{name}"
        for type_, rows in resources.items()
        for name, row in rows.items()
        if "ignore_changes" in (row.get("lifecycle") or {})
    }


@takes_minutes
def test_a_newer_skyc_moves_what_it_calls_otherwise(account: Account, aws: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, because the deployment is: through `plan` and `apply`, from the state to the code. `tests/moves` has the rest."""
    old, new = ResourceAddress("aws_default_security_group", "closed"), ResourceAddress("aws_default_security_group", "shut")
    lower = AwsProvider.lower

    def newer(self: AwsProvider, *arguments: Any) -> Any:
        graph, said = lower(self, *arguments)
        assert graph is not None
        resources = [replace(node, address=new) if node.address == old else node for node in graph.resources]
        return replace(graph, resources=tuple(sorted(resources, key=lambda node: str(node.address)))), said

    monkeypatch.setattr(AwsProvider, "lower", newer)
    actions = [change.action for changes in next_plan(account, "aws") for change in changes.changes]
    assert {Action.CREATE, Action.DELETE} <= set(actions), "without a rename one is destroyed and another made"
    told = (Rename(since="0.2.0", before=str(old), after=str(new)),)
    monkeypatch.setattr(AwsProvider, "renames", lambda self: told)
    (changes,) = next_plan(account, "aws")
    assert {change.action for change in changes.changes} == {Action.NO_OP}
    assert [(change.previous_address, change.address) for change in changes.changes if change.previous_address] == [
        (str(old), str(new))
    ]
    account.up(task("aws"))
    assert look(account).rows == ()
    (changes,) = next_plan(account, "aws")
    assert not changes.has_changes
