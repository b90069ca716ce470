"""What it takes to make nodes, run a job on them, lose them and remove them: real Terraform, real Ray, on this machine.

Whatever is started is destroyed again, also after a failure. Where that does not succeed, the home is kept, since its records
are what finds the processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from skyc.providers.local import processes
from skyc.providers.local.record import NodeRecord, load

from .child import SKYC, Done, Scratch, await_line, run, skyc, started
from .figures import Figure, NotMeasured
from .startup import TASK

DEPLOYMENT = "bench"
SCRATCH_PREFIX = "bench-skyc-"

RESUMING = """\
name: bench
resources:
  cpus: 1+
hours: 0.01
checkpoint:
  path: ckpt
  every: 1m
  keep: 2
run: |
  python - <<'END'
  import os, time
  from pathlib import Path
  import skyc
  saved = Path(os.environ["SKYC_CHECKPOINT_DIR"]) / "step"
  if saved.exists():
      print("resumed after step", saved.read_text(), flush=True)
  else:
      saved.write_text("1")
      skyc.checkpoint(step=1)
      print("saved", flush=True)
      time.sleep(3600)
  END
"""


class LeftBehind(Exception):
    """Something the benchmark started could not be removed; the text says what to do."""


@dataclass(slots=True)
class Seen:
    """The commands of one kind, as they went."""

    cold: list[Done] = field(default_factory=list)
    changed: list[Done] = field(default_factory=list)
    planned: list[Done] = field(default_factory=list)
    destroyed: list[Done] = field(default_factory=list)
    resumed: list[Done] = field(default_factory=list)


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Raises NotMeasured when a command fails, LeftBehind when what was started cannot be removed."""
    colds, changes, losses = (1, 2, 1) if quick else (3, 5, 3)
    seen = Seen()
    task = str(scratch.task("bench", TASK))
    # One that does not count: it fills uv's package cache, which is warm by definition of the figure.
    _one_life(scratch, task, "h0", Seen(), 0)
    for turn in range(colds):
        _one_life(scratch, task, f"h{turn + 1}", seen, changes if turn == 0 else 0)
    yield _first_output("`apply` to the first job output, new home", seen.cold, 15.0)
    yield _whole("`apply` in a new home, whole process", seen.cold)
    yield _first_output("`apply` of a changed task to the first job output, cluster up", seen.changed, 4.0)
    yield _whole("`apply` of a changed task, whole process", seen.changed)
    yield _whole("`plan` with the cluster up, whole process", seen.planned)
    yield _whole("`destroy`, whole process", seen.destroyed)
    yield Figure(what="peak memory of `apply`", unit="MB", samples=tuple(done.peak_mb for done in seen.cold))
    yield Figure(
        what="peak memory of the largest program `apply` runs (Node, Terraform, uv)",
        unit="MB",
        samples=tuple(done.child_peak_mb for done in seen.cold),
    )
    resuming = str(scratch.task("resuming", RESUMING))
    for turn in range(losses):
        _lose_and_resume(scratch, resuming, f"r{turn}", seen)
    yield _first_output("`apply` after the node was killed, to the resumed job's output", seen.resumed, None)


def _one_life(scratch: Scratch, task: str, name: str, seen: Seen, changes: int) -> None:
    """A cold apply, changed tasks on the same nodes, and the end."""
    home = scratch.home(name)
    with _removed_at_the_end(scratch, home):
        seen.cold.append(skyc(scratch, "apply", task, "-y", home=home, awaited="turn 0"))
        for turn in range(1, changes + 1):
            wanted = f"TURN={turn}"
            seen.planned.append(skyc(scratch, "plan", task, "--env", wanted, home=home))
            seen.changed.append(skyc(scratch, "apply", task, "-y", "--env", wanted, home=home, awaited=f"turn {turn}"))
        seen.destroyed.append(skyc(scratch, "destroy", DEPLOYMENT, "-y", home=home))


def _lose_and_resume(scratch: Scratch, task: str, name: str, seen: Seen) -> None:
    """Kill every process of the node once the job has a checkpoint that counts; then apply again."""
    home = scratch.home(name)
    with _removed_at_the_end(scratch, home):
        with started(scratch, (*SKYC, "apply", task, "-y"), home=home) as (process, log):
            await_line(process, log, "saved")
            _kill_nodes(home)
            # Its own end: it sees the node go. The next apply must not wait for its lock.
            for _ in process.stdout or ():
                pass
        seen.resumed.append(skyc(scratch, "apply", task, "-y", home=home, awaited="resumed after step 1"))


def _kill_nodes(home: Path) -> None:
    """SIGKILL to everything of every node of this home, the supervisor first, so that nothing can tidy up after itself."""
    for record in _records(home):
        found = sorted(processes.find(record), key=lambda process: process.pid != record.supervisor_pid)
        for process in found:
            if processes.alive(process):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


def _records(home: Path) -> Iterator[NodeRecord]:
    for file in sorted(home.glob("deployments/*/nodes/*/node.json")):
        record = load(file.parent)
        if record is not None and record.home == str(home):
            yield record


@contextlib.contextmanager
def _removed_at_the_end(scratch: Scratch, home: Path) -> Iterator[None]:
    try:
        yield
    finally:
        _remove(scratch, home)


def _remove(scratch: Scratch, home: Path) -> None:
    """Destroy the deployment if it is there, then make sure that nothing of it runs. Raises LeftBehind."""
    if not (home / "deployments" / DEPLOYMENT).exists():
        return
    problem = ""
    try:
        run(scratch, (*SKYC, "destroy", DEPLOYMENT, "-y", "--purge"), home=home)
    except NotMeasured as failure:
        problem = f"{failure}"
    running = sum(len(processes.find(record)) for record in _records(home))
    if problem or running:
        raise LeftBehind(
            f"{running} processes of {home} are left. {problem}\n\n    SKYC_HOME={home} skyc destroy {DEPLOYMENT} -y --purge"
        )


def _first_output(what: str, runs: list[Done], budget: float | None) -> Figure:
    samples = tuple(done.first_line for done in runs if done.first_line is not None)
    return Figure(what=what, unit="s", samples=samples, budget=budget)


def _whole(what: str, runs: list[Done]) -> Figure:
    return Figure(what=what, unit="s", samples=tuple(done.seconds for done in runs))


def remove_scratch(scratch: Scratch) -> str:
    """Remove the benchmark's directory unless something of it still runs; then say what, in a sentence. Empty: it is gone."""
    running = sum(len(processes.find(record)) for home in scratch.root.iterdir() for record in _records(home))
    if running:
        return f"{running} processes of the nodes below {scratch.root} still run, so it is kept."
    if not scratch.root.is_absolute() or scratch.root.is_symlink() or not scratch.root.name.startswith(SCRATCH_PREFIX):
        return f"{scratch.root} is not a directory the benchmark made, so it is kept."
    shutil.rmtree(scratch.root)
    return ""
