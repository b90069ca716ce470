"""`python -m tests.bench`: measure, print the table, and keep it in docs/performance.md.

Exit codes: 0 measured, whether or not the budgets are met; 1 something could not be measured or removed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from . import catalog, checkpoint, cluster, curves, failover, growth, optimizer, sites, startup
from .child import Scratch
from .document import END_GROWTH, GROWTH, machine, table, write
from .figures import Figure, NotMeasured

PARTS: dict[str, Callable[..., Iterator[Figure]]] = {
    "startup": startup.figures,
    "catalog": catalog.figures,
    "optimizer": optimizer.figures,
    "failover": failover.figures,
    "sites": sites.figures,
    "checkpoint": checkpoint.figures,
    "cluster": cluster.figures,
}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def main() -> int:
    options = _options()
    if options.growth:
        return _growth(write_it=not options.no_write)
    # A terminated benchmark removes what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, _interrupt)
    load = os.getloadavg()[0]
    figures: list[Figure] = []
    left_behind = ""
    place = Path(tempfile.mkdtemp(prefix=cluster.SCRATCH_PREFIX))
    try:
        for name in options.only or PARTS:
            try:
                for figure in PARTS[name](Scratch(root=place), quick=options.quick):
                    figures.append(figure)
                    print(f"{figure.what}: {figure.measured()} {figure.verdict}".rstrip(), file=sys.stderr, flush=True)
            except NotMeasured as failure:
                figures.append(Figure(what=f"(the rest of {name})", unit="", failure=str(failure)))
    except cluster.LeftBehind as failure:
        left_behind = str(failure)
    finally:
        if not left_behind:
            left_behind = cluster.remove_scratch(Scratch(root=place))
    header = machine(load)
    print(f"{header}\n\n{table(figures)}")
    if left_behind:
        print(f"error: {left_behind}", file=sys.stderr)
        return 1
    if any(figure.failure for figure in figures):
        print("error: something could not be measured; docs/performance.md is as it was", file=sys.stderr)
        return 1
    if not (options.quick or options.only or options.no_write):
        write(DOCUMENT, f"{header}\n\n{table(figures)}")
    return 0


def _growth(*, write_it: bool) -> int:
    """The growth curves: docs/growth.svg, and their table in docs/performance.md."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix=cluster.SCRATCH_PREFIX) as place:
        scratch = Scratch(root=Path(place))
        # Compiles the bytecode.
        optimizer.placed(scratch, optimizer.CHAIN.text)
        measured = []
        for measure in (growth.with_offers, growth.with_tasks):
            points = []
            for point in measure(scratch):
                points.append(point)
                print(f"{point.curve} ×{point.times}: {point.cpu:.2f} s, {point.peak_mb:.0f} MB", file=sys.stderr, flush=True)
            measured.append(points)
    offers, more_tasks = measured
    text = f"{machine(load)}\n\n{growth.table(offers)}\n\n{growth.table(more_tasks)}"
    print(text)
    if write_it:
        write(DOCUMENT, text, begin=GROWTH, end=END_GROWTH)
        DOCUMENT.with_name("growth.svg").write_text(curves.draw(growth.charts(offers, more_tasks)), encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure skyc on this machine.")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; prints only")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), help="one part; prints only")
    parser.add_argument("--growth", action="store_true", help="the growth curves instead, which take some minutes")
    parser.add_argument("--no-write", action="store_true", help="print only")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
