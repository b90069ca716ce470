"""report: a plan as a person reads it (terminal, markdown) and as a program does (JSON)."""

from .model import Report, build, money
from .render import render_json, render_markdown, render_text, safe

__all__ = ["Report", "build", "money", "render_json", "render_markdown", "render_text", "safe"]
