"""Random patterns of stock-outs, quotas, throttling, denials, lost replies and kills, with the fake Terraform.

Whatever happens, it ends with every machine at its place, or with a full explanation and nothing left but what was up before; what
others have is untouched; placements are tried in the plan's order, none twice, and none is passed over that was not ruled out.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.failover import Refused, envelope, name_of, ruled_out
from skyc.compiler.ir import DeploymentId, PlacementPlan, Reach
from skyc.compiler.pipeline import Compilation
from skyc.compiler.terraform_files import state_ids
from skyc.runtime import failover
from skyc.runtime.attempts import continued
from skyc.runtime.planning import Planned
from skyc.runtime.records import AttemptOutcome, AttemptRecord
from skyc.runtime.request import Request
from skyc.runtime.state import StateStore
from tests.aws.conftest import ACCESS
from tests.failover import fake_terraform
from tests.failover.pretended import Account, make, opened
from tests.failover.test_scenarios import ANYWHERE, TASK, TWO_GROUPS, TWO_TASKS

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

TIMES = int(os.environ.get("SKYC_PATTERNS", "1"))
"""How many times as many patterns are drawn (`make faults` draws ten times as many)."""

TEXTS = {"zones": TASK, "regions": ANYWHERE, "groups": TWO_GROUPS, "tasks": TWO_TASKS}
OTHER = "name: other\nresources: {infra: aws/us-east-1, instance_type: m7i.large}\nrun: echo hi\n"
TRAIN = DeploymentId("train")


class Killed(BaseException):
    """What a kill is to one process: nothing of ours runs any more. (Locks and files are let go of, as the kernel would.)"""


class Lab:
    """One home for all examples, emptied for each; tasks are compiled once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.compilations: dict[str, tuple[Request, Compilation]] = {}

    def compiled(self, account: Account, name: str) -> tuple[Request, Compilation]:
        if name not in self.compilations:
            text = OTHER if name == "other" else TEXTS[name]
            self.compilations[name] = account.compiled(text, name)
        request, compilation = self.compilations[name]
        return request, continued(account.session, compilation)

    def up(self, account: Account, name: str) -> Planned:
        return make(account.session, *self.compiled(account, name))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failover, "PAUSES", dict.fromkeys(failover.PAUSES, (0.0, 0.0)))
        fake_terraform.install(patch)
        # Homes come and go; what was compiled once stays.
        patch.setattr("skyc.runtime.request.access_of", lambda home, deployment: ACCESS)
        for name in ("begin_attempt", "end_attempt", "begin", "finish", "save_site", "remove_site", "remember"):
            patch.setattr(StateStore, name, ticking(getattr(StateStore, name)))
        # A kill of the machine itself is the state store's own test; here hundreds of homes are made.
        patch.setattr(StateStore, "_set_up", without_fsync(StateStore._set_up))
        yield Lab(tmp_path_factory.mktemp("lab") / "home")


def ticking(method: Any) -> Any:
    def ticked(*given: Any, **named: Any) -> Any:
        fake_terraform.tick()
        done = method(*given, **named)
        fake_terraform.tick()
        return done

    return ticked


def without_fsync(method: Any) -> Any:
    def quick(self: StateStore, connection: Any) -> None:
        method(self, connection)
        connection.execute("PRAGMA synchronous = OFF")

    return quick


ZONES = (
    *("*", "*", "use1-az1", "use1-az1", "use1-az1", "use1-az2", "use1-az2", "use1-az4", "use1-az5", "use1-az6"),
    *("use1-*", "use2-*", "use2-az1", "use2-az2", "usw2-*"),
)
"""The zones of the envelopes, the first choices most often."""
KINDS = st.sampled_from(
    ("no-capacity",) * 8 + ("quota",) * 3 + ("throttled",) * 2 + ("denied", "reply-lost", "error-after-create", "slow")
)


@st.composite
def rules(draw: st.DrawFn) -> str:
    kind = draw(KINDS)
    words = [f"fault: {kind}", f"zone: '{draw(st.sampled_from(ZONES))}'"]
    if kind not in ("no-capacity", "quota"):
        words.append("type: aws_instance")
    if draw(st.booleans()):
        words.append(f"instance_type: '{draw(st.sampled_from(('g5.*', 'm7i.*')))}'")
    if kind not in ("no-capacity", "quota") or draw(st.integers(0, 3)):
        words.append(f"times: {draw(st.integers(1, 4))}")
    words.append(f"after: {draw(st.sampled_from((0, 0, 0, 1, 2)))}")
    if kind in ("no-capacity", "quota", "throttled", "denied") and draw(st.integers(0, 3)) == 0:
        words.append("leaves: true")
    return ", ".join(words)


UP_BEFORE = ["fault: no-capacity, zone: '*', instance_type: 'm7i.*', after: 0, leaves: true"]
"""Killed when one task is up, and the other can be had nowhere."""

TWO_REGIONS = [
    "fault: no-capacity, zone: '*', times: 1, after: 0",
    "fault: no-capacity, zone: 'use1-az5', times: 1, after: 0, leaves: true",
    "fault: no-capacity, zone: 'use1-*', times: 3, after: 2",
    "fault: throttled, zone: 'use1-az6', type: aws_instance, times: 1, after: 0",
    "fault: no-capacity, zone: 'use2-*', times: 2, after: 1",
    "fault: no-capacity, zone: 'use2-az1', instance_type: 'g5.*', times: 4, after: 0, leaves: true",
]
"""Killed when a network's own security group was taken over and no state knows it yet."""

PATTERNS = st.lists(rules(), min_size=1, max_size=6)


def ours(account: Account) -> list[str]:
    """What the world has that belongs to the deployment, or to nobody."""
    theirs = state_ids_of(account, "other")
    return sorted(item.key for item in account.world.resources() if item.id not in theirs)


def state_ids_of(account: Account, deployment: str) -> frozenset[str]:
    files = (account.home / "deployments" / deployment / "sites").glob("*/terraform.tfstate")
    return frozenset().union(*(state_ids(file) for file in files))


def sites_of(account: Account) -> dict[str, frozenset[str]]:
    """Site of the deployment → the ids its state has, of those that have any."""
    files = (account.home / "deployments" / "train" / "sites").glob("*/terraform.tfstate")
    return {file.parent.name: ids for file in files if (ids := state_ids(file))}


def machine_ids(account: Account) -> frozenset[str]:
    return frozenset(item.id for item in account.world.resources("aws_instance"))


def placed(account: Account, plan: PlacementPlan) -> None:
    """Exactly the machines of the plan, each in a state, and nothing that no state knows."""
    expected = [(str(item.zone), item.instance_type) for item in plan.placements for _ in range(item.num_nodes)]
    assert account.machines(without=state_ids_of(account, "other")) == sorted(expected)
    known = state_ids_of(account, "train")
    assert all(key.partition("/")[2] in known for key in ours(account)), "something exists that no state knows"


def in_order(account: Account, plan: PlacementPlan) -> None:
    """What was tried of each group's newest search, held against the plan's envelope."""
    records = account.session.store.attempts(TRAIN)
    for task, group in dict.fromkeys((row.task, row.group) for row in records):
        rows = [row for row in records if (row.task, row.group) == (task, group)]
        found = envelope(plan, task, group)
        known = {name_of(item): item for item in found}
        order = list(known)
        tried = [name for name, _ in itertools.groupby(row.placement for row in rows)]
        assert len(tried) == len(set(tried)), "a placement was tried twice"
        assert [order.index(name) for name in tried] == sorted(order.index(name) for name in tried)
        passed = [name for name in order[: order.index(tried[-1])] if name not in tried]
        refusals = [refusal(row, known) for row in rows if row.reach]
        pool = account.session.provider("aws").quota_pool
        for name in passed:
            assert any(ruled_out(known[name], by, pool) for by in refusals), f"{name} was passed over for nothing"


def refusal(row: AttemptRecord, known: dict[str, Any]) -> Refused:
    return Refused(placement=known[row.placement], reach=Reach[row.reach])


def ends_well(lab: Lab, account: Account, name: str) -> None:
    """Run until it is decided, and look at what there is."""
    reviewed = lab.compiled(account, name)[1].reviewed
    theirs = {item.key for item in account.world.resources() if item.id in state_ids_of(account, "other")}
    assert theirs
    before = {site: ids & machine_ids(account) for site, ids in sites_of(account).items()}
    try:
        plan = lab.up(account, name)
    except SkycError as caught:
        said = caught.diagnostics[0]
        event(said.slug)
        if said.slug in ("no-capacity", "permission-missing"):
            # What a killed apply has brought up may be in use by now, so it stays; then that is said.
            standing = {site for site, ids in before.items() if ids & machine_ids(account)}
            assert said.commands == (("skyc status train",) if standing else ()), said.detail
            assert all(site in said.detail for site in standing), said.detail
            assert sites_of(account).keys() == standing, said.detail
            known = frozenset().union(*sites_of(account).values())
            assert [key for key in ours(account) if key.partition("/")[2] not in known] == [], said.detail
        if said.slug == "no-capacity":
            groups = dict.fromkeys((item.task, item.group) for item in reviewed.placements)
            envelopes = [[f"{name_of(item)}: " for item in envelope(reviewed, *key)] for key in groups]
            assert any(all(name in said.detail for name in names) for names in envelopes), said.detail
            assert caught.exit_code == 1
        in_order(account, reviewed)
        account.faults()
        plan = lab.up(account, name)
    else:
        event(
            "placed at once"
            if all(row.outcome is AttemptOutcome.UP for row in account.session.store.attempts(TRAIN))
            else "moved"
        )
        in_order(account, reviewed)
    assert plan.compilation.placement is not None
    placed(account, plan.compilation.placement)
    assert theirs <= {item.key for item in account.world.resources()}
    # It stays, and nothing is to be done any more.
    again = lab.up(account, name)
    assert not again.has_changes


def fresh(lab: Lab) -> None:
    """An empty home, but for what Terraform's version is: asking for it starts Terraform."""
    engines = lab.home / "cache" / "engines.json"
    known = engines.read_bytes() if engines.exists() else None
    shutil.rmtree(lab.home, ignore_errors=True)
    if known is not None:
        engines.parent.mkdir(mode=0o700, parents=True)
        lab.home.chmod(0o700)
        engines.write_bytes(known)


@settings(max_examples=30 * TIMES, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(TEXTS)), pattern=PATTERNS)
def test_it_ends_placed_or_explained(lab: Lab, name: str, pattern: list[str]) -> None:
    fresh(lab)
    with opened(lab.home) as account:
        lab.up(account, "other")
        account.faults(*pattern)
        ends_well(lab, account, name)


@settings(max_examples=25 * TIMES, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(TEXTS)), pattern=PATTERNS, at=st.integers(1, 150))
@example(name="tasks", pattern=UP_BEFORE, at=92)
@example(name="regions", pattern=TWO_REGIONS, at=17)
@example(name="regions", pattern=["fault: quota, zone: '*', after: 0, leaves: true"], at=78)
def test_killed_anywhere_the_next_command_goes_on(lab: Lab, name: str, pattern: list[str], at: int) -> None:
    fresh(lab)
    left = at

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    with opened(lab.home) as account:
        lab.up(account, "other")
        account.faults(*pattern)
        fake_terraform.tick = count
        try:
            lab.up(account, name)
        except Killed:
            event("killed")
        except SkycError:
            event("ended before")
        finally:
            fake_terraform.tick = lambda: None
    with opened(lab.home) as account:
        ends_well(lab, account, name)
