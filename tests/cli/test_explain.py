"""`skyc explain` and a plan at a target that is only priced, on the shipped catalog: no fake has a part in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyc.cli.main import main

TASK = """\
name: train
resources: {infra: aws/us-east-1, accelerators: A100:8}
hours: 10
run: echo train
"""
PIPELINE = """\
name: prep
resources: {cpus: 16, memory: 64+}
hours: 2
inputs: {s3://raw: 500}
run: echo prep
"""


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKYC_HOME", str(tmp_path / "home"))
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    return path


def told(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    assert main([*argv]) == code
    return capsys.readouterr().out


def test_why_this(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "explain", str(task))
    assert "matching offers" in said
    assert "p4d.24xlarge · on-demand" in said
    assert "compute, on-demand" in said
    assert "disk, " in said


def test_why_not_a_machine_that_lacks_something(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "explain", str(task), "--why-not", "gcp", "--why-not", "H100:8")
    assert "why not gcp?" in said
    assert "other-place" in said
    assert "Changing `infra` alone would admit" in said
    assert "no-such-accelerator: The task asks for A100:8; p5.48xlarge has H100:8." in said


def test_why_not_a_machine_of_ones_own_with_another_label(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    config = "machines:\n- {name: mine, cpus: 96, memory: 1152, accelerators: A100:8, labels: {team: vision}}\n"
    (tmp_path / "home" / "config.yaml").write_text(config)
    text = TASK.replace("infra: aws/us-east-1, ", "labels: {team: speech}, ")
    task.write_text(text)
    said = told(capsys, "explain", str(task), "--why-not", "owned")
    assert "label-not-met: The task asks for the label `team: speech`; mine has `team: vision`." in said
    assert "Changing `labels` alone would admit" in said
    task.write_text(text.replace("speech", "vision"))
    assert "owned/owned · mine" in told(capsys, "explain", str(task))


def test_why_not_what_is_dearer(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task.write_text(TASK.replace("infra: aws/us-east-1, ", ""))
    said = told(capsys, "explain", str(task), "--why-not", "gcp", "--why-not", "lambda")
    assert "offers meet the requirements. The best: gcp/" in said
    assert "more per run (compute +$" in said
    # It is only priced, so another place is taken, and this says what that costs.
    assert "offers meet the requirements. The best: lambda/" in said
    assert "less per run (address -$0.05, compute -$" in said


def test_a_bucket_moves_the_task_that_reads_it(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task.write_text(PIPELINE)
    document = json.loads(told(capsys, "explain", str(task), "--json", "--why-not", "azure"))
    assert document["schema"] == "skyc.explanation/v1"
    assert document["placements"][0]["location"].startswith("aws/us-east-1")
    (answer,) = document["why_not"]
    assert answer["fitting"] > 0
    assert float(answer["changes"]["transfer"]) > 40


def test_an_unknown_name(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(task), "--why-not", "p4d.24xlargee"]) == 1
    said = capsys.readouterr().err
    assert "error[unknown-subject]" in said
    assert "did you mean `p4d.24xlarge`?" in said


def test_a_plan_at_a_priced_target_shows_the_price_and_fails(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task.write_text(TASK.replace("aws/us-east-1", "lambda"))
    assert main(["plan", str(task)]) == 1
    out, err = capsys.readouterr()
    assert "lambda/" in out
    assert "per run" in out
    assert "error[cannot-compile-yet]" in err


def test_a_budget_that_cannot_be_kept_is_denied(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task.write_text(TASK + "budget: 5\n")
    assert main(["plan", str(task)]) == 3
    said = capsys.readouterr().err
    assert "error[over-budget]" in said
    assert "train: the budget is $5; the least it can cost in the worst case is $" in said


def test_a_deadline_that_cannot_be_kept(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task.write_text(TASK + "deadline: 3h\n")
    assert main(["plan", str(task)]) == 1
    assert "the soonest it can end is 10" in capsys.readouterr().err
