"""`skyc diff` on the command line, with a fake of what it calls."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.fakes import NO_DIFFERENCE, FakeApi

from skyc.cli.main import main
from skyc.compiler.diagnostics import error
from skyc.compiler.ir import FrozenMap, PolicyEffect, PolicyResult
from skyc.compiler.revisions import DeploymentDiff, Kind

ADDED = DeploymentDiff(deployment="train", kind=Kind.ADDED, path="jobs/train.yaml")
FAILED = DeploymentDiff(
    deployment="train", kind=Kind.FAILED, path="jobs/train.yaml", diagnostics=(error("bad-value", "A value cannot be read"),)
)
DENIED = replace(
    ADDED,
    policies=(PolicyResult(rule="eu-only", effect=PolicyEffect.DENY, met=False, message="us-east-1 is not allowed"),),
)


def test_what_is_asked_for_reaches_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeApi()
    words = [
        "main",
        "work",
        "--exact",
        "--env",
        "A=1",
        "--objective",
        "time",
        "--policy",
        "eu.yaml",
        "--",
        "jobs",
        "!jobs/old.yaml",
    ]
    assert main(["diff", *words], api=fake) == 0
    ((name, given),) = fake.calls
    assert name == "diff"
    assert given == {
        "base": "main",
        "head": "work",
        "paths": ("jobs", "!jobs/old.yaml"),
        "exact": True,
        "env": FrozenMap({"A": "1"}),
        "objective": "time",
        "policies": (Path("eu.yaml"),),
    }
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "skyc diff · merge base of main → working tree"
    assert "with the working tree, uncommitted and untracked files included" in err
    assert "merge base of main (abababababab)" in err


@pytest.mark.parametrize(
    ("rows", "plain", "detailed"),
    [((), 0, 0), ((ADDED,), 0, 2), ((FAILED,), 1, 1), ((DENIED,), 3, 3), ((DENIED, FAILED), 1, 1)],
)
def test_exit_codes(rows: tuple[DeploymentDiff, ...], plain: int, detailed: int) -> None:
    fake = FakeApi(differing=replace(NO_DIFFERENCE, deployments=rows))
    assert main(["diff", "main"], api=fake) == plain
    assert main(["diff", "main", "--detailed-exitcode"], api=fake) == detailed


def test_forms(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeApi(differing=replace(NO_DIFFERENCE, deployments=(DENIED,)))
    assert main(["diff", "main", "--json"], api=fake) == 3
    assert json.loads(capsys.readouterr().out)["deployments"][0]["policies"][0]["rule"] == "eu-only"
    main(["diff", "main", "--format", "markdown", "--comment-name", "prod"], api=fake)
    out = capsys.readouterr().out
    assert out.startswith("<!-- skyc:diff/v1 name=prod -->\n")
    assert "`eu-only`, deny: us-east-1 is not allowed" in out


def test_the_comment_is_written_after_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeApi(differing=replace(NO_DIFFERENCE, deployments=(FAILED,)))
    assert main(["diff", "main", "--comment", "--comment-name", "prod"], api=fake) == 1
    assert [(name, given.get("name")) for name, given in fake.calls] == [("diff", None), ("comment", "prod")]
    out, err = capsys.readouterr()
    assert "error[bad-value]" in out
    assert "the comment was brought up to date: https://example.invalid/c/1\nthe job's summary holds it too" in err


def test_a_variable_without_a_value_is_refused() -> None:
    fake = FakeApi()
    assert main(["diff", "main", "--env", "SKYC_NO_SUCH_VARIABLE"], api=fake) == 1
    assert fake.calls == []
