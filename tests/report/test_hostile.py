"""Whatever the names and values are, a report cannot move the cursor, turn the text, or become markup, in any format."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from tests.report.plans import BROKEN, CHANGES, POLICIES, SAID, everything, known, site

from skyc.compiler.ir import Action, AttributeChange, JobAction, JobPlan, ResourceChange, TaskId, ValueKind
from skyc.compiler.report import (
    Document,
    Report,
    build,
    comment,
    compose,
    render_html,
    render_json,
    render_text,
)
from skyc.compiler.report.document import Alert, Block, Command, Diff, Fold, Footer, Line, Numbered, Paragraph, Table

PIECES = (
    *(
        "`",
        "``",
        "```",
        "````",
        "~~~",
        "|",
        "\\",
        "\\|",
        "*",
        "**",
        "__",
        "[x](http://evil.example)",
        "![i](//evil.example/i.png)",
    ),
    *(
        "<b>",
        "</details>",
        "</summary>",
        "<!--",
        "-->",
        "<script>alert(1)</script>",
        "&lt;",
        "&#64;all",
        "<img src=x onerror=x>",
    ),
    *(
        "@all",
        "@org/team",
        "#12",
        "org/repo#12",
        "GH-7",
        "http://evil.example",
        "www.evil.example",
        "me@evil.example",
        ":tada:",
    ),
    *("\x1b[31m", "\r", "\n", "\n\n", "\t", "\u202e", "\u2066", "\u200b", "\u2028", "\u0085", "\ufe0f", "\u3164", "\U000e0041"),
    *(
        "- ",
        "+ ",
        "> ",
        "# ",
        "1. ",
        "    ",
        "---",
        "===",
        "$x$",
        "$$",
        "a" * 500,
        "x",
        " ",
        "é",
        "שלום",
        "{{ 7 * 7 }}",
        "{% raw %}",
    ),
)
NASTY = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=6).map("".join)
PLAIN = "plain"


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A report in which everything that may come from a user or a cloud is nasty, or plain where that is smaller."""
    attributes = st.builds(
        AttributeChange,
        path=NASTY,
        before=st.none() | NASTY,
        after=st.none() | NASTY,
        kind=st.sampled_from(ValueKind),
        forces_replacement=st.booleans(),
    )
    changes = st.builds(
        ResourceChange,
        address=NASTY,
        type=st.sampled_from(("cloud_rule", "cloud_role", "cloud_binding", "cloud_machine", "other")),
        action=st.sampled_from(Action),
        reason=st.none(),
        attributes=st.lists(attributes, max_size=2).map(tuple),
        previous_address=st.none() | NASTY,
        importing=st.none() | NASTY,
    )
    change = draw(changes)
    base = everything()
    where, machine, label = draw(NASTY), draw(NASTY), draw(NASTY)
    plan = base["placement"]
    placed = replace(plan.placements[0], region=where or "r", instance_type=machine, task=TaskId(draw(NASTY)))
    lines = tuple(replace(line, label=label, source=draw(NASTY)) for line in placed.lines)
    loser = replace(plan.alternatives[0], reason=draw(NASTY))
    job = JobPlan(task=TaskId(draw(NASTY)), action=draw(st.sampled_from(JobAction)), run=1, detail=draw(NASTY))
    message = draw(NASTY)
    return build(
        **{
            **base,
            "deployment": draw(NASTY),
            "environment": draw(NASTY),
            "task_file": draw(NASTY),
            "placement": replace(plan, placements=(replace(placed, lines=lines),), alternatives=(loser,)),
            "before": draw(st.none() | st.just(base["before"])),
            "changes": (site(change, drift=(change,), name=draw(NASTY)),),
            "jobs": (job,),
            "kept": (draw(NASTY),),
            "policies": tuple(replace(rule, rule=draw(NASTY), message=message, source=message) for rule in POLICIES),
            "diagnostics": tuple(replace(said, summary=message, detail=message, hint=message) for said in (*SAID, *BROKEN)),
        }
    )


def invisible(text: str) -> list[str]:
    """Characters that are no text, our own line ends aside; line and paragraph separators among them."""
    return [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]


def words_of(line: Line) -> str:
    return "".join(span.text for span in line)


def texts(blocks: tuple[Block, ...]) -> Iterator[str]:
    """Every piece of text of a document, in its order."""
    for block in blocks:
        match block:
            case Paragraph(lines=lines) | Alert(lines=lines) | Numbered(lines=lines) | Footer(lines=lines):
                yield from map(words_of, lines)
            case Table(head=head, rows=rows):
                yield from head
                yield from (words_of(cell) for row in rows for cell in row)
            case Diff(rows=rows):
                yield from (f"{row.symbol}{row.text}" if not row.inner else row.text for row in rows)
            case Fold(summary=summary, blocks=inner):
                yield summary
                yield from texts(inner)
            case Command(text=text):
                yield text


def folds(blocks: tuple[Block, ...]) -> int:
    return sum(1 + folds(block.blocks) for block in blocks if isinstance(block, Fold))


def bare(text: str) -> str:
    """Without spaces, which formats may join."""
    return "".join(text.split())


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough", "linkify"])
MARKDOWN.options["linkify"] = False
LINKED = re.compile(r"@[\w-]|https?://|www\.|(?<![\w&])#\d|GH-\d|:\w+:|\$\S+\$")
"""What GitHub makes of text after markdown is done, wherever it is not code."""
OURS = re.compile(r"<!-- skyc:[a-z]+/v1[ \w.:=-]* -->|<details><summary>[^<>]*</summary>|</details>|</?sub>|<br>")


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def check_markdown(text: str, wanted: int) -> None:
    tokens = list(flat(MARKDOWN.parse(text)))
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "s_open", "em_open", "hr", "bullet_list_open", "code_block"}, kinds
    markup = [token.content.strip() for token in tokens if token.type in ("html_block", "html_inline")]
    for piece in markup:
        assert OURS.sub("", piece).strip() == "", piece
    joined = "".join(markup)
    assert joined.count("<details>") == joined.count("</details>") == wanted
    assert sum(token.type == "heading_open" for token in tokens) == 1
    for token in tokens:
        if token.type == "text":
            assert not LINKED.search(token.content), token.content


class Page(HTMLParser):
    """The text of a page and what it is made of."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._silent = 0
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent += tag in ("style", "title")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("style", "title")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "span", "p", "br", "strong", "code", "section"),
    *("table", "thead", "tbody", "tr", "th", "td", "div", "b", "details", "summary", "ol", "li", "pre", "footer"),
}


def check_page(document: Document, source: str) -> None:
    page = Page(source)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert sum(tag == "details" for tag, _ in page.tags) == folds(document.blocks)
    assert not any(name in ("src", "href") or name.startswith("on") for _, given in page.tags for name in given)
    assert bare("".join(page.text)) == bare(words_of(document.title) + "".join(texts(document.blocks)))


@settings(max_examples=60, deadline=None)
@given(reports())
def test_no_text_of_others_becomes_markup(report: Report) -> None:
    document = compose(report)
    check_markdown(comment(report), folds(document.blocks))
    check_page(document, render_html(document))


@settings(max_examples=40, deadline=None)
@given(reports())
def test_no_form_holds_control_characters(report: Report) -> None:
    document = compose(report)
    for text in (render_text(document), comment(report), render_html(document), render_json(report)):
        assert invisible(text) == []


@settings(max_examples=30, deadline=None)
@given(reports())
def test_json_is_whole(report: Report) -> None:
    document = json.loads(render_json(report))
    assert document["deployment"] == report.deployment
    assert [row["address"] for row in document["changes"]] == [row.change.address for row in report.changes]


@pytest.mark.parametrize("name", ["a|b", "@a|b", "`@a|b`", "x \\| @y", "|", "||@|"])
def test_a_cell_holds_what_it_was_given(name: str) -> None:
    """A bar ends a cell, also within a code span; what follows the last column is dropped."""
    base = everything()
    loser = replace(base["placement"].alternatives[0], reason=name)
    text = comment(build(**{**base, "placement": replace(base["placement"], alternatives=(loser,))}))
    (row,) = [line for line in text.splitlines() if line.startswith("| aws/us-east-1/use1-az1 · g6.12xlarge")]
    head, rule = "| a | b | c |", "|---|---|---|"
    cells = [token.children or [] for token in MARKDOWN.parse("\n".join((head, rule, row))) if token.type == "inline"][3:]
    assert ["".join(part.content for part in cell) for cell in cells][1:] == ["$46.09", f"+$2.31, {name}"]


def test_a_terminal_line_begins_with_nothing_of_others() -> None:
    """Colour is given by the first word of a line, so no value may stand there."""
    change = ResourceChange(
        address="a\n! destroys everything", type="t", action=Action.UPDATE, reason=None, attributes=(known("p\n- q", "1", "2"),)
    )
    lines = render_text(compose(build(**everything(changes=(site(change),))))).splitlines()
    assert not any(line.startswith(("! destroys everything", "- q")) for line in lines)
    assert len(CHANGES) > 8
