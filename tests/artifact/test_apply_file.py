"""Plan files applied: what has moved is said, all of it, and nothing is done; what has not is done as it was reviewed.

The account is the simulator's AWS, Terraform the fake of `tests/failover` unless a test says otherwise; jobs are not started here
(`tests/e2e` does that).
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from skyc.compiler.artifact.plan_file import PlanFile, SiteState
from skyc.compiler.diagnostics import SkycError
from skyc.compiler.failover import name_of
from skyc.compiler.ir import DeploymentId, FrozenMap, JobAction, Secret, TaskId
from skyc.compiler.ir.catalog import UNKNOWN
from skyc.compiler.terraform_engine import find_engine
from skyc.providers.aws.provider import AwsProvider
from skyc.providers.simulator.world import World, WorldResource
from skyc.providers.snapshot import encode
from skyc.providers.stored import refreshed_path
from skyc.runtime import apply as applying
from skyc.runtime import failover, moved
from skyc.runtime.apply import apply as apply_request
from skyc.runtime.apply import locked, site_context
from skyc.runtime.calls import plan as plan_call
from skyc.runtime.destroy import destroy
from skyc.runtime.lockfile import lock_path, lock_text, read_lock
from skyc.runtime.locking import held, lock
from skyc.runtime.plan_files import read_plan_file, write_plan_file
from skyc.runtime.planning import Planned, refuse_running
from skyc.runtime.plans import plan as plan_of
from skyc.runtime.refusals import refuse_another
from skyc.runtime.request import Request
from skyc.runtime.results import Outcome
from skyc.runtime.reviewed import opened_review, reviewed
from skyc.runtime.sites import PACKAGES_FILE
from skyc.runtime.storage.file import FileStore
from tests.artifact.test_plan_file import made
from tests.failover import fake_terraform
from tests.failover.pretended import Account, opened
from tests.lengths import takes_minutes

pytestmark = pytest.mark.fault

TRAIN = DeploymentId("train")
TASK = """\
name: train
resources:
  instance_type: g5.xlarge
  any_of: [{infra: aws/us-east-1/use1-az1}, {infra: aws/us-east-1/use1-az4}]
num_nodes: 2
workdir: work
run: python train.py
secrets: {TOKEN: hunter2-hunter2}
"""


class Killed(BaseException):
    """Stands for kill -9: nothing that catches errors catches it."""


@pytest.fixture
def account(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr(failover, "PAUSES", dict.fromkeys(failover.PAUSES, (0.0, 0.0)))
    if getattr(request, "param", "fake") == "fake":
        fake_terraform.install(monkeypatch)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.py").write_text("print(1)")
    with opened(tmp_path / "home") as found:
        yield found


both = pytest.mark.parametrize(
    "account", ["fake", pytest.param("real", marks=[pytest.mark.terraform, takes_minutes])], indirect=True
)


def file_of(account: Account, text: str = TASK, change: Callable[[PlanFile], PlanFile] = lambda plan: plan) -> Path:
    place = account.home.parent / "work" / "plan.skyc"
    write_plan_file(place, change(made(account, text)))
    return place


def carried_out(account: Account, file: Path) -> Planned:
    """What `skyc apply FILE` does until the machines are there."""
    session, request = account.session, Request(path=file, env={}, secrets={})
    review = opened_review(session, request)
    with locked(session, review.deployment, command="skyc apply", wait=0) as lock_fd:
        context = site_context(session, review.deployment, lock_fd, review.compilation)
        with reviewed(session, request, review, context) as plan:
            refuse_running(session, plan)
            return applying._make(session, plan, request)


def said(account: Account, file: Path) -> list[str]:
    """What stops an apply (exit code 4), with nothing changed."""
    before = account.world.resources()
    with pytest.raises(SkycError) as caught:
        carried_out(account, file)
    assert caught.value.exit_code == 4
    assert account.world.resources() == before
    return [f"{found.slug}: {found.summary}: {found.detail}" for found in caught.value.diagnostics]


@both
def test_what_was_reviewed_is_made(account: Account) -> None:
    """And a task file that says something else by now counts for nothing: the plan is what was reviewed."""
    file = file_of(account)
    account.told.clear()
    (account.home.parent / "task.yaml").write_text(TASK.replace("num_nodes: 2", "num_nodes: 5"))
    plan = carried_out(account, file)
    assert account.machines() == [("use1-az1", "g5.xlarge")] * 2
    assert not any("planning" in line for line in account.lines()), "Terraform planned nothing"
    assert plan.compilation.placement == account.session.store.placement(TRAIN)
    record = account.session.store.deployment(TRAIN)
    assert record is not None and record.spec_path == str(account.home.parent / "task.yaml")
    # One that changes what there is, and one that takes it all away again.
    smaller = file_of(account, TASK.replace("num_nodes: 2", "num_nodes: 1"))
    carried_out(account, smaller)
    assert len(account.machines()) == 1


def test_a_file_is_carried_out_once(account: Account) -> None:
    file = file_of(account)
    carried_out(account, file)
    (row,) = account.session.store._read("SELECT digest FROM plan_files")
    account.session.store.end_plan_file(TRAIN, row["digest"])
    (told,) = said(account, file)
    assert told.startswith("plan-applied")
    destroy(account.session, "train", confirm=None)
    assert said(account, file)[0].startswith("plan-applied")


def priced(account: Account, factor: str, zone: str | None = None) -> None:
    """As after a refresh in which every price of AWS, or those of one zone, have moved. The chosen machine costs 1.006."""
    part = AwsProvider().catalog(home=account.home)
    places = [number for number, place in enumerate(part.offers.places) if zone in (None, place.zone)]
    moved = numpy.isin(part.offers.place, places)

    def times(column: Any) -> Any:
        return numpy.where(moved & (column != UNKNOWN), (column * float(factor)).round(), column).astype(column.dtype)

    offers = replace(part.offers, on_demand=times(part.offers.on_demand), spot=times(part.offers.spot))
    path = refreshed_path(account.home, "aws")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(replace(part, offers=offers, as_of="2099-01-01")))


def another_terraform(folder: Path) -> dict[str, str]:
    """An environment with a `terraform` on PATH that is another version, and passes on what else it is asked."""
    folder.mkdir()
    real = find_engine(environ=os.environ)
    program = folder / "terraform"
    program.write_text(
        f"""#!/bin/sh
[ "$1" = version ] && {{ echo 'Terraform v1.99.3'; exit; }}
exec {shlex.join(real.argv)} "$@"
"""
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "SKYC_ENGINE": "terraform"}


def elsewhere(plan: PlanFile) -> PlanFile:
    (item,) = plan.placement.placements
    return replace(plan, placement=replace(plan.placement, placements=(replace(item, instance_type="g99.xlarge"),)))


MOVED: dict[str, tuple[Callable[[PlanFile], PlanFile], str]] = {
    "skyc": (lambda plan: replace(plan, skyc="9.1.0"), "skyc 9.1.0 made it"),
    "home": (lambda plan: replace(plan, home="other:/home"), "It was made in other:/home"),
    "keys": (lambda plan: replace(plan, keys="0" * 64), "nobody could log in"),
    "secret": (lambda plan: replace(plan, secrets=FrozenMap({"TOKEN": "0" * 64})), "`TOKEN`: only hashes were compared"),
    "offer": (elsewhere, "no such offer any more"),
    "state": (
        lambda plan: replace(
            plan, sites=tuple(replace(site, state=SiteState(lineage="l", serial=3, sha256="s")) for site in plan.sites)
        ),
        "serial 3 → there is none",
    ),
    "files": (
        lambda plan: replace(
            plan, trees=tuple(replace(tree, digest="0", files=FrozenMap({"old.py": "1"})) for tree in plan.trees)
        ),
        "old.py is gone, train.py is new",
    ),
    "machines": (
        lambda plan: replace(plan, sites=tuple(replace(site, health=FrozenMap({"n": "up"})) for site in plan.sites)),
        "n was up and is not there",
    ),
    "jobs": (
        lambda plan: replace(plan, jobs=tuple(replace(job, last_run=2, last_attempt=1) for job in plan.jobs)),
        "run 2, attempt 1 → no run",
    ),
}


@pytest.mark.parametrize("what", sorted(MOVED))
def test_what_has_moved_is_said(account: Account, what: str) -> None:
    change, words = MOVED[what]
    (told,) = said(account, file_of(account, change=change))
    assert told.startswith(f"{moved.SLUG}: ") and words in told
    assert account.session.store.deployment(TRAIN) is None


def test_a_price_above_the_ceiling_is_said_and_one_below_is_not(account: Account) -> None:
    file = file_of(account)
    priced(account, "1.25")
    (told,) = said(account, file)
    assert told.startswith("plan-moved: A machine is not on offer as it was reviewed: train/main, ")
    assert "$1.006 → $1.2575 an hour, +25 %, for each of 2 machines. Nothing was changed." in told
    priced(account, "0.6")  # of what it was a moment ago: $0.7545
    carried_out(account, file)
    assert account.machines() == [("use1-az1", "g5.xlarge")] * 2


def test_another_terraform_on_the_path_is_said(account: Account, tmp_path: Path) -> None:
    file = file_of(account)
    made_by = account.session.engine
    with opened(account.home, another_terraform(tmp_path / "bin")) as other:
        (told,) = said(other, file)
    assert told.startswith("plan-moved: The plan was made by another Terraform: ")
    assert f"{made_by} made it, and here runs terraform 1.99.3: " in told
    carried_out(account, file)


def test_all_that_has_moved_is_said_at_once(account: Account, tmp_path: Path) -> None:
    def change(plan: PlanFile) -> PlanFile:
        for name in ("secret", "files", "state", "jobs"):
            plan = MOVED[name][0](plan)
        return plan

    file = file_of(account, change=change)
    priced(account, "1.25")
    with opened(account.home, another_terraform(tmp_path / "bin")) as other:
        assert len(said(other, file)) == 6


def test_another_apply_and_a_cut_off_one_are_noticed(account: Account) -> None:
    account.up(TASK)
    file = file_of(account, TASK.replace("num_nodes: 2", "num_nodes: 3"))
    account.up(TASK.replace("num_nodes: 2", "num_nodes: 1"))
    (told,) = said(account, file)
    assert "serial" in told and "→" in told
    file = file_of(account, TASK.replace("num_nodes: 2", "num_nodes: 4"))
    with account.world.changing() as contents:
        lost = next(item for item in contents.resources.values() if item.type == "aws_instance")
        stray = WorldResource(type="aws_instance", id="i-stray", attributes={**lost.attributes, "id": "i-stray"})
        contents.resources[stray.key] = stray
    (told,) = said(account, file)
    assert "aws_instance i-stray in no state" in told
    with account.world.changing() as contents:
        del contents.resources[stray.key]
        del contents.resources[lost.key]
    (told,) = said(account, file)
    assert "was up and is lost" in told
    destroy(account.session, "train", confirm=None)
    assert any("there is none" in line for line in said(account, file))


def test_changed_files_are_named_and_the_plan_file_itself_is_none(account: Account) -> None:
    work = account.home.parent / "work"
    file = file_of(account)
    assert file.parent == work
    (work / "train.py").write_text("print(2)")
    (work / "new.py").write_text("")
    (told,) = said(account, file)
    assert f"{work}: new.py is new, train.py changed." in told
    (work / "train.py").write_text("print(1)")
    (work / "new.py").unlink()
    carried_out(account, file)


def test_failover_stays_within_what_was_approved(account: Account) -> None:
    file = file_of(account)
    account.faults("fault: no-capacity, zone: use1-az1")
    plan = carried_out(account, file)
    assert account.machines() == [("use1-az4", "g5.xlarge")] * 2
    assert plan.compilation.placement is not None
    assert [item.zone for item in plan.compilation.placement.placements] == ["use1-az4"]


def test_a_fallback_that_costs_more_by_now_is_none(account: Account) -> None:
    file = file_of(account)
    priced(account, "1.25", zone="use1-az4")
    account.faults("fault: no-capacity, zone: use1-az1")
    with pytest.raises(SkycError) as caught:
        carried_out(account, file)
    assert caught.value.diagnostics[0].slug == "no-capacity"
    assert account.machines() == []
    assert any("is left out: $1.006 → $1.2575 an hour" in line for line in account.lines())


def test_killed_anywhere_the_same_file_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every point where a kill matters; the world comes out the same, and no optimizer runs."""
    fake_terraform.install(monkeypatch)
    (tmp_path / "work").mkdir()
    left = 0
    # Each sixth one: `tests/failover` goes through all of them, at the same code.
    for point in range(1, 1000, 6):
        with opened(tmp_path / f"home-{point}") as account:
            file = file_of(account)
            calls = 0

            def tick(point: int = point) -> None:
                nonlocal calls
                calls += 1
                if calls == point + 1:
                    raise Killed

            monkeypatch.setattr(fake_terraform, "tick", tick)
            try:
                carried_out(account, file)
                finished = True
            except Killed:
                finished = False
            monkeypatch.setattr(fake_terraform, "tick", lambda: None)
            if finished:
                break
            left += 1

            def no_choice(*arguments: object, **options: object) -> None:
                raise AssertionError("chosen again")

            with monkeypatch.context() as patch:
                patch.setattr("skyc.compiler.pipeline.optimize", no_choice)
                carried_out(account, file)
            assert account.machines() == [("use1-az1", "g5.xlarge")] * 2
            assert len(account.world.resources("aws_vpc")) == 1
            destroy(account.session, "train", confirm=None)
            # The default group goes with its network; the pretended inventory does not list it.
            assert {item.type for item in account.world.resources()} <= {"aws_default_security_group"}
    assert left > 3, left


def test_what_is_left_must_not_go_beyond_what_was_approved(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.up(TASK.replace("num_nodes: 2", "num_nodes: 1"))
    file = file_of(account)

    def tick() -> None:
        raise Killed

    monkeypatch.setattr(fake_terraform, "tick", tick)
    with pytest.raises(Killed):
        carried_out(account, file)
    monkeypatch.setattr(fake_terraform, "tick", lambda: None)
    # Somebody removes what the plan left alone.
    with account.world.changing() as contents:
        (gone,) = [item for item in contents.resources.values() if item.type == "aws_instance"]
        del contents.resources[gone.key]
    (told,) = said(account, file)
    assert "goes beyond the plan" in told and "aws_instance." in told


def test_jobs_are_started_once(account: Account) -> None:
    """Whatever was written down before a kill, the run and its attempt are those of the file."""
    file = file_of(account)
    carried_out(account, file)
    store, task = account.session.store, TaskId("train")

    def action() -> tuple[JobAction, int]:
        (job,) = carried_out(account, file).jobs
        return job.action, job.run

    assert action() == (JobAction.RUN, 1)
    (planned_job,) = read_plan_file(file)[0].jobs
    store.begin_run(TRAIN, task, task_digest=planned_job.task_digest)
    assert action() == (JobAction.RESUME, 1), "the run is written down, and no job of it"
    job = store.begin_job(TRAIN, task, run=1)
    assert action() == (JobAction.FOLLOW, 1)
    from skyc.runtime.job import JobState, JobStatus

    store.update_job(TRAIN, job.id, JobStatus(state=JobState.FAILED, exit_code=1))
    (told,) = said(account, file)
    assert told.startswith("plan-applied") and "job train-1-1: failed" in told


def test_an_apply_can_be_held_to_the_lock(account: Account) -> None:
    """A task file to what the lock says, a plan file to the lock that it was made with."""
    task, file = account.home.parent / "task.yaml", account.home.parent / "work" / "plan.skyc"
    task.write_text(TASK)
    (account.home / "config.yaml").write_text("access: {ssh_from: [198.51.100.0/24]}\n")
    request, session = Request(path=task, env={}, secrets={}), account.session
    lock(session, (request,), hashes=False)
    place = lock_path(task)
    known = read_lock(place)
    assert known is not None
    pinned = {source: replace(row, hashes=("h1:pinned=",)) for source, row in known.providers.items()}
    place.write_text(lock_text(replace(known, providers=FrozenMap(pinned))))

    def applied(path: Path, *, locked: bool = True) -> Outcome | str:
        """Declined at the question is as far as it comes."""
        try:
            return applying.apply(session, replace(request, path=path, locked=locked), confirm=lambda plan: False).outcome
        except SkycError as failure:
            assert failure.exit_code == 4
            return "; ".join(f"{found.slug}: {found.detail}" for found in failure.diagnostics)

    assert applied(task) is Outcome.DECLINED
    (packages,) = account.home.glob(f"deployments/train/sites/*/{PACKAGES_FILE}")
    assert "h1:pinned=" in packages.read_text(), "Terraform is told which packages it may use"
    plan_of(session, request, hold=held(session, request), file=file)
    assert applied(file) is Outcome.DECLINED
    plan_of(session, request, hold=None, file=file.with_name("free.skyc"))
    assert str(applied(file.with_name("free.skyc"))).startswith("plan-not-locked")

    # The lock moves: what it now says is not what is here, nor what the plan was made with.
    place.write_text(place.read_text().replace("g5.xlarge", "g5.2xlarge"))
    name, was, now = (
        "tasks.task.yaml.place.train.main:",
        *(f"aws/us-east-1/use1-az1 · 2 × g5.{size} · on-demand" for size in ("xlarge", "2xlarge")),
    )
    assert f"{name} locked {now}, here {was}. Nothing was compiled." in str(applied(task))
    assert f"{name} {was} → {now}. Nothing was changed." in str(applied(file))
    assert applied(file, locked=False) is Outcome.DECLINED, "what was reviewed is applied, whatever the lock says by now"
    place.unlink()
    assert [str(applied(path)).partition(":")[0] for path in (task, file)] == ["no-lock", "no-lock"]


@pytest.mark.parametrize("account", [pytest.param("real", marks=pytest.mark.terraform)], indirect=True)
def test_a_plan_that_nobody_compared_is_not_applied(account: Account, tmp_path: Path) -> None:
    task, file = tmp_path / "task.yaml", tmp_path / "review.skyc"
    task.write_text("name: tiny\nresources: {infra: local}\nrun: echo hi\n")
    shown = plan_call(task, home=tmp_path / "other", offline=True, out=file)
    assert shown.offline and shown.fingerprints is not None and shown.fingerprints.changes is None
    (told,) = said(account, file)
    assert told.startswith("plan-not-compared")


def test_secrets_are_asked_for_and_another_deployment_is_refused(account: Account) -> None:
    file = file_of(account, TASK.replace("hunter2-hunter2", "hunter3-hunter3"))
    request = Request(path=file, deployment="other", env={}, secrets={})
    with pytest.raises(SkycError) as caught:
        opened_review(account.session, request)
    assert (caught.value.diagnostics[0].slug, caught.value.exit_code) == ("plan-of-another", 4)
    for odd in (Request(path=file, env={"A": "b"}, secrets={}), Request(path=file, env={}, secrets={}, rerun=True)):
        with pytest.raises(SkycError) as caught:
            opened_review(account.session, odd)
        assert caught.value.diagnostics[0].slug == "plan-file-option"
    (account.home.parent / "task.yaml").unlink()
    with pytest.raises(SkycError) as caught:
        opened_review(account.session, dataclasses.replace(request, deployment=None))
    assert [found.slug for found in caught.value.diagnostics] == ["secret-not-set"]
    given = dataclasses.replace(request, deployment=None, secrets={"TOKEN": Secret("hunter3-hunter3")})
    assert opened_review(account.session, given).compilation.secrets["TOKEN"].reveal() == "hunter3-hunter3"


def test_fingerprints_name_one_plan(account: Account) -> None:
    request, compilation = account.compiled(TASK)
    with locked(account.session, TRAIN, command="skyc apply", wait=0) as lock_fd:
        context = site_context(account.session, TRAIN, lock_fd, compilation)
        from skyc.runtime.planning import planned

        with planned(account.session, request, compilation, context) as plan:
            names = plan.fingerprints
            assert names is not None and names.changes is not None
            for good in (None, names.changes, names.changes[:12], names.changes[:16].upper()):
                refuse_another(plan, good)
            for bad, slug, code in (
                ("0" * 16, "another-plan", 4),
                (names.compiled[:16], "another-plan", 4),
                (names.changes[:11], "short-fingerprint", 1),
                ("", "short-fingerprint", 1),
            ):
                with pytest.raises(SkycError) as caught:
                    refuse_another(plan, bad)
                assert (caught.value.diagnostics[0].slug, caught.value.exit_code) == (slug, code)
    assert name_of(compilation.reviewed.placements[0]) == "aws/us-east-1/use1-az1 g5.xlarge on-demand"
    # What was reviewed may say that nothing is run.
    with pytest.raises(SkycError) as caught:
        apply_request(account.session, dataclasses.replace(request, fingerprint=names.changes, rerun=True), confirm=None)
    assert caught.value.diagnostics[0].slug == "plan-file-option"


def test_planned_here_and_applied_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two homes with one backend, as two runs of a pipeline are: keys and marks are those of the plan, from the first apply on."""
    fake_terraform.install(monkeypatch)
    shared = FileStore(tmp_path / "shared")
    monkeypatch.setattr("skyc.runtime.backend.opening.configured", lambda home: shared)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.py").write_text("print(1)")
    with opened(tmp_path / "home-a") as account:
        file = file_of(account)
        login = (account.home / "deployments/train/ssh/login").read_bytes()
        # The world is in the home here, and one for both there.
        one = World(account.home)
        monkeypatch.setattr("tests.failover.pretended.World", lambda home: one)
        monkeypatch.setattr(fake_terraform, "World", lambda home: one)
    with opened(tmp_path / "home-b") as account:
        carried_out(account, file)
        assert (account.home / "deployments/train/ssh/login").read_bytes() == login
        assert len(account.machines()) == 2
        second = file_of(account, TASK.replace("num_nodes: 2", "num_nodes: 3"))
    with opened(tmp_path / "home-a") as account:
        carried_out(account, second)
        assert len(account.machines()) == 3
        assert account.session.store.placement(TRAIN) is not None
    with opened(tmp_path / "home-b") as account:
        (told,) = said(account, second)
        assert "serial" in told


def test_buckets_are_called_as_they_were_planned(account: Account, tmp_path: Path) -> None:
    file = file_of(account, TASK + "storage: {data: {placement: auto, size_gb: 5}}\noutputs: {data: 5GB}\n")
    mark = (account.home / "deployments/train/mark").read_bytes()
    with opened(tmp_path / "another") as other:
        opened_review(other.session, Request(path=file, env={}, secrets={}))
        assert (other.home / "deployments/train/mark").read_bytes() == mark
