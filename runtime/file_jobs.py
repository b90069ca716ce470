"""The jobs of a file: as many at once as `needs` and the machines allow.

Contract
- A job starts when all that its task needs has succeeded. One that does not succeed, or cannot be started, keeps back what needs it and
  nothing else. After one that somebody cancelled nothing more starts.
- Jobs are started, and their ends are written down, in the caller's thread, one after the other. Only following is done side by side: it
  reads a head and tells what it prints. A job that runs alone is followed in the caller's thread too.
- An interrupt leaves the jobs alone: they go on, and the same command takes all of it up again.
- What a job is (a cluster, an id, a lock) is the caller's: it comes in as functions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from ..compiler.diagnostics import SkycError
from ..compiler.ir import DeploymentId, JobPlan, TaskId
from .clusters import Cluster
from .job import JobId, JobState, JobStatus
from .records import JobRecord
from .results import Interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A job that is on its nodes."""

    cluster: Cluster
    record: JobRecord


MOST_AT_ONCE = 200
"""Each has a thread here and a connection to its head."""
Start = Callable[[JobPlan], Started]
News = tuple[TaskId, JobStatus | BaseException]


def may_meet(tasks: Iterable[TaskId], needs: Mapping[TaskId, Sequence[TaskId]]) -> bool:
    """Whether two of these tasks could be at work at the same time. `tasks` and `needs` are in an order in which each comes after what it
    needs."""
    above: dict[TaskId, frozenset[TaskId]] = {}
    for task, wanted in needs.items():
        above[task] = frozenset(wanted).union(*(above[need] for need in wanted))
    earlier: set[TaskId] = set()
    for task in tasks:
        if not earlier <= above[task]:
            return True
        earlier.add(task)
    return False


def go_on(deployment: DeploymentId, ids: Sequence[JobId], waiting: Iterable[TaskId] = ()) -> Interrupted:
    """What to say to somebody who has left jobs to themselves."""
    said = f"Job {ids[0]} goes on without you." if len(ids) == 1 else f"Jobs {' and '.join(ids)} go on without you."
    left = ", ".join(f"`{task}`" for task in waiting)
    if left:
        said += f" Not started yet: {left}; the same command goes on from there."
    logs = [f"skyc logs -f {deployment}"] if len(ids) == 1 else [f"skyc logs -f {deployment} {job}" for job in ids]
    return Interrupted(said, *logs, f"skyc cancel {deployment}")


class NobodyListens(Exception):
    """Ends a follower whose caller has gone."""


@dataclass(kw_only=True)
class FileJobs:
    """`waiting`: jobs to be done, in an order in which each comes after what it needs. `needs`: of every task. `follow`: tells a job's
    output until it is over; it may be called in a thread, and ends with NobodyListens, soon after the event is set. `settle`: writes down
    an end. `has_room`: whether a task's machines have room for it beside what runs."""

    waiting: list[JobPlan]
    needs: Mapping[TaskId, Sequence[TaskId]]
    follow: Callable[[Started, threading.Event], JobStatus]
    settle: Callable[[Started, JobStatus], JobRecord]
    has_room: Callable[[TaskId, Collection[Started]], bool]
    running: dict[TaskId, Started] = field(default_factory=dict)
    ended: dict[TaskId, JobRecord] = field(default_factory=dict)
    failures: dict[TaskId, SkycError] = field(default_factory=dict)
    """Jobs that could not be started, or followed to their end."""
    _news: SimpleQueue[News] = field(default_factory=SimpleQueue)
    _followed: set[TaskId] = field(default_factory=set)
    _gone: threading.Event = field(default_factory=threading.Event)

    @property
    def records(self) -> tuple[JobRecord, ...]:
        """What was started, in the file's order."""
        found = self.ended | {task: item.record for task, item in self.running.items()}
        return tuple(found[task] for task in self.needs if task in found)

    @property
    def left(self) -> tuple[TaskId, ...]:
        """Tasks that were not started."""
        return tuple(job.task for job in self.waiting)

    def start(self, start: Start, *, watching: bool = True) -> None:
        """Start what can be started now. `watching`: what runs is followed meanwhile, since a start can take minutes. Raises
        Interrupted."""
        for job in tuple(self.waiting):
            if not self._may_start(job.task):
                continue
            if watching:
                self._watch()
            self.waiting.remove(job)
            try:
                self.running[job.task] = start(job)
            except SkycError as failure:
                self.failures[job.task] = failure
            except BaseException:
                self._gone.set()
                raise

    def _may_start(self, task: TaskId) -> bool:
        if any(record.state is JobState.CANCELLED for record in self.ended.values()):
            return False
        # What is no job of this apply has succeeded before.
        unfinished = {job.task for job in self.waiting} | self.running.keys() | self.failures.keys()
        unfinished |= {ended for ended, record in self.ended.items() if record.state is not JobState.SUCCEEDED}
        if not unfinished.isdisjoint(self.needs[task]):
            return False
        beside = self.running.values()
        return not beside or (len(beside) < MOST_AT_ONCE and self.has_room(task, beside))

    def finish(self, start: Start) -> None:
        """Follow what runs to its end, and start and follow what can be started then. Raises Interrupted."""
        try:
            while self.running:
                task, found = self._next_end()
                if isinstance(found, SkycError):
                    self.failures[task] = found
                elif isinstance(found, BaseException):
                    raise found
                else:
                    self.ended[task] = self.settle(self.running[task], found)
                del self.running[task]
                self.start(start)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise self._interrupted() from None
        finally:
            self._gone.set()

    def _next_end(self) -> News:
        if len(self.running) == 1:
            (task,) = self.running
            if task not in self._followed:
                # Nothing can begin before it ends.
                return task, self._end_of(task)
        self._watch()
        return self._news.get()

    def _watch(self) -> None:
        """Have everything that runs followed."""
        for task in self.running.keys() - self._followed:
            self._followed.add(task)
            threading.Thread(target=self._tell_end, args=(self.running[task],), daemon=True, name=f"follow-{task}").start()

    def _end_of(self, task: TaskId) -> JobStatus | BaseException:
        try:
            return self.follow(self.running[task], self._gone)
        except SkycError as failure:
            return failure

    def _tell_end(self, item: Started) -> None:
        task = item.record.task
        try:
            self._news.put((task, self.follow(item, self._gone)))
        except BaseException as failure:
            self._news.put((task, failure))

    def _interrupted(self) -> KeyboardInterrupt:
        records = [item.record for item in self.running.values()]
        if not records:
            return KeyboardInterrupt()
        return go_on(records[0].deployment, [record.id for record in records], self.left)
