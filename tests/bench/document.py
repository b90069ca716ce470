"""The figures as a table, and their place in docs/performance.md.

Only what stands between the two markers is written; the prose around it belongs to people.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from skyc.compiler.terraform_engine import find_engine

from .figures import Figure

BEGIN = "<!-- figures: written by `make bench` -->"
END = "<!-- end of figures -->"
GROWTH = "<!-- growth: written by `python -m tests.bench --growth` -->"
END_GROWTH = "<!-- end of growth -->"
PEER = "SkyPilot 0.14.1"


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table, one line per figure."""
    rows = [("what", "skyc", "budget", "", PEER)]
    rows += [(each.what, each.measured(), _budget(each), each.verdict, each.peer) for each in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(rows[0]), line(["-" * width for width in widths]), *map(line, rows[1:])])


def _budget(figure: Figure) -> str:
    return "–" if figure.budget is None else f"≤ {figure.budget:g} {figure.unit}"


def machine(load_before: float) -> str:
    """What was measured on, in one sentence. Names no host and no path. `load_before`: the load average at the start."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    environ = {name: value for name, value in os.environ.items() if name != "TF_CLI_CONFIG_FILE"}
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"Ray {version('ray')}, {find_engine(environ.get('SKYC_ENGINE'), environ=environ)}; "
        f"load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after, the measuring itself included."
    )


def write(place: Path, text: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between two markers. Raises ValueError when the file does not have both."""
    old = place.read_text(encoding="utf-8")
    before, first, rest = old.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{place.name} has lost the markers that say where the figures go")
    place.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
