"""The report shown in the documentation is the one that skyc makes of the task shown, and as long as is said.

`SKYC_BLESS=1` writes both anew; reading the difference is the reviewer's part.
"""

from __future__ import annotations

import os
import re

from tests.docs.blocks import ROOT
from tests.filetest import FOLDER, read

PAGE = ROOT / "docs" / "plans-and-review.md"
SHOWN = re.compile(r"(?<=\n````markdown\n)(?:.*\n)*?(?=````\n)")
TASK = re.compile(r"(?<=```yaml\n)(?:.*\n)*?(?=```\n)")
EXAMPLE = "moved-markdown"
SIZES = {
    "first plan at AWS, with a bucket": "aws-first-markdown",
    "first plan at Azure": "azure-first-markdown",
    "first plan at Google Cloud": "gcp-first-markdown",
    "first plan at IBM Cloud": "ibm-first-markdown",
    "the move above": EXAMPLE,
}


def expected(name: str) -> str:
    return read(FOLDER / "report" / f"{name}.yaml.test").expected


def sized(name: str) -> str:
    text = expected(name)
    return f"{len(text.encode()):,} | {len(text.partition('<details>')[0].encode()):,}"


def written() -> str:
    """The page, with what is measured put in its place."""
    page = SHOWN.sub(lambda _: expected(EXAMPLE), PAGE.read_text(encoding="utf-8"), count=1)
    for title, name in SIZES.items():
        page, count = re.subn(rf"(?m)^\| {re.escape(title)} \| .* \|$", f"| {title} | {sized(name)} |", page)
        assert count == 1, title
    return page


def test_the_report_shown_is_the_one_made() -> None:
    page = written()
    if os.environ.get("SKYC_BLESS") and not os.environ.get("CI"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page


def test_the_task_shown_is_the_one_planned() -> None:
    text = read(FOLDER / "report" / f"{EXAMPLE}.yaml.test").text
    found = TASK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[0] == "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def test_the_usual_comment_is_short() -> None:
    sizes = [len(expected(name).encode()) for name in SIZES.values()]
    assert min(sizes) > 2_000
    assert max(sizes) <= 6_000
