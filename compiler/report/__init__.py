"""report: a plan as a person reads it (terminal, markdown) and as a program does (JSON)."""

from .model import Report, build, money, proof_line
from .render import render_json, render_markdown, render_text, safe

__all__ = ["Report", "build", "money", "proof_line", "render_json", "render_markdown", "render_text", "safe"]
