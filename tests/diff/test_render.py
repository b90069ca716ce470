"""How a diff of revisions reads: budget, order, hostile names, and what is never left out."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from skyc.compiler.diagnostics import Span, diagnostic_object, error
from skyc.compiler.ir import (
    Action,
    AttributeChange,
    ChangeSet,
    PolicyEffect,
    PolicyResult,
    ResourceChange,
    SiteId,
    ValueKind,
)
from skyc.compiler.report.cautions import cautions_of
from skyc.compiler.report.changes import NO_MEANINGS, change_rows
from skyc.compiler.revisions import (
    DeploymentDiff,
    JobChange,
    Kind,
    Revision,
    RevisionDiff,
    in_order,
    render_json,
    render_markdown,
    render_page,
    render_text,
)
from skyc.compiler.revisions.render import _money_change

BASE, HEAD = Revision(label="main", commit="a" * 40, merge_base=True), Revision(label="work", commit="b" * 40)


def diff(*rows: DeploymentDiff) -> RevisionDiff:
    return RevisionDiff(base=BASE, head=HEAD, deployments=in_order(list(rows)), unchanged=3, catalog_digest="c" * 64)


def change(address: str, action: Action, *attributes: str) -> ResourceChange:
    return ResourceChange(
        address=address,
        type="x_vm",
        action=action,
        reason=None,
        attributes=tuple(
            AttributeChange(path=path, before='"1"', after='"2"', kind=ValueKind.KNOWN, forces_replacement=True)
            for path in attributes
        ),
    )


def row(name: str, *changes: ResourceChange, kind: Kind = Kind.CHANGED, **more: object) -> DeploymentDiff:
    site = ChangeSet(site=SiteId(f"{name}.x"), engine="compiled", engine_version="", changes=changes)
    cautions = cautions_of(change_rows((site,)), (), NO_MEANINGS, environment="")
    fields: dict[str, object] = {
        "deployment": name,
        "kind": kind,
        "path": f"{name}.yaml",
        "changes": (site,),
        "cautions": cautions,
    }
    return DeploymentDiff(**{**fields, **more})  # type: ignore[arg-type]


MUCH = [
    row(
        f"job-{number:03}",
        change(f"x_vm.gone-{number}", Action.DELETE),
        change(f"x_vm.swapped-{number}", Action.REPLACE, "image"),
        *(change(f"x_vm.made-{number}-{n}", Action.CREATE, "image", "size", "zone") for n in range(20)),
        *(change(f"x_vm.kept-{number}-{n}", Action.UPDATE, "size") for n in range(20)),
        jobs=(JobChange(task=f"job-{number:03}", field="run", lines=("-old", "+new")),),
    )
    for number in range(60)
]


def test_what_must_not_be_missed_stays_while_the_rest_is_dropped_in_order() -> None:
    budgets = (10_000_000, 150_000, 110_000, 60_000, 30_000, 8_000)
    said = [render_markdown(diff(*MUCH), budget=budget) for budget in budgets]
    assert all(len(text.encode()) <= budget for text, budget in zip(said, budgets, strict=True))
    full, *shorter = said
    assert "Shortened" not in full and "x_vm.made-0-0" in full and "size" in full
    for text in shorter[:-1]:
        assert text.count("destroys `x_vm.gone-") == 60
        assert text.count("replaces `x_vm.swapped-") == 60
    assert "more deployments: `skyc diff` shows them all" in said[-1]
    # What goes first: arguments of what is made, scripts, updates, what is made.
    marks = ("+     size", "+ new", "x_vm.kept-0-0", "x_vm.made-0-0")
    kept = [tuple(mark in text for mark in marks) for text in said]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == (True,) * 4 and kept[-1] == (False,) * 4


def test_a_diagnostic_is_the_same_in_every_document() -> None:
    said = error("bad-value", "A value cannot be read", span=Span(file="a.yaml", line=2, column=1, end_line=2, end_column=4))
    found = json.loads(render_json(replace(diff(row("bad", kind=Kind.FAILED, diagnostics=(said,))), diagnostics=(said,))))
    assert found["diagnostics"] == found["deployments"][0]["diagnostics"] == [diagnostic_object(said)]


def test_errors_and_policies_stay() -> None:
    failed = row("bad", kind=Kind.FAILED, diagnostics=(error("bad-value", "A value cannot be read", "It is odd."),), changes=())
    denied = row(
        "far",
        policies=(
            PolicyResult(
                rule="eu-only", effect=PolicyEffect.DENY, met=False, message="us-east-1 is not allowed", source="policy.yaml:3"
            ),
            PolicyResult(rule="cheap", effect=PolicyEffect.WARN, met=True),
        ),
    )
    found = diff(*MUCH, failed, denied)
    for budget in (60_000, 30_000):
        text = render_markdown(found, budget=budget)
        assert "error\\[bad-value\\]" in text and "`eu-only`, deny: us-east-1 is not allowed (policy.yaml:3)" in text
        assert "cheap" not in text
    assert (found.failed, found.denied, found.exit_code) == (True, True, 1)
    assert replace(found, deployments=(denied,)).exit_code == 3


def test_order_changes_no_byte() -> None:
    few = [change(f"x_vm.{n}", action, "size") for n, action in enumerate((Action.UPDATE, Action.CREATE, Action.DELETE))]
    rows = [
        *(row(f"c{n}", *few) for n in range(4)),
        row("n", kind=Kind.ADDED),
        row("r", kind=Kind.REMOVED),
        row("f", kind=Kind.FAILED),
    ]
    renderers = (render_text, render_markdown, render_json)
    expected = [render(diff(*rows)) for render in renderers]
    chance = random.Random(5)
    for _ in range(100):
        chance.shuffle(rows)
        assert [render(diff(*rows)) for render in renderers] == expected


PIECES = (
    *"`<>!@#[]()|*_~\\\n\r\t&-:/",
    "\u202e",
    "\u200b",
    "\x1b",
    "-->",
    "</details>",
    "```",
    "@ann",
    "http://x.y",
    "www.x.y",
)
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(codec="utf-8")), min_size=1, max_size=30).map("".join)


@settings(max_examples=60)
@given(name=HOSTILE, path=HOSTILE, line=HOSTILE, label=HOSTILE)
def test_hostile_text_stays_text(name: str, path: str, line: str, label: str) -> None:
    hostile = row(
        name,
        change(f"x_vm.{name}", Action.REPLACE, path),
        path=path,
        previous_path=line,
        jobs=(JobChange(task=name, field=line, lines=(f"+{line}",)),),
        code=(path,),
        notes=(line,),
        diagnostics=(error("bad-value", "A value cannot be read", line),),
    )
    found = replace(diff(hostile), head=Revision(label=label, commit=None))
    text = render_markdown(found)
    tokens = [
        token for block in MarkdownIt("commonmark").enable("table").parse(text) for token in (block, *(block.children or ()))
    ]
    assert not {token.type for token in tokens} & {"link_open", "image"}
    html = [token.content.strip() for token in tokens if token.type.startswith("html_")]
    tags = [tag for tag in html if not tag.startswith("<!-- skyc:diff/v1")]
    assert {re.sub(" · 1", "", tag) for tag in tags} <= {
        "<details><summary>Resources</summary>",
        "</details>",
        "<sub>",
        "</sub>",
    }
    words = [token.content for token in tokens if token.type == "text"]
    assert not [word for word in words if re.search(r"@\w", word)]
    for rendered in (text, render_text(found), render_json(found), render_page(found)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", rendered)
    assert json.loads(render_json(found))["deployments"][0]["deployment"] == name


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("50.67", "43.79", "$50.67 → $43.79 (−$6.88, −14 %)"),
        ("1", "1.001", "$1.00 → $1.00 (+$0.001, below 1 %)"),
        ("0", "2", "$0.00 → $2.00 (+$2.00)"),
        ("2", "2.00", "$2.00"),
        (None, "2", "? → $2.00"),
        (None, None, "?"),
    ],
)
def test_money_that_changes(before: str | None, after: str | None, text: str) -> None:
    one, other = (None if amount is None else Decimal(amount) for amount in (before, after))
    assert _money_change(one, other) == text


def test_a_long_value_is_told_by_its_length() -> None:
    long = AttributeChange(path="user_data", before='"' + "a" * 500 + '"', after='"' + "b" * 600 + '"', kind=ValueKind.KNOWN)
    hidden = AttributeChange(path="key", before=None, after=None, kind=ValueKind.SECRET)
    unknown = AttributeChange(path="net", before=None, after=None, kind=ValueKind.UNKNOWN)
    updated = replace(change("x_vm.a", Action.UPDATE), attributes=(long, hidden, unknown))
    text = render_text(diff(row("job", updated)))
    assert 'user_data "aaaa' in text and max(map(len, text.splitlines())) < 200
    assert "key ‹secret, changed›" in text and "(+1 known after apply)" in text
