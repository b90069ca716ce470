"""A measured figure: its samples, its budget, and what the nearest other tool needs for the same."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


class NotMeasured(Exception):
    """A figure could not be taken; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`samples` are in `unit`, one per repetition; empty when `failure` says why there are none.

    budget: the most the median may be, in the same unit; None when the design sets none.
    peer: the other tool's figure as text, `–` where none is known.
    """

    what: str
    unit: str
    samples: tuple[float, ...] = ()
    budget: float | None = None
    peer: str = "–"
    failure: str = ""

    @property
    def median(self) -> float:
        """Raises StatisticsError without samples."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> str:
        """`met` or `missed`, and nothing where there is no budget or no sample."""
        if self.budget is None or not self.samples:
            return ""
        return "met" if self.median <= self.budget else "**missed**"

    def measured(self) -> str:
        """The median, the range, and how many samples they are of."""
        if not self.samples:
            return f"not measured: {self.failure}"
        count = len(self.samples)
        if count == 1:
            return f"{self.number(self.median)} {self.unit} (n=1)"
        low, high = self.number(min(self.samples)), self.number(max(self.samples))
        return f"{self.number(self.median)} {self.unit} ({low}–{high}, n={count})"

    def number(self, value: float) -> str:
        """Three significant digits; more would be noise."""
        digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
        return f"{value:.{digits}f}"
