"""Whatever the names and values are, a report cannot move the cursor, reverse the text or leave its block."""

import json
import unicodedata
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from skyc.compiler.ir import (
    Action,
    AttributeChange,
    ChangeSet,
    JobAction,
    JobPlan,
    ResourceChange,
    SiteId,
    TaskId,
    ValueKind,
)
from skyc.compiler.report import Report, build, render_json, render_markdown, render_text

NASTY = st.text(st.characters() | st.sampled_from("\x1b\r\n\t\u202e\u200b\u2066`|*_[]<>@#\\~\u0085\u2028"), max_size=40)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    attributes = draw(
        st.lists(
            st.builds(
                AttributeChange,
                path=NASTY,
                before=st.none() | NASTY,
                after=st.none() | NASTY,
                kind=st.sampled_from(ValueKind),
                forces_replacement=st.booleans(),
            ),
            max_size=3,
        )
    )
    change = ResourceChange(
        address=draw(NASTY),
        type="skyc_node",
        action=draw(st.sampled_from(Action)),
        reason=None,
        attributes=tuple(attributes),
        previous_address=draw(st.none() | NASTY),
    )
    site = ChangeSet(site=SiteId("s"), engine="terraform", engine_version="1", changes=(change,), drift=(change,))
    job = JobPlan(task=TaskId(draw(NASTY)), action=draw(st.sampled_from(JobAction)), run=1, detail=draw(NASTY))
    return build(deployment=draw(NASTY), placement=None, changes=(site,), jobs=(job,), hours=Decimal(1))


def invisible(text: str) -> list[str]:
    """Characters that are no text, our own line ends aside; line and paragraph separators among them."""
    return [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]


@settings(max_examples=200, deadline=None)
@given(reports())
def test_no_form_for_people_holds_control_characters(report: Report) -> None:
    assert invisible(render_text(report)) == []
    assert invisible(render_markdown(report)) == []


@settings(max_examples=100, deadline=None)
@given(reports())
def test_the_diff_block_stays_closed(report: Report) -> None:
    """Inside the block no line begins with a fence, so nothing of the user's is read as markdown."""
    fences = [line for line in render_markdown(report).splitlines() if line.lstrip().startswith("```")]
    assert fences in ([], ["```diff", "```"])


@settings(max_examples=100, deadline=None)
@given(reports())
def test_json_is_ascii_safe_and_whole(report: Report) -> None:
    text = render_json(report)
    assert json.loads(text)["deployment"] == report.deployment
    assert invisible(text) == []
