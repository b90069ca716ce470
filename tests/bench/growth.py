"""How the optimizer's cost grows: with offers, of which the shipped catalog is given several times over, and with tasks.

Drawn to docs/growth.svg from processor seconds, the least of a few runs, since other work on the machine would bend the curves; the
table beside it says the clock's seconds and the memory, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import larger, tasks
from .child import Done, Scratch
from .curves import Chart, Line
from .optimizer import CHAIN, MANY, ONE, SEED, placed

OFFERS = (1, 3, 10)
TASKS = (1, 2, 4, 10)
ENTANGLED_OFFERS = (1, 3)
"""A table per pair of tasks over pairs of regions: ten times the regions is a hundred times the table, which is more than 9 GB."""
KINDS = ("`A100", "chain", "layered", "")
"""How the names of one kind of graph begin, in the order of their colours."""
RUNS, ENOUGH_SECONDS = 3, 15.0
"""What takes long is not measured again: there, a neighbour's work is a small part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured point. offers, tasks: how many there were."""

    curve: str
    times: int
    offers: int
    tasks: int
    runs: tuple[Done, ...]

    @property
    def cpu(self) -> float:
        return min(done.cpu for done in self.runs)

    @property
    def seconds(self) -> float:
        return min(done.seconds for done in self.runs)

    @property
    def peak_mb(self) -> float:
        return max(done.peak_mb for done in self.runs)


def with_offers(scratch: Scratch) -> Iterator[Point]:
    """Raises NotMeasured when a plan is not proven optimal."""
    cases = (
        ("`A100:8`", ONE.text, 1, OFFERS),
        ("chain of 10", CHAIN.text, 10, OFFERS),
        ("layered of 50", tasks.layered(50, 90, SEED), 50, ENTANGLED_OFFERS),
        ("1,000 independent", MANY.text, 1000, OFFERS),
    )
    for times in OFFERS:
        home = scratch.home(f"x{times}")
        offers = larger.write(home, times)
        for curve, text, count, steps in cases:
            if times in steps:
                yield Point(curve=curve, times=times, offers=offers, tasks=count, runs=_runs(scratch, text, home))


def with_tasks(scratch: Scratch) -> Iterator[Point]:
    """Raises NotMeasured when a plan is not proven optimal."""
    offers = larger.write(scratch.home("x1"), 1)
    for times in TASKS:
        cases = (
            ("chain of 10 … 100", tasks.chain(10 * times, 50, SEED), 10 * times),
            ("layered, 50 … 500", tasks.layered(50 * times, 90 * times, SEED), 50 * times),
            ("independent, 100 … 1,000", tasks.independent(100 * times, SEED), 100 * times),
        )
        for curve, text, count in cases:
            yield Point(curve=curve, times=times, offers=offers, tasks=count, runs=_runs(scratch, text, None))


def _runs(scratch: Scratch, text: str, home: Path | None) -> tuple[Done, ...]:
    runs = [placed(scratch, text, home)]
    while len(runs) < RUNS and sum(done.seconds for done in runs) < ENOUGH_SECONDS:
        runs.append(placed(scratch, text, home))
    return tuple(runs)


def charts(offers: list[Point], more_tasks: list[Point]) -> tuple[Chart, ...]:
    up = "processor seconds, whole process"
    return (
        Chart(title="More offers", across="times the shipped catalog", up=up, lines=_lines(offers)),
        Chart(title="More tasks", across="times as many tasks", up=up, lines=_lines(more_tasks)),
    )


def _lines(points: list[Point]) -> tuple[Line, ...]:
    names = dict.fromkeys(point.curve for point in points)
    return tuple(
        Line(
            name=name.replace("`", ""),
            kind=next(kind for kind, start in enumerate(KINDS) if name.startswith(start)),
            points=tuple((float(point.times), point.cpu) for point in points if point.curve == name),
        )
        for name in names
    )


def table(points: list[Point]) -> str:
    """A Markdown table, one line per point."""
    rows = ["| what | offers | tasks | processor | clock | memory |", "|---|---|---|---|---|---|"]
    names = list(dict.fromkeys(point.curve for point in points))
    for point in sorted(points, key=lambda point: (names.index(point.curve), point.times)):
        rows.append(
            f"| {point.curve} | {point.offers:,} | {point.tasks:,} | {point.cpu:.2f} s | {point.seconds:.2f} s | {point.peak_mb:.0f} MB |"
        )
    return "\n".join(rows)
