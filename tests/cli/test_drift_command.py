"""`skyc drift`: what it prints, what it hands on, and the exit codes that cron goes by. The calls are fakes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.cli.fakes import DIGITS, FakeApi

from skyc.cli.main import main
from skyc.compiler.diagnostics import error
from skyc.compiler.ir import DriftClass, DriftKind, DriftRow, SiteId, SpecPath
from skyc.runtime.results import Drift, MendOutcome, MendResult


def row(drift: DriftClass, **more: Any) -> DriftRow:
    fields: dict[str, Any] = {
        "site": SiteId("digits.aws-us-east-1"),
        "address": "aws_instance.main-0",
        "type": "aws_instance",
        "kind": DriftKind.CHANGED,
        "path": "instance_type",
        "before": '"t3.large"',
        "after": '"t3.xlarge"',
        "why": "what is paid changes with it",
        "repair": "is set back",
        "adopt": "the state takes it over",
        "origin": SpecPath(("resources",)),
        "place": "task.yaml:2",
        "field": "resources.instance_type: t3.xlarge",
    }
    return DriftRow(drift=drift, **{**fields, **more})


def drifting(*classes: DriftClass) -> FakeApi:
    return FakeApi(drifts=(Drift(deployment=DIGITS, rows=tuple(map(row, classes))),))


@pytest.mark.parametrize(
    ("classes", "options", "code"),
    [
        ((), [], 0),
        ((DriftClass.BENIGN,), [], 0),
        ((DriftClass.COST,), [], 2),
        ((DriftClass.UNCLASSIFIED,), [], 2),
        ((DriftClass.COST,), ["--fail-on", "security,broken"], 0),
        ((DriftClass.COST,), ["--fail-on", "security, cost"], 2),
        # What nobody has classed may be about security.
        ((DriftClass.UNCLASSIFIED,), ["--fail-on", "security"], 2),
        ((DriftClass.UNCLASSIFIED,), ["--fail-on", "cost"], 0),
    ],
)
def test_exit_codes(classes: tuple[DriftClass, ...], options: list[str], code: int) -> None:
    fake = drifting(*classes)
    assert main(["drift", "digits", *options], api=fake) == code
    assert fake.calls == [("drift", {"deployment": "digits", "wait": None})]


def test_what_could_not_be_looked_at_is_an_error_and_never_no_drift(capsys: pytest.CaptureFixture[str]) -> None:
    failed = Drift(deployment=DIGITS, rows=(), diagnostics=(error("terraform-error", "No route to the cloud", "It is away."),))
    assert main(["drift"], api=FakeApi(drifts=(failed,))) == 1
    printed = capsys.readouterr()
    assert "No route to the cloud" in printed.err and "no drift" not in printed.out
    # An error counts for more than drift of another deployment.
    both = (failed, Drift(deployment=DIGITS, rows=(row(DriftClass.COST),)))
    assert main(["drift", "--json"], api=FakeApi(drifts=both)) == 1
    document = json.loads(capsys.readouterr().out)
    assert [item["looked"] for item in document["deployments"]] == [False, True]


def test_json_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (row(DriftClass.COST, hourly=Decimal("0.0832")),)
    assert main(["drift", "--json"], api=FakeApi(drifts=(Drift(deployment=DIGITS, rows=rows),))) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "skyc.drift/v1"
    assert document["deployments"][0]["rows"] == [
        {
            "site": "digits.aws-us-east-1",
            "address": "aws_instance.main-0",
            "type": "aws_instance",
            "kind": "changed",
            "path": "instance_type",
            "before": '"t3.large"',
            "after": '"t3.xlarge"',
            "value": "known",
            "class": "cost",
            "why": "what is paid changes with it",
            "repair": "is set back",
            "adopt": "the state takes it over",
            "hourly": "0.0832",
            "origin": "resources",
            "place": "task.yaml:2",
            "field": "resources.instance_type: t3.xlarge",
            "who": None,
        }
    ]


def test_repair_shows_asks_and_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    fake = drifting(DriftClass.COST)
    assert main(["drift", "digits", "--repair"], api=fake) == 1
    assert "Nobody can be asked" in capsys.readouterr().err
    assert main(["drift", "digits", "--repair", "-y", "--only", "cost", "--only", "aws_vpc.site", "--no-wait"], api=fake) == 0
    assert fake.calls[-1] == ("repair_drift", {"deployment": "digits", "only": ["cost", "aws_vpc.site"], "wait": 0.0})
    err = capsys.readouterr().err
    assert '"t3.large" → "t3.xlarge"' in err and "skyc_node.main-0" in err and "nothing drifts now" in err
    fake.mended = MendResult(deployment=DIGITS, outcome=MendOutcome.LEFT, left=(row(DriftClass.BROKEN),))
    assert main(["drift", "digits", "--repair", "-y"], api=fake) == 2
    assert "1 broken" in capsys.readouterr().out


def test_adopt_says_which_lines_would_have_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    fake = drifting(DriftClass.COST)
    fake.mended = MendResult(
        deployment=DIGITS, outcome=MendOutcome.DONE, fields=("task.yaml:2  resources.instance_type: t3.xlarge",)
    )
    assert main(["drift", "digits", "--adopt", "-y"], api=fake) == 0
    assert fake.calls[-1][1]["security"] is False
    assert "resources.instance_type: t3.xlarge" in capsys.readouterr().out
    assert main(["drift", "digits", "--adopt-security", "-y"], api=fake) == 0
    assert fake.calls[-1][1]["security"] is True


@pytest.mark.parametrize(
    "words",
    [
        ["--repair"],
        ["digits", "--repair", "--adopt"],
        ["digits", "--only", "cost"],
        ["digits", "--fail-on", "harmless"],
        ["digits", "--fail-on", ","],
        ["digits", "--repair", "--json"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeApi()
    assert main(["drift", *words], api=fake) == 1
    assert "bad-usage" in capsys.readouterr().err and not fake.calls
