"""A comment fits, and what it leaves out to fit is never what a reviewer must not miss."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.report.plans import BROKEN, CHANGES, POLICIES, change, many, report, site

from skyc.compiler.ir import Action
from skyc.compiler.report import COMMENT_BYTES, Report, comment


def size(text: str) -> int:
    return len(text.encode())


def test_a_plan_of_the_usual_size_is_read_in_a_minute() -> None:
    assert 2_000 <= size(comment(report())) <= 6_000


def test_a_plan_that_fits_is_whole() -> None:
    text = comment(report())
    assert "more" not in text.replace("+1 more", "") and "Cost lines · 3" in text


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE])
def test_five_hundred_resources_fit(action: Action) -> None:
    text = comment(report(changes=(site(*CHANGES, *many(500, action)),)))
    assert COMMENT_BYTES * 0.9 < size(text) <= COMMENT_BYTES, "as much as fits"
    assert f"more {'made' if action is Action.CREATE else 'changed'}: in the plan itself" in text
    never_left_out(text)


def never_left_out(text: str) -> None:
    for needed in (
        "`cloud_machine.head`",
        "`cloud_machine.worker`",
        "`cloud_bucket.old`",
        "`spot-in-prod`",
        "train-llama is on spot",
    ):
        assert needed in text, needed


def broken() -> Report:
    return report(changes=(site(*CHANGES, *many(20), *many(20, Action.UPDATE)),), diagnostics=BROKEN, policies=POLICIES)


def test_rows_are_left_out_in_the_written_order() -> None:
    """What has gone at one size stays gone at each smaller one, and the next kind goes only when the one before is all gone."""
    whole = size(comment(broken(), budget=10**9))
    gone: list[list[bool]] = []
    for budget in range(whole, 2_000, -1_500):
        text = comment(broken(), budget=budget)
        never_left_out(text)
        assert "There are 4 GPUs, and 8 are asked for." in text
        gone.append(
            [
                "| compute, spot |" not in text,
                "\n+ cloud_machine.node[0]" not in text,
                "\n! cloud_machine.node[0]" not in text,
                "g6.12xlarge" not in text,
                "\n- cloud_machine.head" not in text,
            ]
        )
    for kinds in gone:
        assert kinds == sorted(kinds, reverse=True), kinds
    assert gone[0] == [False] * 5 and gone[-1] == [True] * 5
    assert all(sum(before) <= sum(after) for before, after in pairwise(gone))


def test_destroys_are_more_important_than_the_size() -> None:
    dying = tuple(change(Action.DELETE, f"cloud_machine.node[{n}]") for n in range(2_000))
    text = comment(report(changes=(site(*dying),)))
    assert size(text) > COMMENT_BYTES
    assert all(f"`cloud_machine.node[{n}]`" in text for n in range(2_000))
