"""A document as one HTML page that needs nothing else: no script, no font, no address of anybody's.

The page is `templates/report/page.html.j2`, which escapes everything by itself; its style stands beside it and inside the page.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from .document import Alert, Command, Diff, Document, Fold, Footer, Line, Numbered, Paragraph, Table

if TYPE_CHECKING:
    from jinja2 import Template

_KINDS: dict[str, type] = {
    "paragraph": Paragraph,
    "alert": Alert,
    "table": Table,
    "diff": Diff,
    "numbered": Numbered,
    "fold": Fold,
    "command": Command,
    "footer": Footer,
}
_SIGNS = {"+": "add", "-": "take", "x": "take", "-/+": "alter", "+/-": "alter", "~": "alter", "=": "same", "<=": "same"}


def render_html(document: Document) -> str:
    """The whole page. Equal documents give equal bytes."""
    return _template().render(document=document, style=_text("page.css")) + "\n"


def _text(name: str) -> str:
    return files("skyc.templates").joinpath(f"report/{name}").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    for name, kind in _KINDS.items():
        environment.tests[name] = lambda block, kind=kind: isinstance(block, kind)
    environment.filters["sign"] = _SIGNS.__getitem__
    environment.filters["words"] = _words
    return environment.from_string(_text("page.html.j2"))


def _words(line: Line) -> str:
    return "".join(span.text for span in line)
