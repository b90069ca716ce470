"""Drift: what differs between the world and what was applied, as rows a person can decide about.

`rows` classifies (pure, total), `report` prints. What is read from the world, and what is done about it, is `runtime/drift*.py`.
"""

from .report import render_markdown, render_text
from .rows import AppliedResource, extra_row, node_row, order, resource_rows, suppressed, undone_rows

__all__ = [
    "AppliedResource",
    "extra_row",
    "node_row",
    "order",
    "render_markdown",
    "render_text",
    "resource_rows",
    "suppressed",
    "undone_rows",
]
