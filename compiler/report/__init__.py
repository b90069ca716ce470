"""report: a plan as a person reads it (terminal, markdown, HTML) and as a program does (JSON).

`build` gathers a `Report`; `compose` lays it out as a `Document`; `render_text`, `render_markdown` and `render_html` write that, and
`render_json` the report itself. `comment` keeps markdown within the size of a comment.
"""

from .build import build
from .comment import comment
from .compose import Limits, compose
from .document import Document
from .environment import environment_of
from .harmless import safe
from .markdown import render_markdown
from .model import Report
from .money import money
from .page import render_html
from .placement import proof_line
from .sized import COMMENT_BYTES
from .text import render_text
from .wire import render_json, schema

__all__ = [
    "COMMENT_BYTES",
    "Document",
    "Limits",
    "Report",
    "build",
    "comment",
    "compose",
    "environment_of",
    "money",
    "proof_line",
    "render_html",
    "render_json",
    "render_markdown",
    "render_text",
    "safe",
    "schema",
]
