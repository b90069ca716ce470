"""Markdown of a plan for a pull request: never larger than a comment may be."""

from __future__ import annotations

from .compose import compose
from .markdown import render_markdown
from .model import Report
from .sized import COMMENT_BYTES, fitting


def comment(report: Report, *, budget: int = COMMENT_BYTES) -> str:
    """Markdown of one plan, cut to the budget."""
    return fitting((report,), lambda limits: render_markdown(compose(report, limits)), budget)
