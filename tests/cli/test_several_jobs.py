"""What the command line prints where jobs of several tasks run side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyc.cli.outcome import say_outcome
from skyc.cli.screen import Screen
from skyc.compiler.ir import TaskId
from skyc.runtime.job import JobId, JobState
from skyc.runtime.results import ApplyResult, Outcome, Progress, ProgressKind

from .fakes import DIGITS, JOB

OTHER = replace(JOB, id=JobId("other-1-1"), task=TaskId("other"), state=JobState.SUCCEEDED, exit_code=0)


def test_each_line_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen() as screen:
        for task, text in (("digits", "epoch 1"), ("other", ""), (None, "plain")):
            known = None if task is None else TaskId(task)
            screen.progress(Progress(kind=ProgressKind.OUTPUT, stage="job", text=text, task=known))
    assert capsys.readouterr().out == "digits | epoch 1\nother | \nplain\n"


def test_what_was_not_started_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    result = ApplyResult(
        deployment=DIGITS, outcome=Outcome.FAILED, job=JOB, jobs=(JOB, OTHER), not_started=(TaskId("after"), TaskId("last"))
    )
    with Screen() as screen:
        assert say_outcome(result, screen) == 1
    said = capsys.readouterr().err
    assert "job digits-1-1 failed with exit code 7" in said and said.endswith("not started: `after`, `last`\n")


def test_detached_jobs_are_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen() as screen:
        assert say_outcome(ApplyResult(deployment=DIGITS, outcome=Outcome.DETACHED, job=OTHER, jobs=(JOB, OTHER)), screen) == 0
    assert capsys.readouterr().err == (
        "jobs digits-1-1 and other-1-1 go on by themselves\n\n"
        "    skyc logs -f digits digits-1-1\n    skyc logs -f digits other-1-1\n"
    )
