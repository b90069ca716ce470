"""Fitting a report into a comment. Forges refuse a comment above some size, and nobody reads one far below it.

The order in which rows are left out, one kind after the other, is the one of this file: cost lines, resources that are made, resources
that are changed, alternatives (with fallbacks and what was left out), long lists of places and jobs, and last the second mention of what
is destroyed. Destroys and replacements stand in the caution in any case, and nothing takes away policies or errors: a comment that these
alone make larger than the budget is larger. What is left out is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ir import Action
from .changes import GRAVE
from .compose import ALL, Limits
from .model import Report

COMMENT_BYTES = 60_000
"""UTF-8 bytes. GitHub takes 65,536 characters, by other measurements 262,144 bytes; this is safe under each reading."""
_ORDER = ("costs", "creates", "updates", "alternatives", "listed", "repeated")


def fitting(reports: tuple[Report, ...], rendered: Callable[[Limits], str], budget: int = COMMENT_BYTES) -> str:
    """The longest rendering of at most `budget` bytes, or, where even the shortest is longer, that one."""
    text = rendered(ALL)
    limits = ALL
    for name in _ORDER:
        if _size(text) <= budget:
            return text
        most = max((_count(report, name) for report in reports), default=0)
        limits = replace(limits, **{name: 0})
        text = rendered(limits)
        if _size(text) <= budget:
            # There is room for some: the most that fit. A row more is never shorter.
            low, high = 0, most
            while low < high:
                middle = (low + high + 1) // 2
                if _size(rendered(replace(limits, **{name: middle}))) <= budget:
                    low = middle
                else:
                    high = middle - 1
            return rendered(replace(limits, **{name: low})) if low < most else text
    return text


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _count(report: Report, name: str) -> int:
    """The most rows there can be of what `name` limits, in one report."""
    match name:
        case "costs":
            return len(report.costs.rows)
        case "creates":
            return sum(row.change.action is Action.CREATE for row in report.changes)
        case "alternatives":
            return max(len(report.alternatives), len(report.fallbacks))
        case "listed":
            return max(len(report.groups), len(report.moves), len(report.jobs))
        case "repeated":
            return sum(row.change.action in GRAVE for row in report.changes)
        case _:
            return len(report.changes)
