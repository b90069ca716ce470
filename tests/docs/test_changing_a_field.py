"""The table in docs/changing-a-field.md is what compiling finds. SKYC_BLESS=1 writes it."""

from __future__ import annotations

import os

import pytest
from tests.docs.slugs import ROOT
from tests.lengths import LONG

from skyc.runtime.field_effects import of_all_fields

PAGE = ROOT / "docs" / "changing-a-field.md"
BEGIN, END = "<!-- made by tests/docs/test_changing_a_field.py -->\n", "<!-- end -->\n"
SOME = ("gcp", "local")
"""Targets compared each time; all of them with `make long`: there are seven hundred compilations."""


def table(targets: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in of_all_fields(targets):
        found.setdefault(row.field, {})[row.where] = row.effect
    return found


def written(rows: dict[str, dict[str, str]]) -> str:
    targets = list(next(iter(rows.values())))
    lines = [f"| field | {' | '.join(targets)} |", f"|---|{'---|' * len(targets)}"]
    lines += [f"| `{field}` | {' | '.join(cells[name] for name in targets)} |" for field, cells in rows.items()]
    return "\n".join(lines) + "\n"


def on_the_page() -> dict[str, dict[str, str]]:
    lines = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def test_the_page_says_what_is_found() -> None:
    if os.environ.get("SKYC_BLESS"):
        assert not os.environ.get("CI"), "CI must not rewrite what it checks"
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + written(table()) + END + rest.partition(END)[2])
        pytest.skip("written")
    wanted = () if LONG else SOME
    said = on_the_page()
    for field, cells in table(wanted).items():
        for target, effect in cells.items():
            assert said.get(field, {}).get(target) == effect, f"{field} at {target}: SKYC_BLESS=1 pytest {__file__}"
