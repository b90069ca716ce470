"""What it costs to choose: from a task file to a proven placement on the whole shipped catalog, through the real command.

Every figure is of fresh processes in a new home, bytecode warm. A plan that is not `status: optimal` is no figure. Beside the time on
the clock stands the processor time, which other work on the machine changes less; SkyPilot's figures are processor seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import skyc
from skyc.compiler.failover import Refused, next_placement
from skyc.compiler.ir import PlacementPlan

from . import tasks
from .child import Done, Scratch
from .child import skyc as skyc_command
from .figures import Figure, NotMeasured

SEED = 1
SEEDS = (1, 2, 3, 4, 5)
OPTIMAL = "    status: optimal"
"""The line of a printed plan that says the choice is proven best."""
TURNS = 200

_homes = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A task file with its budget in seconds, and what SkyPilot needs for the same."""

    what: str
    text: str
    budget: float
    peer: str


ONE = Case(what="`A100:8` to a placement", text=tasks.one("A100:8"), budget=0.6, peer="1.9 s import + 1.8 CPU s")
CHAIN = Case(
    what=f"chain of 10 tasks, 50 GB edges (seed {SEED})", text=tasks.chain(10, 50, SEED), budget=0.8, peer="15.6 CPU s"
)
MANY = Case(
    what=f"1,000 independent tasks (seed {SEED})",
    text=tasks.independent(1000, SEED),
    budget=3.0,
    peer="≈ 1,930 CPU s (extrapolated from 30)",
)
DIFFERENT = Case(
    what="1,000 independent tasks, no two asking for the same", text=tasks.all_different(1000), budget=3.0, peer=MANY.peer
)


DEADLINES = {1: "2430m", 2: "2082m", 4: "1698m"}
"""Seed → half way between the soonest that everything can end and when the cheapest plan does."""


def figures(scratch: Scratch, *, quick: bool) -> Iterator[Figure]:
    """Raises NotMeasured when a command fails or its plan is not proven optimal."""
    turns = 3 if quick else 7
    # Compiles the bytecode of everything an optimization touches, the solver's included.
    placed(scratch, ONE.text)
    placed(scratch, _layered(SEED).text)
    for case, times in ((ONE, turns * 2), (CHAIN, turns)):
        yield from _rows(case, [placed(scratch, case.text) for _ in range(times)])
    seeds = SEEDS[: 3 if quick else None]
    runs = {seed: [placed(scratch, _layered(seed).text) for _ in range(turns)] for seed in seeds}
    worst = max(seeds, key=lambda seed: sorted(done.cpu for done in runs[seed])[turns // 2])
    yield from _rows(_layered(worst, f", worst of {len(seeds)} seeds"), runs[worst])
    for seed, deadline in DEADLINES.items():
        case = Case(
            what=f"layered graph, 50 tasks, 90 edges, machines to choose from, binding deadline (seed {seed})",
            text=tasks.choosing(50, 90, seed, deadline),
            budget=10.0,
            peer="not solved",
        )
        yield from _rows(case, [placed(scratch, case.text) for _ in range(turns)])
    for case in (MANY, DIFFERENT):
        yield from _rows(case, [placed(scratch, case.text) for _ in range(2 if quick else 5)])
    for case in (ONE, MANY):
        yield _failover(case, scratch)


def _layered(seed: int, note: str = "") -> Case:
    what = f"layered graph, 50 tasks, 90 edges (seed {seed}{note})"
    return Case(what=what, text=tasks.layered(50, 90, seed), budget=2.0, peer="not solved")


def placed(scratch: Scratch, text: str, home: Path | None = None) -> Done:
    """One run of the command, in a new home without one. Raises NotMeasured when it fails or does not print a proven plan."""
    home = home or scratch.home(f"o{next(_homes)}")
    task = str(scratch.task("optimize", text))
    return skyc_command(scratch, "plan", task, "--emit", "optimize", home=home, awaited=OPTIMAL)


def _rows(case: Case, runs: list[Done]) -> Iterator[Figure]:
    yield Figure(
        what=f"{case.what}, whole process",
        unit="s",
        samples=tuple(done.seconds for done in runs),
        budget=case.budget,
        peer=case.peer,
    )
    yield Figure(
        what=f"{case.what}, processor time",
        unit="s",
        samples=tuple(done.cpu for done in runs),
        budget=case.budget,
        peer=case.peer,
    )
    yield Figure(what=f"{case.what}, peak memory", unit="MB", samples=tuple(done.peak_mb for done in runs))


def _failover(case: Case, scratch: Scratch) -> Figure:
    """The next placement of the plan's last group, again and again until none is left: the longest of these calls."""
    plan = _plan(case, scratch)
    chosen = plan.placements[-1]
    longest = []
    for _ in range(TURNS):
        failed: tuple[Refused, ...] = (Refused(placement=chosen),)
        most = 0.0
        while True:
            started = time.perf_counter()
            found = next_placement(plan, chosen.task, chosen.group, failed)
            most = max(most, time.perf_counter() - started)
            if found is None:
                break
            failed = (*failed, Refused(placement=found))
        longest.append(most * 1000)
    what = f"next placement after a failed attempt, {case.what}"
    return Figure(what=what, unit="ms", samples=tuple(longest), budget=10.0, peer="3 CPU s, growing")


def _plan(case: Case, scratch: Scratch) -> PlacementPlan:
    made = skyc.plan(scratch.task("failover", case.text), emit="optimize", home=scratch.home("failover"))
    if made.placement is None or made.placement.status != "optimal":
        raise NotMeasured("the plan to fall back in is not proven optimal")
    return made.placement
