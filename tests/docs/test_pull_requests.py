"""The diff that docs/pull-requests.md shows is the one skyc prints, for the task the page shows. SKYC_BLESS=1 writes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.diff.repository import Repo
from tests.docs.blocks import ROOT, blocks

from skyc.cli.main import main

PAGE = [block for block in blocks() if block.page == ROOT / "docs" / "pull-requests.md"]
NIGHTLY = "name: nightly\nresources: {infra: local, cpus: 1+}\nrun: python report.py\n"


def test_the_diff_shown_is_the_one_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = next(block.text for block in PAGE if block.language == "yaml")
    (shown,) = (block.text for block in PAGE if block.text.startswith("$ skyc diff "))
    command, _, expected = shown.partition("\n")
    old = task.replace("g5.2xlarge", "g5.xlarge").replace("hours: 4", "hours: 6").replace(" --compile", "")
    assert old != task
    repo = Repo(tmp_path / "repo")
    repo.commit({"jobs/train.yaml": old, "jobs/nightly.yaml": NIGHTLY, "src/train.py": "1\n"})
    repo.put({"jobs/train.yaml": task, "jobs/nightly.yaml": None, "src/train.py": "2\n"})
    monkeypatch.chdir(repo.root)
    code = main([*command.split()[2:], "--home", str(tmp_path / "home"), "--no-color"])
    printed = capsys.readouterr().out
    if os.environ.get("SKYC_BLESS") and not os.environ.get("CI"):
        page = ROOT / "docs" / "pull-requests.md"
        page.write_text(page.read_text().replace(expected, printed))
        return
    assert (code, printed) == (0, expected)
