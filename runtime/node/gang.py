"""The driver of a job: runs on the head under Ray's Jobs API as `python -m skyc.runtime.node.gang JOB_DIR`.

It places one actor per node through a placement group (all or none), takes the gang through the stages of
`worker.STAGES` with a barrier after each, joins the ranks' output into `output.log` and its own stdout, and writes
`result.json`, last. Invariants:

- `run` starts on every rank or on none; when one rank fails, all others are stopped, and that rank's code is the job's;
- a gang that cannot be placed fails after `place_timeout` seconds and names the node and the label or resource it misses;
- a rank whose node dies fails the job; nothing waits for it;
- SIGTERM or a `cancel` file stops every rank and ends as `cancelled`.

Nothing here holds a value of the user's variables. This is the only code on nodes that imports ray.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..job import NODE_LABEL, JobFile, JobNode, JobState, JobStatus, decode_job, encode_status
from .files import write_atomically
from .output import Interleaver
from .worker import Event, Output, StageEnded

POLL = 5.0
"""Seconds one request for events may wait on the node."""

UNREACHABLE = 30.0
"""Seconds a rank may be unreachable before it counts as lost. A dead node is known at once; this is for a broken network."""


class Unplaceable(Exception):
    """The gang cannot be placed; the message says what is missing where."""


class Cancelled(Exception):
    pass


class RankActor:
    """What Ray runs on each node. Pickled by value, so it must reach skyc's code through the node's own bundle."""

    def __init__(self, bundle: str, job_dir: str, rank: int) -> None:
        import os
        import sys

        import ray

        sys.path.insert(0, bundle)
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        from skyc.runtime.node.worker import RankRunner

        self.runner = RankRunner(job_dir, rank)

    def ready(self) -> None:
        """Answers once the runner stands."""

    def begin(self, stage: str, success: bool, at_most: int | None) -> None:
        self.runner.begin(stage, success=success, at_most=at_most)

    def next_events(self, acknowledged: int, wait: float) -> Any:
        return self.runner.next_events(acknowledged, wait)

    def stop(self) -> None:
        self.runner.stop()


@dataclass(slots=True)
class Rank:
    """The driver's view of one rank."""

    node: JobNode
    actor: Any
    acknowledged: int = 0
    stage: str = ""
    """The stage it is in; empty between stages."""
    ended: dict[str, StageEnded] = field(default_factory=dict)
    unreachable_since: float | None = None
    lost: str = ""

    @property
    def title(self) -> str:
        return f"rank {self.node.rank} ({self.node.name})"


class Driver:
    def __init__(self, job_dir: Path) -> None:
        self.dir = job_dir
        self.job: JobFile = decode_job((job_dir / "job.json").read_bytes())
        self.started = datetime.now(UTC)
        self.cancelled = False
        self.interleaver = Interleaver(len(self.job.nodes))
        self.log = os.open(job_dir / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.ranks: list[Rank] = []
        self.polls: dict[Any, Rank] = {}
        self.failed: tuple[Rank, str, int | None] | None = None
        """The first failure: the rank, a sentence, its exit code."""

    # --- bookkeeping

    def phase(self, state: JobState) -> None:
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
        facts = {"pid": os.getpid(), "start_ticks": ticks, "phase": state.value, "started": self.started.timestamp()}
        write_atomically(self.dir / "driver.json", json.dumps(facts).encode())

    def write(self, text: str) -> None:
        data = text.encode(errors="replace")
        for target in (self.log, 1):
            with contextlib.suppress(OSError):  # a full disk loses log lines, not the job
                view = memoryview(data)
                while view:
                    view = view[os.write(target, view) :]

    def note(self, sentence: str) -> None:
        self.write(self.interleaver.finish() + f"skyc: {sentence}\n")

    def check_cancelled(self) -> None:
        if self.cancelled or (self.dir / "cancel").exists():
            raise Cancelled

    # --- placing

    def place(self) -> Any:
        """A placement group with one bundle per node, ready. Raises Unplaceable."""
        from ray.util import placement_group

        deadline = time.monotonic() + self.job.request.place_timeout
        while missing := self.missing():
            self.check_cancelled()
            if time.monotonic() > deadline:
                raise Unplaceable(" ".join(missing))
            time.sleep(0.1)
        # The node's own resource, which every Ray node has: the gang must not take CPUs or GPUs from the Ray tasks that the
        # user's program may start on this cluster.
        live = {node["Labels"].get(NODE_LABEL): node for node in _ray_nodes() if node["Alive"]}
        bundles = [{f"node:{live[node.name]['NodeManagerAddress']}": 0.001} for node in self.job.nodes]
        selectors = [{NODE_LABEL: node.name} for node in self.job.nodes]
        group = placement_group(bundles, strategy="STRICT_SPREAD", bundle_label_selector=selectors)
        while not group.wait(timeout_seconds=0.5):
            self.check_cancelled()
            if time.monotonic() > deadline:
                raise Unplaceable(" ".join(self.missing()) or "Ray could not reserve a place on every node at the same time.")
        return group

    def missing(self) -> list[str]:
        """One sentence per node that Ray does not have, or has with less than the plan promised."""
        live = [node for node in _ray_nodes() if node["Alive"]]
        sentences = []
        for wanted in self.job.nodes:
            found = next((node for node in live if node["Labels"].get(NODE_LABEL) == wanted.name), None)
            if found is None:
                seen = ", ".join(sorted(str(node["Labels"].get(NODE_LABEL, "(none)")) for node in live))
                sentences.append(
                    f"Node {wanted.name}: no live Ray node carries the label {NODE_LABEL}={wanted.name}"
                    f" (live: {seen or 'none'})."
                )
            elif found["Resources"].get("GPU", 0) < wanted.gpus:
                has = found["Resources"].get("GPU", 0)
                sentences.append(f"Node {wanted.name}: needs resource GPU {wanted.gpus}, Ray has {has:g} there.")
        return sentences

    def start_actors(self, group: Any) -> None:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        remote = ray.remote(RankActor)
        for index, node in enumerate(self.job.nodes):
            actor = remote.options(
                num_cpus=0,
                max_concurrency=4,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
            ).remote(node.bundle, f"{node.directory}/jobs/{self.job.request.id}", node.rank)
            self.ranks.append(Rank(node, actor))
        waiting = {rank.actor.ready.remote(): rank for rank in self.ranks}
        deadline = time.monotonic() + max(60, self.job.request.place_timeout)
        while waiting:
            self.check_cancelled()
            done, _ = ray.wait(list(waiting), timeout=0.5)
            for reference in done:
                rank = waiting.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    raise Unplaceable(f"The job could not start on {rank.title}: {_cause(error)}") from error
            if time.monotonic() > deadline:
                names = ", ".join(rank.title for rank in waiting.values())
                raise Unplaceable(f"Ray did not start the job's process on {names} in time.")

    # --- the stages

    def stage(self, name: str, *, success: bool = False, at_most: int | None = None) -> None:
        """Take every rank that is not lost through one stage. Before `finish`, the first failure stops all ranks; raises
        Cancelled. Returns when each has ended it or is lost."""
        for rank in self.ranks:
            if not rank.lost:
                rank.stage = name
                rank.actor.begin.remote(name, success, at_most)
        while any(rank.stage for rank in self.ranks):
            if name != "finish":
                self.check_cancelled()
            self.step()

    def align(self) -> None:
        """When damage made ranks go back to different checkpoints, take all of them back to the oldest of these, so that they
        go on from the same step."""
        while not self.failed:
            found = {rank.ended["restore"].generation for rank in self.ranks}
            if len(found) == 1 or 0 in found:
                return
            self.note(f"The ranks found different checkpoints ({sorted(found)}); all go back to {min(found)}.")
            self.stage("restore", at_most=min(found))

    def step(self) -> None:
        """Wait a little for events of any rank and act on them."""
        import ray

        asked = {id(rank) for rank in self.polls.values()}
        for rank in self.ranks:
            if not rank.lost and id(rank) not in asked:
                self.polls[rank.actor.next_events.remote(rank.acknowledged, POLL)] = rank
        if not self.polls:
            return
        done, _ = ray.wait(list(self.polls), timeout=0.25)
        if not done:
            self.write(self.interleaver.idle())
        for reference in done:
            rank = self.polls.pop(reference)
            try:
                rank.acknowledged, events = ray.get(reference)
                rank.unreachable_since = None
            except ray.exceptions.ActorUnavailableError:
                self.unreachable(rank)
            except ray.exceptions.RayError as error:
                self.lose(rank, _cause(error))
            else:
                for event in events:
                    self.handle(rank, event)

    def handle(self, rank: Rank, event: Event) -> None:
        if isinstance(event, Output):
            self.write(self.interleaver.add(rank.node.rank, event.text))
            return
        rank.stage = ""
        rank.ended[event.stage] = event
        if event.stage == "finish":
            return
        if event.code == 0:
            if event.detail:
                self.note(f"{rank.title}: {event.stage}: {event.detail}")
        elif event.detail:  # skyc's own part of the stage failed, not the user's program
            self.fail(rank, f"{event.stage} failed on {rank.title}: {event.detail}", None)
        elif event.stage == "setup":
            self.fail(rank, f"setup failed on {rank.title} with exit code {event.code}; run was not started.", event.code)
        else:
            self.fail(rank, f"{rank.title} exited with code {event.code}.", event.code)

    def unreachable(self, rank: Rank) -> None:
        now = time.monotonic()
        rank.unreachable_since = rank.unreachable_since or now
        if now - rank.unreachable_since > UNREACHABLE or self.node_dead(rank):
            self.lose(rank, "its node or its Ray process died or cannot be reached")
        else:
            time.sleep(0.1)

    def node_dead(self, rank: Rank) -> bool:
        """Ray needs up to 15 s to declare a node dead; a raylet whose port refuses connections is dead now."""
        rows = [row for row in _ray_nodes() if row["Alive"] and row["Labels"].get(NODE_LABEL) == rank.node.name]
        if not rows:
            return True
        try:
            socket.create_connection((rows[0]["NodeManagerAddress"], rows[0]["NodeManagerPort"]), 2).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            pass  # a broken network proves nothing
        return False

    def lose(self, rank: Rank, why: str) -> None:
        rank.lost, rank.stage = why, ""
        self.fail(rank, f"{rank.title} was lost: {why}.", None)

    def fail(self, rank: Rank, sentence: str, code: int | None) -> None:
        """Note the first failure and stop every rank."""
        if self.failed is not None:
            return
        self.failed = (rank, sentence, code)
        others = any(other is not rank and not other.lost for other in self.ranks)
        self.note(sentence + (" The other ranks are being stopped." if others else ""))
        self.stop_all()

    def stop_all(self) -> None:
        for rank in self.ranks:
            if not rank.lost:
                rank.actor.stop.remote()

    def run(self) -> JobStatus:
        """The whole job. Every exit leads through `finish`, so that no process and no secret file stays behind."""
        cancelled = False
        try:
            self.check_cancelled()
            self.start_actors(self.place())
            for name, state in (("setup", JobState.SETTING_UP), ("restore", JobState.SETTING_UP), ("run", JobState.RUNNING)):
                self.phase(state)
                self.stage(name)
                if name == "restore":
                    self.align()
                if self.failed:
                    break
        except Unplaceable as error:
            self.note(f"The job could not be placed. {error}")
            self.stop_all()
            return JobStatus(state=JobState.FAILED, reason=f"The job could not be placed. {error}")
        except Cancelled:
            cancelled = True
            self.note("The job was cancelled.")
            self.stop_all()
            for rank in self.ranks:
                rank.stage = ""
        self.stage("finish", success=self.failed is None and not cancelled)
        return self.verdict(cancelled)

    def verdict(self, cancelled: bool) -> JobStatus:
        if cancelled:
            return JobStatus(state=JobState.CANCELLED, reason="The job was cancelled.")
        if self.failed is not None:
            rank, sentence, code = self.failed
            return JobStatus(state=JobState.FAILED, exit_code=code, failed_rank=rank.node.rank, reason=sentence)
        for rank in self.ranks:
            if rank.ended["finish"].code != 0:
                reason = f"run succeeded, but the final checkpoint of {rank.title} is not saved: {rank.ended['finish'].detail}"
                return JobStatus(state=JobState.FAILED, exit_code=0, failed_rank=rank.node.rank, reason=reason)
        return JobStatus(state=JobState.SUCCEEDED, exit_code=0)


def _ray_nodes() -> list[dict[str, Any]]:
    import ray

    rows: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return rows


def _cause(error: Exception) -> str:
    """The part of a Ray error a person can use: its last line that says something."""
    import ray

    if isinstance(error, ray.exceptions.RayActorError) and not isinstance(error, ray.exceptions.ActorUnavailableError):
        text = str(error)
        if "node" in text.lower() and "died" in text.lower():
            return "its node or its Ray process died"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def main(job_dir: str) -> int:
    os.umask(0o077)
    # Ray's own warnings on stderr would land among the job's lines in the dashboard's log.
    os.dup2(os.open(Path(job_dir, "driver.err"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    driver = Driver(Path(job_dir))
    driver.phase(JobState.PENDING)

    def cancel(_number: int, _frame: object) -> None:
        driver.cancelled = True

    signal.signal(signal.SIGTERM, cancel)
    import ray

    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    signal.signal(signal.SIGTERM, cancel)  # ray.init put its own there
    try:
        status = driver.run()
    except Exception as error:
        status = JobStatus(state=JobState.FAILED, reason=f"skyc's driver failed: {type(error).__name__}: {error}")
        driver.note(status.reason)
        import traceback

        traceback.print_exc()
    driver.write(driver.interleaver.finish())
    status = replace(status, started=driver.started, ended=datetime.now(UTC))
    with contextlib.suppress(FileNotFoundError):
        Path(job_dir, "env.json").unlink()
    write_atomically(Path(job_dir, "result.json"), encode_status(status))
    if status.state is JobState.SUCCEEDED:
        return 0
    return 143 if status.state is JobState.CANCELLED else status.exit_code or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
