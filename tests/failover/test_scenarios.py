"""What failover does in each case, with the fake Terraform and with the real one, the simulator being AWS in both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyc.compiler.diagnostics import Diagnostic, SkycError, error
from skyc.compiler.failover import envelope, name_of
from skyc.compiler.ir import DeploymentId, GroupName, GroupPlacement, ResourceGraph, Task, TaskId
from skyc.compiler.terraform import ApplyRun
from skyc.providers.base import LowerContext
from skyc.runtime import failover
from skyc.runtime.destroy import destroy
from skyc.runtime.failover_words import outcome
from skyc.runtime.inspect import status
from skyc.runtime.records import DeploymentState
from skyc.runtime.results import Interrupted
from tests.failover import fake_terraform
from tests.failover.pretended import Account, SimulatedAws, opened
from tests.lengths import takes_minutes

pytestmark = pytest.mark.fault

TASK = """\
name: train
resources: {infra: aws/us-east-1, instance_type: g5.xlarge}
num_nodes: 2
run: echo hi
"""
TWO_PLACES = """\
name: train
resources:
  instance_type: g5.xlarge
  any_of: [{infra: aws/us-east-1/use1-az1}, {infra: aws/us-east-1/use1-az4}]
num_nodes: 2
run: echo hi
"""
CLOSED_FIRST = """\
name: train
resources: {instance_type: c7i.large, any_of: [{infra: aws/eu-south-2/eus2-az1}, {infra: aws/eu-central-1/euc1-az2}]}
num_nodes: 2
run: echo hi
"""
ANYWHERE = TASK.replace("aws/us-east-1", "aws")
TWO_GROUPS = """\
name: train
groups:
  learner: {num_nodes: 1, run: echo l, resources: {infra: aws/us-east-1, instance_type: g5.xlarge}}
  actor: {num_nodes: 2, run: echo a, resources: {infra: aws/us-east-1, instance_type: m7i.large}}
"""
SERVE = "name: serve\nneeds: [train]\nresources: {infra: aws/us-east-1/use1-az1, instance_type: m7i.large}\nrun: echo hi\n"
TWO_TASKS = f"{TWO_PLACES}---\n{SERVE}"
TRAIN, MAIN = TaskId("train"), GroupName("main")


@pytest.fixture
def account(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """With the fake Terraform, or with the real one where a test asks for both."""
    monkeypatch.setattr(failover, "PAUSES", dict.fromkeys(failover.PAUSES, (0.0, 0.0)))
    if getattr(request, "param", "fake") == "fake":
        fake_terraform.install(monkeypatch)
    with opened(tmp_path / "home") as account:
        yield account


always_both = pytest.mark.parametrize("account", ["fake", pytest.param("real", marks=pytest.mark.terraform)], indirect=True)
both = pytest.mark.parametrize(
    "account", ["fake", pytest.param("real", marks=[pytest.mark.terraform, takes_minutes])], indirect=True
)
"""Real Terraform takes seconds where the fake takes none: one story has it in every run."""


def names(account: Account, text: str = TASK, task: TaskId = TRAIN, group: GroupName = MAIN) -> list[str]:
    _, compilation = account.compiled(text)
    return [name_of(item) for item in envelope(compilation.reviewed, task, group)]


def tried(account: Account, name: str = "train") -> list[tuple[str, str, str]]:
    return [(row.placement, row.outcome.value, row.code) for row in account.session.store.attempts(DeploymentId(name))]


def zone(name: str) -> str:
    return name.split()[0].rpartition("/")[2]


def refused(account: Account, text: str = TASK) -> SkycError:
    with pytest.raises(SkycError) as caught:
        account.up(text)
    return caught.value


@always_both
def test_the_next_zone_is_taken_and_kept(account: Account) -> None:
    places = names(account)
    account.faults("fault: no-capacity, times: 1")
    plan = account.up(TASK)
    assert account.machines() == [(zone(places[1]), "g5.xlarge")] * 2
    assert tried(account) == [(places[0], "failed", "InsufficientInstanceCapacity"), (places[1], "up", "")]
    assert plan.compilation.placement is not None
    assert [name_of(item) for item in plan.compilation.placement.placements] == [places[1]]
    assert any(f"trying {places[1]}" in line for line in account.lines())
    (shown,) = status(account.session, "train", refresh=False)
    assert [attempt.placement for attempt in shown.attempts] == places[:2]

    # Another apply, of a changed task too, stays where it is.
    account.faults()
    before = account.world.resources()
    account.up(TASK)
    account.up(TASK.replace("echo hi", "echo there"))
    assert account.world.resources() == before
    destroy(account.session, "train", confirm=None)
    assert account.world.resources() == ()
    # What was found is gone with it.
    assert names(account)[0] == places[0]
    account.up(TASK)
    assert account.machines() == [(zone(places[0]), "g5.xlarge")] * 2


def test_failover_stays_within_a_policy(account: Account) -> None:
    """A zone that a rule takes away is not in the envelope, so it is not tried."""
    places = names(account)
    policy = account.session.home / "policy.yaml"
    policy.write_text(f"rules:\n  - {{name: zones, allow: {{zones: ['!{zone(places[1])}']}}}}\n")
    assert [zone(name) for name in names(account)] == [zone(name) for name in places if zone(name) != zone(places[1])]
    account.faults("fault: no-capacity, times: 1")
    account.up(TASK)
    assert account.machines() == [(zone(places[2]), "g5.xlarge")] * 2
    assert [row[:2] for row in tried(account)] == [(places[0], "failed"), (places[2], "up")]


@both
def test_what_half_came_up_moves_along(account: Account) -> None:
    """One of two machines was made, and a refused call left another one behind that no state knows."""
    places = names(account)
    account.faults(
        "fault: no-capacity, after: 1, times: 1, leaves: true",
        f"fault: no-capacity, zone: {zone(places[1])}",
    )
    account.up(TASK)
    assert account.machines() == [(zone(places[2]), "g5.xlarge")] * 2
    # The head's, the other's, and the gateway's.
    assert [row.attributes["availability_zone_id"] for row in account.world.resources("aws_subnet")] == [zone(places[2])] * 3
    assert [row[1] for row in tried(account)] == ["failed", "failed", "up"]


@both
def test_a_machine_that_is_not_sold_in_a_zone_is_made_in_the_next(account: Account) -> None:
    places = names(account)
    account.faults(f"fault: not-sold, zone: {zone(places[0])}")
    account.up(TASK)
    assert account.machines() == [(zone(places[1]), "g5.xlarge")] * 2
    assert tried(account) == [(places[0], "failed", "Unsupported"), (places[1], "up", "")]
    assert f"{places[0]} is not to be had: Unsupported (not sold in the zone); trying {places[1]}" in "\n".join(account.lines())


def test_a_region_that_the_account_does_not_have_is_left_for_the_next(account: Account) -> None:
    """Its own words are those of a wrong key; in a region that every account has they are taken for that, and nothing is removed."""
    closed, open_ = names(account, CLOSED_FIRST)
    account.faults("fault: no-region, type: aws_vpc, times: 1")
    account.up(CLOSED_FIRST)
    assert tried(account) == [(closed, "failed", "AuthFailure"), (open_, "up", "")]
    assert f"{closed} is not to be had: AuthFailure (not a region of the account's)" in "\n".join(account.lines())
    destroy(account.session, "train", confirm=None)

    account.faults(
        "fault: no-region, type: aws_vpc, times: 1, call: create", "fault: unknown-caller, type: aws_instance, after: 1"
    )
    said = refused(account, CLOSED_FIRST).diagnostics[0]
    assert (said.slug, len(account.machines())) == ("login-refused", 1)
    assert "permission" not in said.summary + said.detail + (said.hint or "")
    account.faults()
    account.up(CLOSED_FIRST)
    assert len(account.machines()) == 2


@both
def test_a_quota_rules_its_region_out(account: Account) -> None:
    places = names(account, ANYWHERE)
    region = places[0].split("/")[1]
    account.faults(f"fault: quota, zone: {zone(places[0])}")
    account.up(ANYWHERE)
    following = next(name for name in places if name.split("/")[1] != region)
    assert tried(account) == [(places[0], "failed", "VcpuLimitExceeded"), (following, "up", "")]
    assert account.machines() == [(zone(following), "g5.xlarge")] * 2
    assert len(account.world.resources("aws_vpc")) == 1
    assert [record.site for record in account.session.store.sites(DeploymentId("train"))] == [
        f"train.aws-{following.split('/')[1]}"
    ]


@both
def test_when_nothing_is_left_everything_is_said_and_nothing_stays(account: Account) -> None:
    others = TWO_PLACES.replace("name: train", "name: other")
    account.up(others, "other")
    theirs = account.world.resources()
    places = names(account, TWO_PLACES)
    account.faults("fault: no-capacity, leaves: true")
    caught = refused(account, TWO_PLACES)
    said = caught.diagnostics[0]
    assert (said.slug, caught.exit_code) == ("no-capacity", 1)
    told = [line.strip() for line in said.detail.splitlines()]
    assert [line.rpartition(": ")[0] for line in told if "InsufficientInstanceCapacity (capacity)" in line] == places
    assert "removed again" in said.detail
    assert account.world.resources() == theirs
    assert [row[0] for row in tried(account)] == places
    record = account.session.store.deployment(DeploymentId("train"))
    assert record is not None and record.state is DeploymentState.FAILED
    # A new search begins with the plan's own choice again.
    account.faults()
    account.up(TWO_PLACES)
    assert account.machines() == [(zone(places[0]), "g5.xlarge")] * 4


@both
def test_a_missing_permission_ends_it_at_once(account: Account) -> None:
    places = names(account)
    account.faults("fault: no-capacity, times: 2", "fault: denied, type: aws_instance")
    said = refused(account).diagnostics[0]
    assert said.slug == "permission-missing"
    assert "`ec2:RunInstances`" in said.detail
    assert said.hint is not None and "`ec2:RunInstances`" in said.hint
    assert account.world.resources() == ()
    assert [row[1] for row in tried(account)] == ["failed", "failed"]
    assert [row[0] for row in tried(account)] == places[:2]


def test_the_address_of_a_head_that_still_ends_is_waited_for(account: Account) -> None:
    """A spot head was taken away; while it shuts down, EC2 gives its address to nobody."""
    places = names(account)
    account.up(TASK)
    (lost,) = [item for item in account.world.resources("aws_instance") if item.attributes.get("private_ip")]
    with account.world.changing() as contents:
        del contents.resources[lost.key]
    account.faults("fault: address-in-use, type: aws_instance, times: 2")
    account.up(TASK)
    assert len(account.machines()) == 2
    assert {row[:2] for row in tried(account)} == {(places[0], "up")}
    assert any("what it needs is still in use (InvalidIPAddress.InUse); trying again" in line for line in account.lines())

    destroy(account.session, "train", confirm=None)
    account.faults("fault: address-in-use, type: aws_instance, after: 1")
    said = refused(account).diagnostics[0]
    assert (said.slug, len(account.machines())) == ("still-in-use", 1)
    account.faults()
    account.up(TASK)
    assert len(account.machines()) == 2


def test_throttling_is_waited_out(account: Account) -> None:
    places = names(account)
    account.faults("fault: throttled, type: aws_instance, times: 1")
    account.up(TASK)
    assert account.machines() == [(zone(places[0]), "g5.xlarge")] * 2
    assert tried(account) == [(places[0], "up", "")]


@both
def test_throttling_without_end_keeps_what_there_is(account: Account) -> None:
    account.faults("fault: throttled, type: aws_instance, after: 1")
    assert refused(account).diagnostics[0].slug == "throttled"
    assert len(account.machines()) == 1
    account.faults()
    account.up(TASK)
    assert len(account.machines()) == 2
    assert [row[1] for row in tried(account)][-1] == "up"


@both
def test_living_nodes_are_not_moved_away_from(account: Account) -> None:
    account.up(TASK.replace("num_nodes: 2", "num_nodes: 1"))
    (node,) = account.world.resources("aws_instance")
    account.faults("fault: no-capacity")
    said = refused(account).diagnostics[0]
    assert said.slug == "no-capacity"
    assert node.id in said.detail
    assert [found.id for found in account.world.resources("aws_instance")] == [node.id]
    (attempt,) = account.session.store.attempts(DeploymentId("train"))
    assert (attempt.outcome.value, attempt.code) == ("up", "InsufficientInstanceCapacity")
    account.faults()
    account.up(TASK)
    assert node.id in {found.id for found in account.world.resources("aws_instance")}
    assert len(account.machines()) == 2


def test_a_cluster_whose_nodes_are_gone_is_looked_for_anew(account: Account) -> None:
    """It was up at a fallback; when all of it has been taken away, the plan's own choice comes into question again."""
    places = names(account)
    account.faults("fault: no-capacity, times: 1")
    account.up(TASK)
    for machine in account.world.resources("aws_instance"):
        account.world.remove(machine.type, machine.id)
    account.faults(f"fault: no-capacity, zone: {zone(places[1])}")
    account.up(TASK)
    assert account.machines() == [(zone(places[0]), "g5.xlarge")] * 2
    assert [row[0] for row in tried(account)] == [places[1], places[0]]


@both
def test_a_group_moves_alone(account: Account) -> None:
    learner, actor = (names(account, TWO_GROUPS, group=GroupName(name)) for name in ("learner", "actor"))
    account.faults("fault: no-capacity, instance_type: g5.xlarge, times: 1")
    account.up(TWO_GROUPS)
    assert account.machines() == sorted([(zone(learner[1]), "g5.xlarge")] + [(zone(actor[0]), "m7i.large")] * 2)


def test_a_task_without_a_place_takes_the_others_along(account: Account) -> None:
    account.faults("fault: no-capacity, instance_type: m7i.large")
    said = refused(account, TWO_TASKS).diagnostics[0]
    assert said.slug == "no-capacity"
    assert "g5.xlarge" not in said.detail
    assert account.world.resources() == ()


def test_another_error_is_none_of_failovers_business(account: Account) -> None:
    account.faults("fault: error-after-create, type: aws_instance, times: 1")
    assert refused(account).diagnostics[0].slug == "terraform-error"
    account.up(TASK)
    assert len(account.machines()) == 2


def test_an_interrupted_failover_goes_on(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the second place is tried: the next apply begins there, and the first is not tried again."""
    places = names(account)
    account.faults("fault: no-capacity, times: 2")
    real = fake_terraform.FakeTerraform.apply

    def stopped(self: fake_terraform.FakeTerraform, plan_file: Path) -> ApplyRun:
        run = real(self, plan_file)
        return replace(run, interrupted=True) if run.ok else run

    with monkeypatch.context() as patch:
        patch.setattr(fake_terraform.FakeTerraform, "apply", stopped)
        with pytest.raises(Interrupted):
            account.up(TASK)
    assert tried(account) == [(places[0], "failed", "InsufficientInstanceCapacity"), (places[1], "trying", "")]
    shown = account.compiled(TASK)[1].placement
    assert shown is not None and [name_of(item) for item in shown.placements] == [places[1]]
    account.up(TASK)
    assert account.machines() == [(zone(places[1]), "g5.xlarge")] * 2
    assert len(account.world.resources("aws_instance")) == 2


class Picky(SimulatedAws):
    """It cannot make machines in one of the zones, and says so when it is asked to."""

    refused: str = ""

    def lower(
        self, task: Task, placements: tuple[GroupPlacement, ...], context: LowerContext
    ) -> tuple[ResourceGraph | None, tuple[Diagnostic, ...]]:
        if any(item.zone == self.refused for item in placements):
            return None, (error("unsupported-here", "The target cannot do this"),)
        return super().lower(task, placements, context)


def test_a_place_that_skyc_cannot_use_is_no_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_terraform.install(monkeypatch)
    picky = Picky()
    with opened(tmp_path / "home", aws=picky) as account:
        places = names(account)
        picky.refused = zone(places[1])
        account.faults("fault: no-capacity, times: 2")
        account.up(TASK)
        assert account.machines() == [(zone(places[2]), "g5.xlarge")] * 2
        assert [row[1] for row in tried(account)] == ["failed", "up"]
        assert places[1] not in names(account)


def test_a_place_that_turns_out_to_be_unusable_is_passed_over_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_terraform.install(monkeypatch)
    picky, real = Picky(), fake_terraform.FakeTerraform.apply
    with opened(tmp_path / "home", aws=picky) as account:
        places = names(account)

        def apply(self: fake_terraform.FakeTerraform, plan_file: Path) -> ApplyRun:
            # The plan is approved by now.
            picky.refused = zone(places[1])
            return real(self, plan_file)

        monkeypatch.setattr(fake_terraform.FakeTerraform, "apply", apply)
        account.faults("fault: no-capacity, times: 2")
        account.up(TASK)
        assert account.machines() == [(zone(places[2]), "g5.xlarge")] * 2
        assert [row[1] for row in tried(account)] == ["failed", "skipped", "up"]
        (shown,) = status(account.session, "train", refresh=False)
        assert outcome(shown.attempts[1]) == "not tried: The target cannot do this"
