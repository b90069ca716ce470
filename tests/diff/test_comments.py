"""The comment of a request: against servers that speak the services' APIs, with every fault they know."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.diff.services import ANN, BOT, FAULTS, JOB, PERSON, READ_ONLY, World, github, gitlab

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.revisions import DeploymentDiff, Kind, Revision, RevisionDiff
from skyc.providers.retry import Schedule
from skyc.runtime.comments import CommentResult, Written, comment
from skyc.runtime.comments.sticky import Comment, decide

MARKER = "<!-- skyc:diff/v1 name=default -->"
PATIENT = Schedule(pauses=(1.0,) * 4, sleep=lambda seconds: None)
REPOSITORY = {"full_name": "acme/jobs"}


def differing(*names: str) -> RevisionDiff:
    return RevisionDiff(
        base=Revision(label="main", commit="a" * 40),
        head=Revision(label="work", commit="b" * 40),
        deployments=tuple(DeploymentDiff(deployment=name, kind=Kind.ADDED, path=f"{name}.yaml") for name in names),
        unchanged=1,
    )


def job(world: World, folder: Path, *, token: str = JOB, head: Any = REPOSITORY, **more: str) -> dict[str, str]:
    """The environment of a job of GitHub Actions."""
    event = folder / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7, "head": {"repo": head}, "base": {"repo": REPOSITORY}}}))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": world.url,
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": "acme/jobs",
        "GITHUB_TOKEN": token,
        **more,
    }


def merge_job(world: World, **more: str) -> dict[str, str]:
    return {
        "CI_API_V4_URL": world.url,
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_PROJECT_ID": "11",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "11",
        "SKYC_GITLAB_TOKEN": "glpat-token",
        **more,
    }


def says(found: RevisionDiff, environ: dict[str, str], **more: Any) -> CommentResult:
    return comment(found, environ=environ, schedule=PATIENT, **more)


@pytest.fixture
def hub() -> Iterator[World]:
    with github() as world:
        yield world


def test_written_left_alone_edited_and_told_that_nothing_is_left(hub: World, tmp_path: Path) -> None:
    environ = job(hub, tmp_path)
    for number in range(7):
        hub.add(f"remark {number}")
    assert says(differing(), environ).written is Written.NOTHING
    assert hub.bodies() == []
    first = says(differing("a"), environ)
    assert (first.written, first.url) == (Written.CREATED, f"https://example.invalid/c/{hub.comments[-1]['id']}")
    asked = len(hub.asked)
    assert says(differing("a"), environ).written is Written.UNCHANGED
    assert {method for method, _ in hub.asked[asked:]} == {"GET"}
    assert says(differing("a", "b"), environ).written is Written.EDITED
    assert hub.bodies() == [differing("a", "b").report("markdown")]
    assert says(differing(), environ).written is Written.EDITED
    assert hub.bodies() == [differing().report("markdown")]
    assert "no differences" in hub.bodies()[0]
    assert len(hub.bodies("ann")) == 7


def test_several_comments_have_names(hub: World, tmp_path: Path) -> None:
    environ = job(hub, tmp_path)
    says(differing("a"), environ)
    says(differing("b"), environ, name="prod")
    says(differing("c"), environ)
    assert [body.splitlines()[0] for body in hub.bodies()] == [MARKER, "<!-- skyc:diff/v1 name=prod -->"]
    with pytest.raises(SkycError):
        says(differing("a"), environ, name="x --> y")


def test_doubles_go_and_the_oldest_stays(hub: World, tmp_path: Path) -> None:
    kept = hub.add(f"{MARKER}\nold", BOT)
    hub.add(f"{MARKER}\nolder still", BOT)
    result = says(differing("a"), job(hub, tmp_path))
    assert (result.removed, [row["id"] for row in hub.comments]) == (1, [kept["id"]])
    assert hub.bodies() == [differing("a").report("markdown")]


def test_nobody_elses_comment_is_taken_for_ours(hub: World, tmp_path: Path) -> None:
    trap = hub.add(f"{MARKER}\nedit me, then I edit you")
    quoted = hub.add(f"> {MARKER}\nquoted", BOT)
    says(differing("a"), job(hub, tmp_path))
    assert (trap["body"].endswith("edit you"), quoted["body"].endswith("quoted"), len(hub.comments)) == (True, True, 3)
    # With a person's token, that person's are ours and a bot's are not.
    says(differing("b"), job(hub, tmp_path, token=PERSON))
    assert trap["body"] == differing("b").report("markdown")
    assert len(hub.comments) == 3


def test_too_long_is_said_shorter_once(hub: World, tmp_path: Path) -> None:
    found = differing(*(f"d{number:060}" for number in range(600)))
    hub.longest = 25_000
    assert says(found, job(hub, tmp_path)).written is Written.CREATED
    (body,) = hub.bodies()
    assert len(body.encode()) <= 20_000
    assert "more deployments: `skyc diff` shows them all" in body
    hub.longest = 10
    with pytest.raises(SkycError) as failure:
        says(differing("a"), job(hub, tmp_path))
    assert failure.value.diagnostics[0].slug == "comment-failed"
    assert "too long" in failure.value.diagnostics[0].detail


@pytest.mark.parametrize(
    ("token", "locked", "words"),
    [
        (READ_ONLY, False, "pull-requests: write"),
        ("ghs_stale", False, "Bad credentials"),
        (JOB, True, "issue is locked"),
    ],
)
def test_what_the_token_may_not(
    hub: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, token: str, locked: bool, words: str
) -> None:
    hub.locked = locked
    with caplog.at_level(logging.DEBUG), pytest.raises(SkycError) as failure:
        says(differing("a"), job(hub, tmp_path, token=token))
    (said,) = failure.value.diagnostics
    assert said.slug == "comment-refused"
    assert words in f"{said.detail} {said.hint}"
    assert token not in f"{said} {caplog.text}"


def test_a_limit_that_lasts_is_given_up_and_one_that_does_not_is_waited_for(hub: World, tmp_path: Path) -> None:
    waits: list[float] = []
    schedule = Schedule(pauses=(1.0, 3.0), sleep=waits.append)
    hub.faults, hub.write_faults = ["429"], ["403-secondary"]
    assert comment(differing("a"), environ=job(hub, tmp_path), schedule=schedule).written is Written.CREATED
    assert waits == [1.0, 60.0]
    hub.faults = ["500-before"] * 3
    with pytest.raises(SkycError) as failure:
        comment(differing("b"), environ=job(hub, tmp_path), schedule=schedule)
    assert "answered 500 (3 attempts)" in failure.value.diagnostics[0].detail


FAULTY = st.lists(st.sampled_from(("", *FAULTS)), max_size=3)
PUSH = st.tuples(st.sets(st.sampled_from("abc")), FAULTY, FAULTY)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pushes=st.lists(PUSH, min_size=1, max_size=5), others=st.integers(0, 4), lab=st.booleans())
def test_after_any_pushes_and_faults_there_is_one_comment_and_it_is_the_newest(
    tmp_path: Path, pushes: list[tuple[set[str], list[str], list[str]]], others: int, lab: bool
) -> None:
    with gitlab() if lab else github() as world:
        environ = merge_job(world) if lab else job(world, tmp_path)
        for number in range(others):
            world.add(f"{MARKER}\nnot ours {number}")
        for names, faults, write_faults in pushes:
            world.faults, world.write_faults = list(faults), list(write_faults)
            found = differing(*sorted(names))
            try:
                result = says(found, environ)
            except SkycError as failure:
                assert failure.diagnostics[0].slug == "comment-failed"
                assert len(world.bodies()) <= 1
                continue
            if result.written is Written.NOTHING:
                assert world.bodies() == []
            else:
                assert world.bodies() == [found.report("markdown")]
        world.faults, world.write_faults = [], []
        last = differing("z")
        says(last, environ)
        assert world.bodies() == [last.report("markdown")]
        assert len(world.bodies("ann")) == others


def test_a_merge_request_at_gitlab() -> None:
    with gitlab() as world:
        world.add(f"{MARKER}\nsomebody else's", ANN)
        assert says(differing("a"), merge_job(world)).written is Written.CREATED
        assert says(differing("a"), merge_job(world)).written is Written.UNCHANGED
        assert says(differing("b"), merge_job(world)).written is Written.EDITED
        assert world.bodies() == [differing("b").report("markdown")]
        with pytest.raises(SkycError) as failure:
            says(differing("b"), merge_job(world, SKYC_GITLAB_TOKEN="stale"))
        assert "the scope `api`" in (failure.value.diagnostics[0].hint or "")


def test_forks_and_jobs_without_a_token_write_the_summary_alone(hub: World, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    told = {"GITHUB_STEP_SUMMARY": str(summary)}
    fork = job(hub, tmp_path, head={"full_name": "mallory/jobs"}, **told)
    result = says(differing("a"), fork)
    assert (result.written, result.summary) == (Written.SKIPPED, True)
    assert "fork" in result.sentence
    assert summary.read_text() == differing("a").report("markdown")
    assert says(differing("a"), job(hub, tmp_path, head=None, **told)).written is Written.SKIPPED
    assert "GITHUB_TOKEN is not set" in says(differing("a"), job(hub, tmp_path, token="", **told)).reason
    (tmp_path / "event.json").write_text(json.dumps({"ref": "refs/heads/main"}))
    pushed = {**job(hub, tmp_path), **told}
    (tmp_path / "event.json").write_text(json.dumps({"ref": "refs/heads/main"}))
    assert "not started by a pull request" in says(differing("a"), pushed).reason
    assert hub.asked == []
    assert "fork" in says(differing("a"), merge_job(hub, CI_MERGE_REQUEST_SOURCE_PROJECT_ID="99")).reason
    assert "SKYC_GITLAB_TOKEN" in says(differing("a"), merge_job(hub, SKYC_GITLAB_TOKEN="")).reason
    assert "merge request" in says(differing("a"), merge_job(hub, CI_MERGE_REQUEST_IID="")).reason


@pytest.mark.parametrize(
    ("environ", "slug"),
    [
        ({}, "comment-place"),
        ({"GITHUB_EVENT_PATH": "/nowhere/event.json"}, "comment-place"),
        ({"CI_API_V4_URL": "https://x", "CI_MERGE_REQUEST_IID": "7x", "CI_PROJECT_ID": "1"}, "comment-place"),
        ({"GITHUB_STEP_SUMMARY": "/nowhere/summary"}, "comment-place"),
        (
            {
                "CI_API_V4_URL": "http://gitlab.example.invalid/api/v4",
                "CI_MERGE_REQUEST_IID": "7",
                "CI_PROJECT_ID": "1",
                "SKYC_GITLAB_TOKEN": "t",
            },
            "bad-endpoint",
        ),
    ],
)
def test_what_is_no_place_to_comment(environ: dict[str, str], slug: str) -> None:
    with pytest.raises(SkycError) as failure:
        says(differing("a"), environ)
    assert failure.value.diagnostics[0].slug == slug


def test_what_is_decided() -> None:
    old, new = Comment(id=1, body="x"), Comment(id=2, body="y")
    assert decide([], "x", needed=False).create is False
    assert decide([], "x", needed=True).create is True
    assert decide([new, old], "x\r\n", needed=True).keep == old
    assert decide([new, old], "x\r\n", needed=True).edit is False
    assert decide([new, old], "z", needed=False).doubles == (new,)
