"""File tests from candidates to report: input, a line of dashes, the expected text. SKYC_BLESS=1 rewrites the latter."""

import os
from pathlib import Path

import pytest

from tests.filetests.stage_runners import STAGES, run_stage

HERE = Path(__file__).parent
LINE = "-" * 40 + "\n"
FILES = sorted(path for stage in STAGES for path in (HERE / stage).glob("*.test"))


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_file(path: Path, tmp_path: Path) -> None:
    text, found, expected = path.read_text(encoding="utf-8").partition(LINE)
    made = run_stage(path.parent.name, text, tmp_path)
    if os.environ.get("SKYC_BLESS"):
        assert not os.environ.get("CI"), "CI must not rewrite what it checks"
        path.write_text(text + LINE + made, encoding="utf-8")
        return
    assert found
    assert made == expected


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_stage_has_files(stage: str) -> None:
    assert len([path for path in FILES if path.parent.name == stage]) >= 4
