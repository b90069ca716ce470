"""What a command costs before it does anything: start, import, compile, plan. No node is started."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from .child import SKYC, Done, Scratch, run, skyc
from .figures import Figure, NotMeasured

TASK = """\
name: bench
resources:
  cpus: 1+
hours: 0.01
envs:
  TURN: "0"
run: echo "turn $TURN"
"""


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Raises NotMeasured when a command fails."""
    many, few = (5, 2) if quick else (15, 5)
    task = str(scratch.task("bench", TASK))
    warm_up(scratch, task)
    yield _timed("Python alone, whole process", scratch, (sys.executable, "-c", "pass"), many)
    yield _timed("`import skyc`, whole process", scratch, (sys.executable, "-c", "import skyc"), many)
    helped = [run(scratch, (*SKYC, "--help")) for _ in range(many)]
    for measure, samples in (
        ("whole process", [done.seconds for done in helped]),
        ("processor time", [done.cpu for done in helped]),
    ):
        yield Figure(what=f"`skyc --help`, {measure}", unit="s", samples=tuple(samples), budget=0.2, peer="2.0 s")

    cold: list[Done] = []
    unchanged: list[Done] = []
    for turn in range(few):
        home = scratch.home(f"c{turn}")
        for into in (cold, unchanged):
            into.append(skyc(scratch, "plan", task, "--emit", "synth", "--timings", home=home))
    yield Figure(
        what="compile (lower + synth), cold",
        unit="s",
        samples=tuple(map(_compile_seconds, cold)),
        budget=1.2,
        peer="– (cdktn with prebuilt bindings: 5–8 s)",
    )
    yield Figure(
        what="compile (lower + synth), unchanged", unit="s", samples=tuple(map(_compile_seconds, unchanged)), budget=0.1
    )
    for state, runs in (("cold", cold), ("unchanged", unchanged)):
        yield _whole(f"`plan --emit synth` {state}, whole process", runs)
        yield Figure(what=f"`plan --emit synth` {state}, processor time", unit="s", samples=tuple(done.cpu for done in runs))

    first = [skyc(scratch, "plan", task, home=scratch.home(f"p{turn}")) for turn in range(few)]
    again = [skyc(scratch, "plan", task, home=scratch.home("p0")) for _ in range(few)]
    yield _whole("`plan` in a new home, whole process", first)
    yield _whole("`plan` again, whole process", again)
    yield _peak("peak memory of `plan`", first)
    yield Figure(
        what="peak memory of the largest program `plan` runs (Node, Terraform)",
        unit="MB",
        samples=tuple(done.child_peak_mb for done in first),
    )


def warm_up(scratch: Scratch, task: str) -> None:
    """Compile all bytecode the figures touch, once."""
    run(scratch, (sys.executable, "-c", "import skyc"))
    run(scratch, (*SKYC, "--help"))
    skyc(scratch, "plan", task, home=scratch.home("warm"))


def _timed(
    what: str, scratch: Scratch, argv: tuple[str, ...], count: int, *, budget: float | None = None, peer: str = "–"
) -> Figure:
    samples = tuple(run(scratch, argv).seconds for _ in range(count))
    return Figure(what=what, unit="s", samples=samples, budget=budget, peer=peer)


def _whole(what: str, runs: list[Done]) -> Figure:
    return Figure(what=what, unit="s", samples=tuple(done.seconds for done in runs))


def _peak(what: str, runs: list[Done]) -> Figure:
    return Figure(what=what, unit="MB", samples=tuple(done.peak_mb for done in runs))


def _compile_seconds(done: Done) -> float:
    """The lower and synth stages, from what `--timings` says."""
    found = dict(re.findall(r"^(lower|synth) +([\d.]+) ms$", done.stderr, re.M))
    if set(found) != {"lower", "synth"}:
        raise NotMeasured("`--timings` did not name both stages")
    return sum(float(value) for value in found.values()) / 1000
