"""How jobs stand, and what may be deleted, on a home made by hand: real store, files, lock and node code; no Ray, no Terraform.

The head is a directory on this machine. Its jobs are what `runtime/job.py` says they are: files.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import Diagnostic, Severity, SkycError, error
from skyc.compiler.ir import DeploymentId, FileMount, FrozenMap, GroupName, MountMode, SiteId, SpecPath, Task, TaskId
from skyc.providers.base import Node, TransportError
from skyc.runtime import apply as apply_module
from skyc.runtime import calls, inspect, jobs, standing
from skyc.runtime.clusters import Cluster, cluster_of, clusters, healths
from skyc.runtime.destroy import _forget, destroy
from skyc.runtime.job import JobGroup, JobKind, JobRequest, JobState, JobStatus
from skyc.runtime.lock import deployment_lock
from skyc.runtime.logbook import log_path, save_log, saved_log
from skyc.runtime.places import STORAGES, settle_storages
from skyc.runtime.ray import JobsClient
from skyc.runtime.reconcile import known_ids
from skyc.runtime.records import DeploymentState, JobRecord, SiteRecord
from skyc.runtime.refusals import compiled
from skyc.runtime.request import Request
from skyc.runtime.results import DestroyOutcome, Interrupted, Plan
from skyc.runtime.runs import task_digest
from skyc.runtime.session import Session, known_deployment, open_session
from skyc.runtime.sites import site_directory
from skyc.runtime.standing import never_submitted, refresh_jobs, release, settle
from skyc.runtime.state import deployment_directory

DIGITS = DeploymentId("digits")
TRAIN = TaskId("train")
SITE = SiteId("train.local")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    with open_session(tmp_path / "home") as session:
        up(session, DIGITS)
        yield session


def up(session: Session, deployment: DeploymentId) -> None:
    """A deployment with one node in its state."""
    site = site_directory(session.home, deployment, SITE)
    site.mkdir(parents=True)
    session.store.save_deployment(
        deployment, spec_path="/t.yaml", spec_digest="s", plan_digest="p", state=DeploymentState.ACTIVE
    )
    session.store.save_site(
        SiteRecord(deployment=deployment, site=SITE, provider="local", directory=str(site), graph_digest="g")
    )
    (site / "terraform.tfstate").write_text(json.dumps(state(head(session, deployment))))
    head(session, deployment).mkdir(parents=True)
    (head(session, deployment) / "token").write_text("t")


def head(session: Session, deployment: DeploymentId = DIGITS) -> Path:
    return deployment_directory(session.home, deployment) / "nodes" / "train-main-0"


def state(directory: Path) -> dict[str, Any]:
    ports = {"gcs_port": 1, "dashboard_port": 1, "agent_port": 1}
    node = {"id": "life-1", "name": "train-main-0", "group": "main", "rank": 0, "ip": "127.0.0.1", "directory": str(directory)}
    more = {"python_path": sys.executable, "user_bin": "/bin", "cpus": 1, "memory_mb": 1, "health": "healthy"}
    resource = {"mode": "managed", "type": "skyc_node", "name": "main-0", "instances": [{"attributes": {"id": "life-1"}}]}
    outputs = {"nodes": {"value": [{**node, **ports, **more}]}}
    return {"version": 4, "lineage": "l", "serial": 3, "outputs": outputs, "resources": [resource]}


def job(session: Session, reached: JobState = JobState.PENDING, kind: JobKind = JobKind.RUN) -> JobRecord:
    run = session.store.begin_run(DIGITS, TRAIN, task_digest="d").number if kind is JobKind.RUN else 0
    record = session.store.begin_job(DIGITS, TRAIN, run=run, kind=kind)
    if reached is not JobState.PENDING:
        record = session.store.update_job(DIGITS, record.id, JobStatus(state=reached))
    return record


def on_head(session: Session, record: JobRecord, *, result: dict[str, Any] | None = None, log: bytes = b"") -> None:
    place = head(session) / "jobs" / record.id
    place.mkdir(parents=True)
    (place / "job.json").write_text("{}")
    (place / "output.log").write_bytes(log)
    if result is not None:
        (place / "result.json").write_text(json.dumps(result))


def slugs(failure: pytest.ExceptionInfo[SkycError]) -> list[str]:
    return [diagnostic.slug for diagnostic in failure.value.diagnostics]


def test_looking_does_not_lose_a_job_that_is_being_submitted(session: Session) -> None:
    job(session)
    (seen,) = refresh_jobs(session, DIGITS)
    assert seen.state is JobState.PENDING, "its files may be on their way; a second apply would start another attempt"


def test_following_waits_for_a_job_that_is_being_submitted(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are not there yet when the following begins; it is over when the command that started it lets go."""
    monkeypatch.setattr(jobs, "UNSEEN_PAUSE", 0.01)
    record = job(session)
    looks = 0

    def look(*arguments: Any) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        if looks == 3:
            lock.close()
        if looks == 4:
            result = {"state": "succeeded", "started": 1.0, "ended": 2.0}
            on_head(session, record, result=result, log=b"epoch 1\n")
        return watch(*arguments)

    watch = jobs._watch
    monkeypatch.setattr(jobs, "_watch", look)
    with ExitStack() as lock:
        lock.enter_context(deployment_lock(session.home, DIGITS, command="skyc apply"))
        assert "".join(inspect.logs(session, DIGITS, record.id, follow_it=True)) == "epoch 1\n"
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("prepared", [False, True])
def test_following_ends_where_nobody_is_left_to_submit(
    session: Session, prepared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The apply was interrupted after it had written the job down, before or after its files were on the head."""
    record = job(session)
    if prepared:
        on_head(session, record)
        monkeypatch.setattr(JobsClient, "get", lambda *_: None)
    with pytest.raises(SkycError) as failure:
        list(inspect.logs(session, DIGITS, record.id, follow_it=True))
    assert slugs(failure) == ["not-submitted"]
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.PENDING, "the next apply starts it"


def test_a_running_job_its_head_does_not_know_is_lost(session: Session) -> None:
    job(session, JobState.RUNNING)
    (seen,) = refresh_jobs(session, DIGITS)
    assert seen.state is JobState.LOST


def test_logs_end_when_the_nodes_are_gone(session: Session) -> None:
    record = job(session, JobState.RUNNING)
    shutil.rmtree(head(session))
    ended = threading.Event()

    def read() -> None:
        with open_session(session.home) as other:
            list(inspect.logs(other, DIGITS, record.id, follow_it=True))
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert ended.wait(30), "it waits for a node that will never answer"
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.LOST


def test_cancel_ends_a_job_that_was_never_submitted_and_the_others_too(session: Session) -> None:
    unsent, prepared = job(session, kind=JobKind.EXEC), job(session)
    on_head(session, prepared)
    stopped = inspect.cancel(session, DIGITS, None)
    assert {record.id: record.state for record in stopped} == dict.fromkeys((unsent.id, prepared.id), JobState.CANCELLED)


def test_cancel_does_not_declare_over_what_another_command_may_submit(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "CANCEL_WAIT", 0.0)
    unsent, prepared = job(session, kind=JobKind.EXEC), job(session)
    on_head(session, prepared)
    with deployment_lock(session.home, DIGITS, command="skyc apply"), pytest.raises(SkycError) as failure:
        inspect.cancel(session, DIGITS, None)
    assert slugs(failure) == ["deployment-busy"]
    found = {record.id: record.state for record in session.store.jobs(DIGITS)}
    assert found == {unsent.id: JobState.PENDING, prepared.id: JobState.CANCELLED}


def test_cancel_does_not_declare_over_what_it_cannot_find(session: Session) -> None:
    record = job(session, JobState.RUNNING)
    file = site_directory(session.home, DIGITS, SITE) / "terraform.tfstate"
    for text, slug in (('{"ver', "state-damaged"), ("", "nodes-unknown")):
        file.write_text(text)
        with pytest.raises(SkycError) as failure:
            inspect.cancel(session, DIGITS, record.id)
        assert slugs(failure) == [slug]
        assert inspect.find_job(session, DIGITS, record.id).state is JobState.RUNNING


def test_a_destroy_that_is_cut_off_leaves_no_running_job_on_record_as_over(session: Session) -> None:
    record = job(session, JobState.RUNNING)
    shutil.rmtree(head(session))  # out of reach: whether it runs is not known
    release(session, DIGITS, TRAIN)
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.RUNNING
    settle(session, DIGITS, None, JobState.CANCELLED, "The deployment was destroyed.")
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.CANCELLED


def test_the_output_is_kept_before_the_nodes_go(session: Session) -> None:
    over = job(session, JobState.SUCCEEDED)  # skyc was killed after it wrote this down and before it kept the log
    on_head(session, over, log=b"epoch 1\n")
    release(session, DIGITS, TRAIN)
    assert log_path(session, DIGITS, over.id).read_bytes() == b"epoch 1\n"


def test_many_may_keep_one_log_at_once_and_keep_it_as_it_is(session: Session) -> None:
    record = job(session)
    text = b"10%\r20%\r\n\xff " + "naïve ".encode() * 100_000
    on_head(session, record, log=text)
    cluster = cluster_of(session, DIGITS)
    assert cluster is not None
    failures: list[BaseException] = []

    def keep() -> None:
        try:
            for _ in range(5):
                save_log(session, DIGITS, cluster, record.id)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    kept = log_path(session, DIGITS, record.id)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert kept.stat().st_mode & 0o077 == 0
    assert "".join(saved_log(session, DIGITS, record.id) or ()) == text.decode(errors="replace")


def test_output_of_any_size_is_copied_and_shown_in_pieces(session: Session) -> None:
    record = job(session, JobState.RUNNING)
    text = "naïve\xff\n".encode() * 3_000_000
    on_head(session, record, log=text[:-1] + b"\xc3")
    cluster = cluster_of(session, DIGITS)
    assert cluster is not None
    tracemalloc.start()
    try:
        save_log(session, DIGITS, cluster, record.id)
        shown = [len(piece.encode()) for piece in inspect.logs(session, DIGITS, record.id, follow_it=False)]
        followed = inspect.logs(session, DIGITS, record.id, follow_it=True)
        first = next(followed)
        time.sleep(1)
        del followed  # a reader that stops, as `skyc logs -f | head` does
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(text) / 2
    assert log_path(session, DIGITS, record.id).read_bytes() == text[:-1], "half a character is not shown"
    assert sum(shown) == len(text) - 1
    assert text.startswith(first.encode())


def test_a_log_that_breaks_off_replaces_none(session: Session) -> None:
    record = job(session)
    on_head(session, record, log=b"all of it\n")
    cluster = cluster_of(session, DIGITS)
    assert cluster is not None
    save_log(session, DIGITS, cluster, record.id)
    shutil.rmtree(head(session))
    save_log(session, DIGITS, cluster, record.id)
    kept = log_path(session, DIGITS, record.id)
    assert kept.read_bytes() == b"all of it\n"
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_one_damaged_state_hides_no_other_deployment(session: Session) -> None:
    other = DeploymentId("other")
    up(session, other)
    (site_directory(session.home, DIGITS, SITE) / "terraform.tfstate").write_text('{"ver')
    session.store.begin_job(DIGITS, TRAIN, run=1, hourly=Decimal("0.5"))
    found = {status.deployment: status for status in inspect.status(session, None, refresh=False)}
    assert found[DIGITS].nodes == ()
    assert found[DIGITS].sites[0].resources is None
    assert [(d.slug, d.severity) for d in found[DIGITS].diagnostics] == [("state-damaged", Severity.WARNING)]
    assert found[other].diagnostics == ()
    assert found[DIGITS].hourly == Decimal("0.5"), "its nodes cannot be seen, which does not make them free"
    assert len(found[other].nodes) == 1


def test_a_node_record_that_cannot_be_read_is_said_beside_all_that_can(session: Session) -> None:
    other = DeploymentId("other")
    up(session, other)
    (head(session) / "node.json").write_text('{"id": 3')
    found = {status.deployment: status for status in inspect.status(session, None, refresh=True)}
    assert [node.health for node in found[DIGITS].nodes] == ["unknown"]
    (said,) = found[DIGITS].diagnostics
    assert (said.slug, said.severity) == ("local-node-stuck", Severity.WARNING)
    assert f"{head(session)}/node.json" in said.detail
    assert [node.health for node in found[other].nodes] == ["gone"]
    assert found[other].diagnostics == ()


def test_a_command_costs_what_its_nodes_cost(session: Session) -> None:
    cluster = cluster_of(session, DIGITS)
    assert cluster is not None
    assert inspect._hourly_of(session, DIGITS, cluster, None) is None
    session.store.begin_job(DIGITS, TRAIN, run=1, hourly=Decimal("0.5"))
    four = dataclasses.replace(cluster, nodes=cluster.nodes * 4)
    assert inspect._hourly_of(session, DIGITS, four, None) == Decimal("0.5")
    assert inspect._hourly_of(session, DIGITS, four, 1) == Decimal("0.125")


def test_a_destroy_without_a_usable_state_shows_what_would_go(session: Session) -> None:
    (site_directory(session.home, DIGITS, SITE) / "terraform.tfstate").write_text('{"ver')
    shown: list[Plan] = []

    def decline(plan: Plan) -> bool:
        shown.append(plan)
        return False

    result = destroy(session, DIGITS, confirm=decline)
    assert result.outcome is DestroyOutcome.DECLINED
    assert "destroys skyc_node.train-main-0" in shown[0].report()
    assert head(session).is_dir()


def test_a_second_file_with_the_name_of_the_first_is_said(session: Session, tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for file in (first, second):
        file.write_text("run: echo hi\nname: digits\n")

    def said(path: Path, deployment: str | None = None) -> list[Diagnostic]:
        request = Request(path=path, deployment=deployment, env={}, secrets={})
        return [d for d in compiled(session, request).diagnostics if d.slug == "shared-deployment"]

    session.store.save_deployment(DIGITS, spec_path=str(first), spec_digest="s", plan_digest="p", state=DeploymentState.ACTIVE)
    (warned,) = said(second)
    assert str(first) in warned.detail
    assert warned.span is not None
    assert warned.span.line == 2
    assert said(first) == said(second, "another") == []
    first.rename(tmp_path / "renamed.yaml")
    assert said(tmp_path / "renamed.yaml") == []


def test_a_lost_store_makes_no_orphans(session: Session) -> None:
    session.store.forget_deployment(DIGITS)
    assert set(known_ids(session, DIGITS)) == {"life-1"}
    assert known_deployment(session, "digits") == DIGITS
    with pytest.raises(SkycError) as failure:
        known_deployment(session, "../digits")
    assert slugs(failure) == ["unknown-deployment"]


def storage(session: Session, deployment: DeploymentId, place: Path, *, persistent: bool) -> None:
    place.mkdir(parents=True, exist_ok=True)
    row = {"name": place.name, "uri": f"file://{place}", "persistent": persistent}
    (deployment_directory(session.home, deployment) / STORAGES).write_text(json.dumps([row]))


def test_storage_another_deployment_uses_stays(session: Session) -> None:
    other, shared = DeploymentId("other"), session.home / "storage" / "data"
    up(session, other)
    storage(session, DIGITS, shared, persistent=False)
    storage(session, other, shared, persistent=True)
    assert [kept.name for kept in settle_storages(session, DIGITS, purge=True)] == ["data"]
    assert shared.is_dir()
    session.store.set_deployment_state(other, DeploymentState.DESTROYED)
    assert settle_storages(session, DIGITS, purge=True) == ()
    assert not shared.exists()


def test_a_purge_after_a_destroy_finds_what_was_kept(session: Session) -> None:
    place = session.home / "storage" / "data"
    storage(session, DIGITS, place, persistent=True)
    for purge in (False, True):
        kept = settle_storages(session, DIGITS, purge=purge)
        _forget(session, DIGITS, purge)
        assert place.exists() is not purge
        assert [item.name for item in kept] == ([] if purge else ["data"])


def test_a_link_leads_no_delete_astray(session: Session, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "child").mkdir(parents=True)
    place = session.home / "storage" / "data"
    storage(session, DIGITS, place, persistent=False)
    place.rmdir()
    (session.home / "storage" / "other").mkdir()
    place.symlink_to(session.home / "storage" / "other")
    settle_storages(session, DIGITS, purge=True)
    assert (session.home / "storage" / "other").is_dir()
    directory = deployment_directory(session.home, DIGITS)
    shutil.rmtree(directory)
    directory.symlink_to(precious)
    _forget(session, DIGITS, purge=True)
    assert (precious / "child").is_dir()


def test_a_source_that_cannot_be_read_is_the_users_to_mend(tmp_path: Path) -> None:
    mount = FileMount(target="~/x", source=str(tmp_path / "gone"), storage=None, mode=MountMode.COPY, origin=SpecPath())
    task = Task(
        id=TRAIN,
        origin=SpecPath(),
        groups=(),
        setup="",
        envs=FrozenMap(),
        secrets=(),
        workdir=None,
        file_mounts=(mount,),
    )
    with pytest.raises(SkycError) as failure:
        task_digest(task)
    assert slugs(failure) == ["source-unreadable"]
    assert "gone" in failure.value.diagnostics[0].detail


def test_the_removal_of_a_broken_file_is_not_our_bug(tmp_path: Path) -> None:
    broken = tmp_path / "task.yaml"
    broken.write_text("name: x\nrun: [1\n")
    with pytest.raises(SkycError) as failure:
        calls.plan(broken, destroy=True, home=tmp_path / "home")
    assert failure.value.diagnostics[0].span is not None


class Silent:
    """A target whose nodes can be reached by nobody; everything else is the real one's. `pause`: seconds until that is found."""

    def __init__(self, real: Any, pause: float = 0.0) -> None:
        self.real, self.pause, self.asked, self.brought_up = real, pause, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def transport(self, node: Node) -> Any:
        self.asked += 1
        time.sleep(self.pause)
        raise TransportError("nothing answers")

    def bring_up(self, nodes: Any, *, home: Path, tell: Any) -> None:
        self.brought_up += 1


def silenced(session: Session, pause: float = 0.0) -> tuple[Cluster, Silent]:
    cluster = cluster_of(session, DIGITS)
    assert cluster is not None
    fake = Silent(cluster.provider, pause)
    return dataclasses.replace(cluster, provider=fake), fake


def request_of(record: JobRecord) -> JobRequest:
    groups = (JobGroup(name=GroupName("main"), num_nodes=1, run="true"),)
    return JobRequest(id=record.id, deployment=DIGITS, task=TRAIN, groups=groups)


def test_a_node_that_still_boots_is_no_mistake_of_ours(session: Session) -> None:
    """It has a directory, and no Python of its own yet."""
    file = site_directory(session.home, DIGITS, SITE) / "terraform.tfstate"
    file.write_text(file.read_text().replace(sys.executable, "/no/python"))
    (head(session) / "token").unlink()
    record = job(session)
    assert refresh_jobs(session, DIGITS)[-1].state is JobState.PENDING
    with pytest.raises(SkycError) as failure:
        list(inspect.logs(session, DIGITS, record.id, follow_it=False))
    assert slugs(failure) == ["cluster-unreachable"]
    release(session, DIGITS, TRAIN)
    # Nothing was given to a Ray that has no token.
    assert never_submitted(session, DIGITS, record)


def test_a_job_whose_nodes_were_never_brought_up_is_started_by_the_next_apply(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    (head(session) / "token").unlink()
    record = job(session)
    order: list[str] = []
    cluster, _ = silenced(session)
    monkeypatch.setattr(Silent, "transport", lambda self, node: self.real.transport(node))
    monkeypatch.setattr(Silent, "bring_up", lambda self, nodes, *, home, tell: order.append("brought up"))
    monkeypatch.setattr(apply_module, "start", lambda *arguments: order.append("started"))
    monkeypatch.setattr(apply_module, "job_request", lambda *arguments: None)

    class Plan:
        deployment = DIGITS

        def task(self, task: TaskId) -> None:
            return None

    apply_module._start_pending(session, Plan(), cluster, record, {})  # type: ignore[arg-type]
    assert order == ["brought up", "started"]


def test_a_cluster_that_does_not_answer_before_a_job_is_said_and_the_job_is_over(session: Session) -> None:
    record = job(session)
    cluster, _ = silenced(session)
    with pytest.raises(SkycError) as failure:
        apply_module.start(session, DIGITS, cluster, request_of(record), {})
    assert slugs(failure) == ["cluster-unreachable"] and "train-main-0" in failure.value.diagnostics[0].detail
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.LOST


def test_a_job_that_may_have_been_submitted_is_not_called_failed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next apply would start a second attempt beside it."""
    record = job(session)
    cluster, _ = silenced(session)
    monkeypatch.setattr(apply_module, "probe", lambda provider, nodes: None)
    monkeypatch.setattr(jobs, "prepare", lambda *arguments, **more: None)
    with pytest.raises(SkycError) as failure:
        apply_module.start(session, DIGITS, cluster, request_of(record), {})
    assert slugs(failure) == ["submission-unanswered"]
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.PENDING


def test_an_interrupt_while_nodes_are_brought_up_says_what_exists(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    record = job(session)
    cluster, _ = silenced(session)

    def interrupted(self: Silent, nodes: Any, *, home: Path, tell: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Silent, "bring_up", interrupted)
    with pytest.raises(Interrupted) as stopped:
        apply_module.start(session, DIGITS, cluster, request_of(record), {})
    assert "cost" in stopped.value.detail and f"skyc destroy {DIGITS}" in stopped.value.commands
    assert inspect.find_job(session, DIGITS, record.id).state is JobState.PENDING


@pytest.mark.parametrize(
    "ask", [lambda session: release(session, DIGITS, TRAIN), lambda session: refresh_jobs(session, DIGITS)]
)
def test_a_silent_head_is_not_asked_about_every_job(
    session: Session, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Session], object]
) -> None:
    for _ in range(8):
        job(session, JobState.RUNNING)
    cluster, fake = silenced(session, pause=0.5)
    monkeypatch.setattr(standing, "cluster_of", lambda *arguments, **more: cluster)
    monkeypatch.setattr(standing, "IN_VAIN_SECONDS", 0.8)
    ask(session)
    assert fake.asked == 2
    assert {record.state for record in session.store.jobs(DIGITS)} == {JobState.RUNNING}


def test_nodes_are_looked_at_all_at_once(session: Session) -> None:
    meeting = threading.Barrier(8, timeout=10)

    class Together:
        def health(self, node: Node, *, home: Path) -> str:
            meeting.wait()
            if node.rank == 3:
                raise SkycError(error("no-look", "No look", "No."))
            return str(node.rank)

    (cluster,) = clusters(session, DIGITS)
    nodes = [dataclasses.replace(cluster.nodes[0], rank=rank) for rank in range(8)]
    found = healths(session, Together(), nodes)  # type: ignore[arg-type]
    assert [str(health) for health in found[:3]] == ["0", "1", "2"] and isinstance(found[3], SkycError)


def test_a_reader_that_has_gone_is_not_taken_for_a_node_that_has(session: Session) -> None:
    """`skyc apply | head` would go on without a word until the job is over."""
    record = job(session, JobState.RUNNING)
    on_head(session, record, log=b"epoch 1\n")
    (cluster,) = clusters(session, DIGITS)
    heard: list[str] = []

    def out(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        jobs.follow(cluster.nodes, cluster.provider, record.id, out, health=lambda: "healthy", note=heard.append)
    assert heard == []
