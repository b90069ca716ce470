"""Which jobs of a file run side by side, and what becomes of the others when one ends otherwise than it should. No node and no Ray: a job
is a fake that ends when the test says so."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError, error
from skyc.compiler.ir import DeploymentId, FrozenMap, JobAction, JobPlan, SiteId, TaskId
from skyc.providers.base import Node
from skyc.providers.local.client import LocalProvider
from skyc.runtime import room
from skyc.runtime.clusters import Cluster
from skyc.runtime.file_jobs import FileJobs, NobodyListens, Started, may_meet
from skyc.runtime.job import JobId, JobKind, JobState, JobStatus
from skyc.runtime.records import JobRecord
from skyc.runtime.results import Interrupted

DEMO = DeploymentId("demo")
DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
SIDE_BY_SIDE = {"a": (), "b": (), "c": (), "after-a": ("a",)}


def cluster(task: str, **node: Any) -> Cluster:
    """On this machine."""
    words = dict.fromkeys(("ip", "python", "user_bin"), "")
    known: dict[str, Any] = {**words, "cpus": 1.0, "memory_mb": 1024, **node}
    known |= {"gcs_port": 1, "dashboard_port": 1, "agent_port": 1}
    made = Node(id=task, name=task, group="main", rank=0, directory="/", **known)
    return Cluster(site=SiteId(f"{task}.local"), task=TaskId(task), provider=LocalProvider(), nodes=(made,))


def record(task: str, state: JobState = JobState.RUNNING) -> JobRecord:
    return JobRecord(
        id=JobId(f"{task}-1-1"),
        deployment=DEMO,
        task=TaskId(task),
        run=1,
        attempt=1,
        kind=JobKind.RUN,
        state=state,
        submitted=datetime(2026, 1, 2, tzinfo=UTC),
    )


class World:
    """Jobs that end when the script says so. `script`: called with each set of jobs that run and are all followed."""

    def __init__(self, needs: dict[str, tuple[str, ...]], todo: Collection[str] | None = None) -> None:
        self.told: list[str] = []
        self.ends: dict[str, queue.SimpleQueue[JobStatus | BaseException]] = {task: queue.SimpleQueue() for task in needs}
        self.followed = threading.Semaphore(0)
        self.threads: set[int] = set()
        self.refuses: dict[str, BaseException] = {}
        self.most = len(needs)
        self.jobs = FileJobs(
            waiting=[
                JobPlan(task=TaskId(task), action=JobAction.RUN, run=1, detail="")
                for task in needs
                if todo is None or task in todo
            ],
            needs={TaskId(task): tuple(map(TaskId, wanted)) for task, wanted in needs.items()},
            follow=self.follow,
            settle=lambda item, status: dataclasses.replace(item.record, state=status.state),
            has_room=lambda task, running: len(running) < self.most,
        )

    def start(self, job: JobPlan) -> Started:
        if job.task in self.refuses:
            raise self.refuses[job.task]
        self.told.append(f"+{job.task}")
        return Started(cluster=cluster(job.task), record=record(job.task))

    def follow(self, item: Started, gone: threading.Event) -> JobStatus:
        self.threads.add(threading.get_ident())
        self.followed.release()
        found = self.ends[item.record.task].get(timeout=20)
        if isinstance(found, BaseException):
            raise found
        self.told.append(f"-{item.record.task}")
        return found

    def end(self, task: str, state: JobState = JobState.SUCCEEDED) -> None:
        self.ends[task].put(JobStatus(state=state))

    def run(self, script: Callable[[], Iterator[int]]) -> None:
        """`script` is another thread's: it yields how many jobs must have begun to be followed before it goes on."""

        def work() -> None:
            for count in script():
                for _ in range(count):
                    assert self.followed.acquire(timeout=10)

        thread = threading.Thread(target=work)
        self.jobs.start(self.start)
        thread.start()
        try:
            self.jobs.finish(self.start)
        finally:
            thread.join(10)

    @property
    def states(self) -> dict[str, str]:
        return {task: row.state.value for task, row in self.jobs.ended.items()}


def test_as_many_as_needs_allows() -> None:
    world = World(DIAMOND)

    def script() -> Iterator[int]:
        yield 1
        world.end("a")
        yield 2
        assert world.told == ["+a", "-a", "+b", "+c"]
        world.end("c")
        world.end("b")
        yield 1
        world.end("d")

    world.run(script)
    assert world.told[-2:] == ["+d", "-d"] and set(world.states.values()) == {"succeeded"}


def test_a_job_alone_is_followed_by_the_caller_itself() -> None:
    world = World({"a": (), "b": ("a",)})
    world.end("a")
    world.end("b")
    world.run(lambda: iter(()))
    assert world.threads == {threading.get_ident()} and world.told == ["+a", "-a", "+b", "-b"]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.LOST])
def test_a_failure_keeps_back_what_needs_it_and_nothing_else(state: JobState) -> None:
    world = World(SIDE_BY_SIDE)
    world.most = 2

    def script() -> Iterator[int]:
        yield 2
        world.end("a", state)
        # There is room for the third now.
        yield 1
        world.end("b")
        world.end("c")

    world.run(script)
    assert world.states == {"a": state.value, "b": "succeeded", "c": "succeeded"}
    assert [job.task for job in world.jobs.waiting] == ["after-a"]


def test_after_a_cancellation_nothing_more_starts() -> None:
    world = World(SIDE_BY_SIDE)
    world.most = 2

    def script() -> Iterator[int]:
        yield 2
        world.end("a", JobState.CANCELLED)
        while "a" not in world.jobs.ended:
            time.sleep(0.001)
        world.end("b")

    world.run(script)
    assert [job.task for job in world.jobs.waiting] == ["c", "after-a"]


def test_what_cannot_be_started_or_followed_keeps_back_what_needs_it() -> None:
    world = World({"a": (), "b": (), "c": (), "after-a": ("a",), "after-b": ("b",)})
    world.refuses["a"] = SkycError(error("no-cluster", "The task has no nodes"))

    def script() -> Iterator[int]:
        yield 2
        world.ends["b"].put(SkycError(error("no-look", "No look")))
        world.end("c")

    world.run(script)
    assert set(world.jobs.failures) == {"a", "b"} and world.states == {"c": "succeeded"}
    assert [job.task for job in world.jobs.waiting] == ["after-a", "after-b"]


def test_what_has_succeeded_before_keeps_nothing_back() -> None:
    world = World(DIAMOND, todo=["b", "d"])
    world.end("b")
    world.end("d")
    world.run(lambda: iter(()))
    assert world.told == ["+b", "-b", "+d", "-d"]


def test_what_runs_is_followed_while_another_is_started() -> None:
    world = World({"a": (), "b": ()})

    def start(job: JobPlan) -> Started:
        assert job.task == "a" or world.followed.acquire(timeout=10), "its output waits for the second to come up"
        return world.start(job)

    world.jobs.start(start)
    assert world.told == ["+a", "+b"]
    world.end("a")
    world.end("b")
    world.jobs.finish(world.start)
    assert set(world.states) == {"a", "b"}


def test_an_interrupt_leaves_all_of_them_running_and_says_so() -> None:
    world = World(SIDE_BY_SIDE)
    world.most = 2

    def script() -> Iterator[int]:
        yield 2
        world.ends["a"].put(KeyboardInterrupt())

    with pytest.raises(Interrupted) as stopped:
        world.run(script)
    assert stopped.value.detail.startswith("Jobs a-1-1 and b-1-1 go on without you. Not started yet: `c`, `after-a`")
    assert stopped.value.commands == ("skyc logs -f demo a-1-1", "skyc logs -f demo b-1-1", "skyc cancel demo")
    assert world.jobs.ended == {}
    world.ends["b"].put(NobodyListens())


def test_a_bug_in_a_follower_is_not_swallowed() -> None:
    world = World(SIDE_BY_SIDE)

    def script() -> Iterator[int]:
        yield 3
        world.ends["b"].put(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        world.run(script)
    for task in ("a", "c"):
        world.ends[task].put(NobodyListens())


@pytest.mark.parametrize(
    ("tasks", "meet"),
    [("a", False), ("ab", False), ("abd", False), ("bc", True), ("abcd", True), ("", False)],
)
def test_which_may_meet(tasks: str, meet: bool) -> None:
    needs = {TaskId(task): tuple(map(TaskId, wanted)) for task, wanted in DIAMOND.items()}
    assert may_meet(map(TaskId, tasks), needs) is meet


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ({}, {}, True),
        ({"cpus": 3.0}, {"cpus": 1.0}, True),
        ({"cpus": 4.0}, {}, False),
        ({"memory_mb": 7 * 1024}, {"memory_mb": 1025}, False),
        ({"accelerators": FrozenMap({"T4": 1})}, {"accelerators": FrozenMap({"T4": 1})}, True),
        ({"accelerators": FrozenMap({"T4": 2})}, {"accelerators": FrozenMap({"T4": 1})}, False),
        ({}, {"accelerators": FrozenMap({"A100": 1})}, False),
    ],
)
def test_nodes_on_this_machine_share_it(
    first: dict[str, Any], second: dict[str, Any], fits: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from decimal import Decimal

    from skyc.compiler.ir import Accelerator
    from skyc.providers.local.catalog import FREE, Machine, Price, snapshot

    device = Accelerator(name="T4", count=Decimal(2), memory_gb=Decimal(16))
    part = snapshot(
        Machine(cpus=4, memory_gb=Decimal(8), arch="x86_64", accelerators=(device,)), Price(hourly=Decimal(0), source=FREE)
    )
    monkeypatch.setattr(LocalProvider, "catalog", lambda self, *, home: part)
    monkeypatch.setattr(room, "cluster_of", lambda session, deployment, task: cluster(task, **second))
    session = type("Home", (), {"home": tmp_path})()
    running = [Started(cluster=cluster("a", **first), record=record("a"))]
    assert room.has_room(session, DEMO, TaskId("b"), running) is fits
    assert room.has_room(session, DEMO, TaskId("b"), []) is True
